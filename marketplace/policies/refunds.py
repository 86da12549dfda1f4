"""What may be given back, and at once or not. Pure: nothing here reads or writes."""

from datetime import datetime

from marketplace.enums import PurchaseStatus
from marketplace.exceptions import AlreadyRefunded, NothingToRefund, PurchaseChargedBack, PurchaseDisputed, PurchaseNotPaid
from marketplace.models import Purchase
from marketplace.policies.purchasing import refundable_until


def ensure_refundable(purchase: Purchase, *, last_refund_id: object = None) -> None:
    """Whether any of it can still be given back.

    Raises: PurchaseNotPaid, NothingToRefund (free), PurchaseDisputed, PurchaseChargedBack, AlreadyRefunded.
    """
    if purchase.paid_at is None:
        raise PurchaseNotPaid
    if purchase.captured_minor == 0:
        raise NothingToRefund
    if purchase.status == PurchaseStatus.DISPUTED:
        raise PurchaseDisputed
    if purchase.status == PurchaseStatus.CHARGED_BACK:
        raise PurchaseChargedBack
    if purchase.status == PurchaseStatus.REFUNDED:
        raise AlreadyRefunded(refund=str(last_refund_id) if last_refund_id else None)


def is_refunded_at_once(purchase: Purchase, *, was_granted: bool, at: datetime) -> bool:
    """Nothing was ever handed out, and fourteen days have not passed: nobody has to decide."""
    until = refundable_until(
        status=purchase.status, paid_at=purchase.paid_at, captured_minor=purchase.captured_minor, was_granted=was_granted
    )
    return until is not None and at <= until


def left_minor(purchase: Purchase) -> int:
    """How much of the payment was not given back yet."""
    return purchase.captured_minor - purchase.refunded_minor
