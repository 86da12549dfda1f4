"""The vault of stock images: what is taken, what is refused, and the signed way back."""

import hashlib
import uuid
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
import requests
from django.db import IntegrityError, transaction

from core import signing, storage
from core.exceptions import ServiceUnavailable
from core.models import AuditEvent
from core.testing.http import ApiClient, client_for
from core.testing.races import race_all
from core.testing.tasks import run_all
from core.uploads.models import Upload
from core.uploads.tests.factories import UploadFactory, stored_upload
from garage import services, tasks, tune_images
from garage.ecu_images import generator, inspect_bytes
from garage.enums import IdentityKind
from garage.identity import Identity
from garage.models import StockFile, Vehicle
from garage.tests.factories import CALIBRATION_ID, HARDWARE_NUMBER, IMAGE_SIZE_BYTES, MADE_AT, StockFileFactory, VehicleFactory
from users.models import Notice
from users.tests.factories import UserFactory

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@cache
def stock_image(hardware_number=HARDWARE_NUMBER, calibration_id=CALIBRATION_ID, size=IMAGE_SIZE_BYTES):
    return generator.make_stock(seed=7, hardware_number=hardware_number, calibration_id=calibration_id, size=size)


def upload_of(owner, content=None, *, make=UploadFactory, **changes):
    """A READY upload with the report that the inspection gives on its bytes."""
    content = content or stock_image()
    details = inspect_bytes(content).to_dict()
    facts = {"purpose": "STOCK_FILE", "ready": True, "name": "mt09 original.bin", "content_type": "application/octet-stream"}
    return make(content=content, owner_id=owner.pk, details=details, **{**facts, **changes})


@pytest.fixture
def client(db):
    client = client_for(UserFactory())
    client.vehicle = VehicleFactory(owner=client.user, with_ecu=True)
    client.url = f"garage/vehicles/{client.vehicle.pk}/stock-files/"
    return client


def save(client, upload, **headers):
    return client.post(client.url, {"upload_id": str(upload.pk)}, **headers)


