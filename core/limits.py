"""Limits on how often something may happen.

`hit` is exact under concurrency: one upsert in Postgres counts and answers. Call it outside the business transaction,
or a refusal would roll its own count back. `hit_approximate` counts in the cache, for what need not be exact.
"""

import contextlib
import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.db.models import F

from core import crypto
from core.exceptions import RateLimited
from core.models import LimitCounter

_HIT = """
INSERT INTO core_limitcounter AS counter (name, key_hash, window_ends_at, count)
VALUES (%(name)s, %(key_hash)s, %(ends_at)s, 1)
ON CONFLICT (name, key_hash) DO UPDATE
   SET count = CASE WHEN counter.window_ends_at <= %(at)s THEN 1 ELSE counter.count + 1 END,
       window_ends_at = CASE WHEN counter.window_ends_at <= %(at)s THEN excluded.window_ends_at ELSE counter.window_ends_at END
RETURNING count, window_ends_at
"""


@dataclass(frozen=True)
class Standing:
    """Where a key stands in its window, after this hit."""

    name: str
    limit: int
    window_seconds: int
    remaining: int
    reset_seconds: int


def _key_hash(name: str, key: object) -> bytes:
    return crypto.keyed_hash(f"limit:{name}", str(key))


def _standing(name: str, count: int, ends_at: datetime, at: datetime) -> Standing:
    limit, window_seconds = settings.LIMITS[name]
    return Standing(name, limit, window_seconds, max(0, limit - count), max(0, int((ends_at - at).total_seconds()) + 1))


def hit(name: str, key: object, *, at: datetime) -> Standing:
    """Count one more of `name` (in settings.LIMITS) for `key`; the window starts with the first hit.

    Raises: RateLimited when this one is over the limit.
    """
    limit, window_seconds = settings.LIMITS[name]
    with connection.cursor() as cursor:
        cursor.execute(
            _HIT,
            {"name": name, "key_hash": _key_hash(name, key), "ends_at": at + timedelta(seconds=window_seconds), "at": at},
        )
        count, ends_at = cursor.fetchone()
    standing = _standing(name, count, ends_at, at)
    if count > limit:
        raise RateLimited(limit=limit, window_seconds=window_seconds, retry_after_seconds=standing.reset_seconds, name=name)
    return standing


def ensure_below(name: str, key: object, *, at: datetime) -> None:
    """Refuse when the limit is already used up, without counting: for limits on failures, counted once they happen.

    Raises: RateLimited.
    """
    row = LimitCounter.objects.filter(name=name, key_hash=_key_hash(name, key), window_ends_at__gt=at).first()
    limit, window_seconds = settings.LIMITS[name]
    if row and row.count >= limit:
        standing = _standing(name, row.count, row.window_ends_at, at)
        raise RateLimited(limit=limit, window_seconds=window_seconds, retry_after_seconds=standing.reset_seconds, name=name)


def release(name: str, key: object) -> None:
    """Take one hit back: for limits on failures that are counted before it is known whether this is one.

    Counting first is what makes such a limit exact: parallel guesses can't all look before the first one counts. One
    statement, so that of parallel successes each takes back its own.
    """
    LimitCounter.objects.filter(name=name, key_hash=_key_hash(name, key), count__gt=0).update(count=F("count") - 1)


def reset(name: str, key: object) -> None:
    """Forget the count, after a success."""
    LimitCounter.objects.filter(name=name, key_hash=_key_hash(name, key)).delete()


def hit_approximate(name: str, key: object) -> Standing:
    """Count in the cache, in fixed windows, one process at a time unless Redis is configured.

    Raises: RateLimited.
    """
    limit, window_seconds = settings.APPROXIMATE_LIMITS[name]
    now = time.time()
    window, elapsed = divmod(now, window_seconds)
    cache_key = f"limit:{name}:{key}:{int(window)}"
    try:
        count = cache.incr(cache_key)
    except ValueError:  # the first of its window, or evicted
        count = 1
        if not cache.add(cache_key, 1, timeout=window_seconds + 1):
            with contextlib.suppress(ValueError):
                count = cache.incr(cache_key)
    reset_seconds = int(window_seconds - elapsed) + 1
    if count > limit:
        raise RateLimited(limit=limit, window_seconds=window_seconds, retry_after_seconds=reset_seconds, name=name)
    return Standing(name, limit, window_seconds, limit - count, reset_seconds)


def purge_ended(*, at: datetime) -> int:
    """Delete counters whose window has ended; returns how many."""
    return LimitCounter.objects.filter(window_ends_at__lte=at).delete()[0]
