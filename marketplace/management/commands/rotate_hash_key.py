"""Make keyed hashes anew after HASH_KEY was changed."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from marketplace.services.rehash import BATCH, rehash


class Command(BaseCommand):
    help = (
        "Bring the keyed hashes of VINs, frame numbers, serials and licensed vehicles under the new HASH_KEY. The old key stands first in "
        "HASH_KEYS_RETIRED. Web and worker are stopped meanwhile: docs/runbooks/rotate-keys.md. May be stopped and begun again."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--batch", type=int, default=BATCH, help="rows a transaction")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.HASH_KEYS_RETIRED:
            raise CommandError("HASH_KEYS_RETIRED is empty: licensed vehicles are recognised by their old hashes only with the old key.")
        for table, seen, changed in rehash(batch=options["batch"]):
            self.stdout.write(f"{table}: {seen} rows, {changed} hashed anew")
