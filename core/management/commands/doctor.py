"""`manage.py doctor`: look at everything that the application needs."""

import sys
from typing import Any

from django.core.management.base import BaseCommand

from core import doctor


class Command(BaseCommand):
    help = "Checks every dependency, setting and right; one line each, with what to do about what is wrong. Status 1 when something is."
    requires_system_checks = ()  # they would end this command instead of being a line of it

    def handle(self, *args: Any, **options: Any) -> None:
        worst = 0
        styles = {"ok": self.style.SUCCESS, "warn": self.style.WARNING, "wrong": self.style.ERROR}
        for name, finding in doctor.examine():
            line = f"{styles[finding.level](finding.level.ljust(5))} {name}: {finding.text}"
            self.stdout.write(f"{line} → {finding.remedy}" if finding.remedy else line)
            worst = max(worst, finding.level == "wrong")
        sys.exit(worst)
