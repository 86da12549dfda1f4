"""Webhooks, the reconciler, expiry, kills between the steps, and races on real connections."""

import json
import time
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from core import clock
from core.embedded.payments.events import signature_header
from core.idempotency import Claim
from core.ids import new_id
from core.meta import agreed_text
from core.models import AuditEvent
from core.testing.http import ApiClient, client_for
from core.testing.payments import WEBHOOK_SECRET
from core.testing.races import race, race_all
from core.testing.tasks import run_all
from garage.tests.factories import VehicleFactory
from marketplace import payments as gateway
from marketplace.enums import DifferenceReason, PaymentAttemptState, PurchaseStatus, WebhookEventStatus
from marketplace.exceptions import EventNotParked, PaymentMismatch
from marketplace.models import LedgerSet, License, PaymentAttempt, ProviderDifference, Purchase, WebhookEvent
from marketplace.services import purchasing, settlement, webhooks
from marketplace.tasks.purchasing import expire_purchases, reconcile_recent_purchases
from marketplace.tests.factories import PaymentAttemptFactory, PurchaseFactory, TuneFactory
from marketplace.tests.purchasing import WEBHOOK, buy, intent_of, rider_with_bike, send_event
from users.models import Notice
from users.tests.factories import UserDeviceFactory, UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def pending(payments):
    """A purchase that waits, bought over HTTP: (client, its body, the intent's id)."""
    client, bike = rider_with_bike()
    body = buy(client, TuneFactory(published=True), bike).json()
    return client, body, intent_of(body)


def status_of(body) -> str:
    return Purchase.objects.get(pk=body["id"]).status


def paid_once(purchase_id) -> bool:
    """One license, one booked sale, one receipt, one success: whatever happened, however often."""
    return (
        License.objects.filter(purchase_id=purchase_id).count(),
        LedgerSet.objects.filter(purchase_id=purchase_id).count(),
        Notice.objects.filter(type="PURCHASE").count(),
        PaymentAttempt.objects.filter(purchase_id=purchase_id, state=PaymentAttemptState.SUCCEEDED).count(),
    ) == (1, 1, 1, 1)


