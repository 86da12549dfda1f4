"""Captured money that belongs to no purchase: it stands in suspense in the books until it was given back, or its purchase was found.

A payment may be found by several looks and under several reasons; its books hang on one of its differences, the lead: the one that was
booked first. Everything about a payment is written under one lock, named by its id.
"""

from datetime import datetime, timedelta

import structlog
from django.db import connection, transaction
from django.db.models import Q, QuerySet, Sum

from core import audit
from marketplace import payments
from marketplace.enums import PARKED_REASONS, DifferenceState, LedgerCause, PaymentAttemptState
from marketplace.exceptions import PaymentMismatch
from marketplace.models import LedgerSet, ParkedReturn, PaymentAttempt, ProviderDifference
from marketplace.services.books import book_parked, book_parked_back, book_parked_claimed, book_parked_fee, book_parked_refund

log = structlog.get_logger(__name__)

LOOKED_AT_A_ROUND = 100
FOLLOWED_FOR = timedelta(days=30)  # after its end: a refund may fail days later


def _lock(intent_id: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"parked {intent_id}"])


def _of_payment(intent_id: str) -> QuerySet[ProviderDifference]:
    of_payment = ProviderDifference.objects.filter(provider=payments.PROVIDER, intent_id=intent_id)
    return of_payment.filter(reason__in=PARKED_REASONS, amount_minor__gt=0).order_by("pk")


def _lead(intent_id: str) -> ProviderDifference | None:
    """The difference whose id the books of a payment have."""
    ids = _of_payment(intent_id).values("pk")
    lead_id = LedgerSet.objects.filter(cause=LedgerCause.PARKED, cause_id__in=ids).values_list("cause_id", flat=True).first()
    return ProviderDifference.objects.get(pk=lead_id) if lead_id else None


def _pays_a_purchase(intent_id: str) -> bool:
    return PaymentAttempt.objects.filter(intent_id=intent_id, state=PaymentAttemptState.SUCCEEDED).exists()


def keep_in_books(*, intent_id: str, at: datetime) -> None:
    """Book a captured payment as long as it belongs to no purchase, and out again once it does. Idempotent.

    Called by whatever notes or ends a difference, and by the reconciler. Locks the payment.
    """
    with transaction.atomic():
        _lock(intent_id)
        lead, belongs = _lead(intent_id), _pays_a_purchase(intent_id)
        if lead is None and not belongs:
            first = _of_payment(intent_id).first()
            if first is not None:
                book_parked(difference=first, at=at)
        elif lead is not None and belongs and not _is_claimed(lead):
            left, fees = lead.amount_minor - _gone_minor(lead), sum(each.fee_minor - each.fee_returned_minor for each in lead.returns.all())
            if left or fees:
                book_parked_claimed(difference=lead, amount_minor=left, fee_minor=fees, at=at)


def _is_claimed(lead: ProviderDifference) -> bool:
    return LedgerSet.objects.filter(cause=LedgerCause.PARKED_CLAIMED, cause_id=lead.pk).exists()


def follow_parked_refund(*, truth: payments.Refund, at: datetime) -> bool:
    """Book a refund of a parked payment, or that it failed; whether it is of one. Idempotent. Locks the payment.

    Called with a freshly read refund, by events, the reconciler and staff's decision. One that failed opens the payment again.
    Raises: PaymentMismatch (more than was received, or another currency).
    """
    return _follow(truth, amount_minor=truth.amount_minor, is_gone=not truth.is_failed, fee_minor=0, at=at)


def follow_parked_dispute(*, truth: payments.Dispute, at: datetime) -> bool:
    """Book what a bank took back of a parked payment, or that it gave it back; whether it is of one. Idempotent. Locks the payment.

    Called with a freshly read dispute, by events and the reconciler. Raises: PaymentMismatch (as `follow_parked_refund`).
    """
    is_gone = truth.is_lost or truth.withdrawn_minor > 0
    # a fee in another currency can't be told apart from the amounts
    fee_minor = max(0, truth.fee_minor) if truth.withdrawn_minor in (0, truth.amount_minor) else 0
    return _follow(truth, amount_minor=truth.amount_minor, is_gone=is_gone, fee_minor=fee_minor, at=at)


