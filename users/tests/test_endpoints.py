"""The rows of this app: examples, codes and limits that exist."""

import pytest
from django.conf import settings

from core.problems import problem_type
from users import examples, serializers
from users.endpoints import ENDPOINTS

BY_NAME = {row.name: row for row in ENDPOINTS}


def test_every_example_belongs_to_a_row_and_every_row_with_a_body_has_one():
    assert set(examples.EXAMPLES) <= set(BY_NAME)
    assert {name for name, row in BY_NAME.items() if row.request or row.response} <= set(examples.EXAMPLES)


@pytest.mark.parametrize("row", ENDPOINTS, ids=lambda row: row.name)
def test_codes_and_limits_are_registered(row):
    assert all(problem_type(code) for code in row.problems)
    assert row.limit is None or row.limit in settings.LIMITS


@pytest.mark.parametrize("row", ENDPOINTS, ids=lambda row: row.name)
def test_example_requests_would_be_taken(row):
    for example in row.examples:
        if example.request_only:
            row.request(data=example.value, partial=row.method == "PATCH").is_valid(raise_exception=True)


@pytest.mark.parametrize("name", ["auth/step-up/", "auth/password/change/"])
def test_a_blocked_person_can_still_secure_the_account(name):
    assert next(row for row in ENDPOINTS if row.path == name).access.__name__ == "AuthenticatedEvenIfBlocked"


def test_the_shapes_have_the_names_of_the_contract():
    assert {"id", "email", "display_name", "role", "mfa_enabled", "created_at", "revision"} <= set(serializers.UserOutput().fields)
    assert set(serializers.NoticeOutput().fields) == {"id", "type", "severity", "title", "body", "link", "created_at", "read_at"}
