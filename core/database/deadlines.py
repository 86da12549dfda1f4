"""No query waits for ever: psycopg2's waiting is done here, with an end.

Every limit that we set on the role is the server's to keep. A server that hangs, or a network that swallows what is sent,
keeps none: the kernel goes on saying that all is well, and libpq waits. psycopg2 lets us do the waiting; a few
microseconds a query. When the end comes the connection is closed, and Django raises its `OperationalError`: a 503.

While connections are opened through a wait callback, libpq does not watch its `connect_timeout`: that is done here too.
"""

import select
import time

from psycopg2 import OperationalError, extensions

from core.outage import Gate

WEB_SECONDS = 6.0  # longer than `lock_timeout`, so that a lock is answered by its own error
WORKER_SECONDS = 20.0  # longer than `statement_timeout`
OPENING_SECONDS = 3.0

OPEN = (extensions.STATUS_READY, extensions.STATUS_BEGIN, extensions.STATUS_PREPARED)

gate = Gate()  # new connections pass here (`core.database.base`)


def install(*, statement_seconds: float) -> None:
    """From now on every statement of this process must be answered within that time. COPY is not possible any more."""

    def wait(connection: extensions.connection) -> None:
        deadline = time.monotonic() + (statement_seconds if connection.status in OPEN else OPENING_SECONDS)
        while (state := connection.poll()) != extensions.POLL_OK:
            poller = select.poll()  # takes descriptors above 1023 too
            poller.register(connection.fileno(), select.POLLIN if state == extensions.POLL_READ else select.POLLOUT)
            # Looked once after the end too: a process that was not given the processor finds its answer there.
            if not poller.poll(1000 * max(0.0, deadline - time.monotonic())):
                gate.note(good=False)
                raise OperationalError("the database did not answer in time")

    extensions.set_wait_callback(wait)


def remove() -> None:
    """Wait in libpq again, without an end."""
    extensions.set_wait_callback(None)
    gate.note(good=True)
