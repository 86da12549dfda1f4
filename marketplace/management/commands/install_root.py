"""Serve a new root document."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core import clock
from marketplace.services import signing_keys


class Command(BaseCommand):
    help = (
        "Check a root document that was made offline (python -m core.signing.ceremony) against the present one, and serve it. Copy it to "
        "the roots directory of every other machine, the signer's among them. docs/runbooks/signing-keys.md."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("root", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            root = signing_keys.install_root(json.loads(options["root"].read_text()), at=clock.now())
        except (signing_keys.KeyWorkRefused, OSError, ValueError) as trouble:
            raise CommandError(str(trouble)) from trouble
        self.stdout.write(f"root {root.version} of {root.env} is served, until {root.expires_at}")
