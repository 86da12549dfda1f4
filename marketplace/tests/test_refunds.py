"""Money back: at once or by a decision, through the provider and its moods, and races for it on real connections."""

import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.db.models import Sum

from core import clock
from core.exceptions import ServiceUnavailable
from core.idempotency import Claim
from core.invariants import verify
from core.testing.http import client_for
from core.testing.tasks import run_all
from marketplace import payments as gateway
from marketplace.enums import CaseKind, CaseStatus, LedgerAccount, LicenseState, PurchaseStatus, RefundCause, RefundStatus
from marketplace.exceptions import PaymentMismatch
from marketplace.models import Case, GrantedPurchase, LedgerEntry, LedgerSet, Purchase, Refund
from marketplace.services import refunds
from marketplace.tests.cases import ask, bought, deliver
from marketplace.tests.factories import PurchaseFactory, RefundFactory, sold
from marketplace.tests.purchasing import buy
from users.models import Notice
from users.tests.factories import UserFactory

pytestmark = pytest.mark.django_db


def now_of(purchase) -> Purchase:
    return Purchase.objects.select_related("license").get(pk=purchase.pk)


def grant(purchase) -> None:
    GrantedPurchase.objects.create(purchase=purchase, granted_at=clock.now())


def sums(purchase) -> dict[str, int]:
    rows = LedgerEntry.objects.filter(purchase=purchase).values_list("account").annotate(Sum("amount_minor")).order_by()
    return {account: total for account, total in rows if total}


class TestAtOnce:
    def test_the_money_goes_back_and_the_license_ends(self, payments):
        rider, purchase, intent_id = bought(payments)

        answer = ask(rider, purchase, reason="Bought by mistake.")
        promised = now_of(purchase)
        run_all()

        assert answer.status_code == 201
        assert answer.json() | {"status": "PENDING", "amount_minor": 14900, "currency": "EUR", "case": None} == answer.json()
        assert (promised.status, promised.refunded_minor, promised.license.state) == ("REFUNDED", 14900, LicenseState.REVOKED)
        refund = Refund.objects.get()
        assert (refund.status, refund.cause) == (RefundStatus.SUCCEEDED, RefundCause.REQUEST)
        assert [row["amount"] for row in payments.get(f"refunds?payment_intent={intent_id}")["data"]] == [14900]
        assert sums(purchase) == {}, "everything is undone"
        shown = rider.get(f"marketplace/purchases/{purchase.pk}/").json()
        assert (shown["status"], shown["refunded_minor"], shown["refundable_until"]) == ("REFUNDED", 14900, None)
        assert shown["license"]["state"] == "REVOKED"
        listed = rider.get(f"marketplace/purchases/{purchase.pk}/refunds/").json()["results"]
        assert [(row["status"], row["amount_minor"]) for row in listed] == [("SUCCEEDED", 14900)]

    def test_buyer_and_tuner_are_told_once(self, payments):
        rider, purchase, intent_id = bought(payments)
        ask(rider, purchase)
        run_all()
        deliver(payments, intent_id, times=2)

        assert Notice.objects.filter(user=rider.user, type="REFUND").count() == 1
        assert Notice.objects.filter(user=purchase.tuner.user, title__startswith="Refunded").count() == 1

    def test_the_tune_can_be_bought_again(self, payments):
        rider, purchase, _ = bought(payments)
        vehicle = rider.user.vehicles.get()
        assert buy(rider, purchase.tune, vehicle).json()["code"] == "already_owned"

        ask(rider, purchase)

        assert buy(rider, purchase.tune, vehicle).status_code == 201

    def test_one_key_is_one_refund_and_is_answered_as_it_is_now(self, payments):
        rider, purchase, _ = bought(payments)
        first = ask(rider, purchase, key="refund-1")
        run_all()
        again = ask(rider, purchase, key="refund-1")

        assert (first.status_code, again.status_code, again["Idempotency-Replayed"]) == (201, 201, "true")
        assert (first.json()["status"], again.json()["status"]) == ("PENDING", "SUCCEEDED")
        assert first.json()["id"] == again.json()["id"]

    def test_another_key_finds_the_open_one_and_then_that_it_is_done(self, payments):
        rider, purchase, _ = bought(payments)
        first = ask(rider, purchase)
        second = ask(rider, purchase)
        Refund.objects.update(status=RefundStatus.PENDING)
        run_all()
        third = ask(rider, purchase)

        assert (first.status_code, second.status_code) == (201, 409)
        assert (third.status_code, third.json()["code"], third.json()["refund"]) == (409, "already_refunded", first.json()["id"])

    def test_a_key_is_required(self, payments):
        rider, purchase = client_for(UserFactory()), None
        purchase = sold(buyer=rider.user)

        answer = rider.post(f"marketplace/purchases/{purchase.pk}/refunds/", {})

        assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_required")

    @pytest.mark.parametrize(
        ("state", "code"),
        [
            ({}, "purchase_not_paid"),
            ({"canceled": True}, "purchase_not_paid"),
            ({"free": True}, "nothing_to_refund"),
            ({"refunded": True}, "already_refunded"),
            ({"disputed": True}, "purchase_disputed"),
            ({"charged_back": True}, "purchase_charged_back"),
        ],
    )
    def test_a_purchase_that_gives_nothing_back_says_why(self, state, code):
        rider = client_for(UserFactory())
        purchase = PurchaseFactory(buyer=rider.user, **state)

        answer = ask(rider, purchase)

        assert (answer.status_code, answer.json()["code"]) == (409, code)
        assert not Refund.objects.exists()

    def test_somebody_elses_purchase_is_a_missing_one(self):
        rider, foreign = client_for(UserFactory()), sold()

        answers = [ask(rider, foreign), ask(rider, Purchase(pk=uuid.uuid4()))]

        assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(404, "not_found")] * 2

    @pytest.mark.parametrize(("after", "at_once"), [(timedelta(days=14), True), (timedelta(days=14, microseconds=1), False)])
    def test_the_fourteenth_day_is_the_last(self, after, at_once):
        rider = UserFactory()
        purchase = sold(buyer=rider)

        refund = refunds.request_refund(buyer=rider, purchase_id=purchase.pk, reason="", claim=Claim(), at=purchase.paid_at + after)

        assert (refund.reserved_at is not None, refund.case is None) == (at_once, at_once)


