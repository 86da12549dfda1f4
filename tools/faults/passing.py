"""Making a function a point where its process dies when it is told to. Knows nothing of Django: the payment server has none.

An order is a file, `point-<name>` in the directory of orders, so that a process which was just started obeys it too. Whoever passes
the point next takes the file away and is killed, by SIGKILL, there.
"""

import functools
import os
import pkgutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.faults.points import Point


def wrap(point: Point, orders: Path) -> None:
    """Put the point around its function, in the module or class where the code looks it up."""
    owner, _, name = point.where.rpartition(".")
    holder = pkgutil.resolve_name(owner)  # also a module that another one has imported
    setattr(holder, name, _passing(getattr(holder, name), point, orders / f"point-{point.name}"))


def _passing(act: Callable[..., Any], point: Point, order: Path) -> Callable[..., Any]:
    @functools.wraps(act)
    def passing(*args: Any, **kwargs: Any) -> Any:
        is_it = point.when is None or point.when(*args, **kwargs)
        if point.before and is_it:
            _die_if_told(order)
        result = act(*args, **kwargs)
        if not point.before and is_it:
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
