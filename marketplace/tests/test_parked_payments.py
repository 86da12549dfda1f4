"""Captured money without a purchase: in suspense until it went back or its purchase was found, so that books and provider agree."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection, transaction

from core import clock, invariants
from core.testing.admin import admin_client, page_of
from core.testing.races import race_all
from core.testing.tasks import run_all
from marketplace import payments as gateway
from marketplace.enums import DifferenceReason, DifferenceState, LedgerAccount, LedgerCause
from marketplace.exceptions import PaymentMismatch
from marketplace.models import LedgerEntry, LedgerSet, ParkedReturn, PaymentAttempt, ProviderDifference, Purchase
from marketplace.selectors.ledger import find_differences
from marketplace.services import differences, parked, reconciler, refunds
from marketplace.tests.factories import TuneFactory
from marketplace.tests.purchasing import buy, intent_of, rider_with_bike, send_event
from marketplace.tests.test_ledger_verify import tampered
from marketplace.tests.test_reconciler import Lost, look, watched
from users.tests.factories import UserFactory

pytestmark = pytest.mark.django_db
NOBODY = "01890000-0000-7000-8000-000000000000"
PRICE = 14_900


def pay_for_nothing(server, *, key="unknown"):
    """A payment that names a purchase, a buyer and a tune which are not here; returns the intent's id."""
    said = {"purchase": NOBODY, "buyer": NOBODY, "tune": NOBODY, "tuner": NOBODY, "vehicle": NOBODY}
    intent = gateway.create_intent(key=key, amount_minor=PRICE, currency="EUR", description="x", metadata=said)
    server.choose(intent.id, "succeed")
    return intent.id


@pytest.fixture
def payment(own):
    """One that the reconciler has parked; its difference."""
    intent_id = pay_for_nothing(own)
    watched()
    look()
    return ProviderDifference.objects.get(object_id=intent_id)


def suspense():
    return sum(LedgerEntry.objects.filter(account=LedgerAccount.SUSPENSE).values_list("amount_minor", flat=True))


def at_provider():
    """What the platform has there, in EUR."""
    has = gateway.get_balance()
    return has.available.get("EUR", 0) + has.pending.get("EUR", 0)


def in_books():
    """What the books say that it has there."""
    moved = LedgerEntry.objects.filter(account__in=[LedgerAccount.BUYER_CLEARING, LedgerAccount.PAYOUTS], currency="EUR")
    return -sum(moved.values_list("amount_minor", flat=True))


def settle():
    reconciler.reconcile_open_work(at=clock.now())
    run_all()
    assert list(find_differences()) == []
    assert {name: list(found) for name, found in invariants.verify() if found and ("book" in name or "ledger" in name)} == {}


def staff_gives_back(row):
    return differences.refund_difference(difference_id=row.pk, actor_id=UserFactory(admin=True).pk, reason="nobody's", at=clock.now())