class TestDecided:
    @pytest.fixture
    def asked(self, payments):
        """A refund that was asked for after a download: (rider, purchase, its case)."""
        rider, purchase, _ = bought(payments)
        grant(purchase)
        answer = ask(rider, purchase, reason="It never ran well.")
        assert answer.status_code == 201
        return rider, purchase, Case.objects.get(pk=answer.json()["case"])

    def decide(self, case, resolution, **how):
        return refunds.decide_refund(
            case_id=case.pk,
            actor=how.pop("actor", None) or UserFactory(admin=True),
            resolution=resolution,
            reason="Both sides were heard.",
            at=clock.now(),
            **how,
        )

    def test_after_a_download_it_becomes_a_case(self, asked):
        rider, purchase, case = asked

        assert (case.kind, case.status) == (CaseKind.REFUND, CaseStatus.OPEN)
        assert [message.text for message in case.messages.all()] == ["It never ran well."]
        assert now_of(purchase).status == PurchaseStatus.PAID
        assert ask(rider, purchase).status_code == 200, "the open one is answered"
        assert Refund.objects.count() == 1

    def test_everything(self, asked, payments):
        _, purchase, case = asked
        self.decide(case, "FULL_REFUND")
        run_all()

        assert (now_of(purchase).status, now_of(purchase).license.state) == ("REFUNDED", "REVOKED")
        assert (Refund.objects.get().status, Refund.objects.get().amount_minor) == ("SUCCEEDED", 14900)
        assert (Case.objects.get().status, Case.objects.get().resolution) == ("RESOLVED", "FULL_REFUND")

    def test_a_part_keeps_the_license_and_the_rest_can_be_given_back_later(self, asked, payments):
        rider, purchase, case = asked
        self.decide(case, "PARTIAL_REFUND", amount_minor=4900)
        run_all()
        kept = now_of(purchase)

        assert (kept.status, kept.refunded_minor, kept.license.state) == ("PAID", 4900, "UNBOUND")
        assert sum(sums(purchase).values()) == 0 and sums(purchase)[LedgerAccount.BUYER_CLEARING] == -10000

        second = ask(rider, purchase)
        assert second.json()["amount_minor"] == 10000
        self.decide(Case.objects.get(pk=second.json()["case"]), "FULL_REFUND")
        run_all()
        assert (now_of(purchase).status, now_of(purchase).refunded_minor) == ("REFUNDED", 14900)

    def test_nothing(self, asked):
        rider, purchase, case = asked
        self.decide(case, "NO_REFUND")
        run_all()

        assert now_of(purchase).status == PurchaseStatus.PAID
        row = rider.get(f"marketplace/purchases/{purchase.pk}/refunds/").json()["results"][0]
        assert (row["status"], row["failure_code"], row["promised_at"]) == ("FAILED", "declined", None)
        told = Notice.objects.filter(type="CASE", title__endswith="resolved")
        assert {notice.user_id for notice in told} == {rider.user.pk, purchase.tuner.user_id}
        assert "Both sides were heard." in told[0].body

    @pytest.mark.parametrize("amount", [0, -1, None, 14900, 14901, 2**31])
    def test_a_part_is_a_part(self, asked, amount):
        _, purchase, case = asked
        with pytest.raises(Exception) as refused:
            self.decide(case, "PARTIAL_REFUND", amount_minor=amount)

        assert refused.value.code in {"invalid_input", "refund_too_large"}
        assert now_of(purchase).refunded_minor == 0
        assert Case.objects.get(pk=case.pk).status == CaseStatus.OPEN

    def test_nobody_decides_about_own_money_nor_twice_nor_without_being_staff(self, asked):
        _, purchase, case = asked
        tuner = purchase.tuner.user
        for actor in (tuner, UserFactory()):
            with pytest.raises(Exception) as refused:
                self.decide(case, "FULL_REFUND", actor=actor)
            assert refused.value.code == "permission_denied"
        own = RefundFactory(purchase=sold(buyer=UserFactory(admin=True)))
        with pytest.raises(Exception) as refused:
            self.decide(own.case, "FULL_REFUND", actor=own.purchase.buyer)
        assert refused.value.code == "permission_denied"

        self.decide(case, "NO_REFUND")
        with pytest.raises(Exception) as refused:
            self.decide(case, "FULL_REFUND")
        assert refused.value.code == "case_resolved"
        assert now_of(purchase).refunded_minor == 0


