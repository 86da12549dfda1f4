"""The pages on security say what is: every proof exists, every requirement has its row, every figure is that of the settings."""

import ast
import re
from collections import Counter
from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client, override_settings

from core import clock, mfa
from core.testing.admin import admin_client
from core.uploads.rules import MIB, RULES
from revsync_backend.urls import all_endpoints
from users import passwords, services
from users.models import User
from users.tests.factories import PASSWORD, UserFactory

DOCS = settings.BASE_DIR / "docs"
ROW = re.compile(r"^\| (\d+\.\d+\.\d+) \| ([12]) \| ([^|]+) \| (proven|deviates|not applicable) \| ([^|]+) \|$", re.MULTILINE)
PROOF = re.compile(r"`([\w/.]+\.py)((?:::\w+)+)`")
# The requirements of levels 1 and 2 in the six chapters of version 5.0.0, by section: how far its numbers go, without those of level 3.
REQUIRED = {
    "4.1": [1, 2, 3], "4.2": [1], "4.3": [1, 2], "4.4": [1, 2, 3, 4],
    "5.1": [1], "5.2": [1, 2, 3], "5.3": [1, 2], "5.4": [1, 2, 3],
    "6.1": [1, 2, 3], "6.2": list(range(1, 13)), "6.3": [1, 2, 3, 4], "6.4": [1, 2, 3, 4], "6.5": [1, 2, 3, 4, 5],
    "6.6": [1, 2, 3], "6.8": [1, 2, 3, 4],
    "7.1": [1, 2, 3], "7.2": [1, 2, 3, 4], "7.3": [1, 2], "7.4": [1, 2, 3, 4, 5], "7.5": [1, 2], "7.6": [1, 2],
    "8.1": [1, 2], "8.2": [1, 2, 3], "8.3": [1], "8.4": [1],
    "9.1": [1, 2, 3], "9.2": [1, 2, 3, 4],
}  # fmt: skip


def page(name):
    return (DOCS / name).read_text(encoding="utf-8")


