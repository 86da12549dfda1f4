"""What webhooks lost and what a restored database lost, found again at the provider, without charging anybody twice."""

from datetime import timedelta

import pytest
from django.db import transaction

from core import clock
from core.models import AuditEvent
from core.testing.races import race
from core.testing.tasks import run_all
from marketplace import payments as gateway
from marketplace.enums import DifferenceReason, DifferenceState, PurchaseStatus, WebhookEventStatus
from marketplace.exceptions import DifferenceEnded, NothingCaptured
from marketplace.models import LedgerSet, License, PaymentAttempt, ProviderDifference, ProviderWatch, Purchase, WebhookEvent
from marketplace.selectors.ledger import find_differences
from marketplace.services import differences, provider_fees, reconciler
from marketplace.services.provider_fees import reconcile_provider_fees
from marketplace.tests.factories import TuneFactory
from marketplace.tests.purchasing import PURCHASES, buy, intent_of, rider_with_bike, send_event
from users.models import Notice, User
from users.tests.factories import UserFactory

pytestmark = pytest.mark.django_db


def watched(*, ago=timedelta(minutes=1)):
    """Somebody looked, so long ago."""
    at = clock.now() - ago
    ProviderWatch.objects.update_or_create(pk=1, defaults={"watched_at": at, "walked_at": at})


class TestProviderFees:
    def test_what_the_provider_kept_is_booked_once(self, own):
        client, bike = rider_with_bike()
        body = buy(client, TuneFactory(published=True), bike).json()
        own.choose(intent_of(body), "succeed")
        reconciler.reconcile_open_work(at=clock.now())
        reconciler.reconcile_open_work(at=clock.now())

        kept = gateway.find_charge(intent_of(body)).fee_minor
        lines = LedgerSet.objects.get(cause="PROVIDER_FEE", cause_id=body["id"]).entries.order_by("account")
        assert kept > 0
        assert list(lines.values_list("account", "amount_minor")) == [("BUYER_CLEARING", kept), ("PROVIDER_FEE", -kept)]
        assert list(find_differences()) == []

    def test_a_free_tune_a_pending_purchase_and_an_old_payment_are_not_asked_about(self, own):
        client, bike = rider_with_bike()
        buy(client, TuneFactory(published=True, price_minor=0), bike)
        buy(client, TuneFactory(published=True), bike)
        assert reconcile_provider_fees(at=clock.now()) == 0
        client, bike = rider_with_bike()
        body = buy(client, TuneFactory(published=True), bike).json()
        own.choose(intent_of(body), "succeed")
        reconciler.reconcile_open_work(at=clock.now() + timedelta(minutes=1))
        assert reconcile_provider_fees(at=clock.now() + timedelta(days=11)) == 0

    def test_one_that_can_not_be_read_does_not_keep_the_others_waiting(self, own, monkeypatch):
        monkeypatch.setattr(provider_fees, "LOOKED_AT_A_ROUND", 1)
        bodies = []
        for _ in range(2):
            client, bike = rider_with_bike()
            bodies.append(buy(client, TuneFactory(published=True), bike).json())
            own.choose(intent_of(bodies[-1]), "succeed")
        reconciler.watch_provider(at=clock.now())
        first = PaymentAttempt.objects.filter(purchase_id=bodies[0]["id"])
        first.update(checked_at=clock.now() - timedelta(hours=1), intent_id="pi_of_another_account")

        assert [reconcile_provider_fees(at=clock.now()) for _ in range(2)] == [1, 1]

        assert str(LedgerSet.objects.get(cause="PROVIDER_FEE").cause_id) == bodies[1]["id"]

    def test_two_at_once_book_it_once(self, own):
        client, bike = rider_with_bike()
        body = buy(client, TuneFactory(published=True), bike).json()
        own.choose(intent_of(body), "succeed")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(provider_fees, "LOOKED_AT_A_ROUND", 0)
            reconciler.reconcile_open_work(at=clock.now())
        rows = [(body["id"], 467)] * 2
        for purchase_id, kept in rows:  # both had read that it is not booked
            provider_fees._book(purchase_id, amount_minor=kept, currency="EUR", at=clock.now())
        assert LedgerSet.objects.filter(cause="PROVIDER_FEE").count() == 1


def look():
    return reconciler.watch_provider(at=clock.now())


