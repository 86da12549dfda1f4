"""A ticket against everything that ends the right to it, each met in the middle, each with a control that shows the race.

The act has written and not committed; the grant has read what was true before. With its locks it waits and is judged by
what the act made true. Without them (the control) it hands a ticket out beside the act.
"""

from datetime import timedelta

import pytest
from django.db import OperationalError, transaction
from django.utils import timezone

from core import clock
from core.testing.races import overtake, race_all
from core.testing.tasks import run_all
from garage.models import StockFile, Vehicle
from garage.services import delete_vehicle
from garage.tests.factories import TRANSFER_CODE, VehicleTransferFactory
from marketplace.enums import FlashOutcome, LicenseState, PurchaseStatus, VersionStatus
from marketplace.models import Download, FlashTicket, License, Purchase
from marketplace.services import grants, status, stops
from marketplace.services.licenses import release_license
from marketplace.services.transfers import accept_transfer
from marketplace.tests.factories import ride_for
from users.tests.factories import UserFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ride():
    ride = ride_for()
    status.publish_status(at=ride.at)
    return ride


def refund(ride):
    """What a full refund does to the rows a grant looks at."""
    with transaction.atomic():
        Purchase.objects.select_for_update(no_key=True).get(pk=ride.purchase.pk)
        Purchase.objects.filter(pk=ride.purchase.pk).update(status=PurchaseStatus.REFUNDED, refunded_minor=ride.purchase.captured_minor)
        License.objects.filter(purchase=ride.purchase).update(
            state=LicenseState.REVOKED, revoked_at=timezone.now(), suspended_from="", suspended_at=None
        )


def hold(ride):
    stops.hold_version(actor=UserFactory(admin=True), version_id=ride.version.pk, reason="Knock.", at=ride.at)


def recall(ride):
    stops.recall_version(actor=UserFactory(admin=True), version_id=ride.version.pk, severity="info", reason="Knock.", at=ride.at)


def offer(ride):
    return VehicleTransferFactory(vehicle=ride.vehicle, expires_at=clock.now() + timedelta(days=1))


def hand_on(transfer, receiver, at=None):
    accept_transfer(receiver=receiver, transfer_id=transfer.pk, code=TRANSFER_CODE, at=at or clock.now())


@pytest.mark.parametrize("row_locks", [True, False])
@pytest.mark.parametrize(
    ("act", "after", "refusal"),
    [
        (refund, 'UPDATE "marketplace_purchase"', "license_revoked"),
        (hold, 'INSERT INTO "marketplace_versionstop"', "version_on_hold"),
        (recall, 'INSERT INTO "marketplace_versionstop"', "version_recalled"),
    ],
)
def test_against_what_stops_it(ride, act, after, refusal, row_locks):
    outcomes = overtake(lambda: act(ride), ride.grant, after=after, row_locks=row_locks)

    assert outcomes == ("ok", refusal if row_locks else "ok")
    assert FlashTicket.objects.count() == (0 if row_locks else 1)
    assert Download.objects.get().code == (refusal if row_locks else "")


@pytest.mark.parametrize("row_locks", [True, False])
def test_against_a_release_of_the_license(ride, row_locks):
    """Afterwards the vehicle may be flashed again, but only with a reservation: else the license serves two vehicles."""
    ride.report(ride.ticket())
    at = ride.at + timedelta(hours=1)

    def release():
        release_license(holder=ride.buyer, purchase_id=ride.purchase.pk, reason="new ECU", at=at)

    assert overtake(release, lambda: ride.grant(at=at), after='UPDATE "marketplace_license"', row_locks=row_locks) == ("ok", "ok")

    ticket = FlashTicket.objects.order_by("id").last()
    assert (ticket.reserves, ride.license.state) == ((True, LicenseState.RESERVED) if row_locks else (False, LicenseState.UNBOUND))


@pytest.mark.parametrize("row_locks", [True, False])
def test_without_a_ticket_against_a_license_that_ends(ride, row_locks):
    """A grant that reserves nothing looks at the license as well, and waits for who changes it."""
    StockFile.objects.filter(vehicle=ride.vehicle).delete()

    def revoke():
        with transaction.atomic():
            License.objects.filter(purchase=ride.purchase).update(state=LicenseState.REVOKED, revoked_at=ride.at)

    outcomes = overtake(revoke, ride.grant, after='UPDATE "marketplace_license"', row_locks=row_locks)

    assert outcomes == ("ok", "license_revoked" if row_locks else "ok")
    assert FlashTicket.objects.count() == 0


