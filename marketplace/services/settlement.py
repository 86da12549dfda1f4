"""From the wish to pay to the truth of the provider: everything between a pending purchase and its end.

Calls of the provider stand outside every transaction; what they answer is applied in one, under the purchase's lock.
Whatever is killed in between is found again by the next request, the webhook or the reconciler, because each step
begins by looking at what the row says, and each call repeats with the same key.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.db import transaction

from core import audit
from core.exceptions import ServiceUnavailable
from core.models import AuditEvent
from marketplace import payments
from marketplace.enums import DifferenceReason, PaymentAttemptState, PurchaseStatus
from marketplace.exceptions import NotForSale, PaymentMismatch
from marketplace.models import License, PaymentAttempt, Purchase, WebhookEvent
from marketplace.models.purchasing import LIVE_ATTEMPT
from marketplace.money import amount_text
from marketplace.payments import Intent
from marketplace.policies.purchasing import KEY_TRUSTED_FOR
from marketplace.services.books import book_sale
from marketplace.services.buyer_reviews import follow_purchase
from marketplace.services.differences import end_differences, note_difference, purchase_id_in
from marketplace.services.locks import lock_purchase
from users.enums import NoticeType
from users.services import notify

log = structlog.get_logger(__name__)

MAX_ATTEMPTS_A_CALL = 3
CALL_SURELY_OVER = timedelta(minutes=5)  # far beyond every time-out: a lost call can't act any more
CLOCKS_DIFFER_BY = timedelta(minutes=15)
CODES_A_VALUE = 12  # of 40 characters; the provider's metadata takes 500


@contextmanager
def provider_answers() -> Iterator[None]:
    """A provider that does not answer is a dependency that is down."""
    try:
        yield
    except payments.ProviderUnavailable as trouble:
        raise ServiceUnavailable("payments", retry_after_seconds=5) from trouble


# Opening


def open_payment(*, purchase_id: UUID, at: datetime) -> None:
    """Make sure that a pending purchase has its intent: ask for it, or find the one that a lost answer told of.

    Called after the reservation, by a repeated request and by the reconciler; safe at any time and in parallel, because
    each attempt's key is derived. Talks to the provider, so never call it in a transaction.

    Raises: ServiceUnavailable (nothing is lost: the same call continues later), NotForSale (the provider will never
    take this payment; the purchase is cancelled).
    """
    for _ in range(MAX_ATTEMPTS_A_CALL):
        attempt = PaymentAttempt.objects.select_related("purchase").filter(purchase_id=purchase_id, state__in=LIVE_ATTEMPT).first()
        if attempt is None or attempt.state == PaymentAttemptState.OPEN:
            return
        with provider_answers():
            try:
                intent = _ask_for_intent(attempt) if at - attempt.created_at < KEY_TRUSTED_FOR else _look_for_intent(attempt)
            except payments.ProviderUnsure:
                intent = _look_for_intent(attempt)
            except payments.ProviderRefused as refusal:
                log.error("payment_refused_for_good", purchase=str(purchase_id), code=refusal.code)
                _close(purchase_id=purchase_id, status=PurchaseStatus.CANCELED, at=at, note=refusal.code)
                raise NotForSale("The payment provider does not take a payment of this amount or currency.") from refusal
        if intent is not None:
            try:
                _attach(attempt=attempt, intent=intent, at=at)
                if not intent.is_live:
                    apply_intent(intent=intent, at=at)
            except PaymentMismatch as mismatch:
                alarm(subject_id=purchase_id, note=str(mismatch), at=at)
                raise ServiceUnavailable("payments", retry_after_seconds=60) from mismatch
            return
        _start_next_attempt(attempt=attempt, at=at)
    raise ServiceUnavailable("payments", retry_after_seconds=5)


def _ask_for_intent(attempt: PaymentAttempt) -> Intent:
    purchase = attempt.purchase
    return payments.create_intent(
        key=attempt.idempotency_key,
        amount_minor=purchase.amount_minor,
        currency=purchase.currency,
        description=f"{purchase.number}: {purchase.tune_title}",
        metadata=metadata_of(purchase, attempt=attempt.attempt),
    )


def metadata_of(purchase: Purchase, *, attempt: int) -> dict[str, str]:
    """What the provider keeps beside the payment: enough to write the purchase anew, should our row be lost. No names."""
    return {
        "purchase": str(purchase.pk),
        "number": purchase.number,
        "attempt": str(attempt),
        "buyer": str(purchase.buyer_id),
        "tune": str(purchase.tune_id),
        "tune_version": str(purchase.tune_version_id or ""),
        "tuner": str(purchase.tuner_id),
        "vehicle": str(purchase.vehicle_id),
        "fee_basis_points": str(purchase.fee_basis_points),
        "fee_minor": str(purchase.fee_minor),
        "tax_minor": str(purchase.tax_minor),
        "tax_rate_basis_points": str(purchase.tax_rate_basis_points),
        "tax_country": purchase.tax_country,
        "verdict": purchase.fitment_verdict,
        **{
            f"acknowledged_{number}": ",".join(purchase.acknowledged_reasons[start : start + CODES_A_VALUE])
            for number, start in enumerate(range(0, len(purchase.acknowledged_reasons), CODES_A_VALUE))
        },
        "attestation_version": purchase.attestation_text_version,
        "attestation_sha256": purchase.attestation_sha256,
        "attested_at": purchase.attested_at.isoformat(),
        "attestation": payments.attestation_hash(
            text_version=purchase.attestation_text_version,
            sha256=purchase.attestation_sha256,
            at=purchase.attested_at,
            buyer_id=purchase.buyer_id,
        ),
    }


def _look_for_intent(attempt: PaymentAttempt) -> Intent | None:
    """What the provider's own list has for this purchase: a paid intent before a live one, never a cancelled one."""
    since = attempt.purchase.created_at - CLOCKS_DIFFER_BY
    found = [intent for intent in payments.find_intents(purchase_id=str(attempt.purchase_id), since=since) if not intent.is_canceled]
    return next((intent for intent in found if intent.is_paid), found[0] if found else None)


