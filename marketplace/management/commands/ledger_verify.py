"""`manage.py ledger_verify`: compute the ledger anew from its causes, and name the first difference."""

import sys
from time import monotonic
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from marketplace.selectors.ledger import find_differences

HOLDS, DIFFERS = 0, 1
TOLD_EVERY = 10_000


class Command(BaseCommand):
    """Looks only; nothing is locked or repaired."""

    help = (
        "Computes every posting anew from purchases, refunds, disputes and payouts, and compares it with the ledger. Names the first "
        "difference (`--all`: every one). Status 0: the books follow from what happened; 1: they don't."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """How much to tell."""
        parser.add_argument("--all", action="store_true", help="name every difference, not only the first")

    def handle(self, *args: Any, **options: Any) -> None:
        """Compute, compare and end with the status."""
        self._looked_at = self._told = 0
        started, found = monotonic(), 0
        for sentence in find_differences(progress=self._tell):
            found += 1
            self.stdout.write(self.style.ERROR(("The first difference: " if found == 1 else "  ") + sentence))
            if not options["all"]:
                break
        if found:
            sys.exit(DIFFERS)
        seconds = monotonic() - started
        self.stdout.write(self.style.SUCCESS(f"The ledger follows from {self._looked_at} purchases and payouts ({seconds:.1f} s)."))
        sys.exit(HOLDS)

    def _tell(self, looked_at: int) -> None:
        self._looked_at = looked_at
        if looked_at - self._told >= TOLD_EVERY:
            self._told = looked_at
            self.stderr.write(f"… {looked_at}")
