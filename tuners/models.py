"""The tables of this app. Rules that a row can state by itself stand here as constraints, with the harm each stops."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Exists, F, Func, OuterRef, Q
from django.db.models.functions import Cast, NullIf

from core.ids import new_id
from tuners.enums import (
    AppealState,
    ApplicationStatus,
    CertificationType,
    CertificationVerdict,
    ReportReason,
    ReportState,
    ReviewAppealState,
    ReviewState,
    Speciality,
    SuspensionReason,
    TunerKind,
    TunerStatus,
)

# The Bayesian average: a tuner is ordered as if five riders had given four stars before anybody did, so that one single
# five does not lead the list. See docs/adr/0025.
PRIOR_REVIEWS = 5
PRIOR_RATING_SUM = 20


def default_fee_basis_points() -> int:
    """The platform's fee at the time a profile is made; a person may agree on another one later."""
    return settings.PLATFORM_FEE_BASIS_POINTS


class TunerProfileQuerySet(models.QuerySet):
    def active(self) -> "TunerProfileQuerySet":
        """What anyone may discover: profiles that are not suspended."""
        return self.filter(status=TunerStatus.ACTIVE)


class TunerProfile(models.Model):
    """A tuner or creator as riders see them, made when an application is approved.

    `ACTIVE ↔ SUSPENDED` by staff. `rating` and `rating_order` follow `rating_sum` and `review_count` by themselves, and
    those two, like `follower_count`, change only by `F()` in the transaction that changes a review or a follower.
    `kind`, `business_name` and `country` were verified with the application and change through staff only. Never
    deleted: tunes and the books point to it.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="tuner_profile")
    kind = models.CharField(max_length=7, choices=TunerKind)
    business_name = models.CharField(max_length=120)
    country = models.CharField(max_length=2)
    website = models.URLField(max_length=200, blank=True, default="")
    about = models.TextField(max_length=4000, blank=True, default="")
    experience = models.TextField(max_length=4000, blank=True, default="")
    specialities = ArrayField(models.CharField(max_length=20, choices=Speciality), default=list, blank=True)
    makes = ArrayField(models.CharField(max_length=80), default=list, blank=True)
    make_keys = ArrayField(models.CharField(max_length=80), default=list, blank=True)
    name_key = models.CharField(max_length=160)
    search_text = models.TextField(blank=True, default="")
    document = models.GeneratedField(  # all that the list is searched and filtered by; the function's migration says what is in it
        expression=Func(
            *("name_key", "search_text", "make_keys", "specialities", "country", "verified", "rating_sum", "review_count"),
            function="tuners_document",
        ),
        output_field=SearchVectorField(),
        db_persist=True,
    )

    verified = models.BooleanField(default=False)
    verified_at = models.DateTimeField(null=True, blank=True)
    status = models.CharField(max_length=9, choices=TunerStatus, default=TunerStatus.ACTIVE)
    suspension_reason = models.CharField(max_length=9, choices=SuspensionReason, blank=True, default="")
    suspension_note = models.TextField(max_length=2000, blank=True, default="")
    suspended_at = models.DateTimeField(null=True, blank=True)

    rating_sum = models.PositiveBigIntegerField(default=0)
    review_count = models.PositiveIntegerField(default=0)
    rating = models.GeneratedField(
        expression=Cast(F("rating_sum"), models.DecimalField(max_digits=20, decimal_places=10)) / NullIf(F("review_count"), 0),
        output_field=models.DecimalField(max_digits=3, decimal_places=2, null=True),
        db_persist=True,
    )
    rating_order = models.GeneratedField(
        expression=(
            (Cast(F("rating_sum"), models.DecimalField(max_digits=20, decimal_places=10)) + PRIOR_RATING_SUM)
            / (F("review_count") + PRIOR_REVIEWS)
        ),
        output_field=models.DecimalField(max_digits=7, decimal_places=6),
        db_persist=True,
    )
    follower_count = models.PositiveIntegerField(default=0)

    fee_basis_points = models.PositiveIntegerField(default=default_fee_basis_points)
    hold_days = models.PositiveSmallIntegerField(default=14)
    minimum_payout_minor = models.PositiveBigIntegerField(default=5000)

    revision = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    objects = TunerProfileQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(name="tunerprofile_kind_known", condition=Q(kind__in=TunerKind.values)),
            models.CheckConstraint(name="tunerprofile_status_known", condition=Q(status__in=TunerStatus.values)),
            models.CheckConstraint(
                name="tunerprofile_suspended_iff_reason_and_time",  # nobody is locked out without being told why and since when
                condition=(
                    Q(status=TunerStatus.ACTIVE, suspended_at__isnull=True, suspension_reason="")
                    | Q(status=TunerStatus.SUSPENDED, suspended_at__isnull=False, suspension_reason__in=SuspensionReason.values)
                ),
            ),
            models.CheckConstraint(
                name="tunerprofile_verified_iff_time",
                condition=Q(verified=False, verified_at__isnull=True) | Q(verified=True, verified_at__isnull=False),
            ),
            models.CheckConstraint(
                name="tunerprofile_creator_never_verified",  # the badge is a promise about a business
                condition=~Q(kind=TunerKind.CREATOR, verified=True),
            ),
            models.CheckConstraint(
                name="tunerprofile_rating_sum_possible",  # a lost or doubled update of an aggregate fails here, not in front of a rider
                condition=Q(rating_sum__gte=F("review_count"), rating_sum__lte=F("review_count") * 5),
            ),
            models.CheckConstraint(name="tunerprofile_fee_at_most_all", condition=Q(fee_basis_points__lte=10_000)),
            models.CheckConstraint(name="tunerprofile_name_not_blank", condition=~Q(business_name="")),
        ]
        indexes = [
            # One index an order of the public list; suspended profiles are not in it.
            models.Index(F("rating_order").desc(), F("id").desc(), name="tuner_by_rating", condition=Q(status=TunerStatus.ACTIVE)),
            models.Index(F("follower_count").desc(), F("id").desc(), name="tuner_by_followers", condition=Q(status=TunerStatus.ACTIVE)),
            models.Index(F("name_key"), F("id"), name="tuner_by_name", condition=Q(status=TunerStatus.ACTIVE)),
            models.Index(F("created_at").desc(), F("id").desc(), name="tuner_by_age", condition=Q(status=TunerStatus.ACTIVE)),
            # What few tuners have is looked up, whatever the order: words and filters alike.
            GinIndex(fields=["document"], name="tuner_document", fastupdate=False, condition=Q(status=TunerStatus.ACTIVE)),
        ]

    def __str__(self) -> str:
        return self.business_name

    @property
    def is_active(self) -> bool:
        return self.status == TunerStatus.ACTIVE


class TunerWord(models.Model):
    """A word of an active tuner's name, makes or their aliases: where a misspelt one of a search finds its neighbours.

    Kept by the trigger `tunerprofile_words`. A row for each tuner and word, so that no two tuners ever write the same row.
    """

    pk = models.CompositePrimaryKey("word", "tuner_id")
    word = models.CharField(max_length=160, db_collation="C")  # by bytes, so that a word's beginning is a range
    tuner = models.ForeignKey(TunerProfile, on_delete=models.CASCADE, related_name="words")

    def __str__(self) -> str:
        return self.word


class TunerApplication(models.Model):
    """One person's wish to become a tuner or creator, one row for each person, for ever.

    `DRAFT → SUBMITTED → APPROVED | REJECTED | INFO_REQUESTED`, `INFO_REQUESTED → SUBMITTED`, `REJECTED → DRAFT` after
    `may_reapply_at`. `queued_at` is the first submission of a round: being asked for more does not cost the place in
    the queue. Who decided and why stands here for the last decision, and in the audit log for each.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    applicant = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="tuner_application")
    kind = models.CharField(max_length=7, choices=TunerKind)
    business_name = models.CharField(max_length=120)
    country = models.CharField(max_length=2)
    website = models.URLField(max_length=200, blank=True, default="")
    experience = models.TextField(max_length=4000)
    specialities = ArrayField(models.CharField(max_length=20, choices=Speciality), default=list)
    status = models.CharField(max_length=14, choices=ApplicationStatus, default=ApplicationStatus.DRAFT)
    queued_at = models.DateTimeField(null=True, blank=True)
    submitted_at = models.DateTimeField(null=True, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by_id = models.UUIDField(null=True, blank=True)
    decision_reason = models.TextField(max_length=2000, blank=True, default="")
    may_reapply_at = models.DateTimeField(null=True, blank=True)
    revision = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(name="tunerapplication_kind_known", condition=Q(kind__in=TunerKind.values)),
            models.CheckConstraint(
                name="tunerapplication_times_fit_status",  # a queue sorted by a missing time would lose somebody
                condition=(
                    Q(status=ApplicationStatus.DRAFT, queued_at__isnull=True, submitted_at__isnull=True, decided_at__isnull=True)
                    | Q(status=ApplicationStatus.SUBMITTED, queued_at__isnull=False, submitted_at__isnull=False, decided_at__isnull=True)
                    | Q(
                        status__in=[ApplicationStatus.APPROVED, ApplicationStatus.REJECTED, ApplicationStatus.INFO_REQUESTED],
                        queued_at__isnull=False,
                        submitted_at__isnull=False,
                        decided_at__isnull=False,
                    )
                ),
            ),
            models.CheckConstraint(
                name="tunerapplication_decided_iff_by_somebody",
                condition=Q(decided_at__isnull=True, decided_by_id__isnull=True) | Q(decided_at__isnull=False, decided_by_id__isnull=False),
            ),
            models.CheckConstraint(
                name="tunerapplication_refusal_has_reason",  # the applicant must be able to do something about it
                condition=~Q(status__in=[ApplicationStatus.REJECTED, ApplicationStatus.INFO_REQUESTED], decision_reason=""),
            ),
            models.CheckConstraint(
                name="tunerapplication_rejected_iff_rests",
                condition=Q(status=ApplicationStatus.REJECTED, may_reapply_at__isnull=False)
                | (~Q(status=ApplicationStatus.REJECTED) & Q(may_reapply_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="tunerapplication_never_own_decision",  # last line behind the policy: nobody makes themselves a tuner
                condition=Q(decided_by_id__isnull=True) | ~Q(decided_by_id=F("applicant_id")),
            ),
        ]
        indexes = [
            models.Index(fields=["queued_at", "id"], name="application_queue", condition=Q(status=ApplicationStatus.SUBMITTED)),
            models.Index(fields=["decided_at"], name="application_decided", condition=Q(decided_at__isnull=False)),  # the median wait
        ]

    def __str__(self) -> str:
        return f"{self.business_name} ({self.status})"


class TunerCertification(models.Model):
    """A document that vouches for a person, with a verdict and an expiry date of its own.

    It belongs to the person, not to the application: a tuner adds and renews them later. The file is an upload of
    theirs, private, seen by staff through short links only. Its content never changes; a verdict is given once.
    Deleted by its owner unless it was accepted or is under review, and with the account.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="tuner_certifications")
    upload_id = models.UUIDField(unique=True)
    storage_key = models.CharField(max_length=255)
    file_name = models.CharField(max_length=255)
    content_type = models.CharField(max_length=100)
    size_bytes = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)
    type = models.CharField(max_length=21, choices=CertificationType)
    issuer = models.CharField(max_length=120)
    number = models.CharField(max_length=80, blank=True, default="")
    expires_on = models.DateField()
    verdict = models.CharField(max_length=8, choices=CertificationVerdict, default=CertificationVerdict.PENDING)
    verdict_reason = models.TextField(max_length=2000, blank=True, default="")
    judged_at = models.DateTimeField(null=True, blank=True)
    judged_by_id = models.UUIDField(null=True, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(name="tunercertification_type_known", condition=Q(type__in=CertificationType.values)),
            models.CheckConstraint(
                name="tunercertification_judged_iff_verdict",
                condition=(
                    Q(verdict=CertificationVerdict.PENDING, judged_at__isnull=True, judged_by_id__isnull=True)
                    | Q(
                        verdict__in=[CertificationVerdict.ACCEPTED, CertificationVerdict.REFUSED],
                        judged_at__isnull=False,
                        judged_by_id__isnull=False,
                    )
                ),
            ),
            models.CheckConstraint(
                name="tunercertification_refusal_has_reason",
                condition=~Q(verdict=CertificationVerdict.REFUSED, verdict_reason=""),
            ),
            models.CheckConstraint(
                name="tunercertification_never_own_verdict",
                condition=Q(judged_by_id__isnull=True) | ~Q(judged_by_id=F("owner_id")),
            ),
        ]
        indexes = [models.Index(fields=["owner", "-created_at", "-id"], name="certification_by_owner")]

    def __str__(self) -> str:
        return f"{self.get_type_display()} by {self.issuer}"


class TunerReviewQuerySet(models.QuerySet):
    def published(self) -> "TunerReviewQuerySet":
        return self.filter(state=ReviewState.PUBLISHED)

    def of_concern_to(self, user) -> "TunerReviewQuerySet":
        """Published ones, and hidden ones that this person wrote or reported."""
        reported = Exists(ReviewReport.objects.filter(review=OuterRef("pk"), reporter=user))
        return self.filter(Q(state=ReviewState.PUBLISHED) | Q(state=ReviewState.HIDDEN) & (Q(buyer=user) | reported))

    def counted(self) -> "TunerReviewQuerySet":
        """What the ratings are made of."""
        return self.published().filter(is_counted=True)


class TunerReview(models.Model):
    """What a verified buyer says of one tune; it counts for the tune and for its tuner.

    `tune_id`, `tune_version_id` and the facts of the bike (`vehicle_…`, `hardware_number`) are snapshots without foreign
    keys: the marketplace and the garage stand above or beside this app. `PUBLISHED ↔ HIDDEN` by staff, `→ DELETED` by the
    author, whose text is then gone. Earlier texts are kept in `TunerReviewEdit` for staff. The marketplace marks the review
    of a buyer who got the money back (`is_refunded`); it counts no more where nothing was ever downloaded.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tuner = models.ForeignKey(TunerProfile, on_delete=models.PROTECT, related_name="reviews")
    buyer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="tuner_reviews")
    tune_id = models.UUIDField()
    tune_version_id = models.UUIDField()
    vehicle_model_id = models.UUIDField(null=True, blank=True)
    vehicle_year = models.PositiveSmallIntegerField(null=True, blank=True)
    vehicle_label = models.CharField(max_length=160, blank=True, default="")
    hardware_number = models.CharField(max_length=64, blank=True, default="", db_default="", help_text="Of the ECU; never shown.")
    rating = models.PositiveSmallIntegerField(validators=[MinValueValidator(1), MaxValueValidator(5)])
    text = models.TextField(max_length=4000, blank=True, default="")
    state = models.CharField(max_length=9, choices=ReviewState, default=ReviewState.PUBLISHED)
    hidden_at = models.DateTimeField(null=True, blank=True)
    hidden_reason = models.TextField(max_length=2000, blank=True, default="")
    deleted_at = models.DateTimeField(null=True, blank=True)
    edited_at = models.DateTimeField(null=True, blank=True)
    is_refunded = models.BooleanField(default=False, db_default=False, help_text="The buyer got the money back.")
    is_counted = models.BooleanField(default=True, db_default=True, help_text="The ratings count it while it is published.")
    reply = models.TextField(max_length=2000, blank=True, default="")
    replied_at = models.DateTimeField(null=True, blank=True)
    revision = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    objects = TunerReviewQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="tunerreview_one_per_buyer_and_tune",  # twenty taps are one voice; a hidden one can't be deleted and posted again
                fields=["buyer", "tune_id"],
                condition=~Q(state=ReviewState.DELETED) | Q(hidden_at__isnull=False),
            ),
            models.CheckConstraint(name="tunerreview_rating_1_to_5", condition=Q(rating__gte=1, rating__lte=5)),
            models.CheckConstraint(
                name="tunerreview_uncounted_only_when_refunded",  # nobody's voice is silenced for another reason
                condition=Q(is_counted=True) | Q(is_refunded=True),
            ),
            models.CheckConstraint(
                name="tunerreview_times_fit_state",
                condition=(
                    Q(state=ReviewState.PUBLISHED, hidden_at__isnull=True, deleted_at__isnull=True)
                    | Q(state=ReviewState.HIDDEN, hidden_at__isnull=False, deleted_at__isnull=True)
                    | Q(state=ReviewState.DELETED, deleted_at__isnull=False, text="")
                ),
            ),
            models.CheckConstraint(
                name="tunerreview_reply_iff_time",
                condition=Q(reply="", replied_at__isnull=True) | (~Q(reply="") & Q(replied_at__isnull=False)),
            ),
        ]
        indexes = [
            models.Index(fields=["tuner", "-created_at", "-id"], name="review_by_tuner", condition=Q(state=ReviewState.PUBLISHED)),
            models.Index(fields=["tune_id", "-created_at", "-id"], name="review_by_tune", condition=Q(state=ReviewState.PUBLISHED)),
            models.Index(  # what riders of the same bike say: the list and its figures
                fields=["tune_id", "vehicle_model_id", "-created_at", "-id"],
                include=["vehicle_year", "hardware_number", "rating", "is_counted"],
                name="review_same_bike",
                condition=Q(state=ReviewState.PUBLISHED, vehicle_model_id__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.rating} of 5 ({self.state})"


class TunerReviewEdit(models.Model):
    """What a review said before its author changed it. Only staff sees it; goes when the author deletes the review."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    review = models.ForeignKey(TunerReview, on_delete=models.CASCADE, related_name="edits")
    rating = models.PositiveSmallIntegerField()
    text = models.TextField(blank=True, default="")
    replaced_at = models.DateTimeField()

    class Meta:
        constraints = [models.CheckConstraint(name="tunerreviewedit_rating_1_to_5", condition=Q(rating__gte=1, rating__lte=5))]

    def __str__(self) -> str:
        return f"{self.rating} of 5 until {self.replaced_at:%Y-%m-%d}"


class ReviewReportQuerySet(models.QuerySet):
    def made_by(self, reporter) -> "ReviewReportQuerySet":
        """One person's, the latest first."""
        return self.filter(reporter=reporter).order_by("-created_at", "-pk")


class ReviewReport(models.Model):
    """Somebody's word that a review breaks the rules: `OPEN → UPHELD | DISMISSED` by staff.

    One open report for each reporter; another one only of a review that its author changed after the first was decided.
    `OPEN → MOOT` when the author deletes the review; `DISMISSED → UPHELD` when its reporter's appeal is accepted.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    review = models.ForeignKey(TunerReview, on_delete=models.CASCADE, related_name="reports")
    reporter = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="review_reports")
    reason = models.CharField(max_length=14, choices=ReportReason)
    text = models.TextField(max_length=2000, blank=True, default="")
    state = models.CharField(max_length=9, choices=ReportState, default=ReportState.OPEN)
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by_id = models.UUIDField(null=True, blank=True)
    decision_reason = models.TextField(max_length=2000, blank=True, default="")
    created_at = models.DateTimeField()

    objects = ReviewReportQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="reviewreport_one_open_per_reporter",  # twenty taps are one piece of work for staff
                fields=["review", "reporter"],
                condition=Q(state=ReportState.OPEN),
            ),
            models.CheckConstraint(name="reviewreport_reason_known", condition=Q(reason__in=ReportReason.values)),
            models.CheckConstraint(
                name="reviewreport_decided_iff_not_open",
                condition=Q(state=ReportState.OPEN, decided_at__isnull=True, decided_by_id__isnull=True)
                | Q(state=ReportState.MOOT, decided_at__isnull=False, decided_by_id__isnull=True)
                | Q(state__in=[ReportState.UPHELD, ReportState.DISMISSED], decided_at__isnull=False, decided_by_id__isnull=False),
            ),
            models.CheckConstraint(
                name="reviewreport_decision_has_reason",  # author and reporter must be able to object to it
                condition=~Q(state__in=[ReportState.UPHELD, ReportState.DISMISSED], decision_reason=""),
            ),
        ]
        indexes = [models.Index(fields=["created_at"], name="report_queue", condition=Q(state=ReportState.OPEN))]

    def __str__(self) -> str:
        return f"{self.get_reason_display()} ({self.state})"


class ReviewAppeal(models.Model):
    """One word against a decision about a review: `OPEN → ACCEPTED | REJECTED` by staff, `→ MOOT` when the review is deleted.

    Without a `report` it is the author's, against the hiding at `against_at`; with one it is the reporter's, against the
    dismissal of that report. Whoever a decision went against has one appeal against it, and what an appeal decides
    against the other side is a decision of its own.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    review = models.ForeignKey(TunerReview, on_delete=models.CASCADE, related_name="appeals")
    report = models.ForeignKey(ReviewReport, on_delete=models.CASCADE, null=True, blank=True, related_name="appeals")
    appellant = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="review_appeals")
    against_at = models.DateTimeField(help_text="When it was decided what this is against.")
    text = models.TextField(max_length=4000)
    state = models.CharField(max_length=8, choices=ReviewAppealState, default=ReviewAppealState.OPEN)
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by_id = models.UUIDField(null=True, blank=True)
    decision_reason = models.TextField(max_length=2000, blank=True, default="")
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="reviewappeal_one_per_hiding", fields=["review", "against_at"], condition=Q(report__isnull=True)
            ),
            models.UniqueConstraint(name="reviewappeal_one_per_report", fields=["report"], condition=Q(report__isnull=False)),
            models.CheckConstraint(
                name="reviewappeal_decided_iff_not_open",
                condition=Q(state=ReviewAppealState.OPEN, decided_at__isnull=True, decided_by_id__isnull=True)
                | Q(state=ReviewAppealState.MOOT, decided_at__isnull=False, decided_by_id__isnull=True)
                | Q(
                    state__in=[ReviewAppealState.ACCEPTED, ReviewAppealState.REJECTED],
                    decided_at__isnull=False,
                    decided_by_id__isnull=False,
                ),
            ),
            models.CheckConstraint(
                name="reviewappeal_decision_has_reason",
                condition=~Q(state__in=[ReviewAppealState.ACCEPTED, ReviewAppealState.REJECTED], decision_reason=""),
            ),
            models.CheckConstraint(
                name="reviewappeal_never_own_decision",
                condition=Q(decided_by_id__isnull=True) | ~Q(decided_by_id=F("appellant_id")),
            ),
        ]
        indexes = [models.Index(fields=["created_at"], name="reviewappeal_queue", condition=Q(state=ReviewAppealState.OPEN))]

    def __str__(self) -> str:
        return f"appeal about a review ({self.state})"


