"""Payouts after a restore: written anew with the lines that they paid, whoever the tuner is by now, and never paid twice."""

import random
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from core import clock, invariants
from core.ids import new_id
from core.models import AuditEvent
from core.testing.admin import admin_client, list_of
from core.testing.races import race
from core.testing.tasks import run_all
from marketplace import payments as gateway
from marketplace.enums import DifferenceReason, PayoutStatus
from marketplace.models import LedgerEntry, LedgerSet, Payout, PayoutAccount, PayoutLine, ProviderDifference, Purchase
from marketplace.policies import payouts as policies
from marketplace.selectors.payouts import get_balance
from marketplace.services import payout_accounts, payout_rebuilding, payouts
from marketplace.tests.factories import TuneFactory
from marketplace.tests.money import fund, give_back, onboard, onboarded_tuner, sell
from tuners.tests.factories import TunerProfileFactory
from users.models import User

pytestmark = pytest.mark.django_db


class Restored:
    """A tuner who was paid; then the database was restored to a moment before, and what the sales were was found again.

    Entries have new ids after that, as rebuilt ones do. `also` may do more between the sales and the payout.
    """

    def __init__(self, server, *, sales=3, also=lambda sold: None):
        fund(server)
        self.server, self.before = server, clock.now() - timedelta(minutes=1)
        self.tuner = onboarded_tuner(server)
        self.tune = TuneFactory(published=True, tuner=self.tuner)
        self.other = sell(self.tune)  # older than the others, and disputed while they were paid
        Purchase.objects.filter(pk=self.other.pk).update(status="DISPUTED", disputed_from="PAID")
        with transaction.atomic():
            sold = [sell(self.tune) for _ in range(sales)]
            also(sold)
            self.payout = payouts.reserve_payout(tuner_id=self.tuner.pk, currency="EUR", at=clock.now())
            Payout.objects.filter(pk=self.payout.pk).update(attempt=3)  # the provider had refused it twice
            payouts.continue_payout(payout_id=self.payout.pk, at=clock.now())
            self.paid = {purchase.pk for purchase in sold}
            self.payout.refresh_from_db()
            server.act("payout_arrives", self.payout.bank_payout_id)
            transaction.set_rollback(True)
        self.facts = [{"id": purchase.pk, "number": purchase.number} for purchase in sold]
        Purchase.objects.filter(pk=self.other.pk).update(status="PAID", disputed_from="")

    def sell_again(self, *, many=None):
        return [sell(self.tune, **fact) for fact in self.facts[:many]]

    def rebuild(self):
        return payout_rebuilding.rebuild_payouts(since=self.before, at=clock.now())

    def lines(self):
        """The purchases whose shares the payout pays."""
        return set(PayoutLine.objects.filter(payout_id=self.payout.pk).values_list("entry__purchase_id", flat=True))

    def sent_to_bank(self):
        return list(gateway.list_payouts(account_id=self.payout.account.account_id))


def leave(user):
    User.objects.filter(pk=user.pk).update(is_active=False, role="RIDER", deleted_at=clock.now())


def broken():
    """What `verify_invariants` says of money."""
    money = ("book", "ledger", "payout")
    return {name: list(found) for name, found in invariants.verify() if found and any(word in name for word in money)}


