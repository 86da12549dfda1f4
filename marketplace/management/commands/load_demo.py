"""`manage.py load_demo`: fill an empty database with the demo data."""

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from core import clock
from core.signing.keyfiles import keys_directory
from marketplace.demo.loader import DemoFailed, Loader, accounts_part, finish
from users.models import User


class Command(BaseCommand):
    help = "Fill an empty database with demo data, built through the services; writes demo.json and the stock images."

    def handle(self, *args, **options) -> None:
        if settings.IS_PRODUCTION:
            raise CommandError("Demo data does not belong into production.")
        if User.objects.exists():
            if accounts_part(settings.DATA_DIR).exists():
                finish(settings.DATA_DIR)
            if (settings.DATA_DIR / "demo.json").exists():
                self.stdout.write("The demo data is loaded already.")
                return
            raise CommandError("The database has accounts already: demo data goes into an empty one.")
        if keys_directory().is_dir():  # a history is dated back, which a signer signs for nobody: where the keys are files too, by these
            settings.SIGNER_SOCKET = ""
        try:
            Loader(data_dir=settings.DATA_DIR, now=clock.now(), say=lambda line: self.stdout.write(f"demo: {line}")).load()
        except DemoFailed as problem:
            raise CommandError(str(problem)) from problem
