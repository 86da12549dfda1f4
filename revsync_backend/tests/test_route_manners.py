"""How every operation behaves, row by row of the endpoint table: bad input, limits, step-up, repeats, edits, caching, lists.

The checks are `core.testing.manners` and `core.testing.lists`; those that change nothing share one preparation.
"""

import pytest

from core.testing import lists, manners, matrix
from revsync_backend.tests import recipes
from revsync_backend.tests.recipes.lists import LISTS
from revsync_backend.urls import all_endpoints

pytestmark = pytest.mark.django_db
ENDPOINTS = all_endpoints()
BY_NAME = {endpoint.name: endpoint for endpoint in ENDPOINTS}
by_name = [pytest.param(endpoint, id=endpoint.name) for endpoint in ENDPOINTS]
paginated = [pytest.param(endpoint, id=endpoint.name) for endpoint in ENDPOINTS if endpoint.paginated]
changing = [
    pytest.param(endpoint, check, id=f"{check.name}-{endpoint.name}")
    for check in manners.CHECKS
    if not check.harmless
    for endpoint in ENDPOINTS
    if check.applies(endpoint)
]
REFUSALS = recipes.refusals()
METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}
PATHS = sorted({endpoint.path for endpoint in ENDPOINTS})


def probe_of(endpoint, world) -> manners.Probe:
    return manners.Probe(endpoint, recipes.recipe_for(endpoint.name), world)


@pytest.mark.parametrize("endpoint", by_name)
def test_its_row_is_as_the_contract_wants_rows(endpoint):
    manners.check_row(endpoint)


@pytest.mark.parametrize("endpoint", by_name)
def test_what_it_refuses(endpoint, world):
    manners.run_harmless(probe_of(endpoint, world))


@pytest.mark.parametrize(("endpoint", "check"), changing)
def test_manners(endpoint, check, world):
    check.run(probe_of(endpoint, world))


@pytest.mark.parametrize(("name", "code"), sorted(REFUSALS))
def test_a_refusal_of_its_own(name, code, world):
    manners.check_refusal(BY_NAME[name], code, REFUSALS[name, code], world)


@pytest.mark.parametrize("path", PATHS)
def test_other_methods_are_refused(path, world):
    rows = {endpoint.method: endpoint for endpoint in ENDPOINTS if endpoint.path == path}
    allowed = {*rows, *({"HEAD"} if "GET" in rows else set())}
    row = next(iter(rows.values()))
    call = matrix.Call(path={name: 1 if f"<int:{name}>" in path else matrix.missing_like("") for name in matrix.objects_of(row)})
    for method in sorted(METHODS | {"OPTIONS", "TRACE"} - allowed):
        if method in allowed:
            continue
        answer = matrix.send(world.caller("rider"), row, call, method=method)
        matrix.assert_problem(answer, 405, "method_not_allowed")
        assert set(answer["Allow"].split(", ")) == allowed


@pytest.mark.parametrize("endpoint", paginated)
def test_a_list_is_walked_to_its_end(endpoint, world):
    assert endpoint.name in LISTS, f"say in revsync_backend/tests/recipes/lists.py how {endpoint.name} gets rows"
    lists.check_walk(endpoint, recipes.recipe_for(endpoint.name), LISTS[endpoint.name], world)


@pytest.mark.parametrize("endpoint", paginated)
def test_a_list_takes_only_its_own_cursors(endpoint, world):
    elsewhere = BY_NAME["list_makes" if endpoint.name != "list_makes" else "list_models"]
    lists.check_cursors(endpoint, recipes.recipe_for(endpoint.name), LISTS[endpoint.name], world, elsewhere)
