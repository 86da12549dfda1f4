"""Who may call what, and whose things: every operation as every role, with one's own thing, another's and none.

Generated from the endpoint table by `core.testing.matrix`. What a check does is rolled back, so all share one world.
"""

import pytest

from core.testing import matrix
from revsync_backend.tests import recipes
from revsync_backend.urls import all_endpoints

pytestmark = pytest.mark.django_db
ENDPOINTS = all_endpoints()
by_name = [pytest.param(endpoint, id=endpoint.name) for endpoint in ENDPOINTS]
nested = [pytest.param(endpoint, id=endpoint.name) for endpoint in ENDPOINTS if endpoint.scope and len(matrix.objects_of(endpoint)) > 1]
own_lists = [
    pytest.param(endpoint, id=endpoint.name)
    for endpoint in ENDPOINTS
    if endpoint.scope and endpoint.paginated and not matrix.objects_of(endpoint)
]


@pytest.mark.parametrize("endpoint", by_name)
def test_it_says_how_it_is_exercised(endpoint):
    matrix.check_recipe(endpoint, recipes.load())


def test_no_recipe_is_of_an_operation_that_is_gone():
    assert recipes.load().keys() <= {endpoint.name for endpoint in ENDPOINTS}


@pytest.mark.parametrize("role", matrix.ROLES)
@pytest.mark.parametrize("endpoint", by_name)
def test_access(endpoint, role, world):
    matrix.check_access(endpoint, role, recipes.recipe_for(endpoint.name), world)


@pytest.mark.parametrize("endpoint", nested)
def test_an_own_thing_with_a_part_of_anothers(endpoint, world):
    matrix.check_mixed_path(endpoint, recipes.recipe_for(endpoint.name), world)


@pytest.mark.parametrize("endpoint", own_lists)
def test_a_list_holds_ones_own(endpoint, world):
    matrix.check_list_is_own(endpoint, recipes.recipe_for(endpoint.name), world)


@pytest.mark.parametrize("endpoint", by_name)
def test_ids_in_bodies_and_queries(endpoint, world):
    matrix.check_references(endpoint, recipes.recipe_for(endpoint.name), world)