class Lost:
    """Bought, maybe paid, and then the database was restored to the moment before: only the provider knows."""

    def __init__(self, server, *, outcome="succeed", **price):
        self.client, self.bike = rider_with_bike()
        self.tune = TuneFactory(published=True, **price)
        moment = transaction.savepoint()
        self.body = buy(self.client, self.tune, self.bike).json()
        self.before = Purchase.objects.get(pk=self.body["id"])
        self.intent_id = intent_of(self.body)
        transaction.savepoint_rollback(moment)
        assert not Purchase.objects.filter(pk=self.body["id"]).exists()
        if outcome:
            server.choose(self.intent_id, outcome)

    def find(self):
        return Purchase.objects.filter(pk=self.body["id"]).first()


class TestMissedEvents:
    def test_one_that_no_webhook_brought_is_applied(self, own):
        watched()
        client, bike = rider_with_bike()
        body = buy(client, TuneFactory(published=True), bike).json()
        own.choose(intent_of(body), "succeed")

        look()
        run_all()

        assert Purchase.objects.get().status == PurchaseStatus.PAID
        assert "payment_intent.succeeded" in WebhookEvent.objects.values_list("type", flat=True)
        assert ProviderWatch.objects.get().restoring_since is None

    def test_one_that_a_webhook_brought_is_not_taken_twice(self, own):
        watched()
        client, bike = rider_with_bike()
        intent_id = intent_of(buy(client, TuneFactory(published=True), bike).json())
        send_event(own.events_of(intent_id)[0])

        for _ in range(2):
            look()

        assert WebhookEvent.objects.count() == 1

    def test_with_the_provider_down_nothing_is_noted_as_seen(self, own):
        watched(ago=timedelta(minutes=2))
        before = ProviderWatch.objects.get().watched_at
        own.switch("faults", mode="down")

        with pytest.raises(Exception, match="does not answer"):
            look()

        assert ProviderWatch.objects.get().watched_at == before


class TestClosed:
    @pytest.mark.parametrize("ago", [timedelta(minutes=6), timedelta(days=3)])
    def test_nothing_is_sold_after_a_gap_until_it_was_walked(self, own, ago):
        client, bike = rider_with_bike()
        tune, free = TuneFactory(published=True), TuneFactory(published=True, free=True)
        watched(ago=ago)

        refused = [buy(client, each, bike) for each in (tune, free)]
        row = look()

        assert [(answer.status_code, answer.json()["service"]) for answer in refused] == [(503, "payments")] * 2
        assert all(int(answer.headers["Retry-After"]) > 0 for answer in refused)
        assert not own.get("payment_intents")["data"]
        assert (row.restoring_since, row.restored_at is None) == (None, False)
        assert buy(client, tune, bike).status_code == 201
        assert set(AuditEvent.objects.filter(act__startswith="payments.").values_list("act", flat=True)) == {
            "payments.restoring", "payments.restored",
        }  # fmt: skip

    def test_what_is_pending_can_be_continued_and_synced(self, own):
        client, bike = rider_with_bike()
        tune = TuneFactory(published=True)
        body = buy(client, tune, bike).json()
        watched(ago=timedelta(hours=1))

        assert buy(client, tune, bike).status_code == 200
        assert client.post(f"{PURCHASES}{body['id']}/sync/").status_code == 200

    def test_stays_closed_while_the_provider_does_not_answer(self, own):
        watched(ago=timedelta(hours=1))
        own.switch("faults", mode="error")
        client, bike = rider_with_bike()

        with pytest.raises(Exception, match="does not answer"):
            look()

        assert ProviderWatch.objects.get().restoring_since is not None
        assert buy(client, TuneFactory(published=True), bike).status_code == 503

    def test_a_new_installation_is_open(self, own):
        client, bike = rider_with_bike()

        assert buy(client, TuneFactory(published=True), bike).status_code == 201
        assert look().restoring_since is None

    @pytest.mark.parametrize(("ago", "closed"), [(timedelta(minutes=1), "0.0"), (timedelta(minutes=6), "1.0")])
    def test_is_told_to_whoever_watches(self, client, ago, closed):
        watched(ago=ago)

        figures = client.get("/metrics").content.decode()

        assert f"revsync_sales_closed {closed}" in figures
        assert "revsync_payment_differences 0.0" in figures and "revsync_provider_unseen_seconds " in figures

    def test_a_part_that_fails_is_told_and_closes_nothing(self, own, monkeypatch):
        watched(ago=timedelta(hours=1))
        monkeypatch.setattr(reconciler, "REBUILDERS", ("marketplace.services.nowhere.rebuild",))

        with pytest.raises(reconciler.PartFailed):
            look()

        assert ProviderWatch.objects.get().restoring_since is None


