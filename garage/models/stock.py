"""The way back: a vehicle's original images, or the rider's consent that none can be made."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from core.ids import new_id
from garage.enums import ImageFormat
from garage.models.vehicles import EcuReadout, Vehicle


class StockFile(models.Model):
    """One original image of a vehicle's ECU, inspected when it was uploaded. Immutable; moves with the vehicle.

    Read to restore the vehicle, which nothing may stop: no state of a tune, license or account stands between. Deleted
    only with its vehicle when the owner's account is erased.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    vehicle = models.ForeignKey(Vehicle, on_delete=models.PROTECT, related_name="stock_files")
    readout = models.ForeignKey(EcuReadout, on_delete=models.PROTECT, null=True, related_name="+")  # what it was checked against
    upload_id = models.UUIDField(unique=True)  # one upload is one stock file, however often its request is sent
    name = models.CharField(max_length=200)
    storage_key = models.CharField(max_length=200)
    format = models.CharField(max_length=9, choices=ImageFormat)
    sha256 = models.CharField(max_length=64)
    size_bytes = models.PositiveIntegerField()
    image_base = models.BigIntegerField()
    image_sha256 = models.CharField(max_length=64)
    image_size_bytes = models.PositiveIntegerField()
    hardware_number = models.CharField(max_length=64)
    calibration_id = models.CharField(max_length=64)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(name="stock_file_format_known", condition=Q(format__in=ImageFormat.values)),
            models.CheckConstraint(
                name="stock_file_hashes_are_sha256",
                condition=Q(sha256__regex=r"^[0-9a-f]{64}$", image_sha256__regex=r"^[0-9a-f]{64}$"),
            ),
            models.CheckConstraint(name="stock_file_sizes_positive", condition=Q(size_bytes__gt=0, image_size_bytes__gt=0)),
            models.UniqueConstraint(
                name="stock_file_image_once_per_vehicle",  # the same image saved again is the same way back
                fields=["vehicle", "image_sha256"],
            ),
        ]
        indexes = [
            models.Index(name="stock_file_vault", fields=["vehicle", "-created_at", "-id"]),
            models.Index(name="stock_file_by_sha256", fields=["sha256"]),  # the daily check of stored bytes
        ]

    def __str__(self) -> str:
        return f"stock image {self.hardware_number} {self.calibration_id} ({self.id})"


class NoReadBackConsent(models.Model):
    """The owner's word that they flash an ECU that can't be read, knowing that there is no way back.

    Append-only: which text (version and hash), who, when, and for which hardware number. It counts only while the
    vehicle's ECU is that one and its owner the one who gave it.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    vehicle = models.ForeignKey(Vehicle, on_delete=models.PROTECT, related_name="no_read_back_consents")
    given_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    hardware_number = models.CharField(max_length=64)
    text_version = models.CharField(max_length=40)
    text_sha256 = models.CharField(max_length=64)
    accepted_at = models.DateTimeField()

    class Meta:
        verbose_name = "no-read-back consent"
        constraints = [
            models.UniqueConstraint(
                name="no_read_back_consent_once",  # a repeated request is the same word, not a second one
                fields=["vehicle", "given_by", "hardware_number", "text_version"],
            ),
            models.CheckConstraint(
                name="no_read_back_consent_hash_is_sha256", condition=Q(text_sha256__regex=r"^[0-9a-f]{64}$")
            ),
        ]

    def __str__(self) -> str:
        return f"no-read-back consent {self.text_version} for {self.vehicle_id}"
