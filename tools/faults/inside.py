"""What runs inside web, worker and schedule: the points of `points.py`, and the clock of the web process.

Orders are files in `<data directory>/faults/`: `point-<name>` as `passing.py` has it, and `clock`, the seconds by which the web
process's clock is off, until the file goes.
"""

import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

from django.apps import AppConfig
from django.conf import settings

from tools.faults.passing import wrap
from tools.faults.points import POINTS

CLOCK_LOOK_SECONDS = 0.2


def orders() -> Path:
    """Where the orders lie."""
    return Path(settings.DATA_DIR) / "faults"


class Inside(AppConfig):
    name = "tools.faults"
    label = "faults"

    def ready(self) -> None:
        """Wrap each point's function, and watch the clock in the web process."""
        for point in POINTS:
            if point.process != "payments":
                wrap(point, orders())
        if "gunicorn" in sys.argv[0]:
            threading.Thread(target=_follow_clock, name="faults-clock", daemon=True).start()


def _follow_clock() -> None:
    """Step the clock of this process as ordered, and back."""
    import time_machine

    from core import clock

    order, journey = orders() / "clock", None
    while True:
        asked = int(order.read_text() or 0) if order.exists() else 0
        if asked and journey is None:
            journey = time_machine.travel(clock.now() + timedelta(seconds=asked), tick=True)
            journey.start()
        elif not asked and journey is not None:
            journey.stop()
            journey = None
        time.sleep(CLOCK_LOOK_SECONDS)