def _attach(*, attempt: PaymentAttempt, intent: Intent, at: datetime) -> None:
    """Note an intent on its attempt. Locks the purchase; a repeat, or another that came first, is a no-op."""
    with transaction.atomic():
        purchase = Purchase.objects.select_for_update(no_key=True).get(pk=attempt.purchase_id)
        _ensure_agreed(purchase, intent)
        PaymentAttempt.objects.filter(pk=attempt.pk, state=PaymentAttemptState.OPENING).update(
            state=PaymentAttemptState.OPEN, intent_id=intent.id, client_secret=intent.client_secret, checked_at=at
        )


def _start_next_attempt(*, attempt: PaymentAttempt, at: datetime) -> None:
    """Give an attempt up whose key is burnt and that the provider knows nothing of, and begin the next one."""
    with transaction.atomic():
        purchase = Purchase.objects.select_for_update(no_key=True).get(pk=attempt.purchase_id)
        given_up = PaymentAttempt.objects.filter(pk=attempt.pk, state=PaymentAttemptState.OPENING).update(
            state=PaymentAttemptState.ABANDONED, ended_at=at
        )
        if given_up and purchase.status == PurchaseStatus.PENDING:
            PaymentAttempt.objects.create(purchase=purchase, attempt=attempt.attempt + 1, created_at=at)


# The provider's truth


def apply_intent(*, intent: Intent, at: datetime) -> Purchase:
    """Bring a purchase to what the provider says of its intent. Late, repeated and disordered calls end alike.

    Called with a freshly read intent, by webhook, reconciler and `sync`. Raises: PaymentMismatch when the intent
    belongs to no purchase of ours or is not what was agreed.
    """
    attempt = PaymentAttempt.objects.filter(provider=payments.PROVIDER, intent_id=intent.id).first()
    if attempt is None:
        attempt = _attempt_named_by(intent)
        _attach(attempt=attempt, intent=intent, at=at)
    if intent.is_paid:
        return mark_purchase_paid(purchase_id=attempt.purchase_id, intent=intent, at=at)
    if intent.is_canceled:
        return _follow_cancellation(attempt=attempt, at=at)
    PaymentAttempt.objects.filter(pk=attempt.pk).update(checked_at=at, last_error_code=intent.last_error_code)
    return Purchase.objects.get(pk=attempt.purchase_id)


