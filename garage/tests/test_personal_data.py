"""What the garage knows of a person, and that erasing forgets it."""

import pytest

from core import storage
from core.testing.tasks import run_all
from core.uploads.tests.factories import stored_upload
from garage import personal_data
from garage.tests.factories import StockFileFactory, VehicleFactory, VehicleModFactory, VehicleTransferFactory
from users import privacy
from users.tests.factories import UserFactory

VIN = "JYARN59C1MA633105"


@pytest.mark.django_db
class TestProvider:
    def test_is_registered(self):
        assert personal_data.PROVIDER in privacy.providers()

    def test_counts_present_vehicles(self):
        owner = UserFactory()
        VehicleFactory(owner=owner)
        VehicleFactory(owner=owner, deleted=True)

        assert personal_data.stats(owner.pk) == {"vehicles": 1}

    def test_exports_everything_that_the_person_gave(self):
        vehicle = VehicleFactory(with_stock=True, vin=VIN, ecu_serial="S-1")
        VehicleModFactory(vehicle=vehicle)
        VehicleTransferFactory(vehicle=vehicle)

        found = personal_data.export(vehicle.owner_id)

        assert found["vehicles"][0]["vin"] == VIN
        assert found["ecu_readouts"][0]["serial"] == "S-1"
        assert [len(found[name]) for name in ("mods", "stock_files", "offered_transfers", "accepted_transfers")] == [1, 1, 1, 0]
        assert personal_data.export(UserFactory().pk)["vehicles"] == []

    def test_erases_rows_and_stored_images(self):
        vehicle = VehicleFactory(with_ecu=True, vin=VIN)
        upload = stored_upload(content=b"stock", owner_id=vehicle.owner_id, purpose="STOCK_FILE", ready=True, used=True)
        StockFileFactory(vehicle=vehicle, storage_key=upload.storage_key)

        receipt = personal_data.erase(vehicle.owner_id)
        run_all()

        assert receipt["erased"]["stock_files"] == 1 and receipt["kept"]
        assert storage.head(upload.storage_key) is None
        assert VIN not in str(personal_data.export(vehicle.owner_id))
