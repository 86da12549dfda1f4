"""Publish a status document now."""

from typing import Any

from django.core.management.base import BaseCommand

from core import clock
from marketplace.services import status


class Command(BaseCommand):
    help = "Publish a status document now: after the status key was rotated, or when the schedule is down."

    def handle(self, *args: Any, **options: Any) -> None:
        document = status.publish_status(at=clock.now())
        self.stdout.write(f"status {document.version}, {len(document.stopped)} stopped files, good until {document.expires_at:%Y-%m-%d}")
