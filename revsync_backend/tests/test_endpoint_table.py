"""The endpoint table is whole, and fit for clients. What its rows promise is tried in `test_access` and `test_route_manners`."""

import re

import pytest
from django.urls import resolve

from core import problems
from core.endpoints import SCOPES
from core.schema import codes_of
from core.testing.matrix import REFUSED
from revsync_backend.reference import WHO
from revsync_backend.urls import all_endpoints, urlpatterns

ENDPOINTS = all_endpoints()
every_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
# What is served and is no operation of the API, each tested by itself.
BESIDE_THE_API = {
    "media/<path:key>",
    "stand-in/pay/<slug:name>",
    "stand-in/onboarding/<slug:name>",
    "rescue",
    "documents/<str:token>",
    "payouts/return",
    "api/schema/",
    "api/docs/",
    "api/redoc/",
    "problems/<slug:code>",
    "livez",
    "readyz",
    "metrics",
}


def check_urls(patterns, endpoints) -> None:
    """Every URL below `/api/v1/` is a row of the table, every row has its URL, and what else is served is known."""
    rows = {(endpoint.method, endpoint.path): endpoint for endpoint in endpoints}
    served = set()
    for route, callback in _routes(patterns):
        if not route.startswith("api/v1/"):
            assert route in BESIDE_THE_API or route.startswith("admin/"), f"{route} is served beside the table of endpoints"
            continue
        declared = getattr(callback, "view_initkwargs", {}).get("rows")
        assert declared, f"{route} is served beside the table of endpoints"
        for method, endpoint in declared.items():
            assert rows.get((method, route.removeprefix("api/v1/"))) == endpoint, f"{method} {route} is another row than the table has"
            served.add((method, endpoint.path))
    assert served == rows.keys(), f"not served: {sorted(rows.keys() - served)}"


def _routes(patterns, prefix=""):
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if hasattr(pattern, "url_patterns"):
            yield from _routes(pattern.url_patterns, route)
        else:
            yield route, pattern.callback


def test_every_url_is_a_row_and_every_row_a_url():
    check_urls(urlpatterns, ENDPOINTS)


SAMPLES = {"uuid": "01a204a9-6d01-715c-885e-b9cda948ecf9", "int": "7", "slug": "a-slug", "str": "a.text"}


@every_endpoint
def test_its_path_leads_to_it(endpoint):
    """Urls are tried in groups, not in the table's order: no route may catch what is another's."""
    match = resolve("/api/v1/" + re.sub(r"<(\w+):\w+>", lambda variable: SAMPLES[variable[1]], endpoint.path))

    assert match.route == f"api/v1/{endpoint.path}"
    assert match.func.view_initkwargs["rows"][endpoint.method] == endpoint


@every_endpoint
def test_its_access_and_scope_are_described(endpoint):
    assert endpoint.access.__name__ in WHO and endpoint.access.__name__ in REFUSED
    assert endpoint.scope in {"", *SCOPES}


@every_endpoint
def test_its_codes_stand_in_the_table_of_problems(endpoint):
    for code in codes_of(endpoint):
        assert problems.problem_type(code)


@every_endpoint
def test_its_name_and_summary_are_fit_for_a_client(endpoint):
    assert re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", endpoint.name)
    assert endpoint.summary[0].isupper() and not endpoint.summary.endswith(".")
