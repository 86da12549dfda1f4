"""What `manage.py doctor` looks at: every dependency, setting and right, one line each, with what to do about what is wrong.

An app adds to it by `register("payout account", check)` in `AppConfig.ready()`.
"""

import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from django.conf import settings
from django.core.cache import cache
from django.core.mail import get_connection
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor

from core import clock, rls, settings_check, signing, storage
from core.audit.sealing import get_chain_state
from core.exceptions import DomainError, ServiceUnavailable
from core.signing.remote import RemoteSigner
from core.tasks.selectors import get_queue_summary
from core.uploads import scanner
from core.uploads.rules import LARGEST_BYTES, MIB

OLDEST_POSTGRES = 150_000
EXTENSIONS = ("pg_trgm", "unaccent")
ROLE_LIMITS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
ROOT_WARNINGS_DAYS = 60
CLOCK_SKEW_SECONDS = 2.0
FREE_BYTES = 1_000_000_000


@dataclass(frozen=True)
class Finding:
    """One line of the report. `level` is ok, warn or wrong; `remedy` says what to do and is empty when nothing must be done."""

    level: str
    text: str
    remedy: str = ""


Check = Callable[[], Iterator[Finding]]


def ok(text: str) -> Finding:
    return Finding("ok", text)


def warn(text: str, remedy: str) -> Finding:
    return Finding("warn", text, remedy)


def wrong(text: str, remedy: str) -> Finding:
    return Finding("wrong", text, remedy)


def check_settings() -> Iterator[Finding]:
    problems = settings_check.find_problems(os.environ)
    for problem in problems:
        yield wrong(problem, "set it as .env.example explains")
    if not problems:
        yield ok(f"complete for {settings.ENVIRONMENT}")
    if settings.IS_PRODUCTION and "sslmode" not in settings.DATABASES["default"].get("OPTIONS", {}):
        yield warn("DATABASE_URL does not ask for TLS", "add ?sslmode=verify-full (or require) to it")


def check_python() -> Iterator[Finding]:
    yield ok(f"Python {sys.version.split()[0]}")  # an older one could not have read this


def check_packages() -> Iterator[Finding]:
    try:
        version("psycopg")
    except PackageNotFoundError:
        pass
    else:
        yield wrong("psycopg 3 is installed, and Django uses it instead of psycopg2 without a word", "pip uninstall psycopg")
    differing = []
    pinned = settings.BASE_DIR / "requirements.txt"
    for name, wanted in re.findall(r"^([A-Za-z0-9._-]+)==(\S+)$", pinned.read_text(), re.MULTILINE):
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "missing"
        if found != wanted:
            differing.append(f"{name} {found} instead of {wanted}")
    if differing:
        yield warn(f"{len(differing)} packages are not as pinned: {', '.join(differing[:5])}", "run `make install`")
    else:
        yield ok("as pinned in requirements.txt")


def check_database() -> Iterator[Finding]:
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT current_setting('server_version_num')::int, current_setting('server_version'), current_user,"
                " (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user),"
                " has_schema_privilege(current_schema(), 'CREATE'),"
                " current_setting('cluster_name'), current_setting('TimeZone'), statement_timestamp()"
            )
            number, name, role, too_strong, may_create, cluster, time_zone, database_clock = cursor.fetchone()
            cursor.execute("SELECT name, installed_version FROM pg_available_extensions WHERE name = ANY (%s)", [list(EXTENSIONS)])
            extensions = dict(cursor.fetchall())
            cursor.execute("SELECT name FROM pg_settings WHERE name = ANY (%s) AND setting = '0'", [list(ROLE_LIMITS)])
            unlimited = sorted(row[0] for row in cursor.fetchall())
    except (DatabaseError, InterfaceError) as error:
        yield wrong(f"it does not answer: {str(error).strip().splitlines()[0]}", "start it, or correct DATABASE_URL")
        return
    if number < OLDEST_POSTGRES:
        yield wrong(f"PostgreSQL {name}", "use PostgreSQL 15 or newer")
    else:
        yield ok(f"PostgreSQL {name} as role {role}")
    if settings.IS_PRODUCTION and cluster == "revsync-embedded":
        yield wrong("it is the embedded server of `make run`", "point DATABASE_URL at a server of your own")
    if too_strong:
        yield warn(f"the role {role} is a superuser or passes row-level security", "use a role that only owns its database")
    if not may_create:
        yield wrong(f"the role {role} may not create tables", f"GRANT CREATE ON SCHEMA public TO {role}")
    for extension in EXTENSIONS:
        if extension not in extensions:
            yield wrong(f"the extension {extension} is not available", "install PostgreSQL's contrib modules on the server")
        elif extensions[extension] is None:
            yield warn(f"the extension {extension} is not installed yet", "run `manage.py migrate`")
    for limit in unlimited:
        yield warn(f"{limit} is not limited", f"ALTER ROLE {role} SET {limit} = '…' (poolers refuse start-up options)")
    if time_zone != "UTC":
        yield warn(f"its time zone is {time_zone}", f"ALTER ROLE {role} SET timezone = 'UTC', which saves a statement on each connection")
    skew = abs((clock.now() - database_clock).total_seconds())
    if skew > CLOCK_SKEW_SECONDS:
        yield warn(f"its clock differs from this machine's by {skew:.0f} s", "let both follow a time server")