class TestProvider:
    def test_while_it_is_down_the_promise_stands_and_the_reconciler_keeps_it(self, payments):
        rider, purchase, _ = bought(payments)
        payments.switch("faults", mode="down")

        answer = ask(rider, purchase)
        waiting = Refund.objects.get()
        with pytest.raises(ServiceUnavailable):
            refunds.send_refund(refund_id=waiting.pk, at=clock.now())
        payments.behave()
        refunds.reconcile_refunds(at=clock.now())

        assert (answer.status_code, waiting.status) == (201, "PENDING")
        assert now_of(purchase).license.state == LicenseState.REVOKED
        assert Refund.objects.get().status == RefundStatus.SUCCEEDED

    def test_an_answer_that_was_lost_after_acting_gives_back_once(self, payments):
        rider, purchase, intent_id = bought(payments)
        payments.switch("faults", mode="cut_after", times=4, path="/v1/refunds")
        ask(rider, purchase)
        with pytest.raises(ServiceUnavailable):
            refunds.send_refund(refund_id=Refund.objects.get().pk, at=clock.now())
        payments.behave()
        refunds.reconcile_refunds(at=clock.now())

        assert Refund.objects.get().status == RefundStatus.SUCCEEDED
        assert len(payments.get(f"refunds?payment_intent={intent_id}")["data"]) == 1

    def test_a_key_that_is_forgotten_does_not_give_back_twice(self, payments):
        """The answer was lost, and the next call comes after a day: the provider's list knows."""
        rider, purchase, intent_id = bought(payments)
        refund_id = ask(rider, purchase).json()["id"]
        refund = Refund.objects.get(pk=refund_id)
        refunds._ask(refund)
        Refund.objects.filter(pk=refund_id).update(asked_provider_at=clock.now() - timedelta(days=2))

        refunds.send_refund(refund_id=refund.pk, at=clock.now())

        assert Refund.objects.get().status == RefundStatus.SUCCEEDED
        assert len(payments.get(f"refunds?payment_intent={intent_id}")["data"]) == 1

    def test_events_alone_finish_it_in_any_order_and_twice(self, payments):
        rider, purchase, intent_id = bought(payments)
        refund = Refund.objects.get(pk=ask(rider, purchase).json()["id"])
        refunds._ask(refund)  # killed before the answer was applied
        assert deliver(payments, intent_id, order=-1, times=2) >= 3
        deliver(payments, intent_id)

        assert Refund.objects.get().status == RefundStatus.SUCCEEDED
        assert LedgerSet.objects.filter(purchase=purchase).count() == 2

    def test_a_restored_promise_is_looked_for_before_it_is_asked_for_again(self, payments, monkeypatch):
        """The backup has the promise of a part, and not that the provider was asked: after a day its key is forgotten there."""
        rider, purchase, intent_id = bought(payments)
        grant(purchase)
        wish = Refund.objects.get(pk=ask(rider, purchase).json()["id"])
        decision = {"resolution": "PARTIAL_REFUND", "reason": "Half.", "amount_minor": 4900}
        refunds.decide_refund(case_id=wish.case_id, actor=UserFactory(admin=True), at=clock.now(), **decision)
        moment = transaction.savepoint()
        refunds.send_refund(refund_id=wish.pk, at=clock.now())
        transaction.savepoint_rollback(moment)
        monkeypatch.setattr(gateway, "create_refund", lambda **_: pytest.fail("asked again under a key that is forgotten"))

        done = refunds.send_refund(refund_id=wish.pk, at=clock.now() + timedelta(days=2))

        assert done.status == RefundStatus.SUCCEEDED
        assert [row["amount"] for row in payments.get(f"refunds?payment_intent={intent_id}")["data"]] == [4900]

    def test_one_that_was_made_at_the_provider_is_followed(self, payments):
        from marketplace.payments import create_refund

        _rider, purchase, intent_id = bought(payments)
        create_refund(key=f"by-hand-1-{intent_id}", intent_id=intent_id, amount_minor=4900, metadata={})
        deliver(payments, intent_id, types="charge.refunded")
        part = now_of(purchase)
        create_refund(key=f"by-hand-2-{intent_id}", intent_id=intent_id, amount_minor=10000, metadata={})
        deliver(payments, intent_id)

        assert (part.status, part.refunded_minor, part.license.state) == ("PAID", 4900, "UNBOUND")
        assert (now_of(purchase).status, now_of(purchase).license.state) == ("REFUNDED", "REVOKED")
        assert [refund.cause for refund in Refund.objects.all()] == [RefundCause.PROVIDER] * 2
        assert sums(purchase) == {}

    def test_staff_who_give_back_at_the_provider_what_is_asked_for_here_give_it_once(self, payments):
        from marketplace.payments import create_refund

        rider, purchase, intent_id = bought(payments)
        grant(purchase)
        ask(rider, purchase)
        create_refund(key=f"by-hand-{intent_id}", intent_id=intent_id, amount_minor=14900, metadata={})
        deliver(payments, intent_id)

        refund = Refund.objects.get()
        assert (refund.status, refund.cause, now_of(purchase).status) == ("SUCCEEDED", "CASE", "REFUNDED")
        assert Case.objects.get().resolution == "FULL_REFUND"

    def test_what_was_given_back_there_before_we_asked_is_not_owed(self, payments):
        """Its event is still on the way when our own call is refused."""
        from marketplace.payments import create_refund

        rider, purchase, intent_id = bought(payments)
        create_refund(key=f"by-hand-{intent_id}", intent_id=intent_id, amount_minor=14900, metadata={})
        ask(rider, purchase)
        run_all()

        refund = Refund.objects.get()
        assert (refund.status, refund.cause, refund.is_owed) == ("SUCCEEDED", "REQUEST", False)
        assert not Case.objects.exists()
        deliver(payments, intent_id)
        assert Refund.objects.count() == 1

    def test_everything_agrees_afterwards(self, payments):
        """The whole of verify_invariants, after a part and the rest, one of which came back."""
        rider, purchase, _ = bought(payments)
        grant(purchase)
        admin = UserFactory(admin=True)
        for resolution, amount in (("PARTIAL_REFUND", 4900), ("FULL_REFUND", None)):
            wish = Refund.objects.get(pk=ask(rider, purchase).json()["id"])
            refunds.decide_refund(
                case_id=wish.case_id, actor=admin, resolution=resolution, reason="Yes.", amount_minor=amount, at=clock.now()
            )
            run_all()
        given = Refund.objects.order_by("pk").first()
        truth = replace(gateway.get_refund(given.provider_refund_id), status="failed", failure_reason="lost_or_stolen_card")
        refunds.apply_refund(truth=truth, at=clock.now())

        assert (now_of(purchase).status, Refund.objects.owed().count()) == ("REFUNDED", 1)
        money = ("books", "booked", "payment", "refund", "dispute", "ledger")
        assert {name: found for name, found in verify() if found and any(word in name for word in money)} == {}

    def test_a_refused_one_is_owed(self, payments):
        """The payer's bank disputed the payment before the refund came through: the provider gives nothing back."""
        rider, purchase, intent_id = bought(payments)
        payments.choose(intent_id, "dispute")
        ask(rider, purchase)
        run_all()

        refund = Refund.objects.get()
        assert (refund.status, refund.failure_code, refund.is_owed) == ("FAILED", "charge_disputed", True)
        assert (now_of(purchase).status, now_of(purchase).license.state) == ("REFUNDED", "REVOKED")
        assert sums(purchase)[LedgerAccount.BUYER_OWED] == 14900
        case = Case.objects.get()
        assert (case.kind, case.status) == (CaseKind.REFUND, CaseStatus.WAITING_STAFF)
        for person in (rider.user, purchase.tuner.user):
            told = Notice.objects.get(user=person, title__endswith="came back")  # once, and all of it
            assert (told.type, told.severity, told.link_id) == ("CASE", "warning", case.pk)
            assert "149.00 EUR did not arrive (charge_disputed). RevSync owes it to the rider" in told.body
        assert not Notice.objects.filter(title__startswith="A case about").exists()

    def test_what_is_owed_is_paid_another_way_once(self, payments):
        rider, purchase, intent_id = bought(payments)
        payments.choose(intent_id, "dispute")
        ask(rider, purchase)
        run_all()
        refund, admin = Refund.objects.get(), UserFactory(admin=True)

        refunds.note_repayment(refund_id=refund.pk, actor=admin, reason="Bank transfer of today.", at=clock.now())
        with pytest.raises(refunds.RefundNotOwed):
            refunds.note_repayment(refund_id=refund.pk, actor=admin, reason="Again.", at=clock.now())

        assert sums(purchase) == {}
        assert Notice.objects.filter(user=rider.user, title__endswith="paid").count() == 1

    def test_a_restored_database_is_filled_again(self, payments):
        rider, purchase, _intent_id = bought(payments)
        with transaction.atomic():
            sid = transaction.savepoint()
            ask(rider, purchase)
            refunds.send_refund(refund_id=Refund.objects.get().pk, at=clock.now())
            lost = Refund.objects.get()
            transaction.savepoint_rollback(sid)
        assert not Refund.objects.exists()

        written = refunds.rebuild_refunds(since=clock.now() - timedelta(hours=1), at=clock.now())
        again = refunds.rebuild_refunds(since=clock.now() - timedelta(hours=1), at=clock.now())

        found = Refund.objects.get(purchase=purchase)
        assert (found.pk, found.status, found.provider_refund_id) == (lost.pk, "SUCCEEDED", lost.provider_refund_id)
        assert (written >= 1, again) == (True, 0)
        assert now_of(purchase).status == PurchaseStatus.REFUNDED


