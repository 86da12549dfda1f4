"""The ledger computed anew from what caused it: purchases, refunds, disputes, payouts, and payments that belong to no purchase.

For each cause the posting that it must have is made by the rules of `policies.books`, in the order in which the causes were
booked, and compared with what stands there: nothing may be missing, nothing be there without a cause, no amount, tax, tuner or
release differ. Two things have no row of their own and are taken as booked: a dispute's fee, and what staff corrected.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Sum

from marketplace.enums import PARKED_REASONS, DisputeStatus, LedgerAccount, LedgerCause, PaymentAttemptState, PayoutStatus, RefundStatus
from marketplace.models import (
    Dispute,
    LedgerEntry,
    LedgerSet,
    ParkedReturn,
    PaymentAttempt,
    Payout,
    PayoutLine,
    ProviderDifference,
    Purchase,
    Refund,
)
from marketplace.policies import books
from marketplace.policies.books import Posting, Shares

BATCH = 500
WITHOUT_A_ROW = (LedgerCause.PROVIDER_FEE, LedgerCause.ADJUSTMENT)
OF_PAYOUTS = (LedgerCause.PAYOUT, LedgerCause.PAYOUT_FAILED)
OF_PARKED = (LedgerCause.PARKED, LedgerCause.PARKED_REFUND, LedgerCause.PARKED_BACK, LedgerCause.PARKED_CLAIMED)

Progress = Callable[[int], None]


@dataclass
class _Booked:
    """One set with its lines, as they stand."""

    row: LedgerSet
    posting: Posting = field(default_factory=dict)
    repeated: bool = False
    tuners: set[UUID | None] = field(default_factory=set)
    available_at: datetime | None = None

    def add(self, entry: LedgerEntry) -> None:
        self.repeated |= entry.account in self.posting
        self.posting[entry.account] = self.posting.get(entry.account, 0) + entry.amount_minor
        if entry.account == LedgerAccount.TUNER:
            self.tuners.add(entry.tuner_id)
            self.available_at = entry.available_at


def find_differences(*, progress: Progress | None = None) -> Iterator[str]:
    """One sentence for each thing that is not as its cause says, the oldest purchases first. Reads in batches; locks nothing.

    `progress` is told how many purchases and payouts were looked at.
    """
    looked_at = 0
    for purchases in _batches(Purchase.objects.ever_paid().filter(amount_minor__gt=0)):
        yield from _of_purchases(purchases)
        looked_at += len(purchases)
        if progress is not None:
            progress(looked_at)
    for payouts in _batches(Payout.objects.all()):
        yield from _of_payouts(payouts)
        looked_at += len(payouts)
        if progress is not None:
            progress(looked_at)
    yield from _of_parked()
    yield from _without_cause()


def _batches(rows: Any) -> Iterator[list[Any]]:
    last = None
    while batch := list((rows if last is None else rows.filter(pk__gt=last)).order_by("pk")[:BATCH]):
        yield batch
        last = batch[-1].pk


def _load(sets: Any) -> dict[UUID, _Booked]:
    booked = {row.pk: _Booked(row) for row in sets.order_by("pk")}
    for entry in LedgerEntry.objects.filter(set_id__in=booked):
        booked[entry.set_id].add(entry)
    return booked


# Purchases


def _of_purchases(purchases: list[Purchase]) -> Iterator[str]:
    ids = [purchase.pk for purchase in purchases]
    booked: dict[UUID, list[_Booked]] = defaultdict(list)
    for each in _load(LedgerSet.objects.filter(purchase_id__in=ids)).values():
        booked[each.row.purchase_id].append(each)  # type: ignore[index]
    refunds: dict[UUID, list[Refund]] = defaultdict(list)
    for refund in Refund.objects.filter(purchase_id__in=ids, reserved_at__isnull=False).order_by("pk"):
        refunds[refund.purchase_id].append(refund)
    disputes: dict[UUID, list[Dispute]] = defaultdict(list)
    for dispute in Dispute.objects.filter(purchase_id__in=ids, applied_at__isnull=False).order_by("pk"):
        disputes[dispute.purchase_id].append(dispute)
    for purchase in purchases:
        for sentence in _of_purchase(purchase, booked[purchase.pk], refunds[purchase.pk], disputes[purchase.pk]):
            yield f"{purchase.number}: {sentence}"


def _of_purchase(purchase: Purchase, booked: list[_Booked], refunds: list[Refund], disputes: list[Dispute]) -> Iterator[str]:
    causes = _causes_of(purchase, refunds, disputes)
    left, released_at = Shares(0, 0, 0), None
    for each in booked:
        name = f"{each.row.cause} {each.row.cause_id}"
        if each.row.cause in WITHOUT_A_ROW:
            if sum(each.posting.values()) != 0 or each.repeated:
                yield f"{name} does not sum to zero, or names an account twice"
            continue
        amount_minor = causes.pop((each.row.cause, each.row.cause_id), None)
        if amount_minor is None:
            yield f"{name} is booked, and nothing caused it"
            continue
        try:
            expected = _posting_of(each, amount_minor, purchase=purchase, left=left)
        except ValueError as impossible:
            yield f"{name} can't have happened: {impossible}"
            continue
        yield from (f"{name} {sentence}" for sentence in _compare(each, expected, purchase, released_at=released_at))
        left = left.after(expected)
        if each.row.cause == LedgerCause.SALE:
            released_at = each.available_at
    yield from (f"{cause} {cause_id} is not booked" for cause, cause_id in causes)
    given_back = sum(refund.amount_minor for refund in refunds)
    if given_back != purchase.refunded_minor:
        yield f"says that {purchase.refunded_minor} were given back; its refunds are {given_back}"


def _causes_of(purchase: Purchase, refunds: list[Refund], disputes: list[Dispute]) -> dict[tuple[str, UUID], int]:
    """Everything that must be booked of a purchase, with its amount."""
    causes: dict[tuple[str, UUID], int] = {(LedgerCause.SALE, purchase.pk): purchase.amount_minor}
    for refund in refunds:
        causes[LedgerCause.REFUND, refund.pk] = refund.amount_minor
        if refund.status == RefundStatus.FAILED:
            causes[LedgerCause.REFUND_FAILED, refund.pk] = refund.amount_minor
        if refund.repaid_at is not None:
            causes[LedgerCause.OWED_PAID, refund.pk] = refund.amount_minor
    for dispute in disputes:
        causes[LedgerCause.DISPUTE_OPENED, dispute.pk] = dispute.amount_minor
        if dispute.status == DisputeStatus.WON:
            causes[LedgerCause.DISPUTE_WON, dispute.pk] = dispute.amount_minor
        if dispute.status == DisputeStatus.LOST:
            causes[LedgerCause.DISPUTE_LOST, dispute.pk] = dispute.amount_minor
    return causes


def _posting_of(booked: _Booked, amount_minor: int, *, purchase: Purchase, left: Shares) -> Posting:
    """What a cause must have moved. Raises: ValueError for what is impossible by what was left."""
    fee_minor = booked.posting.get(LedgerAccount.PROVIDER_FEE, 0)
    makers: dict[str, Callable[[], Posting]] = {
        LedgerCause.SALE: lambda: books.post_sale(
            amount_minor=amount_minor, tax_minor=purchase.tax_minor, fee_minor=purchase.fee_minor
        ),
        LedgerCause.REFUND: lambda: books.post_refund(amount_minor=amount_minor, left=left),
        LedgerCause.REFUND_FAILED: lambda: books.post_refund_failed(amount_minor=amount_minor),
        LedgerCause.OWED_PAID: lambda: books.post_owed_paid(amount_minor=amount_minor, left=left),
        LedgerCause.DISPUTE_OPENED: lambda: books.post_dispute_opened(amount_minor=amount_minor, fee_minor=max(0, -fee_minor)),
        LedgerCause.DISPUTE_WON: lambda: books.post_dispute_won(amount_minor=amount_minor, fee_returned_minor=max(0, fee_minor)),
        LedgerCause.DISPUTE_LOST: lambda: books.post_dispute_lost(amount_minor=amount_minor, left=left),
    }
    return makers[booked.row.cause]()


def _compare(booked: _Booked, expected: Posting, purchase: Purchase, *, released_at: datetime | None) -> Iterator[str]:
    row = booked.row
    if booked.posting != expected or booked.repeated:
        yield f"is booked as {_text(booked.posting)} and must be {_text(expected)}"
    if booked.tuners - {purchase.tuner_id}:
        yield "is booked to another tuner"
    if row.currency != purchase.currency:
        yield f"is booked in {row.currency} and was {purchase.currency}"
    tax = (row.tax_minor, row.tax_rate_basis_points, row.tax_country)
    if tax != (expected.get(LedgerAccount.TAX_PAYABLE, 0), purchase.tax_rate_basis_points, purchase.tax_country):
        yield f"says that its tax is {tax}"
    if released_at is not None and booked.available_at is not None and booked.available_at != max(released_at, row.at):
        yield "counts at another moment than the share that it shrinks"


def _text(posting: Posting) -> str:
    return ", ".join(f"{account} {amount:+d}" for account, amount in sorted(posting.items())) or "nothing"


# Payouts


def _of_payouts(payouts: list[Payout]) -> Iterator[str]:
    ids = [payout.pk for payout in payouts]
    booked = {
        (each.row.cause, each.row.cause_id): each
        for each in _load(LedgerSet.objects.filter(cause__in=OF_PAYOUTS, cause_id__in=ids)).values()
    }
    lines = dict(PayoutLine.objects.filter(payout_id__in=ids).values_list("payout_id").annotate(Sum("entry__amount_minor")).order_by())
    live = set(PayoutLine.objects.filter(payout_id__in=ids, released_at=None).values_list("payout_id", flat=True))
    for payout in payouts:
        made = {LedgerCause.PAYOUT: books.post_payout(amount_minor=payout.amount_minor)}
        if payout.status == PayoutStatus.FAILED:
            made[LedgerCause.PAYOUT_FAILED] = books.post_payout_failed(amount_minor=payout.amount_minor)
        for cause in OF_PAYOUTS:
            each = booked.get((cause, payout.pk))
            found, expected = each.posting if each else {}, made.get(cause, {})
            if found != expected or (each and (each.row.currency != payout.currency or each.tuners != {payout.tuner_id})):
                yield f"payout {payout.pk}: {cause} is booked as {_text(found)} and must be {_text(expected)} {payout.currency}"
        if not payout.rebuilt and lines.get(payout.pk, 0) != payout.amount_minor:
            yield f"payout {payout.pk}: its lines are {lines.get(payout.pk, 0)} and it pays {payout.amount_minor}"
        if payout.status == PayoutStatus.FAILED and payout.pk in live:
            yield f"payout {payout.pk}: it failed and holds on to what it paid"


# Payments without a purchase


def _of_parked() -> Iterator[str]:
    """Each stands in suspense once, less what went back, and is out of it when a purchase has it. They are few: read at once."""
    found: dict[str, list[ProviderDifference]] = defaultdict(list)
    for row in ProviderDifference.objects.filter(reason__in=PARKED_REASONS, amount_minor__gt=0).exclude(intent_id="").order_by("pk"):
        found[row.intent_id].append(row)
    gone: dict[UUID, list[ParkedReturn]] = defaultdict(list)
    for each in ParkedReturn.objects.order_by("pk"):
        gone[each.difference_id].append(each)
    paid = PaymentAttempt.objects.filter(intent_id__in=found, state=PaymentAttemptState.SUCCEEDED)
    belong = set(paid.values_list("intent_id", flat=True))
    booked = {(each.row.cause, each.row.cause_id): each for each in _load(LedgerSet.objects.filter(cause__in=OF_PARKED)).values()}
    for intent_id, rows in found.items():
        leads = [row for row in rows if (LedgerCause.PARKED, row.pk) in booked]
        if len(leads) > 1 or (not leads and intent_id not in belong):
            yield f"payment {intent_id}: it stands in suspense {len(leads)} times"
        for lead in leads:
            for cause, cause_id, expected in _causes_of_parked(lead, gone.pop(lead.pk, []), belongs=intent_id in belong):
                found_set = booked.pop((cause, cause_id), None)
                posting = found_set.posting if found_set else {}
                if posting != expected or (found_set and (found_set.row.currency != lead.currency or found_set.repeated)):
                    yield f"payment {intent_id}: {cause} is booked as {_text(posting)} and must be {_text(expected)} {lead.currency}"
    yield from (f"{cause} {cause_id} is booked, and nothing caused it" for cause, cause_id in booked)
    yield from (f"{each.provider_id} is of no payment in suspense" for rows in gone.values() for each in rows)


def _causes_of_parked(lead: ProviderDifference, gone: list[ParkedReturn], *, belongs: bool) -> Iterator[tuple[str, UUID, Posting]]:
    """Everything that must be booked of a payment in suspense."""
    yield LedgerCause.PARKED, lead.pk, books.post_parked(amount_minor=lead.amount_minor)
    left, fees = lead.amount_minor, 0
    for each in gone:
        fees += each.fee_minor - each.fee_returned_minor
        yield LedgerCause.PARKED_REFUND, each.pk, books.post_unparked(amount_minor=each.amount_minor, fee_minor=each.fee_minor)
        if each.failed_at is not None:
            back = books.post_parked(amount_minor=each.amount_minor, fee_returned_minor=each.fee_returned_minor)
            yield LedgerCause.PARKED_BACK, each.pk, back
        else:
            left -= each.amount_minor
    if belongs and (left or fees):
        yield LedgerCause.PARKED_CLAIMED, lead.pk, books.post_claimed(amount_minor=left, fee_minor=fees)


# Sets of nothing


def _without_cause() -> Iterator[str]:
    """What is booked of purchases that were never paid, of no purchase, and of payouts that are none."""
    strange = (
        LedgerSet.objects.exclude(cause__in=[*OF_PAYOUTS, *OF_PARKED, LedgerCause.ADJUSTMENT])
        .exclude(purchase__paid_at__isnull=False, purchase__amount_minor__gt=0)
        .exclude(cause=LedgerCause.PROVIDER_FEE, cause_id__in=LedgerSet.objects.filter(cause=LedgerCause.PARKED).values("cause_id"))
    )
    paid = LedgerSet.objects.filter(cause__in=OF_PAYOUTS).exclude(cause_id__in=Payout.objects.values("pk"))
    for cause, cause_id in strange.union(paid).values_list("cause", "cause_id"):
        yield f"{cause} {cause_id} is booked, and nothing caused it"
