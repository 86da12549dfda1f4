"""Money against the deletion of an account, and the inbox against itself, on real connections, each with its control.

The other races of money stand in test_purchase_races, test_settlement, test_refund_races, test_payouts and test_leaving_races.
"""

from dataclasses import replace

import pytest
from django.db import IntegrityError, OperationalError, connection

from core import clock
from core.idempotency import Claim
from core.testing.http import client_for
from core.testing.races import overtake, race
from core.testing.tasks import run_all
from garage.tests.factories import VehicleFactory
from marketplace import payments as gateway
from marketplace.enums import LicenseState, PayoutAccountState, PayoutStatus, PurchaseStatus
from marketplace.models import Dispute, Download, License, Payout, PayoutAccount, Purchase, Tune, WebhookEvent
from marketplace.services import grants, licenses, listings, payout_accounts, payouts, refunds, settlement, status
from marketplace.tests.factories import PaymentAttemptFactory, PurchaseFactory, TuneFactory, ride_for, sold
from marketplace.tests.money import fund, give_back, payable
from marketplace.tests.purchasing import buy, send_event
from marketplace.tests.test_leaving_races import while_deleting
from marketplace.tests.test_payouts import arrive, balance, make
from marketplace.tests.test_purchase_races import Meeting
from marketplace.tests.test_refund_races import assert_sound, disputing, made_at_provider
from marketplace.tests.test_settlement import TestSignatures as Signatures
from users.models import Notice, User
from users.services import delete_account
from users.services.verification import find_remains
from users.tests.factories import UserDeviceFactory, UserFactory

pytestmark = pytest.mark.django_db(transaction=True)

LEAVES = 'FROM "users_challenge"'  # the person is locked, nothing stands in the way, nothing is erased yet
IS_SOLD = 'INSERT INTO "marketplace_purchase"'  # and nobody sees it yet


def leaving(user):
    session = UserDeviceFactory(user=user)
    return lambda: delete_account(user=user, session=session, stock_files_saved=True, at=clock.now())


def is_gone(user) -> bool:
    return User.objects.get(pk=user.pk).deleted_at is not None


def nobody_is_held(monkeypatch):
    """For a control: purchases are locked without their people."""
    monkeypatch.setattr("marketplace.services.locks.hold_people", lambda purchase_id: None)


@pytest.fixture
def settled(payments):
    """A sale whose tuner was paid, has nothing on sale any more, and may leave."""
    fund(payments)
    tuner, (purchase,) = payable(payments, sales=1)
    PaymentAttemptFactory(purchase=purchase, open=True, state="SUCCEEDED", ended_at=purchase.paid_at)
    arrive(payments, make(tuner))
    Tune.objects.update(status="ARCHIVED", archived_at=clock.now())
    return purchase


class TestTwentyWithTwentyKeys:
    def test_control_without_the_lock_the_index_is_the_last_guard(self, payments):
        meeting = Meeting()

        with pytest.raises(IntegrityError, match="purchase_one_pending"):
            race(meeting.buy, row_locks=False)

        assert Purchase.objects.count() == 1


class TestTwentyWithOneKey:
    def answers(self):
        rider, tune = UserFactory(), TuneFactory(published=True, free=True)
        bike, session, answers = VehicleFactory(owner=rider, with_stock=True), UserDeviceFactory(user=rider), []

        def tap():
            answer = buy(client_for(rider, device=session), tune, bike, key="one")
            answers.append((answer.status_code, answer.json().get("code")))

        race(tap, times=20)
        assert Purchase.objects.count() == 1
        return set(answers)

    def test_none_hears_that_the_tune_is_owned(self):
        assert self.answers() <= {(201, None), (409, "idempotency_in_progress")}

    def test_control_without_the_claim_they_do(self, monkeypatch):
        monkeypatch.setattr("core.views.idempotency.begin", lambda **facts: Claim())

        assert self.answers() == {(201, None), (409, "already_owned")}


