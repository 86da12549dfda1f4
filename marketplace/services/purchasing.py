"""Buying: what may be bought, for how much, and the reservation that everything else follows from."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction

from core import audit
from core.exceptions import ServiceUnavailable
from core.idempotency import Claim
from core.meta import agreed_text
from garage.models import Vehicle
from marketplace import tax
from marketplace.enums import PurchaseStatus
from marketplace.exceptions import (
    AcknowledgementRequired,
    AlreadyOwned,
    AttestationRequired,
    FitmentMismatch,
    NotForSale,
    OwnTune,
    PaymentMismatch,
    PriceChanged,
    PurchaseNotPending,
    RegionBlocked,
)
from marketplace.fitment import MISMATCH
from marketplace.models import License, PaymentAttempt, Purchase, Tune
from marketplace.policies.purchasing import (
    NUMBER_ALPHABET,
    PENDING_FOR,
    blocks_another_purchase,
    fee_of,
    is_region_blocked,
    is_resumable,
)
from marketplace.selectors.fitment import JudgedFile
from marketplace.selectors.purchasing import (
    get_own_purchase,
    get_tune_for_buyer,
    get_vehicle_of,
    identity_hashes_of,
    judge_for_buyer,
    was_made_with,
)
from marketplace.services.reconciler import ensure_nothing_is_missing
from marketplace.services.settlement import alarm, end_payment, mark_purchase_paid, open_payment, settle_purchase

NUMBER_TRIES = 5


@dataclass(frozen=True)
class Wish:
    """What a buyer asks for. Prices in it guard against a change; they never decide."""

    tune_id: UUID
    vehicle_id: UUID
    expected_price_minor: int
    currency: str
    attestation_version: str
    attestation_accepted: bool
    acknowledged_reasons: Sequence[str] = ()


def begin_purchase(*, buyer, wish: Wish, claim: Claim, at: datetime) -> Purchase:
    """Reserve a purchase and open its payment; a free tune is PAID at once. `is_new` of the result tells 201 from 200.

    Three steps: (1) one transaction, under a lock of the buyer's row, judges the wish, writes the snapshot and completes
    the idempotency claim; (2) the provider is asked, outside any transaction; (3) its intent is attached. Killed
    anywhere, the same request continues. An own unexpired PENDING purchase of the same tune and vehicle is continued
    instead of a second one; a stale one is expired at the provider first.

    Raises: NotFound (tune or vehicle), OwnTune, NotForSale, AlreadyOwned, PriceChanged, RegionBlocked, FitmentMismatch,
    AcknowledgementRequired, AttestationRequired, ServiceUnavailable (after step 1: nothing is lost; before it: lost
    purchases are being rebuilt).
    """
    for stale in Purchase.objects.bought_by(buyer).filter(
        tune_id=wish.tune_id, vehicle_id=wish.vehicle_id, status=PurchaseStatus.PENDING, expires_at__lte=at
    ):
        _without_mismatch(lambda stale=stale: end_payment(purchase=stale, status=PurchaseStatus.EXPIRED, at=at), stale, at=at)
    with transaction.atomic():
        purchase, is_new = _reserve(buyer=buyer, wish=wish, at=at)
        claim.complete(purchase.pk)
    if purchase.status == PurchaseStatus.PENDING:
        open_payment(purchase_id=purchase.pk, at=at)
    return _answered(purchase.pk, is_new=is_new)


def resume_purchase(*, buyer, purchase_id: UUID, operation: str, key: str, at: datetime) -> Purchase:
    """A repeated request finds its purchase, and finishes what the first one could not; `is_new` is as it was then.

    Raises: PurchaseNotFound, ServiceUnavailable.
    """
    purchase = get_own_purchase(buyer, purchase_id)
    is_new = was_made_with(actor_id=buyer.pk, operation=operation, key=key, purchase=purchase)
    if is_resumable(purchase, at=at):
        open_payment(purchase_id=purchase.pk, at=at)
    return _answered(purchase_id, is_new=is_new)


def _answered(purchase_id: UUID, *, is_new: bool) -> Purchase:
    purchase = Purchase.objects.get(pk=purchase_id)
    purchase.is_new = is_new  # type: ignore[attr-defined]
    return purchase


def _reserve(*, buyer, wish: Wish, at: datetime) -> tuple[Purchase, bool]:
    """Step 1, within the caller's transaction: the purchase, and whether this call made it."""
    # one at a time per buyer: what is pending and owned below can't change until we commit
    get_user_model().objects.select_for_update(no_key=True).only("pk").get(pk=buyer.pk)
    vehicle = get_vehicle_of(buyer, wish.vehicle_id)
    pending = (
        Purchase.objects.bought_by(buyer).filter(tune_id=wish.tune_id, vehicle_id=wish.vehicle_id, status=PurchaseStatus.PENDING).first()
    )
    if pending is not None:
        if not is_resumable(pending, at=at):
            raise ServiceUnavailable("payments", retry_after_seconds=5)  # it was being ended while we looked
        _ensure_price(wish, amount_minor=pending.amount_minor, currency=pending.currency)
        return pending, False
    tune = get_tune_for_buyer(buyer, wish.tune_id)
    tuner = tune.tuner
    if tuner.user_id == buyer.pk:
        raise OwnTune
    if not tune.listed:
        raise NotForSale
    identity_hashes = identity_hashes_of(vehicle)
    _ensure_not_owned(buyer=buyer, tune=tune, vehicle=vehicle, identity_hashes=identity_hashes)
    _ensure_price(wish, amount_minor=tune.price_minor, currency=tune.currency)
    country = buyer.profile.country
    chosen = _choose_version(tune=tune, vehicle=vehicle, country=country)
    version, verdict = chosen.version, chosen.verdict
    required = verdict.unknown_codes
    if sorted(set(wish.acknowledged_reasons)) != required:
        raise AcknowledgementRequired(required_reasons=required, fitment=chosen.as_dict())
    ensure_nothing_is_missing()
    attestation = agreed_text("attestation")
    if not wish.attestation_accepted or wish.attestation_version != attestation.version:
        raise AttestationRequired(text_version=attestation.version, sha256=attestation.sha256)

    quote = tax.engine.quote(amount_minor=tune.price_minor, currency=tune.currency, buyer_country=country, seller_country=tuner.country)
    purchase = _create_numbered(
        buyer=buyer,
        tune=tune,
        tune_version_id=version.pk,
        tuner=tuner,
        tune_title=tune.title,
        seller_name=tuner.business_name,
        vehicle_id=vehicle.pk,
        vehicle_identity_hashes=identity_hashes,
        vehicle_name=f"{vehicle.make} {vehicle.model} {vehicle.year}",
        status=PurchaseStatus.PENDING,
        amount_minor=tune.price_minor,
        currency=tune.currency,
        tax_minor=quote.tax_minor,
        tax_rate_basis_points=quote.rate_basis_points,
        tax_country=quote.country,
        fee_basis_points=tuner.fee_basis_points,
        fee_minor=fee_of(tune.price_minor - quote.tax_minor, basis_points=tuner.fee_basis_points),
        fitment_verdict=verdict.verdict,
        acknowledged_reasons=required,
        attestation_text_version=attestation.version,
        attestation_sha256=attestation.sha256,
        attested_at=at,
        created_at=at,
        expires_at=at + PENDING_FOR,
    )
    audit.record(
        act="purchase.begun",
        actor_id=buyer.pk,
        subject_id=purchase.pk,
        at=at,
        amount_minor=purchase.amount_minor,
        currency=purchase.currency,
    )
    if purchase.is_free:
        mark_purchase_paid(purchase_id=purchase.pk, intent=None, at=at)
        purchase.status = PurchaseStatus.PAID
    else:
        PaymentAttempt.objects.create(purchase=purchase, created_at=at)
    return purchase, True


