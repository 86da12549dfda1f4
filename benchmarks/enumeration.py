"""`make bench-enumeration`: does any answer tell whether somebody has an account, or whether a thing of somebody else's exists?

For each call that takes an address (or what an address led to), the same request goes out for addresses that are known,
unknown, of a closed, a blocked and a suspended account, and of one that is locked after failed log-ins: in turn, in an order
that is shuffled anew each round, over one connection to the real server with its worker beside it. Status, headers and the
body's shape have to be the same, and the medians of the times within 10 % of each other.

Every request comes from an address and a peer that were not used before, so no limit answers instead; only the locked
accounts' log-in is refused by one, and is compared with a locked address that nobody has.

In the same way things are asked for by somebody who has nothing: another's, by its right id, and one that does not exist.
"""

import argparse
import contextlib
import http.client
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.servers import APPLICATION, ROOT, Servers, python_version

HERE = Path(__file__).resolve().parent
BAR = 0.10
PASSWORD, WRONG_PASSWORD = "quiet-otter-lifts-9-anvils", "seven-slow-herons-wade"
KNOWN, UNKNOWN = "known", "unknown"
STANDINGS = ("known", "unknown", "closed", "blocked", "suspended", "locked")
VARYING_HEADERS = {"date", "x-request-id", "ratelimit", "content-length", "retry-after"}


@dataclass(frozen=True)
class Call:
    """One request: what is asked of whom."""

    path: str
    body: dict[str, Any] | None = None
    token: str = ""
    method: str = "POST"


@dataclass
class Case:
    """One kind of address under one operation, and what came back."""

    operation: str
    name: str
    calls: Iterator[Call]
    seconds: list[float] = field(default_factory=list)
    answers: set[str] = field(default_factory=set)  # status, header names and values, shape of the body

    @property
    def median_ms(self) -> float:
        return 1000 * statistics.median(self.seconds)


@dataclass(frozen=True)
class Row:
    """One operation: the medians of its cases, how far apart they are, and whether its answers are alike."""

    operation: str
    medians_ms: dict[str, float]
    quartiles_ms: dict[str, tuple[float, float]]
    status: str
    is_alike: bool

    @property
    def spread(self) -> float:
        """How much longer the slowest case takes than the quickest."""
        return round(max(self.medians_ms.values()) / min(self.medians_ms.values()) - 1, 4)

    @property
    def is_within_bar(self) -> bool:
        return self.is_alike and self.spread <= BAR


def row_of(cases: list[Case]) -> Row:
    """What one operation's cases say together."""
    answers = set().union(*(case.answers for case in cases))
    return Row(
        operation=cases[0].operation,
        medians_ms={case.name: round(case.median_ms, 2) for case in cases},
        quartiles_ms={case.name: _quartiles(case.seconds) for case in cases},
        status=", ".join(sorted({answer.split(" ")[0] for answer in answers})),
        is_alike=all(case.answers == cases[0].answers for case in cases) and len(answers) == 1,
    )


def _quartiles(seconds: list[float]) -> tuple[float, float]:
    low, _, high = statistics.quantiles(seconds, n=4) if len(seconds) > 1 else (seconds[0],) * 3
    return round(1000 * low, 2), round(1000 * high, 2)


class People:
    """Accounts by the hundred in each standing, each address good for one request."""

    def __init__(self) -> None:
        from django.contrib.auth.hashers import make_password

        self._numbers = count(1)
        self.password_hash = make_password(PASSWORD)

    def make(self, standing: str, many: int) -> list[str]:
        """Fresh addresses; of whoever is not `unknown` there is an account."""
        from core import clock, limits
        from tuners.tests.factories import TunerProfileFactory
        from users.models import User, UserProfile

        at = clock.now()
        addresses = [f"someone{next(self._numbers):06d}@example.com" for _ in range(many)]
        people = [
            User(
                email=address,
                password=self.password_hash,
                display_name="Someone",
                terms_version="2026-11-01",
                role="TUNER" if standing == "suspended" else "RIDER",
                is_active=standing != "closed",
                blocked_at=at if standing == "blocked" else None,
                blocked_reason="Sold stolen files" if standing == "blocked" else "",
            )
            for address in addresses
            if standing not in {UNKNOWN, "locked, unknown"}
        ]
        User.objects.bulk_create(people)
        UserProfile.objects.bulk_create([UserProfile(user=person) for person in people])
        if standing == "suspended":
            for person in people:
                TunerProfileFactory(user=person, suspended=True)
        if standing.startswith("locked"):
            for address in addresses:
                for _ in range(10):
                    limits.hit("login_failures_account", address, at=at)
        return addresses

    def sessions(self, many: int) -> list[str]:
        """Access tokens of people who confirmed a moment ago that it is them."""
        from core import clock, tokens
        from users.models import User, UserDevice

        at = clock.now()
        people = User.objects.filter(email__in=self.make(KNOWN, many))
        rows = UserDevice.objects.bulk_create(
            UserDevice(user=person, expires_at=at + timedelta(days=30), stepped_up_at=at, stepped_up_with="PASSWORD") for person in people
        )
        return [tokens.mint_access(row, at=at) for row in rows]


