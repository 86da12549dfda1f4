"""What health checks and admins ask of the queue."""

from dataclasses import dataclass

from django.db import connection

from core.tasks.queue import TABLE
from core.tasks.worker import DEAD_AFTER_SECONDS


@dataclass(frozen=True)
class QueueSummary:
    """The queue at a glance: `oldest_due_seconds` is how long the first due task has waited (0 when none waits)."""

    due: int
    oldest_due_seconds: float
    running: int
    dead: int
    live_workers: int


def get_queue_summary() -> QueueSummary:
    """One statement over partial indexes; counts stop at 1001."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT
                (SELECT count(*)
                   FROM (SELECT 1 FROM {TABLE} WHERE status = 'READY' AND run_after <= statement_timestamp() LIMIT 1001) AS x),
                (SELECT COALESCE(EXTRACT(EPOCH FROM statement_timestamp() - min(run_after)), 0) FROM {TABLE}
                    WHERE status = 'READY' AND run_after <= statement_timestamp()),
                (SELECT count(*) FROM {TABLE} WHERE status = 'RUNNING'),
                (SELECT count(*) FROM (SELECT 1 FROM {TABLE} WHERE status = 'FAILED' LIMIT 1001) AS x),
                (SELECT count(*) FROM core_taskworker WHERE heartbeat_at > statement_timestamp() - make_interval(secs => %s))
            """,
            [DEAD_AFTER_SECONDS],
        )
        due, oldest, running, dead, workers = cursor.fetchone()
    return QueueSummary(due, float(oldest), running, dead, workers)