class TestRebuilding:
    @pytest.mark.parametrize(
        "price", [{}, {"currency": "JPY", "price_minor": 4900}, {"currency": "KWD", "price_minor": 4900}], ids=["EUR", "JPY", "KWD"]
    )
    def test_a_lost_paid_purchase_is_what_it_was(self, own, price):
        lost = Lost(own, **price)
        watched(ago=timedelta(hours=1))

        look()

        found, was = lost.find(), lost.before
        kept = [
            "number", "buyer_id", "tune_id", "tune_version_id", "tuner_id", "tune_title", "seller_name", "vehicle_id", "vehicle_name",
            "vehicle_identity_hashes", "amount_minor", "currency", "tax_minor", "tax_rate_basis_points", "tax_country", "fee_basis_points",
            "fee_minor", "fitment_verdict", "acknowledged_reasons", "attestation_text_version", "attestation_sha256", "attested_at",
        ]  # fmt: skip
        assert {name: getattr(found, name) for name in kept} == {name: getattr(was, name) for name in kept}
        assert (found.status, found.captured_minor, found.license.holder_id) == (PurchaseStatus.PAID, was.amount_minor, was.buyer_id)
        assert abs(found.paid_at - was.created_at) < timedelta(seconds=5)
        assert found.attempts.get().intent_id == lost.intent_id
        assert sum(entry.amount_minor for entry in LedgerSet.objects.get(purchase=found).entries.all()) == 0
        assert len(own.get("payment_intents")["data"]) == 1

    def test_a_backup_that_shows_no_gap_is_noticed_by_the_payment(self, own):
        lost = Lost(own)
        watched()

        row = look()

        assert lost.find().status == PurchaseStatus.PAID
        assert (row.restoring_since, "name a purchase that is not here" in row.note) == (None, True)

    def test_a_repeat_changes_nothing(self, own):
        lost = Lost(own)
        for _ in range(3):
            watched(ago=timedelta(hours=1))
            look()
            run_all()

        assert (Purchase.objects.count(), License.objects.count(), LedgerSet.objects.filter(cause="SALE").count()) == (1, 1, 1)
        assert Notice.objects.filter(dedupe_key=f"purchase-paid:{lost.body['id']}").count() == 1
        assert PaymentAttempt.objects.count() == 1

    @pytest.mark.parametrize("outcome", [None, "decline", "require_action"])
    def test_a_lost_one_that_waits_is_cancelled_at_the_provider(self, own, outcome):
        lost = Lost(own, outcome=outcome)
        watched(ago=timedelta(hours=1))

        look()

        assert (lost.find(), gateway.get_intent(lost.intent_id).is_canceled) == (None, True)
        assert buy(lost.client, lost.tune, lost.bike).status_code == 201

    def test_the_buyer_can_not_buy_again_what_is_found_and_is_not_charged_twice(self, own):
        lost = Lost(own)
        rival = buy(lost.client, lost.tune, lost.bike).json()
        watched()

        look()

        again = buy(lost.client, lost.tune, lost.bike)
        assert (again.status_code, again.json()["code"], again.json()["purchase_id"]) == (409, "already_owned", lost.body["id"])
        assert Purchase.objects.get(pk=rival["id"]).status == PurchaseStatus.CANCELED
        assert gateway.get_intent(intent_of(rival)).is_canceled

    def test_what_was_refunded_or_disputed_since_is_refunded_and_disputed(self, own):
        refunded, partly, disputed, gone = Lost(own), Lost(own), Lost(own), Lost(own)
        for lost, amount in ((refunded, 14900), (partly, 900)):
            gateway.create_refund(key=lost.intent_id, intent_id=lost.intent_id, amount_minor=amount, metadata={})
        own.choose(disputed.intent_id, "dispute")
        own.choose(gone.intent_id, "dispute")
        own.choose(gone.intent_id, "dispute_lost")
        watched(ago=timedelta(hours=1))

        look()
        run_all()

        assert [(lost.find().status, lost.find().license.state) for lost in (refunded, partly, disputed, gone)] == [
            ("REFUNDED", "REVOKED"), ("PAID", "UNBOUND"), ("DISPUTED", "SUSPENDED"), ("CHARGED_BACK", "REVOKED"),
        ]  # fmt: skip
        assert (refunded.find().refunded_minor, partly.find().refunded_minor) == (14900, 900)
        assert len(own.get("payment_intents")["data"]) == 4

    def test_an_event_that_was_parked_before_is_applied_after(self, own):
        lost = Lost(own)
        watched()
        send_event(own.events_of(lost.intent_id)[-1])
        run_all()
        parked = WebhookEvent.objects.get().status

        look()
        run_all()

        assert parked == WebhookEventStatus.PARKED
        assert set(WebhookEvent.objects.values_list("status", flat=True)) <= {WebhookEventStatus.APPLIED, WebhookEventStatus.IGNORED}
        assert ProviderDifference.objects.get().state == DifferenceState.GONE

    def test_a_pending_one_that_was_paid_after_the_backup_is_paid(self, own):
        client, bike = rider_with_bike()
        body = buy(client, TuneFactory(published=True), bike).json()
        own.choose(intent_of(body), "succeed")
        watched(ago=timedelta(hours=1))

        look()

        assert Purchase.objects.get().status == PurchaseStatus.PAID


