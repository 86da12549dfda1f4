"""The ledger's only writer: each cause is booked once, balanced, in the transaction of what caused it."""

from datetime import datetime, timedelta

from marketplace.enums import LedgerAccount, LedgerCause
from marketplace.models import LedgerEntry, LedgerSet, Purchase


def book_sale(*, purchase: Purchase, at: datetime) -> LedgerSet:
    """Book a paid purchase: the buyer's money becomes tax, fee and the tuner's share, held for the tuner's hold period.

    Called by `mark_purchase_paid` only, inside its transaction. Raises IntegrityError for a sale that is booked already.
    """
    booked = LedgerSet.objects.create(
        cause=LedgerCause.SALE,
        cause_id=purchase.pk,
        purchase=purchase,
        currency=purchase.currency,
        tax_minor=purchase.tax_minor,
        tax_rate_basis_points=purchase.tax_rate_basis_points,
        tax_country=purchase.tax_country,
        at=at,
    )
    shares = {
        LedgerAccount.BUYER_CLEARING: -purchase.amount_minor,
        LedgerAccount.TAX_PAYABLE: purchase.tax_minor,
        LedgerAccount.PLATFORM_FEE: purchase.fee_minor,
        LedgerAccount.TUNER: purchase.net_minor,
    }
    available_at = at + timedelta(days=purchase.tuner.hold_days)
    LedgerEntry.objects.bulk_create(
        LedgerEntry(
            set=booked,
            account=account,
            tuner=purchase.tuner if account == LedgerAccount.TUNER else None,
            purchase=purchase,
            amount_minor=amount_minor,
            currency=purchase.currency,
            at=at,
            available_at=available_at if account == LedgerAccount.TUNER else None,
        )
        for account, amount_minor in shares.items()
        if amount_minor
    )
    return booked
