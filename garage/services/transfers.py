"""Handing a vehicle to its next owner, by a code that is shown once."""

import hmac
import secrets
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from core import audit, storage, tasks
from core.crypto import keyed_hash
from core.ids import new_id
from core.renderers import utc_text
from garage import policies
from garage.enums import TransferState
from garage.exceptions import (
    GarageFull,
    TransferClosed,
    TransferCodeWrong,
    TransferNotFound,
    TransferToOneself,
    VinInGarage,
)
from garage.models import Vehicle, VehicleTransfer
from garage.services.vehicles import end_rescue_links, get_locked_vehicle, lock_garages
from users.models import User

LIFETIME = timedelta(hours=48)
TRIES = 5
ALPHABET = "ABCDEFGHJKMNPQRSTVWXYZ23456789"  # nothing that is read as something else
CODE_LENGTH = 8  # 39 bits, against five tries


def normalise_code(text: str) -> str:
    """A code as it was made, whatever spaces, hyphens and case it was typed with."""
    return "".join(character for character in text.upper() if character.isalnum())


def _code_hash(transfer_id: UUID, code: str) -> bytes:
    return keyed_hash("transfer_code", f"{transfer_id}:{normalise_code(code)}")


def offer_transfer(*, owner: User, vehicle_id: UUID, at: datetime) -> tuple[VehicleTransfer, str]:
    """Offer a vehicle to whoever gets the code, for 48 hours. An earlier open offer of it is withdrawn.

    Returns the offer and its code, which is stored hashed and can't be shown again. Locks the vehicle. Not idempotent:
    each call makes a new code. Raises: VehicleNotFound.
    """
    characters = "".join(secrets.choice(ALPHABET) for _ in range(CODE_LENGTH))
    code = f"{characters[:4]}-{characters[4:]}"
    with transaction.atomic():
        vehicle = get_locked_vehicle(owner, vehicle_id)
        _withdraw_open(vehicle, at=at)
        transfer_id = new_id()
        transfer = VehicleTransfer.objects.create(
            id=transfer_id,
            vehicle=vehicle,
            offered_by_id=owner.pk,
            code_hash=_code_hash(transfer_id, code),
            tries_left=TRIES,
            offered_at=at,
            expires_at=at + LIFETIME,
        )
        audit.record(act="vehicle_transfer.offered", actor_id=owner.pk, subject_id=vehicle.pk, at=at, transfer_id=transfer.pk)
    return transfer, code


def withdraw_transfer(*, owner: User, vehicle_id: UUID, at: datetime) -> None:
    """Take back the open offer of a vehicle. Locks the vehicle. Raises: VehicleNotFound, TransferNotFound (none is open)."""
    with transaction.atomic():
        vehicle = get_locked_vehicle(owner, vehicle_id)
        if not _withdraw_open(vehicle, at=at):
            raise TransferNotFound
        audit.record(act="vehicle_transfer.withdrawn", actor_id=owner.pk, subject_id=vehicle.pk, at=at)


def _withdraw_open(vehicle: Vehicle, *, at: datetime) -> int:
    return VehicleTransfer.objects.filter(vehicle=vehicle, state=TransferState.OFFERED).update(
        state=TransferState.WITHDRAWN, ended_at=at, changed_at=Now()
    )


def check_transfer_code(*, receiver: User, transfer_id: UUID, code: str, at: datetime) -> VehicleTransfer:
    """Let a receiver try a code. A wrong one is counted and stays counted: call it outside of any transaction.

    Returns the open offer, or the one that this receiver accepted before with this code. Locks the offer.
    Raises: TransferNotFound, TransferClosed, TransferToOneself, TransferCodeWrong (member `tries_left`).
    """
    with transaction.atomic(durable=True):
        transfer = VehicleTransfer.objects.select_for_update(no_key=True).filter(pk=transfer_id).first()
        if transfer is None:
            raise TransferNotFound
        is_right = hmac.compare_digest(bytes(transfer.code_hash), _code_hash(transfer.pk, code))
        if is_right and transfer.accepted_by_id == receiver.pk and transfer.vehicle.owner_id == receiver.pk:
            return transfer
        if not policies.is_open(transfer, at=at):
            raise TransferClosed
        if transfer.offered_by_id == receiver.pk:
            raise TransferToOneself
        if is_right:
            return transfer
        transfer.tries_left -= 1
        if transfer.tries_left == 0:
            transfer.state, transfer.ended_at = TransferState.EXPIRED, at
        transfer.save(update_fields=["tries_left", "state", "ended_at"])
    raise TransferCodeWrong(tries_left=transfer.tries_left)