class TestWebhook:
    def test_an_event_is_applied_by_the_worker(self, payments, pending):
        _, body, intent_id = pending
        payments.choose(intent_id, "succeed")
        event = payments.events_of(intent_id)[-1]

        answer = send_event(event)
        before = status_of(body)
        done = run_all()

        assert (answer.status_code, answer.json()) == (200, {"received": True})
        assert (before, status_of(body)) == (PurchaseStatus.PENDING, PurchaseStatus.PAID)
        assert "marketplace.tasks.purchasing.apply_payment_event" in done
        assert WebhookEvent.objects.get().status == WebhookEventStatus.APPLIED

    def test_ten_repeats_are_one_row_and_one_payment(self, payments, pending):
        _, body, intent_id = pending
        payments.choose(intent_id, "succeed")
        event = payments.events_of(intent_id)[-1]

        for _ in range(10):
            assert send_event(event).status_code == 200
            run_all()

        assert WebhookEvent.objects.count() == 1
        assert paid_once(body["id"])

    def test_shuffled_and_late_events_end_in_the_providers_truth(self, payments, pending):
        _, body, intent_id = pending
        payments.choose(intent_id, "decline")
        payments.choose(intent_id, "require_action")
        payments.choose(intent_id, "succeed")

        for event in payments.events_of(intent_id)[::-1]:
            send_event(event)
            run_all()

        assert status_of(body) == PurchaseStatus.PAID
        assert paid_once(body["id"])
        assert set(WebhookEvent.objects.values_list("status", flat=True)) == {WebhookEventStatus.APPLIED, WebhookEventStatus.IGNORED}

    def test_an_event_that_claims_success_changes_nothing_when_the_provider_disagrees(self, payments, pending):
        _, body, intent_id = pending
        event = payments.events_of(intent_id)[0]
        event["type"] = "payment_intent.succeeded"
        event["data"]["object"] |= {"status": "succeeded", "amount_received": 14900}

        send_event(event)
        run_all()

        assert status_of(body) == PurchaseStatus.PENDING
        assert WebhookEvent.objects.get().status == WebhookEventStatus.PARKED
        assert AuditEvent.objects.filter(act="payment.mismatch").count() == 1

    def test_a_cancellation_at_the_provider_cancels(self, payments, pending):
        _, body, intent_id = pending
        gateway.cancel_intent(intent_id)

        send_event(payments.events_of(intent_id)[-1])
        run_all()

        assert status_of(body) == PurchaseStatus.CANCELED

    def test_an_event_before_the_answer_was_attached_finds_its_purchase(self, payments, pending):
        _, body, intent_id = pending
        PaymentAttempt.objects.update(state=PaymentAttemptState.OPENING, intent_id=None, client_secret=None)
        payments.choose(intent_id, "succeed")

        send_event(payments.events_of(intent_id)[-1])
        run_all()

        assert paid_once(body["id"])

    def test_types_that_we_do_not_know_are_kept_and_taken(self, payments, pending):
        _, _, intent_id = pending
        event = {**payments.events_of(intent_id)[0], "id": "evt_new", "type": "something.new"}

        assert send_event(event).status_code == 200
        run_all()

        assert WebhookEvent.objects.get().status == WebhookEventStatus.IGNORED

    def test_a_payment_of_nobody_is_parked_with_an_alarm(self, payments):
        intent = gateway.create_intent(key="k", amount_minor=500, currency="EUR", description="x", metadata={"purchase": str(new_id())})

        send_event(payments.events_of(intent.id)[0])
        run_all()

        event = WebhookEvent.objects.get()
        assert (event.status, event.intent_id) == (WebhookEventStatus.PARKED, intent.id)
        assert AuditEvent.objects.filter(act="payment.mismatch", subject_id=event.pk).exists()

    def test_a_cheaper_payment_never_pays_a_dearer_purchase(self, payments, pending):
        _, body, _ = pending
        cheap = gateway.create_intent(key="cheap", amount_minor=100, currency="EUR", description="x", metadata={"purchase": body["id"]})
        payments.choose(cheap.id, "succeed")

        send_event(payments.events_of(cheap.id)[-1])
        run_all()

        assert status_of(body) == PurchaseStatus.PENDING
        assert WebhookEvent.objects.get().status == WebhookEventStatus.PARKED
        assert ProviderDifference.objects.get().reason == DifferenceReason.NOT_AS_AGREED

    def test_a_live_event_is_parked_in_a_test_installation(self, payments, pending):
        _, _, intent_id = pending

        send_event({**payments.events_of(intent_id)[0], "livemode": True})
        run_all()

        assert WebhookEvent.objects.get().status == WebhookEventStatus.PARKED

    @pytest.mark.parametrize(
        "lie",
        [
            *({"amount": 100}, {"amount": 14901}, {"amount": -14900}, {"currency": "usd"}, {"currency": "jpy"}),
            *({"amount": 10**30}, {"amount": 14900.5}, {"amount": "14900"}, {"amount": True}, {"amount": []}),
        ],
        ids=str,
    )
    def test_an_event_with_another_amount_or_currency_is_parked_with_an_alarm(self, payments, pending, lie):
        _, body, intent_id = pending
        payments.choose(intent_id, "succeed")
        event = payments.events_of(intent_id)[-1]
        event["data"]["object"] |= lie

        send_event(event)
        run_all()

        row = WebhookEvent.objects.get()
        assert (row.status, status_of(body)) == (WebhookEventStatus.PARKED, PurchaseStatus.PENDING)
        assert AuditEvent.objects.filter(act="payment.mismatch", subject_id=row.pk).exists()

    def test_an_event_of_a_foreign_account_is_parked(self, payments, pending):
        _, body, intent_id = pending
        payments.choose(intent_id, "succeed")

        send_event({**payments.events_of(intent_id)[-1], "account": "acct_of_somebody"})
        run_all()

        assert (WebhookEvent.objects.get().status, status_of(body)) == (WebhookEventStatus.PARKED, PurchaseStatus.PENDING)

    def test_a_second_payment_of_one_purchase_is_a_difference(self, payments, pending):
        _, body, intent_id = pending
        payments.choose(intent_id, "succeed")
        second = gateway.create_intent(key="second", amount_minor=14900, currency="EUR", description="x", metadata={"purchase": body["id"]})
        payments.choose(second.id, "succeed")
        send_event(payments.events_of(intent_id)[-1])
        run_all()

        send_event(payments.events_of(second.id)[-1])
        run_all()

        row = ProviderDifference.objects.get()
        assert (row.reason, row.intent_id, str(row.purchase_id)) == (DifferenceReason.SECOND_PAYMENT, second.id, body["id"])
        assert paid_once(body["id"])

    def test_poison_is_parked_after_some_tries_and_taken_up_again_by_staff(self, payments, pending, monkeypatch):
        _, body, intent_id = pending
        payments.choose(intent_id, "succeed")
        send_event(payments.events_of(intent_id)[-1])
        staff = UserFactory(admin=True)

        with monkeypatch.context() as patch:
            patch.setattr(settlement, "apply_payment_event", lambda **kwargs: 1 / 0)
            run_all(until=clock.now() + timedelta(days=30), raise_errors=False)
        parked = WebhookEvent.objects.get()
        webhooks.retry_event(event_id=parked.pk, actor_id=staff.pk, reason="mended", at=clock.now())
        with pytest.raises(EventNotParked):
            webhooks.retry_event(event_id=parked.pk, actor_id=staff.pk, reason="mended", at=clock.now())
        run_all()

        assert (parked.status, parked.attempts) == (WebhookEventStatus.PARKED, webhooks.ATTEMPTS)
        assert "ZeroDivisionError" in parked.note
        assert paid_once(body["id"])
        assert AuditEvent.objects.filter(act="webhook_event.retried", actor_id=staff.pk).exists()

    def test_with_the_provider_down_the_event_waits(self, payments, pending):
        _, body, intent_id = pending
        payments.choose(intent_id, "succeed")
        event = payments.events_of(intent_id)[-1]
        payments.switch("faults", mode="down")
        send_event(event)
        run_all(raise_errors=False)
        while_down = WebhookEvent.objects.get().status
        payments.behave()

        run_all(until=clock.now() + timedelta(hours=1))

        assert (while_down, status_of(body)) == (WebhookEventStatus.RECEIVED, PurchaseStatus.PAID)


