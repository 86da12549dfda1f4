"""What this app's endpoints take and answer."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from core.card_numbers import contains_card_number
from core.serializers import CleanCharField, CountryField, Input, Output, PageQuery, StrictIntegerField, UtcDateTimeField
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
from tuners.policies import due_at
from tuners.selectors import TUNER_ORDERINGS


class HttpsUrlField(serializers.URLField):
    """A web address that starts with https://; other schemes have no place in a profile."""

    default_error_messages = {
        "https_required": "The address has to start with https://.",
        "card_number": CleanCharField.default_error_messages["card_number"],
    }

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=200, **kwargs)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        value = super().run_validation(data)
        if isinstance(value, str) and value and not value.startswith("https://"):
            self.fail("https_required")
        if isinstance(value, str) and contains_card_number(value):
            self.fail("card_number")
        return value


class SpecialitiesField(serializers.ListField):
    """A set of specialities: no order, no repeats."""

    child = serializers.ChoiceField(choices=Speciality.choices)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=len(Speciality.values), **kwargs)

    def to_internal_value(self, data: Any) -> list[str]:
        values = super().to_internal_value(data)
        self.run_validators(values)  # repeats count, as the schema says
        return sorted(set(values))


# Discovery


_WORDS_HELP = (
    "Words, of which each begins a word of the name, a make, one of its aliases or a speciality, or stands inside a word of the name"
    " (three letters or more). When nobody has all of them, a word that begins none of anybody's is taken for what is one typo away."
)


class TunerListQuery(PageQuery):
    q = CleanCharField(max_length=100, required=False, help_text=_WORDS_HELP)
    speciality = serializers.ChoiceField(choices=Speciality.choices, required=False)
    make = CleanCharField(max_length=80, required=False, help_text="A make that the tuner has published for.")
    country = CountryField(required=False, help_text="Where the tuner works.")
    min_rating = serializers.FloatField(min_value=1, max_value=5, required=False, help_text="Leaves out tuners without reviews, too.")
    verified = serializers.BooleanField(required=False, allow_null=True, default=None, help_text="With the badge, or without.")
    ordering = serializers.ChoiceField(choices=list(TUNER_ORDERINGS), default="rating")


class TunerOutput(Output):
    """A tuner in a list."""

    id = serializers.UUIDField()
    kind = serializers.ChoiceField(choices=TunerKind.choices)
    business_name = serializers.CharField()
    country = serializers.CharField()
    specialities = serializers.ListField(child=serializers.ChoiceField(choices=Speciality.choices))
    makes = serializers.ListField(child=serializers.CharField())
    verified = serializers.BooleanField()
    rating = serializers.FloatField(allow_null=True)
    review_count = serializers.IntegerField()
    follower_count = serializers.IntegerField()


_LISTED = tuple(TunerOutput().fields)


def render_tuner(row: tuple) -> dict[str, Any]:
    """A row of `selectors.TUNER_COLUMNS` as `TunerOutput` declares it. Plain dicts: twenty serializers cost more than the query."""
    return dict(zip(_LISTED, row, strict=False))  # the order's key stands behind


class TunerViewerOutput(Output):
    """What a tuner is to the person who asks."""

    is_following = serializers.BooleanField()


class TunerDetailOutput(TunerOutput):
    """A tuner's public page."""

    about = serializers.CharField()
    experience = serializers.CharField()
    website = serializers.CharField(allow_null=True)
    created_at = UtcDateTimeField()
    viewer = TunerViewerOutput(allow_null=True, help_text="Only for those who are signed in.")

    def to_representation(self, instance: Any) -> dict[str, Any]:
        instance.viewer = self.context.get("viewer")
        return {**super().to_representation(instance), "website": instance.website or None}


# Reviews


class ReviewAuthorOutput(Output):
    id = serializers.UUIDField()
    display_name = serializers.CharField()


class ReviewReplyOutput(Output):
    text = serializers.CharField()
    created_at = UtcDateTimeField()


