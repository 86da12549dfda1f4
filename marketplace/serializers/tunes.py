"""Shapes of listings."""

import math
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from core import storage
from core.serializers import (
    CleanCharField,
    CurrencyField,
    Input,
    MinorField,
    Output,
    PageQuery,
    StrictIntegerField,
    UtcDateTimeField,
)
from garage.enums import FuelScale, Market, VehicleKind
from marketplace.enums import EmissionsClass, FitmentVerdict, FlashMethod, ReadBack, TuneCategory, TuneStatus, TuneSuspensionReason
from marketplace.money import SMALLEST_PRICE_MINOR

EMPTY_REQUIREMENTS = {
    "fuel": None,
    "required_parts": [],
    "forbidden_parts": [],
    "flash_methods": [FlashMethod.OBD.value],
    "read_back": ReadBack.UNKNOWN.value,
    "min_battery_mv": None,
}
DYNO_STANDARDS = ["SAE_J1349", "STD", "DIN", "EEC"]
PRICED_CURRENCIES = sorted(SMALLEST_PRICE_MINOR)
ORDERINGS = ["newest", "relevance", "price", "-price", "rating", "popular"]


@extend_schema_field({"type": "number", "minimum": 0})
class StrictNumberField(serializers.FloatField):
    """A finite JSON number within bounds, kept with one decimal."""

    default_error_messages = {"invalid": "A number is expected.", "out_of_range": "A number from 0 to {max_value} is expected."}

    def __init__(self, *, max_value: float, **kwargs: Any) -> None:
        super().__init__(min_value=0, max_value=max_value, **kwargs)

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or not isinstance(data, (int, float)) or not math.isfinite(data):
            self.fail("invalid")
        if not 0 <= data <= self.max_value:
            self.fail("out_of_range", max_value=self.max_value)
        return round(float(data), 1)

    def to_representation(self, value: float) -> float:
        return value


class RequiredFuelInput(Input):
    octane = StrictIntegerField(min_value=60, max_value=130)
    scale = serializers.ChoiceField(FuelScale.choices)


class RequirementsInput(Input):
    fuel = RequiredFuelInput(required=False, allow_null=True)
    required_parts = serializers.ListField(
        child=CleanCharField(max_length=80),
        max_length=20,
        required=False,
        help_text="Categories of mods (`EXHAUST`) or names of parts, compared with the rider's list of mods.",
    )
    forbidden_parts = serializers.ListField(child=CleanCharField(max_length=80), max_length=20, required=False)
    flash_methods = serializers.ListField(
        child=serializers.ChoiceField(FlashMethod.choices), min_length=1, max_length=3, required=False, help_text="Default: OBD."
    )
    read_back = serializers.ChoiceField(ReadBack.choices, required=False, help_text="Default: UNKNOWN.")
    min_battery_mv = StrictIntegerField(min_value=6_000, max_value=30_000, required=False, allow_null=True)

    def to_internal_value(self, data: Any) -> dict:
        given = super().to_internal_value(data)
        return {name: given.get(name, default) for name, default in EMPTY_REQUIREMENTS.items()}


class DynoRunInput(Input):
    power_kw = StrictNumberField(max_value=5000)
    torque_nm = StrictNumberField(max_value=10_000)


class DynoInput(Input):
    standard = serializers.ChoiceField(DYNO_STANDARDS, help_text="The correction standard of both runs.")
    baseline = DynoRunInput(help_text="The same vehicle on the same day, before.")
    tuned = DynoRunInput()


class TuneInput(Input):
    title = CleanCharField(max_length=120, min_length=3)
    description = CleanCharField(max_length=10_000, multiline=True, required=False, allow_blank=True)
    kind = serializers.ChoiceField(VehicleKind.choices)
    category = serializers.ChoiceField(TuneCategory.choices)
    price_minor = MinorField(help_text="What the rider pays, taxes included; 0 is free.")
    currency = serializers.ChoiceField(PRICED_CURRENCIES, help_text="ISO 4217; each has a smallest price.")
    requirements = RequirementsInput(required=False, help_text="Default for versions that state none.")
    dyno = DynoInput(required=False, allow_null=True)
    image_upload_ids = serializers.ListField(
        child=serializers.UUIDField(),
        max_length=8,
        required=False,
        help_text="READY uploads of TUNE_IMAGE, in their order. In a PATCH the whole list: ids that `images` shows stay.",
    )