class TestSignatures:
    EVENT = json.dumps({"id": "evt_1", "type": "x", "created": 1, "livemode": False, "data": {"object": {"id": "pi_1"}}})

    @pytest.mark.parametrize("at", [-301, -86400, 310, 86400, 2**60])
    def test_an_old_signature_and_one_from_the_future_are_refused(self, at):
        assert send_event(self.EVENT, at=int(time.time()) + at).json()["code"] == "invalid_signature"

    def test_another_secret_is_refused_and_a_second_one_of_ours_taken(self, settings):
        assert send_event(self.EVENT, secret="whsec_other").status_code == 400

        settings.STRIPE_WEBHOOK_SECRETS = ["whsec_new", "whsec_other"]

        assert send_event(self.EVENT, secret="whsec_other").status_code == 200

    @pytest.mark.parametrize("signature", ["", "t=1", "v1=abc", "t=x,v1=y", "t=,v1=", "💥"])
    def test_a_malformed_signature_is_refused(self, signature):
        answer = ApiClient().generic("POST", WEBHOOK, self.EVENT, HTTP_STRIPE_SIGNATURE=signature)

        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_signature")

    @pytest.mark.parametrize("payload", ["", "{}", "[]", "null", "not json", '{"id": 1, "type": 2, "data": []}'])
    def test_a_signed_body_that_is_no_event_is_refused(self, payload):
        assert send_event(payload).status_code == 400

    def test_a_changed_body_is_refused(self):
        at = int(time.time())
        header = signature_header(self.EVENT, WEBHOOK_SECRET, at=at)

        assert ApiClient().generic("POST", WEBHOOK, self.EVENT + " ", HTTP_STRIPE_SIGNATURE=header).status_code == 400
        assert not WebhookEvent.objects.exists()

    def test_a_refused_signature_is_counted_for_the_alarm(self, client):
        def counted():
            lines = client.get("/metrics").content.decode().splitlines()
            return float(next(line for line in lines if line.startswith("revsync_webhook_signatures_refused_total")).split()[1])

        before = counted()
        send_event(self.EVENT, secret="whsec_other")

        assert counted() == before + 1

    def test_no_secret_means_no_event(self, settings):
        settings.STRIPE_WEBHOOK_SECRETS = []

        assert send_event(self.EVENT).status_code == 400


