"""The books: how each event divides, that no cent appears or vanishes, and what Postgres itself refuses."""

import random
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from core import clock
from core.ids import new_id
from marketplace.enums import LedgerAccount as Account
from marketplace.enums import LedgerCause
from marketplace.models import LedgerEntry, LedgerSet
from marketplace.money import divide
from marketplace.policies import books as rules
from marketplace.policies.books import Shares
from marketplace.policies.purchasing import fee_of
from marketplace.services import books
from marketplace.tests.factories import PurchaseFactory

PURCHASES_TRIED = 100_000


class TestDivide:
    @pytest.mark.parametrize(
        ("amount_minor", "shares", "parts"),
        [
            (100, [1, 1, 1], [34, 33, 33]),
            (1, [19, 15, 66], [0, 0, 1]),
            (2, [50, 50, 0], [1, 1, 0]),
            (0, [5, 5], [0, 0]),
            (14900, [2379, 1878, 10643], [2379, 1878, 10643]),
            (10**15, [1, 2], [333333333333333, 666666666666667]),
        ],
    )
    def test_by_largest_remainders(self, amount_minor, shares, parts):
        assert divide(amount_minor, shares) == parts

    @pytest.mark.parametrize(("amount_minor", "shares"), [(-1, [1]), (1, [-1, 2]), (1, [0, 0]), (1, [])])
    def test_refuses_what_has_no_answer(self, amount_minor, shares):
        with pytest.raises(ValueError):
            divide(amount_minor, shares)


def test_no_cent_appears_or_vanishes():
    """Random purchases with refunds in random parts, some of which come back, some lost in a dispute."""
    dice = random.Random(20260131)
    for _ in range(PURCHASES_TRIED):
        amount = dice.choice([dice.randint(1, 20), dice.randint(50, 100_000), dice.randint(1, 100_000_000)])
        tax = amount - round(amount / (1 + dice.choice([0, 0, 0.07, 0.19, 0.25])))
        fee = fee_of(amount - tax, basis_points=dice.choice([0, 1, 333, 1500, 9_999, 10_000]))
        postings = [rules.post_sale(amount_minor=amount, tax_minor=tax, fee_minor=fee)]
        sold = left = Shares(0, 0, 0).after(postings[0])
        while left.total_minor and dice.random() < 0.8:
            part = left.total_minor if dice.random() < 0.3 else dice.randint(1, left.total_minor)
            if dice.random() < 0.1:
                lost = dice.randint(1, amount)
                postings.append(rules.post_dispute_opened(amount_minor=lost, fee_minor=1500))
                postings.append(rules.post_dispute_lost(amount_minor=lost, left=left))
            else:
                postings.append(rules.post_refund(amount_minor=part, left=left))
                if dice.random() < 0.1:
                    postings.append(rules.post_refund_failed(amount_minor=part))
            left = Shares(0, 0, 0)
            for posting in postings:
                left = left.after(posting)

        assert all(sum(posting.values()) == 0 for posting in postings)
        assert all(0 <= now <= then for now, then in zip((left.tax_minor, left.fee_minor, left.tuner_minor),
                                                         (sold.tax_minor, sold.fee_minor, sold.tuner_minor), strict=True))  # fmt: skip
        totals = {account: sum(posting.get(account, 0) for posting in postings) for account in Account.values}
        assert totals[Account.DISPUTES] == 0
        assert totals[Account.BUYER_OWED] >= 0
        assert totals[Account.LOSSES] <= 0
        if left.total_minor == 0:
            assert (left.tax_minor, left.fee_minor, left.tuner_minor) == (0, 0, 0)


@pytest.mark.parametrize(
    "shares",
    [Shares(2379, 1878, 10643), Shares(0, 1500, 8499), Shares(0, 0, 1), Shares(1, 1, 1)],
)
def test_a_refund_in_single_cents_ends_where_a_whole_one_does(shares):
    left = shares
    while left.total_minor:
        left = left.after(rules.post_refund(amount_minor=1, left=left))
    assert left == shares.after(rules.post_refund(amount_minor=shares.total_minor, left=shares))


