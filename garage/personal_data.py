"""What the garage holds about a person: vehicles with what identifies them, read-outs, parts, stock images, transfers."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from core.storage import PUBLIC
from core.uploads.enums import UploadPurpose
from core.uploads.models import Upload
from garage.models import NoReadBackConsent, RescueLink, StockFile, Vehicle
from garage.services import erase_garage
from users.privacy import BOOKS_ARE_KEPT_FOR, AtDeletion, Excuse, Holding, Provider, StoredFile


def _stats(user_id: UUID) -> dict[str, int]:
    return {"vehicles": Vehicle.objects.filter(owner_id=user_id).present().count()}


def _files(user_id: UUID) -> Iterator[StoredFile]:
    for row in StockFile.objects.filter(vehicle__owner_id=user_id).order_by("pk"):
        yield StoredFile("stock_files", str(row.pk), row.name, row.storage_key)
    for pk, key in Vehicle.objects.filter(owner_id=user_id).exclude(photo_key="").values_list("pk", "photo_key"):
        yield StoredFile("vehicles", str(pk), "photo.webp", key, PUBLIC)


def _needed_keys(keys: set[str]) -> set[str]:
    """A stock image moves with its vehicle: what this person uploaded may be the next owner's way back."""
    return {
        *StockFile.objects.filter(storage_key__in=keys).values_list("storage_key", flat=True),
        *Vehicle.objects.filter(photo_key__in=keys).values_list("photo_key", flat=True),
    }


def _offers(user_id: UUID) -> Iterator[dict[str, Any]]:
    """Nothing else may stand between a rider and the way back to stock; so the way back is offered before it goes."""
    for row in StockFile.objects.filter(vehicle__owner_id=user_id, vehicle__deleted_at=None).order_by("pk"):
        yield {
            "id": str(row.pk),
            "vehicle": str(row.vehicle_id),
            "hardware_number": row.hardware_number,
            "calibration_id": row.calibration_id,
            "sha256": row.sha256,
            "size_bytes": row.size_bytes,
            "path": f"/api/v1/garage/vehicles/{row.vehicle_id}/stock-files/{row.pk}/",
        }


def _prepare(user_id: UUID, *, at: datetime) -> None:
    NoReadBackConsent.objects.filter(given_by_id=user_id).delete()
    RescueLink.objects.filter(made_by_id=user_id).delete()
    brought = Upload.objects.filter(owner_id=user_id, purpose=UploadPurpose.STOCK_FILE).values("pk")
    StockFile.objects.filter(upload_id__in=brought).update(name="stock image")  # of vehicles that were handed on: their word for it
    erase_garage(user_id, at=at)


OF_VEHICLE = "vehicle__owner_id"

PROVIDER = Provider(
    name="garage",
    stats=_stats,
    files=_files,
    needed_keys=_needed_keys,
    offers=_offers,
    prepare=_prepare,
    holdings=(
        Holding(
            "garage.StockFile", of=OF_VEHICLE, section="stock_files", why="The vehicle's way back to stock.",
            at_deletion=AtDeletion.DELETED, withheld="storage_key",
        ),
        Holding(
            "garage.RescueLink", of=OF_VEHICLE, section="rescue_links", why="The way back from any phone, by a code that the owner made.",
            at_deletion=AtDeletion.DELETED, withheld="token_sha256 made_by",
        ),
        Holding(
            "garage.RescueLink", of="made_by_id", section="rescue_links_made",
            why="The way back from any phone, by a code that the owner made.",
            at_deletion=AtDeletion.DELETED, withheld="token_sha256",
        ),
        Holding(
            "garage.NoReadBackConsent", of=OF_VEHICLE, section="consents_on_my_vehicles",
            why="The owner's word that no stock image can be made.", at_deletion=AtDeletion.DELETED, withheld="given_by",
        ),
        Holding(
            "garage.NoReadBackConsent", of="given_by_id", section="no_read_back_consents",
            why="The owner's word that no stock image can be made.", at_deletion=AtDeletion.DELETED,
        ),
        Holding("garage.VehicleMod", of=OF_VEHICLE, section="mods", why="Parts decide which tunes fit.", at_deletion=AtDeletion.DELETED,
                withheld="creation_fingerprint"),
        Holding(
            "garage.EcuReadout", of=OF_VEHICLE, section="ecu_readouts", why="Which tunes fit, and whose ECU it is.",
            at_deletion=AtDeletion.BLANKED, blank={"serial": None, "serial_hash": None}, stays="vehicle hardware_number calibration_id",
            because="part numbers, which name no vehicle; flash tickets were issued on them", until=BOOKS_ARE_KEPT_FOR,
            withheld="serial_hash",
        ),
        Holding(
            "garage.VehicleTransfer", of="offered_by_id", section="offered_transfers", why="A vehicle is handed on by a one-time code.",
            at_deletion=AtDeletion.KEPT, stays="vehicle offered_by accepted_by code_hash departed",
            because="the next owner's garage follows from it; it holds make, model and year and opaque ids", until=BOOKS_ARE_KEPT_FOR,
            withheld="accepted_by code_hash tries_left",
        ),
        Holding(
            "garage.VehicleTransfer", of="accepted_by_id", section="accepted_transfers", why="A vehicle is handed on by a one-time code.",
            at_deletion=AtDeletion.KEPT, stays="vehicle offered_by accepted_by code_hash departed",
            because="the former owner's garage follows from it; it holds make, model and year and opaque ids", until=BOOKS_ARE_KEPT_FOR,
            withheld="offered_by code_hash tries_left departed",
        ),
        Holding(
            "garage.Vehicle", of="owner_id", section="vehicles",
            why="Which tunes fit, and that a license is used on one vehicle. VIN and frame number are encrypted.",
            at_deletion=AtDeletion.BLANKED,
            blank={
                "nickname": "", "photo_key": "", "vin": None, "vin_hash": None, "vin_warnings": [], "frame_number": None,
                "frame_number_hash": None, "odometer_km": None, "creation_fingerprint": None,
            },
            stays="owner make model catalog_model unlisted_name ecu stock_calibration_id installed_tune_id installed_tune_version_id "
            "installed_version installed_calibration_id",
            because="licenses and purchases refer to the row, which names a make, a model and a year", until=BOOKS_ARE_KEPT_FOR,
            withheld="vin_hash frame_number_hash creation_fingerprint",
        ),
    ),
    excuses=(
        Excuse("garage.VehicleMake", "*", "The catalogue."),
        Excuse("garage.MakeAlias", "*", "The catalogue."),
        Excuse("garage.VehicleModel", "*", "The catalogue."),
        Excuse("garage.ModelAlias", "*", "The catalogue."),
        Excuse("garage.VehicleGeneration", "*", "The catalogue."),
        Excuse("garage.UnlistedName", "*", "Words for a make and model, without whose: many vehicles may bear them."),
    ),
)  # fmt: skip
