"""The headers of every kind of answer: one table, each row asked for over the whole stack of middleware."""

import hashlib
import re
from uuid import uuid4

import pytest
from django.test import Client, override_settings

from core import storage
from core.testing.admin import admin_client
from core.testing.http import ApiClient, client_for
from users.tests.factories import UserFactory

pytestmark = pytest.mark.django_db

PAGE_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
DATA_POLICY = {"default-src": "'none'", "base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'"}
FIXED = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
PERMISSIONS = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"
ADMIN = {"Referrer-Policy": "same-origin"}
NEVER = ("Server", "X-Powered-By", "Access-Control-Allow-Origin", "Strict-Transport-Security", "Set-Cookie")


def picture():
    data = b"RIFF....WEBP"
    sha256 = hashlib.sha256(data).hexdigest()
    key = f"images/{sha256[:2]}/{sha256}-{uuid4().hex[:12]}.webp"
    storage.put_bytes(key, data, "image/webp", bucket=storage.PUBLIC)
    return Client().get(f"/media/{key}")


# what → (how it is asked for, status, type, Cache-Control, content security policy, other headers)
ANSWERS = {
    "API, public": (lambda: ApiClient().get("meta/"), 200, "application/json", "public, max-age=30", DATA_POLICY, {}),
    "API, unchanged": (
        lambda: ApiClient().get("meta/", HTTP_IF_NONE_MATCH="*"), 304, None, "public, max-age=30", DATA_POLICY, {},
    ),
    "API, private": (lambda: client_for(UserFactory()).get("users/me/"), 200, "application/json", "no-store", DATA_POLICY, {}),
    "API, problem": (lambda: ApiClient().get("users/me/"), 401, "application/problem+json", "no-store", DATA_POLICY, {}),
    "API, no such path": (lambda: ApiClient().get("nothing/"), 404, "application/problem+json", "no-store", DATA_POLICY, {}),
    "another host": (
        lambda: ApiClient().get("meta/", HTTP_HOST="evil.example"), 400, "application/problem+json", "no-store", DATA_POLICY, {},
    ),
    "wrong method": (lambda: Client().post("/livez"), 405, "application/problem+json", "no-store", DATA_POLICY, {"Allow": "GET, HEAD"}),
    "schema": (
        lambda: Client().get("/api/schema/"), 200, "application/vnd.oai.openapi; charset=utf-8", "public, max-age=300", DATA_POLICY, {},
    ),
    "Swagger UI": (lambda: Client().get("/api/docs/"), 200, "text/html; charset=utf-8", "public, max-age=300", PAGE_POLICY, {}),
    "a problem's page": (
        lambda: Client().get("/problems/not_found"), 200, "text/html; charset=utf-8", "public, max-age=300", PAGE_POLICY, {},
    ),
    "the rescue page": (lambda: Client().get("/rescue"), 200, "text/html; charset=utf-8", "public, max-age=300", PAGE_POLICY, {}),
    "the way back from the onboarding": (
        lambda: Client().get("/payouts/return"), 200, "text/html; charset=utf-8", "no-store", PAGE_POLICY, {"X-Robots-Tag": "noindex"},
    ),
    "a document that is not opened any more": (
        lambda: Client().get("/documents/x"), 404, "text/html; charset=utf-8", "no-store", PAGE_POLICY, {"X-Robots-Tag": "noindex"},
    ),
    "a static file": (
        lambda: Client().get("/static/core/docs.css"), 200, 'text/css; charset="utf-8"', "max-age=60, public", DATA_POLICY, {},
    ),
    "a picture": (
        picture, 200, "image/webp", "public, max-age=31536000, immutable", {"default-src": "'none'", "sandbox": ""},
        {"Cross-Origin-Resource-Policy": "cross-origin"},
    ),
    "no picture": (
        lambda: Client().get("/media/x"), 404, "application/problem+json", "public, max-age=60", DATA_POLICY,
        {"Cross-Origin-Resource-Policy": "cross-origin"},
    ),
    "alive": (lambda: Client().get("/livez"), 200, "application/json", "no-store", DATA_POLICY, {}),
    "not ready": (lambda: Client().get("/readyz"), 503, "application/problem+json", "no-store", DATA_POLICY, {}),
    "metrics": (lambda: Client().get("/metrics"), 200, None, "no-store", DATA_POLICY, {}),
    "nothing": (lambda: Client().get("/"), 404, "application/problem+json", "no-store", DATA_POLICY, {}),
}  # fmt: skip
# The admin says in its policy what its theme needs; its cookies are its own affair.
ADMIN_ANSWERS = {
    "log-in": (lambda: Client().get("/admin/login/"), 200),
    "front page": (lambda: admin_client().get("/admin/"), 200),
    "no such page": (lambda: admin_client().get("/admin/nothing/"), 404),
    "to the log-in": (lambda: Client().get("/admin/"), 302),
}


def policy_of(answer):
    parts = (part.strip().partition(" ") for part in answer["Content-Security-Policy"].split(";"))
    return {name: value for name, _, value in parts}


@pytest.mark.parametrize("what", ANSWERS)
def test_an_answer_has_the_headers_of_its_kind(what):
    ask, status, content_type, caching, policy, other = ANSWERS[what]

    answer = ask()

    assert answer.status_code == status
    assert content_type is None or answer["Content-Type"] == content_type
    assert set(answer["Cache-Control"].split(", ")) == set(caching.split(", "))
    assert policy_of(answer) == policy
    assert {name: answer.headers.get(name) for name in FIXED | other} == FIXED | other
    assert answer.headers.get("Permissions-Policy") == (PERMISSIONS if policy is PAGE_POLICY else None)
    assert not [name for name in NEVER if name in answer.headers] and not answer.cookies
    assert re.fullmatch(r"[0-9a-f]{32}", answer["X-Request-ID"])


