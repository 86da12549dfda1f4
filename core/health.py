"""`/livez`, `/readyz` and `/metrics`. Plain Django views: they must answer while everything else is down.

An app adds a check of its own by `register_check("status_document", find_trouble)` in `AppConfig.ready()`.
"""

import hmac
import threading
import time
from collections.abc import Callable, Iterator

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.http import require_safe
from django_prometheus.exports import ExportToDjangoView
from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from core import problems, rls, storage
from core.exceptions import ServiceUnavailable
from core.problems import ProblemType
from core.tasks.selectors import get_queue_summary

log = structlog.get_logger(__name__)
Check = Callable[[], str | None]  # None: fine; else one sentence on what is wrong

ANSWER_KEPT_SECONDS = 1.0  # the door is public: however often it is asked, the dependencies are asked once a second
QUEUE_WAIT_LIMIT_SECONDS = 300
NOT_READY_RETRY_SECONDS = 2

problems.register(
    [ProblemType("not_ready", 503, "Not everything that is needed works", "`failing` names the parts: database, storage, queue, …")]
)


def check_database() -> str | None:
    """One round trip on the kept connection."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (DatabaseError, InterfaceError):
        return "The database does not answer."
    return None


def check_storage() -> str | None:
    """One HEAD in the private bucket; whether the object exists does not matter."""
    try:
        storage.head("ready")
    except ServiceUnavailable:
        return "The file storage does not answer."
    return None


def check_queue() -> str | None:
    """A worker is alive and due tasks do not wait for long."""
    try:
        summary = get_queue_summary()
    except (DatabaseError, InterfaceError):
        return "The queue can't be read: the database does not answer."
    if summary.live_workers == 0:
        return "No worker is alive."
    if summary.oldest_due_seconds > QUEUE_WAIT_LIMIT_SECONDS:
        return f"The oldest due task has waited for {summary.oldest_due_seconds:.0f} seconds."
    return None


def check_demo() -> str | None:
    """The supervisor keeps this file from before the first row of the demo data until after the last."""
    if not settings.IS_PRODUCTION and (settings.DATA_DIR / "demo.loading").exists():
        return "The demo data is being loaded."
    return None


_exposure_seen_closed = threading.Event()


def check_exposure() -> str | None:
    """Asked until it was right once: only a migrate changes it, and it closes what it makes."""
    if _exposure_seen_closed.is_set():
        return None
    try:
        found = rls.find_exposures()
    except (DatabaseError, InterfaceError):
        return "Row-level security can't be checked: the database does not answer."
    if found:
        return f"{len(found)} tables or functions are open to other roles: run `manage.py migrate`."
    _exposure_seen_closed.set()
    return None


_checks: dict[str, Check] = {
    "database": check_database,
    "storage": check_storage,
    "queue": check_queue,
    "demo_data": check_demo,
    "row_level_security": check_exposure,
}


def register_check(name: str, check: Check) -> None:
    """Add a part that readiness depends on."""
    if name in _checks and _checks[name] is not check:
        raise ValueError(f"Two readiness checks are called {name}")
    _checks[name] = check


def run_checks() -> dict[str, str | None]:
    """Every part by name, with what is wrong with it or None. A check that raises is a failing one, never a 500."""
    results: dict[str, str | None] = {}
    for name, check in list(_checks.items()):
        if results.get("database") and name != "storage" and name != "demo_data":
            results[name] = "It needs the database."  # not a second wait for the same time-out
            continue
        try:
            results[name] = check()
        except Exception:
            log.exception("readiness_check_failed", check=name)
            results[name] = "The check itself failed; see the log."
    return results


_lock = threading.Lock()
_answer: tuple[float, dict[str, str | None]] | None = None


def _recent_results() -> dict[str, str | None]:
    global _answer
    with _lock:
        if _answer is None or time.monotonic() - _answer[0] > ANSWER_KEPT_SECONDS:
            _answer = None
            results = run_checks()
            _answer = (time.monotonic(), results)
        return _answer[1]


@require_safe
def livez(request: HttpRequest) -> HttpResponse:
    """The process answers; nothing else is asked."""
    return JsonResponse({"status": "alive"}, headers={"Cache-Control": "no-store"})


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """200 when every part works, else a 503 problem whose member `failing` names those that don't."""
    results = _recent_results()
    failing = [{"name": name, "detail": detail} for name, detail in results.items() if detail]
    if failing:
        names = ", ".join(part["name"] for part in failing)
        response = problems.problem_response(request, "not_ready", detail=f"Not working: {names}.", failing=failing)
        response.headers["Retry-After"] = str(NOT_READY_RETRY_SECONDS)
        return response
    return JsonResponse({"status": "ready", "checks": dict.fromkeys(results, "ok")}, headers={"Cache-Control": "no-store"})


def _may_read_metrics(request: HttpRequest) -> bool:
    """The bearer token; where none is set, a caller on this very machine whom no proxy let in."""
    if settings.METRICS_TOKEN:
        expected = f"Bearer {settings.METRICS_TOKEN}"
        return hmac.compare_digest(request.headers.get("Authorization", "").encode(), expected.encode())
    forwarded = "X-Forwarded-For" in request.headers or "Forwarded" in request.headers
    return not forwarded and request.META.get("REMOTE_ADDR", "") in ("127.0.0.1", "::1")


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus' text format; to everybody else this path does not exist."""
    if not _may_read_metrics(request):
        return problems.problem_response(request, "not_found")
    return ExportToDjangoView(request)


class QueueCollector(Collector):
    """The queue's figures, read at each scrape."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            summary = get_queue_summary()
        except (DatabaseError, InterfaceError):
            return
        for name, text, value in (
            ("due", "Tasks that wait for a worker (counted to 1001)", summary.due),
            ("oldest_due_seconds", "How long the first of them has waited", summary.oldest_due_seconds),
            ("running", "Tasks that a worker has claimed", summary.running),
            ("dead", "Tasks that gave up and wait for a person (counted to 1001)", summary.dead),
            ("live_workers", "Worker processes that beat", summary.live_workers),
        ):
            yield GaugeMetricFamily(f"revsync_tasks_{name}", text, value=value)

    def describe(self) -> list[GaugeMetricFamily]:
        return []  # nothing is read while the collector is registered


REGISTRY.register(QueueCollector())

urlpatterns = [
    path("livez", livez, name="livez"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
]
