"""Running one claimed task: its log context, and what becomes of it when it fails."""

import random
from datetime import timedelta

import structlog
from django.db import InterfaceError, OperationalError

from core.exceptions import ServiceUnavailable
from core.tasks import queue
from core.tasks.definition import DurableTask, Postpone, task

log = structlog.get_logger("core.tasks")


# SQLSTATEs of a server that is away, stopping, starting or full; a lost connection has none at all. A statement that
# timed out or lost a deadlock is the task's own failure and counts.
OUTAGE_STATES = ("08", "53", "57P")


class UnknownTask(Exception):
    """This code has no task of that name: another release may, so it is tried again like any failure."""


def run_unknown() -> None:
    """Stands for a name that this code does not know."""
    raise UnknownTask


UNKNOWN: DurableTask = task(run_unknown)


def is_outage(error: BaseException) -> bool:
    """Whether something that we depend on was away, so that trying again later is all there is to do."""
    if isinstance(error, ServiceUnavailable):
        return True
    if not isinstance(error, OperationalError | InterfaceError):
        return False
    state = getattr(error.__cause__, "pgcode", None)
    return state is None or state.startswith(OUTAGE_STATES)


def run(claimed: queue.Claimed) -> BaseException | None:
    """Run the task and return what it raised, or None. Nothing is written: `settle` does that."""
    declared = claimed.find_task()
    with structlog.contextvars.bound_contextvars(
        request_id=claimed.request_id, task=claimed.path, task_id=str(claimed.id), attempt=claimed.attempt
    ):
        try:
            if declared is None:
                raise UnknownTask(claimed.path)
            declared.func(*claimed.args, **claimed.kwargs)
        except Exception as error:
            return error
        log.info("task_done")
        return None


def settle(claimed: queue.Claimed, error: BaseException | None) -> None:
    """Write the outcome: done, again later, or dead. Idempotent, so it may be repeated after a lost connection."""
    rule = claimed.find_task() or UNKNOWN
    with structlog.contextvars.bound_contextvars(
        request_id=claimed.request_id, task=claimed.path, task_id=str(claimed.id), attempt=claimed.attempt
    ):
        if error is None:
            kept = queue.succeed(claimed)
        elif isinstance(error, Postpone):
            log.info("task_postponed", reason=str(error), seconds=error.seconds)
            kept = queue.give_back(claimed, error, delay=timedelta(seconds=error.seconds))
        elif is_outage(error):
            seconds = getattr(error, "retry_after_seconds", 5) * random.uniform(1.0, 2.0)  # noqa: S311  (jitter)
            log.warning("task_waits_for_outage", error=type(error).__name__, seconds=round(seconds, 1))
            kept = queue.give_back(claimed, error, delay=timedelta(seconds=seconds))
        elif claimed.attempt >= rule.max_attempts:
            log.error("task_dead", exc_info=error)
            kept = queue.fail(claimed, error)
        else:
            delay = rule.delay_after(claimed.attempt)
            log.warning("task_failed", exc_info=error, again_in_seconds=round(delay.total_seconds(), 1))
            kept = queue.retry_later(claimed, error, delay=delay)
        if not kept:
            log.warning("task_outcome_dropped", reason="the task was taken over, or its outcome is written already")