class TestLines:
    def test_are_exactly_those_that_were_paid(self, own):
        lost = Restored(own)
        lost.sell_again()

        assert (lost.rebuild(), lost.rebuild()) == (1, 0)

        found = Payout.objects.get()
        assert (found.pk, found.transfer_id, found.bank_payout_id, found.status, found.rebuilt) == (
            lost.payout.pk, lost.payout.transfer_id, lost.payout.bank_payout_id, PayoutStatus.PAID, False,
        )  # fmt: skip
        assert lost.lines() == lost.paid
        left = get_balance(tuner_id=lost.tuner.pk, currency="EUR", at=clock.now())
        assert left.available_minor == 8_500, "the other sale is not paid yet"
        assert AuditEvent.objects.get(act="payout.rebuilt").facts["lines"] == "as they were"
        assert (len(lost.sent_to_bank()), len(list(gateway.list_transfers()))) == (1, 1)
        assert broken() == {}

    def test_control_without_what_the_transfer_names_the_guess_is_another(self, own, monkeypatch):
        monkeypatch.setattr(payouts, "pack_lines", lambda names: {})  # as before transfers named them
        lost = Restored(own)
        lost.sell_again()

        assert lost.rebuild() == 1

        assert Payout.objects.get().rebuilt is True
        assert lost.lines() != lost.paid and lost.other.pk in lost.lines()
        assert AuditEvent.objects.get(act="payout.rebuilt").facts["lines"] == "a guess"
        assert broken() == {}

    def test_too_many_to_be_named_are_proved_by_the_hash_over_them(self, own, monkeypatch):
        monkeypatch.setattr(policies, "MARKS_AT_MOST", 1)
        lost = Restored(own)
        lost.sell_again()
        Purchase.objects.filter(pk=lost.other.pk).update(status="DISPUTED", disputed_from="PAID")

        lost.rebuild()

        assert "lines_00" not in next(gateway.list_transfers()).metadata
        assert (Payout.objects.get().rebuilt, lost.lines()) == (False, lost.paid)

    def test_and_where_the_hash_says_otherwise_they_are_a_guess(self, own, monkeypatch):
        monkeypatch.setattr(policies, "MARKS_AT_MOST", 1)
        lost = Restored(own)
        lost.sell_again()

        lost.rebuild()

        assert Payout.objects.get().rebuilt is True

    def test_of_sales_that_could_not_be_written_again_the_others_are_right(self, own):
        lost = Restored(own)
        lost.sell_again(many=2)

        lost.rebuild()

        assert Payout.objects.get().rebuilt is True
        assert lost.lines() == {fact["id"] for fact in lost.facts[:2]}
        assert broken() == {}

    def test_name_claw_backs_too(self, own):
        asked_here, made_there = new_id(), {"cause": "PROVIDER", "case": None, "provider_refund_id": "re_made_there"}

        def give(sold):
            give_back(sold[0], 1_000, id=asked_here)  # the provider's metadata has this id
            give_back(sold[1], 2_000, **made_there)  # and knows this one by its own

        lost = Restored(own, also=give)
        give(lost.sell_again())

        lost.rebuild()

        assert Payout.objects.get().rebuilt is False
        assert sorted(PayoutLine.objects.values_list("entry__amount_minor", flat=True)) == [-1_700, -850, 8_500, 8_500, 8_500]

    def test_pack_and_unpack_whatever_they_are(self):
        chance = random.Random(1)
        for many in (0, 1, 61, 62, 63, 124, policies.MARKS_AT_MOST, policies.MARKS_AT_MOST + 1):
            names = [f"SALE {new_id()}" for _ in range(many)]
            packed = policies.pack_lines(names)
            said = policies.unpack_lines(packed)
            chance.shuffle(names)
            assert policies.pack_lines(names) == packed
            assert set(said.marks) == ({policies.mark_of(name) for name in names} if many <= policies.MARKS_AT_MOST else set())
            assert said.is_of(names) and not said.is_of([*names, "REFUND x"])
            assert len(packed) <= 46 and all(0 < len(value) <= 500 for value in packed.values())


class TestSeveral:
    def test_of_one_tuner_are_all_written_in_one_round(self, own):
        fund(own)
        before = clock.now() - timedelta(minutes=1)
        tuner = onboarded_tuner(own)
        tune = TuneFactory(published=True, tuner=tuner)
        sell(tune), sell(tune)
        made = []
        with transaction.atomic():
            for _ in range(2):
                payout = payouts.reserve_payout(tuner_id=tuner.pk, currency="EUR", at=clock.now())
                payouts.continue_payout(payout_id=payout.pk, at=clock.now())
                payout.refresh_from_db()
                own.act("payout_arrives", payout.bank_payout_id)
                payouts.continue_payout(payout_id=payout.pk, at=clock.now())
                made.append(payout.pk)
                late = sell(tune)
            transaction.set_rollback(True)
        sell(tune, id=late.pk)

        assert payout_rebuilding.rebuild_payouts(since=before, at=clock.now()) == 2
        assert set(Payout.objects.filter(status=PayoutStatus.PAID).values_list("pk", flat=True)) == set(made)

    def test_one_that_can_not_be_written_keeps_no_other_waiting_and_is_for_staff(self, own):
        lost = Restored(own)
        lost.sell_again()
        account = gateway.create_account(key="x", country="DE", email="x@example.com", metadata={})
        own.act("account_complete", account.id)
        strange = gateway.create_transfer(
            key="t", account_id=account.id, amount_minor=100, currency="EUR", group="g", metadata={"payout": str(new_id())}
        )

        assert lost.rebuild() == 1

        row = ProviderDifference.objects.get()
        assert (row.object_id, row.reason, row.state) == (strange.id, DifferenceReason.NOT_REBUILT, "OPEN")
        assert "1.00 EUR" in row.theirs and "account" in row.ours
        assert "the account that it went to" in list_of(admin_client(), ProviderDifference)
        assert lost.rebuild() == 0 and ProviderDifference.objects.count() == 1


