from rest_framework import serializers

from core.serializers import Output
from marketplace.serializers.purchasing import PeriodQuery

ANALYTICS_BY = ("day", "tune", "version", "model")
MOST_DAYS = 366


class AnalyticsQuery(PeriodQuery):
    by = serializers.ChoiceField(ANALYTICS_BY, default="day")
    tune = serializers.UUIDField(required=False, help_text="One of your tunes only.")


class AnalyticsCountsOutput(Output):
    views = serializers.IntegerField(
        allow_null=True, help_text="How often the tune's page was asked for: views, not people. Null by version and model."
    )
    favorites = serializers.IntegerField(allow_null=True, help_text="Marked then, and still marked.")
    purchases = serializers.IntegerField(allow_null=True, help_text="Paid then, free ones too, whatever became of them.")
    conversion_basis_points = serializers.IntegerField(
        allow_null=True, help_text="Purchases of 10,000 views; null without views. More than 10,000 where more bought than were counted."
    )
    flashes = serializers.IntegerField(
        help_text="Reports that came in then, without your own tests and without restores. By model: those that were put into groups of "
        "five riders and more then."
    )
    flashes_succeeded = serializers.IntegerField()


class AnalyticsRowOutput(AnalyticsCountsOutput):
    key = serializers.CharField(help_text="A day, or the id of a tune, a version or a model of the catalogue.")
    label = serializers.CharField(allow_null=True, help_text="The title, the title and version, or make and model.")


class AnalyticsOutput(Output):
    by = serializers.ChoiceField(ANALYTICS_BY)
    rows = AnalyticsRowOutput(many=True)
    total = AnalyticsCountsOutput()

    def get_fields(self):
        return {**super().get_fields(), "from": serializers.DateField(), "to": serializers.DateField()}
