"""Where a request ends, at the web server that production runs: nobody's bytes are ever read as somebody else's request."""

import os
import re
import socket
import subprocess
import sys
import time

import pytest
from django.conf import settings

SECOND = b"GET /smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def request(*headers, body=b"", target=b"/livez"):
    return b"\r\n".join([b"POST " + target + b" HTTP/1.1", b"Host: 127.0.0.1", *headers, b"", body])


@pytest.fixture(scope="module")
def server():
    """gunicorn as the container starts it, with one process and few threads."""
    (worker_class,) = re.findall(r"--worker-class (\S+)", (settings.BASE_DIR / "Dockerfile").read_text(encoding="utf-8"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [*(sys.executable, "-m", "gunicorn", "revsync_backend.wsgi:application"), *("--bind", f"127.0.0.1:{port}")]
    command += ["--worker-class", worker_class, "--workers", "1", "--threads", "2"]
    command += ["--no-control-socket", "--log-level", "critical"]
    process = subprocess.Popen(command, cwd=settings.BASE_DIR, env=dict(os.environ), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                if b" 200 " in exchange(port, b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"):
                    break
            except OSError:
                pass
            assert time.monotonic() < deadline and process.poll() is None, "it does not start"
            time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=30)


def exchange(port, raw):
    """Everything that comes back until the server closes, or is silent for a moment after it has begun."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(raw)
        answer = b""
        try:
            while chunk := connection.recv(65536):
                answer += chunk
                connection.settimeout(0.5)
        except (TimeoutError, ConnectionResetError):
            pass
        return answer


def statuses(answer):
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


def test_the_control_two_requests_get_two_answers(server):
    assert statuses(exchange(server, request(b"Content-Length: 0") + SECOND)) == [405, 404]


@pytest.mark.parametrize(
    "raw",
    [
        request(b"Content-Length: %d" % (5 + len(SECOND)), b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + SECOND),
        request(b"Transfer-Encoding: chunked", b"Content-Length: 4", body=b"2\r\nab\r\n0\r\n\r\n" + SECOND),
        request(b"Content-Length: %d" % len(SECOND), body=SECOND),
        request(b"Transfer-Encoding: chunked", body=b"%x\r\n" % len(SECOND) + SECOND + b"\r\n0\r\n\r\n"),
    ],
    ids=["length and chunks", "chunks and length", "a request as body", "a request as chunk"],
)
def test_one_message_is_never_read_as_two(server, raw):
    answered = statuses(exchange(server, raw))

    assert len(answered) == 1 and answered[0] in {400, 405}


@pytest.mark.parametrize(
    "headers",
    [
        [b"Content-Length: 0", b"Content-Length: 4"],
        [b"Content-Length: +4"],
        [b"Content-Length: 4, 4"],
        [b"Content-Length: 0x4"],
        [b"Content-Length: -1"],
        [b"Transfer-Encoding: chunked, identity"],
        [b"Transfer-Encoding: xchunked"],
        [b"Transfer-Encoding : chunked"],
        [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
        [b"X-A: 1\nContent-Length: 4"],
        [b"X-A: \0"],
    ],
    ids=lambda headers: b" ".join(headers).decode("latin-1").replace("\n", " ").replace("\0", "NUL"),
)
def test_a_doubtful_end_is_refused(server, headers):
    answered = statuses(exchange(server, request(*headers, body=b"abcd" + SECOND)))

    assert answered in ([400], [501], [])  # nothing: the connection was closed on what is left of it before the answer was read
