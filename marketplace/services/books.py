"""The ledger's only writer: each cause is booked once, balanced, in the transaction of what caused it.

Whoever calls holds the lock of the purchase (of the payout's tuner, of the parked payment), so what is left can't change meanwhile.
Every function raises IntegrityError for a cause that is booked already.
"""

from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Sum

from marketplace.enums import LedgerAccount, LedgerCause
from marketplace.models import LedgerEntry, LedgerSet, ParkedReturn, Payout, ProviderDifference, Purchase
from marketplace.policies import books
from marketplace.policies.books import Posting, Shares


def book_sale(*, purchase: Purchase, at: datetime) -> LedgerSet:
    """Book a paid purchase: the buyer's money becomes tax, fee and the tuner's share, held for the tuner's hold period.

    Called by `mark_purchase_paid` only, inside its transaction.
    """
    posting = books.post_sale(amount_minor=purchase.amount_minor, tax_minor=purchase.tax_minor, fee_minor=purchase.fee_minor)
    available_at = at + timedelta(days=purchase.tuner.hold_days)
    return _book(LedgerCause.SALE, purchase.pk, posting, purchase=purchase, available_at=available_at, at=at)


def book_refund(*, purchase: Purchase, refund_id: UUID, amount_minor: int, at: datetime) -> LedgerSet:
    """Book money that goes back to the buyer: tax, fee and the tuner's share shrink in proportion to what is left of each.

    What the tuner was paid already is thereby clawed back. Raises: ValueError for more than is left of the sale.
    """
    posting = books.post_refund(amount_minor=amount_minor, left=shares_left(purchase))
    return _book(LedgerCause.REFUND, refund_id, posting, purchase=purchase, available_at=_release_of(purchase, at), at=at)


def book_refund_failed(*, purchase: Purchase, refund_id: UUID, amount_minor: int, at: datetime) -> LedgerSet:
    """Book a refund that came back from the buyer's bank: the buyer is owed."""
    return _book(
        LedgerCause.REFUND_FAILED, refund_id, books.post_refund_failed(amount_minor=amount_minor), purchase=purchase, at=at
    )


def book_owed_paid(*, purchase: Purchase, refund_id: UUID, amount_minor: int, at: datetime) -> LedgerSet:
    """Book that what a returned refund left owed was paid another way. Raises: ValueError for more than is owed."""
    posting = books.post_owed_paid(amount_minor=amount_minor, left=shares_left(purchase))
    return _book(LedgerCause.OWED_PAID, refund_id, posting, purchase=purchase, at=at)


def book_dispute_opened(*, purchase: Purchase, dispute_id: UUID, amount_minor: int, fee_minor: int = 0, at: datetime) -> LedgerSet:
    """Book what the bank took back for now, and the provider's fee where it is in the purchase's currency."""
    posting = books.post_dispute_opened(amount_minor=amount_minor, fee_minor=fee_minor)
    return _book(LedgerCause.DISPUTE_OPENED, dispute_id, posting, purchase=purchase, at=at)


def book_dispute_won(
    *, purchase: Purchase, dispute_id: UUID, amount_minor: int, fee_returned_minor: int = 0, at: datetime
) -> LedgerSet:
    """Book that the bank gave the money back; the shares are as they were."""
    posting = books.post_dispute_won(amount_minor=amount_minor, fee_returned_minor=fee_returned_minor)
    return _book(LedgerCause.DISPUTE_WON, dispute_id, posting, purchase=purchase, at=at)


def book_dispute_lost(*, purchase: Purchase, dispute_id: UUID, amount_minor: int, at: datetime) -> LedgerSet:
    """Book that the bank kept the money: it is taken from the shares like a refund, and from the platform beyond them."""
    posting = books.post_dispute_lost(amount_minor=amount_minor, left=shares_left(purchase))
    return _book(LedgerCause.DISPUTE_LOST, dispute_id, posting, purchase=purchase, available_at=_release_of(purchase, at), at=at)


def book_provider_fee(*, purchase: Purchase, cause_id: UUID, amount_minor: int, currency: str, at: datetime) -> LedgerSet:
    """Book a fee that the provider kept, in its own currency: the platform bears it."""
    posting = books.post_provider_fee(amount_minor=amount_minor)
    return _book(LedgerCause.PROVIDER_FEE, cause_id, posting, purchase=purchase, currency=currency, at=at)


def book_payout(*, payout: Payout, at: datetime) -> LedgerSet:
    """Book that a tuner's money leaves for their account: from now on it is not available any more."""
    return _book_of_tuner(LedgerCause.PAYOUT, payout, books.post_payout(amount_minor=payout.amount_minor), at=at)


def book_payout_failed(*, payout: Payout, at: datetime) -> LedgerSet:
    """Book that it came back."""
    return _book_of_tuner(LedgerCause.PAYOUT_FAILED, payout, books.post_payout_failed(amount_minor=payout.amount_minor), at=at)


