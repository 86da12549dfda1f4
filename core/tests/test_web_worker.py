"""Slow and dawdling clients at the real web server: they cost a connection, never a thread."""

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest
from django.conf import settings

from core import web_worker
from core.web_worker import Arriving

THREADS = 2
LOGIN = b"POST /api/v1/auth/login/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
HEAD = b"POST /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n"
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
# Each is sent and then nothing more.
STALLED = {
    "nothing": b"",
    "half a request line": b"GET /liv",
    "half a head": HEAD + b"X-A: 1\r\n",
    "a body that does not come": HEAD + b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n",
    "half a body": LOGIN + b"Content-Length: 1000\r\n\r\n{",
    "half a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nff\r\nabc",
    "a chunk that looks like the end": HEAD + b"Transfer-Encoding: chunked\r\n\r\nff\r\n0\r\n\r\n",
    "a body that waits to be asked for": HEAD + b"Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n",
}


def serve(worker_class):
    """gunicorn with the application and two threads; nothing of it needs the database."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    patience = "import core.web_worker as w; w.ARRIVAL_SECONDS = 3.0\nfrom gunicorn.app.wsgiapp import run; run()"
    command = [sys.executable, "-c", patience, "revsync_backend.wsgi:application", "--bind", f"127.0.0.1:{port}"]
    command += ["--worker-class", worker_class, "--workers", "1", "--threads", str(THREADS), "--no-control-socket"]
    command += ["--keep-alive", "15", "--graceful-timeout", "60", "--log-level", "critical"]
    process = subprocess.Popen(command, cwd=settings.BASE_DIR, env=dict(os.environ), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        if answered(port, timeout=3):
            return process, port
        time.sleep(0.2)
    process.kill()
    raise AssertionError("it does not start")


@pytest.fixture(scope="module")
def port():
    process, port = serve("core.web_worker.BufferingWorker")
    yield port
    process.terminate()
    process.wait(timeout=30)


def talk(port, raw, timeout=3.0):
    """Everything that comes back until the server closes or is silent for a while."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        connection.sendall(raw)
        return read(connection)


def read(connection):
    answer = b""
    try:
        while chunk := connection.recv(65_536):
            answer += chunk
    except (TimeoutError, ConnectionResetError):
        pass
    return answer


def problem_of(answer):
    """Status and code of an answer that is a problem from head to end."""
    head, _, body = answer.partition(b"\r\n\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:])
    problem = json.loads(body)
    assert headers["content-type"] == "application/problem+json"
    assert (headers["cache-control"], int(headers["content-length"])) == ("no-store", len(body))
    assert headers["x-request-id"] == problem["request_id"]
    assert head.startswith(b"HTTP/1.1 %d " % problem["status"])
    return problem["status"], problem["code"]


def answered(port, *, timeout=10.0):
    try:
        return b" 200 " in talk(port, LIVEZ, timeout)
    except OSError:
        return False


def stall(stack, port, raw, count):
    """That many clients that send this and then nothing more."""
    clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10)) for _ in range(count)]
    for client in clients:
        client.sendall(raw)
    time.sleep(0.5)
    return clients


@pytest.mark.parametrize("what", STALLED)
def test_two_hundred_dawdlers_stop_nobody(port, what):
    with ExitStack() as stack:
        stall(stack, port, STALLED[what], 200)
        assert all(answered(port) for _ in range(5))


def test_control_gunicorns_own_worker_is_stopped_by_as_many_as_it_has_threads():
    process, port = serve("gthread")
    try:
        with ExitStack() as stack:
            stall(stack, port, STALLED["half a head"], THREADS)
            assert not answered(port, timeout=3)
    finally:
        process.kill()
        process.wait(timeout=30)


def test_a_dawdler_is_told_and_let_go(port):
    with ExitStack() as stack:
        (client,) = stall(stack, port, STALLED["half a body"], 1)
        assert problem_of(read(client)) == (408, "request_timeout")


def test_a_trickle_ends_as_soon(port):
    with ExitStack() as stack:
        (client,) = stall(stack, port, STALLED["half a head"], 1)
        started, ended = time.monotonic(), False
        while not ended and time.monotonic() - started < 15:
            try:
                client.send(b"X-A: 1\r\n")
                time.sleep(0.3)
            except OSError:
                ended = True
        assert ended


