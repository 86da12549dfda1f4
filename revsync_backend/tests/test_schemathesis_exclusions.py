"""The table of excused failures excuses what it says and nothing else."""

import json
from types import SimpleNamespace

import pytest

from revsync_backend.urls import all_endpoints
from tools import schemathesis_exclusions as exclusions

RejectedPositiveData = type("RejectedPositiveData", (Exception,), {})
AcceptedNegativeData = type("AcceptedNegativeData", (Exception,), {})
ServerError = type("ServerError", (Exception,), {})
UndefinedStatusCode = type("UndefinedStatusCode", (Exception,), {})


def answer(status: int, *errors: tuple[str, str], code: str = "invalid_input"):
    body = {"code": code, "errors": [{"code": one, "pointer": place} for one, place in errors]}
    return SimpleNamespace(status_code=status, json=lambda: body)


def page(status: int):
    def parse():
        return json.loads("<html>")

    return SimpleNamespace(status_code=status, json=parse)


@pytest.mark.parametrize(
    ("failure", "response", "excused"),
    [
        (RejectedPositiveData(), answer(400, ("invalid_cursor", "")), True),
        (RejectedPositiveData(), answer(400, ("invalid_cursor", ""), ("max_length", "/title")), False),
        (RejectedPositiveData(), answer(400, ("outdated", "/terms_version"), ("control_character", "/display_name")), True),
        (RejectedPositiveData(), answer(400, ("invalid", "/website")), True),
        (RejectedPositiveData(), answer(400, ("invalid", "/year")), False),
        (RejectedPositiveData(), answer(400, code="code_wrong"), True),
        (RejectedPositiveData(), answer(400, code="malformed_body"), False),
        (RejectedPositiveData(), answer(412, code="stale_revision"), True),
        (RejectedPositiveData(), page(400), False),
        (AcceptedNegativeData(), answer(200, ("invalid_cursor", "")), False),
        (ServerError(), answer(500, code="internal_error"), False),
        (UndefinedStatusCode(), page(414), True),
        (UndefinedStatusCode(), page(404), False),
    ],
)
def test_a_row_excuses_its_own_answers_only(failure, response, excused):
    assert exclusions.is_excused(failure, response) is excused


def test_operations_that_never_succeed_exist_and_say_why():
    assert exclusions.NEVER.keys() <= {endpoint.name for endpoint in all_endpoints()}
    assert all(reason.endswith(".") for reason in exclusions.NEVER.values())


def test_each_row_says_why_and_names_what_it_excuses():
    for row in exclusions.EXCLUSIONS:
        assert row.reason.endswith(".")
        assert row.codes or row.statuses
        assert not row.failures & {"ServerError", "JsonSchemaError", "IgnoredAuth", "MissingContentType"}