class TunerFollow(models.Model):
    """A person who wants to hear of a tuner's news. Made and removed by them at will."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tuner = models.ForeignKey(TunerProfile, on_delete=models.CASCADE, related_name="follows")
    follower = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="tuner_follows")
    created_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(name="tunerfollow_once", fields=["tuner", "follower"])]  # the counter counts rows

    def __str__(self) -> str:
        return f"{self.follower_id} follows {self.tuner_id}"


class SuspensionAppeal(models.Model):
    """A suspended tuner's one word against the suspension that began at `suspended_at`: `OPEN → ACCEPTED | REJECTED`."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tuner = models.ForeignKey(TunerProfile, on_delete=models.PROTECT, related_name="appeals")
    suspended_at = models.DateTimeField()
    text = models.TextField(max_length=4000)
    state = models.CharField(max_length=8, choices=AppealState, default=AppealState.OPEN)
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by_id = models.UUIDField(null=True, blank=True)
    decision_reason = models.TextField(max_length=2000, blank=True, default="")
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(name="suspensionappeal_one_per_suspension", fields=["tuner", "suspended_at"]),
            models.CheckConstraint(
                name="suspensionappeal_decided_iff_not_open",
                condition=Q(state=AppealState.OPEN, decided_at__isnull=True, decided_by_id__isnull=True)
                | Q(
                    state__in=[AppealState.ACCEPTED, AppealState.REJECTED],
                    decided_at__isnull=False,
                    decided_by_id__isnull=False,
                ),
            ),
        ]
        indexes = [models.Index(fields=["created_at"], name="appeal_queue", condition=Q(state=AppealState.OPEN))]

    def __str__(self) -> str:
        return f"appeal of {self.tuner} ({self.state})"
