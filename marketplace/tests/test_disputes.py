"""Disputes: whatever order the provider's events come in, purchase, license and books end in its truth."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from core import clock
from core.testing.tasks import run_all
from marketplace import payments as gateway
from marketplace.enums import CaseKind, CaseStatus, DisputeStatus, LedgerAccount, LicenseState, WebhookEventStatus
from marketplace.exceptions import EvidenceNotAwaited, OwnCase, PaymentMismatch
from marketplace.models import Case, Dispute, LedgerSet, Purchase, Refund, WebhookEvent
from marketplace.services import cases, disputes, refunds
from marketplace.tests.cases import ask, bought, deliver
from marketplace.tests.factories import DisputeFactory
from marketplace.tests.purchasing import send_event
from marketplace.tests.test_refunds import now_of, sums
from users.models import Notice
from users.tests.factories import UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def disputed(payments):
    """A payment that its bank disputes, and we know: (rider, purchase, intent)."""
    rider, purchase, intent_id = bought(payments)
    payments.choose(intent_id, "dispute")
    deliver(payments, intent_id, types="charge.dispute")
    return rider, purchase, intent_id


class TestFollowing:
    def test_the_license_stops_at_once_and_evidence_is_assembled(self, disputed):
        rider, purchase, _ = disputed
        now = now_of(purchase)

        assert (now.status, now.disputed_from, now.license.state, now.license.suspended_from) == (
            "DISPUTED",
            "PAID",
            "SUSPENDED",
            "UNBOUND",
        )
        dispute = Dispute.objects.get()
        assert (dispute.status, dispute.amount_minor) == (DisputeStatus.NEEDS_RESPONSE, 14900)
        assert dispute.evidence["attestation"]["sha256"] == purchase.attestation_sha256
        assert purchase.number in dispute.evidence_text
        refused = rider.post(f"marketplace/purchases/{purchase.pk}/downloads/", {"vehicle": str(purchase.vehicle_id)})
        assert refused.json()["code"] == "license_suspended"
        assert sums(purchase)[LedgerAccount.DISPUTES] == -14900

    def test_won_restores_everything(self, disputed, payments):
        _, purchase, intent_id = disputed
        payments.choose(intent_id, "dispute_won")
        deliver(payments, intent_id, types="charge.dispute", times=2)

        now = now_of(purchase)
        assert (now.status, now.disputed_from, now.license.state) == ("PAID", "", LicenseState.UNBOUND)
        assert LedgerAccount.DISPUTES not in sums(purchase)
        assert Dispute.objects.get().status == DisputeStatus.WON

    def test_lost_revokes_and_the_tune_can_be_bought_again(self, disputed, payments):
        rider, purchase, intent_id = disputed
        payments.choose(intent_id, "dispute_lost")
        deliver(payments, intent_id, types="charge.dispute", times=2)

        now = now_of(purchase)
        assert (now.status, now.license.state) == ("CHARGED_BACK", LicenseState.REVOKED)
        assert sums(purchase).get(LedgerAccount.TUNER, 0) == 0
        assert ask(rider, purchase).json()["code"] == "purchase_charged_back"

    @pytest.mark.parametrize("outcome", ["dispute_won", "dispute_lost"])
    def test_everyone_concerned_is_told_once(self, payments, outcome):
        admin = UserFactory(admin=True)
        rider, purchase, intent_id = bought(payments)
        payments.choose(intent_id, "dispute")
        deliver(payments, intent_id, types="charge.dispute", times=2)
        payments.choose(intent_id, outcome)
        deliver(payments, intent_id, types="charge.dispute", times=2)

        told = [(notice.user_id, notice.title) for notice in Notice.objects.filter(type="DISPUTE")]
        for user_id in (rider.user.pk, purchase.tuner.user_id, admin.pk):
            assert len([1 for each, _ in told if each == user_id]) == 2, "when it opened, when it ended"

    @pytest.mark.parametrize("seen_first", [True, False])
    @pytest.mark.parametrize("outcome", ["dispute_won", "dispute_lost"])
    def test_events_in_any_order_end_alike(self, payments, outcome, seen_first):
        """Also when nothing was heard until all was over."""
        _, purchase, intent_id = bought(payments)
        payments.choose(intent_id, "dispute")
        if seen_first:
            deliver(payments, intent_id, types="charge.dispute.funds_withdrawn")
        payments.choose(intent_id, outcome)
        deliver(payments, intent_id, types="charge.dispute", order=-1)

        assert now_of(purchase).status == {"dispute_won": "PAID", "dispute_lost": "CHARGED_BACK"}[outcome]
        assert {row.cause for row in LedgerSet.objects.filter(purchase=purchase)} == {
            "SALE", "DISPUTE_OPENED", "DISPUTE_WON" if outcome == "dispute_won" else "DISPUTE_LOST",
        }  # fmt: skip

    def test_what_was_read_before_the_end_does_not_open_it_again(self, disputed, payments):
        _, purchase, intent_id = disputed
        early = gateway.get_dispute(Dispute.objects.get().provider_dispute_id)
        payments.choose(intent_id, "dispute_won")
        deliver(payments, intent_id, types="charge.dispute")

        disputes.apply_dispute(truth=early, at=clock.now())

        assert (now_of(purchase).status, Dispute.objects.get().status) == ("PAID", "WON")

    @pytest.mark.parametrize(
        ("statuses", "ended"),
        [(("needs_response", "lost", "won"), "LOST"), (("warning_needs_response", "warning_closed", "needs_response"), "CLOSED")],
    )
    def test_an_end_that_is_taken_back_is_for_a_person(self, payments, statuses, ended):
        _, purchase, intent_id = bought(payments)
        for status in statuses[:-1]:
            disputes.apply_dispute(truth=dispute_of(purchase, intent_id, status=status), at=clock.now())
        before = now_of(purchase).status

        with pytest.raises(PaymentMismatch):
            disputes.apply_dispute(truth=dispute_of(purchase, intent_id, status=statuses[-1]), at=clock.now())

        assert (Dispute.objects.get().status, now_of(purchase).status) == (ended, before)

    def test_the_reconciler_finds_what_no_event_told(self, disputed, payments):
        _, purchase, intent_id = disputed
        payments.choose(intent_id, "dispute_lost")

        disputes.reconcile_disputes(at=clock.now())

        assert now_of(purchase).status == "CHARGED_BACK"

    def test_a_restored_database_learns_of_it(self, payments):
        _, purchase, intent_id = bought(payments)
        payments.choose(intent_id, "dispute")

        written = disputes.rebuild_disputes(since=clock.now() - timedelta(hours=1), at=clock.now())

        assert written >= 1
        assert now_of(purchase).status == "DISPUTED"

    def test_a_dispute_heard_of_before_the_payment(self, payments):
        """The payment's event was lost: the purchase is settled first."""
        _, later, later_intent = bought_unheard(payments)
        payments.choose(later_intent, "dispute")

        deliver(payments, later_intent, types="charge.dispute.created")

        assert now_of(later).status == "DISPUTED"

    def test_a_refunded_payment_can_be_disputed_and_returns_to_refunded_or_is_lost(self, payments):
        for outcome, status in (("dispute_won", "REFUNDED"), ("dispute_lost", "CHARGED_BACK")):
            rider, purchase, intent_id = bought(payments)
            ask(rider, purchase)
            run_all()
            truth = dispute_of(purchase, intent_id, status="needs_response")
            disputes.apply_dispute(truth=truth, at=clock.now())
            between = now_of(purchase)
            disputes.apply_dispute(truth=dispute_of(purchase, intent_id, status=outcome[8:]), at=clock.now())

            assert (between.status, between.disputed_from, between.license.state) == ("DISPUTED", "REFUNDED", "REVOKED")
            assert (now_of(purchase).status, now_of(purchase).license.state) == (status, "REVOKED")
            assert sum(sums(purchase).values()) == 0

    def test_an_inquiry_moves_nothing_until_it_becomes_a_dispute(self, payments):
        _, purchase, intent_id = bought(payments)
        admin = UserFactory(admin=True)
        disputes.apply_dispute(truth=dispute_of(purchase, intent_id, status="warning_needs_response"), at=clock.now())
        asked = now_of(purchase)
        disputes.apply_dispute(truth=dispute_of(purchase, intent_id, status="needs_response"), at=clock.now())

        assert (asked.status, asked.license.state) == ("PAID", "UNBOUND")
        assert now_of(purchase).status == "DISPUTED"
        assert Notice.objects.filter(user=admin, type="DISPUTE").count() == 2

    def test_an_inquiry_that_is_closed_leaves_no_trace_in_the_books(self, payments):
        _, purchase, intent_id = bought(payments)
        for status in ("warning_needs_response", "warning_closed"):
            disputes.apply_dispute(truth=dispute_of(purchase, intent_id, status=status), at=clock.now())

        assert (now_of(purchase).status, Dispute.objects.get().status) == ("PAID", "CLOSED")
        assert LedgerSet.objects.filter(purchase=purchase).count() == 1


