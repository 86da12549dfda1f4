"""What the provider kept of each payment: read from its charge and booked once, by the reconciler."""

from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef

from marketplace import payments
from marketplace.enums import LedgerCause, PaymentAttemptState
from marketplace.models import LedgerSet, PaymentAttempt, Purchase
from marketplace.services.books import book_provider_fee
from marketplace.services.locks import lock_purchase
from marketplace.services.parked import is_fee_booked
from marketplace.services.settlement import alarm

LOOKED_AT_A_ROUND = 300
LOOKED_FOR = timedelta(days=10)  # a charge knows its fee at once, or when it has settled


def reconcile_provider_fees(*, at: datetime) -> int:
    """Book the fee of each recent payment whose fee is not in the books, oldest look first; how many were looked at.

    Called by the schedule (`marketplace.services.reconciler`). Locks each purchase. Idempotent: a cause is booked once.
    Raises: payments.ProviderUnavailable.
    """
    booked = LedgerSet.objects.filter(cause=LedgerCause.PROVIDER_FEE, cause_id=OuterRef("pk"))
    paid = Purchase.objects.filter(paid_at__gt=at - LOOKED_FOR, amount_minor__gt=0).exclude(Exists(booked)).order_by("paid_at")
    intents = PaymentAttempt.objects.filter(purchase__in=paid, state=PaymentAttemptState.SUCCEEDED)
    rows = list(intents.order_by("checked_at").values_list("pk", "purchase_id", "intent_id")[:LOOKED_AT_A_ROUND])
    for attempt_id, purchase_id, intent_id in rows:
        PaymentAttempt.objects.filter(pk=attempt_id).update(checked_at=at)  # one that knows no fee yet stands behind the others
        try:
            charge = payments.find_charge(str(intent_id))
        except payments.UnknownToProvider:
            alarm(subject_id=purchase_id, note=f"the provider does not know {intent_id}", at=at)
            continue
        if charge is not None and charge.fee_minor > 0 and not is_fee_booked(str(intent_id)):
            _book(purchase_id, amount_minor=charge.fee_minor, currency=charge.fee_currency, at=at)
    return len(rows)


def _book(purchase_id: UUID, *, amount_minor: int, currency: str, at: datetime) -> None:
    with transaction.atomic():
        purchase = lock_purchase(purchase_id)
        if not LedgerSet.objects.filter(cause=LedgerCause.PROVIDER_FEE, cause_id=purchase.pk).exists():
            book_provider_fee(purchase=purchase, cause_id=purchase.pk, amount_minor=amount_minor, currency=currency, at=at)
