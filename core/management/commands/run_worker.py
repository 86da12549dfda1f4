"""`manage.py run_worker`: run tasks until SIGTERM."""

import os
import signal
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from core import schedule, storage
from core.database import deadlines
from core.tasks.worker import DRAIN_SECONDS, Worker


class Command(BaseCommand):
    help = "Runs queued tasks until SIGTERM or Ctrl-C, then finishes what it has begun (or gives it back) and leaves."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--threads", type=int, default=2, help="how many tasks run at once (2)")
        parser.add_argument(
            "--with-schedule", action="store_true", help="tick the schedule too, instead of a process of its own (run_schedule)"
        )
        parser.add_argument("--drain-seconds", type=float, default=DRAIN_SECONDS, help="how long running tasks may take after SIGTERM (10)")

    def handle(self, *args: Any, **options: Any) -> None:
        deadlines.install(statement_seconds=deadlines.WORKER_SECONDS)
        schedule.load_task_modules()
        storage.boot()
        worker = Worker(
            threads=options["threads"],
            drain_seconds=options["drain_seconds"],
            every_second=schedule.tick if options["with_schedule"] else None,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.stop())
        worker.run()
        sys.stdout.flush()
        os._exit(1 if worker.failed else 0)  # a task that did not end in time has been given back: its thread must not live on
