"""Play the scenarios, judge each, and end with a table. `make faults SEED=1 FROM=database`.

    python -m tools.faults              # everything, about half an hour
    python -m tools.faults --short      # what CI runs, about five minutes
    python -m tools.faults --seed 7 --from locks
"""

import argparse
import contextlib
import os
import random
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from core.embedded import processes
from tools.faults import report
from tools.faults.clients import Client, Journal, Load
from tools.faults.judge import PAYOUTS, Evidence, judge, judge_payouts
from tools.faults.scenarios import SCENARIOS, NotDone, NotPossibleHere, Scenario, Setting, small_disk
from tools.faults.stand import Stand

CLIENTS_AT_ONCE = 6
WISHES = 3
SETTLED_WITHIN_SECONDS = 75  # a minute of the reconciler, and the time of its work
QUIET_WITHIN_SECONDS = 240
SMALL_DISK_MEGABYTES = 2600
READY_WITHIN_SECONDS = 900  # with the demo data


@contextlib.contextmanager
def running(directory: Path) -> Iterator[Stand]:
    """The system with its demo data, ready."""
    stand = Stand(directory / "data")
    try:
        began = time.monotonic()
        stand.start().wait_for("ready in", READY_WITHIN_SECONDS)
        print(f"the system is ready in {time.monotonic() - began:.0f} s", flush=True)
        yield stand
    finally:
        with contextlib.suppress(Exception):
            stand.stop()
        stand.clean_up()


def play(scenario: Scenario, stand: Stand, *, seed: int, is_short: bool, journal: Journal) -> report.Row:
    """One scenario: buyers, fault, quiet, verdict."""
    chance = random.Random(f"{seed}-{scenario.name}")
    attestation = stand.ask("GET", "/api/v1/meta/").json()["texts"]["attestation"]["version"]
    buyers = stand.make_buyers(scenario.buyers[0 if is_short else 1], each=WISHES, seed=f"{seed}-{scenario.name}")
    buyer_ids = [buyer["id"] for buyer in buyers]

    def make(buyer: dict[str, Any], stop: Event) -> Client:
        mine = random.Random(f"{seed}-{scenario.name}-{uuid.UUID(buyer['id']).int % 1000}")
        base_url = f"http://127.0.0.1:{stand.port}"
        return Client(base_url, buyer, journal, attestation, mine, stop, drop_replies=scenario.drop_replies)

    first = len(journal.lines)
    broken: list[str] = []
    with Load(CLIENTS_AT_ONCE, buyers, make) as load:
        try:
            what = scenario.act(Setting(stand, chance, is_short, lambda: load.is_over, lambda: _is_settled(stand, buyer_ids)))
        except NotPossibleHere as impossible:
            return report.Row(scenario.name, scenario.what, None, note=f"not played: {impossible}")
        except NotDone as failed:
            what = scenario.what
            broken.append(str(failed))
    over_at = time.monotonic()
    stand.wait_until_up()
    settled = processes.wait_until(lambda: _is_settled(stand, buyer_ids), seconds=SETTLED_WITHIN_SECONDS, pause=1)
    settled_seconds = time.monotonic() - over_at
    if not settled:
        broken.append(f"not everything paid was licensed within {SETTLED_WITHIN_SECONDS} s of the recovery")
    if not processes.wait_until(lambda: not stand.is_busy(), seconds=QUIET_WITHIN_SECONDS, pause=1):
        broken.append(f"tasks or events still wait after {QUIET_WITHIN_SECONDS} s")
    unexpected = [text for client in load.clients for text in client.unexpected]
    verdict = judge(
        Evidence.of(stand, buyer_ids),
        journal.lines[first:],
        unexpected=unexpected,
        may_refuse=scenario.may_refuse,
        may_fail=scenario.may_fail,
    )
    verdict.broken += judge_payouts(stand.rows(PAYOUTS), stand.everything_of("transfers"))
    verdict.broken = broken + verdict.broken + load.failures + invariants(stand)
    return report.Row(scenario.name, what, verdict, settled_seconds)


def _is_settled(stand: Stand, buyer_ids: list[str]) -> bool:
    with contextlib.suppress(Exception):
        return Evidence.of(stand, buyer_ids).is_settled
    return False


def invariants(stand: Stand) -> list[str]:
    """What `manage.py verify_invariants` finds."""
    try:
        stand.manage("verify_invariants")
    except AssertionError as broken:
        return [f"verify_invariants: {broken}"]
    return []


def tell(row: report.Row) -> None:
    print(row.as_markdown(), end="", flush=True)
    for sentence in (row.verdict.broken if row.verdict else [])[:20]:
        print(f"    BROKEN: {sentence}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="what CI runs")
    parser.add_argument("--seed", type=int, default=1)
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--from", dest="first", choices=names, default=names[0], help="begin with this one")
    parser.add_argument("--only", choices=names, action="append", help="this one only (may be repeated)")
    parser.add_argument("--directory", type=Path, help="keep the system's data there: the next run need not load the demo data")
    parser.add_argument("--write", action="store_true", help="write the table into docs/faults.md")
    options = parser.parse_args()
    chosen = [
        scenario
        for scenario in SCENARIOS[names.index(options.first) :]
        if (scenario.name in options.only if options.only else not (options.short and scenario.is_long))
    ]
    rows, began = [], time.monotonic()
    with contextlib.ExitStack() as stack:
        directory = options.directory or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="revsync-faults-")))
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o711)  # PostgreSQL's unprivileged user passes through
        journal = Journal(directory / "journal.jsonl")
        print(f"journal {journal.file.name}", flush=True)
        usual = [scenario for scenario in chosen if scenario.name != "disk-full"]
        if usual:
            with running(directory) as stand:
                for scenario in usual:
                    rows.append(play(scenario, stand, seed=options.seed, is_short=options.short, journal=journal))
                    tell(rows[-1])
        for scenario in chosen[len(usual) :]:
            with small_disk(directory / "small", SMALL_DISK_MEGABYTES) as small, running(small) as stand:
                rows.append(play(scenario, stand, seed=options.seed, is_short=options.short, journal=journal))
                tell(rows[-1])
        journal.close()
    took = time.monotonic() - began
    broken = [row for row in rows if row.verdict and row.verdict.broken]
    requests = sum(row.verdict.requests for row in rows if row.verdict)
    headline = (
        f"`make faults{' SHORT=1' if options.short else ''} SEED={options.seed}`: {len(rows)} scenarios, {requests:,} requests,"
        f" {len(broken)} with something broken, {took / 60:.0f} minutes."
    )
    print(headline, flush=True)
    if options.write:
        report.write(ROOT / "docs" / "faults.md", rows, headline=headline)
    return 1 if broken else 0


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
