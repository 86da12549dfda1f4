"""Who may stop what, and what stands between a rider and a safe flash. Pure: nothing here reads or writes."""

from collections.abc import Iterable
from datetime import timedelta

from core.exceptions import PermissionRefused
from marketplace.enums import FlashOutcome, LicenseState, PurchaseStatus, VersionStatus
from marketplace.exceptions import LicenseRevoked, LicenseSuspended, PurchaseNotPaid
from users.enums import Role
from users.models import User

TICKET_LIFETIME = timedelta(hours=72)
HARD_FAILURE_WINDOW = timedelta(hours=24)
YOUNG_ACCOUNT = timedelta(days=7)
UNREPORTED_TICKETS_A_YEAR = 2
UNREPORTED_WINDOW = timedelta(days=365)

HARD_FAILURES = frozenset({FlashOutcome.FAILED_DURING_WRITE, FlashOutcome.VERIFY_FAILED})
STATISTICAL = HARD_FAILURES | {FlashOutcome.SUCCEEDED}
USABLE_VERSIONS = frozenset({VersionStatus.PUBLISHED, VersionStatus.WITHDRAWN})  # withdrawn: owners keep it
CONSENT_READ_BACK = "YES"

NOT_READ_OUT = frozenset({"hardware_number_unknown", "image_size_unknown", "calibration_id_unknown"})


def ensure_is_staff(actor: User) -> None:
    """Raises: PermissionRefused."""
    if actor.role != Role.ADMIN or not actor.is_active:
        raise PermissionRefused


def ensure_licensed(*, purchase_status: str, license_state: str | None) -> None:
    """Raises: PurchaseNotPaid, LicenseRevoked, LicenseSuspended."""
    if purchase_status == PurchaseStatus.DISPUTED:
        raise LicenseSuspended
    if purchase_status in (PurchaseStatus.REFUNDED, PurchaseStatus.CHARGED_BACK) or license_state == LicenseState.REVOKED:
        raise LicenseRevoked
    if purchase_status != PurchaseStatus.PAID or license_state is None:
        raise PurchaseNotPaid
    if license_state == LicenseState.SUSPENDED:
        raise LicenseSuspended


def ticket_blockers(
    *,
    has_readout: bool,
    unknown_codes: Iterable[str],
    has_stock_file: bool,
    accepts_no_read_back: bool,
    read_back: str,
    has_identity: bool,
    reserved_elsewhere: bool,
    unreported_tickets: int,
) -> list[str]:
    """What still has to happen before a flash is safe, in the order in which a rider would do it; empty: a ticket is given."""
    unknown = set(unknown_codes)
    blockers = []
    if not has_readout or unknown & NOT_READ_OUT:
        blockers.append("ecu_readout_required")
    if "reflash_stock_first" in unknown:
        blockers.append("reflash_stock_first")
    if not has_stock_file and not (accepts_no_read_back and read_back != CONSENT_READ_BACK):
        blockers.append("stock_backup_required")
    if not has_identity:
        blockers.append("vehicle_identity_required")
    if reserved_elsewhere:
        blockers.append("license_reserved")
    if unreported_tickets >= UNREPORTED_TICKETS_A_YEAR:
        blockers.append("unreported_tickets")
    return blockers


def is_app_too_old(app_version: str, *, minimum: str) -> bool:
    """Whether a stated version of the app is below the minimum. One that is not stated or not a version says nothing."""
    stated, needed = _parts(app_version), _parts(minimum)
    return bool(stated and needed and stated < needed)


def _parts(version: str) -> tuple[int, ...]:
    numbers = version.split("+")[0].split("-")[0].split(".")
    if not numbers or not all(number.isdigit() and len(number) < 7 for number in numbers):
        return ()
    return tuple(int(number) for number in (*numbers, "0", "0"))[:3]
