"""Claiming, finishing and taking over tasks: the SQL that several workers run against each other.

Every move names the state and the worker it starts from, so a worker that was paused and lost its task to another one
can't overwrite what that one did. All times are the database's.
"""

import json
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.utils.module_loading import import_string
from django_tasks_db.models import DBTaskResult

from core.logs import without_row
from core.tasks.definition import DurableTask

TABLE = f'"{DBTaskResult._meta.db_table}"'

CLAIM = f"""
    UPDATE {TABLE}
    SET status = 'RUNNING', started_at = statement_timestamp(), worker_ids = worker_ids || to_jsonb(%(worker)s::text)
    WHERE id = (
        SELECT id FROM {TABLE}
        WHERE status = 'READY' AND run_after <= COALESCE(%(due_by)s, statement_timestamp()) AND backend_name = 'default'
        ORDER BY priority DESC, run_after, enqueued_at
        LIMIT 1
        FOR UPDATE SKIP LOCKED
    )
    RETURNING id, task_path, args_kwargs, jsonb_array_length(worker_ids)
"""

HELD = "WHERE id = %(id)s AND status = 'RUNNING' AND worker_ids ->> -1 = %(worker)s AND jsonb_array_length(worker_ids) = %(attempt)s"

SUCCEED = f"""
    UPDATE {TABLE} SET status = 'SUCCESSFUL', finished_at = statement_timestamp(), exception_class_path = '', traceback = '' {HELD}
"""

FAIL = f"""
    UPDATE {TABLE} SET status = 'FAILED', finished_at = statement_timestamp(),
        exception_class_path = %(error)s, traceback = %(trace)s {HELD}
"""

RETRY = f"""
    UPDATE {TABLE}
    SET status = 'READY', run_after = statement_timestamp() + %(delay)s, exception_class_path = %(error)s, traceback = %(trace)s {HELD}
"""

GIVE_BACK = f"""
    UPDATE {TABLE}
    SET status = 'READY', run_after = statement_timestamp() + %(delay)s, worker_ids = worker_ids - -1,
        exception_class_path = %(error)s, traceback = %(trace)s {HELD}
"""

ABANDONED = f"""
    SELECT id, task_path, args_kwargs, jsonb_array_length(worker_ids), worker_ids ->> -1 FROM {TABLE} AS task
    WHERE status = 'RUNNING' AND backend_name = 'default' AND NOT EXISTS (
        SELECT 1 FROM core_taskworker AS worker
        WHERE worker.id::text = task.worker_ids ->> -1 AND worker.heartbeat_at > statement_timestamp() - %(dead_after)s
    )
    ORDER BY started_at
    LIMIT 100
    FOR UPDATE OF task SKIP LOCKED
"""

BEAT = """
    INSERT INTO core_taskworker (id, host, pid, started_at, heartbeat_at)
    VALUES (%(id)s, %(host)s, %(pid)s, statement_timestamp(), statement_timestamp())
    ON CONFLICT (id) DO UPDATE SET heartbeat_at = statement_timestamp()
"""


class WorkerDied(Exception):
    """Written to a task whose worker stopped beating in the middle of its last attempt."""


@dataclass(frozen=True)
class Claimed:
    """A task in the hands of one worker: `attempt` counts from 1 and fences its outcome."""

    id: UUID
    path: str
    kwargs: dict[str, Any]
    args: list[Any]
    request_id: str | None
    attempt: int
    worker_id: str

    def find_task(self) -> DurableTask | None:
        """The declared task, or None when this code has none of that name."""
        try:
            declared = import_string(self.path)
        except ImportError:
            return None
        return declared if isinstance(declared, DurableTask) else None


def claim_next(worker_id: UUID | str, *, due_by: datetime | None = None) -> Claimed | None:
    """Take the most urgent due task for this worker, or None. Two workers never get the same one.

    One statement; rows that another worker is just taking are skipped, not waited for. `due_by` stands in for the
    database's clock (tests).
    """
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, {"worker": str(worker_id), "due_by": due_by})
        row = cursor.fetchone()
    return None if row is None else _claimed(row, str(worker_id))


