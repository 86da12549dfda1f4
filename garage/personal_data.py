"""What the garage knows about a person, for the profile's figures, the data export and the erasure of an account."""

from typing import Any
from uuid import UUID

from garage.enums import TransferState
from garage.models import (
    EcuReadout,
    NoReadBackConsent,
    StockFile,
    Vehicle,
    VehicleMod,
    VehicleTransfer,
)
from garage.services import erase_garage
from users.privacy import Provider

VEHICLE_COLUMNS = (
    "id",
    "kind",
    "nickname",
    "make",
    "model",
    "year",
    "market",
    "vin",
    "frame_number",
    "odometer_km",
    "is_primary",
    "fuel_octane",
    "fuel_scale",
    "stock_calibration_id",
    "created_at",
    "updated_at",
    "deleted_at",
)
READOUT_COLUMNS = ("vehicle_id", "hardware_number", "calibration_id", "serial", "image_size_bytes", "read_at", "received_at")
STOCK_FILE_COLUMNS = ("id", "vehicle_id", "name", "sha256", "size_bytes", "hardware_number", "calibration_id", "created_at")
MOD_COLUMNS = ("vehicle_id", "category", "brand", "part", "installed_on", "notes", "created_at")
CONSENT_COLUMNS = ("vehicle_id", "hardware_number", "text_version", "text_sha256", "accepted_at")
TRANSFER_COLUMNS = ("vehicle_id", "state", "offered_at", "expires_at", "ended_at")


def stats(user_id: UUID) -> dict[str, int]:
    """How many vehicles a person has."""
    return {"vehicles": Vehicle.objects.filter(owner_id=user_id).present().count()}


def export(user_id: UUID) -> dict[str, Any]:
    """Everything that the person gave the garage or caused in it."""
    vehicles = Vehicle.objects.filter(owner_id=user_id)
    return {
        "vehicles": list(vehicles.order_by("pk").values(*VEHICLE_COLUMNS)),
        "mods": list(VehicleMod.objects.filter(vehicle__in=vehicles).order_by("pk").values(*MOD_COLUMNS)),
        "ecu_readouts": list(EcuReadout.objects.filter(vehicle__in=vehicles).order_by("pk").values(*READOUT_COLUMNS)),
        "stock_files": list(StockFile.objects.filter(vehicle__in=vehicles).order_by("pk").values(*STOCK_FILE_COLUMNS)),
        "no_read_back_consents": list(NoReadBackConsent.objects.filter(given_by_id=user_id).order_by("pk").values(*CONSENT_COLUMNS)),
        "offered_transfers": list(VehicleTransfer.objects.filter(offered_by_id=user_id).order_by("pk").values(*TRANSFER_COLUMNS)),
        "accepted_transfers": list(
            VehicleTransfer.objects.filter(accepted_by_id=user_id, state=TransferState.ACCEPTED).order_by("pk").values(*TRANSFER_COLUMNS)
        ),
    }


def erase(user_id: UUID, **_options: Any) -> dict[str, Any]:
    """Forget the person's vehicles; answers what went and what stays. Idempotent."""
    gone = erase_garage(user_id)
    return {
        "erased": {**gone, "fields": ["nickname", "vin", "frame_number", "odometer_km", "ecu serial"]},
        "kept": [{"what": "vehicle rows without identifying fields", "why": "licenses and purchases refer to them"}],
    }


PROVIDER = Provider(name="garage", stats=stats, export=export, erase=erase)
