"""Rows for tests, in their lowest legal state; further states are traits."""

from datetime import date, timedelta

import factory
from django.db.models import F

from core import clock
from core.ids import new_id
from tuners.enums import (
    AppealState,
    ApplicationStatus,
    CertificationType,
    CertificationVerdict,
    ReportReason,
    ReportState,
    ReviewState,
    Speciality,
    SuspensionReason,
    TunerKind,
    TunerStatus,
)
from tuners.models import (
    ReviewAppeal,
    ReviewReport,
    SuspensionAppeal,
    TunerApplication,
    TunerCertification,
    TunerFollow,
    TunerProfile,
    TunerReview,
)
from tuners.names import make_key, name_key, search_text
from users.tests.factories import UserFactory


class TunerProfileFactory(factory.django.DjangoModelFactory):
    """An active, verified tuner with two-factor sign-in; `creator=True` and `suspended=True` change that."""

    class Meta:
        model = TunerProfile

    class Params:
        creator = factory.Trait(
            kind=TunerKind.CREATOR, verified=False, verified_at=None, user=factory.SubFactory(UserFactory, creator=True, mfa=True)
        )
        unverified = factory.Trait(verified=False, verified_at=None)
        suspended = factory.Trait(
            status=TunerStatus.SUSPENDED,
            suspension_reason=SuspensionReason.SAFETY,
            suspension_note="Two files bricked an ECU.",
            suspended_at=factory.LazyFunction(lambda: clock.now() - timedelta(days=1)),
        )

    user = factory.SubFactory(UserFactory, tuner=True, mfa=True)
    kind = TunerKind.TUNER
    business_name = factory.Sequence(lambda n: f"Alpine Flash {n}")
    country = "DE"
    about = "Road and track maps, each measured on our own dyno."
    experience = "Twelve years of engine calibration."
    specialities = factory.LazyFunction(lambda: [Speciality.STREET, Speciality.TRACK])
    makes = factory.LazyFunction(lambda: ["Yamaha"])
    make_keys = factory.LazyAttribute(lambda row: sorted({make_key(make) for make in row.makes}))
    name_key = factory.LazyAttribute(lambda row: name_key(row.business_name))
    search_text = factory.LazyAttribute(lambda row: search_text(row.business_name, row.makes))
    verified = True
    verified_at = factory.LazyFunction(clock.now)
    created_at = factory.LazyFunction(clock.now)
    updated_at = factory.SelfAttribute("created_at")


class TunerApplicationFactory(factory.django.DjangoModelFactory):
    """A draft; `submitted`, `info_requested`, `rejected` and `approved` are further on."""

    class Meta:
        model = TunerApplication

    class Params:
        submitted = factory.Trait(
            status=ApplicationStatus.SUBMITTED,
            submitted_at=factory.LazyFunction(clock.now),
            queued_at=factory.SelfAttribute("submitted_at"),
        )
        info_requested = factory.Trait(
            status=ApplicationStatus.INFO_REQUESTED,
            submitted_at=factory.LazyFunction(lambda: clock.now() - timedelta(days=2)),
            queued_at=factory.SelfAttribute("submitted_at"),
            decided_at=factory.LazyFunction(clock.now),
            decided_by_id=factory.LazyFunction(new_id),
            decision_reason="The registration is not readable.",
        )
        rejected = factory.Trait(
            status=ApplicationStatus.REJECTED,
            submitted_at=factory.LazyFunction(lambda: clock.now() - timedelta(days=2)),
            queued_at=factory.SelfAttribute("submitted_at"),
            decided_at=factory.LazyFunction(clock.now),
            decided_by_id=factory.LazyFunction(new_id),
            decision_reason="No evidence of a business.",
            may_reapply_at=factory.LazyAttribute(lambda row: row.decided_at + timedelta(days=30)),
        )
        approved = factory.Trait(
            status=ApplicationStatus.APPROVED,
            submitted_at=factory.LazyFunction(lambda: clock.now() - timedelta(days=2)),
            queued_at=factory.SelfAttribute("submitted_at"),
            decided_at=factory.LazyFunction(clock.now),
            decided_by_id=factory.LazyFunction(new_id),
        )

    applicant = factory.SubFactory(UserFactory)
    kind = TunerKind.TUNER
    business_name = factory.Sequence(lambda n: f"Bay Area Maps {n}")
    country = "US"
    experience = "Six years at a dealership's dyno."
    specialities = factory.LazyFunction(lambda: [Speciality.STREET])
    created_at = factory.LazyFunction(clock.now)
    updated_at = factory.SelfAttribute("created_at")


