"""`make bench` in small: the floor is one only as long as it gives the application's answers."""

import contextlib
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest
from django.db import connection

from benchmarks import plot, profiling, report
from benchmarks.__main__ import token_of
from benchmarks.load import Loader
from benchmarks.measure import Sample, Series, compare_answers, workloads

ROOT = Path(__file__).resolve().parent.parent.parent


def _database_url() -> str:
    """The address of this process's test database."""
    place = connection.settings_dict
    return urlunsplit(("postgres", f"{place['USER']}:{place['PASSWORD']}@{place['HOST']}:{place['PORT']}", place["NAME"], "", ""))


@pytest.fixture
def loader():
    """Sixty tunes and four riders, committed, since the floor reads them through a connection of its own."""
    url = urlsplit(_database_url())
    superuser = psycopg2.connect(host=url.hostname, port=url.port, user="supervisor", password="supervisor", dbname=url.path[1:])
    superuser.autocommit = True
    with contextlib.closing(superuser):
        made = Loader(superuser, first_size=60, riders=4, say=lambda _text: None)
        made.prepare()
        made.load(60)
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


def _series(ratio: float, *, tunes: int, database_ms: float = 1.0, workload: str = "detail") -> Series:
    floor = Sample(application_ms=0.5, database_ms=0.5, elapsed_ms=2.0)
    ours = replace(floor, application_ms=ratio - database_ms, database_ms=database_ms)
    return Series(workload, tunes, {"application": [ours] * 5, "floor": [floor] * 5})


class TestReport:
    def test_twice_the_floor_is_reached_and_more_is_missed(self):
        near, over = report.rows([_series(2.0, tunes=10), _series(2.2, tunes=10, workload="browse")])
        assert (near.is_within_bar, over.is_within_bar) == (True, False)

    def test_a_ticket_may_take_four_milliseconds_more(self):
        within, over = report.rows([_series(5.9, tunes=10, workload="grant_ticket"), _series(6.1, tunes=11, workload="grant_ticket")])
        assert (within.is_within_bar, over.is_within_bar) == (True, False)

    def test_growth_is_told_of_the_database_too(self):
        _, grown = report.rows([_series(2.0, tunes=10, database_ms=0.5), _series(2.0, tunes=100, database_ms=1.5)])
        assert (grown.cpu_growth, grown.database_growth, grown.has_grown_within_bar) == (1.0, 3.0, False)

    def test_the_plot_shows_the_largest_size_only(self):
        rows = report.rows([_series(1.5, tunes=10), _series(1.7, tunes=1000)])
        drawn = plot.draw(rows, titles=report.TITLES, bar=report.BAR)
        assert "1,000 tunes" in drawn and "1.70 ×" in drawn and "1.50 ×" not in drawn


@pytest.mark.long
def test_the_whole_benchmark_runs(tmp_path):
    command = [sys.executable, "-m", "benchmarks", "--quick", "--output", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=110, env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)})
    assert {path.name for path in tmp_path.iterdir()} >= {"results.md", "results.json", "results.svg"}