def test_never_more_than_is_left():
    with pytest.raises(ValueError):
        rules.post_refund(amount_minor=101, left=Shares(10, 10, 80))
    with pytest.raises(ValueError):
        rules.post_owed_paid(amount_minor=1, left=Shares(10, 10, 80))


def sums(purchase) -> dict[str, int]:
    found = {}
    for account, amount in LedgerEntry.objects.filter(purchase=purchase).values_list("account", "amount_minor"):
        found[account] = found.get(account, 0) + amount
    return {account: total for account, total in found.items() if total}


@pytest.fixture
def sold(db):
    """A sale of 10000: tax 1597, fee 1260, the tuner's 7143."""
    purchase = PurchaseFactory(paid=True, amount_minor=10_000, tax_minor=1597, tax_rate_basis_points=1900, tax_country="DE", fee_minor=1260)
    books.book_sale(purchase=purchase, at=clock.now())
    return purchase


class TestBooked:
    def test_a_sale(self, sold):
        assert sums(sold) == {"BUYER_CLEARING": -10_000, "TAX_PAYABLE": 1597, "PLATFORM_FEE": 1260, "TUNER": 7143}

    def test_refunds_in_parts_undo_it_whole(self, sold):
        at = clock.now()
        for part in (3333, 3333, 3334):
            booked = books.book_refund(purchase=sold, refund_id=new_id(), amount_minor=part, at=at)
            assert booked.tax_minor < 0
            assert (booked.tax_rate_basis_points, booked.tax_country) == (1900, "DE")
        assert sums(sold) == {}
        with pytest.raises(ValueError):
            books.book_refund(purchase=sold, refund_id=new_id(), amount_minor=1, at=at)

    def test_what_is_taken_from_held_money_is_held_as_long(self, sold):
        books.book_refund(purchase=sold, refund_id=new_id(), amount_minor=5000, at=clock.now())
        shares = LedgerEntry.objects.filter(purchase=sold, account=Account.TUNER)
        assert len({share.available_at for share in shares}) == 1

    def test_what_is_taken_from_released_money_counts_at_once(self, sold):
        later = clock.now() + timedelta(days=200)
        books.book_refund(purchase=sold, refund_id=new_id(), amount_minor=5000, at=later)
        assert LedgerEntry.objects.get(purchase=sold, account=Account.TUNER, amount_minor__lt=0).available_at == later

    def test_a_failed_refund_is_owed_until_it_is_paid_otherwise(self, sold):
        at, refund_id = clock.now(), new_id()
        books.book_refund(purchase=sold, refund_id=refund_id, amount_minor=10_000, at=at)
        books.book_refund_failed(purchase=sold, refund_id=refund_id, amount_minor=10_000, at=at)
        assert sums(sold) == {"BUYER_CLEARING": -10_000, "BUYER_OWED": 10_000}
        books.book_owed_paid(purchase=sold, refund_id=refund_id, amount_minor=10_000, at=at)
        assert sums(sold) == {}

    def test_a_dispute_that_is_won_costs_the_fee_only(self, sold):
        at, dispute_id = clock.now(), new_id()
        books.book_dispute_opened(purchase=sold, dispute_id=dispute_id, amount_minor=10_000, fee_minor=1500, at=at)
        assert sums(sold) == {
            "BUYER_CLEARING": 1500, "TAX_PAYABLE": 1597, "PLATFORM_FEE": 1260, "TUNER": 7143, "DISPUTES": -10_000, "PROVIDER_FEE": -1500,
        }  # fmt: skip
        books.book_dispute_won(purchase=sold, dispute_id=dispute_id, amount_minor=10_000, at=at)
        assert sums(sold) == {
            "BUYER_CLEARING": -8500, "TAX_PAYABLE": 1597, "PLATFORM_FEE": 1260, "TUNER": 7143, "PROVIDER_FEE": -1500,
        }  # fmt: skip

    def test_a_dispute_that_is_lost_takes_the_shares(self, sold):
        at, dispute_id = clock.now(), new_id()
        books.book_refund(purchase=sold, refund_id=new_id(), amount_minor=4000, at=at)
        books.book_dispute_opened(purchase=sold, dispute_id=dispute_id, amount_minor=10_000, at=at)
        books.book_dispute_lost(purchase=sold, dispute_id=dispute_id, amount_minor=10_000, at=at)
        assert sums(sold) == {"BUYER_CLEARING": 4000, "LOSSES": -4000}, "the buyer got 4000 twice, and the platform bears it"

    def test_a_lost_dispute_settles_what_was_owed_anyway(self, sold):
        at, refund_id, dispute_id = clock.now(), new_id(), new_id()
        books.book_refund(purchase=sold, refund_id=refund_id, amount_minor=10_000, at=at)
        books.book_refund_failed(purchase=sold, refund_id=refund_id, amount_minor=10_000, at=at)
        books.book_dispute_opened(purchase=sold, dispute_id=dispute_id, amount_minor=10_000, at=at)
        books.book_dispute_lost(purchase=sold, dispute_id=dispute_id, amount_minor=10_000, at=at)
        assert sums(sold) == {}

    def test_a_providers_fee_in_its_own_currency(self, sold):
        books.book_provider_fee(purchase=sold, cause_id=new_id(), amount_minor=1500, currency="USD", at=clock.now())
        fees = LedgerEntry.objects.filter(purchase=sold, currency="USD")
        assert sorted(fees.values_list("account", "amount_minor")) == [("BUYER_CLEARING", 1500), ("PROVIDER_FEE", -1500)]

    def test_each_cause_is_booked_once(self, sold):
        refund_id, at = new_id(), clock.now()
        books.book_refund(purchase=sold, refund_id=refund_id, amount_minor=1, at=at)
        with pytest.raises(IntegrityError, match="ledgerset_cause_once"), transaction.atomic():
            books.book_refund(purchase=sold, refund_id=refund_id, amount_minor=1, at=at)


