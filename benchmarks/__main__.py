"""`make bench`: load, serve, measure, write. `python -m benchmarks --help` has the options."""

import argparse
import contextlib
import os
import platform
import sys
import time
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from benchmarks import profiling, report
from benchmarks.load import Loader, Rider
from benchmarks.measure import Client, Series, compare_answers, measure, workloads
from benchmarks.servers import APPLICATION, FLOOR, Servers, python_version

HERE = Path(__file__).resolve().parent
TOKEN_SECONDS = 240


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the hot endpoints against the raw floor.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000], help="numbers of tunes, smallest first")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--block", type=int, default=100, help="requests of a block")
    parser.add_argument("--warm-up", type=int, default=100)
    parser.add_argument("--riders", type=int, default=200, help="how many send requests; each may download 120 times an hour")
    parser.add_argument("--only", nargs="+", help="names of endpoints: browse newest detail purchases grant grant_ticket")
    parser.add_argument("--output", type=Path, default=HERE, help="where the results are written")
    parser.add_argument("--quick", action="store_true", help="little data, one round: does it work at all?")
    parser.add_argument("--profile", action="store_true", help="show where the application spends its time instead")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.sizes, chosen.riders, chosen.rounds, chosen.block, chosen.warm_up = [300, 600], 20, 1, 5, 4
    return chosen


def main() -> int:
    chosen = options()
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"bench {time.monotonic() - began:5.0f} s  {text}", flush=True)

    servers = Servers()
    try:
        servers.start()
        say("PostgreSQL and S3 are up")
        series, conditions = run(servers, chosen, say)
        if series:
            conditions["seconds"] = round(time.monotonic() - began)
            chosen.output.mkdir(parents=True, exist_ok=True)
            report.write(chosen.output, series, conditions)
            print(report.table(report.rows(series)))
            say(f"written to {chosen.output}")
    finally:
        servers.stop()
    return 0


def run(servers: Servers, chosen: argparse.Namespace, say) -> tuple[list[Series], dict]:
    """Load to each size in turn and measure there."""
    import django
    from django.core.management import call_command
    from django.db import connection

    django.setup()
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
    call_command("migrate", verbosity=0, interactive=False, skip_checks=True)
    say("migrated")
    server = servers.postgres
    conditions = {
        "at": datetime.now(UTC).isoformat(timespec="minutes"),
        "python": python_version(),
        "postgresql": connection.pg_version // 10_000,
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "rounds": chosen.rounds,
        "block": chosen.block,
        "load_before": round(os.getloadavg()[0], 1),
    }
    series: list[Series] = []
    with contextlib.closing(server.connect(database="revsync")) as superuser:
        loader = Loader(superuser, first_size=chosen.sizes[0], riders=chosen.riders, say=say)
        loader.prepare()
        for tunes in chosen.sizes:
            loader.load(tunes)
            loader.touch_sessions()
            endpoints = [workload for workload in workloads(loader, token_of) if not chosen.only or workload.name in chosen.only]
            if chosen.profile:
                profiling.show(endpoints, requests=chosen.block)
                continue
            if not servers.web:
                servers.start_web(APPLICATION)
                servers.start_web(FLOOR)
                say("application and floor answer")
            for workload in endpoints:
                compare_answers(Client(servers.ports[APPLICATION]).send, Client(servers.ports[FLOOR]).send, workload, times=3)
            say("application and floor answer alike")
            series += measure(
                servers, endpoints, tunes=tunes, rounds=chosen.rounds, block=chosen.block, warm_up=chosen.warm_up, say=say
            )
    conditions["load_after"] = round(os.getloadavg()[0], 1)
    return series, conditions


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
