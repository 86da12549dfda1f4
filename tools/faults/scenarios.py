"""What is done to the system while people buy: one function each, given the stand, a source of chance and whether time is short.

A scenario returns a sentence on what it did, with figures; raises NotDone when it could not do it at all (it then fails).
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from core.embedded import processes
from tools.faults.points import BUYING, GIVING_BACK, PAYING_OUT, PAYMENT_SERVER, SCHEDULE, Point
from tools.faults.stand import Stand

POINT_WITHIN_SECONDS = 90
BACK_WITHIN_SECONDS = 120


class NotDone(Exception):
    """The fault could not be made, so nothing was shown."""


class NotPossibleHere(Exception):
    """This machine does not allow it; the report says so."""


@dataclass(frozen=True)
class Setting:
    """What a scenario works with."""

    stand: Stand
    chance: random.Random
    is_short: bool
    is_over: Callable[[], bool]  # nobody buys any more
    is_settled: Callable[[], bool]  # the database knows what the payment server knows

    def pick(self, short: int, long: int) -> int:
        """How often, or for how many seconds."""
        return short if self.is_short else long


@dataclass(frozen=True)
class Scenario:
    """`buyers` in the short and the long form; `may_refuse` where honest clients may meet a 4xx meanwhile."""

    name: str
    act: Callable[[Setting], str]
    what: str
    buyers: tuple[int, int] = (8, 16)
    may_refuse: bool = False
    may_fail: bool = True  # a request without an answer, or a 503
    is_long: bool = False  # left out of the short form
    drop_replies: int = 0


def _for_a_while(setting: Setting, seconds: float) -> None:
    time.sleep(min(seconds, 5) if setting.is_over() else seconds)


def calm(setting: Setting) -> str:
    while not setting.is_over():
        time.sleep(0.2)
    return "nothing was done: what the others are compared with"


def points(setting: Setting) -> str:
    """Each point in an order of chance, once or three times: the process that passes it next dies there.

    In the short form the payment server and the schedule die at two points each, by chance.
    """
    known, kills = BUYING + GIVING_BACK, 0
    for others in (PAYMENT_SERVER, SCHEDULE):
        known += tuple(setting.chance.sample(others, setting.pick(2, len(others))))
    for _ in range(setting.pick(1, 3)):
        for point in setting.chance.sample(known, len(known)):
            _kill_at(setting.stand, point)
            kills += 1
            setting.stand.wait_until_up()
    if lost := setting.stand.rows(SLOTS_WITHOUT_A_TASK):
        raise NotDone(f"a slot of {', '.join(name for (name,) in lost)} was taken, and no task was queued for it")
    names = {part: [point.name for point in known if point.process == part] for part in ("web", "worker", "payments", "schedule")}
    return f"killed {kills} times at {len(known)} points: " + "; ".join(f"{part} at {', '.join(of)}" for part, of in names.items())


def _kill_at(stand: Stand, point: Point) -> None:
    with stand.order(f"point-{point.name}") as order:

        def is_passed() -> bool:
            if point.process == "schedule" and order.exists():
                stand.execute(DUE_NOW)  # due dates are moved, never a clock
            return not order.exists()

        if not processes.wait_until(is_passed, seconds=POINT_WITHIN_SECONDS, pause=0.2):
            raise NotDone(f"nobody passed the point {point.name!r} within {POINT_WITHIN_SECONDS} s")


DUE_NOW = """
UPDATE core_scheduleentry SET slot_at = slot_at - interval '1 minute' WHERE name IN ('watch_provider', 'reconcile_recent_purchases')
"""
# Taking a slot and queueing its task is one transaction; what has run is kept for days.
SLOTS_WITHOUT_A_TASK = """
SELECT name FROM core_scheduleentry e
 WHERE slot_at IS NOT NULL AND NOT EXISTS (SELECT FROM django_tasks_database_dbtaskresult t WHERE t.id = e.task_id)