def bought_unheard(payments):
    """Paid at the provider, and nobody told us."""
    from marketplace.tests.factories import TuneFactory
    from marketplace.tests.purchasing import buy, intent_of, rider_with_bike

    client, bike = rider_with_bike()
    body = buy(client, TuneFactory(published=True), bike).json()
    payments.choose(intent_of(body), "succeed")
    return client, Purchase.objects.get(pk=body["id"]), intent_of(body)


def dispute_of(purchase, intent_id, /, **values) -> gateway.Dispute:
    """What the provider would say of a dispute of this payment."""
    return gateway.Dispute(
        **{
            "id": f"du_{purchase.pk.hex}", "intent_id": intent_id, "charge_id": "ch_1", "status": "needs_response", "reason": "fraudulent",
            "amount_minor": purchase.amount_minor, "currency": purchase.currency, "livemode": False, "created_at": clock.now(),
            "evidence_due_at": clock.now() + timedelta(days=7), "submissions": 0, "withdrawn_minor": purchase.amount_minor, "fee_minor": 0,
            **values,
        }
    )  # fmt: skip


class TestForgery:
    @pytest.mark.parametrize("wrong", [{"currency": "USD"}, {"livemode": True}, {"intent_id": "pi_of_nobody"}, {"intent_id": ""}])
    def test_what_does_not_match_changes_nothing(self, payments, wrong):
        _, purchase, intent_id = bought(payments)

        with pytest.raises(PaymentMismatch):
            disputes.apply_dispute(truth=dispute_of(purchase, intent_id, **wrong), at=clock.now())

        assert now_of(purchase).status == "PAID"
        assert not Dispute.objects.exists()

    def test_an_event_of_a_dispute_that_the_provider_does_not_know_is_parked(self, payments):
        _, purchase, intent_id = bought(payments)
        subject = {"id": "du_made_up", "object": "dispute", "payment_intent": intent_id, "amount": 1}
        event = {"id": "evt_forged", "type": "charge.dispute.closed", "livemode": False, "created": 1, "data": {"object": subject}}
        send_event(event)
        run_all()

        assert WebhookEvent.objects.get(event_id="evt_forged").status == WebhookEventStatus.PARKED
        assert now_of(purchase).status == "PAID"


