"""What a task is and how one is queued."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db.models.functions import Now
from django.utils.module_loading import import_string
from django_tasks import task as django_task
from django_tasks.base import Task
from django_tasks_db import DatabaseBackend

from core import clock
from core.ids import new_id


class Postpone(Exception):
    """Raised by a task that can't do its work yet and is not at fault: it runs again, and no attempt is counted."""

    def __init__(self, reason: str, *, seconds: float = 10) -> None:
        super().__init__(reason)
        self.seconds = seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class DurableTask(Task):
    """A module-level function that the worker runs, with its rule for trying again. Calling it runs it here and now."""

    max_attempts: int = 8
    first_delay_seconds: float = 5.0
    longest_delay_seconds: float = 900.0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.func(*args, **kwargs)

    def delay_after(self, attempt: int) -> timedelta:
        """How long to wait after the given failed attempt (from 1): doubling, with jitter so that a herd spreads out."""
        seconds = min(self.longest_delay_seconds, self.first_delay_seconds * 2 ** min(attempt - 1, 30))
        return timedelta(seconds=seconds * random.uniform(0.75, 1.25))  # noqa: S311  (jitter)


class TaskBackend(DatabaseBackend):
    """django-tasks-db's backend; a task is due from the database's clock on, so first in is first out on any machine."""

    task_class = DurableTask

    def _task_to_db_task(self, task: Task, args: Any, kwargs: Any) -> Any:
        from django_tasks_db.models import (
            DBTaskResult,  # models are not loaded yet when tasks are declared
        )

        row = DBTaskResult(
            id=new_id(),
            # the request's id rides beside the arguments, where django-tasks-db does not look
            args_kwargs={
                "args": plain(args),
                "kwargs": plain(kwargs),
                "request_id": structlog.contextvars.get_contextvars().get("request_id"),
            },
            priority=task.priority,
            task_path=task.module_path,
            queue_name=task.queue_name,
            run_after=task.run_after or Now(),
            backend_name=self.alias,
        )
        row.save(force_insert=True)
        row.run_after = task.run_after or clock.now()  # for the returned object only: the row has the database's time
        return row


def plain(value: Any) -> Any:
    """`value` as JSON holds it; UUIDs become text. Anything else that JSON does not know is a TypeError."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case UUID():
            return str(value)
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            raise TypeError(f"A task can't take a {type(value).__name__}: pass an id or a plain JSON value.")


def task(
    function: Callable | None = None,
    *,
    max_attempts: int = 8,
    first_delay_seconds: float = 5.0,
    longest_delay_seconds: float = 900.0,
    priority: int = 0,
) -> Any:
    """Declare a module-level function as a task.

    It is tried `max_attempts` times, `first_delay_seconds` after the first failure and twice as long after each next
    one. An outage of something we depend on (`ServiceUnavailable`, a lost database) and `Postpone` are no attempts.
    """
    if max_attempts < 1:
        raise ValueError("A task is tried at least once.")

    def declare(target: Callable) -> DurableTask:
        declared = django_task(
            target,
            priority=priority,
            max_attempts=max_attempts,
            first_delay_seconds=first_delay_seconds,
            longest_delay_seconds=longest_delay_seconds,
        )
        assert isinstance(declared, DurableTask)
        return declared

    return declare(function) if function is not None else declare


def enqueue(name: str, /, *, run_at: datetime | None = None, priority: int | None = None, **kwargs: Any) -> UUID:
    """Queue the task of that dotted name in the caller's transaction: it runs if, and only after, that commits.

    One INSERT. `run_at` defers it, a higher `priority` (-100 to 100) goes first. Returns the task's id.
    Raises ImportError or TypeError at once for a name that is no task and for arguments that JSON can't hold.
    """
    declared = import_string(name)
    if not isinstance(declared, DurableTask):
        raise TypeError(f"{name} is not a task.")
    if run_at is not None or priority is not None:
        declared = declared.using(run_after=run_at, priority=priority)
    return UUID(declared.enqueue(**kwargs).id)
