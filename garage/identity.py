"""What tells one vehicle from all others, and the salted tag that a ticket carries of it."""

import hashlib
import secrets
from dataclasses import dataclass

from core.crypto import keyed_hash
from garage.enums import IdentityKind
from garage.models import StockFile, Vehicle


@dataclass(frozen=True)
class Identity:
    """A vehicle's identity. The value is personal: it is never stored in a ticket nor logged."""

    kind: str
    value: str

    def __repr__(self) -> str:
        return f"Identity({self.kind})"

    @property
    def keyed_hash(self) -> bytes:
        """32 bytes to match it by: whatever row it stood in, the same vehicle gives the same bytes."""
        return keyed_hash(f"identity_{self.kind}", self.value)

    def tag(self, *, salt: str | None = None) -> dict[str, str]:
        """`{kind, salt, tag}` of a ticket: SHA-256 over a salt of 16 bytes (hex, fresh unless given) and the value, in UTF-8."""
        salt = salt or secrets.token_hex(16)
        return {"kind": self.kind, "salt": salt, "tag": hashlib.sha256((salt + self.value).encode()).hexdigest()}


def vehicle_identity(vehicle: Vehicle) -> Identity | None:
    """The best of VIN, frame number, ECU serial and stock image, or None. A query only if it comes to the image."""
    if vehicle.vin:
        return Identity(IdentityKind.VIN, vehicle.vin)
    if vehicle.frame_number:
        return Identity(IdentityKind.FRAME_NUMBER, vehicle.frame_number)
    if vehicle.ecu is not None and vehicle.ecu.serial:
        return Identity(IdentityKind.ECU_SERIAL, vehicle.ecu.serial)
    oldest = StockFile.objects.filter(vehicle_id=vehicle.pk).order_by("created_at", "id").values_list("image_sha256", flat=True).first()
    return Identity(IdentityKind.STOCK_IMAGE, oldest) if oldest else None
