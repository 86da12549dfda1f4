"""`make bench`: for each size load, serve and measure; then write. `python -m benchmarks --help` has the options."""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.servers import ROOT, python_version
from benchmarks.size import PARTS

HERE = Path(__file__).resolve().parent
SIZES = os.environ.get("BENCH_SIZES", "10000 100000 1000000")
AT_EVERY_SIZE = ("endpoints", "plans")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the hot endpoints against the raw floor.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[int(size) for size in SIZES.split()], help="numbers of tunes, smallest first")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS), help="what to measure; nothing but loading without any")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--block", type=int, default=40, help="requests of a block")
    parser.add_argument("--warm-up", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=20, help="how long writers and readers, and the mix, go on")
    parser.add_argument("--riders", type=int, default=200, help="how many send requests; each may download 120 times an hour")
    parser.add_argument("--only", nargs="+", help="names of endpoints")
    parser.add_argument("--keep", type=Path, help="a directory for the loaded systems, which the next run finds there; some gigabytes")
    parser.add_argument("--output", type=Path, default=HERE, help="where the results are written")
    parser.add_argument("--quick", action="store_true", help="little data, one round: does it work at all?")
    parser.add_argument("--profile", action="store_true", help="show where the application spends its time instead")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.sizes, chosen.riders, chosen.rounds, chosen.block, chosen.warm_up, chosen.seconds = [3000, 6000], 60, 1, 5, 4, 3
    return chosen


def main() -> int:
    chosen = options()
    began = time.monotonic()
    conditions = {
        "at": datetime.now(UTC).isoformat(timespec="minutes"),
        "python": python_version(),
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "rounds": chosen.rounds,
        "block": chosen.block,
        "load_before": round(os.getloadavg()[0], 1),
    }
    with tempfile.TemporaryDirectory() as name:
        found = [measure(chosen, tunes, Path(name) / f"{tunes}.json") for tunes in chosen.sizes]
    conditions |= {"load_after": round(os.getloadavg()[0], 1), "seconds": round(time.monotonic() - began)}
    if chosen.parts and not chosen.profile:
        chosen.output.mkdir(parents=True, exist_ok=True)
        report.write(chosen.output, found, conditions)
        print((chosen.output / "results.md").read_text(), flush=True)
    return 0


def measure(chosen: argparse.Namespace, tunes: int, output: Path) -> dict[str, Any]:
    """One size, in a process of its own: settings are read once."""
    parts = [part for part in chosen.parts if part in AT_EVERY_SIZE or tunes == chosen.sizes[-1]]
    command = [sys.executable, "-m", "benchmarks.size", "--tunes", str(tunes), "--output", str(output), "--first-size", str(chosen.sizes[0])]
    for name in ("rounds", "block", "warm_up", "riders", "seconds"):
        command += [f"--{name.replace('_', '-')}", str(getattr(chosen, name))]
    command += ["--parts", *parts]
    if chosen.keep:
        command += ["--directory", str(chosen.keep.resolve() / str(tunes))]
    if chosen.only:
        command += ["--only", *chosen.only]
    if chosen.profile:
        command.append("--profile")
    subprocess.run(command, cwd=ROOT, check=True)
    return json.loads(output.read_text())


if __name__ == "__main__":
    sys.exit(main())
