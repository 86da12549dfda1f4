"""One size: a system of its own, loaded once, and what is measured on it. `python -m benchmarks` starts this for each size."""

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Any

from benchmarks import profiling
from benchmarks.load import Loader, Rider
from benchmarks.measure import Client, Series, Workload, compare_answers, measure, workloads
from benchmarks.probe import SMALL, probe
from benchmarks.servers import APPLICATION, FLOOR, Servers
from benchmarks.together import run_together
from benchmarks.traffic import run_traffic
from benchmarks.writes import compare_upkeep, measure_writes

PARTS = ("endpoints", "plans", "writes", "together", "traffic")
TOKEN_SECONDS = 240
# What writers leave behind, as autovacuum does; it is off, so that nothing runs beside a measurement.
TIDY = """
VACUUM (ANALYZE) marketplace_tune, marketplace_browserow, marketplace_searchrow, marketplace_favorite, tuners_tunerreview, tuners_tunerprofile
"""
LARGE = "SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples >= %(small)s"
HERE = Path(__file__).resolve().parent

Say = Callable[[str], None]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.size")
    parser.add_argument("--tunes", type=int, required=True)
    parser.add_argument("--first-size", type=int, required=True, help="the smallest size of the run: its rows are asked for in all")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--directory", type=Path, help="where the loaded system stays for the next run")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--block", type=int, required=True)
    parser.add_argument("--warm-up", type=int, required=True)
    parser.add_argument("--riders", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--profile", action="store_true")
    return parser.parse_args()


def main() -> int:
    chosen = options()
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"bench {chosen.tunes:>9,} tunes {time.monotonic() - began:5.0f} s  {text}", flush=True)

    mark = (chosen.directory or Path(os.devnull)) / "loaded"
    is_loaded = mark.exists() and mark.read_text() == _state(chosen)
    if chosen.directory and not is_loaded:
        shutil.rmtree(chosen.directory, ignore_errors=True)
    servers = Servers(chosen.directory)
    try:
        servers.start()
        found = run(servers, chosen, say, is_loaded=is_loaded, mark=mark)
        chosen.output.write_text(json.dumps(found), encoding="utf-8")
    finally:
        servers.stop()
    return 0


def run(servers: Servers, chosen: argparse.Namespace, say: Say, *, is_loaded: bool, mark: Path) -> dict[str, Any]:
    """Load unless that was done, then measure the chosen parts in their order."""
    import django
    from django.core.management import call_command
    from django.db import connection

    django.setup()
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
    call_command("migrate", verbosity=0, interactive=False, skip_checks=True)
    loader = Loader(
        partial(servers.postgres.connect, database="revsync"),
        tunes=chosen.tunes,
        first_size=chosen.first_size,
        riders=chosen.riders,
        say=say,
    )
    began = time.monotonic()
    if is_loaded:
        say("loaded already")
    else:
        loader.load()
        if chosen.directory:
            mark.write_text(_state(chosen))
    found: dict[str, Any] = {
        "tunes": chosen.tunes,
        "load_seconds": None if is_loaded else round(time.monotonic() - began),
        "database_megabytes": loader.database_bytes() // 1_000_000,
        "postgresql": connection.pg_version // 10_000,
    }
    connection.close()  # the statements of its own from here on have the role's limits
    loader.touch_sessions()
    endpoints = [workload for workload in workloads(loader, token_of) if not chosen.only or workload.name in chosen.only]
    if chosen.profile:
        profiling.show(endpoints, requests=chosen.block)
        return found
    if "endpoints" in chosen.parts:
        found["series"] = [plain(series) for series in _endpoints(servers, endpoints, chosen, say)]
    if "plans" in chosen.parts:
        large = {name for (name,) in loader.rows(LARGE, small=SMALL)}
        found["plans"] = [asdict(probe(one, tunes=chosen.tunes, large_tables=large)) for one in endpoints if not one.writes]
        say("plans explained")
    if "writes" in chosen.parts:
        if APPLICATION not in servers.web:
            servers.start_web(APPLICATION)
        found["writes"] = [asdict(write) for write in measure_writes(servers, loader, token_of)]
        say("writes measured")
        found["upkeep"] = [asdict(upkeep) for upkeep in compare_upkeep(loader)]
        say("triggers and services compared")
    servers.stop_web()
    if "together" in chosen.parts:
        found["together"] = asdict(run_together(loader, seconds=chosen.seconds))
        say(f"writers beside readers: {found['together']['errors']}, {found['together']['deadlocks']} deadlocks")
    if "traffic" in chosen.parts:
        with loader.connection.cursor() as cursor:
            cursor.execute(TIDY)
        loader.touch_sessions()
        servers.start_web(APPLICATION, workers=2)
        found["traffic"] = [asdict(traffic) for traffic in run_traffic(servers, loader, token_of, seconds=chosen.seconds)]
        say("traffic measured")
    return found


def _endpoints(servers: Servers, endpoints: list[Workload], chosen: argparse.Namespace, say: Say) -> list[Series]:
    for name in (APPLICATION, FLOOR):
        servers.start_web(name)
    for workload in endpoints:
        with contextlib.closing(Client(servers.ports[APPLICATION])) as ours, contextlib.closing(Client(servers.ports[FLOOR])) as floor:
            compare_answers(ours.send, floor.send, workload, times=3)
    say("application and floor answer alike")
    return measure(servers, endpoints, tunes=chosen.tunes, rounds=chosen.rounds, block=chosen.block, warm_up=chosen.warm_up, say=say)


def plain(series: Series) -> dict[str, Any]:
    """As JSON keeps it."""
    kept = {name: getattr(series.workload, name) for name in ("name", "title", "bar", "growth_bar", "extra_ms")}
    return {**kept, "tunes": series.tunes, "samples": {server: [asdict(sample) for sample in samples] for server, samples in series.samples.items()}}


def _state(chosen: argparse.Namespace) -> str:
    """What a loaded system is good for: these sizes, loaded by this code. Migrations that came since are run on it."""
    code = hashlib.sha256((HERE / "load.py").read_bytes()).hexdigest()
    return f"{chosen.tunes} {chosen.first_size} {chosen.riders} {code}"


def token_of(rider: Rider) -> str:
    """An access token of a rider's session, the same for some minutes."""
    return _token(rider, int(time.monotonic() // TOKEN_SECONDS))


@cache
def _token(rider: Rider, _period: int) -> str:
    from core import clock, tokens
    from users.models import UserDevice

    return tokens.mint_access(UserDevice.objects.get(pk=rider.session_id), at=clock.now())


if __name__ == "__main__":
    sys.exit(main())
