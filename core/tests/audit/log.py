"""An audit log of a test: written, sealed, copied, and tampered with as its owner could."""

import time
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime

from django.db import connection

from core import audit
from core.audit import copies, sealing

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


class Log:
    """What tests do to the log, in the order in which they do it."""

    def write(self, count=1, act="thing.done"):
        """Rows, each in a transaction of its own; their ids in the order of sealing."""
        return [
            audit.record(act=act, actor_id=uuid.uuid4(), subject_id=uuid.uuid4(), at=NOW, reason=f"reason {number}", number=number).pk
            for number in range(count)
        ]

    def seal(self, *, limit=1_000, deadline=60):
        """Seal everything there is. Waits for transactions of other tests in the same cluster, which hold the horizon back."""
        sealed, until = 0, time.monotonic() + deadline
        while sealing.get_chain_state().oldest_unsealed_at is not None:
            sealed += sealing.seal_batch(at=NOW, limit=limit)
            assert time.monotonic() < until, "something held the horizon back for too long"
        return sealed

    def copy(self):
        return copies.copy_head(at=NOW)

    def sealed(self, *counts, limit=1_000):
        """Write and seal one link for each count; the ids of all rows."""
        ids = []
        for count in counts:
            ids += self.write(count)
            self.seal(limit=limit)
        return ids

    @contextmanager
    def owner(self):
        """A cursor of the database's owner with the triggers off."""
        with connection.cursor() as cursor:
            cursor.execute("SET session_replication_role = replica")
            try:
                yield cursor
            finally:
                cursor.execute("SET session_replication_role = DEFAULT")

    def tamper(self, statement, *parameters):
        with self.owner() as cursor:
            cursor.execute(statement, parameters)
            assert cursor.rowcount > 0, "nothing was tampered with"

    def rebuild(self):
        """What a careful owner does after tampering: forget the chain and make it anew."""
        with self.owner() as cursor:
            cursor.execute("DELETE FROM core_auditseal")
        self.seal(limit=2)