class TuneListQuery(PageQuery):
    """Filters of the list; all of them hold together."""

    q = CleanCharField(max_length=300, required=False, help_text="Words, in any order; forgives a typo.")
    make = CleanCharField(max_length=80, required=False, help_text="A name or alias, however spelled.")
    model = CleanCharField(max_length=120, required=False, help_text="With `make`.")
    year = serializers.IntegerField(min_value=1885, max_value=2100, required=False, help_text="A model year that it fits.")
    market = serializers.ChoiceField(Market.choices, required=False)
    hardware_number = CleanCharField(max_length=64, identifier=True, required=False, help_text="Of an ECU that it fits.")
    calibration_id = CleanCharField(max_length=64, identifier=True, required=False, help_text="A stock calibration that it is made for.")
    kind = serializers.ChoiceField(VehicleKind.choices, required=False)
    category = serializers.ChoiceField(TuneCategory.choices, required=False)
    tuner = serializers.UUIDField(required=False, help_text="Tunes of this tuner only.")
    currency = CurrencyField(required=False, help_text="Required by price filters and orderings.")
    min_price_minor = MinorField(required=False, help_text="With `currency`.")
    max_price_minor = MinorField(required=False, help_text="With `currency`.")
    free = serializers.BooleanField(required=False, allow_null=True, default=None, help_text="Free ones only, or paid ones only.")
    min_rating = serializers.FloatField(min_value=1, max_value=5, required=False, help_text="Leaves out tunes without reviews, too.")
    fuel_octane = serializers.IntegerField(min_value=60, max_value=130, required=False, help_text="Runs on this fuel; with `fuel_scale`.")
    fuel_scale = serializers.ChoiceField(FuelScale.choices, required=False)
    emissions_class = serializers.ChoiceField(EmissionsClass.choices, required=False)
    vehicle = serializers.UUIDField(
        required=False,
        help_text="One of your own: adds `fitment`, hides mismatches. A page may then be short, or empty, though `next` goes on.",
    )
    verdict = serializers.ChoiceField(FitmentVerdict.choices, required=False, help_text="With `vehicle`: only these.")
    ordering = serializers.ChoiceField(ORDERINGS, required=False, help_text="Default `newest`, with `q` `relevance`.")

    def validate(self, attrs: dict) -> dict:
        errors: dict[str, list] = {}

        def refuse(name: str, code: str, message: str) -> None:
            errors[name] = [serializers.ErrorDetail(message, code=code)]

        if attrs.get("ordering") == "relevance" and "q" not in attrs:
            refuse("ordering", "needs_q", "Relevance needs `q`.")
        priced = {"min_price_minor", "max_price_minor"} & attrs.keys() or attrs.get("ordering") in {"price", "-price"}
        if priced and "currency" not in attrs:
            refuse("currency", "required", "Prices are compared within one `currency`.")
        if "model" in attrs and "make" not in attrs:
            refuse("make", "required", "`model` needs its `make`.")
        if ("fuel_octane" in attrs) != ("fuel_scale" in attrs):
            missing = "fuel_scale" if "fuel_octane" in attrs else "fuel_octane"
            refuse(missing, "required", "An octane number means nothing without its scale.")
        if "verdict" in attrs and "vehicle" not in attrs:
            refuse("vehicle", "required", "`verdict` needs a `vehicle`.")
        if attrs.get("min_price_minor", 0) > attrs.get("max_price_minor", math.inf):
            refuse("min_price_minor", "invalid", "The lowest price is above the highest.")
        if errors:
            raise serializers.ValidationError(errors)
        return attrs


class FacetsQuery(Input):
    make = CleanCharField(max_length=80, required=False, help_text="Counts for this make only; a name or alias.")
    model = CleanCharField(max_length=120, required=False, help_text="With `make`.")

    def validate(self, attrs: dict) -> dict:
        if "model" in attrs and "make" not in attrs:
            raise serializers.ValidationError({"make": [serializers.ErrorDetail("`model` needs its `make`.", code="required")]})
        return attrs


class SuggestQuery(Input):
    q = CleanCharField(max_length=80, help_text="What was typed so far.")


class VehicleQuery(Input):
    vehicle = serializers.UUIDField(help_text="One of your own.")


class OwnTuneListQuery(PageQuery):
    status = serializers.ChoiceField(TuneStatus.choices, required=False)


# Output of the hot reads: declared for the schema, rendered by the functions below; a test compares the two.


