"""What happens to a license apart from its purchase."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from core import audit
from marketplace.enums import LicenseState
from marketplace.exceptions import LicenseNotBound, LicenseReleaseTooSoon, PurchaseNotFound
from marketplace.models import License
from marketplace.policies.purchasing import RELEASE_INTERVAL, may_release_again
from users.enums import NoticeType
from users.services import notify


def release_license(*, holder, purchase_id: UUID, reason: str, at: datetime) -> License:
    """Free a bound license so that another vehicle can be flashed, and tell its holder.

    Called by its holder, at most once in 365 days. Locks the license row. Not idempotent: a second call finds it
    unbound and is refused.

    Raises: PurchaseNotFound (missing, or someone else's), LicenseNotBound, LicenseReleaseTooSoon.
    """
    with transaction.atomic():
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
        license.state = LicenseState.UNBOUND
        license.vehicle_id = license.bound_at = None
        license.vehicle_identity_hashes = []
        license.released_by_holder_at = at
        license.save(update_fields=["state", "vehicle_id", "vehicle_identity_hashes", "bound_at", "released_by_holder_at"])
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
