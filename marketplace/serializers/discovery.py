"""Shapes of what is offered: similar and trending tunes, saved searches."""

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from core.serializers import CleanCharField, Input, Output, PageQuery, UtcDateTimeField
from garage.enums import VehicleKind
from marketplace.enums import FitmentVerdict, SavedSearchPause
from marketplace.serializers.tunes import TuneListQuery, TuneRowOutput

VERDICTS_TOLD = [FitmentVerdict.MATCH.value, FitmentVerdict.UNKNOWN.value]


class SimilarQuery(Input):
    vehicle = serializers.UUIDField(required=False, help_text="One of your own: tunes for it, with `fitment`, without mismatches.")


class SimilarOutput(Output):
    results = TuneRowOutput(many=True, help_text="At most 20.")


class TrendingQuery(PageQuery):
    make = CleanCharField(max_length=80, required=False, help_text="A name or alias, however spelled.")
    model = CleanCharField(max_length=120, required=False, help_text="With `make`.")
    kind = serializers.ChoiceField(VehicleKind.choices, required=False)

    def validate(self, attrs: dict) -> dict:
        if "model" in attrs and "make" not in attrs:
            raise serializers.ValidationError({"make": [serializers.ErrorDetail("`model` needs its `make`.", code="required")]})
        return attrs


class SavedSearchQueryInput(TuneListQuery):
    """Parameters of `GET marketplace/tunes/`, in the types of JSON; the vehicle stands beside them."""

    cursor = None
    page_size = None
    vehicle = None
    verdict = serializers.ChoiceField(
        VERDICTS_TOLD, required=False, help_text="With `vehicle`; default both. Nobody is told of mismatches."
    )

    def validate(self, attrs: dict) -> dict:
        super().validate({**attrs, "vehicle": None})
        return {name: str(value) if name == "tuner" else value for name, value in attrs.items() if value is not None}


class SavedSearchQueryOutput(SavedSearchQueryInput):
    """The same, as it is shown: a part of its own in the schema, because what clients send is closed."""


@extend_schema_field(SavedSearchQueryOutput)
class StoredQueryField(serializers.JSONField):
    """A query as it was validated when it was saved."""


class SavedSearchInput(Input):
    name = CleanCharField(max_length=80, help_text="Your own word for it; each once, whatever its case.")
    query = SavedSearchQueryInput(help_text="Parameters of `GET marketplace/tunes/`.")
    vehicle = serializers.UUIDField(required=False, allow_null=True, help_text="One of your own: mismatches are left out.")
    notify = serializers.BooleanField(required=False, help_text="Tell me of new matches. Default true.")


class SavedSearchOutput(Output):
    id = serializers.UUIDField()
    name = serializers.CharField()
    query = StoredQueryField(help_text="Only what was given.")
    vehicle = serializers.UUIDField(source="vehicle_id", allow_null=True)
    notify = serializers.BooleanField()
    paused_reason = serializers.ChoiceField(
        SavedSearchPause.choices, allow_null=True, help_text="Why nobody is told at present, whatever `notify` says."
    )
    created_at = UtcDateTimeField()
    updated_at = UtcDateTimeField()
    revision = serializers.IntegerField()
