"""What a web process does beside answering: functions that are called again and again in one thread, and once more at the end.

For what is counted in memory and written in sets. What is registered must be cheap, bounded and allowed to be lost: a process
that is killed calls nothing. Only `core.web_worker` runs it; where nothing does (commands, tests), nothing is called.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator

import structlog

log = structlog.get_logger("core.background")

PERIOD_SECONDS = 30.0
LAST_ROUND_SECONDS = 8.0  # longer than a statement of the web waits for its answer

_jobs: dict[str, Callable[[], object]] = {}


def register(name: str, job: Callable[[], object]) -> None:
    """Have `job` called in every web process. Called in `AppConfig.ready()`; a second call of that name replaces the first."""
    _jobs[name] = job


@contextlib.contextmanager
def running() -> Iterator[None]:
    """Run what is registered for as long as the block runs, and a last time when it ends. In the process that forked, not before."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(PERIOD_SECONDS):
            run_round()
        run_round()

    thread = threading.Thread(target=work, name="background", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(LAST_ROUND_SECONDS)


def run_round() -> None:
    """Call each function once. One that fails is logged and keeps no other waiting; no connection stays open for the next half minute."""
    from django.db import connections  # settings are read when the application is loaded, which is later than this module

    for name, job in list(_jobs.items()):
        try:
            job()
        except Exception as error:
            log.warning("background_failed", job=name, error=type(error).__name__)
    connections.close_all()
