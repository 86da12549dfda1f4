"""Give a role a new key, where the root keys are on this machine: development, drills, a single operator's small stand."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core import clock, signing
from marketplace.services import signing_keys, status


class Command(BaseCommand):
    help = (
        "Make a key for a role and install the next root, signed with the root keys beside it. Releases are signed anew, a status document "
        "is published. Where the root keys are offline, as in production: docs/runbooks/signing-keys.md."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("role", choices=[*(role.value for role in signing.Role), "none"], help="`none` only renews the root's dates")
        parser.add_argument("--keep-old", action="store_true", help="what the present key signed goes on holding (not after a theft)")
        parser.add_argument("--without", action="append", default=[], metavar="KEYID", help="a key that goes: a lost or stolen one")

    def handle(self, *args: Any, **options: Any) -> None:
        role = None if options["role"] == "none" else signing.Role(options["role"])
        try:
            root = signing_keys.rotate_with_local_keys(role, keep_old=options["keep_old"], without=options["without"], at=clock.now())
        except signing_keys.KeyWorkRefused as trouble:
            raise CommandError(str(trouble)) from trouble
        self.stdout.write(f"root {root.version} is served, until {root.expires_at}")
        if role in (signing.Role.RELEASE, signing.Role.TEST_RELEASE):
            for progress in signing_keys.resign_releases(at=clock.now()):
                self.stdout.write(f"{progress.done} of {progress.total} releases signed anew")
        if role is signing.Role.STATUS:
            self.stdout.write(f"status {status.publish_status(at=clock.now()).version} is published")