class TestSaving:
    def test_answers_hashes_ecu_ticket_and_link(self, client):
        upload = upload_of(client.user, make=stored_upload)

        answer = save(client, upload)

        assert answer.status_code == 201
        body, digest = answer.json(), hashlib.sha256(stock_image()).hexdigest()
        assert (body["sha256"], body["size_bytes"], body["format"], body["name"]) == (digest, IMAGE_SIZE_BYTES, "BIN", "mt09 original.bin")
        assert body["image"] == {"base": 0, "size_bytes": IMAGE_SIZE_BYTES, "sha256": digest}
        assert (body["hardware_number"], body["calibration_id"]) == (HARDWARE_NUMBER, CALIBRATION_ID)
        assert requests.get(body["url"], timeout=10).content == stock_image()
        assert client.get(f"garage/vehicles/{client.vehicle.pk}/").json()["has_stock_file"] is True
        assert AuditEvent.objects.filter(act="stock_file.saved", subject_id=client.vehicle.pk).count() == 1

    def test_takes_intel_hex_by_its_decoded_image(self, client):
        body = save(client, upload_of(client.user, generator.to_intel_hex(stock_image()))).json()

        assert body["format"] == "INTEL_HEX"
        assert body["image"]["sha256"] == hashlib.sha256(stock_image()).hexdigest() != body["sha256"]

    def test_needs_a_read_out_to_check_against(self, client):
        fresh = VehicleFactory(owner=client.user)

        answer = client.post(f"garage/vehicles/{fresh.pk}/stock-files/", {"upload_id": str(upload_of(client.user).pk)})

        assert (answer.status_code, answer.json()["code"]) == (409, "ecu_readout_required")

    @pytest.mark.parametrize(
        ("image", "code"),
        [
            ({"size": 2 * IMAGE_SIZE_BYTES}, "image_size_mismatch"),
            ({"hardware_number": "OTHER-1"}, "hardware_number_mismatch"),
            ({"calibration_id": "OTHER-CAL"}, "calibration_id_mismatch"),
        ],
    )
    def test_refuses_an_image_of_another_ecu_and_leaves_the_upload_unused(self, client, image, code):
        upload = upload_of(client.user, stock_image(**image))

        answer = save(client, upload)

        assert (answer.status_code, answer.json()["code"]) == (409, "stock_file_mismatch")
        assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [("/upload_id", code)]
        assert not StockFile.objects.exists()
        assert Upload.objects.get(pk=upload.pk).used_at is None

    def test_an_original_saved_elsewhere_fits_after_a_flash(self, client):
        """The ECU now reports a tune's calibration; the stock calibration is known from before."""
        services.record_ecu_readout(
            owner=client.user, vehicle_id=client.vehicle.pk, hardware_number=HARDWARE_NUMBER, calibration_id="TUNED", read_at=NOW, at=NOW
        )

        assert save(client, upload_of(client.user)).status_code == 201
        assert save(client, upload_of(client.user, stock_image(calibration_id="THIRD"))).json()["code"] == "stock_file_mismatch"

    def test_what_is_read_while_a_tune_is_installed_is_no_original(self, client):
        services.record_installed_tune(
            vehicle_id=client.vehicle.pk,
            tune_id=uuid.uuid4(),
            tune_version_id=uuid.uuid4(),
            version="1.0.0",
            calibration_id="TUNED",
            installed_at=NOW,
            at=NOW,
        )
        services.record_ecu_readout(
            owner=client.user, vehicle_id=client.vehicle.pk, hardware_number=HARDWARE_NUMBER, calibration_id="TUNED", read_at=NOW, at=NOW
        )

        assert save(client, upload_of(client.user, stock_image(calibration_id="TUNED"))).json()["code"] == "stock_file_mismatch"

    def test_refuses_a_tune(self, client, monkeypatch):
        tuned = hashlib.sha256(stock_image()).hexdigest()
        monkeypatch.setattr(tune_images, "_checks", [lambda image_sha256: image_sha256 == tuned])

        raw, as_hex = save(client, upload_of(client.user)), save(client, upload_of(client.user, generator.to_intel_hex(stock_image())))

        assert {(answer.status_code, answer.json()["code"]) for answer in (raw, as_hex)} == {(409, "stock_file_is_tune")}
        assert not StockFile.objects.exists()

    def test_the_same_image_is_kept_once(self, client):
        first = save(client, upload_of(client.user)).json()
        again = save(client, upload_of(client.user, generator.to_intel_hex(stock_image())))

        assert (again.status_code, again.json()["code"], again.json()["stock_file_id"]) == (409, "stock_file_exists", first["id"])

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"purpose": "TUNE_FILE"}, "upload_wrong_purpose"),
            ({"ready": False}, "upload_not_ready"),
            ({"ready": False, "refused": True}, "upload_refused"),
            ({"used": True}, "upload_used"),
        ],
    )
    def test_refuses_uploads_that_are_not_fit(self, client, changes, code):
        answer = save(client, upload_of(client.user, **changes))

        assert answer.status_code == 400
        assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [("/upload_id", code)]

    def test_a_foreign_upload_is_missing(self, client):
        foreign, missing = upload_of(UserFactory()), UploadFactory.build(id=uuid.uuid4())

        codes = [save(client, upload).json()["errors"][0]["code"] for upload in (foreign, missing)]
        assert codes == ["upload_not_found", "upload_not_found"]

    @pytest.mark.parametrize(
        "body", [{}, {"upload_id": None}, {"upload_id": "x"}, {"upload_id": str(uuid.uuid4()), "name": "x"}, {"upload_id": []}]
    )
    def test_refuses_bad_bodies(self, client, body):
        assert client.post(client.url, body).status_code == 400

    def test_an_idempotency_key_finds_the_first_answer(self, client):
        upload = upload_of(client.user)
        first, again = (save(client, upload, HTTP_IDEMPOTENCY_KEY="k") for _ in range(2))

        assert (first.status_code, again.status_code, again.json()["id"]) == (201, 201, first.json()["id"])
        assert StockFile.objects.count() == 1


