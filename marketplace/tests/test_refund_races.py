"""Refunds, disputes and cases against each other, on real connections, each with a control that shows the race.

Where the lock is cut out of a control, a constraint is the last guard: it refuses what would otherwise be given twice.
"""

import pytest
from django.db import IntegrityError

from core import clock
from core.idempotency import Claim
from core.invariants import rows
from core.testing.http import client_for
from core.testing.races import in_between, race, race_all
from marketplace.enums import CaseKind, LicenseState
from marketplace.invariants import INVARIANTS
from marketplace.models import Case, Dispute, Download, GrantedPurchase, LedgerSet, License, Purchase, Refund
from marketplace.payments import Refund as ProviderRefund
from marketplace.services import cases, disputes, refunds, status
from marketplace.services.books import book_sale
from marketplace.tests.cases import ask
from marketplace.tests.factories import RefundFactory, ride_for, sold
from marketplace.tests.test_disputes import dispute_of
from marketplace.tests.test_leaving_races import while_deleting
from users.models import Notice
from users.tests.factories import UserDeviceFactory, UserFactory

pytestmark = pytest.mark.django_db(transaction=True)

READ_PURCHASE = 'INNER JOIN "tuners_tunerprofile"'
READ_GRANTED = '"marketplace_grantedpurchase"'


def asking(purchase):
    return lambda: refunds.request_refund(buyer=purchase.buyer, purchase_id=purchase.pk, reason="", claim=Claim(), at=clock.now())


def disputing(purchase, **values):
    truth = dispute_of(purchase, purchase.attempts.get().intent_id, **values)
    return lambda: disputes.apply_dispute(truth=truth, at=clock.now())


def made_at_provider(purchase, **values) -> ProviderRefund:
    facts = {"id": f"re_{purchase.pk.hex}", "charge_id": "ch_1", "status": "succeeded", "created_at": clock.now()}
    return ProviderRefund(
        **{**facts, "intent_id": purchase.attempts.get().intent_id, "amount_minor": 4900, "currency": purchase.currency, **values}
    )


def assert_sound():
    """What verify_invariants proves of refunds, disputes, licenses and books."""
    for name in (
        "the books sum to zero",
        "paid means licensed, refunded means not",
        "refunds are what was promised, booked and given",
        "disputes, purchases and books agree",
    ):
        assert list(rows(INVARIANTS[name])()) == [], name


class TestManyRequests:
    def test_twenty_at_once_are_one_refund(self):
        purchase = sold()

        outcomes = race(asking(purchase), times=20)

        assert outcomes == ["already_refunded"] * 19 + ["ok"]
        assert Refund.objects.count() == LedgerSet.objects.filter(cause="REFUND").count() == 1
        assert Notice.objects.filter(type="REFUND").count() == 1
        assert_sound()

    def test_control_without_the_lock_the_index_is_the_last_guard(self):
        purchase = sold()

        with pytest.raises(IntegrityError, match="refund_one_open"):
            race(asking(purchase), row_locks=False, meet_after=READ_GRANTED)

        assert Refund.objects.count() == 1

    def test_ten_over_http_with_ten_keys_are_one_refund(self):
        purchase = sold()
        session, answers = UserDeviceFactory(user=purchase.buyer), []

        race(lambda: answers.append(ask(client_for(purchase.buyer, device=session), purchase).status_code), times=10)

        assert sorted(answers) == [201] + [409] * 9
        assert Refund.objects.count() == 1

    def test_ten_over_http_with_one_key_are_one_refund(self):
        purchase = sold()
        session, answers = UserDeviceFactory(user=purchase.buyer), []

        def tap():
            answer = ask(client_for(purchase.buyer, device=session), purchase, key="one")
            answers.append((answer.status_code, answer.json().get("code")))

        race(tap, times=10)

        assert set(answers) <= {(201, None), (409, "idempotency_in_progress")}
        assert (201, None) in answers
        assert Refund.objects.count() == 1

    def test_ten_wishes_at_once_are_one_wish_in_one_case(self):
        purchase = sold()
        GrantedPurchase.objects.create(purchase=purchase, granted_at=clock.now())

        assert race(asking(purchase), times=10) == ["ok"] * 10

        assert Refund.objects.count() == Case.objects.count() == 1


class TestAgainstDownload:
    def ride(self):
        ride = ride_for()
        book_sale(purchase=ride.purchase, at=ride.at)
        status.publish_status(at=ride.at)
        return ride

    @staticmethod
    def standing(ride) -> tuple[bool, bool]:
        granted = Download.objects.filter(purchase=ride.purchase, outcome="GRANTED").exists()
        return granted, Purchase.objects.get(pk=ride.purchase.pk).status == "REFUNDED"

    def test_one_of_them_wins(self):
        for _ in range(3):
            ride = self.ride()

            race_all([asking(ride.purchase), ride.grant])

            granted, refunded = self.standing(ride)
            assert granted != refunded
            assert License.objects.get(purchase=ride.purchase).state == (LicenseState.REVOKED if refunded else LicenseState.RESERVED)
        assert_sound()

    def test_control_without_the_lock_both_win(self):
        ride = self.ride()

        assert in_between(asking(ride.purchase), ride.grant, after=READ_GRANTED, row_locks=False) == "ok"

        assert self.standing(ride) == (True, True)


