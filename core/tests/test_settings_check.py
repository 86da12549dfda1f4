import ast
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from core import settings_check
from core.embedded import supervisor

ROOT = Path(settings_check.__file__).resolve().parent.parent
APPS = ("revsync_backend", "core", "users", "tuners", "garage", "marketplace")
OF_THE_SYSTEM = {"PATH", "DJANGO_SETTINGS_MODULE"}

GOOD = {
    "REVSYNC_ENV": "production",
    "SECRET_KEY": "kJ3n9vQ2xL7wR5tY8uI1oP4aS6dF0gH3",
    "JWT_SIGNING_KEYS": "2026-11:zX8cV6bN4mM2qW0eR9tY7uI5oP3aS1dF",
    "FIELD_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
    "HASH_KEY": "hG5fD3sA1pO9iU7yT6rE4wQ2zX0cV8bN",
    "CURSOR_KEY": "lK2jH4gF6dS8aP0oI9uY7tR5eW3qM1nB",
    "SIGNING_KEYS_DIR": "/etc/revsync/signing",
    "DATABASE_URL": "postgres://revsync:secret@db.example.com:6543/revsync",
    "PUBLIC_BASE_URL": "https://api.example.com",
    "ALLOWED_HOSTS": "api.example.com",
    "TRUSTED_PROXY_HOPS": "1",
    "S3_ENDPOINT_URL": "https://files.example.com/s3",
    "S3_REGION": "eu-central-1",
    "S3_ACCESS_KEY_ID": "0123456789abcdef",
    "S3_SECRET_ACCESS_KEY": "fedcba9876543210",
    "S3_BUCKET_PRIVATE": "revsync-private",
    "S3_BUCKET_PUBLIC": "revsync-public",
    "STRIPE_SECRET_KEY": "sk_live_0123456789",
    "STRIPE_PUBLISHABLE_KEY": "pk_live_0123456789",
    "STRIPE_WEBHOOK_SECRETS": "whsec_0123456789abcdef0123",
    "SCANNER": "clamd://scanner.example.com:3310",
    "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
    "EMAIL_HOST": "smtp.example.com",
    "DEFAULT_FROM_EMAIL": "RevSync <no-reply@example.com>",
}


def test_a_whole_production_environment_is_accepted():
    assert settings_check.find_problems(GOOD) == []


