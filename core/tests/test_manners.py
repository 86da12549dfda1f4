"""What every route does, shown on `meta/` and on paths that are none."""

import pytest
from django.db import OperationalError, connection
from django.test import Client, RequestFactory

from core import problems
from core.testing.http import ApiClient
from core.uploads.rules import OPEN_UPLOADS_PER_OWNER, RULES

PROBLEM = "application/problem+json"


@pytest.fixture
def api():
    return ApiClient()


def test_meta_is_public_and_cacheable(api):
    answer = api.get("meta/")

    assert answer.status_code == 200
    assert answer["Cache-Control"] == "public, max-age=30"
    assert set(answer.json()["texts"]) == {"terms", "attestation", "no_read_back"}
    assert answer.json()["limits"]["purchases_account"] == {"count": 100, "window_seconds": 3600}


def test_meta_tells_the_quotas_of_every_purpose(api):
    limits = api.get("meta/").json()["limits"]

    assert limits["uploads_waiting"] == {"count": OPEN_UPLOADS_PER_OWNER, "window_seconds": None}
    for purpose, rule in RULES.items():
        told = [limits[f"upload_{name}_{purpose.lower()}"]["count"] for name in ("file_bytes", "kept_files", "kept_bytes")]
        assert told == [rule.max_bytes, rule.kept_files, rule.kept_bytes]


def test_an_unchanged_public_answer_is_304(api):
    etag = api.get("meta/")["ETag"]

    answer = api.get("meta/", HTTP_IF_NONE_MATCH=f'"other", W/{etag}')

    assert (answer.status_code, answer.content) == (304, b"")


@pytest.mark.parametrize(
    ("call", "status", "code"),
    [
        (lambda api: api.get("nothing/"), 404, "not_found"),
        (lambda api: api.get("meta"), 404, "not_found"),
        (lambda api: api.get("/nowhere"), 404, "not_found"),
        (lambda api: api.post("meta/", {}), 405, "method_not_allowed"),
        (lambda api: api.options("meta/"), 405, "method_not_allowed"),
        (lambda api: api.get("meta/", {"x": 1}), 400, "unknown_field"),
        (lambda api: api.get("meta/", HTTP_ACCEPT="text/html"), 406, "not_acceptable"),
        (lambda api: api.get("meta/", HTTP_HOST="evil.example"), 400, "bad_request"),
        (lambda api: api.get("meta/", HTTP_AUTHORIZATION="Bearer nonsense"), 401, "token_invalid"),
        (lambda api: api.post("auth/login/", "x=1", content_type="application/x-www-form-urlencoded"), 415, "unsupported_media_type"),
        (lambda api: api.post("auth/login/", "{", content_type="application/json"), 400, "malformed_body"),
        (lambda api: api.post("auth/login/", "[" * 50 + "]" * 50, content_type="application/json"), 400, "malformed_body"),
        (lambda api: api.post("auth/login/", '"' + "a" * 1_100_000 + '"', content_type="application/json"), 413, "body_too_large"),
        (lambda api: api.post("auth/login/", "[]", content_type="application/json"), 400, "invalid_input"),
    ],
)
@pytest.mark.django_db
def test_every_refusal_is_a_problem(api, call, status, code):
    answer = call(api)

    assert (answer.status_code, answer["Content-Type"], answer.json()["code"]) == (status, PROBLEM, code)
    assert answer["X-Request-ID"] == answer.json()["request_id"] or code == "bad_request"
    assert answer.json()["type"].endswith(f"/problems/{code}")


def test_a_request_id_of_the_client_is_kept_and_a_bad_one_replaced(api):
    assert api.get("meta/", HTTP_X_REQUEST_ID="phone-1234")["X-Request-ID"] == "phone-1234"
    assert api.get("meta/", HTTP_X_REQUEST_ID="<script>")["X-Request-ID"] != "<script>"


def test_a_bug_is_a_problem_without_a_stack(settings):
    client = Client(raise_request_exception=False)

    answer = problems.server_error(RequestFactory().get("/api/v1/meta/"))

    assert (answer.status_code, b"Traceback" in answer.content) == (500, False)
    assert client.get("/api/v1/meta/").status_code == 200


@pytest.mark.django_db
def test_an_outage_of_the_database_is_503_and_says_when_to_come_back(api):
    def down(*_):
        raise OperationalError("connection refused")

    with connection.execute_wrapper(down):
        answer = api.post("auth/login/", {"email": "a@example.com", "password": "x" * 12})

    assert (answer.status_code, answer["Retry-After"], answer.json()["service"]) == (503, "5", "database")


def test_limits_stand_in_every_answer(api, settings):
    settings.APPROXIMATE_LIMITS = {"default": (2, 60)}

    answers = [api.get("meta/") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0]["RateLimit-Policy"] == '"default";q=2;w=60'
    assert int(answers[2]["Retry-After"]) >= 1
    assert answers[2].json()["code"] == "rate_limited"


def test_docs_need_no_other_host(api):
    for path in ("/api/docs/", "/api/redoc/"):
        page = api.get(path)
        assert page.status_code == 200
        assert b"http" not in page.content.replace(b"http-equiv", b"")
        assert "unsafe" not in page["Content-Security-Policy"]


def test_every_problem_code_has_one_row():
    codes = [row.code for row in problems.problem_types()]

    assert len(codes) == len(set(codes)) and "not_found" in codes
