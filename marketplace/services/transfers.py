"""Accepting a vehicle: it touches licenses, so it lives above the garage."""

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from core import audit
from garage import services as garage
from garage.models import Vehicle, VehicleTransfer
from marketplace.enums import LicenseState
from marketplace.models import License
from marketplace.policies.purchasing import may_release_again
from marketplace.selectors.purchasing import identity_hashes_of
from marketplace.services.licenses import move_license, spend_release, standing_of
from marketplace.services.locks import hold_users
from users.enums import NoticeType
from users.models import User
from users.services import notify


def accept_transfer(*, receiver: User, transfer_id: UUID, code: str, at: datetime) -> UUID:
    """Take an offered vehicle over with its code; returns the vehicle's id.

    Called by the receiver. It comes with its ECU history, mods and stock files. Licenses stay with the former owner: one
    that is bound to the vehicle becomes UNBOUND and spends the year's release; where that is spent already it stays for
    staff to free. Both people are told. Locks both garages, the offer, the vehicle, then the licenses. Wrong codes are
    counted even though the call fails, so it must not run inside a transaction. Idempotent for the one who accepted: a
    phone that lost the answer gets it again.
    Raises: TransferNotFound, TransferClosed, TransferToOneself, TransferCodeWrong, GarageFull, VinInGarage.
    """
    transfer = garage.check_transfer_code(receiver=receiver, transfer_id=transfer_id, code=code, at=at)
    if transfer.accepted_by_id == receiver.pk:
        return transfer.vehicle_id
    with transaction.atomic():
        hold_users(transfer.offered_by_id, receiver.pk)  # both are told; a deletion holds them before their licenses
        transfer = garage.accept_transfer(receiver=receiver, transfer_id=transfer_id, at=at)
        vehicle = transfer.vehicle
        freed, kept = _free_licenses(transfer, at=at)
        _tell(transfer, vehicle, receiver=receiver, freed=freed, kept=kept, at=at)
    return vehicle.pk


def _free_licenses(transfer: VehicleTransfer, *, at: datetime) -> tuple[int, int]:
    """Unbind the former owner's licenses from the vehicle; returns how many, and how many only staff can free.

    Also those that are suspended just now, and those that stand on the same vehicle under an earlier row of it. A
    reservation ends without spending anything: nothing is known to have been flashed.
    """
    on_vehicle = Q(vehicle_id=transfer.vehicle_id)
    if hashes := identity_hashes_of(transfer.vehicle):
        on_vehicle |= Q(vehicle_identity_hashes__overlap=hashes)
    held = License.objects.filter(on_vehicle, holder_id=transfer.offered_by_id).valid()
    freed = kept = 0
    for license in held.select_for_update(no_key=True).order_by("pk"):
        if standing_of(license) == LicenseState.RESERVED:
            move_license(license, LicenseState.UNBOUND)
            audit.record(act="license.reservation_ended", actor_id=None, subject_id=license.pk, at=at, transfer_id=transfer.pk)
            continue
        if not may_release_again(license, at=at):
            kept += 1
            continue
        move_license(license, LicenseState.UNBOUND)
        spend_release(license, at=at)
        audit.record(
            act="license.released",
            actor_id=transfer.offered_by_id,
            subject_id=license.pk,
            at=at,
            reason="the vehicle was handed on",
            vehicle_id=transfer.vehicle_id,
            transfer_id=transfer.pk,
        )
        freed += 1
    return freed, kept


def _tell(transfer: VehicleTransfer, vehicle: Vehicle, *, receiver: User, freed: int, kept: int, at: datetime) -> None:
    name = f"{vehicle.make} {vehicle.model} {vehicle.year}"
    sentences = [f"Your {name} now belongs to its next owner. Your licenses stay with you."]
    if freed:
        sentences.append(f"{freed} of them {'is' if freed == 1 else 'are'} free for another vehicle; this was the year's release.")
    if kept:
        sentences.append(f"{kept} {'was' if kept == 1 else 'were'} released within the last year already: open a case to free it.")
    notify(
        user_id=transfer.offered_by_id,
        type=NoticeType.TRANSFER,
        title=f"{name} was handed on",
        body=" ".join(sentences),
        link={"resource": "vehicle_transfer", "id": transfer.pk},
        at=at,
    )
    notify(
        user_id=receiver.pk,
        type=NoticeType.TRANSFER,
        title=f"{name} is in your garage",
        body="It came with its read-outs, parts and stock files. Read the ECU before you flash anything.",
        link={"resource": "vehicle", "id": vehicle.pk},
        at=at,
    )
