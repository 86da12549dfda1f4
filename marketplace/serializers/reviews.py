"""Reviews of a tune, and what riders of the same bike say of it."""

from rest_framework import serializers

from core.serializers import CleanCharField, Input, Output, PageQuery, StrictIntegerField
from marketplace.enums import SameBike, Withheld
from tuners.serializers import ReviewOutput

BIKE = frozenset({"vehicle", "make", "model", "year", "hardware_number"})


class BikeQuery(Input):
    """A bike: one of your own, or one by its names."""

    vehicle = serializers.UUIDField(required=False, help_text="One of your own.")
    make = CleanCharField(max_length=80, required=False, help_text="Instead of `vehicle`: a name or alias, however spelled.")
    model = CleanCharField(max_length=120, required=False, help_text="With `make`.")
    year = serializers.IntegerField(min_value=1885, max_value=2100, required=False, help_text="With `model`: tells the generation.")
    hardware_number = CleanCharField(max_length=64, identifier=True, required=False, help_text="With `model`: of the ECU.")

    def validate(self, attrs: dict) -> dict:
        named = BIKE & attrs.keys()
        if "vehicle" in named and len(named) > 1:
            raise _refused("vehicle", "invalid", "A `vehicle` says all of the others.")
        if named and "vehicle" not in named and not {"make", "model"} <= named:
            raise _refused("model" if "make" in named else "make", "required", "A bike needs `vehicle`, or `make` and `model`.")
        return attrs


class SameBikeQuery(BikeQuery):
    """The bike that others are compared with."""

    def validate(self, attrs: dict) -> dict:
        if not BIKE & attrs.keys():
            raise _refused("vehicle", "required", "Say which bike: `vehicle`, or `make` and `model`.")
        return super().validate(attrs)


class TuneReviewsQuery(BikeQuery, PageQuery):
    """Without a bike all reviews, with one those by riders of its model."""

    same_bike = serializers.ChoiceField(SameBike.choices, required=False, help_text="With a bike: only those as near as this.")

    def validate(self, attrs: dict) -> dict:
        if "same_bike" in attrs and not BIKE & attrs.keys():
            raise _refused("same_bike", "invalid", "`same_bike` needs a bike to compare with.")
        return super().validate(attrs)


def _refused(name: str, code: str, message: str) -> serializers.ValidationError:
    return serializers.ValidationError({name: [serializers.ErrorDetail(message, code=code)]})


class TuneReviewInput(Input):
    tune = serializers.UUIDField(help_text="One that you bought from this tuner.")
    rating = StrictIntegerField(min_value=1, max_value=5)
    text = CleanCharField(max_length=4_000, multiline=True, required=False, allow_blank=True)


class TuneReviewOutput(ReviewOutput):
    """A review of one tune by somebody who bought it."""

    same_bike = serializers.ChoiceField(
        SameBike.choices, allow_null=True, default=None, help_text="How near its bike is to the one asked for."
    )


class SameBikeReviewsOutput(Output):
    count = serializers.IntegerField(allow_null=True)
    rating = serializers.FloatField(allow_null=True)
    withheld = serializers.ChoiceField(Withheld.choices, allow_null=True)


class SameBikeFlashesOutput(Output):
    count = serializers.IntegerField(allow_null=True)
    success_rate = serializers.FloatField(allow_null=True)
    withheld = serializers.ChoiceField(Withheld.choices, allow_null=True)


class SameBikeLevelOutput(Output):
    """Riders whose bike is as near as `level`."""

    level = serializers.ChoiceField(SameBike.choices)
    reviews = SameBikeReviewsOutput()
    flashes = SameBikeFlashesOutput()


class SameBikeOutput(Output):
    """What riders of the same bike say of a tune, from the widest level to the narrowest."""

    minimum = serializers.IntegerField(help_text="Of fewer riders together nothing is told.")
    levels = SameBikeLevelOutput(many=True)
