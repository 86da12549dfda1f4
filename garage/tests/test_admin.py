"""The garage in the admin: everything personal is masked, and a whole VIN still finds its vehicle."""

import pytest

from core.testing.admin import admin_client, list_of, list_queries, page_of
from garage.models import Vehicle
from garage.tests.factories import VehicleFactory
from users.tests.factories import UserFactory

VIN = "JYARN53E1MA000042"
FRAME_NUMBER = "RN-1234567"


@pytest.mark.django_db
class TestVehicles:
    def test_a_vin_finds_its_vehicle_and_is_shown_masked(self):
        client = admin_client()
        vehicle = VehicleFactory(vin=VIN, nickname="<b>Blue</b>")
        VehicleFactory()

        found = list_of(client, Vehicle, q="jyarn53e1 ma000042")
        page = page_of(client, vehicle)

        assert str(vehicle.pk) in found
        assert found.count("/change/") == 1 + found.count(f"/users/user/{vehicle.owner_id}/change/")
        assert "JYA•••••••••••042" in found and "JYA•••••••••••042" in page
        assert VIN not in page + list_of(client, Vehicle)
        assert "Blue" not in page

    def test_nothing_can_be_changed(self):
        client, vehicle = admin_client(), VehicleFactory()

        answer = client.post(f"/admin/garage/vehicle/{vehicle.pk}/change/", {"make": "Other", "owner": str(UserFactory().pk)})

        make = vehicle.make
        vehicle.refresh_from_db()
        assert (answer.status_code, vehicle.make) == (403, make)

    def test_the_list_asks_as_much_for_twenty_rows_as_for_two(self):
        client = admin_client()
        VehicleFactory.create_batch(2)
        few = list_queries(client, Vehicle)
        VehicleFactory.create_batch(18)

        assert list_queries(client, Vehicle) == few
