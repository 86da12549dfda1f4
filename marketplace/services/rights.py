"""What money does to a license. Called with the purchase locked, which every change of it holds; locks the license."""

from datetime import datetime
from uuid import UUID

from core import audit
from marketplace.enums import LicenseState
from marketplace.models import License, Purchase


def lock_license(purchase: Purchase) -> License:
    """The license of a paid purchase, locked."""
    return License.objects.select_for_update(no_key=True).get(purchase_id=purchase.pk)


def suspend_license(*, purchase: Purchase, reason: str, at: datetime) -> None:
    """Stop every use for now. A revoked one stays revoked. Idempotent."""
    license = lock_license(purchase)
    if license.state in (LicenseState.SUSPENDED, LicenseState.REVOKED):
        return
    license.suspended_from, license.state, license.suspended_at = license.state, LicenseState.SUSPENDED, at
    license.save(update_fields=["state", "suspended_from", "suspended_at"])
    audit.record(act="license.suspended", actor_id=None, subject_id=license.pk, at=at, reason=reason)


def restore_license(*, purchase: Purchase, reason: str, at: datetime) -> None:
    """Lift a suspension: the license is what it was, with what flash reports made of it meanwhile. Idempotent."""
    license = lock_license(purchase)
    if license.state != LicenseState.SUSPENDED:
        return
    license.state, license.suspended_from, license.suspended_at = license.suspended_from, "", None
    license.save(update_fields=["state", "suspended_from", "suspended_at"])
    audit.record(act="license.restored", actor_id=None, subject_id=license.pk, at=at, reason=reason)


def revoke_license(*, purchase: Purchase, reason: str, at: datetime, actor_id: UUID | None = None) -> None:
    """End it for good: the tune can be bought again. Idempotent."""
    license = lock_license(purchase)
    if license.state == LicenseState.REVOKED:
        return
    license.state, license.revoked_at, license.suspended_from, license.suspended_at = LicenseState.REVOKED, at, "", None
    license.save(update_fields=["state", "revoked_at", "suspended_from", "suspended_at"])
    audit.record(act="license.revoked", actor_id=actor_id, subject_id=license.pk, at=at, reason=reason)
