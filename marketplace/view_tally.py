"""How often tunes are looked at, counted in this process's memory: no query, and nobody remembered.

A view is one GET of a tune's page that reached us and was answered with 200 or 304, of a public tune, by anybody but its tuner, staff
and what calls itself a robot. What a cache answered in between (`max-age=30`) never reaches us, and a person who looks twice
counts twice: these are views, not people. `services.analytics.add_views` writes them; what it has not written dies with the process.
"""

import re
import threading
from collections import Counter
from functools import lru_cache
from uuid import UUID

MOST_TUNES = 20_000  # of which views are kept between two rounds: 4 MB

_ROBOT = re.compile(r"(?<!cu)bots?\b|crawl|spider|slurp|facebookexternalhit|preview|monitor|uptime|headless", re.IGNORECASE)
_lock = threading.Lock()
_views: Counter[UUID] = Counter()


def count(tune_id: UUID) -> None:
    """Count one view."""
    with _lock:
        if tune_id in _views or len(_views) < MOST_TUNES:
            _views[tune_id] += 1


def take() -> Counter[UUID]:
    """What was counted since the last call."""
    global _views
    with _lock:
        taken, _views = _views, Counter()
    return taken


@lru_cache(maxsize=1024)
def is_robot(user_agent: str) -> bool:
    """Whether a client says that it is one."""
    return _ROBOT.search(user_agent[:300]) is not None
