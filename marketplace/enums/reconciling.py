"""What can differ between the payment provider and us."""

from django.db.models import TextChoices

__all__ = ["PARKED_REASONS", "DifferenceReason", "DifferenceState"]


class DifferenceReason(TextChoices):
    NOBODYS = "NOBODYS", "A payment that belongs to no purchase of ours"
    NOT_REBUILT = "NOT_REBUILT", "Lost here, and can't be written again"
    SECOND_PAYMENT = "SECOND_PAYMENT", "A second payment of one purchase"
    NOT_AS_AGREED = "NOT_AS_AGREED", "Amount, currency or purchase are not what was agreed"
    UNKNOWN_THERE = "UNKNOWN_THERE", "The provider does not know what we know"
    OTHER_STATE = "OTHER_STATE", "The provider and we say different things of its state"


# Of these a payment was captured and belongs to no purchase.
PARKED_REASONS = (
    DifferenceReason.NOBODYS,
    DifferenceReason.NOT_REBUILT,
    DifferenceReason.SECOND_PAYMENT,
    DifferenceReason.NOT_AS_AGREED,
)


class DifferenceState(TextChoices):
    OPEN = "OPEN", "Open: a person must look"
    REFUNDED = "REFUNDED", "Given back to the payer"
    DISMISSED = "DISMISSED", "Looked at, nothing to do"
    GONE = "GONE", "The two agree again"
