"""Accepting a vehicle: what moves, what stays, who is told, and that it happens once."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from core import clock
from core.models import AuditEvent
from core.testing.http import ApiClient, client_for
from core.testing.races import race, race_all
from garage import policies
from garage.enums import TransferState
from garage.models import Vehicle
from garage.tests.factories import TRANSFER_CODE, NoReadBackConsentFactory, VehicleFactory, VehicleModFactory, VehicleTransferFactory
from marketplace.enums import LicenseState
from marketplace.services.transfers import accept_transfer
from marketplace.tests.factories import LicenseFactory
from users.models import Notice
from users.tests.factories import UserFactory

NOW = datetime(2026, 6, 1, 13, tzinfo=UTC)
VIN = "JYARN59C1MA633105"


def offer(**vehicle):
    return VehicleTransferFactory(vehicle=VehicleFactory(with_stock=True, **vehicle), expires_at=clock.now() + timedelta(days=1))


def url_of(transfer):
    return f"garage/transfers/{transfer.pk}/accept/"


def accept(client, transfer, code=TRANSFER_CODE):
    return client.post(url_of(transfer), {"code": code})


def license_on(vehicle, **changes):
    """A license that is bound to a vehicle, of its owner."""
    return LicenseFactory(bound=True, purchase__buyer=vehicle.owner, purchase__vehicle_id=vehicle.pk, **changes)


@pytest.fixture
def client(transactional_db):
    return client_for(UserFactory())


class TestAccepting:
    def test_moves_the_vehicle_with_all_that_belongs_to_it(self, client):
        transfer = offer(vin=VIN, nickname="Grey one", primary=True)
        mod = VehicleModFactory(vehicle=transfer.vehicle)

        answer = accept(client, transfer, TRANSFER_CODE.lower().replace("-", " "))

        assert answer.status_code == 200, answer.json()
        body = answer.json()
        assert (body["id"], body["vin"], body["nickname"], body["is_primary"]) == (str(transfer.vehicle_id), VIN, "", True)
        assert body["ecu"]["hardware_number"] == transfer.vehicle.ecu.hardware_number
        assert [row["id"] for row in body["mods"]] == [str(mod.pk)]
        assert client.get(f"garage/vehicles/{body['id']}/").json() == body
        assert len(client.get(f"garage/vehicles/{body['id']}/stock-files/").json()["results"]) == 1
        transfer.refresh_from_db()
        assert (transfer.state, transfer.accepted_by) == (TransferState.ACCEPTED, client.user)
        assert AuditEvent.objects.filter(act="vehicle_transfer.accepted", actor_id=client.user.pk).count() == 1

    def test_leaves_the_former_owner_a_tombstone_and_nothing_else(self, client):
        transfer = offer(vin=VIN)
        former = client_for(transfer.offered_by)
        since = former.get("garage/vehicles/").json()["synced_until"]
        accept(client, transfer)
        client.patch(f"garage/vehicles/{transfer.vehicle_id}/", {"year": 2022, "nickname": "mine now"})

        changes = former.get(f"garage/vehicles/?updated_since={since}").json()["results"]

        assert former.get(f"garage/vehicles/{transfer.vehicle_id}/").status_code == 404
        assert former.get("garage/vehicles/").json()["results"] == []
        assert [row["id"] for row in changes] == [str(transfer.vehicle_id)]
        assert changes[0]["deleted_at"] is not None
        assert (changes[0]["year"], changes[0]["vin"], changes[0]["nickname"], changes[0]["ecu"]) == (2021, None, "", None)

    def test_a_vehicle_that_comes_back_is_no_tombstone(self, client):
        transfer = offer()
        former = client_for(transfer.offered_by)
        accept(client, transfer)
        back = VehicleTransferFactory(vehicle=Vehicle.objects.get(pk=transfer.vehicle_id), expires_at=clock.now() + timedelta(days=1))
        accept(former, back)

        changes = former.get("garage/vehicles/?updated_since=2026-01-01T00:00:00Z").json()["results"]
        assert [(row["id"], row["deleted_at"]) for row in changes] == [(str(transfer.vehicle_id), None)]

    def test_frees_a_bound_license_and_spends_the_years_release(self, client):
        transfer = offer()
        license = license_on(transfer.vehicle)

        accept(client, transfer)

        license.refresh_from_db()
        assert (license.state, license.vehicle_id, license.holder) == (LicenseState.UNBOUND, None, transfer.offered_by)
        assert license.released_by_holder_at is not None
        assert AuditEvent.objects.filter(act="license.released", subject_id=license.pk).count() == 1

    @pytest.mark.parametrize(("days", "state"), [(364, LicenseState.BOUND), (366, LicenseState.UNBOUND)])
    def test_a_release_spent_within_the_year_is_left_to_staff(self, client, days, state):
        transfer = offer()
        license = license_on(transfer.vehicle, released_by_holder_at=clock.now() - timedelta(days=days))

        accept(client, transfer)

        license.refresh_from_db()
        assert license.state == state

    def test_licenses_of_other_people_and_vehicles_stay(self, client):
        transfer = offer()
        others = [license_on(VehicleFactory(owner=transfer.offered_by)), LicenseFactory(bound=True)]
        revoked = LicenseFactory(
            revoked=True, on_vehicle=True, purchase__buyer=transfer.offered_by, purchase__vehicle_id=transfer.vehicle_id
        )

        accept(client, transfer)

        for license in others:
            license.refresh_from_db()
            assert license.state == LicenseState.BOUND
        revoked.refresh_from_db()
        assert revoked.state == LicenseState.REVOKED

    def test_tells_both(self, client):
        transfer = offer()
        license_on(transfer.vehicle)

        accept(client, transfer)

        former, receiver = (Notice.objects.get(user=user, type="TRANSFER") for user in (transfer.offered_by, client.user))
        assert "1 of them is free" in former.body
        assert receiver.link_id == transfer.vehicle_id
        assert transfer.offered_by.display_name not in receiver.title + receiver.body

    def test_the_former_owners_consent_does_not_move(self, client):
        consent = NoReadBackConsentFactory(vehicle=offer().vehicle)
        transfer = consent.vehicle.transfers.get()

        accept(client, transfer)

        from garage.selectors import has_no_read_back_consent

        assert not has_no_read_back_consent(Vehicle.objects.select_related("ecu").get(pk=transfer.vehicle_id))

    def test_is_not_primary_beside_another(self, client):
        VehicleFactory(owner=client.user, primary=True)

        assert accept(client, offer(primary=True)).json()["is_primary"] is False

    def test_sent_again_is_answered_again(self, client):
        transfer = offer()

        first, again = accept(client, transfer), accept(client, transfer)

        assert (again.status_code, again.json()) == (200, first.json())
        assert accept(client, transfer, "AAAA-AAAA").json()["code"] == "transfer_closed"


class TestRefusals:
    def test_a_wrong_code_is_counted(self, client):
        transfer = offer()

        answer = accept(client, transfer, "AAAA-AAAA")

        assert (answer.status_code, answer.json()["code"], answer.json()["tries_left"]) == (409, "transfer_code_wrong", 4)
        transfer.refresh_from_db()
        assert (transfer.tries_left, transfer.state) == (4, TransferState.OFFERED)

    @pytest.mark.parametrize("state", ["withdrawn", "expired", "accepted"])
    def test_an_offer_that_ended_is_closed(self, client, state):
        answer = accept(client, VehicleTransferFactory(**{state: True}))

        assert (answer.status_code, answer.json()["code"]) == (409, "transfer_closed")

    def test_ones_own_offer_is_refused(self, client):
        transfer = offer()

        assert accept(client_for(transfer.offered_by), transfer).json()["code"] == "transfer_to_oneself"

    def test_a_missing_offer_is_404(self, client):
        assert client.post(f"garage/transfers/{uuid.uuid4()}/accept/", {"code": "X"}).status_code == 404
        assert ApiClient().post(f"garage/transfers/{uuid.uuid4()}/accept/", {"code": "X"}).status_code == 401

    @pytest.mark.parametrize(
        "body", [{}, {"code": None}, {"code": ""}, {"code": 5 * "x" * 41}, {"code": "x", "email": "a@b.c"}, {"code": {"a": 1}}]
    )
    def test_bad_bodies_change_nothing(self, client, body):
        transfer = offer()

        assert client.post(url_of(transfer), body).status_code == 400
        transfer.refresh_from_db()
        assert transfer.tries_left == 5

    def test_the_receivers_garage_has_its_rules(self, client, monkeypatch):
        VehicleFactory(owner=client.user, vin=VIN)

        assert accept(client, offer(vin=VIN)).json()["code"] == "vin_in_garage"
        monkeypatch.setattr(policies, "MAX_VEHICLES", 1)
        full = offer()
        assert accept(client, full).json()["code"] == "garage_full"
        full.refresh_from_db()
        assert (full.state, full.tries_left) == (TransferState.OFFERED, 5)

    def test_tries_are_limited_per_account_too(self, client):
        codes = [client.post(f"garage/transfers/{uuid.uuid4()}/accept/", {"code": "X"}).status_code for _ in range(11)]

        assert codes == [404] * 10 + [429]


@pytest.mark.django_db(transaction=True)
class TestTwoAtOnce:
    """The code was given to two people, or the vehicle deleted while it is accepted."""

    def test_one_of_two_receivers_gets_the_vehicle(self):
        transfer, receivers = offer(), [UserFactory(), UserFactory()]
        license = license_on(transfer.vehicle)

        outcomes = race_all([lambda r=r: take(r, transfer) for r in receivers])

        assert outcomes == ["ok", "transfer_closed"]
        assert Vehicle.objects.get(pk=transfer.vehicle_id).owner in receivers
        assert AuditEvent.objects.filter(act="license.released", subject_id=license.pk).count() == 1

    def test_control_without_the_locks_both_get_it(self):
        transfer, receivers = offer(), [UserFactory(), UserFactory()]

        outcomes = race_all([lambda r=r: take(r, transfer) for r in receivers], row_locks=False, meet_after='FROM "garage_vehicle" WHERE')

        assert outcomes == ["ok", "ok"]
        assert AuditEvent.objects.filter(act="vehicle_transfer.accepted").count() == 2

    def test_the_same_receiver_twice_is_one_transfer(self):
        transfer, receiver = offer(), UserFactory()

        assert set(race(lambda: take(receiver, transfer))) <= {"ok", "transfer_closed"}
        assert AuditEvent.objects.filter(act="vehicle_transfer.accepted").count() == 1

    def test_a_vehicle_deleted_meanwhile_is_not_taken(self):
        from garage.services import delete_vehicle

        transfer, receiver = offer(), UserFactory()
        owner = transfer.offered_by

        outcomes = race_all(
            [
                lambda: take(receiver, transfer),
                lambda: delete_vehicle(owner=owner, vehicle_id=transfer.vehicle_id, revision=None, at=NOW),
            ]
        )

        assert outcomes in (["not_found", "ok"], ["ok", "transfer_closed"])
        vehicle = Vehicle.objects.get(pk=transfer.vehicle_id)
        assert (vehicle.owner == receiver) == (vehicle.deleted_at is None)

    def test_two_vehicles_across_each_other_do_not_deadlock(self):
        first, second = offer(), offer()

        outcomes = race_all([lambda: take(second.offered_by, first), lambda: take(first.offered_by, second)])

        assert outcomes == ["ok", "ok"]


def take(receiver, transfer):
    accept_transfer(receiver=receiver, transfer_id=transfer.pk, code=TRANSFER_CODE, at=NOW)
