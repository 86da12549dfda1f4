"""The system that is hurt: on ports and data of its own, with its database and its payment server to look into."""

import contextlib
import json
import signal
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg2

from core.embedded import processes
from core.testing import process_tree

PARTS = {  # name → what stands in the command line of the supervisor's child
    "web": "gunicorn",
    "worker": "run_worker",
    "schedule": "run_schedule",
    "payments": "tools.faults.payments",
    "database": "postgres",
}
QUIET_WITHIN_SECONDS = 180
RUNTIME = "runtime.env"

# What is still under way: tasks that are due, and purchases whose truth the provider knows already.
BUSY = """
SELECT (SELECT count(*) FROM django_tasks_database_dbtaskresult
         WHERE status = 'RUNNING'
            OR status = 'READY' AND (run_after <= now() + interval '5 seconds' OR run_after > now() + interval '9 years')),
       (SELECT count(*) FROM marketplace_webhookevent WHERE status = 'RECEIVED')
"""

NEW_BUYERS = """
import json, random, sys
import django
django.setup()
from core import clock, tokens
from core.ids import new_id
from garage.tests.factories import VehicleFactory
from marketplace.models import Tune
from users.tests.factories import UserDeviceFactory, UserFactory

many, each, seed = {many}, {each}, {seed!r}
chance = random.Random(seed)
tunes = Tune.objects.filter(listed=True, price_minor__gt=0, latest_version__blocked_regions=[])
tunes = list(tunes.select_related("latest_version").order_by("id"))
buyers = []
for number in range(many):
    user = UserFactory(email=f"faults-{{new_id()}}@example.com", password="!")
    wishes = []
    for tune in chance.sample(tunes, each):
        file = tune.latest_version.files.order_by("position").first()
        fitment = file.fitments.order_by("position").first()
        vehicle = VehicleFactory(
            owner=user, kind=tune.kind, make=fitment.make_name, model=fitment.model_name, catalog_model=fitment.model,
            year=fitment.year_from, market=(fitment.markets or ["EU"])[0], with_stock=True,
            ecu_hardware_number=fitment.hardware_numbers[0], ecu_calibration_id=fitment.calibration_ids[0],
            ecu_image_size_bytes=fitment.image_size_bytes, fuel_octane=98, fuel_scale="RON",
        )
        wishes.append({{"tune": str(tune.pk), "vehicle": str(vehicle.pk), "price_minor": tune.price_minor, "currency": tune.currency}})
    session = UserDeviceFactory(user=user, installation_id=str(new_id()))
    buyers.append({{"id": str(user.pk), "refresh": tokens.mint_refresh(session), "wishes": wishes}})
print(json.dumps(buyers))
"""