class TestReading:
    def test_foreign_and_missing_are_the_same(self, client):
        foreign = StockFileFactory()
        urls = [
            f"garage/vehicles/{foreign.vehicle_id}/stock-files/{foreign.pk}/",
            f"{client.url}{foreign.pk}/",
            f"{client.url}{uuid.uuid4()}/",
        ]

        assert {client.get(url).json()["code"] for url in [*urls, f"garage/vehicles/{foreign.vehicle_id}/stock-files/"]} == {"not_found"}
        assert ApiClient().get(client.url).status_code == 401

    def test_a_blocked_account_keeps_its_way_back(self, client):
        stock_file = StockFileFactory(vehicle=client.vehicle)
        type(client.user).objects.filter(pk=client.user.pk).update(blocked_at=NOW, blocked_reason="chargeback")

        assert client.delete(f"garage/vehicles/{client.vehicle.pk}/").status_code == 403
        assert client.get(client.url).status_code == 200
        assert client.get(f"{client.url}{stock_file.pk}/").json()["restore_ticket"]
        assert save(client, upload_of(client.user)).status_code == 403

    def test_with_storage_away_tickets_are_still_given(self, client, monkeypatch):
        stock_file = StockFileFactory(vehicle=client.vehicle)

        def away():
            raise ServiceUnavailable("storage")

        monkeypatch.setattr(storage, "ensure_available", away)

        listed, one = client.get(client.url), client.get(f"{client.url}{stock_file.pk}/")

        assert (listed.status_code, listed.json()["results"][0]["url"]) == (200, None)
        assert listed.json()["results"][0]["restore_ticket"]["signatures"]
        assert (one.status_code, one.json()["service"], one["Retry-After"]) == (503, "storage", "5")

    @pytest.mark.parametrize("rows", [1, 20])
    def test_the_list_takes_four_queries_whatever_the_rows(self, client, django_assert_num_queries, rows):
        for number in range(rows):
            StockFileFactory(vehicle=client.vehicle, created_at=MADE_AT + timedelta(minutes=number))
        client.get(client.url)  # keys and storage are warm

        with django_assert_num_queries(4):  # session, vehicle, identity, stock files
            assert len(client.get(client.url).json()["results"]) == rows

    def test_one_takes_four_queries(self, client, django_assert_num_queries):
        stock_file = StockFileFactory(vehicle=client.vehicle)
        client.get(client.url)

        with django_assert_num_queries(4):  # session, vehicle, stock file, identity
            client.get(f"{client.url}{stock_file.pk}/")


class TestRestoreTickets:
    def payload_of(self, envelope):
        return signing.verify(envelope, role=signing.Role.RESTORE, root=signing.current_root())

    def test_say_what_may_be_written_to_which_vehicle(self, client):
        Vehicle.objects.filter(pk=client.vehicle.pk).update(vin="JYARN59C1MA633105", vin_hash=b"h")
        body = save(client, upload_of(client.user)).json()

        payload = self.payload_of(body["restore_ticket"])

        assert payload["_type"] == "restore-ticket"
        assert payload["vehicle_id"] == str(client.vehicle.pk)
        assert payload["hardware_number"] == HARDWARE_NUMBER
        assert (payload["image_sha256"], payload["image_size_bytes"]) == (body["image"]["sha256"], IMAGE_SIZE_BYTES)
        identity = payload["identity"]
        expected = Identity(IdentityKind.VIN, "JYARN59C1MA633105").tag(salt=identity["salt"])
        assert identity == {name: str(value) for name, value in expected.items()}
        issued, expires = (datetime.fromisoformat(payload[name]) for name in ("issued_at", "expires_at"))
        assert expires - issued == timedelta(days=180)

    def test_are_renewed_on_every_read(self, client):
        stock_file = StockFileFactory(vehicle=client.vehicle)
        url = f"{client.url}{stock_file.pk}/"

        first, again = (self.payload_of(client.get(url).json()["restore_ticket"]) for _ in range(2))

        assert first["identity"]["salt"] != again["identity"]["salt"]
        assert first["identity"]["kind"] == IdentityKind.STOCK_IMAGE


