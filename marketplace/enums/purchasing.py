"""What a purchase, its license and its money can be. Clients treat a value that they don't know as unknown."""

from django.db.models import TextChoices

__all__ = [
    "LedgerAccount",
    "LedgerCause",
    "LicenseState",
    "PaymentAttemptState",
    "PaymentProvider",
    "PurchaseStatus",
    "WebhookEventStatus",
]


class PurchaseStatus(TextChoices):
    PENDING = "PENDING", "Waiting for payment"
    PAID = "PAID", "Paid"
    CANCELED = "CANCELED", "Canceled before payment"
    EXPIRED = "EXPIRED", "Ran out before payment"
    REFUNDED = "REFUNDED", "Refunded in full"
    DISPUTED = "DISPUTED", "Disputed at the payer's bank"
    CHARGED_BACK = "CHARGED_BACK", "Charged back"


class LicenseState(TextChoices):
    UNBOUND = "UNBOUND", "Not on a vehicle yet"
    RESERVED = "RESERVED", "A flash ticket is out for a vehicle"
    BOUND = "BOUND", "On a vehicle"
    SUSPENDED = "SUSPENDED", "Suspended"
    REVOKED = "REVOKED", "Revoked"


class PaymentProvider(TextChoices):
    STRIPE = "stripe", "Stripe"


class PaymentAttemptState(TextChoices):
    OPENING = "OPENING", "Intent asked for, its id not known yet"
    OPEN = "OPEN", "Waiting for the payer"
    SUCCEEDED = "SUCCEEDED", "Paid"
    CANCELED = "CANCELED", "Canceled at the provider"
    ABANDONED = "ABANDONED", "Given up: the provider knows no intent of it"


class WebhookEventStatus(TextChoices):
    RECEIVED = "RECEIVED", "Received, to be applied"
    APPLIED = "APPLIED", "Applied"
    IGNORED = "IGNORED", "Of a kind that changes nothing here"
    PARKED = "PARKED", "Could not be applied: a person must look"


class LedgerAccount(TextChoices):
    """Positive is what an account gained: money that we hold is negative, because somebody gave it; what we owe is positive."""

    BUYER_CLEARING = "BUYER_CLEARING", "Buyers: money received (negative) or given back"
    BUYER_OWED = "BUYER_OWED", "Owed to buyers whose refund came back"
    TUNER = "TUNER", "Owed to the tuner"
    PLATFORM_FEE = "PLATFORM_FEE", "The platform's fee"
    TAX_PAYABLE = "TAX_PAYABLE", "Tax owed"
    PROVIDER_FEE = "PROVIDER_FEE", "The payment provider's fee"
    DISPUTES = "DISPUTES", "Held by banks in disputes"
    PAYOUTS = "PAYOUTS", "Paid out to tuners"
    LOSSES = "LOSSES", "Borne by the platform: lost beyond the shares of a sale"
    SUSPENSE = "SUSPENSE", "Received for no purchase that we know"


class LedgerCause(TextChoices):
    SALE = "SALE", "A purchase was paid"
    PROVIDER_FEE = "PROVIDER_FEE", "The provider took its fee"
    REFUND = "REFUND", "Money was given back"
    REFUND_FAILED = "REFUND_FAILED", "A refund came back: the buyer is owed"
    OWED_PAID = "OWED_PAID", "What a buyer was owed was paid another way"
    DISPUTE_OPENED = "DISPUTE_OPENED", "A bank took the money back for now"
    DISPUTE_WON = "DISPUTE_WON", "A dispute was won"
    DISPUTE_LOST = "DISPUTE_LOST", "A dispute was lost"
    PAYOUT = "PAYOUT", "Money was paid out"
    PAYOUT_FAILED = "PAYOUT_FAILED", "A payout came back"
    ADJUSTMENT = "ADJUSTMENT", "Staff corrected the books"
    PARKED = "PARKED", "A payment came that belongs to no purchase"
    PARKED_REFUND = "PARKED_REFUND", "It went back to its payer"
    PARKED_BACK = "PARKED_BACK", "What went back to its payer came back"
    PARKED_CLAIMED = "PARKED_CLAIMED", "Its purchase was found"
