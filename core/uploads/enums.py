"""What a file is for, how far it has come, and why it was refused."""

from django.db.models import TextChoices


class UploadPurpose(TextChoices):
    AVATAR = "AVATAR", "Profile picture"
    VEHICLE_PHOTO = "VEHICLE_PHOTO", "Photo of a vehicle"
    TUNE_IMAGE = "TUNE_IMAGE", "Picture of a tune"
    CERTIFICATION = "CERTIFICATION", "Certificate of a tuner"
    STOCK_FILE = "STOCK_FILE", "Stock file of an ECU"
    TUNE_FILE = "TUNE_FILE", "Tune file"
    CASE_FILE = "CASE_FILE", "Attachment of a case"


class UploadState(TextChoices):
    PENDING = "PENDING", "Waiting for the bytes"
    CHECKING = "CHECKING", "Being checked"
    READY = "READY", "Checked, may be used"
    REFUSED = "REFUSED", "Refused, see the reasons"
