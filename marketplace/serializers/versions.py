"""Shapes of versions, their files, their inspection and review."""

from typing import Any

from rest_framework import serializers

from core.serializers import CleanCharField, Input, Output, PageQuery, StrictIntegerField, UtcDateTimeField
from garage.enums import Market
from marketplace.enums import (
    EmissionsClass,
    FindingSeverity,
    InspectionVerdict,
    ReviewReason,
    VersionStatus,
    VersionTag,
)
from marketplace.serializers.tunes import EMPTY_REQUIREMENTS, FitmentOutput, RequirementsInput, RequirementsOutput

SEMVER = r"\A(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})\Z"
REGION = r"\A[A-Z]{2}(-[A-Z0-9]{1,3})?\Z"
MAX_IMAGE_BYTES = 4 * 1024 * 1024


class EcuCodeField(CleanCharField):
    """A hardware number or calibration id, kept in capitals: that is how vehicles' read-outs are compared."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=64, identifier=True, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        return super().to_internal_value(data).upper()


class UniqueListField(serializers.ListField):
    """A list without repetitions, in the order given."""

    def to_internal_value(self, data: Any) -> list:
        values = super().to_internal_value(data)
        self.run_validators(values)  # repeats count, as the schema says
        return list(dict.fromkeys(values))


class FitmentInput(Input):
    make = CleanCharField(max_length=80)
    model = CleanCharField(max_length=120, help_text="As in the catalogue, or an alias.")
    year_from = StrictIntegerField(min_value=1950, max_value=2100)
    year_to = StrictIntegerField(min_value=1950, max_value=2100)
    markets = UniqueListField(child=serializers.ChoiceField(Market.choices), min_length=1, max_length=len(Market.values))
    hardware_numbers = UniqueListField(child=EcuCodeField(), min_length=1, max_length=50)
    calibration_ids = UniqueListField(
        child=EcuCodeField(), max_length=100, required=False, help_text="Left empty, the calibration of every vehicle is `unknown`."
    )
    image_size_bytes = StrictIntegerField(min_value=1, max_value=MAX_IMAGE_BYTES)

    def validate(self, attrs: dict) -> dict:
        if attrs["year_from"] > attrs["year_to"]:
            raise serializers.ValidationError({"year_to": [serializers.ErrorDetail("The last year is before the first.", code="invalid")]})
        return {**attrs, "calibration_ids": attrs.get("calibration_ids", [])}


class _StockImageInput(Input):
    stock_image = serializers.UUIDField(
        required=False,
        allow_null=True,
        help_text="The image that the tune was made from: a READY upload of STOCK_FILE of yours, or a stock file of your garage.",
    )


class VersionFileInput(_StockImageInput):
    upload_id = serializers.UUIDField(help_text="A READY upload of TUNE_FILE.")
    fitments = FitmentInput(many=True, allow_empty=False, max_length=50)
    calibration_id_after = EcuCodeField(required=False, allow_null=True, help_text="What the ECU reports once this is flashed.")


def _tags_field() -> UniqueListField:
    return UniqueListField(child=serializers.ChoiceField(VersionTag.choices), max_length=20, required=False)


class _VersionClaims(Input):
    changelog = CleanCharField(max_length=5_000, multiline=True, required=False, allow_blank=True)
    certification_number = CleanCharField(max_length=60, identifier=True, required=False, allow_blank=True)
    blocked_regions = UniqueListField(
        child=serializers.RegexField(REGION),
        max_length=300,
        required=False,
        help_text="Countries (`DE`), parts of them (`US-CA`) or markets (`EU`).",
    )
    tags = _tags_field()


class VersionInput(_VersionClaims):
    version = serializers.RegexField(SEMVER, help_text="MAJOR.MINOR.PATCH, unique within the tune.")
    emissions_class = serializers.ChoiceField(EmissionsClass.choices)
    requirements = RequirementsInput(required=False, help_text="Default: the listing's.")
    files = VersionFileInput(many=True, allow_empty=False, max_length=20)


class VersionPatchInput(_VersionClaims):
    emissions_class = serializers.ChoiceField(EmissionsClass.choices, required=False)
    requirements = RequirementsInput(required=False)


class HoldInput(Input):
    reason = CleanCharField(max_length=2_000, multiline=True, help_text="Everybody who has the version reads it.")


class InspectionInput(_StockImageInput):
    upload_id = serializers.UUIDField(help_text="An upload of TUNE_FILE that was checked; it stays unused.")
    hardware_number = EcuCodeField(required=False, allow_null=True, help_text="Compared with what the image states.")
    fitments = FitmentInput(many=True, required=False, max_length=50, help_text="Those that the version is going to claim.")
    calibration_id_after = EcuCodeField(required=False, allow_null=True, help_text="What the ECU reports once this is flashed.")
    tags = _tags_field()


class VersionListQuery(PageQuery):
    """Parameters of a tune's history."""


class FindingOutput(Output):
    rule = serializers.CharField()
    severity = serializers.ChoiceField(FindingSeverity.choices)
    message = serializers.CharField()
    offset = serializers.IntegerField(allow_null=True)
    file = serializers.UUIDField(required=False, help_text="The version's file that it is about.")


