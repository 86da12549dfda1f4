"""Apply deletions again to a database that was restored from before them."""

from typing import Any

from django.core.management.base import BaseCommand

from core import clock
from users import services


class Command(BaseCommand):
    help = (
        "After a database was restored: delete once more every account whose deletion left a record in storage and that is there again. "
        "May be repeated. Follow it with a worker (objects are deleted by tasks) and with privacy_verify."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only say how many records storage holds")

    def handle(self, *args: Any, **options: Any) -> None:
        copies = services.list_copied_deletions()
        again = 0
        if not options["dry_run"]:
            again = sum(services.reapply_deletion(copied=copied, at=clock.now()) for copied in copies)
        self.stdout.write(f"{len(copies)} records of deletions in storage, {again} applied again.")