def apply_payment_event(*, event: WebhookEvent, at: datetime) -> None:
    """Follow the provider's truth about the payment that an event tells of. The inbox's handler of `payment_intent.*`.

    An event that says what the provider does not was made by somebody who has our secret: nothing is applied. Captured
    money that belongs to no purchase is kept as a difference. Raises: PaymentMismatch, UnknownToProvider, ProviderUnavailable.
    """
    intent = payments.get_intent(event.intent_id)
    if event.amount_minor is not None and (event.amount_minor, event.currency) != (intent.amount_minor, intent.currency):
        claim = f"{event.amount_minor} {event.currency}"
        raise PaymentMismatch(f"an event claims {claim}, intent {intent.id} is {intent.amount_minor} {intent.currency}")
    if event.type == "payment_intent.succeeded" and not intent.is_paid:
        raise PaymentMismatch(f"an event claims success, intent {intent.id} is {intent.status}")
    follow_intent(intent=intent, at=at)


def follow_intent(*, intent: Intent, at: datetime) -> Purchase:
    """`apply_intent`, keeping captured money that belongs to no purchase as a difference. Raises: PaymentMismatch."""
    try:
        purchase = apply_intent(intent=intent, at=at)
    except PaymentMismatch as mismatch:
        if intent.is_paid:
            note_difference(object_id=intent.id, intent=intent, reason=_reason_of(intent), ours=str(mismatch), at=at)
        raise
    end_differences(object_id=intent.id, at=at)
    return purchase


def _reason_of(intent: Intent) -> DifferenceReason:
    purchase_id = purchase_id_in(intent)
    purchase = Purchase.objects.filter(pk=purchase_id).first() if purchase_id else None
    if purchase is None:
        return DifferenceReason.NOBODYS
    agreed = (purchase.amount_minor, purchase.currency) == (intent.amount_minor, intent.currency)
    return DifferenceReason.SECOND_PAYMENT if agreed and purchase.paid_at is not None else DifferenceReason.NOT_AS_AGREED


def _attempt_named_by(intent: Intent) -> PaymentAttempt:
    """The attempt whose answer was lost, by the intent's metadata."""
    purchase_id = purchase_id_in(intent)
    attempt = PaymentAttempt.objects.filter(purchase_id=purchase_id, state=PaymentAttemptState.OPENING).first() if purchase_id else None
    if attempt is None:
        raise PaymentMismatch(f"intent {intent.id} belongs to no open attempt of ours")
    return attempt


def mark_purchase_paid(*, purchase_id: UUID, intent: Intent | None, at: datetime, paid_at: datetime | None = None) -> Purchase:
    """Set a purchase PAID: the only place that does. Webhook, reconciler, `sync` and free purchases all end here.

    Locks the purchase, its people held; checks amount, currency and payment against its snapshot; makes the license and the books and
    queues the receipt and the tuner's notice, all in one transaction. A repeat is a no-op. `intent` is None for a free
    tune. A payment that arrives after the purchase was closed is still a payment: it becomes PAID. `paid_at` is given when
    a lost purchase is written anew: its terms run from the payment, and nobody gets a second mail.

    Raises: PaymentMismatch.
    """
    with transaction.atomic():
        purchase = lock_purchase(purchase_id)
        attempt = _paid_attempt(purchase, intent)
        if purchase.paid_at is not None:
            if attempt is not None and attempt.state != PaymentAttemptState.SUCCEEDED:
                raise PaymentMismatch(f"intent {attempt.intent_id} pays {purchase.number} a second time")
            return purchase
        if attempt is not None:
            PaymentAttempt.objects.filter(pk=attempt.pk).update(
                state=PaymentAttemptState.SUCCEEDED, checked_at=at, ended_at=at, last_error_code=""
            )
        purchase.status = PurchaseStatus.PAID
        purchase.paid_at = paid_at or at
        purchase.closed_at = None
        purchase.captured_minor = purchase.amount_minor
        purchase.save(update_fields=["status", "paid_at", "closed_at", "captured_minor"])
        License.objects.create(purchase=purchase, holder_id=purchase.buyer_id, tune_id=purchase.tune_id, created_at=at)
        if not purchase.is_free:
            book_sale(purchase=purchase, at=purchase.paid_at)
        follow_purchase(purchase, at=at)
        audit.record(
            act="purchase.paid",
            actor_id=purchase.buyer_id if intent is None else None,
            subject_id=purchase.pk,
            at=at,
            amount_minor=purchase.amount_minor,
            currency=purchase.currency,
            intent=intent.id if intent else None,
        )
        _tell_of_payment(purchase, at=at, mail=paid_at is None)
    return purchase