def check_migrations() -> Iterator[Finding]:
    try:
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        exposures = rls.find_exposures()
    except (DatabaseError, InterfaceError):
        yield wrong("they can't be read", "see database")
        return
    if plan:
        yield wrong(f"{len(plan)} are not applied, the first is {plan[0][0]}", "run `manage.py migrate`")
    else:
        yield ok("all applied")
    for exposure in exposures:
        yield wrong(f"open to others: {exposure}", "run `manage.py migrate`, which closes it")
    if not exposures and not plan:
        yield ok("row-level security on every table, nothing granted to others")


def check_storage() -> Iterator[Finding]:
    key = f"doctor/{secrets.token_hex(8)}"
    for bucket in (storage.PRIVATE, storage.PUBLIC):
        name = storage.bucket_name(bucket)
        try:
            storage.put_bytes(key, b"doctor", "application/octet-stream", bucket=bucket)
            same = storage.read(key, max_bytes=64, bucket=bucket) == b"doctor"
            if bucket == storage.PRIVATE and _status(f"{settings.S3_PUBLIC_ENDPOINT_URL}/{name}/{key}") == 200:
                yield wrong(f"anybody may read the bucket {name}", "make it private")
            storage.delete(key, bucket=bucket)
        except (DomainError, storage.ObjectMissing) as error:
            remedy = "start the storage, or correct the S3_… settings; both buckets must exist"
            yield wrong(f"bucket {name}: {type(error).__name__}", remedy)
            continue
        if same:
            yield ok(f"bucket {name}: put, get and delete work")
        else:
            yield wrong(f"bucket {name} gave back other bytes", "do not use this storage")


def check_payments() -> Iterator[Finding]:
    if not settings.STRIPE_SECRET_KEY:
        yield wrong("there is no STRIPE_SECRET_KEY", "set it as .env.example explains")
        return
    status = _status(f"{settings.STRIPE_API_BASE}/v1/payment_intents?limit=1", authorization=f"Bearer {settings.STRIPE_SECRET_KEY}")
    if status == 200:
        yield ok(f"{settings.STRIPE_API_BASE} answers and knows the key")
    elif status in (401, 403):
        yield wrong(f"{settings.STRIPE_API_BASE} refuses the key", "correct STRIPE_SECRET_KEY")
    else:
        how = status or "no connection"
        yield wrong(f"{settings.STRIPE_API_BASE} does not answer as it should ({how})", "look at the provider's status page")
    if not any(settings.STRIPE_WEBHOOK_SECRETS):
        yield wrong("there is no webhook secret: no event will be believed", "set STRIPE_WEBHOOK_SECRETS")


def check_mail() -> Iterator[Finding]:
    backend = settings.EMAIL_BACKEND.rpartition(".")[2]
    if settings.EMAIL_BACKEND == "core.mailbox.FileMailBackend":
        yield from _writable(Path(settings.MAIL_DIR), "mails land as files in")
        return
    try:
        mailer = get_connection()
        mailer.open()
        mailer.close()
    except Exception as error:
        yield wrong(f"{settings.EMAIL_HOST}:{settings.EMAIL_PORT}: {type(error).__name__}", "correct the EMAIL_… settings")
    else:
        yield ok(f"{backend} can be reached")


def check_scanner() -> Iterator[Finding]:
    try:
        status = scanner.get_status()
    except ServiceUnavailable:
        yield wrong(f"{settings.SCANNER} does not answer: uploads wait", "start clamd, or correct SCANNER")
        return
    if not status.enabled:
        accepted = settings.SCANNER == "off-accepted"
        yield (
            warn("files are not scanned" + (", as accepted" if accepted else ""), "name a scanner in SCANNER")
            if (settings.IS_PRODUCTION)
            else ok("off, as is usual in development")
        )
        return
    try:
        scanner.try_longest(size_bytes=LARGEST_BYTES)
    except scanner.StreamTooLong:
        yield wrong(
            f"{status.version} takes no stream of {LARGEST_BYTES} bytes: larger uploads than it takes are refused",
            f"set clamd's StreamMaxLength to at least {LARGEST_BYTES // MIB}M",
        )
        return
    except ServiceUnavailable:
        yield wrong(f"{status.version} does not scan: uploads wait", "look into clamd's log")
        return
    if status.signatures_at is None or clock.now() - status.signatures_at > scanner.SIGNATURES_GROW_OLD:
        yield warn(f"{status.version}: its signatures are older than seven days", "let freshclam update them")
    else:
        yield ok(f"{status.version}, signatures of {status.signatures_at:%Y-%m-%d}")