class TestOneEvent:
    """Delivered twice at once, and worked on twice at once."""

    def test_ten_deliveries_are_one_row_and_one_task(self):
        answers = []

        race(lambda: answers.append(send_event(Signatures.EVENT).status_code), times=10)

        assert answers == [200] * 10
        assert WebhookEvent.objects.count() == 1

    def test_control_without_the_index_they_are_two(self):
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE marketplace_webhookevent DROP CONSTRAINT webhookevent_once")
        try:
            race(lambda: send_event(Signatures.EVENT), row_locks=False, meet_after='FROM "marketplace_webhookevent"')
            assert WebhookEvent.objects.count() == 2
        finally:
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM marketplace_webhookevent")
                cursor.execute("ALTER TABLE marketplace_webhookevent ADD CONSTRAINT webhookevent_once UNIQUE (provider, event_id)")


class TestBuyerLeaves:
    def test_a_dispute_of_theirs_is_followed(self):
        purchase = sold(vehicle_identity_hashes=["ab" * 32])  # which the deletion blanks

        assert overtake(leaving(purchase.buyer), disputing(purchase), after=LEAVES) == ("ok", "ok")

        purchase.refresh_from_db()
        assert (is_gone(purchase.buyer), purchase.status) == (True, "DISPUTED")
        assert License.objects.get().state == LicenseState.SUSPENDED
        assert not Notice.objects.filter(user=purchase.buyer).exists()
        assert Notice.objects.filter(user=purchase.tuner.user, type="DISPUTE").count() == 1
        assert_sound()

    def test_what_was_put_together_for_the_bank_goes_when_it_has_decided(self):
        purchase = sold()
        leaving(purchase.buyer)()
        disputing(purchase)()
        run_all()
        dispute = Dispute.objects.get()
        assert purchase.number in dispute.evidence_text

        disputing(purchase, status="won")()

        dispute.refresh_from_db()
        assert (dispute.status, dispute.evidence, dispute.evidence_text) == ("WON", {}, "")
        assert list(find_remains(user_id=purchase.buyer_id)) == []

    def test_control_without_holding_people_they_wait_for_each_other(self, monkeypatch):
        purchase = sold(vehicle_identity_hashes=["ab" * 32])  # which the deletion blanks
        nobody_is_held(monkeypatch)

        with pytest.raises(OperationalError, match="deadlock"):
            overtake(leaving(purchase.buyer), disputing(purchase), after=LEAVES)

    def closed_and_paid(self, payments):
        """Nobody waits for this payment any more, and then it was made."""
        attempt = PaymentAttemptFactory(purchase=PurchaseFactory())
        settlement.open_payment(purchase_id=attempt.purchase_id, at=clock.now())
        attempt.refresh_from_db()
        settlement._close(purchase_id=attempt.purchase_id, status=PurchaseStatus.EXPIRED, at=clock.now(), ended_attempt=attempt)
        payments.choose(attempt.intent_id, "succeed")
        intent = gateway.get_intent(attempt.intent_id)
        purchase = Purchase.objects.get()
        return purchase, lambda: settlement.mark_purchase_paid(purchase_id=purchase.pk, intent=intent, at=clock.now())

    def test_a_late_payment_of_theirs_is_booked(self, payments):
        purchase, pay = self.closed_and_paid(payments)

        assert overtake(leaving(purchase.buyer), pay, after=LEAVES) == ("ok", "ok")

        purchase.refresh_from_db()
        assert (is_gone(purchase.buyer), purchase.status, License.objects.count()) == (True, "PAID", 1)
        assert not Notice.objects.filter(user=purchase.buyer).exists()
        assert_sound()

    def test_control_a_late_payment_without_holding_people(self, payments, monkeypatch):
        purchase, pay = self.closed_and_paid(payments)
        nobody_is_held(monkeypatch)

        with pytest.raises(OperationalError, match="deadlock"):
            overtake(leaving(purchase.buyer), pay, after=LEAVES)

    def test_a_payment_that_waits_keeps_them(self, payments):
        attempt = PaymentAttemptFactory(purchase=PurchaseFactory())
        settlement.open_payment(purchase_id=attempt.purchase_id, at=clock.now())
        attempt.refresh_from_db()
        payments.choose(attempt.intent_id, "succeed")
        intent, buyer = gateway.get_intent(attempt.intent_id), attempt.purchase.buyer

        outcomes = overtake(
            leaving(buyer),
            lambda: settlement.mark_purchase_paid(purchase_id=attempt.purchase_id, intent=intent, at=clock.now()),
            after='FROM "marketplace_purchase"',
        )

        assert outcomes == ("account_deletion_blocked", "ok")
        assert (is_gone(buyer), Purchase.objects.get().status) == (False, "PAID")
        assert_sound()


    def riding(self):
        ride = ride_for()
        status.publish_status(at=ride.at)
        return ride

    def test_a_download_finds_nobody(self):
        ride = self.riding()

        assert overtake(leaving(ride.buyer), ride.grant, after=LEAVES) == ("ok", "not_found")

        assert not Download.objects.filter(outcome="GRANTED").exists()
        assert License.objects.get().state == LicenseState.UNBOUND

    def test_a_license_that_staff_free_is_freed(self):
        ride = self.riding()
        ride.report(ride.ticket())
        admin, license = UserFactory(admin=True), License.objects.get()

        def free():
            licenses.free_license(actor=admin, license_id=license.pk, reason="It was sold.", at=clock.now())

        assert overtake(leaving(ride.buyer), free, after=LEAVES) == ("ok", "ok")

        license.refresh_from_db()
        assert (license.state, Notice.objects.filter(user=ride.buyer).exists()) == (LicenseState.UNBOUND, False)

    @pytest.mark.parametrize("outcome", ["SUCCEEDED", "VERIFY_FAILED"])
    def test_a_report_does_not_wait_for_what_waits_for_it(self, outcome):
        ride = self.riding()
        ticket = ride.ticket()

        first, second = overtake(leaving(ride.buyer), lambda: ride.report(ticket, outcome), after=LEAVES)

        assert (first, is_gone(ride.buyer)) == ("ok", True)
        assert second != "ok" or not Notice.objects.filter(user=ride.buyer).exists()

    def test_control_a_report_that_does_not_hold_the_person(self, monkeypatch):
        ride = self.riding()
        ticket = ride.ticket()
        monkeypatch.setattr("marketplace.services.flashes.hold_people", lambda purchase_id: None)

        with pytest.raises(OperationalError, match="deadlock"):
            overtake(leaving(ride.buyer), lambda: ride.report(ticket, "VERIFY_FAILED"), after=LEAVES)

    def test_control_a_download_that_does_not_hold_the_person(self, monkeypatch):
        ride = self.riding()
        monkeypatch.setattr(grants, "_LOCK", grants._LOCK.replace("FOR KEY SHARE OF u", ""))

        with pytest.raises(OperationalError, match="deadlock"):
            overtake(leaving(ride.buyer), ride.grant, after=LEAVES)