class TestParked:
    def lost_with_unknown(self, server, **changes):
        client, bike = rider_with_bike()
        moment = transaction.savepoint()
        buy(client, TuneFactory(published=True), bike)
        said = dict(server.get("payment_intents")["data"][0]["metadata"])
        transaction.savepoint_rollback(moment)
        intent = gateway.create_intent(key="unknown", amount_minor=14900, currency="EUR", description="x", metadata=said | changes)
        server.choose(intent.id, "succeed")
        return intent.id

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ({"buyer": "01890000-0000-7000-8000-000000000000"}, "buyer"),
            ({"tune": "not an id"}, "tune"),
            ({"fee_minor": "99999"}, "purchase_tax_and_fee_within_amount"),
            ({"number": "RS-1"}, "purchase_number_shape"),
            ({"fee_minor": "x"}, "ValueError"),
            ({"fee_minor": "9" * 30}, "DataError"),
            ({"tax_country": "Germany"}, "DataError"),
        ],
    )
    def test_a_payment_that_can_not_be_written_is_kept_and_closes_nothing(self, own, change, why):
        tune = TuneFactory(published=True)
        intent_id = self.lost_with_unknown(own, **{"tune": str(tune.pk), "tuner": str(tune.tuner_id), **change})
        watched(ago=timedelta(hours=1))

        row = look()

        parked = ProviderDifference.objects.get(object_id=intent_id)
        assert (parked.reason, parked.state, parked.amount_minor, parked.currency) == (DifferenceReason.NOT_REBUILT, "OPEN", 14900, "EUR")
        assert why in parked.ours
        assert (row.restoring_since, Purchase.objects.count(), License.objects.count()) == (None, 0, 0)

    def test_a_parked_payment_closes_the_sale_once(self, own):
        self.lost_with_unknown(own, buyer="01890000-0000-7000-8000-000000000000")
        own_client, bike = rider_with_bike()
        Lost(own, outcome="abandon")
        for _ in range(3):
            watched()
            look()

        assert AuditEvent.objects.filter(act="payments.restoring").count() == 1
        assert buy(own_client, TuneFactory(published=True), bike).status_code == 201

    def test_a_deleted_buyer_is_an_unknown_one(self, own):
        lost = Lost(own)
        User.objects.filter(pk=lost.client.user.pk).update(is_active=False, deleted_at=clock.now())
        watched(ago=timedelta(hours=1))

        look()

        assert "buyer" in ProviderDifference.objects.get(object_id=lost.intent_id).ours

    def test_staff_give_it_back_once(self, own):
        intent_id = self.lost_with_unknown(own, buyer="01890000-0000-7000-8000-000000000000")
        watched()
        look()
        row, staff = ProviderDifference.objects.get(object_id=intent_id), UserFactory(admin=True)

        done = differences.refund_difference(difference_id=row.pk, actor_id=staff.pk, reason="unknown", at=clock.now())
        with pytest.raises(DifferenceEnded):
            differences.refund_difference(difference_id=row.pk, actor_id=staff.pk, reason="unknown", at=clock.now())

        (refund,) = own.get("refunds")["data"]
        assert (done.state, done.refund_id, refund["amount"]) == (DifferenceState.REFUNDED, refund["id"], 14900)
        assert AuditEvent.objects.filter(act="difference.refunded", actor_id=staff.pk).count() == 1

    def test_killed_between_refund_and_commit_it_is_given_back_once(self, own, monkeypatch):
        intent_id = self.lost_with_unknown(own, buyer="01890000-0000-7000-8000-000000000000")
        watched()
        look()
        row = ProviderDifference.objects.get(object_id=intent_id)
        given = {"difference_id": row.pk, "actor_id": UserFactory(admin=True).pk, "reason": "unknown", "at": clock.now()}
        with monkeypatch.context() as patch:
            patch.setattr(differences, "_end", lambda *args, **kwargs: (_ for _ in ()).throw(KeyboardInterrupt()))
            with pytest.raises(KeyboardInterrupt):
                differences.refund_difference(**given)

        assert differences.refund_difference(**given).state == DifferenceState.REFUNDED
        assert len(own.get("refunds")["data"]) == 1

    def test_a_payment_that_pays_a_purchase_is_never_given_back_so(self, own):
        client, bike = rider_with_bike()
        body = buy(client, TuneFactory(published=True), bike).json()
        own.choose(intent_of(body), "succeed")
        client.post(f"{PURCHASES}{body['id']}/sync/")
        row = differences.note_difference(
            object_id="x", intent=gateway.get_intent(intent_of(body)), reason=DifferenceReason.NOBODYS, ours="wrong", at=clock.now()
        )

        with pytest.raises(NothingCaptured):
            differences.refund_difference(difference_id=row.pk, actor_id=UserFactory(admin=True).pk, reason="x", at=clock.now())

        assert not own.get("refunds")["data"]

    def test_what_staff_dismissed_stays_dismissed(self, own):
        intent_id = self.lost_with_unknown(own, buyer="01890000-0000-7000-8000-000000000000")
        watched()
        look()
        row = ProviderDifference.objects.get(object_id=intent_id)
        differences.dismiss_difference(difference_id=row.pk, actor_id=UserFactory(admin=True).pk, reason="x", at=clock.now())

        look()

        row.refresh_from_db()
        assert row.state == DifferenceState.DISMISSED

    def test_a_payment_of_somebody_else_is_none_of_ours(self, own):
        intent = gateway.create_intent(key="foreign", amount_minor=500, currency="EUR", description="x", metadata={})
        own.choose(intent.id, "succeed")
        watched(ago=timedelta(hours=1))

        look()

        assert not ProviderDifference.objects.exists()