class TuneTunerOutput(Output):
    id = serializers.UUIDField()
    business_name = serializers.CharField()
    verified = serializers.BooleanField()
    rating = serializers.FloatField(allow_null=True)
    review_count = serializers.IntegerField()


class LatestVersionOutput(Output):
    id = serializers.UUIDField()
    version = serializers.CharField()
    published_at = UtcDateTimeField()


class VerdictReasonOutput(Output):
    code = serializers.CharField()
    detail = serializers.CharField()


class VerdictOutput(Output):
    verdict = serializers.ChoiceField(FitmentVerdict.choices)
    reasons = VerdictReasonOutput(many=True)


class TuneRowOutput(Output):
    """A tune in a list."""

    id = serializers.UUIDField()
    title = serializers.CharField()
    kind = serializers.ChoiceField(VehicleKind.choices)
    category = serializers.ChoiceField(TuneCategory.choices)
    tuner = TuneTunerOutput()
    price_minor = serializers.IntegerField()
    currency = serializers.CharField()
    rating = serializers.FloatField(allow_null=True)
    review_count = serializers.IntegerField()
    download_count = serializers.IntegerField()
    flash_success_rate = serializers.FloatField(allow_null=True)
    flash_count = serializers.IntegerField()
    latest_version = LatestVersionOutput(allow_null=True)
    image_url = serializers.URLField(allow_null=True)
    fitment_summary = serializers.ListField(child=serializers.CharField())
    emissions_class = serializers.ChoiceField(EmissionsClass.choices, allow_null=True)
    fitment = VerdictOutput(required=False, help_text="With `vehicle` only.")


class FitmentOutput(Output):
    make = serializers.CharField(source="make_name")
    model = serializers.CharField(source="model_name")
    year_from = serializers.IntegerField()
    year_to = serializers.IntegerField()
    markets = serializers.ListField(child=serializers.CharField())
    hardware_numbers = serializers.ListField(child=serializers.CharField())
    calibration_ids = serializers.ListField(child=serializers.CharField())
    image_size_bytes = serializers.IntegerField()


class RequiredFuelOutput(Output):
    octane = serializers.IntegerField()
    scale = serializers.ChoiceField(FuelScale.choices)


class RequirementsOutput(Output):
    fuel = RequiredFuelOutput(allow_null=True)
    required_parts = serializers.ListField(child=serializers.CharField())
    forbidden_parts = serializers.ListField(child=serializers.CharField())
    flash_methods = serializers.ListField(child=serializers.ChoiceField(FlashMethod.choices))
    read_back = serializers.ChoiceField(ReadBack.choices)
    min_battery_mv = serializers.IntegerField(allow_null=True)


class DynoRunOutput(Output):
    power_kw = serializers.FloatField()
    torque_nm = serializers.FloatField()


class DynoOutput(Output):
    standard = serializers.ChoiceField(DYNO_STANDARDS)
    baseline = DynoRunOutput()
    tuned = DynoRunOutput()


class TuneImageOutput(Output):
    upload_id = serializers.UUIDField()
    url = serializers.URLField()
    width = serializers.IntegerField(allow_null=True)
    height = serializers.IntegerField(allow_null=True)


class AttestationOutput(Output):
    text_version = serializers.CharField()
    text = serializers.CharField()
    sha256 = serializers.CharField()


class ViewerOutput(Output):
    purchase_id = serializers.UUIDField(allow_null=True)
    license_state = serializers.CharField(allow_null=True)
    owned_version = serializers.CharField(allow_null=True, help_text="The version downloaded last.")
    is_favorite = serializers.BooleanField()


class TuneDetailOutput(TuneRowOutput):
    """A tune with everything that is said about it."""

    status = serializers.ChoiceField(TuneStatus.choices)
    on_sale = serializers.BooleanField()
    description = serializers.CharField()
    images = TuneImageOutput(many=True)
    fitments = FitmentOutput(many=True, help_text="Of all versions on sale.")
    requirements = RequirementsOutput()
    dyno = DynoOutput(allow_null=True)
    blocked_regions = serializers.ListField(child=serializers.CharField())
    attestation = AttestationOutput()
    viewer = ViewerOutput(required=False, help_text="Signed in only.")
    created_at = UtcDateTimeField()
    updated_at = UtcDateTimeField()
    published_at = UtcDateTimeField(allow_null=True)
    revision = serializers.IntegerField()
    fitment = None