@pytest.mark.parametrize("name", settings_check.NEEDED_IN_PRODUCTION)
@pytest.mark.parametrize("how", ["missing", "blank"])
def test_one_line_names_a_missing_production_setting(name, how):
    environment = dict(GOOD)
    if how == "missing":
        del environment[name]
    else:
        environment[name] = "  "

    problems = settings_check.find_problems(environment)

    assert problems == [f"{name} is missing: production needs it"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("DEBUG", "true", "DEBUG is on"),
        ("DEBUG", "perhaps", "DEBUG is 'perhaps'"),
        ("REVSYNC_EMBEDDED", "1", "REVSYNC_EMBEDDED is set"),
        ("PAYMENTS_SANDBOX_URL", "https://pay.example.com", "PAYMENTS_SANDBOX_URL is set"),
        ("STRIPE_API_BASE", "http://127.0.0.1:9000", "STRIPE_API_BASE is http://127.0.0.1:9000"),
        ("STRIPE_API_BASE", "https://api.stripe.example.com", "STRIPE_API_BASE is https://api.stripe.example.com"),
        ("STRIPE_SECRET_KEY", "sk_test_0123456789", "STRIPE_SECRET_KEY is a test key"),
        ("STRIPE_PUBLISHABLE_KEY", "pk_test_0123456789", "STRIPE_PUBLISHABLE_KEY is a test key"),
        ("STRIPE_WEBHOOK_SECRETS", "whsec_0123456789abcdef0123,", "STRIPE_WEBHOOK_SECRETS has an entry that is blank"),
        ("STRIPE_WEBHOOK_SECRETS", "secret", "STRIPE_WEBHOOK_SECRETS has an entry that is blank or no signing secret"),
        ("EMAIL_BACKEND", "core.mailbox.FileMailBackend", "EMAIL_BACKEND keeps mails on this machine"),
        ("EMAIL_HOST", "", "EMAIL_HOST is missing"),
        ("EMAIL_PORT", "smtp", "EMAIL_PORT is 'smtp'"),
        ("FCM_SERVICE_ACCOUNT_FILE", "/nowhere/key.json", "FCM_SERVICE_ACCOUNT_FILE names no file"),
        ("FCM_API_BASE", "http://fcm.example.com", "FCM_API_BASE must begin with https://"),
        ("FCM_API_BASE", "fcm.example.com", "FCM_API_BASE must be an http or https URL"),
        ("SECRET_KEY", "dev-kJ3n9vQ2xL7wR5tY8uI1oP4aS6dF0gH3", "SECRET_KEY is a development key"),
        ("SECRET_KEY", "short", "SECRET_KEY is too weak"),
        ("HASH_KEY", "a" * 64, "HASH_KEY is too weak"),
        ("HASH_KEY", GOOD["SECRET_KEY"], "HASH_KEY is the same as SECRET_KEY"),
        ("JWT_SIGNING_KEYS", f"2026-11:{GOOD['SECRET_KEY']}", "JWT_SIGNING_KEYS repeats SECRET_KEY"),
        ("JWT_SIGNING_KEYS", f"dev-1:{GOOD['JWT_SIGNING_KEYS']}", "JWT_SIGNING_KEYS has the development key 'dev-1'"),
        ("JWT_SIGNING_KEYS", "a-key-without-a-name-in-front-of-it", "JWT_SIGNING_KEYS must be a list of `kid:key`"),
        ("FIELD_ENCRYPTION_KEYS", "not-a-key", "FIELD_ENCRYPTION_KEYS must be a list of Fernet keys"),
        ("ALLOWED_HOSTS", "*", "ALLOWED_HOSTS has a wildcard"),
        ("ALLOWED_HOSTS", "api.example.com,.example.com", "ALLOWED_HOSTS has a wildcard"),
        ("ALLOWED_HOSTS", "api.example.com,", "ALLOWED_HOSTS has a blank entry"),
        ("ALLOWED_HOSTS", "other.example.com", "ALLOWED_HOSTS does not have api.example.com"),
        ("PUBLIC_BASE_URL", "http://api.example.com", "PUBLIC_BASE_URL must begin with https://"),
        ("PUBLIC_BASE_URL", "https://127.0.0.1", "PUBLIC_BASE_URL names this machine"),
        ("PUBLIC_BASE_URL", "api.example.com", "PUBLIC_BASE_URL must be an http or https URL"),
        ("CORS_ALLOWED_ORIGINS", "*", "CORS_ALLOWED_ORIGINS has '*'"),
        ("CORS_ALLOWED_ORIGINS", "http://example.com", "CORS_ALLOWED_ORIGINS has 'http://example.com'"),
        ("TRUSTED_PROXY_HOPS", "0", "TRUSTED_PROXY_HOPS is 0 while SECURE_SSL_REDIRECT is on"),
        ("TRUSTED_PROXY_HOPS", "-1", "TRUSTED_PROXY_HOPS is '-1'"),
        ("DATABASE_URL", "postgres://revsync:x@127.0.0.1:5432/revsync", "DATABASE_URL names this machine"),
        ("DATABASE_URL", "mysql://db.example.com/revsync", "DATABASE_URL must look like"),
        ("S3_ENDPOINT_URL", "http://localhost:9000", "S3_ENDPOINT_URL names this machine"),
        ("S3_ENDPOINT_URL", "http://files.example.com", "S3_ENDPOINT_URL must begin with https://"),
        ("S3_BUCKET_PUBLIC", "revsync-private", "S3_BUCKET_PUBLIC is the same as S3_BUCKET_PRIVATE"),
        ("S3_ACCESS_KEY_ID", "dev-0123456789", "S3_ACCESS_KEY_ID is a development key"),
        ("SCANNER", "off", "SCANNER is off: name a scanner"),
        ("SCANNER", "maybe", "SCANNER is 'maybe'"),
    ],
)
def test_production_refuses_in_one_line_that_names_the_setting(name, value, said):
    problems = settings_check.find_problems(GOOD | {name: value})

    assert problems, f"{name}={value} was accepted"
    assert problems[0].startswith(said)
    assert all("\n" not in problem for problem in problems)
    assert all(value not in problem for problem in problems) or name not in settings_check.SECRETS, "a secret is never repeated"


