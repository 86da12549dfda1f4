"""Reports of one license in any order, late and twice: whatever the order, the same truth comes out."""

import itertools
import random
from datetime import timedelta

import pytest
from django.db import transaction

from core import clock
from core.exceptions import PermissionRefused
from core.ids import new_id
from garage.tests.factories import TRANSFER_CODE, VehicleTransferFactory
from marketplace import exceptions
from marketplace.enums import FlashOutcome, LicenseState
from marketplace.models import Flash, FlashTicket, Tune
from marketplace.services import flashes
from marketplace.services.licenses import excuse_unreported_tickets, free_license, release_license
from marketplace.services.transfers import accept_transfer
from marketplace.tests.factories import ride_for
from users.models import Notice
from users.tests.factories import UserFactory

pytestmark = pytest.mark.django_db

SUCCEEDED, FAILED, RESTORED = FlashOutcome.SUCCEEDED, FlashOutcome.FAILED_DURING_WRITE, FlashOutcome.RESTORED
EXPIRE = "the schedule frees what ran out"
ORDERS = 40


@pytest.fixture
def two_vehicles():
    """A license with a ticket that ran out for one vehicle, and another one for a second vehicle."""
    ride = ride_for()
    other = ride.another_vehicle()
    first = ride.ticket()
    second = ride.ticket(vehicle=other, at=ride.at + timedelta(hours=73))
    return ride, first, second


def reports_of(ride, first, second):
    """Two vehicles that were both flashed offline; each report as the phone will send it, and send it again."""
    moments = itertools.count(1)

    def report(ticket, outcome):
        return {"ticket": ticket, "outcome": outcome, "id": new_id(), "flashed_at": ticket.issued_at + timedelta(minutes=next(moments))}

    return [
        report(first, FAILED),
        report(first, SUCCEEDED),
        report(first, RESTORED),
        report(first, SUCCEEDED),
        report(second, FAILED),
        report(second, SUCCEEDED),
    ]


def orders_of(reports, *, seed):
    """Random orders in which every report comes at least once, some twice, and the schedule runs in between."""
    chance = random.Random(seed)
    for _ in range(ORDERS):
        order = [*reports, *chance.sample(reports, 3), EXPIRE, EXPIRE]
        chance.shuffle(order)
        yield order


@pytest.mark.parametrize("seed", [1, 2])
def test_two_vehicles_on_one_license(two_vehicles, seed):
    ride, first, second = two_vehicles
    reports = reports_of(ride, first, second)
    late = ride.at + timedelta(days=9)
    tune_truths, garage_truths = set(), set()

    for order in orders_of(reports, seed=seed):
        with transaction.atomic():
            winner, answers = None, []
            for minutes, step in enumerate(order):
                at = late + timedelta(minutes=minutes)
                if step is EXPIRE:
                    flashes.expire_tickets(at=at)
                    continue
                answers.append(ride.report(at=at, **step).created)
                if step["outcome"] == SUCCEEDED and winner is None:
                    winner = step["ticket"].vehicle_id

            license = ride.license
            assert (license.state, license.vehicle_id) == (LicenseState.BOUND, winner)  # the first that was confirmed
            assert answers.count(True) == Flash.objects.count() == len(reports)
            flagged = set(Flash.objects.filter(bound_elsewhere=True).values_list("vehicle_id", "outcome"))
            other = {first.vehicle_id, second.vehicle_id} - {winner}
            assert flagged == {(other.pop(), SUCCEEDED)}  # kept, flagged …
            with pytest.raises(exceptions.LicenseReleaseTooSoon):  # … and the year's release is spent
                release_license(holder=ride.buyer, purchase_id=ride.purchase.pk, reason="third bike", at=late + timedelta(days=1))
            assert not FlashTicket.objects.filter(reported_at=None).exists()
            assert not FlashTicket.objects.exclude(expired_unreported_at=None).exists()
            tune_truths.add(Tune.objects.values_list("flash_count", "flash_success_count").get(pk=ride.tune.pk))
            garage_truths.add(
                tuple(ride.buyer.vehicles.order_by("pk").values_list("pk", "installed_tune_version_id", "installed_at"))
            )
            transaction.set_rollback(True)

    assert tune_truths == {(5, 3)}
    assert len(garage_truths) == 1


STEPS = ["failed", "succeeded", "succeeded again", "transfer"]
ORDERS_OF_STEPS = [order for order in itertools.permutations(STEPS) if order.index(STEPS[1]) < order.index(STEPS[2])]