def accept_transfer(*, receiver: User, transfer_id: UUID, at: datetime) -> VehicleTransfer:
    """Move an offered vehicle into the receiver's garage, with its read-outs, mods and stock files.

    Called by the marketplace after `check_transfer_code`, inside the transaction that also frees the licenses. Locks
    both garages, the offer and the vehicle. Not idempotent: a second call finds the offer closed.
    Raises: TransferNotFound, TransferClosed, GarageFull, VinInGarage (both of the receiver's garage).
    """
    known = VehicleTransfer.objects.filter(pk=transfer_id).values_list("offered_by_id", flat=True).first()
    if known is None:
        raise TransferNotFound
    lock_garages(known, receiver.pk)
    transfer = VehicleTransfer.objects.select_for_update(no_key=True).get(pk=transfer_id)
    vehicle = Vehicle.objects.select_for_update(no_key=True).get(pk=transfer.vehicle_id)
    if not policies.is_open(transfer, at=at) or vehicle.owner_id != transfer.offered_by_id or vehicle.deleted_at is not None:
        raise TransferClosed
    garage = Vehicle.objects.owned_by(receiver).present()
    if garage.count() >= policies.MAX_VEHICLES:
        raise GarageFull
    if vehicle.vin_hash is not None and (same := garage.filter(vin_hash=vehicle.vin_hash).first()):
        raise VinInGarage(vehicle_id=str(same.pk))
    transfer.state, transfer.ended_at, transfer.accepted_by_id = TransferState.ACCEPTED, at, receiver.pk
    transfer.departed = {name: getattr(vehicle, name) for name in ("kind", "make", "model", "year", "market", "revision")}
    transfer.departed["created_at"] = utc_text(vehicle.created_at)
    transfer.departed["catalog_status"] = str(vehicle.catalog_status)
    transfer.changed_at = Now()
    transfer.save(update_fields=["state", "ended_at", "accepted_by", "departed", "changed_at"])
    vehicle.owner_id = receiver.pk
    vehicle.nickname = ""  # the former owner's word for it
    if vehicle.photo_key:  # and their picture
        tasks.enqueue("core.uploads.tasks.delete_object", key=vehicle.photo_key, bucket=storage.PUBLIC)
        vehicle.photo_key = ""
    vehicle.is_primary = not garage.filter(is_primary=True).exists()
    vehicle.creation_fingerprint = None
    vehicle.revision += 1
    vehicle.updated_at = at
    vehicle.changed_at = Now()
    vehicle.save(
        update_fields=["owner", "nickname", "photo_key", "is_primary", "creation_fingerprint", "revision", "updated_at", "changed_at"]
    )
    end_rescue_links(vehicle_id=vehicle.pk, at=at)  # the former owner's codes must not open what is another's now
    audit.record(
        act="vehicle_transfer.accepted",
        actor_id=receiver.pk,
        subject_id=vehicle.pk,
        at=at,
        transfer_id=transfer.pk,
        from_id=transfer.offered_by_id,
    )
    transfer.vehicle = vehicle
    return transfer


def expire_transfers(*, at: datetime) -> int:
    """End the offers that ran out. Called by the schedule; one UPDATE, idempotent. Returns how many."""
    return VehicleTransfer.objects.filter(state=TransferState.OFFERED, expires_at__lte=at).update(
        state=TransferState.EXPIRED, ended_at=at, changed_at=Now()
    )
