"""Sign every release anew with the role's present key."""

import time
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core import clock
from core.exceptions import ServiceUnavailable
from marketplace.services import signing_keys


class Command(BaseCommand):
    help = (
        "After a rotation: sign each current release anew, the same payload under the new key, while the system runs. May "
        "be stopped and begun again. With --check nothing is signed; exit 1 while some are left. docs/runbooks/signing-keys.md."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--check", action="store_true", help="only count what is still signed by an older key")
        parser.add_argument("--batch", type=int, default=signing_keys.BATCH, help="releases a transaction")
        parser.add_argument(
            "--stolen-since", type=datetime.fromisoformat, help="leave out what was issued since (2026-06-01T12:00:00+00:00): look at it"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        began, cpu = time.monotonic(), time.process_time()
        progress = signing_keys.Progress(total=0)
        try:
            for progress in signing_keys.resign_releases(
                batch=options["batch"], issued_before=options["stolen_since"], only_count=options["check"], at=clock.now()
            ):
                self.stdout.write(f"{progress.done} of {progress.total} releases signed anew, {len(progress.refused)} left as they are")
        except ServiceUnavailable as outage:
            raise CommandError(f"{outage}: run this again, it goes on where it stopped") from outage
        for release, reason in progress.refused.items():
            self.stderr.write(f"release {release}: {reason}")
        if options["check"]:
            if progress.total:
                raise CommandError(f"{progress.total} releases are signed by an older key.")
            return
        self.stdout.write(f"{time.monotonic() - began:.1f} s, {time.process_time() - cpu:.1f} s of processor time here")
        if progress.refused:
            raise CommandError(f"{len(progress.refused)} releases were left as they are: phones refuse them.")