class TestTunerLeaves:
    def test_a_purchase_keeps_them(self, payments):
        meeting = Meeting()
        tuner = meeting.tune.tuner.user
        leave = leaving(tuner)

        def wind_up():
            listings.archive_tune(author=tuner, tune_id=meeting.tune.pk, at=clock.now())
            leave()

        assert overtake(meeting.buy, wind_up, after=IS_SOLD) == ("ok", "account_deletion_blocked")

        assert (is_gone(tuner), Purchase.objects.get().status) == (False, "PENDING")

    def test_control_without_the_lock_the_foreign_key_is_the_last_guard(self, payments):
        meeting = Meeting()
        tuner = meeting.tune.tuner.user
        leave = leaving(tuner)

        def wind_up():
            listings.archive_tune(author=tuner, tune_id=meeting.tune.pk, at=clock.now())
            leave()

        with pytest.raises(IntegrityError, match="marketplace_purchase_tune_id"):  # had others bought it, not even that
            overtake(meeting.buy, wind_up, after=IS_SOLD, row_locks=False)

        assert is_gone(tuner)

    def winding_up(self, payments):
        """A payout is due, and what it is for is given back, so that nothing is owed: the tuner leaves."""
        tuner, (sale,) = payable(payments, sales=1)
        Tune.objects.update(status="ARCHIVED", archived_at=clock.now())
        leave = leaving(tuner.user)

        def give_back_and_leave():
            give_back(sale, 10_000)
            leave()

        return tuner, lambda: payouts.reserve_payout(tuner_id=tuner.pk, currency="EUR", at=clock.now()), give_back_and_leave

    def test_a_payout_that_is_being_made_keeps_them(self, payments):
        tuner, reserve, give_back_and_leave = self.winding_up(payments)

        assert overtake(reserve, give_back_and_leave, after="ORDER BY e.at, e.id") == ("ok", "account_deletion_blocked")

        assert (is_gone(tuner.user), Payout.objects.get().amount_minor, balance(tuner).negative_minor) == (False, 8_500, 8_500)
        assert_sound()

    def test_control_without_the_lock_the_trigger_is_the_last_guard(self, payments):
        tuner, reserve, give_back_and_leave = self.winding_up(payments)

        with pytest.raises(IntegrityError, match="account_is_deleted"):
            overtake(reserve, give_back_and_leave, after="ORDER BY e.at, e.id", row_locks=False)

        assert (is_gone(tuner.user), Payout.objects.exists()) == (True, False)

    def test_a_payout_that_comes_back_is_owed_all_the_same(self, payments, settled):
        payout = Payout.objects.get()
        payments.act("payout_fails", payout.bank_payout_id)
        theirs = gateway.get_payout(payout.bank_payout_id, account_id=payout.account.account_id)

        def hear():
            payouts._follow(payout, theirs, at=clock.now())
            payouts.continue_payout(payout_id=payout.pk, at=clock.now())

        assert overtake(leaving(payout.tuner.user), hear, after=LEAVES) == ("ok", "ok")

        payout.refresh_from_db()
        assert (is_gone(payout.tuner.user), payout.status) == (True, PayoutStatus.FAILED)
        assert balance(payout.tuner).available_minor == 8_500
        assert_sound()

    @pytest.mark.parametrize("guarded", [True, False])
    def test_what_the_provider_asks_of_them_is_not_kept(self, payments, settled, guarded):
        account = PayoutAccount.objects.get()
        asking_for_more = replace(
            gateway.get_account(account.account_id), payouts_enabled=False, requirements_due=["individual.verification.document"]
        )

        became = while_deleting(
            settled.tuner.user, lambda: payout_accounts._follow(asking_for_more, at=clock.now()), guarded=guarded
        )

        account.refresh_from_db()
        assert (became, account.state) == ("ok", PayoutAccountState.RESTRICTED)
        assert account.requirements_due == ([] if guarded else ["individual.verification.document"])

    @pytest.mark.parametrize("guarded", [True, False])
    @pytest.mark.parametrize("what", ["dispute", "refund"])
    def test_what_is_taken_back_of_their_sale(self, payments, settled, what, guarded):
        """It is: the money is the payer's. Without the lock they would be told of it, after everything of theirs was erased."""
        tuner = settled.tuner.user

        def take_back():
            if what == "dispute":
                disputing(settled)()
            else:
                refunds.apply_refund(truth=made_at_provider(settled, amount_minor=10_000), at=clock.now())

        assert while_deleting(tuner, take_back, guarded=guarded) == "ok"

        settled.refresh_from_db()
        assert settled.status == {"dispute": "DISPUTED", "refund": "REFUNDED"}[what]
        assert Notice.objects.filter(user=tuner, type__in=["DISPUTE", "SALE"]).exists() is not guarded
        assert Notice.objects.filter(user=settled.buyer).exists()
        assert balance(settled.tuner).negative_minor == (0 if what == "dispute" else 8_500)
        assert_sound()
        run_all()
