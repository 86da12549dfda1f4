"""The schedule: tasks that run again and again, each slot of time exactly once however many schedulers there are.

    @every(hours=1, name="publish_status")
    @task(max_attempts=3)
    def publish_status() -> None: ...

django-crontask was looked at first and not taken: it is written for `django.tasks` of Django 6 (we are on 5.2, where
the framework is `django_tasks`); without Redis its lock is an empty object, so two schedulers queue everything twice;
it keeps no memory, so a slot that falls into a restart is lost; and it brings APScheduler for what is one row and one
conditional UPDATE here.

Slots are counted on the database's clock from midnight 1970 (a day's slot begins at midnight UTC). A slot missed while
nothing ran is made up once, not once for each missed one. An entry whose last task still waits or runs is skipped.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TypeVar

import structlog
from django.apps import apps
from django.db import connection, transaction

from core.tasks import DurableTask, enqueue, queue

log = structlog.get_logger("core.schedule")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CORE_TASK_MODULES = ("core.audit.tasks", "core.uploads.tasks", "core.tasks.housekeeping")

# The condition makes the slot a prize that one scheduler wins: the others find it taken after waiting for the row.
TAKE_SLOT = (
    "UPDATE core_scheduleentry SET slot_at = %(slot)s WHERE name = %(name)s AND (slot_at IS NULL OR slot_at < %(slot)s) RETURNING task_id"
)


@dataclass(frozen=True)
class Entry:
    """One periodic task: `task_path` is queued for each `period`, `offset` after the slot begins."""

    name: str
    task_path: str
    period: timedelta
    offset: timedelta = timedelta(0)

    def slot_of(self, moment: datetime) -> datetime:
        """The beginning of the slot that `moment` lies in."""
        since = moment - self.offset - EPOCH
        return EPOCH + self.offset + since // self.period * self.period


_entries: dict[str, Entry] = {}
T = TypeVar("T", bound=DurableTask)


def every(
    *, seconds: float = 0, minutes: float = 0, hours: float = 0, days: float = 0, name: str, offset_seconds: float = 0
) -> Callable[[T], T]:
    """Put a task without arguments on the schedule, under a name that is unique in the whole project."""
    period = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if period < timedelta(seconds=1):
        raise ValueError("A period is a second or more.")

    def register(declared: T) -> T:
        if not isinstance(declared, DurableTask):
            raise TypeError("@every goes above @task.")
        entry = Entry(name, declared.module_path, period, timedelta(seconds=offset_seconds))
        if _entries.setdefault(name, entry) != entry:
            raise ValueError(f"Two entries of the schedule are called {name}.")
        return declared

    return register


def entries() -> list[Entry]:
    """Every entry of every installed app, by name."""
    load_task_modules()
    return sorted(_entries.values(), key=lambda entry: entry.name)


@cache
def load_task_modules() -> None:
    """Import `<app>.tasks` (each module of it, where it is a package) of our apps, so that their entries register."""
    for module in CORE_TASK_MODULES:
        importlib.import_module(module)
    for config in apps.get_app_configs():
        if config.name == "core" or importlib.util.find_spec(f"{config.name}.tasks") is None:
            continue
        package = importlib.import_module(f"{config.name}.tasks")
        for found in pkgutil.iter_modules(getattr(package, "__path__", [])):
            importlib.import_module(f"{package.__name__}.{found.name}")


def tick(*, at: datetime | None = None) -> list[str]:
    """Queue what is due; return the names of the entries whose slot this scheduler won.

    Safe to call from any number of processes at once: a slot is taken and its task queued in one transaction. `at`
    stands in for the database's clock (tests).
    """
    known = {entry.name: entry for entry in entries()}
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp(), name, slot_at FROM (SELECT 1) AS one LEFT JOIN core_scheduleentry ON true")
        rows = cursor.fetchall()
        moment = at or rows[0][0]
        remembered = {name: slot_at for _, name, slot_at in rows if name is not None}
        missing = [[name] for name in known if name not in remembered]
        if missing:
            cursor.executemany("INSERT INTO core_scheduleentry (name) VALUES (%s) ON CONFLICT DO NOTHING", missing)
    due = [entry for entry in known.values() if remembered.get(entry.name) is None or remembered[entry.name] < entry.slot_of(moment)]
    return [entry.name for entry in due if _take(entry, entry.slot_of(moment))]


def _take(entry: Entry, slot: datetime) -> bool:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(TAKE_SLOT, {"name": entry.name, "slot": slot})
        won = cursor.fetchone()
        if won is None:
            return False
        last_task_id = won[0]
        if last_task_id is not None and queue.unfinished([last_task_id]):
            log.info("schedule_skipped", entry=entry.name, reason="its last task is not finished")
            return False
        task_id = enqueue(entry.task_path)
        cursor.execute("UPDATE core_scheduleentry SET task_id = %s WHERE name = %s", [task_id, entry.name])
    return True