class TestReconciler:
    def test_finds_a_lost_webhook(self, payments, pending):
        _, body, intent_id = pending
        payments.choose(intent_id, "succeed")

        reconcile_recent_purchases()

        assert paid_once(body["id"])

    def test_asks_again_for_an_intent_whose_answer_was_lost(self, payments, pending):
        _, _, intent_id = pending
        PaymentAttempt.objects.update(state=PaymentAttemptState.OPENING, intent_id=None, client_secret=None)

        reconcile_recent_purchases()

        assert PaymentAttempt.objects.get().intent_id == intent_id

    def test_a_key_that_is_a_day_old_is_not_used_again(self, payments, pending):
        _, body, intent_id = pending
        PaymentAttempt.objects.update(
            state=PaymentAttemptState.OPENING, intent_id=None, client_secret=None, created_at=clock.now() - timedelta(hours=25)
        )
        before = len(payments.intents_of(body["id"]))

        reconcile_recent_purchases()

        assert PaymentAttempt.objects.get().intent_id == intent_id
        assert len(payments.intents_of(body["id"])) == before == 1

    def test_expires_what_nobody_paid_at_the_provider_too(self, payments, pending):
        _, body, _ = pending
        Purchase.objects.update(expires_at=clock.now())

        expire_purchases()

        assert status_of(body) == PurchaseStatus.EXPIRED
        assert payments.intents_of(body["id"])[0]["status"] == "canceled"

    def test_expiry_finds_that_it_was_paid(self, payments, pending):
        _, body, intent_id = pending
        payments.choose(intent_id, "succeed")
        Purchase.objects.update(expires_at=clock.now())

        expire_purchases()

        assert paid_once(body["id"])

    def test_expires_one_that_never_reached_the_provider(self, payments):
        attempt = PaymentAttemptFactory(purchase__created_at=clock.now() - timedelta(hours=2))

        expire_purchases()

        attempt.refresh_from_db()
        assert (attempt.state, attempt.purchase.status) == (PaymentAttemptState.ABANDONED, PurchaseStatus.EXPIRED)
        assert payments.intents_of(attempt.purchase_id) == []

    def test_one_that_does_not_match_does_not_stop_the_others(self, payments, pending):
        _, body, intent_id = pending
        wrong = PaymentAttemptFactory(open=True, intent_id=gateway.create_intent(
            key="other", amount_minor=100, currency="EUR", description="x", metadata={"purchase": str(new_id())}
        ).id, purchase__created_at=clock.now() - timedelta(minutes=5))  # fmt: skip
        payments.choose(wrong.intent_id, "succeed")
        payments.choose(intent_id, "succeed")

        for _ in range(2):
            reconcile_recent_purchases()

        assert (status_of(body), Purchase.objects.get(pk=wrong.purchase_id).status) == (PurchaseStatus.PAID, PurchaseStatus.PENDING)
        assert AuditEvent.objects.filter(act="payment.mismatch").count() == 1


class Killed(BaseException):
    """The process ends here."""


