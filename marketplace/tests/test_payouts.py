"""Payouts: what is due, every way they end, kills between the steps, and races on real connections."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from core import clock, invariants
from core.exceptions import ServiceUnavailable
from core.testing.races import in_between, race, race_all
from core.testing.tasks import run_all
from marketplace import payments as gateway
from marketplace.enums import LedgerCause, PayoutAccountState, PayoutStatus
from marketplace.exceptions import PaymentMismatch
from marketplace.models import LedgerSet, Payout, PayoutAccount, PayoutLine, Purchase, WebhookEvent
from marketplace.policies.payouts import minimum_of, next_run_after
from marketplace.selectors.payouts import get_balance, list_cents
from marketplace.services import payout_accounts, payouts
from marketplace.services.payout_rebuilding import rebuild_payouts
from marketplace.tests.factories import TuneFactory
from marketplace.tests.money import events_of, fund, give_back, onboard, onboarded_tuner, payable, sell
from marketplace.tests.purchasing import send_event
from tuners.tests.factories import TunerProfileFactory
from users.exceptions import MfaNotEnabled
from users.models import Notice
from users.services import block_user, unblock_user
from users.tests.factories import UserFactory

pytestmark = pytest.mark.django_db

SHARE = 8_500  # of a sale of 10 000


def balance(tuner, *, currency="EUR", at=None):
    return get_balance(tuner_id=tuner.pk, currency=currency, at=at or clock.now())


def cents(tuner, *, currency="EUR", at=None) -> list[tuple[str, int]]:
    rows, _ = list_cents(
        tuner_id=tuner.pk, currency=currency, state=None, cursor=None, page_size=100, bound_to="", at=at or clock.now()
    )
    return sorted((row["state"], row["amount_minor"]) for row in rows)


def make(tuner, *, at=None) -> Payout | None:
    """Reserve, and do what can be done at once."""
    payout = payouts.reserve_payout(tuner_id=tuner.pk, currency="EUR", at=at or clock.now())
    return payout and payouts.continue_payout(payout_id=payout.pk, at=at or clock.now())


def arrive(payments, payout, act="payout_arrives") -> Payout:
    payments.act(act, payout.bank_payout_id)
    return payouts.continue_payout(payout_id=payout.pk, at=clock.now())


def books_hold() -> dict:
    """Every invariant of money; empty when all hold."""
    return {name: found for name, found in invariants.verify() if found and ("book" in name or "ledger" in name or "payout" in name)}


class TestAccount:
    def test_needs_the_second_factor(self, payments):
        tuner = TunerProfileFactory(user__mfa=False)
        with pytest.raises(MfaNotEnabled):
            payout_accounts.open_onboarding(user=tuner.user, at=clock.now())
        assert not PayoutAccount.objects.exists()

    def test_is_one_however_often_it_is_asked_for(self, payments):
        tuner = TunerProfileFactory()
        first = payout_accounts.open_onboarding(user=tuner.user, at=clock.now())
        second = payout_accounts.open_onboarding(user=tuner.user, at=clock.now())
        assert first[0].account_id == second[0].account_id
        assert first[1] != second[1], "each link opens once"
        assert len([row for row in gateway.list_accounts() if row.metadata.get("tuner") == str(tuner.pk)]) == 1

    @pytest.mark.parametrize(
        ("outcome", "state"),
        [
            ("complete", PayoutAccountState.ACTIVE),
            ("later", PayoutAccountState.ONBOARDING),
            ("verify", PayoutAccountState.RESTRICTED),
            ("more_needed", PayoutAccountState.RESTRICTED),
            ("reject", PayoutAccountState.RESTRICTED),
        ],
    )
    def test_follows_what_the_provider_makes_of_the_tuner(self, payments, outcome, state):
        tuner = onboarded_tuner(payments, outcome=outcome)
        account = PayoutAccount.objects.get(tuner=tuner)
        assert account.state == state
        assert bool(account.disabled_reason) == (state != PayoutAccountState.ACTIVE)
        assert Notice.objects.filter(user=tuner.user, type="PAYOUT").count() == (state == PayoutAccountState.ACTIVE)

    @pytest.mark.parametrize("mode", ["time_out_after", "cut_after", "error_saved"])
    def test_a_lost_answer_is_found_again(self, payments, mode):
        tuner = TunerProfileFactory()
        payments.switch("faults", mode=mode, seconds=0, times=2, path="/v1/accounts")
        for _ in range(4):
            try:
                row, _, _ = payout_accounts.open_onboarding(user=tuner.user, at=clock.now())
                break
            except ServiceUnavailable:
                continue
        assert row.account_id
        assert len([each for each in gateway.list_accounts() if each.metadata.get("tuner") == str(tuner.pk)]) == 1

    def test_an_event_tells_of_a_change(self, payments):
        tuner = TunerProfileFactory()
        row, url, _ = payout_accounts.open_onboarding(user=tuner.user, at=clock.now())
        payments.onboard(url, "complete")
        event = next(each for each in events_of(payments, row.account_id) if each["type"] == "account.updated")
        assert send_event(event).status_code == 200
        run_all()
        assert PayoutAccount.objects.get(pk=row.pk).state == PayoutAccountState.ACTIVE

    def test_the_reconciler_finds_a_lost_event(self, payments):
        tuner = TunerProfileFactory()
        row, url, _ = payout_accounts.open_onboarding(user=tuner.user, at=clock.now())
        payments.onboard(url, "complete")
        assert payout_accounts.reconcile_accounts(at=clock.now()) == 1
        assert PayoutAccount.objects.get(pk=row.pk).state == PayoutAccountState.ACTIVE


class TestBalance:
    def test_held_then_available(self):
        tuner = TunerProfileFactory()
        purchase = sell(TuneFactory(published=True, tuner=tuner), ago=timedelta(days=1))
        assert cents(tuner) == [("HELD", SHARE)]
        assert (balance(tuner).held_minor, balance(tuner).available_minor) == (SHARE, 0)
        later = purchase.paid_at + timedelta(days=tuner.hold_days)
        assert cents(tuner, at=later) == [("AVAILABLE", SHARE)]
        assert cents(tuner, at=later - timedelta(microseconds=1)) == [("HELD", SHARE)]

    def test_a_disputed_sale_is_held_until_it_is_decided(self):
        tuner = TunerProfileFactory()
        purchase = sell(TuneFactory(published=True, tuner=tuner))
        Purchase.objects.filter(pk=purchase.pk).update(status="DISPUTED", disputed_from="PAID")
        assert cents(tuner) == [("HELD", SHARE)]
        assert make(tuner) is None

    def test_a_refund_takes_the_cents_of_its_own_sale(self):
        tuner = TunerProfileFactory()
        tune = TuneFactory(published=True, tuner=tuner)
        held, free = sell(tune, ago=timedelta(days=1)), sell(tune)
        give_back(held, 3_000)
        give_back(free, 10_000)
        assert cents(tuner) == [("CLAWED_BACK", 2_550), ("CLAWED_BACK", SHARE), ("HELD", SHARE - 2_550)]
        now = balance(tuner)
        assert (now.held_minor, now.available_minor, now.negative_minor, now.carried_minor) == (SHARE - 2_550, 0, 0, 0)

    def test_every_cent_adds_up_to_the_ledger(self, payments):
        fund(payments)
        tuner, sales = payable(payments, sales=3)
        give_back(sales[0], 777)
        arrive(payments, make(tuner))
        give_back(sales[1], 1_234)
        sell(sales[0].tune, ago=timedelta(days=2))
        now = balance(tuner)
        assert now.total_minor == now.held_minor + now.available_minor - now.negative_minor
        by_state = {}
        for state, amount in cents(tuner):
            by_state[state] = by_state.get(state, 0) + amount
        assert by_state == {
            "HELD": now.held_minor, "PAID": now.paid_minor, "CLAWED_BACK": now.clawed_back_minor,
        }  # fmt: skip
        assert sum(by_state.values()) == 4 * SHARE, "each cent that was ever earned is in one state"
        assert now.negative_minor == 1_049 == -now.carried_minor


class TestDue:
    def test_pays_what_is_available(self, payments):
        fund(payments)
        tuner, _ = payable(payments)

        assert payouts.make_payouts(at=clock.now()) == 1
        run_all()
        payout = Payout.objects.get()
        assert (payout.status, payout.amount_minor) == (PayoutStatus.PENDING, 2 * SHARE)
        assert balance(tuner).available_minor == 0
        payout = arrive(payments, payout)

        assert (payout.status, payout.arrived_at is not None) == (PayoutStatus.PAID, True)
        assert cents(tuner) == [("PAID", SHARE)] * 2
        assert gateway.get_balance(account_id=payout.account.account_id).available["EUR"] == 0
        assert Notice.objects.filter(user=tuner.user, title="You were paid").count() == 1
        assert payouts.make_payouts(at=clock.now()) == 0
        assert books_hold() == {}

    def test_waits_for_the_minimum(self, payments):
        tuner = onboarded_tuner(payments)
        sell(TuneFactory(published=True, tuner=tuner), amount_minor=5_000)
        assert make(tuner) is None
        sell(TuneFactory(published=True, tuner=tuner), amount_minor=1_000)
        assert payouts.reserve_payout(tuner_id=tuner.pk, currency="EUR", at=clock.now()).amount_minor == 5_100

    def test_the_minimum_of_a_currency(self):
        tuner = TunerProfileFactory.build()
        assert [minimum_of(tuner, currency) for currency in ("EUR", "JPY", "KWD", "GBP")] == [5_000, 5_000, 20_000, 3_000]

    def test_each_currency_apart(self, payments):
        tuner = onboarded_tuner(payments)
        sell(TuneFactory(published=True, tuner=tuner))
        sell(TuneFactory(published=True, tuner=tuner, currency="USD", price_minor=10_000))
        assert payouts.make_payouts(at=clock.now()) == 2
        assert sorted(Payout.objects.values_list("currency", "amount_minor")) == [("EUR", SHARE), ("USD", SHARE)]

    @pytest.mark.parametrize(
        ("facts", "blocker"),
        [
            ({"user__blocked": True}, "account_blocked"),
            ({"user__mfa": False}, "mfa_required"),
            ({"suspended": True}, "tuner_suspended"),
            ({}, "payout_account_required"),
        ],
    )
    def test_a_blocked_tuner_keeps_the_money_and_is_told_once(self, facts, blocker):
        tuner = TunerProfileFactory(**facts)
        sell(TuneFactory(published=True, tuner=tuner))
        for _ in range(3):
            assert payouts.make_payouts(at=clock.now()) == 0
        assert blocker in Notice.objects.get(user=tuner.user, type="PAYOUT").body
        assert balance(tuner).available_minor == SHARE

    def test_the_second_factor_turned_off_holds_the_next_payout(self, payments):
        fund(payments)
        tuner, _ = payable(payments)
        type(tuner.user).objects.filter(pk=tuner.user_id).update(mfa_enabled_at=None)
        assert payouts.make_payouts(at=clock.now()) == 0
        assert Notice.objects.filter(user=tuner.user, title="Your payout waits").count() == 1
        type(tuner.user).objects.filter(pk=tuner.user_id).update(mfa_enabled_at=clock.now())
        assert payouts.make_payouts(at=clock.now()) == 1

    def test_a_block_holds_the_next_payout_until_it_is_lifted(self, payments):
        fund(payments)
        tuner, _ = payable(payments)
        admin = UserFactory(admin=True)
        block_user(user=tuner.user, actor=admin, reason="Sold stolen files.", at=clock.now())
        assert payouts.make_payouts(at=clock.now()) == 0
        assert not Payout.objects.exists()
        assert "account_blocked" in Notice.objects.get(user=tuner.user, title="Your payout waits").body
        unblock_user(user=tuner.user, actor=admin, reason="It was a mistake.", at=clock.now())
        assert payouts.make_payouts(at=clock.now()) == 1

    def test_runs_on_mondays(self):
        run = next_run_after(clock.now())
        assert (run.weekday(), run.hour, run.minute) == (0, 6, 0)
        assert clock.now() < run <= clock.now() + timedelta(days=7)


class TestClawBack:
    def test_after_the_payout_it_is_set_off_against_the_next(self, payments):
        fund(payments)
        tuner, sales = payable(payments)
        arrive(payments, make(tuner))
        give_back(sales[0], 10_000)
        now = balance(tuner)
        assert (now.available_minor, now.negative_minor) == (0, SHARE)
        assert make(tuner) is None

        sell(sales[0].tune, amount_minor=20_000)
        assert balance(tuner).available_minor == SHARE
        payout = arrive(payments, make(tuner))

        assert payout.amount_minor == SHARE
        now = balance(tuner)
        assert (now.available_minor, now.negative_minor, now.carried_minor) == (0, 0, 0)
        assert now.paid_minor == sum(Payout.objects.values_list("amount_minor", flat=True)) == 3 * SHARE
        assert books_hold() == {}


    def test_one_that_was_booked_while_the_run_was_under_way_is_set_off_at_once(self, payments):
        tuner, sales = payable(payments)
        began = clock.now()
        give_back(sales[0], 10_000)
        assert payouts.make_payouts(at=began) == 1
        assert Payout.objects.get().amount_minor == SHARE
        assert (balance(tuner).available_minor, balance(tuner).negative_minor) == (0, 0)
        assert books_hold() == {}

    def test_one_of_a_share_that_is_held_shrinks_that_share(self, payments):
        _, sales = payable(payments)
        held = sell(sales[0].tune, ago=timedelta(days=1))
        give_back(held, 10_000)
        assert payouts.make_payouts(at=clock.now()) == 1
        assert Payout.objects.get().amount_minor == 2 * SHARE


class TestFailure:
    @pytest.mark.parametrize("was_paid", [False, True])
    def test_a_payout_that_comes_back_is_available_again(self, payments, was_paid):
        fund(payments)
        tuner, _ = payable(payments)
        payout = make(tuner)
        if was_paid:
            assert arrive(payments, payout).status == PayoutStatus.PAID
        payments.act("payout_fails", payout.bank_payout_id)
        event = next(each for each in events_of(payments, payout.account.account_id) if each["type"] == "payout.failed")
        assert send_event(event).status_code == 200
        run_all()

        payout.refresh_from_db()
        assert (payout.status, payout.failure_code) == (PayoutStatus.FAILED, "account_closed")
        assert payout.reversal_id
        assert gateway.get_balance(account_id=payout.account.account_id).available["EUR"] == 0, "not with the tuner any more"
        assert cents(tuner) == [("AVAILABLE", SHARE)] * 2
        assert Notice.objects.filter(user=tuner.user, title="A payout came back").count() == 1
        again = make(tuner)
        assert (again.amount_minor, arrive(payments, again).status) == (2 * SHARE, PayoutStatus.PAID)
        assert books_hold() == {}

    def test_one_that_came_back_unheard_is_found(self, payments):
        """No event told of it, and the bank had taken it before."""
        fund(payments)
        tuner, _ = payable(payments)
        payout = arrive(payments, make(tuner))
        assert payouts.reconcile_payouts(at=clock.now()) == 1
        payments.act("payout_fails", payout.bank_payout_id)

        assert payouts.reconcile_payouts(at=payout.arrived_at + timedelta(days=15)) == 0
        assert payouts.reconcile_payouts(at=clock.now()) == 1

        payout.refresh_from_db()
        assert (payout.status, payout.failure_code, bool(payout.reversal_id)) == (PayoutStatus.FAILED, "account_closed", True)
        assert balance(tuner).available_minor == 2 * SHARE
        assert books_hold() == {}
        assert payouts.reconcile_payouts(at=clock.now()) == 0

    def test_money_that_is_not_available_at_the_provider_yet_goes_out_later(self, payments):
        tuner = onboarded_tuner(payments)
        sell(TuneFactory(published=True, tuner=tuner, currency="CHF"))
        payouts.make_payouts(at=clock.now())
        for _ in range(2):
            payouts.reconcile_payouts(at=clock.now())
            payout = Payout.objects.get()
            assert (payout.status, payout.note, payout.transfer_id) == (PayoutStatus.PENDING, "balance_insufficient", None)
        fund(payments, amount_minor=20_000, currency="CHF")
        assert payouts.reconcile_payouts(at=clock.now()) == 1
        assert Payout.objects.get().bank_payout_id

    def test_money_that_never_becomes_available_is_given_back(self, payments):
        tuner = onboarded_tuner(payments)
        sell(TuneFactory(published=True, tuner=tuner, currency="NOK"), amount_minor=100_000)
        payouts.make_payouts(at=clock.now())
        payouts.reconcile_payouts(at=clock.now() + timedelta(days=8))
        assert Payout.objects.get().status == PayoutStatus.FAILED
        assert balance(tuner, currency="NOK").available_minor == 10 * SHARE

    def test_an_account_that_may_not_receive_gives_the_money_back(self, payments):
        fund(payments)
        tuner, _ = payable(payments)
        payout = payouts.reserve_payout(tuner_id=tuner.pk, currency="EUR", at=clock.now())
        onboard(payments, tuner, "more_needed")
        payout = payouts.continue_payout(payout_id=payout.pk, at=clock.now())
        assert (payout.status, payout.transfer_id) == (PayoutStatus.FAILED, None)
        assert balance(tuner).available_minor == 2 * SHARE
        assert make(tuner) is None, "the account is looked at again first"
        assert books_hold() == {}


class Killed(BaseException):
    pass


class TestKilledBetweenTheSteps:
    @pytest.mark.parametrize("call", ["create_transfer", "create_payout", "get_payout"])
    def test_after_a_call_acted(self, payments, monkeypatch, call):
        fund(payments)
        tuner, _ = payable(payments)
        payout = payouts.reserve_payout(tuner_id=tuner.pk, currency="EUR", at=clock.now())

        def act_and_die(*args, **kwargs):
            getattr(real, call)(*args, **kwargs)
            raise Killed

        real = gateway.connect
        with monkeypatch.context() as patch:
            patch.setattr(gateway, call, act_and_die)
            with pytest.raises(Killed):
                payouts.continue_payout(payout_id=payout.pk, at=clock.now())
        payouts.reconcile_payouts(at=clock.now())
        assert len(list(gateway.list_transfers(group=payout.group))) == 1
        payout.refresh_from_db()
        assert arrive(payments, payout).status == PayoutStatus.PAID
        assert gateway.get_balance(account_id=payout.account.account_id).available["EUR"] == 0
        assert books_hold() == {}

    def test_and_the_keys_forgotten_by_the_provider(self, payments, monkeypatch):
        fund(payments)
        tuner, _ = payable(payments)
        payout = payouts.reserve_payout(tuner_id=tuner.pk, currency="EUR", at=clock.now())
        def act_and_die(**kwargs):
            gateway.connect.create_transfer(**kwargs)
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(gateway, "create_transfer", act_and_die)
            with pytest.raises(Killed):
                payouts.continue_payout(payout_id=payout.pk, at=clock.now())
        two_days_on = clock.now() + timedelta(days=2)
        with monkeypatch.context() as patch:
            patch.setattr(gateway, "create_transfer", lambda **kwargs: pytest.fail("asked again under a key that is forgotten"))
            payout = payouts.continue_payout(payout_id=payout.pk, at=two_days_on)
        assert payout.transfer_id == next(iter(gateway.list_transfers(group=payout.group))).id

    @pytest.mark.parametrize("mode", ["time_out_after", "cut_after", "error_saved", "rate_limit"])
    @pytest.mark.parametrize("path", ["/v1/transfers", "/v1/payouts"])
    def test_answers_that_are_lost(self, payments, mode, path):
        fund(payments)
        tuner, _ = payable(payments)
        payout = payouts.reserve_payout(tuner_id=tuner.pk, currency="EUR", at=clock.now())
        payments.switch("faults", mode=mode, seconds=0, times=2, path=path)
        for _ in range(4):
            try:
                payouts.continue_payout(payout_id=payout.pk, at=clock.now())
            except gateway.ProviderUnavailable:
                continue
        payments.behave()
        payout = arrive(payments, payouts.continue_payout(payout_id=payout.pk, at=clock.now()))
        assert payout.status == PayoutStatus.PAID
        assert len(list(gateway.list_transfers(group=payout.group))) == 1
        assert len(list(gateway.list_payouts(account_id=payout.account.account_id))) == 1
        assert books_hold() == {}

    def test_between_taking_back_and_booking(self, payments, monkeypatch):
        fund(payments)
        tuner, _ = payable(payments)
        payout = make(tuner)
        payments.act("payout_fails", payout.bank_payout_id)
        with monkeypatch.context() as patch:
            patch.setattr(payouts, "book_payout_failed", lambda **kwargs: (_ for _ in ()).throw(Killed()))
            with pytest.raises(Killed):
                payouts.continue_payout(payout_id=payout.pk, at=clock.now())
        assert Payout.objects.get().status == PayoutStatus.PENDING, "not available here before the money is back"
        assert payouts.reconcile_payouts(at=clock.now()) == 1
        assert Payout.objects.get().status == PayoutStatus.FAILED
        assert len(list(gateway.list_transfer_reversals(payout.transfer_id))) == 1


class TestEvents:
    def test_in_any_order_and_repeated(self, payments):
        fund(payments)
        tuner, _ = payable(payments)
        payout = make(tuner)
        payments.act("payout_arrives", payout.bank_payout_id)
        ours = (payout.transfer_id, payout.bank_payout_id)
        both = [*events_of(payments), *events_of(payments, payout.account.account_id)]
        events = [each for each in both if each["data"]["object"]["id"] in ours]
        assert {each["type"] for each in events} >= {"transfer.created", "payout.created", "payout.paid"}
        for event in [*events, *events]:
            assert send_event(event).status_code == 200
        run_all()
        assert set(WebhookEvent.objects.values_list("status", flat=True)) == {"APPLIED"}
        assert Payout.objects.get().status == PayoutStatus.PAID

    def test_of_a_payout_that_nobody_asked_for(self, payments):
        fund(payments)
        tuner = onboarded_tuner(payments)
        account_id = PayoutAccount.objects.get(tuner=tuner).account_id
        gateway.create_transfer(key="t", account_id=account_id, amount_minor=100, currency="EUR", group="g", metadata={})
        strange = gateway.create_payout(key="p", account_id=account_id, amount_minor=100, currency="EUR", metadata={})
        events = [*events_of(payments)[:1], *events_of(payments, account_id)]
        strange_ones = [each for each in events if each["data"]["object"]["id"] == strange.id or each["type"] == "transfer.created"]
        assert len(strange_ones) == 2
        for event in strange_ones:
            send_event(event)
        run_all()
        assert set(WebhookEvent.objects.values_list("status", flat=True)) == {"PARKED"}


class TestRestored:
    def test_a_payout_that_the_database_lost_is_written_anew(self, payments):
        fund(payments)
        before = clock.now() - timedelta(minutes=1)
        tuner, _ = payable(payments)
        with transaction.atomic():
            payout = make(tuner)
            transaction.set_rollback(True)
        assert not Payout.objects.exists()
        assert rebuild_payouts(since=before, at=clock.now()) == 1
        assert rebuild_payouts(since=before, at=clock.now()) == 0
        run_all()
        found = Payout.objects.get()
        assert (found.pk, found.transfer_id, found.bank_payout_id) == (payout.pk, payout.transfer_id, payout.bank_payout_id)
        assert balance(tuner).available_minor == 0
        assert payouts.make_payouts(at=clock.now()) == 0, "not paid a second time"
        assert books_hold() == {}


class TestPostgresRefuses:
    def refused(self, name, write):
        with pytest.raises(IntegrityError, match=name), transaction.atomic():
            write()
            with connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")

    def test_a_payout_that_its_lines_do_not_pay(self, payments, monkeypatch):
        tuner, _ = payable(payments)
        honest = payouts.list_claimable
        monkeypatch.setattr(payouts, "list_claimable", lambda **kwargs: [(entry, amount - 1) for entry, amount in honest(**kwargs)])
        self.refused("payout_adds_up", lambda: payouts.reserve_payout(tuner_id=tuner.pk, currency="EUR", at=clock.now()))

    def test_a_cent_in_two_payouts(self, payments):
        tuner, _ = payable(payments)
        payout = payouts.reserve_payout(tuner_id=tuner.pk, currency="EUR", at=clock.now())
        line = payout.lines.first()
        self.refused("payoutline_entry_once", lambda: PayoutLine.objects.create(payout=payout, entry_id=line.entry_id))

    def test_changes_of_what_was_agreed(self, payments):
        tuner, _ = payable(payments)
        payouts.reserve_payout(tuner_id=tuner.pk, currency="EUR", at=clock.now())
        self.refused("payout_is_final", lambda: Payout.objects.update(amount_minor=1))
        self.refused("payout_is_never_deleted", lambda: Payout.objects.all()._raw_delete("default"))
        self.refused("payoutline_is_final", lambda: PayoutLine.objects.all()._raw_delete("default"))
        self.refused("payoutaccount_is_never_deleted", lambda: PayoutAccount.objects.all()._raw_delete("default"))
        self.refused("payoutaccount_is_final", lambda: PayoutAccount.objects.update(account_id="acct_other"))

    def test_available_again_while_the_money_is_with_the_tuner(self, payments):
        fund(payments)
        tuner, _ = payable(payments)
        make(tuner)
        failed = {"status": "FAILED", "failed_at": clock.now(), "failure_code": "x"}
        self.refused("payout_failed_iff_money_is_back", lambda: Payout.objects.update(**failed))


@pytest.mark.django_db(transaction=True)
class TestRaces:
    def test_two_schedules_make_one_payout(self, payments):
        payable(payments)
        race(lambda: payouts.make_payouts(at=clock.now()), times=4)
        assert Payout.objects.count() == 1
        assert LedgerSet.objects.filter(cause=LedgerCause.PAYOUT).count() == 1

    def test_control_without_the_lock_only_the_constraint_stands_in_the_way(self, payments):
        tuner, _ = payable(payments)

        def reserve():
            payouts.reserve_payout(tuner_id=tuner.pk, currency="EUR", at=clock.now())

        with pytest.raises(IntegrityError, match="payout_one_pending"):
            race(reserve, times=2, row_locks=False, meet_after='FROM "marketplace_payout"')
        assert Payout.objects.count() == 1

    def test_a_claw_back_in_the_middle_of_a_payout_is_carried(self, payments):
        """The payout has read what is available; before it commits a refund does. Nothing is lost: it is owed."""
        tuner, sales = payable(payments)
        outcome = in_between(
            lambda: payouts.reserve_payout(tuner_id=tuner.pk, currency="EUR", at=clock.now()),
            lambda: give_back(sales[0], 10_000),
            after="ORDER BY e.at, e.id",
        )
        assert (outcome, Payout.objects.get().amount_minor) == ("ok", 2 * SHARE)
        now = balance(tuner)
        assert (now.available_minor, now.negative_minor, now.clawed_back_minor) == (0, SHARE, SHARE)
        assert books_hold() == {}

    def test_control_a_sum_that_is_read_apart_from_the_lines_is_refused(self, payments, monkeypatch):
        tuner, sales = payable(payments)
        honest = payouts.list_claimable

        def read_twice(**kwargs):
            total = sum(amount for _, amount in honest(**kwargs))
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 /* between */")
            entries = [entry for entry, _ in honest(**kwargs)]
            return [(entries[0], total), *((entry, 0) for entry in entries[1:])]

        monkeypatch.setattr(payouts, "list_claimable", read_twice)
        with pytest.raises(IntegrityError, match="payout_adds_up"):
            in_between(
                lambda: payouts.reserve_payout(tuner_id=tuner.pk, currency="EUR", at=clock.now() + timedelta(minutes=1)),
                lambda: give_back(sales[0], 10_000),
                after="/* between */",
            )

    def test_payout_and_claw_back_at_once_end_in_one_truth(self, payments):
        tuner, sales = payable(payments)
        acts = [
            lambda: payouts.reserve_payout(tuner_id=tuner.pk, currency="EUR", at=clock.now()),
            lambda: give_back(sales[0], 10_000),
        ]
        assert race_all(acts) == ["ok", "ok"]
        now, paid = balance(tuner), Payout.objects.get().amount_minor
        assert (paid, now.negative_minor) in [(SHARE, 0), (2 * SHARE, SHARE)]
        assert books_hold() == {}


def test_a_mismatch_is_no_success(payments):
    fund(payments)
    tuner, _ = payable(payments)
    payout = make(tuner)
    theirs = gateway.get_payout(payout.bank_payout_id, account_id=payout.account.account_id)
    for wrong in ({"amount_minor": 1}, {"currency": "USD"}, {"account_id": "acct_other"}, {"metadata": {}}):
        with pytest.raises(PaymentMismatch):
            payouts._follow(payout, replace(theirs, **wrong), at=clock.now())