def test_no_line_repeats_a_secret():
    weak = GOOD | {"SECRET_KEY": "hunter2-hunter2", "STRIPE_SECRET_KEY": "sk_test_topsecret", "STRIPE_WEBHOOK_SECRETS": "oops-secret"}

    said = "\n".join(settings_check.find_problems(weak))

    assert "hunter2" not in said
    assert "topsecret" not in said
    assert "oops-secret" not in said


def test_a_local_pooler_may_be_accepted_explicitly():
    environment = GOOD | {"DATABASE_URL": "postgres://revsync:x@127.0.0.1:6432/revsync", "ALLOW_LOOPBACK_DATABASE": "true"}

    assert settings_check.find_problems(environment) == []


def test_the_environment_of_make_run_is_refused_in_production_and_accepted_in_development(tmp_path):
    system = supervisor.Supervisor(supervisor.Options(port=8000, data_dir=tmp_path, public_host="", demo=False))
    system.secrets = supervisor.secrets.load(tmp_path / "secrets.json")
    system.postgres = supervisor.Postgres(tmp_path / "postgres", tmp_path / "log", "x", "y", port=5555)
    system.s3 = supervisor.S3(tmp_path / "s3", tmp_path / "log", "dev-key", "z", first_port=5556)
    system.payments_port, system.relay_port = 5557, None
    runtime = system.make_runtime()

    said = [problem.split(" ")[0] for problem in settings_check.find_problems(runtime | {"REVSYNC_ENV": "production"})]

    assert settings_check.find_problems(runtime) == []
    assert {"SECRET_KEY", "HASH_KEY", "CURSOR_KEY", "JWT_SIGNING_KEYS", "REVSYNC_EMBEDDED", "DATABASE_URL", "S3_ENDPOINT_URL"} <= set(said)
    assert {"STRIPE_API_BASE", "STRIPE_SECRET_KEY", "PUBLIC_BASE_URL", "SCANNER", "EMAIL_BACKEND", "PAYMENTS_SANDBOX_URL"} <= set(said)


def test_a_process_with_a_bad_environment_ends_with_status_one_and_one_line():
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG")} | GOOD | {"ALLOWED_HOSTS": "*"}

    done = subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "revsync: settings: ALLOWED_HOSTS has a wildcard: name each host",
        "revsync: settings: ALLOWED_HOSTS does not have api.example.com, the host of PUBLIC_BASE_URL",
    ]


def names_read_by(path: Path) -> set[str]:
    """Names of the variables that a module asks the environment for by a literal."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ" and isinstance(node.slice, ast.Constant):
            found.add(node.slice.value)
        if not (
            isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
        ):
            continue
        called = ast.unparse(node.func)
        if called == "env" or re.fullmatch(r"env\.(bool|int|list|db_url|str|url|float|json)|os\.environ\.get|os\.getenv", called):
            found.add(node.args[0].value)
    return found


def test_env_example_lists_exactly_the_settings_that_are_read():
    listed = set(re.findall(r"^([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    modules = [path for app in APPS for path in (ROOT / app).rglob("*.py") if not {"tests", "testing"} & set(path.parts)]
    read = set().union(*map(names_read_by, modules)) - OF_THE_SYSTEM
    read |= set(re.findall(r"\$\{([A-Z0-9_]+)[:}]", (ROOT / "Dockerfile").read_text()))
    read |= {"ALLOW_LOOPBACK_DATABASE", "REVSYNC_EMBEDDED"}  # read by the check itself

    assert sorted(read - listed) == []
    assert sorted(listed - read) == []


def test_env_example_explains_each_setting_in_a_sentence():
    lines = (ROOT / ".env.example").read_text().splitlines()

    for above, line in pairwise(lines):
        if re.match(r"^[A-Z0-9_]+=", line):
            assert above.startswith("# "), line
            assert above.endswith("."), above


def test_env_example_has_no_secret_in_it():
    values = dict(re.findall(r"^([A-Z0-9_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))

    for name in (
        "SECRET_KEY",
        "JWT_SIGNING_KEYS",
        "FIELD_ENCRYPTION_KEYS",
        "HASH_KEY",
        "CURSOR_KEY",
        "STRIPE_SECRET_KEY",
        "S3_SECRET_ACCESS_KEY",
    ):
        assert values[name] == ""


def test_without_any_settings_one_line_says_what_to_do(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG")} | {"REVSYNC_DATA_DIR": str(tmp_path)}

    done = subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "make run" in done.stderr