@pytest.mark.parametrize("what", ADMIN_ANSWERS)
def test_an_answer_of_the_admin_has_the_headers_of_the_admin(what):
    ask, status = ADMIN_ANSWERS[what]

    answer = ask()

    assert answer.status_code == status
    assert "no-store" in answer["Cache-Control"]
    assert {name: answer.headers.get(name) for name in FIXED} == FIXED | ADMIN
    policy = policy_of(answer)
    assert policy["script-src"] == "'self' 'unsafe-eval'"
    assert policy["style-src"] == "'self' 'unsafe-inline'"
    assert {name: policy[name] for name in ("default-src", "base-uri", "frame-ancestors", "form-action")} == {
        "default-src": "'none'", "base-uri": "'none'", "frame-ancestors": "'none'", "form-action": "'self'",
    }  # fmt: skip
    assert not [name for name in NEVER[:4] if name in answer.headers]


def test_redoc_asks_for_two_hashed_styles_and_a_worker_and_no_more():
    policy = policy_of(Client().get("/api/redoc/"))

    assert policy.pop("worker-src") == "blob:"
    assert re.fullmatch(r"'self'( 'sha256-[\w+/=]{44}'){2}", policy.pop("style-src"))
    assert policy == {name: value for name, value in PAGE_POLICY.items() if name != "style-src"}


def test_outside_the_admin_no_policy_is_unsafe():
    for ask, *_ in ANSWERS.values():
        assert "unsafe" not in ask()["Content-Security-Policy"]


class TestHsts:
    """`SECURE_HSTS_SECONDS` is set in production only (`test_settings_check`); here as production has it."""

    production = override_settings(SECURE_HSTS_SECONDS=31_536_000, SECURE_HSTS_INCLUDE_SUBDOMAINS=True, SECURE_HSTS_PRELOAD=True)

    def test_over_https(self):
        with self.production:
            for path in ("/api/v1/meta/", "/nothing", "/admin/login/", "/api/docs/", "/static/core/docs.css"):
                answer = Client().get(path, secure=True)
                assert answer["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains; preload"

    def test_never_over_http(self):
        with self.production:
            assert "Strict-Transport-Security" not in Client().get("/api/v1/meta/").headers

    def test_not_in_development(self, settings):
        assert settings.SECURE_HSTS_SECONDS == 0
        assert "Strict-Transport-Security" not in Client().get("/api/v1/meta/", secure=True).headers


class TestCors:
    """No origin is listed unless the operator does."""

    ORIGIN = "https://app.example"

    @pytest.fixture
    def listed(self, settings):
        settings.CORS_ALLOWED_ORIGINS = [self.ORIGIN]
        place = settings.MIDDLEWARE.index("core.middleware.ContentSecurityMiddleware") + 1
        settings.MIDDLEWARE = [*settings.MIDDLEWARE[:place], "corsheaders.middleware.CorsMiddleware", *settings.MIDDLEWARE[place:]]

    def preflight(self, origin, path="/api/v1/marketplace/purchases/", method="POST", headers="authorization,idempotency-key"):
        return Client().options(
            path,
            headers={"origin": origin, "access-control-request-method": method, "access-control-request-headers": headers},
        )

    def test_by_default_nobody_elses_page_may_ask(self, settings):
        assert settings.CORS_ALLOWED_ORIGINS == []
        for answer in (Client().get("/api/v1/meta/", headers={"origin": self.ORIGIN}), self.preflight(self.ORIGIN)):
            assert not [name for name in answer.headers if name.lower().startswith("access-control")]

    def test_a_listed_origin_may_and_never_with_cookies(self, listed):
        answer = Client().get("/api/v1/meta/", headers={"origin": self.ORIGIN})

        assert answer["Access-Control-Allow-Origin"] == self.ORIGIN
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert {"ETag", "Retry-After", "Idempotency-Replayed"} <= set(answer["Access-Control-Expose-Headers"].split(", "))
        assert "origin" in answer["Vary"].lower() and "Authorization" in answer["Vary"]

    def test_its_preflight_allows_what_the_contract_sends(self, listed):
        answer = self.preflight(self.ORIGIN)

        assert answer["Access-Control-Allow-Origin"] == self.ORIGIN
        allowed = {name.strip().lower() for name in answer["Access-Control-Allow-Headers"].split(",")}
        assert allowed == {"authorization", "content-type", "idempotency-key", "if-match", "if-none-match", "x-request-id"}
        assert set(answer["Access-Control-Allow-Methods"].split(", ")) == {"GET", "POST", "PUT", "PATCH", "DELETE"}

    @pytest.mark.parametrize("origin", ["https://app.example.evil.example", "http://app.example", "https://app.example:444", "null", "*"])
    def test_another_origin_may_not(self, listed, origin):
        for answer in (Client().get("/api/v1/meta/", headers={"origin": origin}), self.preflight(origin)):
            assert "Access-Control-Allow-Origin" not in answer.headers

    def test_the_admin_is_nobody_elses(self, listed):
        for answer in (Client().get("/admin/login/", headers={"origin": self.ORIGIN}), self.preflight(self.ORIGIN, path="/admin/")):
            assert "Access-Control-Allow-Origin" not in answer.headers