def operations(people: People, many: int) -> Iterator[Callable[[], list[Case]]]:
    """For each operation what makes its cases: just before it is measured, since codes and step-up last minutes."""
    from users.models import Challenge

    def cases(operation: str, names: tuple[str, ...], call: Callable[[str], Call]) -> list[Case]:
        return [Case(operation, name, iter([call(address) for address in people.make(name, many)])) for name in names]

    def register_body(address: str) -> dict[str, str]:
        return {"email": address, "password": PASSWORD, "display_name": "Someone", "terms_version": "2026-11-01"}

    def challenge_of(kind: str, name: str) -> list[uuid.UUID]:
        """Challenges as the services open them for addresses of a standing. One hash is enough for all: no code is given."""
        from core import clock
        from users import passwords, services

        at = clock.now()
        if kind == "REGISTER":
            with mock.patch.object(passwords, "hashed", return_value=people.password_hash):
                return [services.request_registration(**register_body(address), at=at).pk for address in people.make(name, many)]
        return [services.request_password_reset(email=address, at=at).pk for address in people.make(name, many)]

    def on_challenges(operation: str, kind: str, call: Callable[[uuid.UUID], Call]) -> list[Case]:
        made = [Case(operation, name, iter([call(pk) for pk in challenge_of(kind, name)])) for name in STANDINGS]
        assert Challenge.objects.filter(kind=kind).exists()
        return made

    yield lambda: cases("register", STANDINGS, lambda address: Call("auth/register/", register_body(address)))
    yield lambda: cases(
        "log in, wrong password",
        ("known", "unknown", "closed", "blocked", "suspended"),
        lambda address: Call("auth/login/", {"email": address, "password": WRONG_PASSWORD}),
    )
    yield lambda: cases(
        "log in, locked",
        ("locked", "locked, unknown"),
        lambda address: Call("auth/login/", {"email": address, "password": PASSWORD}),
    )
    yield lambda: [
        *cases("log in, right password of a closed account", ("closed",), lambda a: Call("auth/login/", {"email": a, "password": PASSWORD})),
        *cases("log in, right password of a closed account", ("unknown",), lambda a: Call("auth/login/", {"email": a, "password": PASSWORD})),
    ]
    yield lambda: cases("reset the password", STANDINGS, lambda address: Call("auth/password/reset/", {"email": address}))
    yield lambda: [
        Case(
            "change the address to",
            name,
            iter([Call("auth/email/change/", {"email": a}, t) for a, t in zip(people.make(name, many), people.sessions(many), strict=True)]),
        )
        for name in STANDINGS
    ]
    for kind, title in (("REGISTER", "a registration"), ("PASSWORD_RESET", "a reset")):
        yield lambda kind=kind, title=title: on_challenges(
            f"resend the code of {title}", kind, lambda pk: Call(f"auth/challenges/{pk}/resend/")
        )
    yield lambda: on_challenges(
        "wrong code of a registration", "REGISTER", lambda pk: Call("auth/verify-email/", {"challenge_id": str(pk), "code": "000000"})
    )
    yield lambda: on_challenges(
        "wrong code of a reset",
        "PASSWORD_RESET",
        lambda pk: Call(
            "auth/password/reset/confirm/", {"challenge_id": str(pk), "code": "000000", "new_password": "nine-tall-cranes-sleep"}
        ),
    )


THINGS = {
    "read another's vehicle": "get_vehicle",
    "delete another's vehicle": "delete_vehicle",
    "read another's stock image": "get_stock_file",
    "read another's purchase": "get_purchase",
    "cancel another's purchase": "cancel_purchase",
    "release another's license": "release_license",
    "download another's purchase": "create_download",
    "renew another's link": "renew_download_link",
    "read a tuner's unpublished version": "get_tune_version",
    "rename another's device": "change_my_device",
    "end another's session": "revoke_my_device",
    "mark another's notice": "read_my_notice",
    "read another's upload": "get_upload",
    "change another's review": "change_review",
}
FOREIGN, MISSING = "another's", "missing"
EACH = 10  # so many things in turn, as many ids that nothing has


