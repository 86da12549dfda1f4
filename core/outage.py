"""A dependency that hangs is worse than one that is gone: whoever asks it waits for the whole time-out.

The web server has a few threads. Were each request to find out by itself, they would soon all be waiting, and what needs
no dependency at all (`/livez`, say) would wait with them. So once something did not answer, one caller at a time asks it
again; the others are refused at once, until it has answered.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class StillAway(Exception):
    """It did not answer the last time, and somebody is just asking it again."""


class Gate:
    """Open while the dependency answers; after `note(good=False)` wide enough for one until `note(good=True)`."""

    def __init__(self) -> None:
        self._suspected = False
        self._trial = threading.Lock()

    @property
    def is_suspected(self) -> bool:
        """Whether the last one who asked got no answer."""
        return self._suspected

    def note(self, *, good: bool) -> None:
        """Say how it went."""
        self._suspected = not good

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Hold this while asking. Raises: StillAway, without waiting."""
        if not self._suspected:
            yield
            return
        if not self._trial.acquire(blocking=False):
            raise StillAway
        try:
            yield
        finally:
            self._trial.release()