class OwnTuneOutput(TuneRowOutput):
    """An own listing, in any state."""

    status = serializers.ChoiceField(TuneStatus.choices)
    on_sale = serializers.BooleanField()
    description = serializers.CharField()
    images = TuneImageOutput(many=True)
    requirements = RequirementsOutput()
    dyno = DynoOutput(allow_null=True)
    suspension_reason = serializers.ChoiceField(TuneSuspensionReason.choices, allow_null=True)
    suspension_note = serializers.CharField(allow_null=True)
    created_at = UtcDateTimeField()
    updated_at = UtcDateTimeField()
    published_at = UtcDateTimeField(allow_null=True)
    revision = serializers.IntegerField()
    fitment = None


class FacetCountOutput(Output):
    value = serializers.CharField()
    count = serializers.IntegerField()
    capped = serializers.BooleanField(help_text="There are more than `count`: show 1000+.")


class FacetCountsOutput(Output):
    kind = FacetCountOutput(many=True)
    category = FacetCountOutput(many=True)
    make = FacetCountOutput(many=True)
    emissions_class = FacetCountOutput(many=True)
    free = FacetCountOutput(many=True)


class FacetsOutput(Output):
    counts = FacetCountsOutput()
    as_of = UtcDateTimeField()


class SuggestionOutput(Output):
    text = serializers.CharField()
    kind = serializers.ChoiceField(["MAKE", "MODEL", "TUNER", "TUNE"])


class SuggestionsOutput(Output):
    results = SuggestionOutput(many=True)


class TuneVerdictOutput(VerdictOutput):
    """How a tune fits one of your own vehicles, and which of its files comes closest."""

    version = LatestVersionOutput(allow_null=True, help_text="The version the verdict is about.")
    file = serializers.UUIDField(allow_null=True)


class FavoriteOutput(Output):
    tune = TuneRowOutput()
    created_at = UtcDateTimeField()


def rating_of(rating_milli: int | None) -> float | None:
    """4667 thousandths as 4.7."""
    return None if rating_milli is None else round(rating_milli / 1000, 1)


def success_rate_of(succeeded: int, count: int) -> float | None:
    """Three decimals; unknown while nobody has flashed it."""
    return round(succeeded / count, 3) if count else None


def images_of(images: list[dict]) -> list[dict]:
    """Stored pictures as clients see them."""
    return [
        {"upload_id": image["upload_id"], "url": storage.public_url(image["key"]), "width": image["width"], "height": image["height"]}
        for image in images
    ]


def render_row(row: tuple) -> dict:
    """A row of `selectors.browse.COLUMNS` as the list shows it. Plain dicts: a Serializer costs more than the query."""
    tune_id, title, kind, category, price_minor, currency, rating_milli, rating_count, download_count = row[:9]
    flash_count, flash_success_count, image_key, fitment_summary, emissions_class = row[9:14]
    tuner_id, business_name, verified, tuner_rating, review_count, version_id, version, version_published_at = row[14:22]
    return {
        "id": tune_id,
        "title": title,
        "kind": kind,
        "category": category,
        "tuner": {
            "id": tuner_id,
            "business_name": business_name,
            "verified": verified,
            "rating": None if tuner_rating is None else round(tuner_rating, 1),
            "review_count": review_count,
        },
        "price_minor": price_minor,
        "currency": currency,
        "rating": None if rating_milli is None else round(rating_milli / 1000, 1),
        "review_count": rating_count,
        "download_count": download_count,
        "flash_success_rate": round(flash_success_count / flash_count, 3) if flash_count else None,
        "flash_count": flash_count,
        "latest_version": version_id and {"id": version_id, "version": version, "published_at": version_published_at},
        "image_url": image_key and storage.public_url(image_key),
        "fitment_summary": fitment_summary,
        "emissions_class": emissions_class or None,
    }


def render_own(row: tuple, more: tuple) -> dict:
    """An own listing: the list's row with what only its tuner sees (`selectors.browse.OWN_COLUMNS`)."""
    status, listed, description, images, requirements, dyno, suspension_reason, suspension_note = more[:8]
    created_at, updated_at, published_at, revision = more[8:12]
    return {
        **render_row(row),
        "status": status,
        "on_sale": listed,
        "description": description,
        "images": images_of(images),
        "requirements": {**EMPTY_REQUIREMENTS, **requirements},
        "dyno": dyno,
        "suspension_reason": suspension_reason or None,
        "suspension_note": suspension_note or None,
        "created_at": created_at,
        "updated_at": updated_at,
        "published_at": published_at,
        "revision": revision,
    }