def book_parked(*, difference: ProviderDifference, at: datetime) -> LedgerSet:
    """Book a captured payment that belongs to no purchase: until somebody decides it stands in suspense."""
    return _book_parked(LedgerCause.PARKED, difference, difference.pk, books.post_parked(amount_minor=difference.amount_minor), at=at)


def book_parked_claimed(*, difference: ProviderDifference, amount_minor: int, fee_minor: int, at: datetime) -> LedgerSet:
    """Book that its purchase was found: what is left of it leaves suspense, because sale, refunds and disputes are booked there."""
    posting = books.post_claimed(amount_minor=amount_minor, fee_minor=fee_minor)
    return _book_parked(LedgerCause.PARKED_CLAIMED, difference, difference.pk, posting, at=at)


def book_parked_refund(*, gone: ParkedReturn, at: datetime) -> LedgerSet:
    """Book that it went back to its payer, all of it or a part, and the fee that a dispute cost."""
    posting = books.post_unparked(amount_minor=gone.amount_minor, fee_minor=gone.fee_minor)
    return _book_parked(LedgerCause.PARKED_REFUND, gone.difference, gone.pk, posting, at=at)


def book_parked_back(*, gone: ParkedReturn, at: datetime) -> LedgerSet:
    """Book that what went back came back, and the fee where the provider returns it."""
    posting = books.post_parked(amount_minor=gone.amount_minor, fee_returned_minor=gone.fee_returned_minor)
    return _book_parked(LedgerCause.PARKED_BACK, gone.difference, gone.pk, posting, at=at)


def book_parked_fee(*, difference: ProviderDifference, amount_minor: int, currency: str, at: datetime) -> LedgerSet:
    """Book what the provider kept of a payment that belongs to no purchase: the platform bears it, given back or not."""
    booked = LedgerSet(cause=LedgerCause.PROVIDER_FEE, cause_id=difference.pk, currency=currency, at=at)
    return _write(booked, books.post_provider_fee(amount_minor=amount_minor), tuner_id=None, available_at=None)


def shares_left(purchase: Purchase) -> Shares:
    """What the books still have of a sale, by account. One query."""
    sums = dict(
        LedgerEntry.objects.filter(purchase=purchase, currency=purchase.currency)
        .values_list("account")
        .annotate(Sum("amount_minor"))
        .order_by()
    )
    return Shares(
        tax_minor=sums.get(LedgerAccount.TAX_PAYABLE, 0),
        fee_minor=sums.get(LedgerAccount.PLATFORM_FEE, 0),
        tuner_minor=sums.get(LedgerAccount.TUNER, 0),
        owed_minor=sums.get(LedgerAccount.BUYER_OWED, 0),
    )


def _release_of(purchase: Purchase, at: datetime) -> datetime:
    """When a negative share counts: with the share that it shrinks, so that held money shrinks held; at once when that is out."""
    sold = LedgerEntry.objects.filter(set__cause=LedgerCause.SALE, purchase=purchase, account=LedgerAccount.TUNER).first()
    return max(at, sold.available_at) if sold is not None and sold.available_at is not None else at


def _book(
    cause: LedgerCause,
    cause_id: UUID,
    posting: Posting,
    *,
    at: datetime,
    purchase: Purchase,
    currency: str = "",
    available_at: datetime | None = None,
) -> LedgerSet:
    tax = {"tax_rate_basis_points": purchase.tax_rate_basis_points, "tax_country": purchase.tax_country}
    facts = {"purchase": purchase, "currency": currency or purchase.currency, "at": at}
    return _write(
        LedgerSet(cause=cause, cause_id=cause_id, tax_minor=posting.get(LedgerAccount.TAX_PAYABLE, 0), **tax, **facts),
        posting,
        tuner_id=purchase.tuner_id,
        available_at=available_at,
    )


def _book_of_tuner(cause: LedgerCause, payout: Payout, posting: Posting, *, at: datetime) -> LedgerSet:
    booked = LedgerSet(cause=cause, cause_id=payout.pk, currency=payout.currency, at=at)
    return _write(booked, posting, tuner_id=payout.tuner_id, available_at=at)


def _book_parked(cause: LedgerCause, difference: ProviderDifference, cause_id: UUID, posting: Posting, *, at: datetime) -> LedgerSet:
    booked = LedgerSet(cause=cause, cause_id=cause_id, currency=difference.currency, at=at)
    return _write(booked, posting, tuner_id=None, available_at=None)


def _write(booked: LedgerSet, posting: Posting, *, tuner_id: UUID | None, available_at: datetime | None) -> LedgerSet:
    with transaction.atomic():
        booked.save(force_insert=True)
        LedgerEntry.objects.bulk_create(
            LedgerEntry(
                set=booked,
                account=account,
                tuner_id=tuner_id if account == LedgerAccount.TUNER else None,
                purchase_id=booked.purchase_id,
                amount_minor=amount_minor,
                currency=booked.currency,
                at=booked.at,
                available_at=available_at if account == LedgerAccount.TUNER else None,
            )
            for account, amount_minor in posting.items()
        )
    return booked