def _claimed(row: tuple, worker_id: str) -> Claimed:
    task_id, path, arguments, attempt = row
    if isinstance(arguments, str):  # Django switches psycopg2's own decoding of jsonb off
        arguments = json.loads(arguments)
    return Claimed(
        id=task_id,
        path=path,
        args=arguments["args"],
        kwargs=arguments["kwargs"],
        request_id=arguments.get("request_id"),
        attempt=attempt,
        worker_id=worker_id,
    )


def succeed(claimed: Claimed) -> bool:
    """Mark the attempt as done; False when the task was taken over meanwhile."""
    return _move(SUCCEED, claimed)


def fail(claimed: Claimed, error: BaseException) -> bool:
    """Give the task up: it is dead until a person retries it; False when it was taken over meanwhile."""
    return _move(FAIL, claimed, **describe(error))


def retry_later(claimed: Claimed, error: BaseException, *, delay: timedelta) -> bool:
    """Queue the next attempt after `delay`; False when the task was taken over meanwhile."""
    return _move(RETRY, claimed, delay=delay, **describe(error))


def give_back(claimed: Claimed, error: BaseException | None, *, delay: timedelta) -> bool:
    """Queue the task again without counting this attempt; False when it was taken over meanwhile."""
    return _move(GIVE_BACK, claimed, delay=delay, **(describe(error) if error else {"error": "", "trace": ""}))


def _move(statement: str, claimed: Claimed, **values: Any) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(statement, {"id": claimed.id, "worker": claimed.worker_id, "attempt": claimed.attempt, **values})
        return cursor.rowcount == 1


def describe(error: BaseException) -> dict[str, str]:
    """The error as the row keeps it: its class, and its trace cut to a readable length, without NUL."""
    trace = without_row("".join(traceback.format_exception(error))).replace("\x00", "\\0")
    return {"error": f"{type(error).__module__}.{type(error).__qualname__}", "trace": trace[-20_000:]}


def beat(worker_id: UUID, *, host: str, pid: int) -> None:
    """Say that this worker lives; the first call registers it."""
    with connection.cursor() as cursor:
        cursor.execute(BEAT, {"id": worker_id, "host": host[:255], "pid": pid})


def sign_off(worker_id: UUID) -> None:
    """Forget a worker that stops in order: whatever it still held may be taken over at once."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM core_taskworker WHERE id = %s", [worker_id])


def take_over_abandoned(*, dead_after: timedelta) -> list[UUID]:
    """Requeue every RUNNING task whose worker has not beaten for `dead_after`; return their ids.

    The lost attempt counts, so a task that kills its worker dies after its last attempt and stops killing. Locks the
    rows; several workers may call it at once. Forgets workers that have been silent for a day.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(ABANDONED, {"dead_after": dead_after})
        abandoned = [_claimed(row[:4], row[4]) for row in cursor.fetchall()]
        for claimed in abandoned:
            error = WorkerDied(f"worker {claimed.worker_id} stopped beating during attempt {claimed.attempt}")
            declared = claimed.find_task()
            if declared is not None and claimed.attempt >= declared.max_attempts:
                fail(claimed, error)
            else:
                retry_later(
                    claimed,
                    error,
                    delay=timedelta(0) if claimed.attempt == 1 or declared is None else declared.delay_after(claimed.attempt),
                )
        cursor.execute("DELETE FROM core_taskworker WHERE heartbeat_at < statement_timestamp() - interval '1 day'")
    return [claimed.id for claimed in abandoned]


def sweep_finished(*, older_than: timedelta) -> int:
    """Delete tasks that succeeded longer ago than that; return how many. Dead tasks stay for a person to see."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"DELETE FROM {TABLE} WHERE id IN (SELECT id FROM {TABLE} WHERE status = 'SUCCESSFUL'"
            " AND finished_at < statement_timestamp() - %s LIMIT 10000)",
            [older_than],
        )
        return cursor.rowcount


def unfinished(task_ids: Iterable[UUID]) -> set[UUID]:
    """Which of these tasks still wait or run."""
    return set(DBTaskResult.objects.filter(pk__in=task_ids, status__in=["READY", "RUNNING"]).values_list("pk", flat=True))