class TestKilledBetweenTheSteps:
    """The same request, sent again, finishes the same purchase with the same intent."""

    @pytest.mark.parametrize("where", ["settlement._ask_for_intent", "settlement._attach"])
    def test_and_sent_again(self, payments, monkeypatch, where):
        client, bike = rider_with_bike()
        tune = TuneFactory(published=True)

        def die(*args, **kwargs):
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(f"marketplace.services.{where}", die)
            patch.setattr("core.idempotency.Claim.abandon", lambda self: None)  # a killed process abandons nothing
            with pytest.raises(Killed):
                buy(client, tune, bike, key="a")
        again = buy(client, tune, bike, key="a")

        assert (again.status_code, Purchase.objects.count()) == (201, 1)
        assert len(payments.intents_of(again.json()["id"])) == 1

    def test_in_the_middle_of_applying(self, payments, pending, monkeypatch):
        _, body, intent_id = pending
        payments.choose(intent_id, "succeed")
        send_event(payments.events_of(intent_id)[-1])
        with monkeypatch.context() as patch:
            patch.setattr(settlement, "book_sale", lambda **kwargs: (_ for _ in ()).throw(Killed()))
            with pytest.raises(Killed):
                webhooks.apply_event(event_id=WebhookEvent.objects.get().pk, at=clock.now())
        assert (status_of(body), License.objects.count()) == (PurchaseStatus.PENDING, 0)

        run_all()

        assert paid_once(body["id"])


class TestTheOneWriter:
    def intent(self, purchase, **changes):
        attempt = PaymentAttemptFactory(open=True, purchase=purchase)
        facts = {
            "id": attempt.intent_id, "status": "succeeded", "amount_minor": purchase.amount_minor, "received_minor": purchase.amount_minor,
            "currency": purchase.currency, "livemode": False, "created_at": clock.now(), "metadata": {"purchase": str(purchase.pk)},
        }  # fmt: skip
        return gateway.Intent(**{**facts, **changes})

    @pytest.mark.parametrize(
        "changes",
        [
            {"amount_minor": 14899}, {"received_minor": 14899}, {"received_minor": 0}, {"currency": "USD"}, {"livemode": True},
            {"metadata": {}}, {"metadata": {"purchase": "other"}}, {"status": "requires_action"}, {"id": "pi_other"},
        ],
    )  # fmt: skip
    def test_refuses_what_was_not_agreed(self, changes):
        purchase = PurchaseFactory()

        with pytest.raises(PaymentMismatch):
            settlement.mark_purchase_paid(purchase_id=purchase.pk, intent=self.intent(purchase, **changes), at=clock.now())

        assert not License.objects.exists()

    def test_refuses_to_give_a_paid_tune_away(self):
        with pytest.raises(PaymentMismatch):
            settlement.mark_purchase_paid(purchase_id=PurchaseFactory().pk, intent=None, at=clock.now())

    def test_a_payment_after_the_end_is_still_a_payment(self):
        purchase = PurchaseFactory(expired=True)

        paid = settlement.mark_purchase_paid(purchase_id=purchase.pk, intent=self.intent(purchase), at=clock.now())

        assert (paid.status, paid.closed_at) == (PurchaseStatus.PAID, None)
        assert License.objects.get().purchase_id == purchase.pk

    def test_books_balance_and_hold_the_tuners_share(self):
        purchase = PurchaseFactory(amount_minor=9999, fee_basis_points=1500, fee_minor=1500, tax_minor=1900)
        at = clock.now()

        settlement.mark_purchase_paid(purchase_id=purchase.pk, intent=self.intent(purchase), at=at)

        entries = {entry.account: entry for entry in LedgerSet.objects.get().entries.all()}
        assert {account: entry.amount_minor for account, entry in entries.items()} == {
            "BUYER_CLEARING": -9999, "TAX_PAYABLE": 1900, "PLATFORM_FEE": 1500, "TUNER": 6599,
        }  # fmt: skip
        assert entries["TUNER"].available_at == at + timedelta(days=purchase.tuner.hold_days)


