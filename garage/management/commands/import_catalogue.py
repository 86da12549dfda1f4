from django.core.management.base import BaseCommand, CommandError

from core import clock
from garage.catalogue_data import CatalogueDataWrong
from garage.services import import_catalogue, merge_names_now_listed


class Command(BaseCommand):
    help = "Bring the committed catalogue of makes and models into the database. Can be run again at any time."

    def handle(self, *args, **options) -> None:
        try:
            report = import_catalogue()
        except CatalogueDataWrong as wrong:
            raise CommandError(str(wrong)) from wrong
        moved = 0 if report.changes_nothing else merge_names_now_listed(at=clock.now())
        self.stdout.write(f"Catalogue: {report}.{f' {moved} vehicles were entered as text and are listed now.' if moved else ''}")
        for line in report.lines:
            self.stdout.write(f"  {line}")