@pytest.mark.django_db
class TestConstraints:
    @pytest.mark.parametrize(
        ("constraint", "values"),
        [
            ("stock_file_format_known", {"format": "XDF"}),
            ("stock_file_hashes_are_sha256", {"sha256": "ABC"}),
            ("stock_file_sizes_positive", {"size_bytes": 0}),
        ],
    )
    def test_postgres_refuses(self, constraint, values):
        stock_file = StockFileFactory(vehicle=VehicleFactory(with_ecu=True))

        with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
            StockFile.objects.filter(pk=stock_file.pk).update(**values)

    def test_postgres_refuses_an_image_twice_for_a_vehicle(self):
        stock_file = StockFileFactory(vehicle=VehicleFactory(with_ecu=True))

        with pytest.raises(IntegrityError, match="stock_file_image_once_per_vehicle"), transaction.atomic():
            StockFileFactory(vehicle=stock_file.vehicle, image_sha256=stock_file.image_sha256)


@pytest.mark.django_db(transaction=True)
class TestTwoSavesAtOnce:
    """One upload is sent as the stock file of two vehicles."""

    def savers(self):
        first = VehicleFactory(with_ecu=True)
        vehicles, upload = [first, VehicleFactory(owner=first.owner, with_ecu=True)], upload_of(first.owner)
        return [
            lambda v=vehicle: services.save_stock_file(owner=first.owner, vehicle_id=v.pk, upload_id=upload.pk, at=NOW)
            for vehicle in vehicles
        ]

    def test_one_gets_the_upload(self):
        assert race_all(self.savers()) == ["invalid_input", "ok"]
        assert StockFile.objects.count() == 1

    def test_control_without_the_lock_only_postgres_stops_the_second(self):
        with pytest.raises(IntegrityError, match="upload_id"):
            race_all(self.savers(), row_locks=False, meet_after='FROM "core_upload"')


class TestTheDailyCheck:
    @pytest.fixture
    def stock_file(self, client):
        assert save(client, upload_of(client.user, make=stored_upload)).status_code == 201
        return StockFile.objects.get()

    def check(self, *, day=0):
        """Each hour of a day."""
        return sum(services.check_stock_files(at=NOW.replace(day=1 + day, hour=hour)) for hour in range(24))

    def test_what_is_as_it_was_saved_is_told_to_nobody(self, stock_file):
        assert self.check() == 0
        tasks.check_stock_files.enqueue()
        run_all()

        assert not Notice.objects.exists()

    def test_each_is_looked_at_once_a_day(self, db):
        made = [StockFileFactory(sha256=f"{byte:02x}".ljust(64, "0")) for byte in (0x00, 0x09, 0x0A, 0x0B, 0x7F, 0x80, 0xF4, 0xF5, 0xFF)]

        assert self.check() == len(made)  # none of them has bytes in storage
        damaged = AuditEvent.objects.filter(act="stock_file.integrity_failed").values_list("subject_id", flat=True)
        assert sorted(damaged) == sorted(stock_file.vehicle_id for stock_file in made)

    @pytest.mark.parametrize("moved", ["other bytes", "gone"])
    def test_the_owner_is_told_once_and_the_way_back_stays_open(self, client, stock_file, moved):
        if moved == "gone":
            storage.delete(stock_file.storage_key)
        else:
            storage.put_bytes(stock_file.storage_key, b"\x00" * stock_file.size_bytes, "application/octet-stream")

        assert [self.check(day=0), self.check(day=1)] == [1, 1]

        assert Notice.objects.get(user=client.user).title == "A stock image is damaged"
        assert AuditEvent.objects.filter(act="stock_file.integrity_failed", subject_id=client.vehicle.pk).count() == 1
        assert client.get(f"{client.url}{stock_file.pk}/").status_code == 200

    def test_storage_that_is_away_alarms_nobody(self, stock_file, settings):
        settings.S3_ENDPOINT_URL = "http://127.0.0.1:9"

        with pytest.raises(ServiceUnavailable):
            self.check()
        assert not Notice.objects.exists()
