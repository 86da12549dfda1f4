"""Flash tickets: what one says, and how the same one is made again.

A ticket's body is never stored, because the identity in it could be guessed: the row keeps its hash and everything else
that it is made of, and its salt follows from its id. So a phone that lost the answer gets the very same ticket.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from core import crypto, signing
from garage.identity import Identity, vehicle_identity
from garage.models import EcuReadout, Vehicle
from marketplace.models import FlashTicket
from marketplace.services.releases import pseudonym


@dataclass(frozen=True)
class TicketFacts:
    """What a ticket is made of. Everything but the identity is kept in its row."""

    ticket_id: UUID
    purchase_id: UUID | None
    holder_id: UUID
    vehicle_id: UUID
    channel: str
    identity: Identity
    hardware_number: str
    calibration_id: str
    image_size_bytes: int
    release_payload_sha256: str
    file_sha256: str
    file_size_bytes: int
    device_key: str
    status_version_min: int
    issued_at: datetime
    expires_at: datetime


def sign_ticket(facts: TicketFacts) -> dict[str, Any]:
    """The envelope. The same facts give the same bytes. Never called in a transaction.

    Raises: SigningNotReady, ServiceUnavailable("signing").
    """
    salt = crypto.keyed_hash("ticket_salt", str(facts.ticket_id)).hex()[:32]
    payload = {
        **signing.base_fields(
            signing.PayloadType.TICKET, env=signing.environment_name(), issued_at=facts.issued_at, expires_at=facts.expires_at
        ),
        "ticket_id": facts.ticket_id,
        "purchase_id": facts.purchase_id,
        "buyer": pseudonym(facts.holder_id),
        "vehicle_id": facts.vehicle_id,
        "channel": str(facts.channel),
        "identity": facts.identity.tag(salt=salt),
        "ecu": {
            "hardware_number": facts.hardware_number,
            "calibration_id": facts.calibration_id,
            "image_size_bytes": facts.image_size_bytes,
        },
        "release_payload_sha256": facts.release_payload_sha256,
        "file_sha256": facts.file_sha256,
        "file_size_bytes": facts.file_size_bytes,
        "device_key": facts.device_key or None,
        "status_version_min": facts.status_version_min,
    }
    return signing.sign(signing.Role.TICKET, signing.PayloadType.TICKET, payload)


def sign_again(
    ticket: FlashTicket, *, vehicle: Vehicle, release_payload_sha256: str, file_sha256: str, file_size_bytes: int, at: datetime
) -> dict[str, Any] | None:
    """The same ticket once more, or None when it ran out, was reported, or what it was made of is not what it was."""
    if at >= ticket.expires_at or ticket.reported_at is not None:
        return None
    identity = vehicle_identity(vehicle)
    readout = EcuReadout.objects.filter(pk=ticket.readout_id).first()
    if identity is None or readout is None or readout.image_size_bytes is None:
        return None
    envelope = sign_ticket(
        TicketFacts(
            ticket_id=ticket.pk,
            purchase_id=ticket.purchase_id,
            holder_id=ticket.holder_id,
            vehicle_id=ticket.vehicle_id,
            channel=ticket.channel,
            identity=identity,
            hardware_number=readout.hardware_number,
            calibration_id=readout.calibration_id,
            image_size_bytes=readout.image_size_bytes,
            release_payload_sha256=release_payload_sha256,
            file_sha256=file_sha256,
            file_size_bytes=file_size_bytes,
            device_key=ticket.device_key,
            status_version_min=ticket.status_version_min,
            issued_at=ticket.issued_at,
            expires_at=ticket.expires_at,
        )
    )
    return envelope if signing.payload_sha256(envelope) == ticket.payload_sha256 else None
