"""Prove that nothing of deleted accounts has come back."""

import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from users.models import AccountDeletion
from users.services.verification import find_remains


class Command(BaseCommand):
    help = (
        "Look for everything that deleted accounts' receipts say is gone: rows of the privacy registry, what identified the person in "
        "rows older than the deletion, stored objects. Exit 1 names account and kind, never a value. Reads only."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--user", type=uuid.UUID, help="only this deleted account")

    def handle(self, *args: Any, **options: Any) -> None:
        known = AccountDeletion.objects.all() if options["user"] is None else AccountDeletion.objects.filter(user_id=options["user"])
        if options["user"] is not None and not known.exists():
            raise CommandError("There is no receipt for this account.")
        remains = list(find_remains(user_id=options["user"]))
        for remain in remains:
            self.stderr.write(f"{remain.user_id}: {remain.what}")
        if remains:
            raise CommandError(f"{len(remains)} things of deleted accounts are there. After a restore, run privacy_reapply.")
        self.stdout.write(f"{known.count()} receipts: nothing of these accounts has come back.")