class TestWhatComesInPieces:
    def pieces(self, port, *parts):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            for part in parts:
                client.sendall(part)
                time.sleep(0.1)
            return read(client)

    def test_is_read_as_one(self, port):
        body = b'{"email": "a@b.example"'
        head = b"POST /api/v1/meta/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\n"

        for framing in (
            [b"Content-Length: 23\r\n\r", b"\n" + body[:5], body[5:]],
            [b"Transfer-Encoding: chunked\r\n\r\n5\r\n" + body[:5], b"\r\n12\r\n" + body[5:] + b"\r\n0", b"\r\n\r\n"],
            [b"Expect: 100-continue\r\nContent-Length: 23\r\n\r\n", body],
        ):
            answer = self.pieces(port, head[:20], head[20:], *framing)
            assert b" 405 " in answer and b"method_not_allowed" in answer

    def test_one_after_another_on_one_connection(self, port):
        request = LIVEZ.replace(b"Connection: close\r\n", b"")

        answer = self.pieces(port, request, request + request, request[:30], request[30:] + LIVEZ)

        assert answer.count(b" 200 ") == 5

    def test_a_body_that_is_too_long_is_refused_without_all_of_it(self, port):
        head = LOGIN + b"Content-Length: 900000000\r\n\r\n"

        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(head + b'"' + b"a" * 1_200_000)
            answer = read(client)

        assert b" 413 " in answer and b"body_too_large" in answer


@pytest.mark.parametrize(
    ("raw", "refusal"),
    [
        (b"GET /api/v1/marketplace/tunes/?q=" + b"a" * 10_240 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", (414, "uri_too_long")),
        (b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: " + b"a" * 9_000 + b"\r\n\r\n", (431, "headers_too_large")),
        (b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X-A: 1\r\n" * 200 + b"\r\n", (431, "headers_too_large")),
        (b"x" * 70_000, (414, "uri_too_long")),
        (b"GET /livez\r\n\r\n", (400, "bad_request")),
        (b"<script>alert(1)</script> / HTTP/1.1\r\n\r\n", (400, "bad_request")),
        (b"GET /livez HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n", (400, "bad_request")),
        (HEAD + b"Transfer-Encoding: gzip\r\n\r\n", (400, "bad_request")),
        (HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (400, "bad_request")),
        (HEAD + b"Content-Length: -1\r\n\r\n", (400, "bad_request")),
    ],
    ids=lambda value: value[:40].decode() if isinstance(value, bytes) else value[1],
)
def test_what_is_no_request_is_refused_by_a_problem(port, raw, refusal):
    answer = talk(port, raw)

    assert problem_of(answer) == refusal
    assert b"script" not in answer
    assert answered(port)


def test_stopping_waits_for_no_dawdler():
    process, port = serve("core.web_worker.BufferingWorker")
    with ExitStack() as stack:
        stall(stack, port, STALLED["nothing"], 3)
        started = time.monotonic()
        process.terminate()
        process.wait(timeout=30)
    assert time.monotonic() - started < 30


class TestArriving:
    @pytest.mark.parametrize(
        ("raw", "complete_after"),
        [
            (b"GET / HTTP/1.1\r\n\r\n", 18),
            (b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab", 40),
            (b"POST / HTTP/1.1\r\ncontent-LENGTH:2\r\n\r\nab", 39),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", 59),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-T: 1\r\n\r\n", 60),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n0\r\n\r\n\r\n0\r\n\r\n", 62),
        ],
    )
    def test_it_is_complete_with_its_last_byte(self, raw, complete_after):
        request, seen = Arriving(), 0
        for byte in raw:
            request.add(bytes([byte]))
            seen += 1
            if request.is_complete():
                break

        assert seen == complete_after == len(raw)

    @pytest.mark.parametrize("raw", [b"x" * 70_000, b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"z" * 2_000])
    def test_what_can_not_become_a_request_is_handed_on_to_be_refused(self, raw):
        request = Arriving()
        request.add(raw)

        assert request.is_complete()

    def test_it_holds_no_more_than_the_application_would_read(self):
        request = Arriving()
        request.add(b"POST / HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n" + b"a" * web_worker.MAX_BODY_BYTES)

        assert request.is_complete()
