"""Offering a vehicle: the code, its tries and its end. Accepting is tested in the marketplace, with the licenses."""

import re
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from core.models import AuditEvent
from core.testing.http import ApiClient, client_for
from core.testing.races import race
from core.testing.tasks import run_all
from garage import services, tasks
from garage.enums import TransferState
from garage.exceptions import TransferClosed, TransferCodeWrong, TransferNotFound, TransferToOneself
from garage.models import VehicleTransfer
from garage.tests.factories import MADE_AT, TRANSFER_CODE, VehicleFactory, VehicleTransferFactory
from users.tests.factories import UserFactory

NOW = datetime(2026, 6, 1, 13, tzinfo=UTC)


@pytest.fixture
def client(db):
    client = client_for(UserFactory())
    client.vehicle = VehicleFactory(owner=client.user)
    client.url = f"garage/vehicles/{client.vehicle.pk}/transfer/"
    return client


class TestOffering:
    def test_answers_a_code_that_is_stored_hashed(self, client):
        answer = client.post(client.url)

        body = answer.json()
        assert answer.status_code == 201
        assert re.fullmatch(r"[A-HJKMNP-TV-Z2-9]{4}-[A-HJKMNP-TV-Z2-9]{4}", body["code"])
        expires_at = datetime.fromisoformat(body["expires_at"])
        assert timedelta(hours=47) < expires_at - datetime.now(UTC) <= timedelta(hours=48)
        with connection.cursor() as cursor:
            cursor.execute("SELECT t::text FROM garage_vehicletransfer t")
            (text,) = cursor.fetchone()
        plain = body["code"].replace("-", "")
        assert plain not in text and plain.encode().hex() not in text
        assert AuditEvent.objects.filter(act="vehicle_transfer.offered", subject_id=client.vehicle.pk).count() == 1

    def test_a_new_offer_ends_the_one_before(self, client):
        first, second = client.post(client.url).json(), client.post(client.url).json()

        states = dict(VehicleTransfer.objects.values_list("id", "state"))
        assert states == {uuid.UUID(first["id"]): TransferState.WITHDRAWN, uuid.UUID(second["id"]): TransferState.OFFERED}

    def test_a_repeated_request_does_not_show_the_code_again(self, client):
        first, again = (client.post(client.url, HTTP_IDEMPOTENCY_KEY="k") for _ in range(2))

        assert (again.status_code, again.json()["id"], again.json()["code"]) == (201, first.json()["id"], None)

    def test_is_taken_back(self, client):
        client.post(client.url)

        assert client.delete(client.url).status_code == 204
        assert VehicleTransfer.objects.get().state == TransferState.WITHDRAWN
        assert client.delete(client.url).status_code == 404

    def test_takes_no_body(self, client):
        assert client.post(client.url, {"to": "friend@example.org"}).json()["code"] == "unknown_field"

    def test_foreign_and_missing_are_the_same(self, client):
        for pk in (VehicleFactory().pk, uuid.uuid4(), VehicleFactory(owner=client.user, deleted=True).pk):
            assert client.post(f"garage/vehicles/{pk}/transfer/").json()["code"] == "not_found"
            assert client.delete(f"garage/vehicles/{pk}/transfer/").json()["code"] == "not_found"
        assert ApiClient().post(client.url).status_code == 401


def try_code(transfer, code=TRANSFER_CODE, *, receiver=None, at=NOW):
    return services.check_transfer_code(receiver=receiver or UserFactory(), transfer_id=transfer.pk, code=code, at=at)


