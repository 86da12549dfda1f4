"""`manage.py run_schedule`: queue periodic tasks until SIGTERM."""

import signal
import threading
from typing import Any

import structlog
from django.core.management.base import BaseCommand
from django.db import DatabaseError, InterfaceError, close_old_connections, connections

from core import schedule
from core.database import deadlines

log = structlog.get_logger("core.schedule")


class Command(BaseCommand):
    help = "Queues periodic tasks when they are due. Several may run: each slot is queued once. run_worker runs them."

    def handle(self, *args: Any, **options: Any) -> None:
        deadlines.install(statement_seconds=deadlines.WORKER_SECONDS)
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        log.info("schedule_started", entries=[entry.name for entry in schedule.entries()])
        while not stopping.wait(1.0):
            try:
                close_old_connections()
                schedule.tick()
            except (DatabaseError, InterfaceError) as error:
                log.warning("schedule_database_error", error=type(error).__name__)
                connections.close_all()
        log.info("schedule_stopped")