class Stand(process_tree.System):
    """The running system and the handles to hurt it. Loaded with the demo data: tuners, tunes and their files."""

    module = "tools.faults.supervised"
    arguments = ("--end-with-parent",)

    def __init__(self, data: Path) -> None:
        super().__init__(data, demo=True)
        self.orders = data / "faults"
        self.orders.mkdir(parents=True, exist_ok=True)

    # Looking

    def runtime(self) -> dict[str, str]:
        """How the running system is reached."""
        return dict(line.split("=", 1) for line in (self.data / RUNTIME).read_text().splitlines() if "=" in line and line[0] != "#")

    def rows(self, sql: str, *parameters: Any) -> list[tuple]:
        """A query on the database, on a connection of its own."""
        with contextlib.closing(psycopg2.connect(self.runtime()["DATABASE_URL"])) as connection, connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall()

    def execute(self, sql: str) -> int:
        """A change of due dates in the database; returns how many rows."""
        with contextlib.closing(psycopg2.connect(self.runtime()["DATABASE_URL"])) as connection, connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.rowcount

    def send_events_again(self, *, days: float) -> int:
        """Let every event of the payment server be so old, and due once more; returns how many."""
        path = self.data / "payments" / "payments.sqlite3"
        with contextlib.closing(sqlite3.connect(path, timeout=20)) as store, store:
            store.execute(
                "UPDATE objects SET body = json_set(body, '$.created', json_extract(body, '$.created') - ?) WHERE kind = 'event'",
                (int(days * 86_400),),
            )
            return store.execute("UPDATE deliveries SET delivered = NULL, attempts = 0, due = 0").rowcount

    def provider(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """A call of the payment server: its API, or one of its switches."""
        runtime = self.runtime()
        request = urllib.request.Request(
            f"{runtime['STRIPE_API_BASE']}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {runtime['STRIPE_SECRET_KEY']}"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def everything_of(self, kind: str) -> Iterator[dict[str, Any]]:
        """All objects of a kind that the payment server has, newest first."""
        after = ""
        while True:
            page = self.provider("GET", f"/v1/{kind}?limit=100{after}")
            yield from page["data"]
            if not page["has_more"]:
                return
            after = f"&starting_after={page['data'][-1]['id']}"

    def make_buyers(self, many: int, *, each: int, seed: str) -> list[dict[str, Any]]:
        """Riders with a session and, for each of `each` tunes, a vehicle that it fits."""
        return json.loads(self.run(NEW_BUYERS.format(many=many, each=each, seed=seed)).splitlines()[-1])

    # Hurting

    def kill(self, part: str) -> bool:
        """kill -9 of a part and all below it, at once; whether it lived."""
        try:
            child = self.child(PARTS[part])
            members = [child, *child.children(recursive=True)]
        except (AssertionError, psutil.NoSuchProcess):
            return False
        for process in members:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        return True

    def signal_part(self, part: str, number: signal.Signals) -> psutil.Process:
        """Send a part's first process a signal."""
        child = self.child(PARTS[part])
        child.send_signal(number)
        return child

    @contextlib.contextmanager
    def order(self, name: str, text: str = "") -> Iterator[Path]:
        """An order of `tools.faults.inside`, until it is obeyed or the block ends."""
        path = self.orders / name
        path.write_text(text)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def provider_fault(self, **fault: Any) -> Iterator[None]:
        """The payment server misbehaves until the end of the block (`core.embedded.payments.faults`)."""
        self.provider("POST", "/_stand-in/faults", fault)
        try:
            yield
        finally:
            self.provider("DELETE", "/_stand-in/faults")

    @contextlib.contextmanager
    def one_more(self, *arguments: str, many: int = 1) -> Iterator[None]:
        """Further processes of a management command, beside the supervisor's."""
        environment = {"PATH": "/usr/bin:/bin", "REVSYNC_DATA_DIR": str(self.data), "DJANGO_SETTINGS_MODULE": "tools.faults.settings"}
        log = self.data / "logs" / f"more-{arguments[0]}.log"
        started: list[subprocess.Popen[bytes]] = []
        try:
            for _ in range(many):
                command = [process_tree.sys.executable, "manage.py", *arguments]
                started.append(processes.spawn(command, log=log, env=environment, cwd=process_tree.ROOT))
            yield
        finally:
            for process in started:
                processes.stop_child(process, grace_seconds=10)

    # Waiting

    def wait_until_up(self) -> float:
        """Until `/readyz` is 200 again; returns the seconds."""
        began = time.monotonic()
        self.wait_until(self.is_ready, seconds=QUIET_WITHIN_SECONDS)
        return time.monotonic() - began

    def is_busy(self) -> bool:
        """Whether a task is due, an event waits for its task, or one waits at the payment server."""
        try:
            tasks, events = self.rows(BUSY)[0]
            waiting = sum(row["delivered"] is None for row in self.provider("GET", "/_stand-in/deliveries")["deliveries"])
        except (psycopg2.Error, OSError, urllib.error.URLError):
            return True
        return bool(tasks or events or waiting)