class TestAgainstDispute:
    def test_one_comes_after_the_other(self):
        ends = set()
        for _ in range(4):
            purchase = sold()

            race_all([asking(purchase), disputing(purchase)])

            purchase.refresh_from_db()
            license = License.objects.get(purchase=purchase)
            ends.add((purchase.status, purchase.disputed_from, license.state, Refund.objects.filter(purchase=purchase).count()))
        assert ends <= {("DISPUTED", "REFUNDED", "REVOKED", 1), ("DISPUTED", "PAID", "SUSPENDED", 0)}
        assert_sound()

    def test_control_without_the_lock_the_check_is_the_last_guard(self):
        purchase = sold()

        with pytest.raises(IntegrityError, match="purchase_all_refunded_means_status"):
            in_between(disputing(purchase), asking(purchase), after=READ_PURCHASE, row_locks=False)

        assert not Dispute.objects.exists()

    @pytest.mark.parametrize("outcome", ["won", "lost"])
    def test_the_end_of_a_dispute_and_a_wish(self, outcome):
        purchase = sold()
        disputing(purchase)()

        race_all([disputing(purchase, status=outcome), disputing(purchase, status=outcome), asking(purchase)])

        assert LedgerSet.objects.filter(cause=f"DISPUTE_{outcome.upper()}").count() == 1
        assert_sound()


class TestTwoTellings:
    def test_five_webhooks_of_one_refund_are_one(self):
        purchase = sold()
        truth = made_at_provider(purchase)

        assert race(lambda: refunds.apply_refund(truth=truth, at=clock.now()), times=5) == ["ok"] * 5

        assert Refund.objects.count() == LedgerSet.objects.filter(cause="REFUND").count() == 1
        assert Purchase.objects.get().refunded_minor == 4900
        assert_sound()

    def test_control_without_the_lock_the_index_is_the_last_guard(self):
        truth = made_at_provider(sold())

        with pytest.raises(IntegrityError, match="refund_provider_id_once"):
            race(
                lambda: refunds.apply_refund(truth=truth, at=clock.now()),
                row_locks=False,
                meet_after='"marketplace_refund"."provider_refund_id" = ',
            )

    def test_five_webhooks_of_one_dispute_are_one(self):
        purchase = sold()

        assert race(disputing(purchase), times=5) == ["ok"] * 5

        assert Dispute.objects.count() == LedgerSet.objects.filter(cause="DISPUTE_OPENED").count() == 1
        assert_sound()

    def test_succeeded_and_failed_at_once_end_as_failed(self):
        purchase = sold()
        refunds.apply_refund(truth=made_at_provider(purchase, status="pending"), at=clock.now())
        tellings = [made_at_provider(purchase, status=each) for each in ("failed", "failed")]

        race_all([lambda truth=truth: refunds.apply_refund(truth=truth, at=clock.now()) for truth in tellings])

        assert Refund.objects.get().status == "FAILED"
        assert LedgerSet.objects.filter(cause="REFUND_FAILED").count() == Case.objects.count() == 1
        assert_sound()


class TestTwoDeciders:
    def deciding(self, wish, resolution="FULL_REFUND"):
        admin = UserFactory(admin=True)
        return lambda: refunds.decide_refund(case_id=wish.case_id, actor=admin, resolution=resolution, reason="Heard.", at=clock.now())

    def test_one_decides(self):
        wish = RefundFactory(purchase=sold())

        outcomes = race_all([self.deciding(wish), self.deciding(wish, "NO_REFUND")])

        assert outcomes == ["case_resolved", "ok"]
        assert_sound()

    def test_control_without_the_lock_the_books_are_the_last_guard(self):
        wish = RefundFactory(purchase=sold())

        with pytest.raises(IntegrityError):
            race_all([self.deciding(wish), self.deciding(wish)], row_locks=False, meet_after='FROM "marketplace_refund"')


class TestCases:
    def test_five_openings_are_one_case(self):
        purchase = sold()

        outcomes = race(
            lambda: cases.open_case(purchase_id=purchase.pk, kind=CaseKind.OTHER, text="It idles.", by=purchase.buyer, at=clock.now()),
            times=5,
        )

        assert outcomes == ["case_already_open"] * 4 + ["ok"]
        assert Case.objects.count() == 1

    def test_answer_and_escalation_at_once(self):
        """Whoever comes second sees what the first made of it: never an answered case that is taken over for silence."""
        wish = RefundFactory()
        case, tuner = wish.case, wish.purchase.tuner.user

        race_all(
            [
                lambda: cases.add_message(author=tuner, case_id=case.pk, text="Try the newest version.", at=case.due_at),
                lambda: cases.chase_cases(at=case.due_at),
            ]
        )

        case.refresh_from_db()
        assert case.status == "WAITING_STAFF"


class TestAgainstDeletion:
    @pytest.mark.parametrize("guarded", [True, False])
    def test_of_the_buyer(self, guarded):
        purchase = sold()

        became = while_deleting(purchase.buyer, asking(purchase), guarded=guarded)

        assert became == ("account_is_deleted" if guarded else "ok")
        assert Refund.objects.exists() is not guarded

    def test_a_wish_is_withdrawn_with_the_account(self):
        wish = RefundFactory(purchase=sold())
        truth = made_at_provider(wish.purchase)

        became = while_deleting(wish.purchase.buyer, lambda: refunds.apply_refund(truth=truth, at=clock.now()))

        wish.refresh_from_db()
        assert (became, wish.status, wish.failure_code) == ("ok", "FAILED", "withdrawn")
        assert Case.objects.get().resolution == "WITHDRAWN"
        assert Refund.objects.exclude(pk=wish.pk).get().status == "SUCCEEDED", "money on its way goes on"
        assert_sound()
