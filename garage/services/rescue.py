"""Making, using and ending rescue links."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F

from core import audit, storage
from garage import policies, selectors
from garage.exceptions import RescueLinkInvalid, RescueLinkNotFound, StockFileRequired, TooManyRescueLinks, VehicleNotFound
from garage.identity import vehicle_identity
from garage.models import RescueLink, StockFile, Vehicle
from garage.restore_tickets import sign_restore_ticket
from garage.services.vehicles import get_locked_vehicle
from users.enums import NoticeType
from users.models import User
from users.services import notify

LIFETIME = timedelta(days=180)
TOKEN_BYTES = 24


@dataclass(frozen=True)
class Rescue:
    """What a code opens: the stock image of one vehicle and its ticket. Nothing in it is about the owner."""

    vehicle: Vehicle
    stock_file: StockFile
    restore_ticket: dict[str, Any]


def make_rescue_link(*, owner: User, vehicle_id: UUID, at: datetime) -> tuple[RescueLink, str]:
    """Make a code for a vehicle of which a stock image is kept. Returns the link and its token, which can't be shown again.

    Called by the owner, whose session was stepped up. Locks the vehicle. Not idempotent: each call makes a new one.
    Raises: VehicleNotFound, StockFileRequired, TooManyRescueLinks.
    """
    token = secrets.token_urlsafe(TOKEN_BYTES)
    with transaction.atomic():
        vehicle = get_locked_vehicle(owner, vehicle_id)
        if selectors.find_rescue_image(vehicle) is None:
            raise StockFileRequired
        if RescueLink.objects.of(vehicle).open(at=at).count() >= policies.MAX_RESCUE_LINKS:
            raise TooManyRescueLinks
        link = _store(vehicle, token, made_by=owner, reason="", at=at)
    return link, token


def issue_rescue_link(*, actor: User, vehicle_id: UUID, reason: str, at: datetime) -> tuple[RescueLink, str]:
    """Make a code by staff, for somebody who can't sign in and stands beside a dead bike. The owner is told.

    Called by an admin who has made sure whom they talk to. Locks the vehicle. However many codes are open. Not idempotent.
    Raises: PermissionRefused, VehicleNotFound (also one that its owner deleted), StockFileRequired.
    """
    policies.ensure_is_staff(actor)
    token = secrets.token_urlsafe(TOKEN_BYTES)
    with transaction.atomic():
        vehicle = Vehicle.objects.present().select_for_update(no_key=True, of=("self",)).select_related("ecu").filter(pk=vehicle_id).first()
        if vehicle is None:
            raise VehicleNotFound
        if selectors.find_rescue_image(vehicle) is None:
            raise StockFileRequired
        link = _store(vehicle, token, made_by=actor, reason=reason, at=at)
        notify(
            user_id=vehicle.owner_id,
            type=NoticeType.SECURITY,
            title="Our staff made a rescue code",
            body=f"It opens the stock image of your {vehicle.make} {vehicle.model}. If you did not ask for it, revoke it in your garage.",
            link={"resource": "vehicle", "id": vehicle.pk},
            at=at,
        )
    return link, token


def _store(vehicle: Vehicle, token: str, *, made_by: User, reason: str, at: datetime) -> RescueLink:
    link = RescueLink.objects.create(
        vehicle=vehicle, made_by_id=made_by.pk, token_sha256=_hash(token), created_at=at, expires_at=at + LIFETIME
    )
    audit.record(act="rescue_link.made", actor_id=made_by.pk, subject_id=vehicle.pk, at=at, reason=reason, rescue_link_id=link.pk)
    return link


def url_of(token: str) -> str:
    """What a code to scan holds: the page of ours, and the token in the fragment, which no server sees."""
    return f"{settings.PUBLIC_BASE_URL}/rescue#{token}"


def revoke_rescue_link(*, owner: User, vehicle_id: UUID, link_id: UUID, at: datetime) -> None:
    """End a link. Idempotent. Locks the vehicle. Raises: VehicleNotFound, RescueLinkNotFound."""
    with transaction.atomic():
        vehicle = get_locked_vehicle(owner, vehicle_id)
        if not RescueLink.objects.of(vehicle).filter(pk=link_id).exists():
            raise RescueLinkNotFound
        if RescueLink.objects.filter(pk=link_id, revoked_at=None).update(revoked_at=at):
            audit.record(act="rescue_link.revoked", actor_id=owner.pk, subject_id=vehicle.pk, at=at, rescue_link_id=link_id)


def use_rescue_link(*, token: str, at: datetime) -> Rescue:
    """Open a code: one use is counted, the owner is told, the act is audited.

    Called by anybody. The ticket is signed, and storage asked, before the transaction in which one conditional UPDATE counts
    the use: of parallel calls no more than are left succeed, and an outage costs none. Which image: the newest that
    is kept for the ECU that is in the vehicle, else the newest.
    Raises: RescueLinkInvalid (unknown, used up, over, revoked: all alike), SigningNotReady, ServiceUnavailable.
    """
    link = RescueLink.objects.open(at=at).select_related("vehicle__ecu").filter(token_sha256=_hash(token)).first()
    stock_file = selectors.find_rescue_image(link.vehicle) if link is not None else None
    if link is None or stock_file is None:
        raise RescueLinkInvalid
    vehicle = link.vehicle
    storage.ensure_available()
    ticket = sign_restore_ticket(vehicle=vehicle, identity=vehicle_identity(vehicle), stock_file=stock_file, at=at)
    with transaction.atomic():
        if not RescueLink.objects.open(at=at).filter(pk=link.pk).update(uses_left=F("uses_left") - 1, last_used_at=at):
            raise RescueLinkInvalid
        audit.record(
            act="rescue_link.used", actor_id=None, subject_id=vehicle.pk, at=at, rescue_link_id=link.pk, stock_file_id=stock_file.pk
        )
        notify(
            user_id=vehicle.owner_id,
            type=NoticeType.SECURITY,
            title="Your rescue code was used",
            body=f"Somebody opened the stock image of your {vehicle.make} {vehicle.model} with a rescue code that you made. "
            "If you gave it to nobody, revoke it in your garage.",
            link={"resource": "vehicle", "id": vehicle.pk},
            at=at,
        )
    return Rescue(vehicle=vehicle, stock_file=stock_file, restore_ticket=ticket)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