def _follow(truth: payments.Refund | payments.Dispute, *, amount_minor: int, is_gone: bool, fee_minor: int, at: datetime) -> bool:
    if not truth.intent_id or not _of_payment(truth.intent_id).exists():
        return False
    keep_in_books(intent_id=truth.intent_id, at=at)
    with transaction.atomic():
        _lock(truth.intent_id)
        lead = _lead(truth.intent_id)
        if lead is None or _pays_a_purchase(truth.intent_id):
            return False
        row = ParkedReturn.objects.filter(provider_id=truth.id).first()
        if row is None and is_gone:
            left = lead.amount_minor - _gone_minor(lead)
            if truth.currency != lead.currency or amount_minor > left:
                raise PaymentMismatch(f"{truth.id} takes {amount_minor} {truth.currency} back, {left} {lead.currency} was left")
            facts = {"amount_minor": amount_minor, "fee_minor": fee_minor, "created_at": at}
            book_parked_refund(gone=ParkedReturn.objects.create(difference=lead, provider_id=truth.id, **facts), at=at)
        elif row is not None and not is_gone and row.failed_at is None:
            row.failed_at, row.fee_returned_minor = at, max(0, row.fee_minor - fee_minor)
            row.save(update_fields=["failed_at", "fee_returned_minor"])
            book_parked_back(gone=row, at=at)
            _open_again(truth.id, at=at)
    return True


def _gone_minor(lead: ProviderDifference) -> int:
    return lead.returns.filter(failed_at=None).aggregate(Sum("amount_minor"))["amount_minor__sum"] or 0


def _open_again(refund_id: str, *, at: datetime) -> None:
    """What staff had given back is with us again: somebody must look once more."""
    for row in ProviderDifference.objects.select_for_update(no_key=True).filter(refund_id=refund_id, state=DifferenceState.REFUNDED):
        row.state, row.refund_id, row.ended_at = DifferenceState.OPEN, "", None
        row.save(update_fields=["state", "refund_id", "ended_at"])
        log.error("parked_refund_failed", difference=str(row.pk), refund=refund_id)
        audit.record(act="difference.found", actor_id=None, subject_id=row.pk, at=at, reason="its refund came back", kind=row.reason)


def reconcile_parked(*, at: datetime) -> int:
    """Follow parked payments at the provider: their fee, and what went back; how many. See `marketplace.services.reconciler`."""
    followed = Q(state=DifferenceState.OPEN) | Q(ended_at__gt=at - FOLLOWED_FOR)
    rows = ProviderDifference.objects.filter(followed, reason__in=PARKED_REASONS, amount_minor__gt=0).exclude(intent_id="")
    looked_at = list(rows.order_by("seen_at", "pk").values_list("pk", "intent_id")[:LOOKED_AT_A_ROUND])
    for row_id, intent_id in looked_at:
        ProviderDifference.objects.filter(pk=row_id).update(seen_at=at)
        keep_in_books(intent_id=intent_id, at=at)
        if _pays_a_purchase(intent_id):
            continue
        try:
            _book_fee(intent_id, at=at)
            for refund in list(payments.list_refunds(intent_id=intent_id)):
                follow_parked_refund(truth=refund, at=at)
            for dispute in list(payments.list_disputes(intent_id=intent_id)):
                follow_parked_dispute(truth=dispute, at=at)
        except (PaymentMismatch, payments.UnknownToProvider) as mismatch:
            log.error("parked_payment_differs", intent=intent_id, note=str(mismatch))
    return len(looked_at)


def _book_fee(intent_id: str, *, at: datetime) -> None:
    charge = payments.find_charge(intent_id)
    if charge is None or charge.fee_minor <= 0:
        return
    with transaction.atomic():
        _lock(intent_id)
        lead = _lead(intent_id)
        if lead is not None and not LedgerSet.objects.filter(cause=LedgerCause.PROVIDER_FEE, cause_id=lead.pk).exists():
            book_parked_fee(difference=lead, amount_minor=charge.fee_minor, currency=charge.fee_currency, at=at)


def is_fee_booked(intent_id: str) -> bool:
    """Whether the provider's fee for a payment was booked while it belonged to no purchase."""
    return LedgerSet.objects.filter(cause=LedgerCause.PROVIDER_FEE, cause_id__in=_of_payment(intent_id).values("pk")).exists()
