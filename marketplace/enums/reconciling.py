"""What can differ between the payment provider and us."""

from django.db.models import TextChoices

__all__ = ["DifferenceReason", "DifferenceState"]


class DifferenceReason(TextChoices):
    NOBODYS = "NOBODYS", "A payment that belongs to no purchase of ours"
    NOT_REBUILT = "NOT_REBUILT", "A payment whose purchase was lost and can't be written again"
    SECOND_PAYMENT = "SECOND_PAYMENT", "A second payment of one purchase"
    NOT_AS_AGREED = "NOT_AS_AGREED", "Amount, currency or purchase are not what was agreed"
    UNKNOWN_THERE = "UNKNOWN_THERE", "The provider does not know what we know"
    OTHER_STATE = "OTHER_STATE", "The provider and we say different things of its state"


class DifferenceState(TextChoices):
    OPEN = "OPEN", "Open: a person must look"
    REFUNDED = "REFUNDED", "Given back to the payer"
    DISMISSED = "DISMISSED", "Looked at, nothing to do"
    GONE = "GONE", "The two agree again"
