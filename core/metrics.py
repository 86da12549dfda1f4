"""What `/metrics` tells of requests: how many, how long, by method, route and status.

One observation a request: the ready-made middlewares make a dozen, which cost a tenth of a short request's CPU.
"""

from functools import lru_cache

from prometheus_client import Histogram

KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

REQUEST_SECONDS = Histogram(
    "revsync_request_seconds",
    "Time from a request's first middleware to its answer.",
    ["method", "route", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)


@lru_cache(maxsize=4096)
def _series(method: str, route: str, status_code: int) -> Histogram:
    return REQUEST_SECONDS.labels(method, route, status_code)


def observe_request(*, method: str, route: str | None, status_code: int, seconds: float) -> None:
    """Count one request. Unknown paths and methods share a series, so that nobody can make millions of them."""
    _series(method if method in KNOWN_METHODS else "other", route or "none", status_code).observe(seconds)
