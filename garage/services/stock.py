"""The vault of stock images."""

from datetime import datetime
from uuid import UUID

import structlog
from django.db import transaction

from core import audit, storage
from core.exceptions import FieldError
from core.uploads.services import claim_upload
from garage import policies, tune_images
from garage.exceptions import (
    EcuReadoutRequired,
    StockFileExists,
    StockFileIsTune,
    StockFileMismatch,
)
from garage.models import EcuReadout, StockFile, Vehicle
from garage.services.vehicles import get_locked_vehicle, touch
from users.enums import NoticeSeverity, NoticeType
from users.models import User
from users.services import notify

log = structlog.get_logger("garage.stock")


def save_stock_file(*, owner: User, vehicle_id: UUID, upload_id: UUID, at: datetime) -> StockFile:
    """Keep an inspected upload as the way back of an owner's vehicle, checked against its read-out.

    Locks vehicle and upload; the upload is used up only if the file is kept. Not idempotent by itself.
    Raises: VehicleNotFound, EcuReadoutRequired, InvalidInput (upload_id), StockFileMismatch, StockFileIsTune, StockFileExists.
    """
    with transaction.atomic():
        vehicle = get_locked_vehicle(owner, vehicle_id)
        if vehicle.ecu is None:
            raise EcuReadoutRequired
        upload = claim_upload(upload_id=upload_id, owner_id=owner.pk, purpose="STOCK_FILE", at=at)
        image, detected = upload.details["image"], upload.details.get("detected") or {}
        _ensure_fits(vehicle, vehicle.ecu, image["size_bytes"], detected)
        if tune_images.is_a_tune(image["sha256"]):
            raise StockFileIsTune
        present = StockFile.objects.filter(vehicle=vehicle, image_sha256=image["sha256"]).first()
        if present is not None:
            raise StockFileExists(stock_file_id=str(present.pk))
        stock_file = StockFile.objects.create(
            vehicle=vehicle,
            readout=vehicle.ecu,
            upload_id=upload.pk,
            name=upload.name,
            storage_key=upload.storage_key,
            format=upload.details["format"],
            sha256=upload.sha256,
            size_bytes=upload.size_bytes,
            image_base=image["base"],
            image_sha256=image["sha256"],
            image_size_bytes=image["size_bytes"],
            hardware_number=vehicle.ecu.hardware_number,
            calibration_id=detected.get("calibration_id") or vehicle.ecu.calibration_id,
            created_at=at,
        )
        if vehicle.stock_calibration_id is None:
            Vehicle.objects.filter(pk=vehicle.pk).update(stock_calibration_id=stock_file.calibration_id)
        touch(vehicle.pk, at=at)
        audit.record(act="stock_file.saved", actor_id=owner.pk, subject_id=vehicle.pk, at=at, stock_file_id=stock_file.pk)
    return stock_file


def _ensure_fits(vehicle: Vehicle, readout: EcuReadout, image_size_bytes: int, detected: dict) -> None:
    """Raises: StockFileMismatch with everything that differs. What the image does not tell can't differ."""
    errors = []
    if readout.image_size_bytes is not None and readout.image_size_bytes != image_size_bytes:
        errors.append(
            FieldError(
                "image_size_mismatch", f"The image has {image_size_bytes} bytes, the ECU {readout.image_size_bytes}.", "/upload_id"
            )
        )
    hardware_number = detected.get("hardware_number")
    if hardware_number and hardware_number.casefold() != readout.hardware_number.casefold():
        errors.append(
            FieldError("hardware_number_mismatch", f"The image is of {hardware_number}, the ECU a {readout.hardware_number}.", "/upload_id")
        )
    calibration_id = detected.get("calibration_id")
    if calibration_id and not policies.is_stock_calibration(vehicle, calibration_id):
        errors.append(
            FieldError("calibration_id_mismatch", f"The image has {calibration_id}, not the vehicle's stock calibration.", "/upload_id")
        )
    if errors:
        raise StockFileMismatch(errors=errors)


def check_stock_files(*, at: datetime) -> int:
    """Hash this hour's stored stock images, a 24th of all by their hash; returns how many are not what was saved.

    Called by the schedule hourly. Nothing is taken away, for phones refuse other bytes: staff are alarmed each time, the
    owner is told once. Raises: ServiceUnavailable.
    """
    wrong = 0
    first, end = (f"{256 * hour // 24:02x}" if hour < 24 else "g" for hour in (at.hour, at.hour + 1))
    for stock_file in StockFile.objects.filter(sha256__gte=first, sha256__lt=end).order_by("sha256").iterator(chunk_size=200):
        try:
            found = storage.hash_object(stock_file.storage_key)
        except storage.ObjectMissing:
            found = None
        if found != (stock_file.sha256, stock_file.size_bytes):
            wrong += _alarm(stock_file.pk, at=at)
    return wrong


def _alarm(stock_file_id: UUID, *, at: datetime) -> bool:
    """Whether there was anything to tell: not of an account that was erased meanwhile. Locks the vehicle."""
    with transaction.atomic():
        vehicle = Vehicle.objects.select_for_update(no_key=True, of=("self",)).filter(stock_files=stock_file_id).first()
        if vehicle is None:
            return False
        log.critical("stock_file_changed", stock_file=str(stock_file_id), vehicle=str(vehicle.pk))
        notice = notify(
            user_id=vehicle.owner_id,
            type=NoticeType.SECURITY,
            severity=NoticeSeverity.WARNING,
            title="A stock image is damaged",
            body=f"What we keep as the stock image of your {vehicle.make} {vehicle.model} is not what you saved. "
            "Keep the copy on your phone, and flash nothing before our staff have answered.",
            link={"resource": "vehicle", "id": vehicle.pk},
            dedupe_key=f"stock-file-changed:{stock_file_id}:{vehicle.owner_id}",
            at=at,
        )
        if notice is not None:
            audit.record(act="stock_file.integrity_failed", actor_id=None, subject_id=vehicle.pk, at=at, stock_file_id=stock_file_id)
    return True
