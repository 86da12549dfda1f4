"""Where the application spends its time: `python -m benchmarks --profile` runs it in this process under cProfile."""

import cProfile
import io
import pstats
from collections.abc import Iterable
from itertools import islice

from benchmarks.measure import Request, Workload

LINES = 45


def show(endpoints: Iterable[Workload], *, requests: int) -> None:
    """Print the costliest functions of each endpoint, by their own time and with what they call."""
    from revsync_backend.wsgi import application

    for workload in endpoints:
        stream = workload.requests()
        for request in islice(stream, 20):
            call(application, request)
        profile = cProfile.Profile()
        profile.enable()
        for request in islice(stream, requests):
            call(application, request)
        profile.disable()
        for order in ("cumulative", "tottime"):
            text = io.StringIO()
            pstats.Stats(profile, stream=text).sort_stats(order).print_stats(LINES)
            print(f"== {workload.name}, by {order}, {requests} requests\n{text.getvalue()}", flush=True)


def call(application, request: Request) -> bytes:
    """One request straight into the WSGI callable."""
    method, target, _ = request.head.split(b"\r\n", 1)[0].decode().split(" ")
    path, _, query = target.partition("?")
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for line in request.head.decode().split("\r\n")[1:]:
        name, _, value = line.partition(": ")
        if name:
            name = name.upper().replace("-", "_")
            environ[name if name in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{name}"] = value
    statuses: list[str] = []
    answer = application(environ, lambda status, _headers, _exc_info=None: statuses.append(status))
    try:
        body = b"".join(answer)
    finally:
        if hasattr(answer, "close"):
            answer.close()
    assert statuses[0].startswith(str(request.status)), (statuses, body[:500])
    return body
