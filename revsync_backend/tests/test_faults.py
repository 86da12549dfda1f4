"""The whole running system in trouble: real processes that hang, die and come back, and many requests at once.

"Frozen" is SIGSTOP: the port still takes connections and nobody ever answers, the worst that a dependency can do to a server
with four threads. "Gone" is kill -9, with the supervisor kept from starting it again meanwhile.
"""

import contextlib
import json
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable
from typing import Any

import psycopg2
import pytest

from core.testing.process_tree import Answer, System

pytestmark = [pytest.mark.xdist_group("faults"), pytest.mark.timeout(600)]

NEW_WAVE_SECONDS = 12  # what the first to meet a frozen dependency may wait: its time-outs
DATABASE, STORAGE, PAYMENTS, WORKER = "/postgres -D", "weed", "core.embedded.payments", "run_worker"
DISASTERS = pytest.mark.parametrize("disaster", ["frozen", "gone"])

WORLD = """
import json
import django
django.setup()
from core import clock, storage, tokens
from garage.tests.factories import VehicleFactory
from marketplace.tests.factories import released_tune
from users.tests.factories import UserDeviceFactory, UserFactory

rider = UserFactory()
device = UserDeviceFactory(user=rider)
picture = "images/ab/" + "ab" * 32 + "-" + "c" * 12 + ".webp"
storage.put_bytes(picture, b"RIFF....WEBP", "image/webp", bucket=storage.PUBLIC)
print(json.dumps({
    "token": tokens.mint_access(device, at=clock.now()),
    "vehicle": str(VehicleFactory(owner=rider, with_stock=True, vin="JYARN53E1MA000042").pk),
    "picture": "/media/" + picture,
    "free": [str(released_tune(free=True).pk) for _ in range(5)],
    "paid": [str(released_tune().pk) for _ in range(20)],
}))
"""
COUNTED = ("core_upload", "core_idempotencyrecord", "marketplace_download", "marketplace_license", "marketplace_purchase")


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    running = System(tmp_path_factory.mktemp("faults") / "data")
    running.start_and_wait()
    yield running
    running.clean_up()


