"""Encrypt every encrypted field anew with the first of FIELD_ENCRYPTION_KEYS."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core import key_rotation


class Command(BaseCommand):
    help = (
        "Encrypt stored fields (VINs, frame numbers, serials, second factors …) anew with the first of FIELD_ENCRYPTION_KEYS, while "
        "the system runs. May be stopped and begun again. With --check nothing is written: it says whether older keys are still needed."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--check", action="store_true", help="only count what is still encrypted with an older key; exit 1 if any is")
        parser.add_argument("--batch", type=int, default=key_rotation.BATCH, help="rows a transaction")

    def handle(self, *args: Any, **options: Any) -> None:
        columns: dict[str, key_rotation.Progress] = {}
        for progress in key_rotation.rotate(only_count=options["check"], batch=options["batch"]):
            columns[progress.column] = progress
            if progress.seen and options["verbosity"] > 1:
                self.stdout.write(f"{progress.column}: {progress.seen} looked at, {progress.old} old")
        done = "still under an older key" if options["check"] else "encrypted anew"
        for progress in columns.values():
            self.stdout.write(f"{progress.column}: {progress.seen} rows, {progress.old} {done}, {progress.unreadable} unreadable")
        if unreadable := sum(progress.unreadable for progress in columns.values()):
            raise CommandError(f"{unreadable} values can't be read with any of FIELD_ENCRYPTION_KEYS: a key is missing.")
        if options["check"] and any(progress.old for progress in columns.values()):
            raise CommandError("Older keys are still needed: run rotate_field_keys.")