class TestRefundAndDispute:
    def test_no_refund_while_disputed(self, disputed):
        rider, purchase, _ = disputed

        answer = ask(rider, purchase)

        assert (answer.status_code, answer.json()["code"]) == (409, "purchase_disputed")

    def test_an_undecided_wish_waits_for_the_bank(self, payments):
        rider, purchase, intent_id = bought(payments)
        from marketplace.models import GrantedPurchase

        GrantedPurchase.objects.create(purchase=purchase, granted_at=clock.now())
        case = Case.objects.get(pk=ask(rider, purchase).json()["case"])
        payments.choose(intent_id, "dispute")
        deliver(payments, intent_id, types="charge.dispute")
        admin = UserFactory(admin=True)

        with pytest.raises(Exception) as refused:
            refunds.decide_refund(case_id=case.pk, actor=admin, resolution="FULL_REFUND", reason="Yes.", at=clock.now())
        assert refused.value.code == "purchase_disputed"
        assert Case.objects.get(pk=case.pk).status == CaseStatus.OPEN

    def test_what_was_owed_is_settled_by_a_lost_dispute(self, payments):
        """The refund came too late and failed; the bank then gave the buyer the money: nobody pays twice."""
        rider, purchase, intent_id = bought(payments)
        payments.choose(intent_id, "dispute")
        ask(rider, purchase)
        run_all()
        assert sums(purchase)[LedgerAccount.BUYER_OWED] == 14900
        payments.choose(intent_id, "dispute_lost")
        deliver(payments, intent_id)

        assert now_of(purchase).status == "CHARGED_BACK"
        assert LedgerAccount.BUYER_OWED not in sums(purchase)
        refund = Refund.objects.get()
        with pytest.raises(refunds.RefundNotOwed):
            refunds.note_repayment(refund_id=refund.pk, actor=UserFactory(admin=True), reason="Once more.", at=clock.now())


