"""HASH_KEY is changed, and every vehicle is known again."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from core import clock, crypto
from garage.models import Vehicle
from garage.tests.factories import VehicleFactory
from marketplace.models import License
from marketplace.selectors.purchasing import identity_hashes_of
from marketplace.tests.factories import LicenseFactory, PurchaseFactory
from users.models import RecoveryCode
from users.services.mfa import replace_recovery_codes, verify_second_factor
from users.tests.factories import UserFactory

pytestmark = pytest.mark.django_db
VIN = "JYARN59C1MA633105"


@pytest.fixture
def change_key(settings):
    def change() -> None:
        settings.HASH_KEYS_RETIRED = [settings.HASH_KEY, *settings.HASH_KEYS_RETIRED]
        settings.HASH_KEY = f"next-{settings.HASH_KEY}"

    return change


def run(*args: str) -> str:
    out = StringIO()
    call_command("rotate_hash_key", *args, stdout=out)
    return out.getvalue()


@pytest.mark.parametrize(
    "vehicle", [{"vin": VIN}, {"frame_number": "F-1"}, {"ecu_serial": "S-1"}, {}], ids=["vin", "frame", "serial", "image"]
)
def test_vehicles_and_their_licenses_are_known_again(change_key, vehicle):
    bike = VehicleFactory(with_stock=True, **vehicle)
    hashes = identity_hashes_of(bike)
    purchase = PurchaseFactory(paid=True, buyer=bike.owner, vehicle_id=bike.pk, vehicle_identity_hashes=hashes, with_license=False)
    LicenseFactory(purchase=purchase, bound=True)
    change_key()

    run("--batch", "1")

    known_now = identity_hashes_of(Vehicle.objects.select_related("ecu").get(pk=bike.pk))
    assert known_now != hashes and License.objects.get().vehicle_identity_hashes == known_now
    purchase.refresh_from_db()
    assert purchase.vehicle_identity_hashes == known_now
    assert ", 1 hashed anew" not in run("--batch", "1")


def test_a_vehicle_is_found_by_its_number_again(change_key):
    bike = VehicleFactory(vin=VIN)
    change_key()
    assert not Vehicle.objects.filter(vin_hash=crypto.keyed_hash("vin", VIN)).exists()

    run()

    assert Vehicle.objects.get(vin_hash=crypto.keyed_hash("vin", VIN)).pk == bike.pk


def test_what_is_unknown_stays(change_key):
    purchase = PurchaseFactory(vehicle_identity_hashes=["ab" * 32])
    change_key()

    run()

    purchase.refresh_from_db()
    assert purchase.vehicle_identity_hashes == ["ab" * 32]


def test_the_old_key_is_asked_for(settings):
    with pytest.raises(CommandError, match="HASH_KEYS_RETIRED is empty"):
        run()


def test_recovery_codes_work_on_under_the_retired_key(change_key):
    user = UserFactory(mfa=True)
    first, second, *_ = replace_recovery_codes(user, at=clock.now())
    assert verify_second_factor(user=user, code=first, at=clock.now())
    change_key()

    assert verify_second_factor(user=user, code=second, at=clock.now())
    assert not verify_second_factor(user=user, code=second, at=clock.now())
    assert RecoveryCode.objects.filter(user=user, used_at=None).count() == 8
