"""Tasks for the tests of the queue."""

from pathlib import Path
from time import sleep

import structlog

from core.exceptions import ServiceUnavailable
from core.tasks import Postpone, enqueue, task

calls: list[dict] = []


@task(max_attempts=3, first_delay_seconds=10)
def note(**facts) -> None:
    """Remember the call with the log context it ran in."""
    calls.append({**facts, "context": structlog.contextvars.get_contextvars()})


@task(max_attempts=3, first_delay_seconds=10)
def break_down(message: str = "broken") -> None:
    raise RuntimeError(message)


@task
def postpone() -> None:
    raise Postpone("not yet", seconds=30)


@task(max_attempts=1)
def meet_outage() -> None:
    raise ServiceUnavailable("storage", retry_after_seconds=5)


@task
def chain(steps: int) -> None:
    """Queue the next step, as tasks do that work in bites."""
    calls.append({"steps": steps})
    if steps > 1:
        enqueue("core.tasks.tests.sample_tasks.chain", steps=steps - 1)


@task(max_attempts=3, first_delay_seconds=0.1)
def linger(path: str, seconds: float) -> None:
    """Write a line when it begins and one when it ends, with a pause between: something to be killed in the middle of."""
    with Path(path).open("a") as file:
        file.write("begun\n")
    sleep(seconds)
    with Path(path).open("a") as file:
        file.write("ended\n")


def not_a_task() -> None:
    """A plain function."""
