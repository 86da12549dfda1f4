"""`manage.py ledger_verify`: quiet about what the services booked, and it names whatever was tampered with."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from core import clock
from core.ids import new_id
from marketplace.enums import DisputeStatus, PurchaseStatus
from marketplace.models import Dispute, LedgerSet, Purchase
from marketplace.selectors.ledger import find_differences
from marketplace.services import books
from marketplace.tests.factories import PayoutFactory, PurchaseFactory, RefundFactory, TuneFactory
from marketplace.tests.money import sell

pytestmark = pytest.mark.django_db


@contextmanager
def tampered(sql: str) -> Iterator[None]:
    """Past every trigger, as a hand-made repair might; undone afterwards."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(sql)
        assert cursor.rowcount > 0, "nothing was tampered with"
        cursor.execute("SET session_replication_role = DEFAULT")
        yield
        transaction.set_rollback(True)


def refund(purchase, amount_minor, *, failed=False, repaid=False):
    """A refund with all that is booked of it."""
    at = clock.now()
    facts = {"status": "FAILED", "failure_code": "lost", "ended_at": at} if failed else {"status": "SUCCEEDED", "ended_at": at}
    if repaid:
        facts |= {"repaid_at": at, "repaid_by_id": new_id()}
    row = RefundFactory(purchase=purchase, cause="REQUEST", case=None, amount_minor=amount_minor, reserved_at=at, **facts)
    Purchase.objects.filter(pk=purchase.pk).update(refunded_minor=purchase.refunded_minor + amount_minor)
    purchase.refresh_from_db()
    books.book_refund(purchase=purchase, refund_id=row.pk, amount_minor=amount_minor, at=at)
    if failed:
        books.book_refund_failed(purchase=purchase, refund_id=row.pk, amount_minor=amount_minor, at=at)
    if repaid:
        books.book_owed_paid(purchase=purchase, refund_id=row.pk, amount_minor=amount_minor, at=at)
    return row


def dispute(purchase, status, *, fee_minor=1_500):
    """A dispute with all that is booked of it."""
    at = clock.now()
    ended = status in (DisputeStatus.WON, DisputeStatus.LOST)
    row = Dispute.objects.create(
        purchase=purchase, provider_dispute_id=f"dp_{new_id()}", intent_id="pi_1", status=status, amount_minor=purchase.amount_minor,
        currency=purchase.currency, opened_at=at, applied_at=at, checked_at=at, ended_at=at if ended else None,
    )  # fmt: skip
    books.book_dispute_opened(purchase=purchase, dispute_id=row.pk, amount_minor=row.amount_minor, fee_minor=fee_minor, at=at)
    if status == DisputeStatus.WON:
        books.book_dispute_won(purchase=purchase, dispute_id=row.pk, amount_minor=row.amount_minor, at=at)
    if status == DisputeStatus.LOST:
        books.book_dispute_lost(purchase=purchase, dispute_id=row.pk, amount_minor=row.amount_minor, at=at)
        Purchase.objects.filter(pk=purchase.pk).update(status=PurchaseStatus.CHARGED_BACK)
    return row


@pytest.fixture
def world():
    """One of everything that can happen to money."""
    tune = TuneFactory(published=True)
    tax = {"tax_minor": 1_597, "tax_rate_basis_points": 1_900, "tax_country": "DE", "fee_minor": 1_260}
    sales = [sell(tune, **tax) for _ in range(6)]
    PurchaseFactory(free=True, tune__tuner=tune.tuner)
    PurchaseFactory(tune=tune)
    refund(sales[0], 3_333)
    refund(sales[0], 1)
    refund(sales[1], 9_999, failed=True)
    refund(sales[2], 5_000, failed=True, repaid=True)
    dispute(sales[3], DisputeStatus.WON)
    dispute(sales[4], DisputeStatus.LOST)
    dispute(sales[0], DisputeStatus.UNDER_REVIEW)
    PayoutFactory(paid=True)
    PayoutFactory(failed=True)
    return sales


def run(*options) -> tuple[int, str]:
    out = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("ledger_verify", *options, stdout=out, stderr=io.StringIO(), no_color=True)
    return ended.value.code, out.getvalue()


def test_what_was_booked_follows_from_what_happened(world):
    assert list(find_differences()) == []
    code, said = run()
    assert (code, "The ledger follows from 8 purchases and payouts" in said) == (0, True)


def test_tells_how_far_it_is(world):
    told = []
    list(find_differences(progress=told.append))
    assert told == [6, 8]


