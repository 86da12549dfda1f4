"""Two keys live at once, and the older one goes without a value being lost."""

import threading
from io import StringIO

import pytest
from cryptography.fernet import Fernet, InvalidToken
from django.core.management import CommandError, call_command
from django.db import connection

from core import crypto, key_rotation
from garage.models import Vehicle
from garage.tests.factories import VehicleFactory
from users.tests.factories import TOTP_SECRET, UserFactory

VIN = "JYARN59C1MA633105"


def run(*args: str) -> str:
    out = StringIO()
    call_command("rotate_field_keys", *args, stdout=out)
    return out.getvalue()


@pytest.fixture
def keys(settings):
    """The key so far, and the next one."""
    old, new = settings.FIELD_ENCRYPTION_KEYS[0], Fernet.generate_key().decode()
    yield old, new
    crypto._cipher.cache_clear()


@pytest.mark.django_db
class TestRotation:
    def test_finds_every_encrypted_column(self):
        names = {f"{model._meta.label}.{field.name}" for model, field in key_rotation.encrypted_fields()}

        assert {"garage.Vehicle.vin", "garage.Vehicle.frame_number", "garage.EcuReadout.serial", "users.TotpDevice.secret"} <= names

    def test_both_keys_are_read_and_the_old_one_can_go_afterwards(self, keys, settings):
        old, new = keys
        before = VehicleFactory(vin=VIN, frame_number="F-1")
        settings.FIELD_ENCRYPTION_KEYS = [new, old]
        after = VehicleFactory(vin="JYARN59C1MA633106")
        assert {vehicle.vin for vehicle in Vehicle.objects.all()} == {VIN, after.vin}
        with pytest.raises(CommandError, match="still needed"):
            run("--check")

        said = run("--batch", "1")

        assert "garage.Vehicle.vin: 2 rows, 1 encrypted anew, 0 unreadable" in said
        assert "garage.Vehicle.vin: 2 rows, 0 still under an older key" in run("--check")
        settings.FIELD_ENCRYPTION_KEYS = [new]
        before.refresh_from_db()
        assert (before.vin, before.frame_number) == (VIN, "F-1")
        assert bytes(before.vin_hash) == crypto.keyed_hash("vin", VIN)

    def test_second_factors_survive(self, keys, settings):
        old, new = keys
        user = UserFactory(mfa=True)
        settings.FIELD_ENCRYPTION_KEYS = [new, old]

        run()

        settings.FIELD_ENCRYPTION_KEYS = [new]
        assert user.totp_devices.get().secret == TOTP_SECRET

    def test_a_second_run_has_nothing_to_do(self, keys, settings):
        old, new = keys
        VehicleFactory(vin=VIN)
        settings.FIELD_ENCRYPTION_KEYS = [new, old]
        run()

        assert "garage.Vehicle.vin: 1 rows, 0 encrypted anew" in run()

    def test_a_stopped_run_goes_on(self, keys, settings):
        old, new = keys
        for number in range(3):
            VehicleFactory(vin=f"JYARN59C1MA63310{number}")
        settings.FIELD_ENCRYPTION_KEYS = [new, old]
        half = key_rotation.rotate(batch=1)
        while not ((progress := next(half)).column == "garage.Vehicle.vin" and progress.seen == 2):
            pass
        half.close()

        assert "garage.Vehicle.vin: 3 rows, 1 encrypted anew" in run()

    def test_a_missing_key_is_said_and_changes_nothing(self, settings):
        vehicle = VehicleFactory(vin=VIN)
        known = settings.FIELD_ENCRYPTION_KEYS
        settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]

        with pytest.raises(CommandError, match="a key is missing"):
            run()

        with pytest.raises(InvalidToken):
            vehicle.refresh_from_db()
        settings.FIELD_ENCRYPTION_KEYS = known
        vehicle.refresh_from_db()
        assert vehicle.vin == VIN


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("compares", [True, False])
def test_a_value_that_was_written_meanwhile_stays(keys, settings, monkeypatch, compares):
    """The rotation has read the old VIN when its owner writes another one. Without the comparison the old one comes back."""
    old, new = keys
    vehicle = VehicleFactory(vin=VIN)
    settings.FIELD_ENCRYPTION_KEYS = [new, old]
    has_read, has_written = threading.Event(), threading.Event()
    read = key_rotation._read

    def read_and_wait(model, field, **where):
        rows = read(model, field, **where)
        if rows and field.name == "vin":
            has_read.set()
            assert has_written.wait(timeout=10)
        return rows

    monkeypatch.setattr(key_rotation, "_read", read_and_wait)

    def uncompared(execute, sql, params, many, context):
        if sql.startswith("UPDATE"):
            sql, params = sql.rpartition(" AND ")[0], params[:-1]
        return execute(sql, params, many, context)

    def rotate() -> None:
        try:
            if compares:
                run()
            else:
                with connection.execute_wrapper(uncompared):
                    run()
        finally:
            connection.close()

    rotating = threading.Thread(target=rotate)
    rotating.start()
    assert has_read.wait(timeout=20)
    Vehicle.objects.filter(pk=vehicle.pk).update(vin="JYARN59C1MA633199")
    has_written.set()
    rotating.join(timeout=20)

    vehicle.refresh_from_db()
    assert vehicle.vin == ("JYARN59C1MA633199" if compares else VIN)
