"""Periodic tasks of the platform itself: what has served its time goes."""

from datetime import timedelta

from core import clock, idempotency, limits
from core.schedule import every
from core.tasks import queue, task

KEEP_FINISHED = timedelta(days=3)


@every(hours=1, name="sweep_finished_tasks")
@task(max_attempts=3)
def sweep_finished_tasks() -> None:
    """Delete tasks that succeeded three days ago, in bites, so that the table stays small."""
    while queue.sweep_finished(older_than=KEEP_FINISHED):
        pass


@every(hours=1, name="sweep_idempotency_and_limits", offset_seconds=600)
@task(max_attempts=3)
def sweep_idempotency_and_limits() -> None:
    """Delete idempotency keys older than a day and counters whose window has ended."""
    at = clock.now()
    idempotency.purge_expired(at=at)
    limits.purge_ended(at=at)