@cache
def _tests_in(path: Path) -> frozenset[str]:
    """Every test of a file as `test_…` or `Test…::test_…`, and its classes."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            found |= {node.name, *(f"{node.name}::{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef))}
        elif isinstance(node, ast.FunctionDef):
            found.add(node.name)
    return frozenset(found)


def missing_proofs(text):
    missing = []
    for file, names in PROOF.findall(text):
        path = settings.BASE_DIR / file
        name = names.removeprefix("::")
        if not path.is_file() or name not in _tests_in(path) or not name.rpartition("::")[2].startswith(("test_", "Test")):
            missing.append(f"{file}::{name}")
    return missing


def _gives_tokens(endpoint):
    return endpoint.response is not None and {"access", "refresh"} <= getattr(endpoint.response(), "fields", {}).keys()


class TestThePage:
    def test_every_named_test_exists(self):
        assert missing_proofs(page("asvs.md")) == []

    def test_a_test_that_is_gone_is_noticed(self):
        here = "revsync_backend/tests/test_asvs.py"

        assert missing_proofs(f"`{here}::TestThePage::test_that_nobody_wrote` `{here}::page` `gone.py::test_x`") == [
            f"{here}::TestThePage::test_that_nobody_wrote", f"{here}::page", "gone.py::test_x",
        ]  # fmt: skip

    def test_it_has_every_requirement_once(self):
        rows = [number for number, *_ in ROW.findall(page("asvs.md"))]

        assert rows == [f"{section}.{number}" for section, numbers in REQUIRED.items() for number in numbers]

    def test_what_is_proven_names_a_test_and_what_is_not_says_why(self):
        for number, _, _, verdict, how in ROW.findall(page("asvs.md")):
            assert bool(PROOF.search(how)) or verdict != "proven", f"{number} names no test"
            assert verdict == "proven" or len(how) > 30, f"{number} does not say why"

    def test_its_counts_are_right(self):
        text = page("asvs.md")
        counted = Counter((number.split(".")[0], verdict) for number, _, _, verdict, _ in ROW.findall(text))
        said = re.findall(r"^\| V(\d) [^|]+ \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", text, re.MULTILINE)
        verdicts = ("proven", "deviates", "not applicable")

        assert {chapter for chapter, *_ in said} == {section[0] for section in REQUIRED}
        for chapter, total, *each in said:
            assert [int(figure) for figure in each] == [counted[chapter, verdict] for verdict in verdicts]
            assert int(total) == sum(int(figure) for figure in each)
        total = re.search(r"^\| together \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", text, re.MULTILINE)
        assert total is not None
        assert [int(figure) for figure in total.groups()] == [sum(int(row[column]) for row in said) for column in (1, 2, 3, 4)]


class TestTheRules:
    """`docs/security.md` against the settings."""

    def test_limits(self):
        said = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) s \|", page("security.md"), re.MULTILINE)

        assert said
        assert {name: (int(many), int(seconds)) for name, many, seconds in said} == {
            name: settings.LIMITS[name] for name, _, _ in said
        }
        business = {
            *("purchases_account", "grants_account", "uploads_account", "exports_account"),
            *("inspections_account", "case_messages_account"),
        }
        assert settings.LIMITS.keys() - {name for name, _, _ in said} == business, "say what a new limit defends against"

    def test_sessions(self):
        text = page("security.md")

        assert f"| idle | {settings.SESSION_IDLE_LIFETIME.days} days |" in text
        assert f"| absolute | {settings.SESSION_ABSOLUTE_LIFETIME.days} days |" in text
        assert f"| step-up | {settings.STEP_UP_LIFETIME.seconds // 60} minutes |" in text
        assert f"| admin cookie | {settings.SESSION_COOKIE_AGE // 3600} hours |" in text
        assert f"access token lives {settings.ACCESS_TOKEN_LIFETIME.seconds // 60} minutes" in text

    def test_ways_in(self):
        ways = page("security.md").split("## Ways in")[1].split("## ")[0]
        leads_in = {endpoint.path for endpoint in all_endpoints() if _gives_tokens(endpoint)}

        assert leads_in == {"auth/verify-email/", "auth/login/", "auth/mfa/verify/", "auth/refresh/"}
        assert all(f"`{path}`" in ways for path in leads_in)

    def test_passwords(self):
        text = page("security.md")

        assert f"{passwords.SHORTEST} to {passwords.LONGEST} characters" in text
        assert ", ".join(f"`{word}`" for word in passwords.CONTEXT_WORDS) in text

    def test_files(self):
        said = re.findall(r"^\| `([A-Z_]+)` \| ([^|]+) \| (\d+) MiB \| (public|private)", page("security.md"), re.MULTILINE)

        assert {name: (int(most) * MIB, where) for name, _, most, where in said} == {
            name: (rule.max_bytes, rule.bucket) for name, rule in RULES.items()
        }
        for name, types, _, _ in said:
            assert ("PDF" in types) == ("application/pdf" in RULES[name].content_types)
            assert ("PNG" in types) == ("image/png" in RULES[name].content_types)


# What no other test shows


@pytest.mark.django_db
def test_no_account_exists_before_somebody_makes_one():
    assert not User.objects.exists()


@pytest.mark.django_db
def test_an_old_password_still_signs_in():
    user = UserFactory()

    outcome = services.log_in(
        email=user.email, password=PASSWORD, device=services.DeviceInfo(), peer="203.0.113.9", at=clock.now() + timedelta(days=3650)
    )

    assert outcome.session is not None


def test_no_operation_asks_a_secret_question_or_gives_a_hint():
    def names(serializer):
        for name, field in serializer.fields.items():
            yield name
            inner = getattr(field, "child", field)
            if hasattr(inner, "fields"):
                yield from names(inner)

    asked = {name for endpoint in all_endpoints() if endpoint.request for name in names(endpoint.request())}

    assert {"password", "code", "mfa_token"} <= asked
    assert not [name for name in asked if re.search("question|answer|hint|birth|maiden", name)]


@pytest.mark.django_db
def test_the_sign_in_page_masks_the_password_and_lets_a_manager_fill_it():
    html = Client().get("/admin/login/").content.decode()
    (field,) = re.findall(r'<input[^>]*name="password"[^>]*>', html)

    assert 'type="password"' in field and 'autocomplete="current-password"' in field
    assert "onpaste" not in html and "readonly" not in field


def test_secrets_of_second_factors_are_long_and_never_alike():
    secrets = {mfa.new_secret() for _ in range(200)}
    codes = {code for _ in range(200) for code in mfa.new_recovery_codes()}

    assert len(secrets) == 200 and {len(secret) for secret in secrets} == {32}, "160 bits in base 32"
    assert len(codes) == 2000 and {len(mfa.fold_recovery_code(code)) for code in codes} == {12}


@pytest.mark.django_db
def test_the_admins_cookie_is_long_and_random():
    keys = {SessionStore()._get_new_session_key() for _ in range(200)}

    assert len(keys) == 200 and {len(key) for key in keys} == {32}, "165 bits in base 36"
    assert len({character for key in keys for character in key}) == 36


@pytest.mark.django_db
def test_every_page_of_the_admin_shows_the_way_out():
    client = admin_client()

    for path in ("/admin/", "/admin/users/user/"):
        assert 'action="/admin/logout/"' in client.get(path).content.decode()


class TestInTheClear:
    """With https in force, as in production."""

    secured = override_settings(SECURE_SSL_REDIRECT=True)

    @pytest.mark.parametrize("method", ["get", "post"])
    def test_the_api_refuses_and_does_not_redirect(self, method):
        with self.secured:
            answer = getattr(Client(), method)("/api/v1/meta/", headers={"Authorization": "Bearer a-token"})

        assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
        assert "https only" in answer.json()["detail"] and "Location" not in answer.headers

    def test_pages_for_people_are_redirected(self):
        with self.secured:
            for path in ("/admin/login/", "/api/docs/"):
                assert Client().get(path)["Location"] == f"https://testserver{path}"

    @pytest.mark.django_db
    def test_over_https_the_api_answers(self):
        with self.secured:
            assert Client().get("/api/v1/meta/", secure=True).status_code == 200