class TestBooks:
    def test_have_it_from_the_moment_it_is_found(self, payment):
        assert suspense() == PRICE
        settle()
        assert in_books() == at_provider() == PRICE - gateway.find_charge(payment.intent_id).fee_minor

    def test_follow_what_staff_give_back(self, payment):
        done = staff_gives_back(payment)
        settle()

        assert (done.state, suspense(), in_books()) == (DifferenceState.REFUNDED, 0, at_provider())
        assert in_books() < 0, "the provider keeps its fee, and the platform bears it"
        assert ParkedReturn.objects.get().provider_id == done.refund_id
        assert done.refund_id in page_of(admin_client(), payment)

    @pytest.mark.parametrize("heard_by", ["event", "walk", "round"])
    def test_follow_what_was_given_back_at_the_provider(self, own, payment, heard_by):
        given = gateway.create_refund(key="a", intent_id=payment.intent_id, amount_minor=4_900, metadata={})
        for _ in range(2):
            if heard_by == "event":
                for event in own.events_of(payment.intent_id):
                    send_event(event)
                run_all()
            elif heard_by == "walk":
                refunds.rebuild_refunds(since=clock.now() - timedelta(hours=1), at=clock.now())
            else:
                parked.reconcile_parked(at=clock.now())
        settle()

        assert (suspense(), ParkedReturn.objects.get().provider_id) == (PRICE - 4_900, given.id)
        assert in_books() == at_provider()
        staff_gives_back(payment)
        settle()
        assert (suspense(), in_books()) == (0, at_provider())

    def test_follow_one_that_came_back_and_was_given_again(self, own, payment):
        first = staff_gives_back(payment).refund_id
        own.act("refund_fails", first)
        settle()
        payment.refresh_from_db()
        assert (payment.state, payment.refund_id, suspense(), in_books()) == (DifferenceState.OPEN, "", PRICE, at_provider())

        again = staff_gives_back(payment)
        settle()

        assert again.refund_id != first
        assert (suspense(), in_books()) == (0, at_provider())

    @pytest.mark.parametrize(("end", "left"), [("dispute_won", PRICE), ("dispute_lost", 0), ("", 0)])
    def test_follow_a_dispute_of_it(self, own, payment, end, left):
        own.choose(payment.intent_id, "dispute")
        settle()
        assert (suspense(), in_books()) == (0, at_provider())
        if end:
            own.choose(payment.intent_id, end)
        settle()

        assert (suspense(), in_books()) == (left, at_provider())
        assert ParkedReturn.objects.get().provider_id.startswith(("dp_", "du_"))

    def test_are_quiet_about_an_inquiry(self, own, payment):
        own.choose(payment.intent_id, "inquiry")
        settle()
        assert (suspense(), ParkedReturn.objects.count(), in_books()) == (PRICE, 0, at_provider())

    def test_let_a_disputed_one_go_too(self, own):
        lost = Lost(own)
        watched()
        send_event(own.events_of(lost.intent_id)[-1])
        run_all()
        own.choose(lost.intent_id, "dispute")
        parked.reconcile_parked(at=clock.now())
        assert (suspense(), ParkedReturn.objects.count()) == (0, 1)

        look()
        settle()

        assert lost.find().status == "DISPUTED"
        assert (suspense(), in_books()) == (0, at_provider())

    def test_let_it_go_when_its_purchase_is_found(self, own):
        lost = Lost(own)
        watched()
        send_event(own.events_of(lost.intent_id)[-1])
        run_all()
        parked.reconcile_parked(at=clock.now())
        was = suspense()

        look()
        settle()

        assert (was, suspense(), ProviderDifference.objects.get().state) == (PRICE, 0, DifferenceState.GONE)
        assert set(LedgerSet.objects.values_list("cause", flat=True)) == {"PARKED", "PARKED_CLAIMED", "SALE", "PROVIDER_FEE"}
        assert LedgerSet.objects.filter(cause=LedgerCause.PROVIDER_FEE).count() == 1
        assert in_books() == at_provider()

    def test_let_it_go_though_the_process_died_before(self, own, monkeypatch):
        lost = Lost(own)
        watched()
        send_event(own.events_of(lost.intent_id)[-1])
        run_all()
        with monkeypatch.context() as patch:
            patch.setattr(differences, "keep_in_books", lambda **_: None)
            look()
            run_all()
        assert suspense() == PRICE and list(find_differences()) != []

        settle()

        assert suspense() == 0

    def test_keep_a_second_payment_of_a_purchase_apart(self, own):
        client, bike = rider_with_bike()
        body = buy(client, TuneFactory(published=True), bike).json()
        own.choose(intent_of(body), "succeed")
        client.post(f"marketplace/purchases/{body['id']}/sync/")
        said = own.get(f"payment_intents/{intent_of(body)}")["metadata"]
        second = gateway.create_intent(key="2", amount_minor=PRICE, currency="EUR", description="x", metadata=said)
        own.choose(second.id, "succeed")
        send_event(own.events_of(second.id)[-1])
        run_all(raise_errors=False)
        row = ProviderDifference.objects.get(object_id=second.id)

        settle()
        assert (row.reason, suspense(), in_books()) == (DifferenceReason.SECOND_PAYMENT, PRICE, at_provider())
        staff_gives_back(row)
        settle()
        assert (suspense(), Purchase.objects.get().refunded_minor, in_books()) == (0, 0, at_provider())

    def test_take_up_what_was_parked_before_they_knew_suspense(self, own, payment, monkeypatch):
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET session_replication_role = replica")
            cursor.execute("DELETE FROM marketplace_ledgerentry; DELETE FROM marketplace_ledgerset")
            cursor.execute("SET session_replication_role = DEFAULT; SET CONSTRAINTS ALL DEFERRED")
        assert list(find_differences()) == [f"payment {payment.intent_id}: it stands in suspense 0 times"]

        settle()

        assert (suspense(), in_books()) == (PRICE, at_provider())

    def test_take_no_more_back_than_came(self, own, payment):
        truth = gateway.create_refund(key="a", intent_id=payment.intent_id, amount_minor=PRICE, metadata={})
        for lie in ({"amount_minor": PRICE + 1}, {"currency": "USD"}):
            with pytest.raises(PaymentMismatch):
                parked.follow_parked_refund(truth=replace(truth, **lie), at=clock.now())
        assert suspense() == PRICE