@pytest.mark.parametrize("row_locks", [True, False])
def test_against_a_transfer_of_the_vehicle(ride, row_locks):
    transfer, receiver = offer(ride), UserFactory()

    outcomes = overtake(lambda: hand_on(transfer, receiver), ride.grant, after='UPDATE "garage_vehicle"', row_locks=row_locks)

    assert outcomes == ("ok", "not_found" if row_locks else "ok")
    assert FlashTicket.objects.count() == (0 if row_locks else 1)
    assert Vehicle.objects.get(pk=ride.vehicle.pk).owner == receiver


@pytest.mark.parametrize("row_locks", [True, False])
def test_against_a_deletion_of_the_vehicle(ride, row_locks):
    def delete():
        delete_vehicle(owner=ride.buyer, vehicle_id=ride.vehicle.pk, revision=None, at=ride.at)

    outcomes = overtake(delete, ride.grant, after='UPDATE "garage_vehicle"', row_locks=row_locks)

    assert outcomes == ("ok", "not_found" if row_locks else "ok")
    assert FlashTicket.objects.count() == (0 if row_locks else 1)


@pytest.mark.parametrize("guarded", [True, False])
def test_two_vehicles_of_one_license(ride, guarded, monkeypatch):
    """Both have read a free license; the second looks again when it writes."""
    if not guarded:
        head, tail = grants._LICENSE_RESERVED.split("   AND (state = 'UNBOUND'")
        monkeypatch.setattr(grants, "_LICENSE_RESERVED", head + tail[tail.index("RETURNING") :])
    other = ride.another_vehicle()

    outcomes = overtake(ride.grant, lambda: ride.grant(vehicle=other), after="WITH license AS (")

    assert outcomes == ("ok", "ok")
    assert FlashTicket.objects.count() == (1 if guarded else 2)
    assert Download.objects.order_by("id").last().ticket_blockers == (["license_reserved"] if guarded else [])


def test_a_report_that_meets_a_transfer_is_as_if_it_had_come_before(ride):
    ticket, transfer, receiver = ride.ticket(), offer(ride), UserFactory()

    outcomes = overtake(lambda: hand_on(transfer, receiver), lambda: ride.report(ticket), after='UPDATE "garage_vehicle"')

    assert outcomes == ("ok", "ok")
    assert (ride.license.state, ride.license.released_by_holder_at is not None) == (LicenseState.UNBOUND, True)


def meet_a_report(ride, *, row_locks):
    ticket, transfer, receiver = ride.ticket(), offer(ride), UserFactory()
    return overtake(
        lambda: ride.report(ticket), lambda: hand_on(transfer, receiver), after='INSERT INTO "marketplace_flash"', row_locks=row_locks
    )


def test_a_transfer_that_meets_a_report_waits_for_it(ride):
    assert meet_a_report(ride, row_locks=True) == ("ok", "ok")
    assert (ride.license.state, ride.license.released_by_holder_at is not None) == (LicenseState.UNBOUND, True)


def test_control_without_the_vehicles_lock_they_deadlock(ride):
    with pytest.raises(OperationalError, match="deadlock"):
        meet_a_report(ride, row_locks=False)


def test_reports_and_transfers_at_once_do_not_deadlock(ride):
    ticket, transfer, receiver = ride.ticket(), offer(ride), UserFactory()

    acts = [lambda: ride.report(ticket, FlashOutcome.RESTORED), lambda: ride.report(ticket), lambda: hand_on(transfer, receiver)]

    assert race_all(acts) == ["ok"] * 3
    assert (ride.license.state, ride.license.released_by_holder_at is not None) == (LicenseState.UNBOUND, True)


def test_two_failures_that_cross_stop_the_version():
    """The first is judged before the second is committed, the second looks back and forth: nobody is missed."""
    first = ride_for(at=clock.now() - timedelta(days=1))
    second = ride_for(first.tune, at=first.at, vehicle={"vin": "JYARN53E1MA000055"})
    tickets = first.ticket(), second.ticket()
    at, failed = first.at + timedelta(hours=1), FlashOutcome.FAILED_DURING_WRITE

    second.report(tickets[1], failed, at=at + timedelta(seconds=1))
    run_all()
    assert first.version.status == VersionStatus.PUBLISHED
    first.report(tickets[0], failed, at=at)  # received a second earlier, committed and judged later
    run_all()

    assert first.version.status == VersionStatus.ON_HOLD
