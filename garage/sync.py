"""Lists for phones that were offline: what changed since a moment, and up to which moment nothing can be missed."""

from datetime import datetime, timedelta

from django.db import connection

# A transaction's start is visible to others a moment after it was taken, and the phone's next question overlaps by this.
MARGIN = timedelta(seconds=2)

_OLDEST_OPEN = """
SELECT least(
    clock_timestamp(),
    (SELECT min(xact_start) FROM pg_stat_activity
      WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid())
)
"""


def synced_until() -> datetime:
    """A moment before every transaction that is still open: whatever commits later carries a later `changed_at`.

    Read it before the rows, outside any transaction. `changed_at` is the database's `now()`, the start of the
    transaction that changed the row. One query.
    """
    with connection.cursor() as cursor:
        cursor.execute(_OLDEST_OPEN)
        return cursor.fetchone()[0] - MARGIN
