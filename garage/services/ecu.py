"""What a vehicle's ECU reported, and what was flashed into it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from core.crypto import keyed_hash
from core.exceptions import InvalidInput
from garage import policies
from garage.models import EcuReadout, Vehicle
from garage.services.vehicles import get_locked_vehicle
from users.models import User


def record_ecu_readout(
    *,
    owner: User,
    vehicle_id: UUID,
    hardware_number: str,
    calibration_id: str,
    read_at: datetime,
    at: datetime,
    serial: str | None = None,
    image_size_bytes: int | None = None,
) -> EcuReadout:
    """Keep what the app read from an owner's ECU; the newest by `read_at` is what verdicts look at.

    A first read-out, or one of another ECU, also tells the stock calibration, as long as no tune of ours is installed.
    Locks the vehicle. Idempotent: the same read-out sent twice is one row.
    Raises: VehicleNotFound, InvalidInput (read_at in the future).
    """
    if policies.is_in_future(read_at, at=at):
        raise InvalidInput.at("/read_at", "in_future", "This moment has not come yet: check the phone's clock.")
    facts = {
        "serial": serial or None,
        "serial_hash": keyed_hash("ecu_serial", serial) if serial else None,
        "image_size_bytes": image_size_bytes,
        "received_at": at,
    }
    with transaction.atomic():
        vehicle = get_locked_vehicle(owner, vehicle_id)
        readout, created = EcuReadout.objects.get_or_create(
            vehicle=vehicle, hardware_number=hardware_number, calibration_id=calibration_id, read_at=read_at, defaults=facts
        )
        before = vehicle.ecu
        if created and (before is None or read_at >= before.read_at):
            _point_to(vehicle, readout, before, at=at)
    return readout


def _point_to(vehicle: Vehicle, readout: EcuReadout, before: EcuReadout | None, *, at: datetime) -> None:
    changes: dict[str, Any] = {"ecu": readout}
    if before is None or before.hardware_number != readout.hardware_number:
        changes["stock_calibration_id"] = readout.calibration_id
        if before is not None:  # another ECU: what was installed went with the old one
            changes |= _NOTHING_INSTALLED
    Vehicle.objects.filter(pk=vehicle.pk).update(**changes, updated_at=at, changed_at=Now())


_NOTHING_INSTALLED: dict[str, Any] = {
    "installed_tune_id": None,
    "installed_tune_version_id": None,
    "installed_version": None,
    "installed_calibration_id": None,
    "installed_at": None,
}


def record_installed_tune(
    *,
    vehicle_id: UUID,
    tune_id: UUID,
    tune_version_id: UUID,
    version: str,
    calibration_id: str | None,
    installed_at: datetime,
    at: datetime,
) -> None:
    """Note which of our tunes was flashed into a vehicle. Called by the marketplace, with a successful flash report.

    A report that is older than what is known changes nothing. One conditional UPDATE; idempotent.
    """
    Vehicle.objects.filter(pk=vehicle_id).exclude(installed_at__gt=installed_at).update(
        installed_tune_id=tune_id,
        installed_tune_version_id=tune_version_id,
        installed_version=version,
        installed_calibration_id=calibration_id,
        installed_at=installed_at,
        updated_at=at,
        changed_at=Now(),
    )


def forget_installed_tune(*, vehicle_id: UUID, at: datetime) -> None:
    """Note that a vehicle is back on its stock image. Called by the marketplace, with a RESTORED report. Idempotent."""
    Vehicle.objects.filter(pk=vehicle_id, installed_tune_id__isnull=False).update(
        **_NOTHING_INSTALLED, updated_at=at, changed_at=Now()
    )