"""


def payouts(setting: Setting) -> str:
    """Every tuner is paid at once, and the worker dies at each point in turn; the payouts behind lead it to the next one."""
    stand, kills = setting.stand, 0
    tuners = int(stand.run(ONBOARD).splitlines()[-1])
    for round_ in range(1, setting.pick(1, 3) + 1):
        with contextlib.ExitStack() as orders:
            waiting = [orders.enter_context(stand.order(f"point-{point.name}")) for point in PAYING_OUT]
            made = int(stand.run(MAKE_PAYOUTS.format(days=40 + 7 * round_)).splitlines()[-1])
            processes.wait_until(lambda waiting=waiting: not any(order.exists() for order in waiting), seconds=POINT_WITHIN_SECONDS)
            left = [order.name for order in waiting if order.exists()]
        kills += len(waiting) - len(left)
        if round_ == 1 and left:
            raise NotDone(f"{made} payouts were made, and nobody passed {', '.join(left)}")
        _for_a_while(setting, 10)
    went_out = stand.rows("SELECT count(*) FROM marketplace_payout WHERE transfer_id IS NOT NULL")[0][0]
    return f"{went_out} payouts to {tuners} tuners, {kills} kills at {len(PAYING_OUT)} points"


ONBOARD = """
import django
django.setup()
import requests
from core import clock
from marketplace.models import PayoutAccount
from marketplace.services import payout_accounts
from tuners.models import TunerProfile
from users.models import User
tuners = TunerProfile.objects.active().filter(kind="TUNER").select_related("user")
for tuner in tuners:
    User.objects.filter(pk=tuner.user_id, mfa_enabled_at=None).update(mfa_enabled_at=clock.now())
    row, url, _ = payout_accounts.open_onboarding(user=tuner.user, at=clock.now())
    if row.state != "ACTIVE":
        requests.get(url, timeout=30)
        requests.post(url, data={"outcome": "complete"}, timeout=30, allow_redirects=False)
        payout_accounts.recheck_account(account_id=row.account_id, at=clock.now())
