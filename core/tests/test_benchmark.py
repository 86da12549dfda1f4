"""`make bench` in small: the floor is one only as long as it gives the application's answers."""

import contextlib
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest
from django.db import connection

from benchmarks import plot, profiling, report
from benchmarks.load import Loader
from benchmarks.measure import Sample, Series, Workload, compare_answers, workloads
from benchmarks.size import plain, token_of

ROOT = Path(__file__).resolve().parent.parent.parent


def _database_url() -> str:
    """The address of this process's test database."""
    place = connection.settings_dict
    return urlunsplit(("postgres", f"{place['USER']}:{place['PASSWORD']}@{place['HOST']}:{place['PORT']}", place["NAME"], "", ""))


@pytest.fixture
def loader():
    """Sixty tunes and four riders, committed, since the floor reads them through a connection of its own."""
    url = urlsplit(_database_url())

    def connect() -> psycopg2.extensions.connection:
        made = psycopg2.connect(host=url.hostname, port=url.port, user="supervisor", password="supervisor", dbname=url.path[1:])
        made.autocommit = True
        return made

    with contextlib.closing(Loader(connect, tunes=60, first_size=60, riders=4, say=lambda _text: None)) as made:
        made.load()
        yield made


@pytest.fixture
def floor(monkeypatch):
    """The floor's WSGI function on the test database; its connection is closed before the tables are emptied."""
    from benchmarks import floor

    monkeypatch.setattr(floor, "DATABASE_URL", _database_url())
    yield floor.application
    floor._local.connection.close()
    del floor._local.connection


@pytest.mark.django_db(transaction=True)
def test_the_floor_answers_as_the_application_does(loader, floor):
    from revsync_backend.wsgi import application

    for workload in workloads(loader, token_of):
        compare_answers(partial(profiling.call, application), partial(profiling.call, floor), workload, times=2)


def _series(ratio: float, *, tunes: int = 10, workload: str = "detail", extra_ms: float = 0.0) -> dict[str, Any]:
    floor = Sample(application_ms=0.5, database_ms=0.5, elapsed_ms=2.0)
    ours = replace(floor, application_ms=ratio - 0.5)
    about = Workload(workload, workload.capitalize(), lambda: iter(()), extra_ms=extra_ms)
    return {"series": [plain(Series(about, tunes, {"application": [ours] * 5, "floor": [floor] * 5}))]}


def _growth(*times: float, bar: float = 2.0) -> report.Growth:
    return report.Growth("detail", "Detail", bar, [{"tunes": 10**number, "database_ms": one} for number, one in enumerate(times, 4)])


class TestReport:
    def test_twice_the_floor_is_reached_and_more_is_missed(self):
        near, over = report.rows([_series(2.0), _series(2.2, workload="browse")])
        assert (near.is_within_bar, over.is_within_bar) == (True, False)

    def test_a_ticket_may_take_four_milliseconds_more(self):
        within, over = report.rows([_series(5.9, extra_ms=4.0), _series(6.1, extra_ms=4.0)])
        assert (within.is_within_bar, over.is_within_bar) == (True, False)

    def test_growth_is_that_from_the_smallest_size_to_the_largest(self):
        assert (_growth(0.5, 0.9, 1.0).is_within_bar, _growth(0.5, 0.4, 1.1).is_within_bar) == (True, False)
        assert _growth(0.5, 1.9, bar=4.0).is_within_bar

    def test_the_plots_are_whole(self):
        drawn = plot.floor(report.rows([_series(1.5, tunes=1000), _series(2.7, tunes=1000)]))
        assert "1,000 tunes" in drawn and "1.50 ×" in drawn and "2.70 ×" in drawn
        assert "Detail: 2.2 ×" in plot.growth([_growth(0.5, 1.1)])


@pytest.mark.long
def test_the_whole_benchmark_runs(tmp_path):
    command = [sys.executable, "-m", "benchmarks", "--quick", "--output", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=300, env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)})
    assert {path.name for path in tmp_path.iterdir()} >= {"results.md", "results.json", "floor.svg", "growth.svg", "latency.svg"}
