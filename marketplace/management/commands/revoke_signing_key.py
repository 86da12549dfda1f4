"""Tell phones that a signing key counts no more."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core import clock
from marketplace.services import signing_keys


class Command(BaseCommand):
    help = (
        "Name a stolen or lost key in every status document from now on, so that apps with an older root refuse its signatures too. A root "
        "without it comes first. There is no way back. docs/runbooks/signing-keys.md."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("keyid")
        parser.add_argument("--reason", required=True)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            row = signing_keys.revoke_key(keyid=options["keyid"], reason=options["reason"], at=clock.now())
        except signing_keys.KeyWorkRefused as trouble:
            raise CommandError(str(trouble)) from trouble
        self.stdout.write(f"{row.keyid} of the role {row.role} is revoked; the status document follows within a minute")