class DetectedOutput(Output):
    hardware_number = serializers.CharField(allow_null=True)
    calibration_id = serializers.CharField(allow_null=True)
    image_size_bytes = serializers.IntegerField(allow_null=True)


class ChangesOutput(Output):
    """What an image changes in the stock image that was named. Counts and classes only: no bytes, and no places."""

    regions = serializers.IntegerField(help_text="How many separate places.")
    share = serializers.FloatField(help_text="Their part of the image.")
    sizes = serializers.DictField(child=serializers.IntegerField(), help_text="`tiny` (8 bytes), `small` (64), `medium` (4096), `large`.")
    kinds = serializers.DictField(
        child=serializers.IntegerField(), help_text="What they lie in: `maps, code, text, checksum, blank, other`, as far as it shows."
    )
    checksums = serializers.DictField(
        child=serializers.IntegerField(), help_text="Words that look like checksums: `changed, kept, broken`."
    )


class InspectionOutput(Output):
    """The dry run's report."""

    verdict = serializers.ChoiceField(InspectionVerdict.choices)
    findings = FindingOutput(many=True)
    detected = DetectedOutput()
    change_summary = serializers.CharField(help_text="What riders would read; empty when no stock image was compared.")
    changes = ChangesOutput(allow_null=True)
    format = serializers.CharField()
    sha256 = serializers.CharField()
    size_bytes = serializers.IntegerField()


class TuneFileOutput(Output):
    id = serializers.UUIDField()
    name = serializers.CharField()
    format = serializers.CharField(help_text="Empty until inspected.")
    size_bytes = serializers.IntegerField()
    sha256 = serializers.CharField()
    calibration_id_after = serializers.SerializerMethodField()
    fitments = serializers.SerializerMethodField()

    def get_calibration_id_after(self, file: Any) -> str | None:
        return file.calibration_id_after or None

    def get_fitments(self, file: Any) -> FitmentOutput(many=True):
        return FitmentOutput(file.fitments.all(), many=True).data


class VersionOutput(Output):
    """A version as everybody sees it."""

    id = serializers.UUIDField()
    tune = serializers.UUIDField(source="tune_id")
    version = serializers.CharField()
    status = serializers.ChoiceField(VersionStatus.choices)
    changelog = serializers.CharField()
    change_summary = serializers.CharField(help_text="What was changed against the stock image, coarsely; empty when none was named.")
    emissions_class = serializers.ChoiceField(EmissionsClass.choices)
    certification_number = serializers.SerializerMethodField()
    blocked_regions = serializers.ListField(child=serializers.CharField())
    tags = serializers.ListField(child=serializers.CharField())
    requirements = serializers.SerializerMethodField()
    files = serializers.SerializerMethodField()
    published_at = UtcDateTimeField(allow_null=True)

    def get_certification_number(self, version: Any) -> str | None:
        return version.certification_number or None

    def get_requirements(self, version: Any) -> RequirementsOutput:
        return {**EMPTY_REQUIREMENTS, **version.requirements}

    def get_files(self, version: Any) -> TuneFileOutput(many=True):
        return TuneFileOutput(version.files.all(), many=True).data


class VersionInspectionOutput(Output):
    verdict = serializers.ChoiceField(InspectionVerdict.choices)
    findings = FindingOutput(many=True)


class VersionReviewOutput(Output):
    position = serializers.IntegerField(allow_null=True, help_text="In the queue, from 1; null when not in review.")
    median_wait_hours = serializers.FloatField(allow_null=True)
    due_at = UtcDateTimeField(allow_null=True)
    decision = serializers.ChoiceField(["PUBLISHED", "CHANGES_REQUESTED", "REJECTED"], allow_null=True)
    reason_code = serializers.ChoiceField(ReviewReason.choices, allow_null=True)
    note = serializers.CharField(allow_null=True)


class OwnVersionOutput(VersionOutput):
    """A version as its tuner sees it."""

    inspection = serializers.SerializerMethodField()
    review = serializers.SerializerMethodField()
    revision = serializers.IntegerField()
    created_at = UtcDateTimeField()
    submitted_at = UtcDateTimeField(allow_null=True)

    def get_inspection(self, version: Any) -> VersionInspectionOutput(allow_null=True):
        if not version.inspection_verdict:
            return None
        return {"verdict": version.inspection_verdict, "findings": version.inspection_findings}

    def get_review(self, version: Any) -> VersionReviewOutput:
        standing = self.context["standings"][version.pk]
        return VersionReviewOutput(standing).data


class VersionDetailOutput(VersionOutput):
    """A version as whoever asks sees it: what its tuner alone gets may be missing."""

    inspection = VersionInspectionOutput(allow_null=True, required=False)
    review = VersionReviewOutput(required=False)
    revision = serializers.IntegerField(required=False)
    created_at = UtcDateTimeField(required=False)
    submitted_at = UtcDateTimeField(allow_null=True, required=False)