class TestForgery:
    """What the provider says is believed of what was agreed only: anything else is an alarm and changes nothing."""

    @pytest.mark.parametrize(
        "wrong",
        [
            {"amount_minor": 14901},
            {"amount_minor": 2**31},
            {"currency": "USD"},
            {"intent_id": "pi_of_nobody"},
            {"intent_id": ""},
            {"metadata": {"refund": "of another purchase"}},
        ],
    )
    def test_what_does_not_match_changes_nothing(self, payments, wrong):
        _, purchase, intent_id = bought(payments)
        if "metadata" in wrong:
            wrong = {"metadata": {"refund": str(RefundFactory(succeeded=True).pk)}}
        before = Refund.objects.count()

        with pytest.raises(PaymentMismatch):
            refunds.apply_refund(truth=replace(self.truth(purchase, intent_id), **wrong), at=clock.now())

        assert (now_of(purchase).status, now_of(purchase).refunded_minor, Refund.objects.count()) == ("PAID", 0, before)

    def test_another_amount_than_was_promised(self, payments):
        rider, purchase, intent_id = bought(payments)
        refund_id = ask(rider, purchase).json()["id"]
        truth = replace(self.truth(purchase, intent_id), amount_minor=1, metadata={"refund": refund_id})

        with pytest.raises(PaymentMismatch):
            refunds.apply_refund(truth=truth, at=clock.now())

        assert Refund.objects.get().status == RefundStatus.PENDING

    @staticmethod
    def truth(purchase, intent_id):
        return gateway.Refund(
            id=f"re_{purchase.pk.hex}", intent_id=intent_id, charge_id="ch_1", status="succeeded", amount_minor=100,
            currency=purchase.currency, created_at=clock.now(),
        )  # fmt: skip


