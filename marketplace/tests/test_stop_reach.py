"""Whom a stop reaches: everybody who has the version, in the app, by mail and push; and who of them has acknowledged."""

import re
from collections import Counter
from datetime import timedelta

import pytest
from django.core import mail
from django.urls import reverse

from core import clock
from core.testing.admin import admin_client
from core.testing.tasks import run_all
from garage.models import Vehicle
from garage.tests.factories import TRANSFER_CODE, VehicleTransferFactory
from marketplace.selectors.stops import Reached, count_reached, list_silent
from marketplace.services import stops
from marketplace.services.transfers import accept_transfer
from marketplace.tests.factories import ride_for
from users import push
from users.models import Notice
from users.services import block_user, delete_account
from users.tests.factories import UserDeviceFactory, UserFactory

pytestmark = pytest.mark.django_db


class RecordingPush:
    """An adapter that keeps what it was handed."""

    sent: list = []

    def send(self, *, push_token, message):
        self.sent.append((push_token, message.urgent))
        return push.Outcome.SENT


@pytest.fixture
def admin():
    return UserFactory(admin=True)


@pytest.fixture
def pushes(settings, monkeypatch):
    settings.PUSH_BACKEND = "marketplace.tests.test_stop_reach.RecordingPush"
    monkeypatch.setattr(RecordingPush, "sent", [])
    return RecordingPush.sent


def recall(ride, admin):
    return stops.recall_version(
        actor=admin, version_id=ride.version.pk, severity="stop_flash", reason="Wrong axis.", at=clock.now()
    )


@pytest.mark.parametrize("kind", ["hold", "recall"])
def test_who_has_it_is_told_in_the_app_by_mail_and_by_an_urgent_push_once_each(admin, pushes, kind):
    ride = ride_for()
    ride.grant()
    UserDeviceFactory(user=ride.buyer, push_token="phone")
    UserDeviceFactory(user=ride.buyer, push_token="tablet")
    ride_for(ride.tune, vehicle={"vin": "JYARN53E1MA000055"})  # bought and never downloaded

    if kind == "hold":
        stops.hold_version(actor=admin, version_id=ride.version.pk, reason="Knock.", at=clock.now())
    else:
        recall(ride, admin)
    run_all()
    stops.tell_stop(stop_id=ride.version.stops.get().pk, at=clock.now())
    run_all()

    assert {notice.user_id for notice in Notice.objects.filter(type=kind.upper())} == {ride.buyer.pk, ride.tune.tuner.user_id}
    assert Counter(message.to[0] for message in mail.outbox) == {ride.buyer.email: 1, ride.tune.tuner.user.email: 1}
    assert sorted(pushes) == [("phone", True), ("tablet", True)]


def test_a_blocked_account_is_mailed_all_the_same(admin):
    ride = ride_for()
    ride.grant()
    block_user(user=ride.buyer, actor=admin, reason="Spam.", at=clock.now())
    run_all()
    mail.outbox.clear()
    recall(ride, admin)
    run_all()

    notice = Notice.objects.get(type="RECALL", user=ride.buyer)
    assert [message.subject for message in mail.outbox if message.to == [ride.buyer.email]] == [notice.title]


def test_who_deleted_the_account_is_nobody(admin):
    ride = ride_for()
    ride.grant()
    address = ride.buyer.email
    delete_account(user=ride.buyer, session=UserDeviceFactory(user=ride.buyer), stock_files_saved=True, at=clock.now())
    run_all()
    mail.outbox.clear()

    stop = recall(ride, admin)
    run_all()

    assert address not in {address for message in mail.outbox for address in message.to}
    assert count_reached(stop).holders == 0


def test_who_has_the_bike_with_the_version_on_it_is_told_and_acknowledges(admin):
    ride = ride_for(at=clock.now() - timedelta(hours=1))
    ride.report(ride.ticket())
    offer = VehicleTransferFactory(vehicle=Vehicle.objects.get(pk=ride.vehicle.pk), expires_at=clock.now() + timedelta(days=1))
    receiver = UserFactory()
    accept_transfer(receiver=receiver, transfer_id=offer.pk, code=TRANSFER_CODE, at=clock.now())
    stop = recall(ride, admin)

    assert stops.tell_stop(stop_id=stop.pk, at=clock.now()) == 3  # the buyer has the file, the receiver the bike, and the tuner
    assert Notice.objects.filter(user=receiver, type="RECALL").count() == 1
    assert stops.acknowledge_stop(rider=receiver, stop_id=stop.pk, at=clock.now()).user == receiver


def test_the_admin_sees_who_has_not_acknowledged_and_pages_through(admin, monkeypatch, django_assert_num_queries):
    first = ride_for()
    rides = [first, *(ride_for(first.tune, vehicle={"vin": f"JYARN53E1MA00020{number}"}) for number in range(4))]
    for ride in rides:
        ride.grant()
    never = ride_for(first.tune, vehicle={"vin": "JYARN53E1MA000300"})
    stop = recall(first, admin)
    run_all()
    stops.acknowledge_stop(rider=first.buyer, stop_id=stop.pk, at=clock.now())

    with django_assert_num_queries(1):
        assert count_reached(stop) == Reached(holders=5, told=5, mailed=5, pushed=5, acknowledged=1)
    silent = list(list_silent(stop))
    assert [person.pk for person in silent] == sorted(ride.buyer.pk for ride in rides[1:])
    assert all(person.told_at and person.mailed_at for person in silent)

    monkeypatch.setattr("marketplace.admin.trust.SILENT_PAGE", 3)
    client, url, query, pages = admin_client(), reverse("admin:marketplace_versionstop_change", args=[stop.pk]), "", []
    while query is not None:
        pages.append(client.get(url + query).content.decode())
        found = re.search(r'href="(\?after=[0-9a-f-]+)"', pages[-1])
        query = found.group(1) if found else None
    seen = [[person.pk for person in silent if f"/users/user/{person.pk}/" in page] for page in pages]
    assert seen == [[person.pk for person in silent[:3]], [silent[3].pk]]
    assert "Not acknowledged" in pages[0]
    for absent in (never.buyer, first.buyer):
        assert f"/users/user/{absent.pk}/" not in "".join(pages)
