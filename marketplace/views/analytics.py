from datetime import timedelta

from rest_framework.response import Response

from core.exceptions import InvalidInput
from core.views import ApiView
from marketplace.selectors import analytics
from marketplace.selectors.purchasing import Period
from marketplace.serializers.analytics import MOST_DAYS

USUAL_DAYS = 30


class AnalyticsView(ApiView):
    def get(self, request):
        """What became of your tunes: views, favourites, purchases and flashes, by day, tune, version or model. Only days, tunes and
        models with something to tell are listed. Views of the last half minute may be missing. By model flashes are told of five riders
        together and once a day, as "bikes like yours" tells of them, so their total is lower than by day."""
        params = self.params()
        last = params.get("to") or self.at.date()
        first = params.get("from") or last - timedelta(days=USUAL_DAYS - 1)
        if not timedelta(0) <= last - first < timedelta(days=MOST_DAYS):  # one was given, the other is today's
            raise InvalidInput.parameter("from", "invalid", f"At most {MOST_DAYS} days, the first one first.")
        return Response(
            analytics.get_analytics(request.user, by=params["by"], period=Period(first=first, last=last), tune_id=params.get("tune"))
        )