def _paid_attempt(purchase: Purchase, intent: Intent | None) -> PaymentAttempt | None:
    if intent is None:
        if not purchase.is_free:
            raise PaymentMismatch(f"{purchase.number} is not free")
        return None
    _ensure_agreed(purchase, intent)
    if not intent.is_paid or intent.received_minor != purchase.amount_minor:
        raise PaymentMismatch(f"{purchase.number}: intent {intent.id} brought {intent.received_minor} of {purchase.amount_minor}")
    attempt = purchase.attempts.filter(provider=payments.PROVIDER, intent_id=intent.id).first()
    if attempt is None:
        raise PaymentMismatch(f"intent {intent.id} is none of {purchase.number}")
    return attempt


def _ensure_agreed(purchase: Purchase, intent: Intent) -> None:
    """The intent is for this purchase, its amount, its currency, and as real as we are. Raises: PaymentMismatch."""
    agreed = (purchase.amount_minor, purchase.currency, str(purchase.pk), payments.expects_livemode())
    given = (intent.amount_minor, intent.currency, intent.metadata.get("purchase"), intent.livemode)
    if agreed != given:
        raise PaymentMismatch(f"intent {intent.id} is {given}, agreed was {agreed}")


def _tell_of_payment(purchase: Purchase, *, at: datetime, mail: bool) -> None:
    link = {"resource": "purchase", "id": purchase.pk}
    price = "free" if purchase.is_free else amount_text(purchase.amount_minor, purchase.currency)
    notify(
        user_id=purchase.buyer_id,
        type=NoticeType.PURCHASE,
        title=f"Receipt {purchase.number}",
        body=(
            f"“{purchase.tune_title}” by {purchase.seller_name}, {price}.\n"
            f"Bought for {purchase.vehicle_name or 'your vehicle'} on {purchase.paid_at:%Y-%m-%d}. "
            "The full receipt and your license are in the app, under purchases."
        ),
        link=link,
        dedupe_key=f"purchase-paid:{purchase.pk}",
        mail=mail,
        at=at,
    )
    notify(
        user_id=purchase.tuner.user_id,
        type=NoticeType.SALE,
        title=f"Sold: {purchase.tune_title}",
        body=f"{purchase.number}, {price}. Your share is {amount_text(purchase.net_minor, purchase.currency)}.",
        link=link,
        dedupe_key=f"purchase-sold:{purchase.pk}",
        mail=mail and not purchase.is_free,
        at=at,
    )


def _follow_cancellation(*, attempt: PaymentAttempt, at: datetime) -> Purchase:
    """The provider cancelled the intent: the purchase ends, unless another attempt goes on."""
    purchase = Purchase.objects.get(pk=attempt.purchase_id)
    status = PurchaseStatus.EXPIRED if purchase.expires_at and purchase.expires_at <= at else PurchaseStatus.CANCELED
    return _close(purchase_id=purchase.pk, status=status, at=at, ended_attempt=attempt)


def _close(
    *,
    purchase_id: UUID,
    status: PurchaseStatus,
    at: datetime,
    actor_id: UUID | None = None,
    ended_attempt: PaymentAttempt | None = None,
    note: str = "",
) -> Purchase:
    """End a pending purchase whose intent is cancelled at the provider, or never existed. Locks the purchase.

    Changes nothing when it does not wait any more, or when another attempt than the ended one is live.
    """
    with transaction.atomic():
        purchase = Purchase.objects.select_for_update(no_key=True).get(pk=purchase_id)
        live = purchase.attempts.filter(state__in=LIVE_ATTEMPT).first()
        if ended_attempt is not None and (live is None or live.pk != ended_attempt.pk):
            return purchase
        if live is not None:
            live.state = PaymentAttemptState.CANCELED if live.intent_id else PaymentAttemptState.ABANDONED
            live.checked_at = live.ended_at = at
            live.save(update_fields=["state", "checked_at", "ended_at"])
        if purchase.status != PurchaseStatus.PENDING:
            return purchase
        purchase.status = status
        purchase.closed_at = at
        purchase.save(update_fields=["status", "closed_at"])
        audit.record(act=f"purchase.{status.lower()}", actor_id=actor_id, subject_id=purchase.pk, at=at, reason=note)
    return purchase


# Ending and asking again


