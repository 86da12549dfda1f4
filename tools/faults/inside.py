"""What runs inside web, worker and schedule: the points of `points.py`, and the clock of the web process.

Orders are files in `<data directory>/faults/`, so that a process which was just started obeys them too:

- `point-<name>`  whoever passes the point next takes the file away and is killed, by SIGKILL, there
- `clock`         seconds by which the web process's clock is off, until the file goes
"""

import functools
import os
import pkgutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings

from tools.faults.points import POINTS, Point

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
            _wrap(point)
        if "gunicorn" in sys.argv[0]:
            threading.Thread(target=_follow_clock, name="faults-clock", daemon=True).start()


def _wrap(point: Point) -> None:
    owner, _, name = point.where.rpartition(".")
    module = pkgutil.resolve_name(owner)  # also a module that another one has imported
    setattr(module, name, _passing(getattr(module, name), point))


def _passing(act: Callable[..., Any], point: Point) -> Callable[..., Any]:
    order = orders() / f"point-{point.name}"

    @functools.wraps(act)
    def passing(*args: Any, **kwargs: Any) -> Any:
        if point.before:
            _die_if_told(order)
        result = act(*args, **kwargs)
        if not point.before:
            _die_if_told(order)
        return result

    return passing


def _die_if_told(order: Path) -> None:
    if not order.exists():
        return
    try:
        order.rename(order.with_suffix(f".{os.getpid()}"))  # one process only
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


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
