import io
import re
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connection

from core import clock, doctor, storage
from core.embedded import ports

pytestmark = pytest.mark.django_db


def findings(name: str) -> dict[str, str]:
    """Text → level and remedy of one check."""
    return {finding.text: f"{finding.level} {finding.remedy}".strip() for finding in doctor._checks[name]()}


def levels(name: str) -> list[str]:
    return [finding.level for finding in doctor._checks[name]()]


def test_one_line_a_finding_with_what_to_do_about_what_is_wrong(settings):
    output = io.StringIO()

    with pytest.raises(SystemExit) as ended:
        call_command("doctor", stdout=output, no_color=True)

    lines = output.getvalue().splitlines()
    assert ended.value.code == 1, "no worker runs here and nobody answers for payments"
    assert all(re.match(r"(ok   |warn |wrong) [a-z ]+: .+", line) for line in lines)
    assert all("→" in line for line in lines if not line.startswith("ok"))
    assert "wrong queue: no worker is alive → start `manage.py run_worker`" in lines
    assert {line[6:].split(":")[0] for line in lines} == set(doctor._checks)
    for secret in (settings.SECRET_KEY, settings.S3_SECRET_ACCESS_KEY, settings.STRIPE_SECRET_KEY, settings.HASH_KEY):
        assert secret not in output.getvalue()


@pytest.mark.parametrize(
    "name", ["settings", "python", "packages", "database", "migrations", "storage", "mail", "scanner", "signing", "cache", "files"]
)
def test_a_healthy_part_is_ok(name, settings):
    settings.MAIL_DIR.mkdir(parents=True, exist_ok=True)
    settings.EMAIL_BACKEND = "core.mailbox.FileMailBackend"  # the test runner puts its own in
    assert set(levels(name)) == {"ok"}


def test_a_storage_that_is_down_is_wrong_for_each_bucket(settings):
    settings.S3_ENDPOINT_URL = settings.S3_PUBLIC_ENDPOINT_URL = f"http://127.0.0.1:{ports.free_port()}"
    storage.reset()
    try:
        assert levels("storage") == ["wrong", "wrong"]
    finally:
        storage.reset()


def test_a_private_bucket_that_anybody_may_read_is_wrong(settings, live_server):
    settings.S3_PUBLIC_ENDPOINT_URL = f"{live_server.url}/livez?"  # answers 200 to whatever is asked

    assert findings("storage")[f"anybody may read the bucket {settings.S3_BUCKET_PRIVATE}"] == "wrong make it private"


def test_a_role_without_limits_is_warned_about():
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = 0")

    assert any(text.startswith("lock_timeout is not limited") for text in findings("database"))


def test_the_embedded_server_is_wrong_in_production(settings):
    settings.IS_PRODUCTION = True

    assert findings("database")["it is the embedded server of `make run`"].startswith("wrong")


def test_a_table_without_row_level_security_is_wrong():
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE core_scheduleentry DISABLE ROW LEVEL SECURITY")

    assert findings("migrations")["open to others: core_scheduleentry: row-level security is off"].startswith(
        "wrong run `manage.py migrate`"
    )


def test_an_unapplied_migration_is_wrong():
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'sessions'")

    assert "1 are not applied, the first is sessions.0001_initial" in findings("migrations")


def test_a_scanner_that_is_down_is_wrong(settings):
    settings.SCANNER = f"clamd://127.0.0.1:{ports.free_port()}"

    assert levels("scanner") == ["wrong"]


def test_a_root_that_expires_soon_is_warned_about(time_machine):
    time_machine.move_to(clock.now() + timedelta(days=320))

    assert levels("signing") == ["warn"]
    time_machine.shift(timedelta(days=60))
    assert levels("signing") == ["wrong"]


def test_a_check_that_raises_becomes_a_line_of_the_report():
    def broken():
        raise RuntimeError("boom")

    doctor.register("broken", broken)
    try:
        found = dict(doctor.examine())
    finally:
        del doctor._checks["broken"]

    assert found["broken"].text == "the check itself failed: RuntimeError: boom"