def things(people: People, many: int) -> Iterator[Callable[[], list[Case]]]:
    """For each operation on somebody's thing: by people who have nothing, another's thing and a missing one."""
    from core.renderers import dumps
    from core.testing.matrix import missing_like, url_of
    from revsync_backend.tests import recipes
    from revsync_backend.tests.world import World, build
    from revsync_backend.urls import all_endpoints

    endpoints = {endpoint.name: endpoint for endpoint in all_endpoints()}
    worlds: list[World] = []

    def cases(operation: str, name: str) -> list[Case]:
        world = worlds[0] if worlds else build()
        worlds[:] = [world]
        endpoint, paths = endpoints[name], []
        for _ in range(EACH if name != "get_tune_version" else 1):
            made = recipes.recipe_for(name)(world.kit("rider"), world)
            paths.append(made.path)
        if name == "get_tune_version":  # the recipe's is everybody's
            paths = [{"version": world.kit("tuner").draft.versions.get().pk}]
        body = None if made.body is None else json.loads(dumps(made.body))
        named = {FOREIGN: paths, MISSING: [{part: missing_like(value) for part, value in paths[0].items()} for _ in paths]}
        return [
            Case(
                operation,
                case,
                iter(
                    [
                        Call(url_of(endpoint, ids[number % len(ids)]).removeprefix("/api/v1/"), body, token, endpoint.method)
                        for number, token in enumerate(people.sessions(many))
                    ]
                ),
            )
            for case, ids in named.items()
        ]

    for operation, name in THINGS.items():
        yield lambda operation=operation, name=name: cases(operation, name)


class Sender:
    """Requests over one kept connection, each from a peer of its own: the benchmark stands where the trusted proxy does."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._peers = count(1)

    def send(self, call: Call) -> tuple[float, str]:
        """Seconds until the answer is read, and what it looks like."""
        peer = next(self._peers)
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "X-Forwarded-For": f"10.{peer >> 16 & 255}.{peer >> 8 & 255}.{peer & 255}",
        }
        if call.token:
            headers["Authorization"] = f"Bearer {call.token}"
        body = None if call.method in {"GET", "DELETE"} else json.dumps(call.body or {}).encode()
        began = time.perf_counter()
        self.connection.request(call.method, f"/api/v1/{call.path}", body, headers)
        answer = self.connection.getresponse()
        content = answer.read()
        seconds = time.perf_counter() - began
        return seconds, look(answer.status, dict(answer.getheaders()), json.loads(content) if content else None)


def look(status: int, headers: dict[str, str], body: Any) -> str:
    """All of an answer that could tell two kinds of addresses apart: ids, times and counts of this very request aside."""
    kept = {name.lower(): "" if name.lower() in VARYING_HEADERS else value for name, value in headers.items()}
    return f"{status} {json.dumps([kept, _shape(body)], sort_keys=True)}"


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shape(member) if name not in {"instance", "request_id"} else "text" for name, member in value.items()}
    if isinstance(value, list):
        return [_shape(member) for member in value]
    if isinstance(value, str) and len(value) == 36 and value.count("-") == 4:
        return "id"
    return value


def wait_for_the_worker(*, at_most_seconds: float = 5.0) -> None:
    """Until the worker has nothing left to do: whoever looks closest waits too, and mails of the call before would blur the next."""
    from django_tasks_db.models import DBTaskResult

    from core import clock

    undone = DBTaskResult.objects.filter(status__in=["READY", "RUNNING"], run_after__lte=clock.now())
    deadline = time.monotonic() + at_most_seconds
    while undone.exists() and time.monotonic() < deadline:
        time.sleep(0.002)


def measure(
    cases: list[Case], sender: Sender, *, rounds: int, warm_up: int, before_each: Callable[[], None] = lambda: None, seed: int = 7
) -> Row:
    """Call every case once a round, in an order that is shuffled anew each time."""
    order = random.Random(seed)
    sender.connection.close()  # the server ended it while the cases were made
    for number in range(warm_up + rounds):
        for case in order.sample(cases, len(cases)):
            before_each()
            seconds, answer = sender.send(next(case.calls))
            case.answers.add(answer)
            if number >= warm_up:
                case.seconds.append(seconds)
    return row_of(cases)


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = [
        "| call | status | medians, ms | slowest over quickest | answers | bar 10 % |",
        "| --- | ---: | --- | ---: | --- | --- |",
    ]
    for row in rows:
        medians = " · ".join(f"{name} {median:.2f}" for name, median in row.medians_ms.items())
        verdict = "reached" if row.is_within_bar else "**missed**"
        answers = "alike" if row.is_alike else "**differ**"
        lines.append(f"| {row.operation} | {row.status} | {medians} | {row.spread:.1%} | {answers} | {verdict} |")
    return "\n".join(lines)


def write(directory: Path, rows: list[Row], conditions: dict[str, Any]) -> None:
    """`enumeration.md` and `enumeration.json`."""
    directory.mkdir(parents=True, exist_ok=True)
    reached = sum(row.is_within_bar for row in rows)
    text = f"""# Does an answer tell who has an account, or what there is?