class ReviewOutput(Output):
    """A published review."""

    id = serializers.UUIDField()
    tuner = serializers.UUIDField(source="tuner_id")
    tune = serializers.UUIDField(source="tune_id")
    tune_version = serializers.UUIDField(source="tune_version_id")
    rating = serializers.IntegerField(min_value=1, max_value=5)
    text = serializers.CharField()
    vehicle = serializers.CharField(source="vehicle_label", help_text="What it was flashed on, as the author's garage had it.")
    author = ReviewAuthorOutput(source="buyer")
    is_refunded = serializers.BooleanField(help_text="The author got the money back.")
    is_counted = serializers.BooleanField(
        help_text="Part of the ratings. Not so where the money went back before anything was downloaded."
    )
    reply = serializers.SerializerMethodField()
    created_at = UtcDateTimeField()
    edited_at = UtcDateTimeField(allow_null=True)
    revision = serializers.IntegerField()

    @extend_schema_field(ReviewReplyOutput(allow_null=True))
    def get_reply(self, review: Any) -> dict[str, Any] | None:
        if not review.reply:
            return None
        return ReviewReplyOutput({"text": review.reply, "created_at": review.replied_at}).data


class ReviewEditInput(Input):
    rating = StrictIntegerField(min_value=1, max_value=5, required=False)
    text = CleanCharField(max_length=4000, multiline=True, required=False, allow_blank=True)


class ReviewReplyInput(Input):
    text = CleanCharField(max_length=2000, multiline=True)


class ReviewReportInput(Input):
    reason = serializers.ChoiceField(choices=ReportReason.choices)
    text = CleanCharField(max_length=2000, multiline=True, required=False, allow_blank=True, default="")


class ReviewReportOutput(Output):
    """One's own report, and what was decided."""

    id = serializers.UUIDField()
    review = serializers.UUIDField(source="review_id")
    reason = serializers.ChoiceField(choices=ReportReason.choices)
    text = serializers.CharField()
    state = serializers.ChoiceField(choices=ReportState.choices)
    decision_reason = serializers.CharField()
    due_at = serializers.SerializerMethodField(help_text="Until when staff mean to decide.")
    decided_at = UtcDateTimeField(allow_null=True)
    created_at = UtcDateTimeField()

    @extend_schema_field(UtcDateTimeField())
    def get_due_at(self, report: Any) -> str:
        return UtcDateTimeField().to_representation(due_at(report))


class ReviewAppealInput(Input):
    text = CleanCharField(max_length=4000, multiline=True)


class ReviewAppealOutput(Output):
    """One's own appeal against a decision about a review."""

    id = serializers.UUIDField()
    review = serializers.UUIDField(source="review_id")
    report = serializers.UUIDField(source="report_id", allow_null=True, help_text="Whose dismissal it is against; null: a hiding.")
    text = serializers.CharField()
    state = serializers.ChoiceField(choices=ReviewAppealState.choices)
    decision_reason = serializers.CharField()
    decided_at = UtcDateTimeField(allow_null=True)
    created_at = UtcDateTimeField()


class HidingOutput(Output):
    reason = serializers.CharField(source="hidden_reason")
    since = UtcDateTimeField(source="hidden_at")


class ReviewDetailOutput(ReviewOutput):
    """A review, and what the person who asks has to do with it."""

    state = serializers.ChoiceField(choices=ReviewState.choices)
    hiding = serializers.SerializerMethodField(help_text="Why staff took it off the lists; for its author.")
    report = ReviewReportOutput(source="own_report", allow_null=True, help_text="One's own latest report of it.")
    appeal = ReviewAppealOutput(source="own_appeal", allow_null=True, help_text="One's own latest appeal about it.")

    @extend_schema_field(HidingOutput(allow_null=True))
    def get_hiding(self, review: Any) -> dict[str, Any] | None:
        if review.state != ReviewState.HIDDEN or self.context["viewer"] != review.buyer:
            return None
        return HidingOutput(review).data


# Application


class ApplicationInput(Input):
    kind = serializers.ChoiceField(choices=TunerKind.choices)
    business_name = CleanCharField(max_length=120)
    country = CountryField()
    website = HttpsUrlField(required=False, allow_blank=True)
    experience = CleanCharField(max_length=4000, multiline=True)
    specialities = SpecialitiesField(min_length=1)


class ApplicationReasonOutput(Output):
    code = serializers.ChoiceField(choices=["information_requested", "rejected", "certification_refused"])
    detail = serializers.CharField()
    certification = serializers.UUIDField(allow_null=True)


