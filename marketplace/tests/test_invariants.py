"""`manage.py verify_invariants`: it is quiet about what the services made, and names whatever is broken afterwards.

What is broken here is what constraints and triggers usually refuse: triggers are off while the damage is done, as in a
hand-made repair that went wrong.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from core import clock, invariants, storage
from core.exceptions import ServiceUnavailable
from core.testing.http import client_for
from core.testing.tasks import run_all
from garage.tests.factories import VehicleFactory
from marketplace.models import License, Purchase, Tune
from marketplace.services import settlement, status
from marketplace.tests.factories import released_tune
from marketplace.tests.factories.trust import Ride
from marketplace.tests.purchasing import buy, intent_of
from tuners.services import follow_tuner
from users.tests.factories import UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(payments):
    """A tune that was bought, paid, downloaded, flashed and reviewed, all by the services, and a follower."""
    status.publish_status(at=clock.now())
    tune = released_tune()
    rider = UserFactory()
    bike = VehicleFactory(owner=rider, with_stock=True, vin="JYARN53E1MA000042")
    client = client_for(rider)
    bought = buy(client, tune, bike).json()
    payments.choose(intent_of(bought), "succeed")
    settlement.settle_purchase(purchase_id=bought["id"], at=clock.now())
    ride = Ride(purchase=Purchase.objects.get(), vehicle=bike, at=clock.now())
    ride.report(ride.ticket())
    assert client.post(f"tuners/{tune.tuner_id}/reviews/", {"tune": str(tune.pk), "rating": 4, "text": "Good."}).status_code == 201
    follow_tuner(follower=rider, tuner_id=tune.tuner_id, at=clock.now())
    run_all()
    return ride


def broken(**options) -> dict[str, list[str]]:
    return {name: found for name, found in invariants.verify(**options) if found}


@contextmanager
def undone() -> Iterator[None]:
    """Whatever is done inside is rolled back."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def damage(sql: str) -> None:
    """Write past every trigger."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # a table with triggers to come can't be altered
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(sql)
        cursor.execute("SET session_replication_role = DEFAULT")


def test_what_the_services_made_holds(world):
    assert broken() == {}
    tune = Tune.objects.get()
    assert (tune.rating_count, tune.flash_count, tune.flash_success_count, tune.download_count) == (1, 1, 1, 1), (
        "there is something to count"
    )


BOOKS, SALES, PAYMENTS = "the books sum to zero", "each sale is booked as it was sold", "each paid purchase has one payment"
LICENSES, GRANTS = "paid means licensed, refunded means not", "each grant belongs to a paid purchase"
LISTS, RELEASES = "lists and search show what is on sale", "what is on sale was approved and signed"
DAMAGES = {
    "one side of a booking": (BOOKS, "UPDATE marketplace_ledgerentry SET amount_minor = amount_minor + 1 WHERE account = 'TUNER'"),
    "a currency": (BOOKS, "UPDATE marketplace_ledgerentry SET currency = 'USD'"),
    "a booking": (SALES, "DELETE FROM marketplace_ledgerentry; DELETE FROM marketplace_ledgerset"),
    "a fee": (SALES, "UPDATE marketplace_purchase SET fee_minor = fee_minor + 1"),
    "whose share it is": (SALES, "UPDATE marketplace_ledgerentry SET tuner_id = gen_random_uuid() WHERE account = 'TUNER'"),
    "a payment": (PAYMENTS, "UPDATE marketplace_paymentattempt SET state = 'CANCELED'"),
    "a license": (LICENSES, "DELETE FROM marketplace_license"),
    "a license's tune": (LICENSES, "UPDATE marketplace_license SET tune_id = gen_random_uuid()"),
    "a refund": (LICENSES, "UPDATE marketplace_purchase SET status = 'REFUNDED', refunded_minor = captured_minor"),
    "a first grant": (GRANTS, "DELETE FROM marketplace_grantedpurchase"),
    "a tune's rating": ("tunes count their reviews", "UPDATE marketplace_tune SET rating_sum = rating_sum + 1"),
    "a review": ("tuners count their reviews", "DELETE FROM tuners_tunerreview"),
    "a follower": ("tuners count their followers", "DELETE FROM tuners_tunerfollow"),
    "a tuner's word": ("tuners are found by the words of their profile", "DELETE FROM tuners_tunerword"),
    "a word of a tuner too many": ("tuners are found by the words of their profile", "UPDATE tuners_tunerword SET word = word || 'x'"),
    "a flash": ("tunes count their flashes", "UPDATE marketplace_tune SET flash_count = 2"),
    "a count of downloads": ("tunes count their downloads", "UPDATE marketplace_tune SET download_count = 2"),
    "the search": (LISTS, "DELETE FROM marketplace_searchrow"),
    "a mark of the search": (LISTS, "UPDATE marketplace_searchrow SET marks = marks[2:]"),
    "a listing": (LISTS, "UPDATE marketplace_tune SET listed = false"),
    "a list": (LISTS, "DELETE FROM marketplace_browserow WHERE scope = 'ECU'"),
    "a hardware number": (LISTS, "UPDATE marketplace_fitment SET hardware_numbers = '{OTHER}'"),
    "the time of a version": (LISTS, "UPDATE marketplace_tune SET latest_version_at = now()"),
    "a release": (RELEASES, "DELETE FROM marketplace_release"),
    "an approval": (RELEASES, "UPDATE marketplace_tuneversion SET approved_sha256 = ARRAY[repeat('0', 64)]"),
    "a right": ("no table is open to other roles", "ALTER TABLE marketplace_purchase DISABLE ROW LEVEL SECURITY"),
}


def test_what_is_broken_is_named(world, subtests):
    for what, (name, sql) in DAMAGES.items():
        with subtests.test(what), undone():
            damage(sql)

            assert name in broken()


def test_a_purchase_that_waits_needs_no_license_and_may_have_no_second_payment(world, payments):
    rider = UserFactory()
    bike = VehicleFactory(owner=rider, with_stock=True, vin="JYARN53E1MA000099")
    waiting = buy(client_for(rider), Tune.objects.get(), bike).json()
    assert broken() == {}

    damage(
        "DROP INDEX paymentattempt_one_live;"
        " INSERT INTO marketplace_paymentattempt (id, purchase_id, attempt, provider, state, intent_id, last_error_code, created_at)"
        f" SELECT gen_random_uuid(), '{waiting['id']}', 2, 'STRIPE', 'OPEN', 'pi_second', '', now()"
    )

    assert broken() == {PAYMENTS: [f"{waiting['number']} has 2 payments that may still succeed"]}


def test_stored_files_are_read_on_request(world):
    stock = world.vehicle.stock_files.get()
    assert broken(with_objects=True) == {"stock files are stored as they were checked": [f"stock file {stock.pk}: its object is missing"]}

    file = world.version.files.get()
    storage.put_bytes(file.storage_key, b"other bytes", "application/octet-stream")

    found = broken(with_objects=True)
    assert found["tune files are stored as they were checked"] == [f"tune file {file.pk}: its object has other bytes"]
    assert "tune files are stored as they were checked" not in broken()


def test_more_than_twenty_are_not_all_named(monkeypatch):
    monkeypatch.setattr(invariants, "_looks", {"numbers": invariants.rows("SELECT generate_series(1, 1000)::text")})
    monkeypatch.setattr(invariants, "load", lambda: None)

    assert dict(invariants.verify())["numbers"] == [*map(str, range(1, 21)), "… and more"]


def run(*arguments: str) -> tuple[int, str]:
    output = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("verify_invariants", *arguments, stdout=output, stderr=output, no_color=True)
    return ended.value.code, output.getvalue()


def test_the_command_says_each_and_ends_with_what_it_found(world):
    status_before, said = run()
    assert (status_before, said.count("ok  ")) == (0, len(invariants._looks))

    damage("DELETE FROM marketplace_license")

    status_after, said = run()
    assert status_after == 1
    assert f"broken  paid means licensed, refunded means not\n        {world.purchase.number} is paid and has no license\n" in said
    assert License.objects.count() == 0, "nothing is repaired"


def test_without_storage_it_says_that_not_everything_is_proved(monkeypatch):
    def away():
        raise ServiceUnavailable("storage")

    monkeypatch.setattr(invariants, "_looks", {"files": away})
    monkeypatch.setattr(invariants, "load", lambda: None)

    assert run() == (2, "Storage does not answer: what lies there is not proved.\n")


def test_a_download_that_is_not_counted_yet_is_no_break(world):
    other = released_tune(free=True)
    rider = UserFactory()
    bike = VehicleFactory(owner=rider, with_stock=True, vin="JYARN53E1MA000099")
    bought = buy(client_for(rider), other, bike).json()
    Ride(purchase=Purchase.objects.get(pk=bought["id"]), vehicle=bike, at=clock.now()).grant()

    assert broken() == {}
    run_all()
    assert Tune.objects.get(pk=other.pk).download_count == 1
    assert broken() == {}
