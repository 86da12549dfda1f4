"""In tests tasks do not run by themselves: `run_all()` drains the queue on the test's own connection."""

from datetime import datetime

from core import clock
from core.ids import new_id
from core.tasks import queue, runner


def run_all(*, until: datetime | None = None, raise_errors: bool = True, limit: int = 1000) -> list[str]:
    """Run every task due by `until` (default: now) in the worker's order, those queued meanwhile too; return their names.

    An error of a task is raised here, after its outcome was written, unless `raise_errors=False`: then it has gone the
    way it goes in the worker (retry later, dead). `run_all(until=now() + timedelta(days=1))` plays the retries as well.
    """
    worker_id, done = new_id(), []
    while claimed := queue.claim_next(worker_id, due_by=until or max(clock.now(), database_now())):
        done.append(claimed.path)
        error = runner.run(claimed)
        runner.settle(claimed, error)
        if error is not None and raise_errors:
            raise error
        if len(done) >= limit:
            raise AssertionError(f"The queue does not drain: {limit} tasks ran, the last {done[-3:]}.")
    return done


def database_now() -> datetime:
    """The database's clock, which decides what is due."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        return cursor.fetchone()[0]