class World:
    """A rider with a fitting bike and one tune, twenty more to buy and four to take, on the running system."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.facts = json.loads(system.run(WORLD).splitlines()[-1])
        self.runtime = dict(line.split("=", 1) for line in (system.data / "runtime.env").read_text().splitlines() if "=" in line)
        self.attestation = system.ask("GET", "/api/v1/meta/").json()["texts"]["attestation"]["version"]
        self.purchase = self.take(self.facts["free"].pop()).json()["id"]

    def call(self, method: str, path: str, body: Any = None, *, key: str = "") -> Answer:
        headers = {"Idempotency_Key": key or uuid.uuid4().hex} if method == "POST" else {}
        return self.system.ask(method, f"/api/v1/{path}", body, token=self.facts["token"], **headers)

    def buy(self, tune_id: str, *, price_minor: int = 14_900, key: str = "") -> Answer:
        wish = {
            "tune": tune_id,
            "vehicle": self.facts["vehicle"],
            "expected_price_minor": price_minor,
            "currency": "EUR",
            "attestation": {"text_version": self.attestation, "accepted": True},
        }
        return self.call("POST", "marketplace/purchases/", wish, key=key)

    def take(self, tune_id: str) -> Answer:
        return self.buy(tune_id, price_minor=0)

    def upload(self) -> Answer:
        promise = {"purpose": "STOCK_FILE", "name": "stock.bin", "size_bytes": 4096, "sha256": "0" * 64}
        return self.call("POST", "uploads/", {**promise, "content_type": "application/octet-stream"})

    def download(self) -> Answer:
        return self.call("POST", f"marketplace/purchases/{self.purchase}/downloads/", {"vehicle": self.facts["vehicle"]})

    def browse(self) -> Answer:
        return self.system.ask("GET", "/api/v1/marketplace/tunes/")

    def purchases_of(self, tune_id: str) -> list[dict]:
        page = self.call("GET", "marketplace/purchases/?page_size=100").json()
        assert page["next"] is None
        return [row for row in page["results"] if row["tune"]["id"] == tune_id]

    def intents_of(self, purchase_id: str) -> list[dict]:
        request = urllib.request.Request(
            f"{self.runtime['STRIPE_API_BASE']}/v1/payment_intents?limit=100",
            headers={"Authorization": f"Bearer {self.runtime['STRIPE_SECRET_KEY']}"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return [row for row in json.load(answer)["data"] if row["metadata"].get("purchase") == purchase_id]

    def count(self) -> dict[str, int]:
        """Rows of what a request might leave half-made."""
        with contextlib.closing(psycopg2.connect(self.runtime["DATABASE_URL"])) as connection, connection.cursor() as cursor:
            counts = {}
            for table in COUNTED:
                cursor.execute(f"SELECT count(*) FROM {table}")
                counts[table] = cursor.fetchone()[0]
            return counts


@pytest.fixture(scope="module")
def world(system):
    return World(system)


@pytest.fixture(autouse=True)
def _whole_again(system, world):
    """Every test begins with a system that is ready."""
    system.wait_until(system.is_ready)


def at_once(*acts: Callable[[], Answer]) -> list[Answer]:
    """All of them from the same moment on."""
    answers: list[Answer | None] = [None] * len(acts)
    start = threading.Barrier(len(acts))

    def act(number: int) -> None:
        start.wait()
        answers[number] = acts[number]()

    threads = [threading.Thread(target=act, args=(number,)) for number in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [answer for answer in answers if answer is not None]


def assert_unavailable(answer: Answer, service: str) -> None:
    assert answer.status == 503, answer
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert (answer.json()["code"], answer.json()["service"]) == ("service_unavailable", service)
    assert int(answer.headers["Retry-After"]) >= 1


@DISASTERS
def test_without_storage_browsing_and_buying_go_on_and_nothing_is_half_made(system, world, disaster):
    world.download()
    before = world.count()
    with getattr(system, disaster)(STORAGE):
        time.sleep(5.1)  # what storage last said counts for five seconds

        *refused, browsed, alive = at_once(*[world.upload] * 5, *[world.download] * 3, world.browse, lambda: system.ask("GET", "/livez"))

        for answer in refused:
            assert_unavailable(answer, "storage")
        assert (browsed.status, alive.status) == (200, 200)
        assert max(browsed.seconds, alive.seconds) < system.allowance(NEW_WAVE_SECONDS)
        assert world.count() == before
        taken, reserved = world.take(world.facts["free"].pop()), world.buy(world.facts["paid"].pop())
        assert (taken.status, taken.json()["status"]) == (201, "PAID")
        assert (reserved.status, reserved.json()["status"]) == (201, "PENDING")
        assert reserved.json()["payment"]["client_secret"]
        assert [part["name"] for part in system.ask("GET", "/readyz").json()["failing"]] == ["storage"]

    system.wait_until(lambda: world.upload().status == 201)
    assert world.download().status == 201


@DISASTERS
def test_without_the_database_what_does_not_need_it_still_answers(system, world, disaster):
    tune = world.facts["paid"].pop()
    picture = world.facts["picture"]
    with getattr(system, disaster)(DATABASE):
        needs = [
            world.browse,
            world.upload,
            world.download,
            lambda: world.buy(tune),
            lambda: world.call("GET", "users/me/"),
            lambda: system.ask("POST", "/api/v1/auth/login/", {"email": "a@example.com", "password": "long enough to try"}),
        ]
        needs_not = [lambda path=path: system.ask("GET", path) for path in ("/livez", "/api/schema/", "/api/docs/", "/api/redoc/", picture)]

        first = at_once(*needs, *needs_not)
        again = at_once(*needs, *needs_not)

        for answers in (first, again):
            for answer in answers[: len(needs)]:
                assert_unavailable(answer, "database")
            assert [answer.status for answer in answers[len(needs) :]] == [200] * len(needs_not)
        assert max(answer.seconds for answer in again) < system.allowance(NEW_WAVE_SECONDS)
        assert "database" in {part["name"] for part in system.ask("GET", "/readyz").json()["failing"]}

    system.wait_until(system.is_ready)
    assert world.browse().status == 200
    assert world.purchases_of(tune) == []
    assert world.buy(tune).status == 201


@DISASTERS
def test_without_the_payment_server_a_purchase_waits_and_goes_on_with_the_same_request(system, world, disaster):
    tunes = [world.facts["paid"].pop() for _ in range(5)]
    keys = [uuid.uuid4().hex for _ in tunes]

    def buy(number: int) -> Answer:
        return world.buy(tunes[number], key=keys[number])

    with getattr(system, disaster)(PAYMENTS):
        *refused, browsed = at_once(*[lambda number=number: buy(number) for number in range(len(tunes))], world.browse)

        for answer in refused:
            assert_unavailable(answer, "payments")
        assert browsed.status == 200
        assert [row["status"] for tune in tunes for row in world.purchases_of(tune)] == ["PENDING"] * len(tunes)
        assert world.take(world.facts["free"].pop()).status == 201
        assert system.is_ready(), "nobody else is sent away because of it"

    for number, tune in enumerate(tunes):
        system.wait_until(lambda number=number: buy(number).status in {200, 201})
        (purchase,) = world.purchases_of(tune)
        assert len(world.intents_of(purchase["id"])) == 1
    system.manage("verify_invariants")


def test_twenty_purchases_at_once_are_one_purchase_and_one_intent(system, world):
    tune = world.facts["paid"].pop()

    answers = at_once(*[lambda: world.buy(tune)] * 20)

    assert sorted(answer.status for answer in answers) == [200] * 19 + [201]
    (purchase,) = world.purchases_of(tune)
    assert {answer.json()["id"] for answer in answers} == {purchase["id"]}
    assert len(world.intents_of(purchase["id"])) == 1


def test_twenty_grants_at_once_are_twenty_rows_and_one_license(system, world):
    world.download()
    before = world.count()

    answers = at_once(*[world.download] * 20)

    assert [answer.status for answer in answers] == [201] * 20
    assert len({answer.json()["id"] for answer in answers}) == 20
    after = world.count()
    assert [after[table] - before[table] for table in ("marketplace_download", "marketplace_license")] == [20, 0]


def test_twenty_pieces_of_garbage_at_once_are_twenty_refusals_and_change_nothing(system, world):
    before = world.count()
    path, token = "/api/v1/uploads/", world.facts["token"]
    bodies = [
        b"", b"{", b"\xff\xfe", b"null", b"[]", b'"text"', b"1e400", b'{"purpose": NaN}', b"[" * 100_000, b'{"a":' * 50_000,
        b'{"purpose": "STOCK_FILE", "purpose": "AVATAR"}', b'{"name": "\\u0000"}', b'{"name": "\\ud800"}', b'{"id": "x", "owner": "y"}',
        b'{"size_bytes": 99999999999999999999999999}', b'{"size_bytes": -1}', b'{"size_bytes": "1"}', b" " * 2_000_000,
    ]  # fmt: skip

    answers = at_once(
        *[lambda body=body: system.ask("POST", path, body, token=token, Idempotency_Key=uuid.uuid4().hex) for body in bodies],
        lambda: system.ask("GET", "/api/v1/marketplace/tunes/?cursor=%00%ff&page_size=-1&ordering=password"),
        lambda: system.ask("GET", "/api/v1/users/me/", token="a.b.c"),
    )

    assert [answer.status for answer in answers if not 400 <= answer.status < 500] == []
    assert {answer.headers["Content-Type"] for answer in answers} == {"application/problem+json"}
    assert world.count() == before


@pytest.mark.long  # a killed request holds its idempotency key for a minute
def test_a_database_killed_again_and_again_loses_no_purchase_and_makes_none_twice(system, world):
    tunes = [world.facts["paid"].pop() for _ in range(4)]
    done = threading.Event()

    def insist(tune: str) -> Answer:
        """As an app does: the same request, with the same key, until it is answered."""
        key = uuid.uuid4().hex
        deadline = time.monotonic() + 240
        while (answer := world.buy(tune, key=key)).status not in {200, 201} and time.monotonic() < deadline:
            assert answer.status in {0, 409, 429, 503}, answer  # 409: the killed request's claim lasts for a minute
            time.sleep({409: 5}.get(answer.status, int(answer.headers.get("Retry-After", "1"))))
        return answer

    def kill_often() -> None:
        for _ in range(3):
            restarts = system.said().count("postgres was started again")
            system.child(DATABASE).kill()
            system.wait_until(lambda before=restarts: system.said().count("postgres was started again") > before)
            if done.wait(1):
                return

    killer = threading.Thread(target=kill_often)
    killer.start()
    answers = at_once(*[lambda tune=tune: insist(tune) for tune in tunes])
    done.set()
    killer.join()

    assert {answer.status for answer in answers} <= {200, 201}
    system.wait_until(system.is_ready)
    for tune in tunes:
        (purchase,) = world.purchases_of(tune)
        assert len(world.intents_of(purchase["id"])) == 1
    system.manage("verify_invariants")


LINGER = """
import sys
import django
django.setup()
from core.tasks import enqueue
print(enqueue("core.tasks.tests.sample_tasks.linger", path=sys.argv[1], seconds=3))
"""


@pytest.mark.long
def test_a_task_whose_worker_is_killed_is_taken_over(system, tmp_path):
    """The short form, with shorter times, is `core.tasks.tests.test_worker`."""
    path = tmp_path / "lines"
    system.run(LINGER, str(path))
    system.wait_until(lambda: path.exists() and path.read_text() == "begun\n")

    system.child(WORKER).kill()

    system.wait_until(lambda: path.read_text() == "begun\nbegun\nended\n", seconds=120)
