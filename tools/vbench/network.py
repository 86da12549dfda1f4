"""The network between a phone and us: an HTTP proxy that loses, cuts, alters and replays what passes through it."""

import contextlib
import hashlib
import http.client
import socket
import struct
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import urlsplit

NOT_PASSED_ON = {"connection", "proxy-connection", "keep-alive", "transfer-encoding", "content-length"}
FAULTS = {
    "unreachable": "no connection: the call does not arrive",
    "lost-answer": "the call arrives, its answer is lost",
    "unavailable": "503 by something in between",
    "flip": "a bit of the answer flips",
    "cut": "the line breaks within the answer",
    "shorten": "the answer ends early and says so in its length",
    "lengthen": "the answer goes on for longer",
    "replay": "another answer, perhaps one of earlier",
}


@dataclass
class Trouble:
    """A switch: what happens to calls whose URL holds `part`. `first_of_each`: once to every different call, for ever."""

    kind: str
    part: str = "/"
    method: str = ""
    times: int = 1
    at: int = 0  # byte of the answer
    body: bytes = b""
    first_of_each: bool = False
    _met: set[bytes] = field(default_factory=set)

    def strikes(self, method: str, url: str, body: bytes) -> bool:
        if self.part not in url or self.method not in ("", method):
            return False
        if self.first_of_each:
            call = hashlib.sha256(f"{method} {url} ".encode() + body).digest()
            is_new = call not in self._met
            self._met.add(call)
            return is_new
        self.times -= 1
        return self.times >= 0


class Network:
    """A forward proxy on a port of its own; `troubles` are switches. `calls` counts what was asked of it."""

    def __init__(self) -> None:
        self.troubles: list[Trouble] = []
        self.calls = 0
        self.struck = 0
        self._lock = threading.Lock()
        network = self

        class Handler(BaseHTTPRequestHandler):
            def _pass(self) -> None:
                network._pass(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass

            def log_message(self, *text: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True, kwargs={"poll_interval": 0.05}).start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _pass(self, caller: BaseHTTPRequestHandler) -> None:
        sent = caller.rfile.read(int(caller.headers.get("Content-Length", "0")))
        with self._lock:
            self.calls += 1
            trouble = next((each for each in self.troubles if each.strikes(caller.command, caller.path, sent)), None)
            self.struck += trouble is not None
        kind = trouble.kind if trouble else ""
        if kind == "unreachable":
            return _hang_up(caller)
        if kind == "unavailable":
            return _send(caller, 503, [("Retry-After", "0"), ("Content-Type", "text/plain")], b"not now")
        status, headers, body = _ask(caller, sent)
        if kind == "lost-answer":
            return _hang_up(caller)
        if trouble is not None and kind == "replay":
            return _send(caller, 200, [("Content-Type", "application/json")], trouble.body)
        if trouble is not None and status < 400:
            if kind == "flip":
                body = body[: trouble.at] + bytes([body[trouble.at] ^ 0x20]) + body[trouble.at + 1 :]
            elif kind == "shorten":
                body = body[: trouble.at]
            elif kind == "lengthen":
                body += bytes(trouble.at)
            elif kind == "cut":
                _send(caller, status, headers, body[: trouble.at], promised=len(body))
                return _hang_up(caller)
        return _send(caller, status, headers, body)


def _ask(caller: BaseHTTPRequestHandler, sent: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
    target = urlsplit(caller.path)
    assert target.hostname is not None
    line = http.client.HTTPConnection(target.hostname, target.port or 80, timeout=60)
    headers = {name: value for name, value in caller.headers.items() if name.lower() not in NOT_PASSED_ON}
    with contextlib.closing(line):
        line.request(caller.command, f"{target.path}?{target.query}" if target.query else target.path, body=sent or None, headers=headers)
        answer = line.getresponse()
        kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in NOT_PASSED_ON]
        return answer.status, kept, answer.read()


def _send(caller: BaseHTTPRequestHandler, status: int, headers: list[tuple[str, str]], body: bytes, *, promised: int | None = None) -> None:
    caller.send_response_only(status)
    for name, value in headers:
        caller.send_header(name, value)
    caller.send_header("Content-Length", str(len(body) if promised is None else promised))
    caller.send_header("Connection", "close")
    caller.end_headers()
    with contextlib.suppress(OSError):
        caller.wfile.write(body)
    caller.close_connection = True


def _hang_up(caller: BaseHTTPRequestHandler) -> None:
    with contextlib.suppress(OSError):
        caller.wfile.flush()
        caller.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        caller.connection.close()
    caller.close_connection = True
