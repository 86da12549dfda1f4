"""Hold everything that is served to a root that an app ships with."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from marketplace.services import signing_keys


class Command(BaseCommand):
    help = (
        "Walk the chain of roots from a pinned one (the file that apps ship with), and hold the status document and every current "
        "release to its end. Exit 1 when anything does not hold. docs/runbooks/signing-keys.md."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--pinned", type=Path, required=True, help="root document that apps ship with, from outside this system")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            progress = signing_keys.Progress(total=0)
            for progress in signing_keys.verify_served(json.loads(options["pinned"].read_text())):
                self.stdout.write(f"{progress.done} of {progress.total} releases looked at, {len(progress.refused)} do not hold")
        except (signing_keys.KeyWorkRefused, OSError, ValueError) as trouble:
            raise CommandError(str(trouble)) from trouble
        for release, reason in progress.refused.items():
            self.stderr.write(f"release {release}: {reason}")
        if progress.refused:
            raise CommandError(f"{len(progress.refused)} releases do not hold.")
        self.stdout.write("roots, status document and releases hold")