@pytest.mark.django_db(transaction=True)
class TestTwentyAtOnce:
    """Twenty taps on "buy": one purchase, one intent."""

    def riders(self):
        rider = UserFactory()
        return rider, VehicleFactory(owner=rider, with_stock=True), TuneFactory(published=True)

    def wish(self, tune, vehicle):
        return purchasing.Wish(
            tune_id=tune.pk, vehicle_id=vehicle.pk, expected_price_minor=tune.price_minor, currency=tune.currency,
            attestation_version=agreed_text("attestation").version, attestation_accepted=True,
        )  # fmt: skip

    def test_of_a_paid_tune_make_one_purchase_and_one_intent(self, payments):
        rider, bike, tune = self.riders()
        wish = self.wish(tune, bike)

        outcomes = race(lambda: purchasing.begin_purchase(buyer=rider, wish=wish, claim=Claim(), at=clock.now()), times=20)

        purchase = Purchase.objects.get()
        assert outcomes == ["ok"] * 20
        assert (purchase.attempts.count(), len(payments.intents_of(purchase.pk))) == (1, 1)

    def test_over_http_make_one_purchase_whatever_the_keys(self, payments):
        rider, bike, tune = self.riders()
        session = UserDeviceFactory(user=rider)
        answers = []

        race(lambda: answers.append(buy(client_for(rider, device=session), tune, bike).status_code), times=20)

        assert Purchase.objects.count() == 1
        assert sorted(answers) == [200] * 19 + [201]
        assert len(payments.intents_of(Purchase.objects.get().pk)) == 1

    def test_of_a_free_tune_make_one_license(self):
        rider, bike, _ = self.riders()
        wish = self.wish(TuneFactory(published=True, free=True), bike)

        outcomes = race(lambda: purchasing.begin_purchase(buyer=rider, wish=wish, claim=Claim(), at=clock.now()), times=20)

        assert outcomes == ["already_owned"] * 19 + ["ok"]
        assert License.objects.count() == 1

    def test_control_without_the_lock_a_free_tune_is_bought_twice(self):
        rider, bike, _ = self.riders()
        wish = self.wish(TuneFactory(published=True, free=True), bike)

        outcomes = race(lambda: purchasing.begin_purchase(buyer=rider, wish=wish, claim=Claim(), at=clock.now()), row_locks=False)

        assert outcomes == ["ok", "ok"]
        assert License.objects.count() == 2


@pytest.mark.django_db(transaction=True)
class TestPayRaces:
    def waiting(self, payments):
        purchase = PurchaseFactory()
        PaymentAttemptFactory(purchase=purchase)
        settlement.open_payment(purchase_id=purchase.pk, at=clock.now())
        intent_id = purchase.attempts.get().intent_id
        payments.choose(intent_id, "succeed")
        return purchase, gateway.get_intent(intent_id)

    def test_two_webhooks_of_one_payment_are_one_payment(self, payments):
        purchase, intent = self.waiting(payments)

        assert race(lambda: settlement.mark_purchase_paid(purchase_id=purchase.pk, intent=intent, at=clock.now()), times=5) == ["ok"] * 5
        assert paid_once(purchase.pk)

    def test_control_without_the_lock_the_constraint_is_the_last_guard(self, payments):
        purchase, intent = self.waiting(payments)

        with pytest.raises(IntegrityError):
            race(lambda: settlement.mark_purchase_paid(purchase_id=purchase.pk, intent=intent, at=clock.now()), row_locks=False)

    @pytest.mark.parametrize("rival", ["cancel", "expire"])
    def test_pay_against_cancel_and_expire_ends_as_the_provider_says(self, payments, rival):
        purchase = PurchaseFactory()
        PaymentAttemptFactory(purchase=purchase)
        settlement.open_payment(purchase_id=purchase.pk, at=clock.now())
        intent_id = purchase.attempts.get().intent_id

        def end():
            if rival == "cancel":
                purchasing.cancel_purchase(buyer=purchase.buyer, purchase_id=purchase.pk, at=clock.now())
            else:
                settlement.end_payment(purchase=purchase, status=PurchaseStatus.EXPIRED, at=clock.now())

        race_all([end, lambda: payments.choose(intent_id, "succeed")])
        settlement.settle_purchase(purchase_id=purchase.pk, at=clock.now())

        purchase.refresh_from_db()
        truth = gateway.get_intent(intent_id)
        ended = PurchaseStatus.CANCELED if rival == "cancel" else PurchaseStatus.EXPIRED
        assert purchase.status == (PurchaseStatus.PAID if truth.is_paid else ended)
        assert License.objects.count() == truth.is_paid

    def test_ten_deliveries_of_one_event_are_one_row(self):
        event = TestSignatures.EVENT

        race(lambda: send_event(event), times=10)

        assert WebhookEvent.objects.count() == 1