class TestEvidence:
    def test_the_pack_holds_what_was_agreed_delivered_used_and_said(self, payments):
        from marketplace.tests.factories.trust import ride_for

        ride = ride_for()
        ride.report(ride.ticket())
        cases.open_case(purchase_id=ride.purchase.pk, kind=CaseKind.OTHER, text="How do I flash it?", by=ride.buyer, at=clock.now())
        dispute = DisputeFactory(purchase=ride.purchase, status=DisputeStatus.INQUIRY, applied_at=None)

        disputes.assemble_evidence(dispute_id=dispute.pk, at=clock.now())
        dispute.refresh_from_db()
        pack = dispute.evidence

        assert pack["attestation"]["text_version"] in dispute.evidence_text
        assert pack["attestation"]["text"], "the text itself"
        assert next(row["kind"] for row in pack["downloads"]) == "GRANT"
        assert len(pack["downloads"][0]["file_sha256"]) == 64
        assert [row["outcome"] for row in pack["flashes"]] == ["SUCCEEDED"]
        assert len(pack["flash_tickets"]) == 1
        assert pack["messages"][0] | {"author": "RIDER", "text": "How do I flash it?"} == pack["messages"][0]
        for said in ("How do I flash it?", "SUCCEEDED", pack["downloads"][0]["file_sha256"]):
            assert said in dispute.evidence_text

    def test_staff_send_it_once_and_the_outcome_is_followed(self, disputed, payments):
        _, purchase, _intent_id = disputed
        admin, dispute = UserFactory(admin=True), Dispute.objects.get()

        disputes.submit_evidence(dispute_id=dispute.pk, actor=admin, reason="All is in order.", at=clock.now())
        run_all()

        dispute.refresh_from_db()
        assert dispute.submitted_by_id == admin.pk
        assert dispute.status == DisputeStatus.UNDER_REVIEW
        sent = payments.get(f"disputes/{dispute.provider_dispute_id}")["evidence"]
        assert purchase.number in sent["uncategorized_text"]
        assert sent["customer_email_address"] == purchase.buyer.email
        with pytest.raises(EvidenceNotAwaited):
            disputes.submit_evidence(dispute_id=dispute.pk, actor=admin, reason="Again.", at=clock.now())

    def test_nobody_sends_evidence_about_own_money_nor_without_being_staff(self, disputed):
        _, purchase, _ = disputed
        for actor, code in ((UserFactory(), "permission_denied"), (purchase.tuner.user, "permission_denied")):
            with pytest.raises(Exception) as refused:
                disputes.submit_evidence(dispute_id=Dispute.objects.get().pk, actor=actor, reason="Please.", at=clock.now())
            assert refused.value.code == code
        own = DisputeFactory(purchase__buyer=UserFactory(admin=True))
        with pytest.raises(OwnCase):
            disputes.submit_evidence(dispute_id=own.pk, actor=own.purchase.buyer, reason="Mine.", at=clock.now())

    def test_staff_are_reminded_once_before_it_is_due(self):
        admin = UserFactory(admin=True)
        dispute = DisputeFactory()
        before = dispute.evidence_due_at - timedelta(days=3)

        told = [disputes.chase_disputes(at=before + step) for step in (-timedelta(minutes=1), timedelta(0), timedelta(hours=1))]

        assert told == [0, 1, 0]
        assert Notice.objects.filter(user=admin, type="DISPUTE").count() == 1


class TestRows:
    @pytest.mark.parametrize(
        ("name", "change"),
        [
            ("dispute_ended_iff_final", {"status": "WON"}),
            ("dispute_applied_iff_money_moved", {"status": "INQUIRY"}),
            ("dispute_submitted_iff_by_somebody", {"submitted_at": clock.now()}),
            ("dispute_is_final", {"amount_minor": 1}),
        ],
    )
    def test_states_agree(self, name, change):
        dispute = DisputeFactory()
        with pytest.raises(IntegrityError, match=name), transaction.atomic():
            Dispute.objects.filter(pk=dispute.pk).update(**change)

    def test_one_is_open(self):
        dispute = DisputeFactory()
        with pytest.raises(IntegrityError, match="dispute_one_open"), transaction.atomic():
            DisputeFactory(purchase=dispute.purchase)
