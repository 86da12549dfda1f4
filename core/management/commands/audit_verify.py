"""`manage.py audit_verify`: prove the audit log against its chain and the copies of the chain in storage."""

import sys
from typing import Any

from django.core.management.base import BaseCommand

from core import clock
from core.audit.verification import Report, verify
from core.exceptions import ServiceUnavailable

INTACT, CHANGED, NOT_PROVED = 0, 1, 2
TOLD_EVERY = 100_000


class Command(BaseCommand):
    help = (
        "Compares every sealed row of the audit log with its hash, and the chain of hashes with its copies in storage. Names the first "
        "row that was edited, removed, inserted or swapped, and says how long the open tail is. Status 0: intact; 1: changed; 2: storage "
        "does not answer, so nothing is proved."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        self._told = 0
        try:
            report = verify(progress=self._tell)
        except ServiceUnavailable:
            self.stderr.write("Storage does not answer, so nothing is proved: the copies of the chain lie there.")
            sys.exit(NOT_PROVED)
        self._print(report)
        sys.exit(INTACT if report.intact else CHANGED)

    def _tell(self, rows: int) -> None:
        if rows - self._told >= TOLD_EVERY:
            self._told = rows
            self.stderr.write(f"… {rows} rows")

    def _print(self, report: Report) -> None:
        out = self.stdout.write
        copied = f", {report.copied_seals} of them compared with copies in storage" if report.seals else ""
        out(f"{report.rows} rows in {report.seals} seals{copied}.")
        if report.copied_at is not None:
            out(f"The head was last copied at {report.copied_at:%Y-%m-%d %H:%M:%S} UTC.")
        out(self._tail(report))
        if report.intact:
            out(self.style.SUCCESS("Nothing was changed."))
            return
        out(self.style.ERROR(f"{report.changed} things are not as they were sealed."))
        if report.first is not None:
            out(self.style.ERROR(f"The first changed row: {report.first}"))
        for finding in report.findings:
            out(f"  {finding}")
        if report.changed > len(report.findings):
            out(f"  … and {report.changed - len(report.findings)} more")

    @staticmethod
    def _tail(report: Report) -> str:
        if report.tail_since is None:
            return "The open tail is empty: a copy vouches for every row."
        minutes = max(0, (clock.now() - report.tail_since).total_seconds()) / 60
        return (
            f"The open tail is {report.tail_rows} rows long, {report.unsealed_rows} of them not sealed; its oldest row is {minutes:.0f} "
            "min old. Nothing vouches for these rows against the database's owner yet."
        )
