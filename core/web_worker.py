"""gunicorn's threaded worker, but a thread gets a request only when all of it has arrived.

The worker as it comes reads a request in the thread that answers it and waits for the client without an end, so that as
many slow clients as there are threads stop everybody else. Here the loop that watches idle connections collects the bytes,
as a buffering proxy would, and gives up on those that take too long. A client that reads its answer slowly is given up by
the kernel's send time-out. Named in the command that starts gunicorn: `--worker-class core.web_worker.BufferingWorker`.
"""

import contextlib
import re
import selectors
import socket
import struct
import time
from functools import partial
from http import HTTPStatus
from typing import Any

import structlog
from gunicorn import util
from gunicorn.http.errors import InvalidResponseHeader, InvalidResponseHeaderName, LimitRequestHeaders, LimitRequestLine, ParseException
from gunicorn.workers.gthread import ThreadWorker

from core import background

ARRIVAL_SECONDS = 20.0  # from the first look at a connection to the last byte of its request
STOPPING_SECONDS = 2.0  # the same once the worker is told to stop
SEND_SECONDS = 20  # without any progress of an answer
MAX_HEAD_BYTES = 65_536  # gunicorn refuses sooner, by its own limits
MAX_BODY_BYTES = 1_048_576 + 65_536  # past this the application refuses the request, with what it has seen
MAX_HELD_BYTES = 64 * 1_048_576  # of all requests that are still arriving
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*(?:\r\n|$)")
_ENCODINGS = re.compile(rb"\r\ntransfer-encoding:[ \t]*([^\r\n]*)")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r\n")
log = structlog.get_logger(__name__)


def _code_of(exc: Exception) -> str:
    """The problem code for what never became a request, or was not answered by the application."""
    match exc:
        case InvalidResponseHeader() | InvalidResponseHeaderName():
            return "internal_error"  # gunicorn counts them among what a client did wrong; our answer had that header
        case LimitRequestLine():
            return "uri_too_long"
        case LimitRequestHeaders():
            return "headers_too_large"
        case ParseException():
            return "bad_request"
    return "internal_error"


def _refusal(code: str) -> bytes:
    """A problem as a whole answer, after which the connection ends."""
    import orjson  # these late: gunicorn reads this module before there are settings

    from core.ids import new_id
    from core.problems import CONTENT_TYPE, problem_body, problem_type

    row, request_id = problem_type(code), new_id().hex
    body = orjson.dumps(problem_body(code, detail=row.description or row.title, instance="", request_id=request_id))
    head = (
        f"HTTP/1.1 {row.status} {HTTPStatus(row.status).phrase}\r\nConnection: close\r\nCache-Control: no-store\r\n"
        f"X-Content-Type-Options: nosniff\r\nX-Request-ID: {request_id}\r\n"
        f"Content-Type: {CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Arriving:
    """The bytes of one request so far, and whether they are all of it. What is malformed is complete: gunicorn refuses it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.ends_at = time.monotonic() + ARRIVAL_SECONDS
        self.expects_continue = False
        self._body_at = self._chunk_at = 0  # where the body begins; where the next chunk's size is expected
        self._end: int | None = None  # of a body whose length is known

    def add(self, chunk: bytes) -> None:
        self.data += chunk

    def is_complete(self) -> bool:
        if not self._body_at and not self._reads_head():
            return len(self.data) > MAX_HEAD_BYTES
        if len(self.data) - self._body_at >= MAX_BODY_BYTES:
            return True
        return len(self.data) >= self._end if self._end is not None else self._has_last_chunk()

    def _reads_head(self) -> bool:
        end = self.data.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES)
        if end < 0:
            return False
        head = bytes(self.data[: end + 2]).lower()
        self._body_at = self._chunk_at = end + 4
        self.expects_continue = b"\r\nexpect:" in head
        encodings, length = _ENCODINGS.findall(head), _LENGTH.search(head)
        if encodings != [b"chunked"] or length:  # an encoding that gunicorn refuses at once is not waited for
            self._end = self._body_at + (int(length[1]) if length and not encodings else 0)
        return True

    def _has_last_chunk(self) -> bool:
        while size := _CHUNK.match(self.data, self._chunk_at):
            length = int(size[1], 16)
            if not length:
                return self.data.find(b"\r\n\r\n", size.end() - 2) >= 0  # after the trailers
            if len(self.data) < size.end() + length + 2:
                return False
            self._chunk_at = size.end() + length + 2
        return len(self.data) > self._chunk_at + 1_024  # no size where one must stand


class BufferingWorker(ThreadWorker):
    """See above. Plain HTTP/1.1 only: TLS ends at the proxy."""

    def init_process(self) -> None:
        self.arriving: dict[Any, Arriving] = {}  # connections; in the order of their deadlines
        super().init_process()

    def run(self) -> None:
        """Beside it `core.background`: what was counted is written a last time when every request has its answer."""
        with background.running():
            super().run()

    def enqueue_req(self, conn: Any) -> None:
        """A connection is new, or its next request begins: collect it, and hand it on when it is there."""
        request = Arriving()
        if conn.parser is None:
            seconds = struct.pack("ll", SEND_SECONDS, 0)
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, seconds)
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, seconds)
        else:
            request.add(conn.parser.unreader.take_buffered())  # read ahead of the request before
        self.arriving[conn] = request
        if not self._receive(conn):
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._on_more, conn))

    def _on_more(self, conn: Any, sock: socket.socket) -> None:
        self._receive(conn, is_watched=True)

    def _receive(self, conn: Any, *, is_watched: bool = False) -> bool:
        """Read what is there; True when the connection is no longer waited for."""
        request = self.arriving[conn]
        expected = request.expects_continue
        try:
            chunk = conn.sock.recv(65_536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            chunk = None
        except OSError:
            chunk = b""
        if chunk:
            request.add(chunk)
        complete = bool(request.data) and request.is_complete()
        if not complete and chunk != b"" and self._has_room():
            if request.expects_continue and not expected:
                with contextlib.suppress(OSError):
                    conn.sock.send(CONTINUE, socket.MSG_DONTWAIT)
            return False
        del self.arriving[conn]
        if is_watched:
            self.poller.unregister(conn.sock)
        if complete:
            conn.init()
            conn.parser.unreader.unread(bytes(request.data))
            conn.data_ready = True
            super().enqueue_req(conn)
        else:
            self._drop(conn)
        return True

    def _has_room(self) -> bool:
        return len(self.arriving) < 60 or sum(len(request.data) for request in self.arriving.values()) <= MAX_HELD_BYTES

    def _drop(self, conn: Any) -> None:
        self.nr_conns -= 1
        conn.close()

    def murder_pending(self) -> None:
        """Called by the loop about once a second: give up on what takes too long."""
        super().murder_pending()
        now = time.monotonic()
        for conn, request in list(self.arriving.items()):
            if not self.alive:
                request.ends_at = min(request.ends_at, now + STOPPING_SECONDS if request.data else now)
            if request.ends_at <= now:
                del self.arriving[conn]
                self.poller.unregister(conn.sock)
                if request.data:
                    with contextlib.suppress(OSError):
                        conn.sock.send(_refusal("request_timeout"), socket.MSG_DONTWAIT)
                self._drop(conn)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Refuse by a problem, as everywhere; gunicorn would answer in HTML, and log what may be somebody's secret."""
        code = _code_of(exc)
        if code == "internal_error":
            self.log.error("Error handling request", exc_info=exc)
        else:
            log.warning("request_refused", code=code, because=type(exc).__name__)
        with contextlib.suppress(OSError):
            util.write_nonblock(client, _refusal(code))