@pytest.mark.django_db(transaction=True)
class TestSeveralAtOnce:
    """Two schedules, or a slot that took longer than a minute: each walk is done by several."""

    def lost(self, server):
        client, bike = rider_with_bike()
        tune = TuneFactory(published=True)
        with transaction.atomic():
            body = buy(client, tune, bike).json()
            transaction.set_rollback(True)
        server.choose(intent_of(body), "succeed")
        return body["id"]

    def test_rebuild_once(self, own):
        bought, refunded = self.lost(own), self.lost(own)
        (intent,) = own.intents_of(refunded)
        gateway.create_refund(key="r", intent_id=intent["id"], amount_minor=14900, metadata={})
        watched(ago=timedelta(hours=1))

        outcomes = race(look, times=4)

        assert outcomes == ["ok"] * 4
        assert {str(row.pk): row.status for row in Purchase.objects.all()} == {bought: "PAID", refunded: "REFUNDED"}
        assert sorted(LedgerSet.objects.values_list("cause", flat=True)) == ["REFUND", "SALE", "SALE"]
        assert (License.objects.count(), PaymentAttempt.objects.count(), len(own.get("refunds")["data"])) == (2, 2, 1)
        assert ProviderWatch.objects.get().restoring_since is None

    def test_control_without_looking_first_the_constraint_is_the_last_guard(self, own, monkeypatch):
        self.lost(own)
        watched(ago=timedelta(hours=1))

        def always_new(self, defaults=None, **names):
            return self.create(**names, **(defaults or {})), True

        monkeypatch.setattr("marketplace.models.purchasing.PurchaseQuerySet.get_or_create", always_new)
        race(look, times=2)

        assert ProviderDifference.objects.get().ours.endswith("marketplace_purchase_pkey")
        assert (Purchase.objects.count(), License.objects.count()) == (1, 1)