print(PayoutAccount.objects.filter(state="ACTIVE").count())
"""

MAKE_PAYOUTS = """
import django
django.setup()
from datetime import timedelta
from core import clock
from marketplace.services import payouts
print(payouts.make_payouts(at=clock.now() + timedelta(days={days})))
"""


def random_kills(setting: Setting) -> str:
    kills, wanted = dict.fromkeys(("web", "worker", "schedule", "payments"), 0), setting.pick(12, 100)
    while sum(kills.values()) < wanted:
        part = setting.chance.choice(list(kills))
        kills[part] += setting.stand.kill(part)  # what is dead at that moment does not count
        time.sleep(setting.chance.uniform(0.2, 2.5))
    of_each = ", ".join(f"{part} {times} times" for part, times in kills.items())
    return f"kill -9 at {sum(kills.values())} random moments: {of_each}"


def database_killed(setting: Setting) -> str:
    longest = 0.0
    times = setting.pick(1, 5)
    for _ in range(times):
        setting.stand.kill("database")
        time.sleep(0.5)
        longest = max(longest, setting.stand.wait_until_up())
        _for_a_while(setting, 4)
    return f"kill -9 of the database {times} times, ready again after {longest:.1f} s at most"


def connections_gone(setting: Setting) -> str:
    url, taken = setting.stand.runtime()["DATABASE_URL"], []
    seconds = setting.pick(8, 20)
    deadline = time.monotonic() + seconds
    most = 0
    try:
        while time.monotonic() < deadline:
            try:
                taken.append(psycopg2.connect(url))
                most = max(most, len(taken))
            except psycopg2.OperationalError:
                time.sleep(0.1)  # whoever of the application lets one go finds us quicker
    finally:
        for connection in taken:
            connection.close()
    if most < 10:
        raise NotDone(f"only {most} connections could be taken")
    return f"all connections of the database taken for {seconds} s ({most} of them ours)"


def rogue_locks(setting: Setting) -> str:
    held = []
    for table in ("marketplace_purchase", "marketplace_license", "users_user")[: setting.pick(1, 3)]:
        with contextlib.closing(psycopg2.connect(setting.stand.runtime()["DATABASE_URL"])) as connection, connection.cursor() as cursor:
            cursor.execute(f"SET statement_timeout = '30s'; SET lock_timeout = '30s'; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            seconds = setting.pick(8, 15)
            time.sleep(seconds)
            held.append(f"{table} for {seconds} s")
    return "a session that is not ours locked " + ", ".join(held)


def webhooks_lost(setting: Setting) -> str:
    """An hour without webhooks: what was paid meanwhile has run out by then, and is looked at by expiry before anybody else."""
    stand = setting.stand
    stand.provider("POST", "/_stand-in/webhooks", {"off": True})
    try:
        while not setting.is_over():
            time.sleep(0.2)
        lost = sum(row["delivered"] is None for row in stand.provider("GET", "/_stand-in/deliveries")["deliveries"])
        waiting = stand.execute(AN_HOUR_LATER)
        began = time.monotonic()
        if not processes.wait_until(setting.is_settled, seconds=90, pause=1):
            raise NotDone("90 s without webhooks, and nobody has found what was paid")
        took = time.monotonic() - began
        late = stand.send_events_again(days=2.5)
    finally:
        stand.provider("POST", "/_stand-in/webhooks", {"off": False, "repeat": 9, "shuffle": True})
    if not processes.wait_until(lambda: not stand.is_busy(), seconds=180, pause=1):
        raise NotDone("180 s, and events still come")
    stand.provider("POST", "/_stand-in/webhooks", {"off": False, "repeat": 0, "shuffle": False})
    return (
        f"{lost} events lost, {waiting} purchases let run out: all found {took:.0f} s later;"
        f" then {late} events came, 2.5 days old, ten times each, shuffled"
    )


AN_HOUR_LATER = """
UPDATE marketplace_purchase SET expires_at = expires_at - interval '61 minutes' WHERE status = 'PENDING' AND expires_at IS NOT NULL
"""


def provider_down(setting: Setting) -> str:
    return _provider_modes(setting, ("down", "rate_limit", "error"))


def provider_acts_and_is_silent(setting: Setting) -> str:
    return _provider_modes(setting, ("time_out_after", "cut_after", "error_saved", "slow"))


def _provider_modes(setting: Setting, modes: tuple[str, ...]) -> str:
    seconds = setting.pick(6, 20)
    for mode in modes:
        with setting.stand.provider_fault(mode=mode, seconds=3, times=None, path="/v1/"):
            _for_a_while(setting, seconds)
        _for_a_while(setting, 2)
    return f"payment server: {', '.join(modes)}, each for {seconds} s"


def replies_dropped(setting: Setting) -> str:
    calm(setting)
    return "each client hangs up twice before it reads an answer: every request comes three times"


def clock_steps(setting: Setting) -> str:
    for seconds in (600, -600):
        with setting.stand.order("clock", str(seconds)):
            _for_a_while(setting, setting.pick(6, 15))
        _for_a_while(setting, 3)
    return "the web process's clock ten minutes ahead, then ten behind, then right"


def rolling_restart(setting: Setting) -> str:
    times = setting.pick(2, 6)
    for _ in range(times):
        setting.stand.signal_part("web", signal.SIGHUP)  # gunicorn starts a new worker process and lets the old one finish
        _for_a_while(setting, 4)
        setting.stand.signal_part("worker", signal.SIGTERM)
        _for_a_while(setting, 4)
    return f"web and worker restarted {times} times by their own signals"


def two_of_each(setting: Setting) -> str:
    with setting.stand.one_more("run_worker", many=2), setting.stand.one_more("run_schedule"):
        while not setting.is_over():
            time.sleep(0.2)
        time.sleep(setting.pick(5, 65))
    return "two more workers and one more schedule beside ours, each with its reconciler"


def disk_full(setting: Setting) -> str:
    """On a stand of its own, whose data lies on a small file system."""
    stand, filler = setting.stand, setting.stand.data / "filler"
    free = shutil.disk_usage(stand.data).free
    if free > 8 << 30:
        raise NotPossibleHere("a small file system can't be mounted here")
    seconds = setting.pick(8, 20)
    try:
        with filler.open("wb") as file, contextlib.suppress(OSError):
            while True:
                file.write(os.urandom(1 << 20))
        _for_a_while(setting, seconds)
    finally:
        filler.unlink()
    took = stand.wait_until_up()
    return f"the file system of database, files and payment server full for {seconds} s; ready {took:.1f} s after there was room"


@contextlib.contextmanager
def small_disk(at: Path, megabytes: int) -> Iterator[Path]:
    """A file system of so many megabytes at `at`; the plain directory where mounting is not allowed."""
    at.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0711", "tmpfs", str(at)], capture_output=True, check=False
    ).returncode == 0  # fmt: skip
    try:
        yield at
    finally:
        if mounted:
            processes.wait_until(lambda: subprocess.run(["umount", str(at)], capture_output=True, check=False).returncode == 0, seconds=20)


SCENARIOS = (
    Scenario("calm", calm, "nothing", is_long=True),
    Scenario("points", points, "kill -9 between the steps", buyers=(100, 120)),
    Scenario("payouts", payouts, "kill -9 in the middle of payouts", buyers=(16, 60)),
    Scenario("random-kills", random_kills, "kill -9 at random moments", buyers=(40, 120), is_long=True),
    Scenario("database", database_killed, "the database is killed and comes back", buyers=(16, 30)),
    Scenario("connections", connections_gone, "no connection is left", buyers=(16, 40), is_long=True),
    Scenario("locks", rogue_locks, "a foreign session holds locks", buyers=(16, 40), is_long=True),
    Scenario("webhooks", webhooks_lost, "webhooks lost, then repeated and shuffled"),
    Scenario("provider-down", provider_down, "the payment server refuses", buyers=(24, 40), is_long=True),
    Scenario("provider-silent", provider_acts_and_is_silent, "the payment server acts and does not answer", buyers=(24, 50)),
    Scenario("replies-dropped", replies_dropped, "clients lose two answers of three", drop_replies=2, is_long=True),
    Scenario("clock", clock_steps, "the web process's clock steps", buyers=(16, 40), may_refuse=True, is_long=True),
    Scenario("rolling-restart", rolling_restart, "web and worker are restarted in turn", buyers=(20, 30), may_fail=False),
    Scenario("two-of-each", two_of_each, "two reconcilers, two schedules", is_long=True),
    Scenario("disk-full", disk_full, "the disk is full", buyers=(12, 30), is_long=True),
)