def _ensure_not_owned(*, buyer, tune: Tune, vehicle: Vehicle, identity_hashes: list[str]) -> None:
    for license in License.objects.held_by(buyer).valid().filter(tune=tune).order_by("created_at"):
        if blocks_another_purchase(license, vehicle_id=vehicle.pk, identity_hashes=identity_hashes):
            raise AlreadyOwned(purchase_id=license.purchase_id)


def _ensure_price(wish: Wish, *, amount_minor: int, currency: str) -> None:
    if (wish.expected_price_minor, wish.currency) != (amount_minor, currency):
        raise PriceChanged(price_minor=amount_minor, currency=currency)


def _choose_version(*, tune: Tune, vehicle: Vehicle, country: str) -> JudgedFile:
    """The version on sale that comes closest to the vehicle (the newest of equals) and may be offered in its region."""
    judged = judge_for_buyer(tune=tune, vehicle=vehicle)
    if not judged:
        raise NotForSale
    fitting = [row for row in judged if row.verdict.verdict != MISMATCH]
    if not fitting:
        raise FitmentMismatch(reasons=min(judged, key=lambda row: row.verdict.mask).reasons)
    offered = [row for row in fitting if not is_region_blocked(row.version.blocked_regions, country=country, market=vehicle.market)]
    if not offered:
        raise RegionBlocked
    return min(offered, key=lambda row: row.verdict.mask)


def _create_numbered(**fields) -> Purchase:
    """A purchase under a fresh number: a billion of them, so that none can be guessed and few are met twice."""
    for _ in range(NUMBER_TRIES):
        number = "RS-" + "".join(secrets.choice(NUMBER_ALPHABET) for _ in range(6))
        try:
            with transaction.atomic():
                return Purchase.objects.create(number=number, **fields)
        except IntegrityError as clash:
            if "purchase_number_once" not in str(clash):
                raise
    raise ServiceUnavailable("database", retry_after_seconds=1)


def _without_mismatch(act, purchase: Purchase, *, at: datetime) -> Purchase:
    """A payment that is not what was agreed is an alarm, and leaves the purchase as it is."""
    try:
        return act()
    except PaymentMismatch as mismatch:
        alarm(subject_id=purchase.pk, note=str(mismatch), at=at)
        return Purchase.objects.get(pk=purchase.pk)


def cancel_purchase(*, buyer, purchase_id: UUID, at: datetime) -> Purchase:
    """Give a pending purchase up: its intent is cancelled at the provider first. A cancelled one is answered as it is.

    Raises: PurchaseNotFound, PurchaseNotPending (paid meanwhile, expired), ServiceUnavailable.
    """
    purchase = get_own_purchase(buyer, purchase_id)
    if purchase.status == PurchaseStatus.PENDING:
        pending = purchase
        purchase = _without_mismatch(
            lambda: end_payment(purchase=pending, status=PurchaseStatus.CANCELED, at=at, actor_id=buyer.pk), pending, at=at
        )
    if purchase.status != PurchaseStatus.CANCELED:
        raise PurchaseNotPending
    return purchase


def sync_purchase(*, buyer, purchase_id: UUID, at: datetime) -> Purchase:
    """Ask the provider now what became of an own purchase. Raises: PurchaseNotFound, ServiceUnavailable."""
    purchase = get_own_purchase(buyer, purchase_id)
    return _without_mismatch(lambda: settle_purchase(purchase_id=purchase.pk, at=at), purchase, at=at)