TUNER = "account = 'TUNER'"
ONE = "WHERE id = (SELECT id FROM marketplace_ledgerentry WHERE {} ORDER BY id LIMIT 1)"


TAMPERED = [
    (f"UPDATE marketplace_ledgerentry SET amount_minor = amount_minor - 1 {ONE.format(TUNER)}", "is booked as"),
    (
        "UPDATE marketplace_ledgerentry SET amount_minor = amount_minor + CASE account WHEN 'TUNER' THEN -1 ELSE 1 END"
        " WHERE account IN ('TUNER', 'PLATFORM_FEE') AND set_id IN (SELECT id FROM marketplace_ledgerset WHERE cause = 'REFUND')",
        "REFUND",  # balanced, and a cent went from the tuner to the platform
    ),
    ("DELETE FROM marketplace_ledgerset WHERE cause = 'SALE'", "is not booked"),
    ("DELETE FROM marketplace_ledgerset WHERE cause = 'REFUND_FAILED'", "REFUND_FAILED"),
    ("DELETE FROM marketplace_ledgerset WHERE cause = 'DISPUTE_WON'", "DISPUTE_WON"),
    ("UPDATE marketplace_ledgerset SET cause_id = gen_random_uuid() WHERE cause = 'DISPUTE_LOST'", "nothing caused it"),
    ("UPDATE marketplace_ledgerset SET tax_minor = tax_minor + 1 WHERE cause = 'REFUND'", "says that its tax is"),
    ("UPDATE marketplace_ledgerset SET currency = 'USD' WHERE cause = 'OWED_PAID'", "is booked in USD"),
    ("UPDATE marketplace_ledgerentry SET available_at = available_at + interval '1 day' WHERE amount_minor < 0 AND account = 'TUNER'"
     " AND purchase_id IS NOT NULL", "counts at another moment"),
    (
        "UPDATE marketplace_purchase SET amount_minor = amount_minor + 1, captured_minor = captured_minor + 1 WHERE captured_minor > 0",
        "SALE",
    ),
    ("UPDATE marketplace_purchase SET refunded_minor = refunded_minor - 1 WHERE refunded_minor > 0", "were given back"),
    ("UPDATE marketplace_refund SET amount_minor = amount_minor + 1", "REFUND"),
    ("UPDATE marketplace_dispute SET status = 'LOST' WHERE status = 'WON'", "DISPUTE_LOST"),
    ("UPDATE marketplace_payout SET amount_minor = amount_minor + 1 WHERE status = 'PAID'", "payout"),
    ("UPDATE marketplace_payout SET status = 'PENDING', failed_at = NULL WHERE status = 'FAILED'", "PAYOUT_FAILED"),
    ("DELETE FROM marketplace_payoutline WHERE released_at IS NULL", "its lines are"),
    ("UPDATE marketplace_payoutline SET released_at = NULL", "holds on"),
    ("UPDATE marketplace_purchase SET paid_at = NULL, captured_minor = 0, refunded_minor = 0, status = 'PENDING' WHERE amount_minor > 0",
     "nothing caused it"),
    ("DELETE FROM marketplace_payout", "nothing caused it"),
]  # fmt: skip


def test_names_the_first_difference_whatever_was_tampered_with(world):
    for sql, sentence in TAMPERED:
        with tampered(sql):
            code, said = run()
            everything = "\n".join(find_differences())
        assert (code, said.startswith("The first difference: "), len(said.splitlines())) == (1, True, 1), sql
        assert sentence in everything, sql
    assert list(find_differences()) == [], "each was undone"


def test_a_share_of_another_tuner_is_a_difference(world):
    other = PayoutFactory().tuner_id
    with tampered(f"UPDATE marketplace_ledgerentry SET tuner_id = '{other}' WHERE account = 'TUNER' AND purchase_id IS NOT NULL"):
        assert any("another tuner" in sentence for sentence in find_differences())


def test_what_only_the_books_know_is_a_difference(world):
    books.book_refund(purchase=world[5], refund_id=new_id(), amount_minor=1, at=clock.now())
    assert any("nothing caused it" in sentence for sentence in find_differences())
    code, said = run("--all")
    assert (code, said.count("nothing caused it")) == (1, 1)


def test_it_reads_in_batches(world, django_assert_max_num_queries):
    with django_assert_max_num_queries(16):
        list(find_differences())
    assert LedgerSet.objects.count() > 14
