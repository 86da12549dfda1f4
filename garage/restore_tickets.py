"""Restore tickets: the signed way back. Nothing but the owner's own deletion stands between a rider and one."""

from datetime import datetime, timedelta
from typing import Any

from core import signing
from garage.enums import IdentityKind
from garage.identity import Identity
from garage.models import StockFile, Vehicle

LIFETIME = timedelta(days=180)


def sign_restore_ticket(*, vehicle: Vehicle, identity: Identity | None, stock_file: StockFile, at: datetime) -> dict[str, Any]:
    """An envelope that lets the app write this stock image back to this vehicle for 180 days. Made anew at every read.

    `identity` is `vehicle_identity(vehicle)`, asked once for a list. Called outside of transactions.
    Raises: SigningNotReady, ServiceUnavailable.
    """
    identity = identity or Identity(IdentityKind.STOCK_IMAGE, stock_file.image_sha256)
    payload = {
        **signing.base_fields(
            signing.PayloadType.RESTORE_TICKET, env=signing.environment_name(), issued_at=at, expires_at=at + LIFETIME
        ),
        "vehicle_id": vehicle.pk,
        "identity": identity.tag(),
        "hardware_number": stock_file.hardware_number,
        "image_sha256": stock_file.image_sha256,
        "image_size_bytes": stock_file.image_size_bytes,
    }
    return signing.sign(signing.Role.RESTORE, signing.PayloadType.RESTORE_TICKET, payload)
