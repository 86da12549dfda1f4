"""What the endpoint table promises of every route, tried on every route."""

import re
import uuid

import pytest

from core import problems
from core.permissions import ActiveTuner, AdminOnly, Authenticated, AuthenticatedEvenIfBlocked, Public, TunerOrCreator
from core.schema import codes_of
from core.testing.http import ApiClient, client_for
from revsync_backend.urls import all_endpoints
from users.tests.factories import UserFactory

ENDPOINTS = all_endpoints()
PROBLEM = "application/problem+json"
every_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
protected_endpoint = pytest.mark.parametrize(
    "endpoint", [row for row in ENDPOINTS if row.access is not Public], ids=lambda endpoint: endpoint.name
)
tuner_endpoint = pytest.mark.parametrize(
    "endpoint", [row for row in ENDPOINTS if row.access in {TunerOrCreator, ActiveTuner, AdminOnly}], ids=lambda endpoint: endpoint.name
)


def url_of(endpoint) -> str:
    path = re.sub(r"<uuid:\w+>", str(uuid.uuid4()), endpoint.path)
    return "/api/v1/" + re.sub(r"<int:\w+>", "999", path)


def call(api, endpoint, *, query="", **extra):
    body = {} if endpoint.method in {"POST", "PUT", "PATCH"} else None
    return getattr(api, endpoint.method.lower())(url_of(endpoint) + query, body, **extra)


def assert_problem(answer, status, code):
    assert (answer.status_code, answer.json()["code"], answer["Content-Type"]) == (status, code, PROBLEM)


@every_endpoint
def test_its_access_is_one_of_the_policies(endpoint):
    assert endpoint.access in {Public, Authenticated, AuthenticatedEvenIfBlocked, TunerOrCreator, ActiveTuner, AdminOnly}


@every_endpoint
def test_its_codes_stand_in_the_table_of_problems(endpoint):
    for code in codes_of(endpoint):
        assert problems.problem_type(code)


@every_endpoint
def test_its_name_and_summary_are_fit_for_a_client(endpoint):
    assert re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", endpoint.name)
    assert endpoint.summary[0].isupper() and not endpoint.summary.endswith(".")


@pytest.mark.django_db
@protected_endpoint
def test_nobody_gets_in_without_a_token(endpoint):
    assert_problem(call(ApiClient(), endpoint), 401, "not_authenticated")


@pytest.mark.django_db
@every_endpoint
def test_a_forged_token_opens_nothing(endpoint):
    if endpoint.view.authentication_classes:
        assert_problem(call(ApiClient(), endpoint, HTTP_AUTHORIZATION="Bearer a.b.c"), 401, "token_invalid")


@pytest.mark.django_db
@tuner_endpoint
def test_a_rider_is_no_tuner(endpoint):
    assert_problem(call(client_for(UserFactory()), endpoint), 403, "permission_denied")


@pytest.mark.django_db
@every_endpoint
def test_an_unknown_parameter_is_refused(endpoint):
    api = client_for(UserFactory(admin=True, mfa=True), step_up=True)

    answer = call(api, endpoint, query="?no_such_parameter=1", HTTP_IDEMPOTENCY_KEY="k")

    assert answer.status_code in {400, 403, 404}, answer.content
    assert answer["Content-Type"] == PROBLEM


@pytest.mark.django_db
@every_endpoint
def test_a_missing_object_is_never_a_500(endpoint):
    api = client_for(UserFactory(), step_up=True)

    answer = call(api, endpoint, HTTP_IDEMPOTENCY_KEY="k")

    assert answer.status_code < 500, answer.content
    assert answer.status_code < 400 or answer["Content-Type"] == PROBLEM
    if "<" in endpoint.path and endpoint.method in {"GET", "DELETE"} and endpoint.access is not AdminOnly:
        assert answer.status_code in {404, 403, 400} or (endpoint.method == "DELETE" and answer.status_code == 204), answer.content