class TestPostgresRefuses:
    def refused(self, name: str, write) -> None:
        with pytest.raises(IntegrityError, match=name), transaction.atomic():
            write()
            with connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")

    def book(self, sold, *, set_of=None, **entries) -> None:
        at = clock.now()
        booked = LedgerSet.objects.create(
            **{"cause": LedgerCause.ADJUSTMENT, "cause_id": new_id(), "purchase": sold, "currency": "EUR", "at": at, **(set_of or {})}
        )
        for account, changes in entries.items():
            facts = {"set": booked, "account": account, "purchase": sold, "currency": "EUR", "at": at, **changes}
            LedgerEntry.objects.create(**facts)

    def test_a_set_that_does_not_balance(self, sold):
        lines = {"PLATFORM_FEE": {"amount_minor": 5}, "LOSSES": {"amount_minor": -4}}
        self.refused("ledger_purchase_sums_to_zero", lambda: self.book(sold, **lines))
        self.refused("ledger_set_sums_to_zero", lambda: self.book(None, **lines))

    def test_a_set_without_lines(self, sold):
        self.refused("ledger_set_is_whole", lambda: self.book(sold))

    def test_a_line_of_another_currency(self, sold):
        line = {"amount_minor": 5, "currency": "USD"}
        self.refused("ledger_entry_is_of_its_set", lambda: self.book(sold, PLATFORM_FEE=line, LOSSES={**line, "amount_minor": -5}))

    def test_a_line_of_another_purchase(self, sold):
        line = {"purchase": None}
        self.refused(
            "ledger_entry_is_of_its_set",
            lambda: self.book(sold, PLATFORM_FEE={"amount_minor": 5, **line}, LOSSES={"amount_minor": -5, **line}),
        )

    @pytest.mark.parametrize("model", [LedgerSet, LedgerEntry])
    def test_any_change(self, sold, model):
        for write in (lambda: model.objects.update(currency="USD"), lambda: model.objects.all().delete()):
            with pytest.raises(IntegrityError), transaction.atomic():
                write()
