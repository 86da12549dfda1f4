"""The search for private things in logs finds them, names no value, and lets harmless lines pass."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import structlog
from django.db import IntegrityError, connection, transaction

from core import crypto
from core.logs import without_row
from core.testing import system
from core.testing.leaks import PATTERNS, LeakWatch, find_in_lines, find_in_logs_of, main, watching
from users import passwords

ROOT = Path(__file__).resolve().parent.parent.parent
VIN = "JYARN59C1MA633105"
LEAKS = {
    "token": "eyJhbGciOiJIUzI1NiIs.eyJzdWIiOiIwMTkzYTZmMiJ9.c2ln",
    "bearer credentials": "Authorization: Bearer abcdefghijklmnopqrst",
    "presigned link": "GET http://127.0.0.1:8333/private/x?X-Amz-Algorithm=a&X-Amz-Signature=0123",
    "signed link": f"the token is WyJyZWNlaXB0IiwiMDFhMjE0NmYiXQ:1wQz9a:{'k' * 43}",
    "payment secret": "pi_3Nabc123_secret_xyz",
    "password hash": "argon2$argon2id$v=19$m=19456",
    "second factor": "otpauth://totp/RevSync",
    "encrypted field": "gAAAAABl" + "Qx" * 30,
    "address": "could not send to anna@example.com",
    "VIN": f"read {VIN} from the ECU",
    "private key": "-----BEGIN PRIVATE KEY-----",
}


@pytest.fixture
def watch():
    """A second watch, of this test's own: what it finds is what the test wants. The run's own forgets it."""
    with watching(LeakWatch()) as own:
        yield own


@pytest.fixture(autouse=True)
def _on_purpose(leak_watch):
    yield
    leak_watch.take()


def test_every_pattern_has_an_example():
    assert set(LEAKS) == set(PATTERNS)


@pytest.mark.parametrize("kind", LEAKS)
@pytest.mark.parametrize("logger", ["django.request", "botocore.endpoint", "stripe", "a.library"])
def test_finds_each_kind_in_each_librarys_logger(watch, kind, logger):
    logging.getLogger(logger).critical("x %s", LEAKS[kind])

    assert kind in {leak.kind for leak in watch.take() if leak.logger == logger}


def test_finds_it_in_a_traceback_and_in_a_bound_value(watch):
    try:
        raise RuntimeError(LEAKS["address"])
    except RuntimeError:
        logging.getLogger("django.request").exception("failed")
    structlog.get_logger("core.test").warning("failed", where=LEAKS["VIN"])

    assert [str(leak) for leak in watch.take()] == ["django.request: address", "core.test: VIN"]


@pytest.mark.parametrize(
    "harmless",
    [
        {"path": "/api/v1/garage/vehicles/", "status_code": 200, "duration_ms": 12.345678, "at": "2026-11-25T15:56:54.876920Z"},
        {"sha256": "5d41402abc4b2a76b9719d911017c592ae2d9a1d6b8e7f0c3a4b5c6d7e8f9a0b"},
        {"id": "0193a6f2-7c1e-7b3a-9a41-5f0c2d8e6b11", "task": "users.tasks.send_challenge_mail"},
        {"number": "RS-7K2M9Q", "currency": "EUR", "amount_minor": 14900},
        {"error": "If this problem persists, let us know at support@stripe.com."},
    ],
)
def test_harmless_lines_pass(watch, harmless):
    structlog.get_logger("core.test").warning("done", **harmless)

    assert watch.take() == []


def test_what_a_name_gives_away_is_blanked_before_it_is_rendered(watch):
    structlog.get_logger("core.test").warning("failed", email="anna@example.com", vin=VIN)

    assert watch.take() == []


class TestRemembered:
    def test_values_without_a_shape_are_known_by_where_they_pass(self, watch):
        passwords.hashed("quiet otter lifts 9 anvils")
        crypto.encrypt("JKA-FRAME-0815")
        crypto.encrypt('{"display_name": "Anna Berg"}')
        for said in ("quiet otter lifts 9 anvils", "JKA-FRAME-0815", "Anna Berg"):
            logging.getLogger("core.test").error("it was %s", said)

        assert [leak.kind for leak in watch.take()] == ["password", "encrypted value", "encrypted value"]

    def test_a_code_is_not_confused_with_figures(self, watch):
        watch.remember("mailed code", "876920")
        structlog.get_logger("core.test").warning("done", at_what="2026-11-25T15:56:54.876920Z", took=1.876920)
        assert watch.take() == []

        structlog.get_logger("core.test").warning("it was 876920")
        assert [leak.kind for leak in watch.take()] == ["mailed code"]

    def test_the_next_test_starts_with_nothing(self, watch):
        watch.remember("password", "quiet otter lifts")
        watch.forget()
        logging.getLogger("core.test").error("quiet otter lifts")

        assert watch.take() == []

    def test_functions_are_as_before_afterwards(self):
        before = crypto.encrypt
        with watching(LeakWatch()):
            assert crypto.encrypt is not before
        assert crypto.encrypt is before


@pytest.mark.django_db
def test_a_refused_row_is_not_quoted(watch):
    """PostgreSQL tells the whole row that it refuses: an unhandled one would put it into the log, and into the failed task."""
    with pytest.raises(IntegrityError) as caught, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO core_limitcounter (name, key_hash, window_ends_at, count) VALUES ('anna@example.com', '', now(), -1)"
        )
    assert "anna@example.com" in str(caught.value)

    logging.getLogger("django.request").error("failed", exc_info=caught.value)

    assert watch.take() == []
    assert "anna@example.com" not in without_row(str(caught.value)) and "limit" in without_row(str(caught.value))


def test_log_files_are_searched_too():
    assert find_in_lines(["ready", "x anna@example.com"]) == {"address"}
    assert find_in_lines(["key is s3cr3t-of-this-run"], secrets=["s3cr3t-of-this-run", ""]) == {"a secret of the installation"}


def test_the_logs_of_a_system_are_searched_with_its_own_secrets(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "secrets.json").write_text('{"hash_key": "s3cr3t-of-this-run"}')
    (tmp_path / "logs" / "web.log").write_text("ready\nkey s3cr3t-of-this-run\n")
    (tmp_path / "logs" / "worker.log.1").write_text("to anna@example.com\n")

    assert find_in_logs_of(tmp_path) == ["web.log: a secret of the installation", "worker.log.1: address"]
    assert main([str(tmp_path)]) == 1
    (tmp_path / "logs" / "web.log").write_text("ready\n")
    (tmp_path / "logs" / "worker.log.1").unlink()
    assert main([str(tmp_path)]) == 0


A_SYSTEM = '''
import os, pathlib, time

logs = pathlib.Path(os.environ["REVSYNC_DATA_DIR"], "logs")
logs.mkdir(parents=True)
(logs / "web.log").write_text(os.environ["LOGGED"])
print("ready in 0 s", flush=True)
time.sleep(60)
'''


class TestASystemOfItsOwn:
    """What the checks over HTTP start (the schema, the clients, the pooler) is searched when it has stopped."""

    @pytest.fixture
    def run(self, tmp_path):
        (tmp_path / "a_system.py").write_text(A_SYSTEM)

        def run(logged, within=lambda: None):
            with system.running(tmp_path, module="a_system", extra={"PYTHONPATH": str(tmp_path), "LOGGED": logged}):
                within()

        return run

    def test_passes_when_nothing_private_was_logged(self, run):
        run("200 GET api/v1/users/me/")

    def test_fails_whoever_ran_it_and_does_not_repeat_what_it_found(self, run):
        with pytest.raises(system.Leaked, match=r"\ASomething private is in web\.log: address\Z"):
            run("told anna@example.com")

    def test_hides_no_other_failure(self, run):
        with pytest.raises(ZeroDivisionError):
            run("told anna@example.com", within=lambda: 1 / 0)


LEAKING_TEST = '''
import logging

def test_that_leaks():
    logging.getLogger("a.library").error("sent to %s", "anna@example.com")

def test_that_does_not():
    logging.getLogger("a.library").error("sent")
'''


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "with xdist"])
def test_a_run_with_a_leak_fails_and_does_not_repeat_it(tmp_path, workers):
    (tmp_path / "test_leaking.py").write_text(LEAKING_TEST)
    command = [sys.executable, "-m", "pytest", str(tmp_path), "-q", "-p", "core.testing.plugin", "-p", "core.testing.leak_plugin"]

    run = subprocess.run(
        [*command, "--rootdir", str(tmp_path), "-p", "no:cacheprovider", "--show-capture=no", *(workers or ("-p", "no:xdist"))],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert run.returncode == 1, run.stdout + run.stderr
    assert "Something private was logged by a.library: address" in run.stdout
    assert "2 passed, 1 error" in run.stdout
    assert "anna@example.com" not in run.stdout
