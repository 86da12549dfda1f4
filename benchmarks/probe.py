"""What Postgres alone does for a request: its time, the rows it looks at, and by which indexes.

The request runs in this process, the statements that it really sends are kept, and each read among them is explained and
executed anew. The database's time is that of planning and executing, without the way to it.
"""

import statistics
from dataclasses import dataclass
from itertools import islice

from django.core.cache import cache

from benchmarks import profiling
from benchmarks.measure import Workload
from core.testing import plans

REQUESTS, REPEATS = 6, 3
SMALL = 5_000  # rows: reading all of a smaller table is no finding


@dataclass(frozen=True)
class Probe:
    """One endpoint at one size: medians over a few requests."""

    workload: str
    tunes: int
    database_ms: float
    slowest_ms: float
    rows_read: float
    statements: int
    indexes: list[str]
    read_whole: list[str]


def probe(workload: Workload, *, tunes: int, large_tables: set[str]) -> Probe:
    """Explain what a few of its requests send. Each is repeated and the quickest counts: the first one warms."""
    from revsync_backend.wsgi import application

    found, statements = [], 0
    for request in islice(workload.requests(), REQUESTS):
        cache.clear()
        with plans.captured() as sent:
            profiling.call(application, request)
        reads = [statement for statement in sent if statement.reads]
        statements = max(statements, len(reads))
        found.append(min((plans.explain_all(reads) for _ in range(REPEATS)), key=_milliseconds))
    times = [_milliseconds(plan) for plan in found]
    return Probe(
        workload=workload.name,
        tunes=tunes,
        database_ms=statistics.median(times),
        slowest_ms=max(times),
        rows_read=statistics.median(plan.rows_read for plan in found),
        statements=statements,
        indexes=sorted(set().union(*(plan.indexes for plan in found))),
        read_whole=sorted(set().union(*(plan.read_whole for plan in found)) & large_tables),
    )


def _milliseconds(plan: plans.Plan) -> float:
    return plan.execution_ms + plan.planning_ms