class TestVerify:
    @pytest.mark.parametrize(
        ("sql", "names"),
        [
            ("DELETE FROM marketplace_ledgerset WHERE cause = 'PARKED'", "PARKED"),
            ("UPDATE marketplace_ledgerentry SET amount_minor = amount_minor * 2 WHERE account <> 'PROVIDER_FEE'", "PARKED is booked as"),
            ("UPDATE marketplace_parkedreturn SET amount_minor = 5", "PARKED_REFUND"),
            ("UPDATE marketplace_parkedreturn SET failed_at = now()", "PARKED_BACK"),
            ("DELETE FROM marketplace_parkedreturn", "nothing caused it"),
            ("UPDATE marketplace_ledgerset SET currency = 'USD' WHERE cause = 'PARKED_REFUND'", "PARKED_REFUND"),
            ("UPDATE marketplace_ledgerset SET cause_id = gen_random_uuid() WHERE cause = 'PARKED_REFUND'", "nothing caused it"),
        ],
    )
    def test_names_what_was_tampered_with(self, payment, sql, names):
        staff_gives_back(payment)
        settle()
        with tampered(sql):
            assert any(names in sentence for sentence in find_differences())

    def test_what_was_given_back_is_never_changed(self, payment):
        staff_gives_back(payment)
        for change in (lambda: ParkedReturn.objects.all()._raw_delete("default"), lambda: ParkedReturn.objects.update(amount_minor=1)):
            with pytest.raises(Exception, match="parkedreturn_is_final"), transaction.atomic():
                change()


@pytest.mark.django_db(transaction=True)
class TestSeveralAtOnce:
    def note(self, own):
        intent = gateway.get_intent(pay_for_nothing(own))
        return [
            lambda reason=reason: differences.note_difference(object_id=intent.id, intent=intent, reason=reason, ours="x", at=clock.now())
            for reason in (DifferenceReason.NOBODYS, DifferenceReason.NOT_REBUILT)
        ]

    def test_under_two_reasons_it_stands_in_suspense_once(self, own):
        assert race_all(self.note(own)) == ["ok"] * 2

        assert (ProviderDifference.objects.count(), suspense()) == (2, PRICE)
        assert list(find_differences()) == []

    def test_control_without_the_lock_it_would_stand_there_twice(self, own, monkeypatch):
        monkeypatch.setattr(parked, "_lock", lambda intent_id: None)

        race_all(self.note(own), row_locks=False, meet_after='FROM "marketplace_ledgerset"')

        assert suspense() == 2 * PRICE
        assert "2 times" in next(find_differences())

    def test_a_refund_that_is_heard_of_twice_is_booked_once(self, own):
        self.note(own)[0]()
        intent_id = ProviderDifference.objects.get().intent_id
        truth = gateway.create_refund(key="a", intent_id=intent_id, amount_minor=PRICE, metadata={})

        assert race_all([lambda: parked.follow_parked_refund(truth=truth, at=clock.now())] * 4) == ["ok"] * 4

        assert (ParkedReturn.objects.count(), suspense()) == (1, 0)
        assert PaymentAttempt.objects.count() == 0