class ApplicationOutput(Output):
    """One's own application, where it stands and what is in its way."""

    id = serializers.UUIDField()
    kind = serializers.ChoiceField(choices=TunerKind.choices)
    business_name = serializers.CharField()
    country = serializers.CharField()
    website = serializers.CharField(allow_null=True)
    experience = serializers.CharField()
    specialities = serializers.ListField(child=serializers.ChoiceField(choices=Speciality.choices))
    status = serializers.ChoiceField(choices=ApplicationStatus.choices)
    queue_position = serializers.IntegerField(allow_null=True)
    median_wait_hours = serializers.FloatField(allow_null=True)
    reasons = ApplicationReasonOutput(many=True)
    submitted_at = UtcDateTimeField(allow_null=True)
    decided_at = UtcDateTimeField(allow_null=True)
    may_reapply_at = UtcDateTimeField(allow_null=True)
    revision = serializers.IntegerField()
    created_at = UtcDateTimeField()
    updated_at = UtcDateTimeField()

    def to_representation(self, instance: Any) -> dict[str, Any]:
        standing = self.context["standing"]
        for name, value in standing.items():
            setattr(instance, name, value)
        return {**super().to_representation(instance), "website": instance.website or None}


class CertificationInput(Input):
    upload_id = serializers.UUIDField()
    type = serializers.ChoiceField(choices=CertificationType.choices)
    issuer = CleanCharField(max_length=120)
    number = CleanCharField(max_length=80, identifier=True, required=False, allow_blank=True, default="")
    expires_on = serializers.DateField()


class CertificationOutput(Output):
    """One's own document. Its file is for staff only."""

    id = serializers.UUIDField()
    type = serializers.ChoiceField(choices=CertificationType.choices)
    issuer = serializers.CharField()
    number = serializers.CharField()
    expires_on = serializers.DateField()
    file_name = serializers.CharField()
    size_bytes = serializers.IntegerField()
    sha256 = serializers.CharField()
    verdict = serializers.ChoiceField(choices=CertificationVerdict.choices)
    verdict_reason = serializers.CharField()
    judged_at = UtcDateTimeField(allow_null=True)
    created_at = UtcDateTimeField()


# Own profile


class TunerProfileInput(Input):
    about = CleanCharField(max_length=4000, multiline=True, allow_blank=True, required=False)
    website = HttpsUrlField(required=False, allow_blank=True)
    experience = CleanCharField(max_length=4000, multiline=True, required=False)
    specialities = SpecialitiesField(min_length=1, required=False)


class AppealInput(Input):
    text = CleanCharField(max_length=4000, multiline=True)


class AppealOutput(Output):
    id = serializers.UUIDField()
    text = serializers.CharField()
    state = serializers.ChoiceField(choices=AppealState.choices)
    decision_reason = serializers.CharField()
    decided_at = UtcDateTimeField(allow_null=True)
    created_at = UtcDateTimeField()


class SuspensionOutput(Output):
    reason = serializers.ChoiceField(choices=SuspensionReason.choices, source="suspension_reason")
    note = serializers.CharField(source="suspension_note")
    since = UtcDateTimeField(source="suspended_at")


class OwnTunerProfileOutput(TunerOutput):
    """One's own profile, with what only its tuner sees."""

    about = serializers.CharField()
    experience = serializers.CharField()
    website = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(choices=TunerStatus.choices)
    suspension = serializers.SerializerMethodField()
    appeal = serializers.SerializerMethodField()
    fee_basis_points = serializers.IntegerField()
    hold_days = serializers.IntegerField()
    minimum_payout_minor = serializers.IntegerField()
    publish_blockers = serializers.SerializerMethodField()
    revision = serializers.IntegerField()
    created_at = UtcDateTimeField()
    updated_at = UtcDateTimeField()

    @extend_schema_field(SuspensionOutput(allow_null=True))
    def get_suspension(self, profile: Any) -> dict[str, Any] | None:
        return None if profile.is_active else SuspensionOutput(profile).data

    @extend_schema_field(AppealOutput(allow_null=True))
    def get_appeal(self, _profile: Any) -> dict[str, Any] | None:
        appeal = self.context["appeal"]
        return None if appeal is None else AppealOutput(appeal).data

    def get_publish_blockers(self, _profile: Any) -> list[str]:
        return self.context["publish_blockers"]

    def to_representation(self, instance: Any) -> dict[str, Any]:
        return {**super().to_representation(instance), "website": instance.website or None}