{reached} of {len(rows)} calls answer alike for every kind of address, and for another's thing and a missing one, in times whose
medians are within 10 % of each other.

{table(rows)}

Each case was called {conditions["rounds"]} times after {conditions["warm_up"]} that do not count, in turn with the others and in an order shuffled
anew each round, over one connection to the server that `make run` starts, with a worker that sends the mails beside it; each call waits until
the worker has done what the one before left, as an attacker would who wants to see clearly. "Alike" is status, every header and
the whole body, ids, dates and the count of the limit aside. *Locked* is an address with ten failed log-ins: its log-in is refused, whether or
not there is an account. Things are asked for by people who have none: {EACH} of somebody else's in turn, by their right ids, and ids
that nothing has. Quartiles and conditions stand in `enumeration.json`; `make bench-enumeration` measures anew.
"""
    (directory / "enumeration.md").write_text(text)
    results = [
        {
            "call": row.operation,
            "status": row.status,
            "medians_ms": row.medians_ms,
            "quartiles_ms": row.quartiles_ms,
            "spread": row.spread,
            "alike": row.is_alike,
            "within_bar": row.is_within_bar,
        }
        for row in rows
    ]
    (directory / "enumeration.json").write_text(json.dumps({"conditions": conditions, "calls": results}, indent=2) + "\n")


@contextlib.contextmanager
def system() -> Iterator[int]:
    """Database, storage, web server and worker; the web server's port."""
    import django
    from django.core.management import call_command

    from core.embedded import processes

    servers, worker = Servers(), None
    try:
        servers.start()
        os.environ["TRUSTED_PROXY_HOPS"] = "1"
        django.setup()
        call_command("migrate", verbosity=0, interactive=False, skip_checks=True)
        servers.start_web(APPLICATION)
        command = [sys.executable, str(ROOT / "manage.py"), "run_worker", "--skip-checks"]
        worker = processes.spawn(command, log=servers.directory / "worker.log", env=dict(os.environ), cwd=ROOT)
        yield servers.ports[APPLICATION]
    finally:
        if isinstance(worker, subprocess.Popen):
            processes.stop_child(worker)
        servers.stop()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.enumeration", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--warm-up", type=int, default=20)
    parser.add_argument("--only", help="a piece of the names of the calls to measure; then nothing is written")
    parser.add_argument("--output", type=Path, default=HERE)
    chosen = parser.parse_args()
    began = time.monotonic()
    conditions: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="minutes"),
        "python": python_version(),
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "rounds": chosen.rounds,
        "warm_up": chosen.warm_up,
        "load_before": round(os.getloadavg()[0], 1),
    }
    rows = []
    with system() as port:
        sender = Sender(port)
        people, many = People(), chosen.rounds + chosen.warm_up
        for make_cases in (*operations(people, many), *things(people, many)):
            cases = make_cases()
            if chosen.only and chosen.only not in cases[0].operation:
                continue
            rows.append(measure(cases, sender, rounds=chosen.rounds, warm_up=chosen.warm_up, before_each=wait_for_the_worker))
            print(f"{time.monotonic() - began:5.0f} s  {table(rows[-1:]).splitlines()[-1]}", flush=True)
    conditions["load_after"], conditions["seconds"] = round(os.getloadavg()[0], 1), round(time.monotonic() - began)
    if not chosen.only:
        write(chosen.output, rows, conditions)
    return 0 if all(row.is_within_bar for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