class TestTheBooks:
    """Postgres keeps them, whoever writes."""

    def booked(self):
        purchase = PurchaseFactory(paid=True)
        settlement.book_sale(purchase=purchase, at=clock.now())
        return purchase

    @pytest.mark.parametrize(
        "sql",
        [
            "UPDATE marketplace_ledgerentry SET amount_minor = 1",
            "DELETE FROM marketplace_ledgerentry",
            "TRUNCATE marketplace_ledgerentry CASCADE",
            "UPDATE marketplace_ledgerset SET cause = 'REFUND'",
            "DELETE FROM marketplace_ledgerset",
        ],
    )
    def test_refuse_every_change(self, sql):
        self.booked()
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")

            with pytest.raises(IntegrityError, match="append-only"):
                cursor.execute(sql)

    def test_refuse_a_set_that_does_not_sum_to_zero(self):
        purchase = self.booked()
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")

            with pytest.raises(IntegrityError, match="ledger_set_sums_to_zero"):
                cursor.execute(
                    "INSERT INTO marketplace_ledgerentry (id, set_id, account, purchase_id, amount_minor, currency, at)"
                    " SELECT gen_random_uuid(), id, 'PLATFORM_FEE', purchase_id, 1, 'EUR', at"
                    " FROM marketplace_ledgerset WHERE purchase_id = %s",
                    [purchase.pk],
                )

    def test_refuse_to_book_a_sale_twice(self):
        purchase = self.booked()

        with pytest.raises(IntegrityError, match="ledgerset_cause_once"):
            settlement.book_sale(purchase=purchase, at=clock.now())


class TestWhatPostgresRefuses:
    @pytest.mark.parametrize(
        ("state", "change", "constraint"),
        [
            ("paid", {"amount_minor": 1}, "purchase_snapshot_is_final"),
            ("paid", {"fee_minor": 1}, "purchase_snapshot_is_final"),
            ("paid", {"paid_at": None, "captured_minor": 0, "status": "PENDING"}, "purchase_paid_once"),
            ("paid", {"refunded_minor": 14901}, "purchase_(refunded_within_captured|all_refunded_means_status)"),
            ("paid", {"status": "REFUNDED"}, "purchase_refunded_status_means_all"),
            ("paid", {"status": "DISPUTED"}, "purchase_disputed_iff_returns_somewhere"),
            ("paid", {"captured_minor": 1}, "purchase_captured_iff_paid"),
            ("canceled", {"status": "PAID"}, "purchase_times_agree_with_status"),
            ("canceled", {"closed_at": None}, "purchase_times_agree_with_status"),
            ("paid", {"status": "SOLD"}, "purchase_"),
        ],
    )
    def test_a_purchase_that_contradicts_itself(self, state, change, constraint):
        purchase = PurchaseFactory(**{state: True})

        with pytest.raises(IntegrityError, match=constraint):
            Purchase.objects.filter(pk=purchase.pk).update(**change)

    def test_the_deletion_of_a_purchase_or_license(self):
        purchase = PurchaseFactory(paid=True)
        with connection.cursor() as cursor:
            with pytest.raises(IntegrityError, match="license_is_never_deleted"), transaction.atomic():
                cursor.execute("DELETE FROM marketplace_license")
            with pytest.raises(IntegrityError, match="purchase_is_never_deleted"), transaction.atomic():
                cursor.execute("DELETE FROM marketplace_purchase WHERE id = %s", [purchase.pk])

    def test_a_second_pending_purchase_of_the_same_thing(self):
        purchase = PurchaseFactory()

        with pytest.raises(IntegrityError, match="purchase_one_pending"):
            PurchaseFactory(buyer=purchase.buyer, tune=purchase.tune, vehicle_id=purchase.vehicle_id)

    def test_a_second_live_attempt_and_an_intent_that_pays_two(self):
        attempt = PaymentAttemptFactory(open=True)

        with pytest.raises(IntegrityError, match="paymentattempt_one_live"), transaction.atomic():
            PaymentAttemptFactory(purchase=attempt.purchase, attempt=2)
        with pytest.raises(IntegrityError, match="paymentattempt_intent_once"), transaction.atomic():
            PaymentAttemptFactory(open=True, intent_id=attempt.intent_id)
