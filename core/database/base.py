"""Django's PostgreSQL backend with a cheaper question whether a kept connection still stands.

Django sends a `SELECT 1` before the first query of each request: a tenth of a fast request's whole cost. A server that
went away has closed its end, and the kernel knows: an idle connection has nothing to read, a closed one has its end.
After any error Django asks again, and then it is the real question.
"""

import select
from typing import Any

from django.db.backends.postgresql import base
from psycopg2 import OperationalError
from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from core.database import deadlines
from core.outage import StillAway


class DatabaseWrapper(base.DatabaseWrapper):
    """As Django's, but for `is_usable`, and for a server that hangs: one connection at a time tries it (`core.outage`)."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """A new connection; while the server is suspected to hang, at once an error for all but the one that tries."""
        try:
            with deadlines.gate.passing():
                opened = super().get_new_connection(conn_params)
        except StillAway as away:
            raise OperationalError("the database did not answer the last time") from away
        deadlines.gate.note(good=True)
        return opened

    def is_usable(self) -> bool:
        """Whether the connection can be used, without a round trip when nothing speaks against it."""
        connection = self.connection
        if deadlines.gate.is_suspected:
            return False  # whether it still answers is found out by a new connection, in an orderly way
        if connection is None or connection.closed or self.errors_occurred:
            return super().is_usable()
        idle = connection.get_transaction_status() == TRANSACTION_STATUS_IDLE  # not in a transaction, least of all an aborted one
        return True if idle and _is_quiet(connection.fileno()) else super().is_usable()


def _is_quiet(descriptor: int) -> bool:
    """Nothing has arrived on the socket, neither data nor its end. By poll(2), which takes descriptors above 1023 too."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLPRI)
    return not poll.poll(0)
