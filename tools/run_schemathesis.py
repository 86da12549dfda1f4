"""Hold the running system against its schema: schemathesis over every operation, as each role, over real HTTP.

    python tools/run_schemathesis.py          # CI: fixed examples and seed, at most 8 minutes with the start of the system
    python tools/run_schemathesis.py --long   # many more examples, no cap

The whole system is started with the demo data on ports of its own (its limits are out of reach, `schemathesis_settings.py`). Each role
is one process of schemathesis; two run at a time. Deleting the account comes last: nothing is left of the role after it. A failure is
a status, shape, content type or header that the schema does not have, any 5xx, a refused valid request, an accepted invalid one, access
without a token, a resource that outlives its deletion. `schemathesis_exclusions.py` has what is reported and excused.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import requests

from core.testing import system
from tools.schemathesis_exclusions import EXCLUSIONS, NEVER

ROLES = {
    "anonymous": "",
    "rider": "robin@revsync.example",
    "tuner": "nordlicht@revsync.example",
    "creator": "openmaps@revsync.example",
    "suspended tuner": "blackline@revsync.example",
    "admin": "ada@revsync.example",
}
CAP_SECONDS = 480
AT_ONCE = 2
LAST = "delete_me"
SCHEMA = "schema.yaml"  # what the running system serves, fetched once
CONFIGURATION = "schemathesis.toml"


@dataclass(frozen=True)
class Plan:
    """How much of it."""

    phases: str
    examples: int  # of an operation
    walks: int  # along links
    cap_seconds: float

    def configuration(self) -> str:
        """The part of the configuration that goes with it."""
        bounds = {"fuzzing": self.examples, "stateful": self.walks}
        return "".join(f"\n[phases.{phase}.generation]\nmax-examples = {bound}\n" for phase, bound in bounds.items())


SHORT = Plan("coverage,fuzzing,stateful", 3, 50, CAP_SECONDS)
LONG = Plan("examples,coverage,fuzzing,stateful", 100, 1_000, 6 * 3600)


@dataclass
class Outcome:
    """What one process of schemathesis found."""

    role: str
    what: str
    status: int | None  # None: the time was over
    seconds: float
    output: str
    cases: int = 0
    operations: int = 0
    failures: int = 0
    answers: Counter[str] = field(default_factory=Counter)  # "operation status" → how often
    excused: Counter[int] = field(default_factory=Counter)


def run(role: str, what: str, selection: list[str], plan: Plan, running: system.System, directory: Path, deadline: float) -> Outcome:
    """One role over the selected operations."""
    name = f"{role.replace(' ', '-')}-{what.replace(' ', '-')}"
    report, counts = directory / f"{name}.json", directory / f"{name}.counts.json"
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(directory / CONFIGURATION)),
        *("run", str(directory / SCHEMA), "--url", running.base_url, "--no-color"),
        *("--report", "json", "--report-json-path", str(report), *selection),
    ]
    environment = running.environment | {
        "PYTHONPATH": str(ROOT),
        "DJANGO_SETTINGS_MODULE": "tools.schemathesis_settings",
        "SCHEMATHESIS_HOOKS": "tools.schemathesis_hooks",
        "SCHEMATHESIS_ACCOUNT": ROLES[role],
        "SCHEMATHESIS_ROLE": role.split()[0],
        "SCHEMATHESIS_COUNTS": str(counts),
        "PYTHONHASHSEED": "0",
    }
    began = time.monotonic()
    try:
        done = subprocess.run(
            command,
            cwd=directory,  # whatever it leaves behind
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=max(1.0, deadline - began),
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        output = late.stdout.decode(errors="replace") if isinstance(late.stdout, bytes) else late.stdout or ""
        return Outcome(role, what, None, time.monotonic() - began, output)
    outcome = Outcome(role, what, done.returncode, time.monotonic() - began, done.stdout)
    if report.exists():
        found = json.loads(report.read_text())
        cases, operations = found["test_cases"] or {}, found["operations"] or {}  # null when the schema could not be loaded
        outcome.cases, outcome.failures = cases.get("generated", 0), cases.get("unique_failures", 0)
        outcome.operations = operations.get("tested", 0)
    if counts.exists():
        counted = json.loads(counts.read_text())
        outcome.answers.update(counted["answers"])
        outcome.excused.update({int(index): times for index, times in counted["used"].items()})
    return outcome


def tell(outcome: Outcome) -> None:
    if outcome.status != 0:
        print(outcome.output)
    verdict = {0: "as promised", None: "OUT OF TIME"}.get(outcome.status, "FAILED")
    print(
        f"{outcome.role:16} {outcome.what:14} {outcome.operations:4} operations {outcome.cases:6} examples"
        f" {outcome.failures:3} failures {outcome.seconds:5.0f} s  {verdict}",
        flush=True,
    )


def report(outcomes: list[Outcome]) -> list[str]:
    """What was excused and why, and how far the examples reached; answers which operations nobody got a success from, unexplained."""
    answers: Counter[str] = sum((outcome.answers for outcome in outcomes), Counter())
    excused: Counter[int] = sum((outcome.excused for outcome in outcomes), Counter())
    print("\nExcused (tools/schemathesis_exclusions.py):")
    for index, row in enumerate(EXCLUSIONS):
        print(f"{excused[index]:6}  {row.reason}")
    statuses: Counter[str] = Counter()
    for key, times in answers.items():
        statuses[key.split()[1]] += times
    print("\nAnswers: " + ", ".join(f"{status}: {times}" for status, times in sorted(statuses.items())))
    print("Operations answered with success at least once:")
    for role in dict.fromkeys(outcome.role for outcome in outcomes):
        mine: Counter[str] = sum((outcome.answers for outcome in outcomes if outcome.role == role), Counter())
        print(f"{len(_reached(mine)):6} of {len(_called(mine))}  {role}")
    never = _called(answers) - _reached(answers)
    print(f"{len(_reached(answers)):6} of {len(_called(answers))}  somebody; never:")
    for name in sorted(never):
        print(f"        {name}: {NEVER.get(name, 'UNEXPLAINED: has it a recipe, and does that succeed here?')}")
    return sorted(never - NEVER.keys())


def _called(answers: Counter[str]) -> set[str]:
    return {key.split()[0] for key in answers}


def _reached(answers: Counter[str]) -> set[str]:
    return {key.split()[0] for key in answers if key.split()[1].startswith(("2", "3"))}


def play(plan: Plan, roles: Iterable[str], running: system.System, directory: Path, deadline: float) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for what, selection, phases in (
        ("everything", ["--exclude-operation-id", LAST], plan.phases),
        ("the deletion", ["--include-operation-id", LAST], "coverage,fuzzing"),
    ):
        with ThreadPoolExecutor(AT_ONCE) as pool:
            waiting = [
                pool.submit(run, role, what, [*selection, "--phases", phases], plan, running, directory, deadline) for role in roles
            ]
            for future in waiting:
                outcomes.append(future.result())
                tell(outcomes[-1])
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description="Hold the running system against its schema, as each role.")
    parser.add_argument("--long", action="store_true", help="many more examples, without a cap")
    parser.add_argument("--role", choices=list(ROLES), action="append", help="this role only (may be repeated)")
    parser.add_argument("--cap", type=float, help="seconds, with the start of the system; for a machine that does other things too")
    parser.add_argument("--directory", type=Path, help="keep the system's data there: the next run need not load the demo data")
    options = parser.parse_args()
    plan, roles = LONG if options.long else SHORT, options.role or list(ROLES)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="revsync-schemathesis-") as name:
        directory = (options.directory or Path(name)).absolute()
        directory.mkdir(exist_ok=True)
        directory.chmod(0o711)  # PostgreSQL's unprivileged user passes through
        with system.running(directory, module="tools.schemathesis_system") as running:
            print(f"the system is ready in {running.ready_seconds:.0f} s", flush=True)
            (directory / CONFIGURATION).write_text((ROOT / "tools" / CONFIGURATION).read_text() + plan.configuration())
            (directory / SCHEMA).write_bytes(requests.get(f"{running.base_url}/api/schema/", timeout=120).content)
            outcomes = play(plan, roles, running, directory, began + (options.cap or plan.cap_seconds))
    unexplained = report(outcomes)
    examples = sum(outcome.cases for outcome in outcomes)
    failed = [outcome for outcome in outcomes if outcome.status != 0]
    print(f"{len(roles)} roles, {examples} examples, {len(failed)} runs with failures, {time.monotonic() - began:.0f} s", flush=True)
    return 1 if failed or (unexplained and not options.role) else 0


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
