"""Consent to flash without a way back."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from core import audit
from core.meta import agreed_text
from garage.exceptions import TextVersionOutdated
from garage.models import NoReadBackConsent
from garage.services.vehicles import get_locked_vehicle
from users.models import User


def accept_no_read_back(*, owner: User, vehicle_id: UUID, text_version: str, at: datetime) -> NoReadBackConsent:
    """Keep the owner's word that they know no stock image of this ECU can be made.

    Locks the vehicle. Idempotent: the same word for the same ECU is one row. The caller saw to it that it was a yes.
    Raises: VehicleNotFound, TextVersionOutdated (member `current`).
    """
    text = agreed_text("no_read_back")
    if text_version != text.version:
        raise TextVersionOutdated(current=text.version)
    with transaction.atomic():
        vehicle = get_locked_vehicle(owner, vehicle_id)
        consent, created = NoReadBackConsent.objects.get_or_create(
            vehicle=vehicle,
            given_by_id=owner.pk,
            hardware_number=vehicle.ecu.hardware_number if vehicle.ecu else "",
            text_version=text.version,
            defaults={"text_sha256": text.sha256, "accepted_at": at},
        )
        if created:
            audit.record(
                act="no_read_back.accepted",
                actor_id=owner.pk,
                subject_id=vehicle.pk,
                at=at,
                text_version=text.version,
                text_sha256=text.sha256,
            )
    return consent