class TestATunerWhoLeft:
    def test_is_paid_nothing_more_and_what_they_got_is_in_the_books(self, own):
        lost = Restored(own)
        lost.sell_again()
        leave(lost.tuner.user)

        assert lost.rebuild() == 1

        assert Payout.objects.get().status == PayoutStatus.PAID
        assert lost.lines() == lost.paid
        assert broken() == {}

    def test_their_account_is_written_anew_and_names_nobody(self, own):
        before, tuner = clock.now() - timedelta(minutes=1), TunerProfileFactory()
        with transaction.atomic():
            lost = onboard(own, tuner, "more_needed")
            transaction.set_rollback(True)
        leave(tuner.user)

        assert [payout_accounts.rebuild_accounts(since=before, at=clock.now()) for _ in range(2)] == [1, 0]

        found = PayoutAccount.objects.get()
        assert (found.pk, found.account_id, found.state, found.requirements_due) == (lost.pk, lost.account_id, lost.state, [])

    def test_nothing_new_is_written_for_them(self, own):
        lost = Restored(own)
        account = lost.payout.account
        leave(lost.tuner.user)
        facts = {"tuner": lost.tuner, "account": account, "currency": "EUR", "amount_minor": 1, "created_at": clock.now()}
        with pytest.raises(IntegrityError, match="account_is_deleted"), transaction.atomic():
            Payout.objects.create(**facts)
        other = TunerProfileFactory()
        leave(other.user)
        with pytest.raises(IntegrityError, match="account_is_deleted"), transaction.atomic():
            PayoutAccount.objects.create(tuner=other, created_at=clock.now())


class TestOldPromises:
    """A restored row whose provider call came after the backup: its key is forgotten by now, so it is looked for first."""

    def test_a_payout_is_not_transferred_a_second_time(self, own, monkeypatch):
        fund(own)
        tuner = onboarded_tuner(own)
        sell(TuneFactory(published=True, tuner=tuner))
        payout = payouts.reserve_payout(tuner_id=tuner.pk, currency="EUR", at=clock.now())
        moment = transaction.savepoint()
        payouts.continue_payout(payout_id=payout.pk, at=clock.now())
        transaction.savepoint_rollback(moment)
        two_days_on = clock.now() + timedelta(days=2)
        monkeypatch.setattr(gateway, "create_transfer", lambda **_: pytest.fail("transferred again under a key that is forgotten"))
        monkeypatch.setattr(gateway, "create_payout", lambda **_: pytest.fail("sent again under a key that is forgotten"))

        found = payouts.continue_payout(payout_id=payout.pk, at=two_days_on)

        assert found.transfer_id == next(gateway.list_transfers()).id
        assert found.bank_payout_id is not None

    def test_one_that_nobody_had_asked_for_is_made(self, own):
        fund(own)
        tuner = onboarded_tuner(own)
        sell(TuneFactory(published=True, tuner=tuner))
        payout = payouts.reserve_payout(tuner_id=tuner.pk, currency="EUR", at=clock.now())

        assert payouts.continue_payout(payout_id=payout.pk, at=clock.now() + timedelta(days=2)).bank_payout_id is not None


@pytest.mark.django_db(transaction=True)
class TestTwoReconcilers:
    def test_write_it_once(self, own):
        fund(own)
        before = clock.now() - timedelta(minutes=1)
        tuner = onboarded_tuner(own)
        sell(TuneFactory(published=True, tuner=tuner))
        with transaction.atomic():
            payout = payouts.reserve_payout(tuner_id=tuner.pk, currency="EUR", at=clock.now())
            payouts.continue_payout(payout_id=payout.pk, at=clock.now())
            transaction.set_rollback(True)

        assert race(lambda: payout_rebuilding.rebuild_payouts(since=before, at=clock.now()), times=3) == ["ok"] * 3

        run_all()
        assert (Payout.objects.count(), ProviderDifference.objects.count(), LedgerSet.objects.filter(cause="PAYOUT").count()) == (1, 0, 1)
        assert LedgerEntry.objects.filter(account="PAYOUTS").count() == 1
