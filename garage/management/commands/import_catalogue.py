from django.core.management.base import BaseCommand, CommandError

from garage.catalogue_data import CatalogueDataWrong
from garage.services import import_catalogue


class Command(BaseCommand):
    help = "Bring the committed catalogue of makes and models into the database. Can be run again at any time."

    def handle(self, *args, **options) -> None:
        try:
            report = import_catalogue()
        except CatalogueDataWrong as wrong:
            raise CommandError(str(wrong)) from wrong
        self.stdout.write(f"Catalogue: {report}.")
