"""Counted views: added up in sets, and forgotten when they are old."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection

from core import clock
from marketplace import view_tally

KEPT_FOR = timedelta(days=762)  # two years and a month, so that a month can be compared with the same of two years before
FORGOTTEN_AT_ONCE = 10_000

# In the order of ids, so that two workers lock rows alike. A tune that is just being deleted is waited for, and then is not there.
_ADD = """
INSERT INTO marketplace_tuneviews (id, tune_id, day, views)
SELECT gen_random_uuid(), tune.id, %(day)s, seen.views
  FROM unnest(%(tunes)s::uuid[], %(views)s::int[]) AS seen (tune_id, views)
  JOIN marketplace_tune tune ON tune.id = seen.tune_id
 ORDER BY tune.id
   FOR KEY SHARE OF tune ON CONFLICT (tune_id, day) DO UPDATE SET views = marketplace_tuneviews.views + excluded.views
"""
_FORGET = """
DELETE FROM marketplace_tuneviews WHERE id IN (SELECT id FROM marketplace_tuneviews WHERE day < %s ORDER BY day LIMIT %s)
"""


def flush_views() -> None:
    """Write what this process counted. Registered with `core.background`. What can't be written is lost: while the database is
    away nobody is shown a tune either, and a set that may have been written must not count twice."""
    if seen := view_tally.take():
        add_views(seen=seen, at=clock.now())


def add_views(*, seen: Mapping[UUID, int], at: datetime) -> None:
    """Add views to the day of `at` (UTC). One statement, exact under parallel callers; tunes that are gone are left out."""
    tunes = sorted(seen)
    with connection.cursor() as cursor:
        cursor.execute(_ADD, {"day": at.date(), "tunes": [str(pk) for pk in tunes], "views": [seen[pk] for pk in tunes]})


def forget_old_views(*, at: datetime) -> int:
    """Delete views that are older than a tuner can ask for; returns how many days of tunes. Called by the schedule."""
    forgotten = 0
    with connection.cursor() as cursor:
        while True:
            cursor.execute(_FORGET, [at.date() - KEPT_FOR, FORGOTTEN_AT_ONCE])
            forgotten += cursor.rowcount
            if cursor.rowcount < FORGOTTEN_AT_ONCE:
                return forgotten
