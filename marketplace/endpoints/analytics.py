from core.endpoints import Endpoint
from core.permissions import TunerOrCreator
from marketplace.serializers import analytics as shapes
from marketplace.views import analytics as views

ENDPOINTS: list[Endpoint] = [
    Endpoint(
        "GET", "marketplace/analytics/", views.AnalyticsView, "get_analytics", "Read what became of my tunes",
        access=TunerOrCreator, scope="tuner_of", query=shapes.AnalyticsQuery, response=shapes.AnalyticsOutput,
        problems=("not_found",),
    ),
]  # fmt: skip
