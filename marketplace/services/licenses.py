"""What happens to a license apart from its purchase."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from core import audit
from marketplace.enums import LicenseState
from marketplace.exceptions import LicenseNotBound, LicenseReleaseTooSoon, PurchaseNotFound
from marketplace.models import FlashTicket, License
from marketplace.policies.purchasing import RELEASE_INTERVAL, may_release_again
from marketplace.policies.trust import ensure_is_staff
from marketplace.services.locks import hold_people
from users.enums import NoticeType
from users.models import User
from users.services import notify


def standing_of(license: License) -> str:
    """What the license is, or what it returns to when its suspension ends."""
    return license.suspended_from if license.state == LicenseState.SUSPENDED else license.state


def move_license(
    license: License,
    state: LicenseState,
    *,
    vehicle_id: UUID | None = None,
    hashes: list[str] | None = None,
    bound_at: datetime | None = None,
) -> None:
    """Move a locked license between UNBOUND, RESERVED and BOUND; while it is suspended, what it returns to."""
    if license.state == LicenseState.SUSPENDED:
        license.suspended_from = state
    else:
        license.state = state
    license.vehicle_id, license.vehicle_identity_hashes = vehicle_id, hashes or []
    license.reserved_until = None
    license.bound_at = bound_at
    license.save(update_fields=["state", "suspended_from", "vehicle_id", "vehicle_identity_hashes", "reserved_until", "bound_at"])


def spend_release(license: License, *, at: datetime) -> None:
    """Note that the year's release of a locked license is spent."""
    license.released_by_holder_at = at
    license.save(update_fields=["released_by_holder_at"])


def release_license(*, holder: User, purchase_id: UUID, reason: str, at: datetime) -> License:
    """Free a bound license so that another vehicle can be flashed, and tell its holder.

    Called by its holder, at most once in 365 days. Holds buyer and tuner, then locks the license row. Not idempotent: a
    second call finds it unbound and is refused.

    Raises: PurchaseNotFound (missing, or someone else's), LicenseNotBound, LicenseReleaseTooSoon.
    """
    with transaction.atomic():
        hold_people(purchase_id)
        license = (
            License.objects.held_by(holder)
            .select_for_update(no_key=True, of=("self",))
            .select_related("purchase")
            .filter(purchase_id=purchase_id)
            .first()
        )
        if license is None:
            raise PurchaseNotFound
        if license.state != LicenseState.BOUND:
            raise LicenseNotBound
        if not may_release_again(license, at=at):
            assert license.released_by_holder_at is not None
            raise LicenseReleaseTooSoon(available_at=license.released_by_holder_at + RELEASE_INTERVAL)
        freed_vehicle_id = license.vehicle_id
        move_license(license, LicenseState.UNBOUND)
        spend_release(license, at=at)
        audit.record(act="license.released", actor_id=holder.pk, subject_id=license.id, at=at, reason=reason, vehicle_id=freed_vehicle_id)
        notify(
            user_id=holder.pk,
            type=NoticeType.LICENSE,
            title=f"License of {license.purchase.number} released",
            body=f"Your license for “{license.purchase.tune_title}” is free for another vehicle. The next release is possible in a year.",
            link={"resource": "purchase", "id": license.purchase_id},
            at=at,
        )
    return license


def free_license(*, actor: User, license_id: UUID, reason: str, at: datetime) -> License:
    """Free a bound license by staff, whatever its holder released before; the holder's yearly release stays as it was.

    Called by an admin. Locks the license. Tells its holder. Raises: PermissionRefused, LicenseNotBound.
    """
    ensure_is_staff(actor)
    with transaction.atomic():
        license = _lock(license_id)
        if standing_of(license) != LicenseState.BOUND:
            raise LicenseNotBound
        freed_vehicle_id = license.vehicle_id
        move_license(license, LicenseState.UNBOUND)
        audit.record(act="license.freed", actor_id=actor.pk, subject_id=license.pk, at=at, reason=reason, vehicle_id=freed_vehicle_id)
        _tell(license, title="is free again", body="Our staff freed your license: it can be used on another vehicle.", at=at)
    return license


def excuse_unreported_tickets(*, actor: User, license_id: UUID, reason: str, at: datetime) -> int:
    """Settle the tickets that ran out unreported, after staff has heard from the rider what became of them; how many.

    They no longer count towards the two a year, so that tickets are given again. A report that still comes is stored as
    any other. Called by an admin. Locks the license. Tells its holder. Idempotent. Raises: PermissionRefused.
    """
    ensure_is_staff(actor)
    with transaction.atomic():
        license = _lock(license_id)
        unreported = FlashTicket.objects.filter(license=license, expired_unreported_at__isnull=False)
        excused = unreported.update(reported_at=at, expired_unreported_at=None)
        if excused:
            audit.record(act="license.tickets_excused", actor_id=actor.pk, subject_id=license.pk, at=at, reason=reason, tickets=excused)
            _tell(license, title="gives flash tickets again", body="Please let the app report every flash, also one that failed.", at=at)
    return excused


def _lock(license_id: UUID) -> License:
    hold_people(License.objects.values_list("purchase_id", flat=True).get(pk=license_id))
    return License.objects.select_for_update(no_key=True, of=("self",)).select_related("purchase").get(pk=license_id)


def _tell(license: License, *, title: str, body: str, at: datetime) -> None:
    notify(
        user_id=license.holder_id,
        type=NoticeType.LICENSE,
        title=f"License of {license.purchase.number} {title}",
        body=body,
        link={"resource": "purchase", "id": license.purchase_id},
        at=at,
    )