def check_signing() -> Iterator[Finding]:
    try:
        root = signing.current_root()
    except DomainError as error:
        yield wrong(error.detail, "see docs/runbooks")
        return
    yield from _check_signer()
    left = (datetime.fromisoformat(root.expires_at) - clock.now()).days
    if left < 0:
        yield wrong(f"root {root.version} has expired: apps refuse to flash", "publish a new root")
    elif left <= ROOT_WARNINGS_DAYS:
        yield warn(f"root {root.version} expires in {left} days", "publish a new root in time")
    else:
        yield ok(f"root {root.version} of {root.env}, valid for {left} days")


def _check_signer() -> Iterator[Finding]:
    if not settings.SIGNER_SOCKET:
        if settings.IS_PRODUCTION:
            remedy = "run a signer and set SIGNER_SOCKET: docs/runbooks/signing-keys.md"
            yield warn("the keys are files that this process reads: who has it can sign releases", remedy)
        return
    try:
        version = RemoteSigner(settings.SIGNER_SOCKET).root_version()
    except ServiceUnavailable as trouble:
        yield wrong(f"the signer does not answer: {trouble}", f"start it, or correct SIGNER_SOCKET ({settings.SIGNER_SOCKET})")
        return
    if version != signing.current_root().version:
        yield wrong(f"the signer works by root {version}", "copy the newest root document into its roots directory")
    else:
        yield ok("the signer answers")


def check_queue() -> Iterator[Finding]:
    try:
        summary = get_queue_summary()
    except (DatabaseError, InterfaceError):
        yield wrong("it can't be read", "see database")
        return
    if summary.live_workers == 0:
        yield wrong("no worker is alive", "start `manage.py run_worker`")
    else:
        yield ok(f"{summary.live_workers} workers, {summary.due} tasks due, {summary.running} running")
    if summary.oldest_due_seconds > 60:
        yield warn(f"a task has waited for {summary.oldest_due_seconds:.0f} s", "start more workers")
    if summary.dead:
        yield warn(f"{summary.dead} tasks have given up", "look at Dead tasks in the admin, and retry them there")


def check_audit() -> Iterator[Finding]:
    try:
        state = get_chain_state()
    except (DatabaseError, InterfaceError):
        yield wrong("it can't be read", "see database")
        return
    complaints = state.complaints(at=clock.now())
    for what, remedy in complaints:
        yield warn(what, remedy)
    if not complaints:
        copied = f"{state.copied_at:%Y-%m-%d %H:%M} UTC" if state.copied_at else "not yet"
        yield ok(f"{state.seals} seals, head copied {copied}; `manage.py audit_verify` proves them")


def check_cache() -> Iterator[Finding]:
    try:
        cache.set("doctor", "here", 10)
        found = cache.get("doctor")
    except Exception as error:
        yield wrong(f"it does not answer: {type(error).__name__}", "start Redis, or clear REDIS_URL")
        return
    yield ok("works") if found == "here" else wrong("it forgets at once", "look at Redis' memory")


def check_files() -> Iterator[Finding]:
    if settings.IS_PRODUCTION:
        if not (settings.STATIC_ROOT / "admin").is_dir():
            yield wrong(f"{settings.STATIC_ROOT} has no static files", "run `manage.py collectstatic --noinput`")
        else:
            yield ok(f"static files in {settings.STATIC_ROOT}")
        return
    yield from _writable(settings.DATA_DIR, "data directory")
    for name in ("secrets.json", "runtime.env"):
        path = settings.DATA_DIR / name
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield wrong(f"others may read {path}", f"chmod 600 {path}")
    free = shutil.disk_usage(settings.DATA_DIR).free if settings.DATA_DIR.exists() else FREE_BYTES
    if free < FREE_BYTES:
        yield warn(f"only {free // 1_000_000} MB are free", "make room")


def _writable(directory: Path, what: str) -> Iterator[Finding]:
    try:
        with tempfile.TemporaryFile(dir=directory):
            yield ok(f"{what} {directory}")
    except OSError as error:
        yield wrong(f"{directory} can't be written: {error.strerror}", "give it to the user that runs this, or set REVSYNC_DATA_DIR")


def _status(url: str, *, authorization: str = "") -> int:
    """HTTP status of a GET; 0 without an answer."""
    request = urllib.request.Request(url, headers={"Authorization": authorization} if authorization else {})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


_checks: dict[str, Check] = {
    "settings": check_settings,
    "python": check_python,
    "packages": check_packages,
    "database": check_database,
    "migrations": check_migrations,
    "storage": check_storage,
    "payments": check_payments,
    "mail": check_mail,
    "scanner": check_scanner,
    "signing": check_signing,
    "queue": check_queue,
    "audit log": check_audit,
    "cache": check_cache,
    "files": check_files,
}


def register(name: str, check: Check) -> None:
    """Add a check of an upper app."""
    if _checks.setdefault(name, check) is not check:
        raise ValueError(f"Two checks of doctor are called {name}")


def examine() -> Iterator[tuple[str, Finding]]:
    """Every finding with the name of its check. A check that raises is itself a finding."""
    for name, check in _checks.items():
        try:
            yield from ((name, finding) for finding in check())
        except Exception as error:
            yield name, wrong(f"the check itself failed: {type(error).__name__}: {error}", "report this")
