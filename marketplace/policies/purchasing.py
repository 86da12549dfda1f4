"""What may be bought, cancelled and released, and how a price divides. Pure: nothing here reads or writes."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from marketplace.enums import LicenseState, PurchaseStatus
from marketplace.models import License, Purchase

NUMBER_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: no letter that reads like a digit
PENDING_FOR = timedelta(minutes=60)
REFUND_WINDOW = timedelta(days=14)
RELEASE_INTERVAL = timedelta(days=365)
# After a day the provider forgets an idempotency key: before that, look for the intent instead of asking again.
KEY_TRUSTED_FOR = timedelta(hours=20)


def fee_of(net_minor: int, *, basis_points: int) -> int:
    """The platform's fee on a price without tax, rounded half up to a whole minor unit."""
    return (net_minor * basis_points + 5_000) // 10_000


def is_resumable(purchase: Purchase, *, at: datetime) -> bool:
    """Whether a repeated request continues this purchase instead of making another."""
    return purchase.status == PurchaseStatus.PENDING and purchase.expires_at is not None and purchase.expires_at > at


def blocks_another_purchase(license: License, *, vehicle_id, identity_hashes: Iterable[str]) -> bool:
    """Whether this license makes buying the tune again for that vehicle a mistake.

    It does while it is free for any vehicle, or stands on this one: the same row, or the same bike by its identity
    under another row id.
    """
    if license.state == LicenseState.REVOKED:
        return False
    if license.vehicle_id is None:
        return True
    return license.vehicle_id == vehicle_id or bool(set(license.vehicle_identity_hashes) & set(identity_hashes))


def may_release_again(license: License, *, at: datetime) -> bool:
    """Whether its holder's yearly release is free; staff is not bound by it."""
    last = license.released_by_holder_at
    return last is None or last + RELEASE_INTERVAL <= at


def is_region_blocked(blocked_regions: Iterable[str], *, country: str, market: str) -> bool:
    """Whether the buyer's country or the vehicle's market is among a version's blocked regions.

    A buyer without a country is judged by the vehicle's market alone. A blocked market covers its countries; a blocked
    part of a country ("US-CA") blocks the country, because nobody's state is known here.
    """
    blocked = set(blocked_regions) | {region.partition("-")[0] for region in blocked_regions}
    return bool(blocked & ({market} | _regions_of(country)))


EU_COUNTRIES = frozenset(
    [
        "AT",
        "BE",
        "BG",
        "CY",
        "CZ",
        "DE",
        "DK",
        "EE",
        "ES",
        "FI",
        "FR",
        "GR",
        "HR",
        "HU",
        "IE",
        "IT",
        "LT",
        "LU",
        "LV",
        "MT",
        "NL",
        "PL",
        "PT",
        "RO",
        "SE",
        "SI",
        "SK",
    ]
)


def _regions_of(country: str) -> set[str]:
    regions = {country} if country else set()
    if country in EU_COUNTRIES:
        regions.add("EU")
    if country == "GB":
        regions.add("UK")
    return regions


def refundable_until(*, status: str, paid_at: datetime | None, captured_minor: int, was_granted: bool) -> datetime | None:
    """Until when a refund is given at once: 14 days from payment, as long as no grant was ever given."""
    if status != PurchaseStatus.PAID or paid_at is None or captured_minor == 0 or was_granted:
        return None
    return paid_at + REFUND_WINDOW
