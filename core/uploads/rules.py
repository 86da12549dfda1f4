"""What may be uploaded for which purpose."""

from dataclasses import dataclass
from datetime import timedelta

from core.storage import PRIVATE, PUBLIC, Bucket
from core.uploads.enums import UploadPurpose

MIB = 1024 * 1024
GIB = 1024 * MIB
PICTURES = ("image/jpeg", "image/png", "image/webp")
BINARIES = ("application/octet-stream", "text/plain")  # raw images; Intel HEX and S-record are text

LINK_LIFETIME = timedelta(minutes=15)
UPLOAD_LIFETIME = timedelta(hours=24)
OPEN_UPLOADS_PER_OWNER = 50
OPEN_BYTES_PER_OWNER = 256 * MIB


@dataclass(frozen=True)
class UploadRule:
    """Limits of one purpose. `longest_side` bounds a stored picture's pixels; `parser` names the check.

    `kept_files` and `kept_bytes` are what one person may have in storage for it, files on their way in included.
    """

    max_bytes: int
    content_types: tuple[str, ...]
    parser: str  # "picture", "document", or "registered": an upper app's inspector
    kept_files: int
    kept_bytes: int
    bucket: Bucket = PRIVATE
    longest_side: int = 2048


RULES: dict[str, UploadRule] = {
    UploadPurpose.AVATAR: UploadRule(8 * MIB, PICTURES, "picture", 60, 480 * MIB, PUBLIC, longest_side=512),
    UploadPurpose.VEHICLE_PHOTO: UploadRule(8 * MIB, PICTURES, "picture", 500, GIB, PUBLIC),
    UploadPurpose.TUNE_IMAGE: UploadRule(8 * MIB, PICTURES, "picture", 5_000, 10 * GIB, PUBLIC),
    UploadPurpose.CERTIFICATION: UploadRule(10 * MIB, (*PICTURES, "application/pdf"), "document", 200, GIB, longest_side=4096),
    UploadPurpose.CASE_FILE: UploadRule(10 * MIB, (*PICTURES, "application/pdf"), "document", 1_000, 2 * GIB, longest_side=4096),
    UploadPurpose.STOCK_FILE: UploadRule(16 * MIB, BINARIES, "registered", 500, 2 * GIB),
    UploadPurpose.TUNE_FILE: UploadRule(16 * MIB, BINARIES, "registered", 10_000, 40 * GIB),
}
LARGEST_BYTES = max(rule.max_bytes for rule in RULES.values())
