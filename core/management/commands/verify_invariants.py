"""`manage.py verify_invariants`: prove that books, licenses, counters, audit log and stored files agree."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from core import invariants
from core.exceptions import ServiceUnavailable

HOLD, BROKEN, NOT_PROVED = 0, 1, 2


class Command(BaseCommand):
    """Looks only; nothing is locked or repaired."""

    help = (
        "Proves what must be true of the data whatever happened; one line each, and under a broken one what breaks it. Status 0: all "
        "hold; 1: something is broken; 2: storage does not answer, so not everything is proved."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """How far to look."""
        parser.add_argument("--objects", action="store_true", help="hash every stored file as well (reads all of storage)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Look at each, print, and end with the status."""
        broken = 0
        try:
            for name, found in invariants.verify(with_objects=options["objects"]):
                broken += bool(found)
                self.stdout.write(f"{self.style.ERROR('broken') if found else self.style.SUCCESS('ok')}  {name}")
                for sentence in found:
                    self.stdout.write(f"        {sentence}")
        except ServiceUnavailable:
            self.stderr.write("Storage does not answer: what lies there is not proved.")
            sys.exit(NOT_PROVED)
        sys.exit(BROKEN if broken else HOLD)