class TestRows:
    def test_refunds_never_exceed_what_was_captured(self):
        purchase = sold()
        with pytest.raises(IntegrityError, match="purchase_refunded_within_captured"), transaction.atomic():
            Purchase.objects.filter(pk=purchase.pk).update(refunded_minor=purchase.captured_minor + 1, status="CHARGED_BACK")

    def test_all_the_money_back_is_refunded(self):
        purchase = sold()
        with pytest.raises(IntegrityError, match="purchase_all_refunded_means_status"), transaction.atomic():
            Purchase.objects.filter(pk=purchase.pk).update(refunded_minor=purchase.captured_minor)

    def test_one_refund_is_open(self):
        wish = RefundFactory()
        with pytest.raises(IntegrityError, match="refund_one_open"), transaction.atomic():
            RefundFactory(purchase=wish.purchase, case=wish.case)

    def test_a_promise_is_final(self):
        refund = RefundFactory(succeeded=True)
        for change in ({"amount_minor": 1}, {"status": "PENDING", "ended_at": None}, {"provider_refund_id": "re_other"}):
            with pytest.raises(IntegrityError, match="refund_promise_is_final"), transaction.atomic():
                Refund.objects.filter(pk=refund.pk).update(**change)
        with pytest.raises(IntegrityError, match="refund_is_never_deleted"), transaction.atomic():
            refund.delete()

    @pytest.mark.parametrize(
        ("name", "change"),
        [
            ("refund_ended_iff_not_pending", {"ended_at": clock.now()}),
            ("refund_failed_iff_code", {"failure_code": "declined"}),
            ("refund_given_back_was_reserved", {"provider_refund_id": "re_1"}),
            ("refund_undecided_has_case", {"case": None}),
            ("refund_moves_something", {"amount_minor": 0}),
        ],
    )
    def test_states_agree(self, name, change):
        refund = RefundFactory()
        with pytest.raises(IntegrityError, match=name), transaction.atomic():
            Refund.objects.filter(pk=refund.pk).update(**change)