class TunerCertificationFactory(factory.django.DjangoModelFactory):
    """A certification that nobody has judged; `accepted` and `refused` are judged, `expired` ended yesterday."""

    class Meta:
        model = TunerCertification

    class Params:
        accepted = factory.Trait(
            verdict=CertificationVerdict.ACCEPTED, judged_at=factory.LazyFunction(clock.now), judged_by_id=factory.LazyFunction(new_id)
        )
        refused = factory.Trait(
            verdict=CertificationVerdict.REFUSED,
            verdict_reason="Not readable.",
            judged_at=factory.LazyFunction(clock.now),
            judged_by_id=factory.LazyFunction(new_id),
        )
        expired = factory.Trait(expires_on=factory.LazyFunction(lambda: clock.now().date() - timedelta(days=1)))

    owner = factory.SubFactory(UserFactory)
    upload_id = factory.LazyFunction(new_id)
    storage_key = factory.LazyAttribute(lambda row: f"certifications/{row.upload_id}")
    file_name = "registration.pdf"
    content_type = "application/pdf"
    size_bytes = 2048
    sha256 = "ab" * 32
    type = CertificationType.BUSINESS_REGISTRATION
    issuer = "Chamber of Commerce"
    number = "HRB 1234"
    expires_on = date(2099, 1, 1)
    created_at = factory.LazyFunction(clock.now)


class TunerReviewFactory(factory.django.DjangoModelFactory):
    """A published review that its tuner's aggregate counts already; `hidden`, `deleted` and `uncounted` ones are not counted."""

    class Meta:
        model = TunerReview

    class Params:
        hidden = factory.Trait(state=ReviewState.HIDDEN, hidden_at=factory.LazyFunction(clock.now), hidden_reason="Insult.")
        deleted = factory.Trait(state=ReviewState.DELETED, deleted_at=factory.LazyFunction(clock.now), text="")
        replied = factory.Trait(reply="Thank you.", replied_at=factory.LazyFunction(clock.now))
        uncounted = factory.Trait(is_refunded=True, is_counted=False)

    tuner = factory.SubFactory(TunerProfileFactory)
    buyer = factory.SubFactory(UserFactory)
    tune_id = factory.LazyFunction(new_id)
    tune_version_id = factory.LazyFunction(new_id)
    vehicle_label = "Yamaha MT-09 2021"
    rating = 4
    text = "Smooth from 3,000 rpm, no more surging."
    created_at = factory.LazyFunction(clock.now)
    updated_at = factory.SelfAttribute("created_at")

    @classmethod
    def _create(cls, model_class, *args, **kwargs):
        review = super()._create(model_class, *args, **kwargs)
        if review.state == ReviewState.PUBLISHED and review.is_counted:
            TunerProfile.objects.filter(pk=review.tuner_id).update(
                rating_sum=F("rating_sum") + review.rating, review_count=F("review_count") + 1
            )
        return review


class ReviewReportFactory(factory.django.DjangoModelFactory):
    """An open report; `dismissed` is one that staff did not agree with."""

    class Meta:
        model = ReviewReport

    class Params:
        dismissed = factory.Trait(
            state=ReportState.DISMISSED,
            decided_at=factory.LazyFunction(clock.now),
            decided_by_id=factory.LazyFunction(new_id),
            decision_reason="A fair opinion.",
        )

    review = factory.SubFactory(TunerReviewFactory)
    reporter = factory.SubFactory(UserFactory)
    reason = ReportReason.ABUSE
    text = "He calls us names."
    created_at = factory.LazyFunction(clock.now)


class ReviewAppealFactory(factory.django.DjangoModelFactory):
    """An author's open appeal against the hiding of their review; `of_reporter` is one against the dismissal of a report."""

    class Meta:
        model = ReviewAppeal

    class Params:
        of_reporter = factory.Trait(
            review=factory.SelfAttribute("report.review"),
            report=factory.SubFactory(ReviewReportFactory, dismissed=True),
            appellant=factory.SelfAttribute("report.reporter"),
            against_at=factory.SelfAttribute("report.decided_at"),
        )

    review = factory.SubFactory(TunerReviewFactory, hidden=True)
    report = None
    appellant = factory.SelfAttribute("review.buyer")
    against_at = factory.SelfAttribute("review.hidden_at")
    text = "It was irony, and about his invoice."
    created_at = factory.LazyFunction(clock.now)


class TunerFollowFactory(factory.django.DjangoModelFactory):
    """Somebody who follows a tuner, counted."""

    class Meta:
        model = TunerFollow

    tuner = factory.SubFactory(TunerProfileFactory)
    follower = factory.SubFactory(UserFactory)
    created_at = factory.LazyFunction(clock.now)

    @classmethod
    def _create(cls, model_class, *args, **kwargs):
        follow = super()._create(model_class, *args, **kwargs)
        TunerProfile.objects.filter(pk=follow.tuner_id).update(follower_count=F("follower_count") + 1)
        return follow


class SuspensionAppealFactory(factory.django.DjangoModelFactory):
    """An open appeal against the present suspension."""

    class Meta:
        model = SuspensionAppeal

    tuner = factory.SubFactory(TunerProfileFactory, suspended=True)
    suspended_at = factory.LazyAttribute(lambda row: row.tuner.suspended_at)
    text = "The ECU had been opened before; here are the photos."
    state = AppealState.OPEN
    created_at = factory.LazyFunction(clock.now)
