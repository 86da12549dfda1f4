"""What a tuner's payout account, a payout and a single cent can be. Clients treat a value that they don't know as unknown."""

from django.db.models import TextChoices

__all__ = ["CentState", "PayoutAccountState", "PayoutBlocker", "PayoutStatus"]


class PayoutAccountState(TextChoices):
    OPENING = "OPENING", "Asked for, its id not known yet"
    ONBOARDING = "ONBOARDING", "The provider waits for the tuner's details"
    RESTRICTED = "RESTRICTED", "The provider checks, or asks for more"
    ACTIVE = "ACTIVE", "Can be paid"


class PayoutStatus(TextChoices):
    PENDING = "PENDING", "On its way"
    PAID = "PAID", "Arrived at the bank"
    FAILED = "FAILED", "Came back: available again"


class PayoutBlocker(TextChoices):
    ACCOUNT_BLOCKED = "account_blocked", "Staff blocked the account"
    MFA_REQUIRED = "mfa_required", "The second factor is off"
    TUNER_SUSPENDED = "tuner_suspended", "The profile is suspended"
    PAYOUT_ACCOUNT_REQUIRED = "payout_account_required", "There is no payout account"
    PAYOUT_ACCOUNT_INCOMPLETE = "payout_account_incomplete", "The payment provider can't pay to the account yet"


class CentState(TextChoices):
    """Each cent of a tuner's shares is in exactly one of these."""

    HELD = "HELD", "Within the hold period, or disputed"
    AVAILABLE = "AVAILABLE", "Goes out with the next payout"
    PAID = "PAID", "Paid out, or on its way"
    CLAWED_BACK = "CLAWED_BACK", "Taken back by a refund or a lost dispute"