@pytest.mark.django_db(transaction=True)
class TestTheCode:
    @pytest.mark.parametrize("typed", ["K7WQ-M2XD", "k7wqm2xd", " k7wq m2xd ", "K7WQ—M2XD"])
    def test_is_taken_however_it_is_typed(self, typed):
        transfer = VehicleTransferFactory()

        assert try_code(transfer, typed).pk == transfer.pk

    def test_counts_wrong_ones_and_ends_after_five(self):
        transfer, left = VehicleTransferFactory(), []
        for _ in range(5):
            with pytest.raises(TransferCodeWrong) as refusal:
                try_code(transfer, "AAAA-AAAA")
            left.append(refusal.value.members["tries_left"])

        assert left == [4, 3, 2, 1, 0]
        with pytest.raises(TransferClosed):
            try_code(transfer)
        transfer.refresh_from_db()
        assert transfer.state == TransferState.EXPIRED

    @pytest.mark.parametrize(("hours", "open_"), [(47, True), (48, False)])
    def test_works_for_48_hours(self, hours, open_):
        transfer = VehicleTransferFactory()

        if open_:
            try_code(transfer, at=MADE_AT + timedelta(hours=hours))
        else:
            with pytest.raises(TransferClosed):
                try_code(transfer, at=MADE_AT + timedelta(hours=hours))

    @pytest.mark.parametrize("state", ["withdrawn", "expired", "accepted"])
    def test_works_for_an_open_offer_only(self, state):
        with pytest.raises(TransferClosed):
            try_code(VehicleTransferFactory(**{state: True}))

    def test_is_not_for_the_owner(self):
        transfer = VehicleTransferFactory()

        with pytest.raises(TransferToOneself):
            try_code(transfer, receiver=transfer.offered_by)

    def test_belongs_to_one_offer(self):
        with pytest.raises(TransferNotFound):
            services.check_transfer_code(receiver=UserFactory(), transfer_id=uuid.uuid4(), code=TRANSFER_CODE, at=NOW)

    def test_eight_guesses_at_once_are_five_at_most(self):
        transfer, receiver = VehicleTransferFactory(), UserFactory()

        outcomes = race(lambda: try_code(transfer, "AAAA-AAAA", receiver=receiver), times=8)

        assert outcomes == ["transfer_closed"] * 3 + ["transfer_code_wrong"] * 5

    def test_control_without_the_lock_more_guesses_are_taken(self):
        transfer, receiver = VehicleTransferFactory(tries_left=1), UserFactory()

        assert race(lambda: try_code(transfer, "AAAA-AAAA", receiver=receiver), times=3, row_locks=False) == ["transfer_code_wrong"] * 3


@pytest.mark.django_db
class TestExpiry:
    def test_ends_what_ran_out(self):
        old, fresh = VehicleTransferFactory(), VehicleTransferFactory(expires_at=NOW + timedelta(days=3))

        assert services.expire_transfers(at=NOW + timedelta(days=2)) == 1
        assert services.expire_transfers(at=NOW + timedelta(days=2)) == 0
        old.refresh_from_db()
        fresh.refresh_from_db()
        assert (old.state, fresh.state) == (TransferState.EXPIRED, TransferState.OFFERED)

    def test_is_a_task_of_the_schedule(self):
        transfer = VehicleTransferFactory(expires_at=MADE_AT)

        tasks.expire_vehicle_transfers.enqueue()
        run_all()

        transfer.refresh_from_db()
        assert transfer.state == TransferState.EXPIRED


@pytest.mark.django_db
class TestConstraints:
    @pytest.mark.parametrize(
        ("constraint", "values"),
        [
            ("vehicle_transfer_", {"state": "LOST"}),  # both of its constraints refuse an unknown state
            ("vehicle_transfer_ended_iff_not_offered", {"state": "WITHDRAWN"}),
            ("vehicle_transfer_ended_iff_not_offered", {"ended_at": NOW}),
            ("vehicle_transfer_ended_iff_not_offered", {"state": "ACCEPTED", "ended_at": NOW}),
        ],
    )
    def test_postgres_refuses(self, constraint, values):
        transfer = VehicleTransferFactory()

        with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
            VehicleTransfer.objects.filter(pk=transfer.pk).update(**values)

    def test_postgres_refuses_two_open_offers_of_a_vehicle(self):
        transfer = VehicleTransferFactory()

        with pytest.raises(IntegrityError, match="vehicle_transfer_one_open_per_vehicle"), transaction.atomic():
            VehicleTransferFactory(vehicle=transfer.vehicle)

    def test_postgres_refuses_a_transfer_to_oneself(self):
        transfer = VehicleTransferFactory(accepted=True)

        with pytest.raises(IntegrityError, match="vehicle_transfer_goes_to_another"), transaction.atomic():
            VehicleTransfer.objects.filter(pk=transfer.pk).update(accepted_by=transfer.offered_by)
