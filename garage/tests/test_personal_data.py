"""What the garage knows of a person, and that erasing forgets it."""

import pytest

from core import clock, storage
from core.testing.http import client_for
from core.testing.tasks import run_all
from core.uploads.tests.factories import stored_upload
from garage import personal_data
from garage.tests.factories import StockFileFactory, VehicleFactory, VehicleModFactory, VehicleTransferFactory
from users import privacy, services
from users.tests.factories import UserDeviceFactory, UserFactory

VIN = "JYARN59C1MA633105"


def exported(user_id) -> dict[str, list]:
    return {holding.section: list(holding.export(user_id)) for holding in personal_data.PROVIDER.holdings}


def delete(user) -> None:
    services.delete_account(user=user, session=UserDeviceFactory(user=user), stock_files_saved=True, at=clock.now())


@pytest.mark.django_db
class TestProvider:
    def test_is_registered(self):
        assert personal_data.PROVIDER in privacy.providers()

    def test_counts_present_vehicles(self):
        owner = UserFactory()
        VehicleFactory(owner=owner)
        VehicleFactory(owner=owner, deleted=True)

        assert privacy.stats_of(owner.pk)["vehicles"] == 1

    def test_exports_everything_that_the_person_gave(self):
        vehicle = VehicleFactory(with_stock=True, vin=VIN, ecu_serial="S-1")
        VehicleModFactory(vehicle=vehicle)
        VehicleTransferFactory(vehicle=vehicle)

        found = exported(vehicle.owner_id)

        assert found["vehicles"][0]["vin"] == VIN and "vin_hash" not in found["vehicles"][0]
        assert found["ecu_readouts"][0]["serial"] == "S-1"
        assert [len(found[name]) for name in ("mods", "stock_files", "offered_transfers", "accepted_transfers")] == [1, 1, 1, 0]
        assert exported(UserFactory().pk)["vehicles"] == []

    def test_a_large_garage_is_read_in_chunks(self, monkeypatch):
        monkeypatch.setattr(privacy, "EXPORT_CHUNK", 2)
        owner = UserFactory()
        for _ in range(5):
            VehicleFactory(owner=owner)

        rows = exported(owner.pk)["vehicles"]

        assert len({row["id"] for row in rows}) == len(rows) == 5

    def test_deleting_erases_rows_and_stored_images(self):
        vehicle = VehicleFactory(with_ecu=True, vin=VIN, ecu_serial="S-1")
        upload = stored_upload(content=b"stock", owner_id=vehicle.owner_id, purpose="STOCK_FILE", ready=True, used=True)
        StockFileFactory(vehicle=vehicle, storage_key=upload.storage_key)

        delete(vehicle.owner)
        run_all()

        assert storage.head(upload.storage_key) is None
        assert VIN not in str(exported(vehicle.owner_id))
        vehicle.refresh_from_db()
        assert (vehicle.vin, vehicle.vin_hash, vehicle.make) == (None, None, "Yamaha") and vehicle.deleted_at is not None

    def test_the_next_owners_way_back_stays_although_somebody_else_brought_it(self):
        leaving = UserFactory()
        upload = stored_upload(content=b"stock", owner_id=leaving.pk, purpose="STOCK_FILE", ready=True, used=True)
        stock_file = StockFileFactory(
            vehicle=VehicleFactory(with_ecu=True), storage_key=upload.storage_key, upload_id=upload.pk, name="annas-bike.bin"
        )

        delete(leaving)
        run_all()

        stock_file.refresh_from_db()
        assert stock_file.name == "stock image" and storage.head(upload.storage_key) is not None


@pytest.mark.django_db
class TestOffer:
    def test_stock_files_are_offered_before_they_go(self):
        vehicle = VehicleFactory(with_stock=True)
        client = client_for(vehicle.owner, step_up=True)

        plan, refused = client.get("users/me/deletion/").json(), client.delete("users/me/")

        assert (refused.status_code, refused.json()["code"]) == (409, "stock_files_offered")
        assert refused.json()["stock_files"] == plan["stock_files"]
        offer = plan["stock_files"][0]
        fetched = client.get(offer["path"])
        assert fetched.status_code == 200 and fetched.json()["restore_ticket"] and fetched.json()["sha256"] == offer["sha256"]
        assert client.delete("users/me/?stock_files_saved=true").status_code == 200

    def test_nothing_is_asked_of_who_has_none(self):
        vehicle = VehicleFactory(with_ecu=True)

        assert client_for(vehicle.owner, step_up=True).delete("users/me/").status_code == 200
