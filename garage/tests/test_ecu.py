"""ECU read-outs with their history, and consent that no stock file can be made."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from core.meta import agreed_text
from core.models import AuditEvent
from core.testing.http import ApiClient, client_for
from garage import selectors, services
from garage.enums import IdentityKind
from garage.identity import vehicle_identity
from garage.models import EcuReadout, NoReadBackConsent, Vehicle
from garage.tests.factories import MADE_AT, EcuReadoutFactory, NoReadBackConsentFactory, StockFileFactory, VehicleFactory
from users.tests.factories import UserFactory

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
BODY = {
    "hardware_number": "BS2-8591A-00",
    "calibration_id": "BS2-EU-21",
    "serial": "SN-1",
    "image_size_bytes": 1048576,
    "read_at": "2026-06-01T10:00:00Z",
}


@pytest.fixture
def client(db):
    client = client_for(UserFactory())
    client.vehicle = VehicleFactory(owner=client.user)
    client.url = f"garage/vehicles/{client.vehicle.pk}/ecu/"
    return client


def ecu_of(client):
    return client.get(f"garage/vehicles/{client.vehicle.pk}/").json()["ecu"]


class TestSending:
    def test_answers_the_ecu_as_the_vehicle_shows_it(self, client):
        answer = client.put(client.url, BODY)

        assert answer.status_code == 200
        assert answer.json() == {**BODY, "stock_calibration_id": "BS2-EU-21", "installed": None} == ecu_of(client)

    def test_needs_neither_serial_nor_size(self, client):
        ecu = client.put(client.url, {name: BODY[name] for name in ("hardware_number", "calibration_id", "read_at")}).json()

        assert (ecu["serial"], ecu["image_size_bytes"]) == (None, None)

    def test_keeps_the_history(self, client):
        client.put(client.url, BODY)
        client.put(client.url, {**BODY, "calibration_id": "BS2-EU-22", "read_at": "2026-06-01T11:00:00Z"})

        history = client.get(f"{client.url}readouts/").json()["results"]
        assert [row["calibration_id"] for row in history] == ["BS2-EU-22", "BS2-EU-21"]
        assert ecu_of(client)["calibration_id"] == "BS2-EU-22"

    def test_sent_twice_is_one_read_out(self, client):
        assert client.put(client.url, BODY).json() == client.put(client.url, BODY).json()
        assert EcuReadout.objects.count() == 1

    def test_a_late_one_goes_to_the_history_only(self, client):
        client.put(client.url, BODY)

        answer = client.put(client.url, {**BODY, "calibration_id": "OLD", "read_at": "2026-05-01T10:00:00Z"})

        assert answer.json()["calibration_id"] == "BS2-EU-21"
        assert EcuReadout.objects.count() == 2

    def test_the_stock_calibration_stays_what_it_was_first(self, client):
        client.put(client.url, BODY)
        ecu = client.put(client.url, {**BODY, "calibration_id": "TUNED", "read_at": "2026-06-01T11:00:00Z"}).json()

        assert (ecu["calibration_id"], ecu["stock_calibration_id"]) == ("TUNED", "BS2-EU-21")

    def test_another_ecu_begins_anew(self, client):
        client.put(client.url, BODY)
        install(client.vehicle)
        assert ecu_of(client)["installed"]["version"] == "1.4.0"

        ecu = client.put(client.url, {**BODY, "hardware_number": "OTHER", "calibration_id": "C2", "read_at": "2026-06-01T11:00:00Z"}).json()

        assert (ecu["stock_calibration_id"], ecu["installed"]) == ("C2", None)

    def test_the_serial_is_encrypted_at_rest(self, client):
        client.put(client.url, {**BODY, "serial": "SECRET-SERIAL"})

        with connection.cursor() as cursor:
            cursor.execute("SELECT r::text FROM garage_ecureadout r")
            (text,) = cursor.fetchone()
        assert "SECRET-SERIAL" not in text and b"SECRET-SERIAL".hex() not in text

    @pytest.mark.parametrize(
        ("changes", "pointer", "code"),
        [
            ({"hardware_number": ""}, "/hardware_number", "blank"),
            ({"hardware_number": "x" * 65}, "/hardware_number", "max_length"),
            ({"calibration_id": None}, "/calibration_id", "null"),
            ({"image_size_bytes": 0}, "/image_size_bytes", "min_value"),
            ({"image_size_bytes": 2**31}, "/image_size_bytes", "max_value"),
            ({"image_size_bytes": "1"}, "/image_size_bytes", "invalid"),
            ({"read_at": "today"}, "/read_at", "invalid"),
            ({"read_at": "2999-01-01T00:00:00Z"}, "/read_at", "in_future"),
            ({"installed": {}}, "/installed", "unknown_field"),
        ],
    )
    def test_refuses_what_is_wrong(self, client, changes, pointer, code):
        answer = client.put(client.url, {**BODY, **changes})

        assert answer.status_code == 400
        assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(pointer, code)]
        assert not EcuReadout.objects.exists()

    @pytest.mark.parametrize("read_at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
    def test_times_at_the_end_of_the_calendar_are_no_bug(self, client, read_at):
        assert client.put(client.url, {**BODY, "read_at": read_at}).status_code in {200, 400}

    def test_foreign_and_missing_are_the_same(self, client):
        for pk in (VehicleFactory().pk, uuid.uuid4(), VehicleFactory(owner=client.user, deleted=True).pk):
            assert client.put(f"garage/vehicles/{pk}/ecu/", BODY).json()["code"] == "not_found"
            assert client.get(f"garage/vehicles/{pk}/ecu/readouts/").json()["code"] == "not_found"
        assert ApiClient().put(client.url, BODY).status_code == 401

    @pytest.mark.parametrize("rows", [1, 20])
    def test_the_history_takes_three_queries_whatever_the_rows(self, client, django_assert_num_queries, rows):
        for number in range(rows):
            EcuReadoutFactory(vehicle=client.vehicle, read_at=MADE_AT + timedelta(hours=number))

        with django_assert_num_queries(3):  # session, vehicle, read-outs
            assert len(client.get(f"{client.url}readouts/").json()["results"]) == rows


def install(vehicle, **changes):
    facts = {
        "tune_id": uuid.uuid4(),
        "tune_version_id": uuid.uuid4(),
        "version": "1.4.0",
        "calibration_id": "T",
        "installed_at": NOW,
        "at": NOW,
    }
    services.record_installed_tune(vehicle_id=vehicle.pk, **{**facts, **changes})


@pytest.mark.django_db
class TestInstalled:
    def test_the_latest_report_counts(self):
        vehicle = VehicleFactory(with_ecu=True)

        install(vehicle, version="2.0.0")
        install(vehicle, version="1.0.0", installed_at=NOW - timedelta(days=1))  # an offline phone reports late

        vehicle.refresh_from_db()
        assert vehicle.installed_version == "2.0.0"

    def test_a_restore_forgets_it(self):
        vehicle = VehicleFactory(with_ecu=True)
        install(vehicle)

        services.forget_installed_tune(vehicle_id=vehicle.pk, at=NOW)

        vehicle.refresh_from_db()
        assert (vehicle.installed_tune_id, vehicle.installed_at, vehicle.stock_calibration_id) == (None, None, vehicle.ecu.calibration_id)


@pytest.mark.django_db
class TestIdentity:
    def test_is_the_best_that_is_known(self):
        vin, frame = VehicleFactory(vin="JYARN59C1MA633105", frame_number="F"), VehicleFactory(frame_number="F", ecu_serial="S")
        serial, image, nothing = VehicleFactory(ecu_serial="S", with_stock=True), VehicleFactory(with_stock=True), VehicleFactory()

        kinds = [found and found.kind for found in map(vehicle_identity, (vin, frame, serial, image, nothing))]

        assert kinds == [IdentityKind.VIN, IdentityKind.FRAME_NUMBER, IdentityKind.ECU_SERIAL, IdentityKind.STOCK_IMAGE, None]

    def test_the_first_image_stays_the_identity(self):
        vehicle = VehicleFactory(with_stock=True)
        before = vehicle_identity(vehicle)
        StockFileFactory(vehicle=vehicle, created_at=MADE_AT + timedelta(days=1))

        assert vehicle_identity(vehicle) == before

    def test_the_same_vehicle_is_found_by_hash_whatever_its_row(self):
        first, again = VehicleFactory(vin="JYARN59C1MA633105", deleted=True), VehicleFactory(vin="JYARN59C1MA633105")

        assert vehicle_identity(first).keyed_hash == vehicle_identity(again).keyed_hash

    def test_tags_are_salted_and_the_value_is_never_shown(self):
        identity = vehicle_identity(VehicleFactory(vin="JYARN59C1MA633105"))

        assert identity.tag() != identity.tag()
        assert "JYARN59C1MA633105" not in repr(identity) + str(identity.tag())


class TestNoReadBack:
    def url(self, client):
        return f"garage/vehicles/{client.vehicle.pk}/no-read-back/"

    def body(self, **changes):
        return {"text_version": agreed_text("no_read_back").version, "accepted": True, **changes}

    def test_keeps_version_hash_and_ecu(self, client):
        client.put(client.url, BODY)

        answer = client.post(self.url(client), self.body())

        text = agreed_text("no_read_back")
        assert answer.status_code == 200
        assert answer.json()["text_version"] == text.version and answer.json()["text_sha256"] == text.sha256
        assert answer.json()["hardware_number"] == BODY["hardware_number"]
        assert AuditEvent.objects.filter(act="no_read_back.accepted", subject_id=client.vehicle.pk).count() == 1

    def test_said_twice_is_one_word(self, client):
        first, again = client.post(self.url(client), self.body()), client.post(self.url(client), self.body())

        assert first.json() == again.json()
        assert NoReadBackConsent.objects.count() == AuditEvent.objects.filter(act="no_read_back.accepted").count() == 1

    @pytest.mark.parametrize(
        ("changes", "status", "code"),
        [
            ({"accepted": False}, 400, "must_be_true"),
            ({"accepted": "true"}, 400, "invalid"),
            ({"accepted": None}, 400, "null"),
            ({"text_version": ""}, 400, "blank"),
            ({"x": 1}, 400, "unknown_field"),
            ({"text_version": "1999-01-01"}, 409, "text_version_outdated"),
        ],
    )
    def test_refuses_anything_but_a_yes_to_the_present_text(self, client, changes, status, code):
        answer = client.post(self.url(client), self.body(**changes))

        assert answer.status_code == status
        assert code in [answer.json()["code"], *(error["code"] for error in answer.json().get("errors", []))]
        assert not NoReadBackConsent.objects.exists()

    def test_foreign_is_missing(self, client):
        assert client.post(f"garage/vehicles/{VehicleFactory().pk}/no-read-back/", self.body()).status_code == 404

    def test_counts_for_this_ecu_and_this_owner_only(self, db):
        consent = NoReadBackConsentFactory()
        vehicle = consent.vehicle
        assert selectors.has_no_read_back_consent(vehicle)

        vehicle.ecu = EcuReadoutFactory(vehicle=vehicle, hardware_number="OTHER", read_at=MADE_AT + timedelta(days=1))
        assert not selectors.has_no_read_back_consent(vehicle)
        vehicle.refresh_from_db()
        vehicle.owner = UserFactory()
        assert not selectors.has_no_read_back_consent(vehicle)


@pytest.mark.django_db
class TestConstraints:
    def test_postgres_refuses_a_serial_without_its_hash(self):
        with pytest.raises(IntegrityError, match="ecu_readout_serial_iff_hash"), transaction.atomic():
            EcuReadoutFactory(serial="S", serial_hash=None)

    def test_postgres_refuses_an_empty_image(self):
        with pytest.raises(IntegrityError, match="ecu_readout_image_size_positive"), transaction.atomic():
            EcuReadoutFactory(image_size_bytes=0)

    def test_postgres_refuses_the_same_read_out_twice(self):
        readout = EcuReadoutFactory()

        with pytest.raises(IntegrityError, match="ecu_readout_once_per_time"), transaction.atomic():
            EcuReadoutFactory(vehicle=readout.vehicle)

    def test_a_vehicle_keeps_its_pointer_through_a_save(self):
        vehicle = VehicleFactory(with_ecu=True)

        assert Vehicle.objects.get(pk=vehicle.pk).ecu_id == vehicle.ecu.pk