@pytest.mark.parametrize("spent", [False, True])
@pytest.mark.parametrize("order", ORDERS_OF_STEPS)
def test_a_vehicle_that_is_handed_on(order, spent):
    """The license ends as if all had been reported before: free and the release spent, or for staff to free."""
    ride = ride_for(at=clock.now().replace(microsecond=0) - timedelta(hours=1))
    if spent:
        type(ride.license).objects.filter(pk=ride.license.pk).update(released_by_holder_at=ride.at - timedelta(days=100))
    ticket = ride.ticket()
    offer = VehicleTransferFactory(vehicle=ride.vehicle, expires_at=clock.now() + timedelta(days=1))
    receiver = UserFactory()

    for minutes, step in enumerate(order, start=1):
        at = ride.at + timedelta(minutes=minutes)
        if step == "transfer":
            accept_transfer(receiver=receiver, transfer_id=offer.pk, code=TRANSFER_CODE, at=at)
        else:
            ride.report(ticket, FAILED if step == "failed" else SUCCEEDED, at=at)

    license = ride.license
    if spent:
        assert (license.state, license.vehicle_id) == (LicenseState.BOUND, ride.vehicle.pk)
    else:
        assert license.state == LicenseState.UNBOUND
        assert license.released_by_holder_at == ride.at + timedelta(minutes=order.index("transfer") + 1)


def test_a_reservation_ends_with_a_transfer_and_spends_nothing():
    ride = ride_for()
    ride.ticket()
    offer = VehicleTransferFactory(vehicle=ride.vehicle, expires_at=clock.now() + timedelta(days=1))

    accept_transfer(receiver=UserFactory(), transfer_id=offer.pk, code=TRANSFER_CODE, at=ride.at)

    assert (ride.license.state, ride.license.released_by_holder_at) == (LicenseState.UNBOUND, None)
    assert ride.ticket(vehicle=ride.another_vehicle()).reserves


def test_a_suspended_license_does_not_return_to_a_vehicle_that_was_handed_on():
    ride = ride_for()
    ride.report(ride.ticket())
    type(ride.license).objects.update(state=LicenseState.SUSPENDED, suspended_from=LicenseState.BOUND, suspended_at=ride.at)
    offer = VehicleTransferFactory(vehicle=ride.vehicle, expires_at=clock.now() + timedelta(days=1))

    accept_transfer(receiver=UserFactory(), transfer_id=offer.pk, code=TRANSFER_CODE, at=ride.at + timedelta(hours=1))

    license = ride.license
    assert (license.state, license.suspended_from, license.vehicle_id) == (LicenseState.SUSPENDED, LicenseState.UNBOUND, None)


class TestStaff:
    def test_frees_a_license_whose_release_is_spent(self):
        ride, admin = ride_for(), UserFactory(admin=True)
        ride.report(ride.ticket())
        type(ride.license).objects.update(released_by_holder_at=ride.at)

        free_license(actor=admin, license_id=ride.license.pk, reason="The bike was stolen.", at=ride.at)

        assert (ride.license.state, ride.license.released_by_holder_at) == (LicenseState.UNBOUND, ride.at)
        assert Notice.objects.filter(user=ride.buyer, type="LICENSE").count() == 1
        with pytest.raises(exceptions.LicenseNotBound):
            free_license(actor=admin, license_id=ride.license.pk, reason="Again.", at=ride.at)

    def test_excuses_tickets_that_ran_out_and_a_late_report_is_taken_all_the_same(self):
        ride, admin = ride_for(), UserFactory(admin=True)
        tickets = []
        for day in (0, 4):
            at = ride.at + timedelta(days=day)
            tickets.append(ride.ticket(at=at))
            flashes.expire_tickets(at=at + timedelta(hours=73))
        at = ride.at + timedelta(days=8)
        assert ride.grant(at=at).ticket_blockers == ["unreported_tickets"]

        assert excuse_unreported_tickets(actor=admin, license_id=ride.license.pk, reason="Lost phone.", at=at) == 2
        assert excuse_unreported_tickets(actor=admin, license_id=ride.license.pk, reason="Lost phone.", at=at) == 0

        assert ride.ticket(at=at).reserves
        ride.report(tickets[0], at=at)
        assert ride.license.state == LicenseState.BOUND

    def test_only_staff_does(self):
        ride = ride_for()

        for act in (free_license, excuse_unreported_tickets):
            with pytest.raises(PermissionRefused):
                act(actor=ride.buyer, license_id=ride.license.pk, reason="Mine.", at=ride.at)