def end_payment(*, purchase: Purchase, status: PurchaseStatus, at: datetime, actor_id: UUID | None = None) -> Purchase:
    """Cancel the intent of a pending purchase at the provider, then close it as `status`; had it succeeded, it is PAID.

    Called by cancel and expiry. Talks to the provider, so never call it in a transaction. Raises: ServiceUnavailable.
    """
    attempt = purchase.attempts.select_related("purchase").filter(state__in=LIVE_ATTEMPT).first()
    with provider_answers():
        intent_id = _intent_to_end(attempt, at=at) if attempt is not None else None
        if intent_id is not None:
            try:
                intent = payments.cancel_intent(intent_id)
            except payments.UnknownToProvider:  # what the provider does not know, nobody can pay
                intent = None
            if intent is not None and not intent.is_canceled:
                return apply_intent(intent=intent, at=at)
    return _close(purchase_id=purchase.pk, status=status, at=at, actor_id=actor_id, ended_attempt=attempt)


def _intent_to_end(attempt: PaymentAttempt, *, at: datetime) -> str | None:
    """The id of an attempt's intent. A call that may still act is repeated with its key first, so that it can be cancelled."""
    if attempt.intent_id is not None:
        return attempt.intent_id
    if at - attempt.created_at < CALL_SURELY_OVER:
        open_payment(purchase_id=attempt.purchase_id, at=at)
        attempt.refresh_from_db()
        return attempt.intent_id
    intent = _look_for_intent(attempt)
    if intent is None:
        return None
    _attach(attempt=attempt, intent=intent, at=at)
    return intent.id


def settle_purchase(*, purchase_id: UUID, at: datetime) -> Purchase:
    """Ask the provider now and apply its answer; expire what has run out. Safe to repeat; no-op unless it is pending.

    Called by `sync` and the reconciler. Raises: ServiceUnavailable, PaymentMismatch.
    """
    purchase = Purchase.objects.get(pk=purchase_id)
    if purchase.status != PurchaseStatus.PENDING:
        return purchase
    if purchase.expires_at is not None and purchase.expires_at <= at:
        return end_payment(purchase=purchase, status=PurchaseStatus.EXPIRED, at=at)
    open_payment(purchase_id=purchase_id, at=at)
    attempt = purchase.attempts.filter(state=PaymentAttemptState.OPEN).first()
    if attempt is None or attempt.intent_id is None:
        return Purchase.objects.get(pk=purchase_id)
    with provider_answers():
        try:
            intent = payments.get_intent(attempt.intent_id)
        except payments.UnknownToProvider:
            log.error("payment_intent_lost_by_provider", purchase=str(purchase_id))
            note_difference(
                object_id=attempt.intent_id,
                reason=DifferenceReason.UNKNOWN_THERE,
                ours=f"{purchase.number} waits for this payment",
                theirs="no such payment",
                at=at,
            )
            return purchase
    return follow_intent(intent=intent, at=at)


def reconcile_purchases(*, at: datetime, younger_than: timedelta | None = None, limit: int = 500) -> int:
    """Settle what waits, oldest first, and return how many were looked at: this is what finds lost webhooks.

    One that does not match is logged and alarmed, and does not stop the others. Raises: ServiceUnavailable, after
    which nothing more is tried.
    """
    waiting = Purchase.objects.filter(status=PurchaseStatus.PENDING).order_by("created_at", "id")
    if younger_than is not None:
        waiting = waiting.filter(created_at__gt=at - younger_than)
    ids = list(waiting.values_list("pk", flat=True)[:limit])
    for purchase_id in ids:
        try:
            settle_purchase(purchase_id=purchase_id, at=at)
        except PaymentMismatch as mismatch:
            alarm(subject_id=purchase_id, note=str(mismatch), at=at)
        except NotForSale:
            continue
    return len(ids)


def expire_purchases(*, at: datetime, limit: int = 200) -> int:
    """End what has run out, provider first; returns how many are EXPIRED now. Raises: ServiceUnavailable."""
    due = Purchase.objects.filter(status=PurchaseStatus.PENDING, expires_at__lte=at).order_by("created_at", "id")[:limit]
    expired = 0
    for purchase in due:
        try:
            expired += end_payment(purchase=purchase, status=PurchaseStatus.EXPIRED, at=at).status == PurchaseStatus.EXPIRED
        except PaymentMismatch as mismatch:
            alarm(subject_id=purchase.pk, note=str(mismatch), at=at)
    return expired


def alarm(*, subject_id: UUID, note: str, at: datetime) -> None:
    """Something smells of fraud or of a bug: loud in the log, and once on the record."""
    log.error("payment_mismatch", subject=str(subject_id), note=note)
    if not AuditEvent.objects.filter(act="payment.mismatch", subject_id=subject_id, reason=note[:2000]).exists():
        audit.record(act="payment.mismatch", actor_id=None, subject_id=subject_id, at=at, reason=note[:2000])
