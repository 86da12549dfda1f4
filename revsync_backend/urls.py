"""All routes: the API from the endpoint table, the documentation, the admin and the probes."""

from importlib import import_module

from django.urls import include, path

from core import docs, health, media, meta
from core.admin_site import admin_urls
from core.endpoints import Endpoint, urlpatterns_of
from garage.views import rescue_page
from marketplace.views import documents, stand_in

ENDPOINT_MODULES = ["core.uploads.endpoints", "users.endpoints", "tuners.endpoints", "garage.endpoints", "marketplace.endpoints"]


def all_endpoints() -> list[Endpoint]:
    """The endpoint table of the whole API."""
    rows = list(meta.ENDPOINTS)
    for name in ENDPOINT_MODULES:
        rows += import_module(name).ENDPOINTS
    return rows


urlpatterns = [
    path("api/v1/", include(urlpatterns_of(all_endpoints()))),
    path("media/<path:key>", media.serve, name="media"),
    path("stand-in/pay/<slug:name>", stand_in.page, {"kind": "pay"}, name="stand_in_pay_page"),  # development only
    path("stand-in/onboarding/<slug:name>", stand_in.page, {"kind": "onboarding"}, name="stand_in_onboarding_page"),
    path("rescue", rescue_page, name="rescue"),
    path("documents/<str:token>", documents.document, name="document"),
    path("payouts/return", documents.payout_return, name="payout_return"),
    path("api/schema/", docs.schema, name="schema"),
    path("api/docs/", docs.swagger_ui, name="docs"),
    path("api/redoc/", docs.redoc, name="redoc"),
    path("problems/<slug:code>", docs.problem, name="problem"),
    path("admin/", admin_urls()),
    *health.urlpatterns,
]


handler400 = "core.problems.bad_request"
handler403 = "core.problems.forbidden"
handler404 = "core.problems.path_not_found"
handler500 = "core.problems.server_error"
