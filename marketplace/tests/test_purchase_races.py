"""Buying against what happens to tune, price and payment at the same moment, on real connections, each with its control."""

import pytest
from django.db import IntegrityError

from core import clock
from core.idempotency import Claim
from core.meta import agreed_text
from core.testing.http import client_for
from core.testing.races import in_between, race, race_all
from garage.tests.factories import VehicleFactory
from marketplace import payments as gateway
from marketplace.enums import PurchaseStatus
from marketplace.models import License, Purchase, Tune
from marketplace.services import listings, purchasing, settlement
from marketplace.tests.factories import PaymentAttemptFactory, PurchaseFactory, TuneFactory
from marketplace.tests.purchasing import buy
from users.tests.factories import UserDeviceFactory, UserFactory

pytestmark = pytest.mark.django_db(transaction=True)


class Meeting:
    """A rider who buys, and a tuner who changes the tune at the same moment."""

    def __init__(self):
        self.rider, self.tune = UserFactory(), TuneFactory(published=True)
        self.bike = VehicleFactory(owner=self.rider, with_stock=True)
        self.sold_before: list[bool] = []

    def buy(self):
        wish = purchasing.Wish(
            tune_id=self.tune.pk, vehicle_id=self.bike.pk, expected_price_minor=14900, currency="EUR",
            attestation_version=agreed_text("attestation").version, attestation_accepted=True,
        )  # fmt: skip
        purchasing.begin_purchase(buyer=self.rider, wish=wish, claim=Claim(), at=clock.now())

    def change(self, what):
        """The tuner's act; remembers whether the purchase stood when it was done."""
        author = self.tune.tuner.user
        if what == "price":
            listings.update_tune(author=author, tune_id=self.tune.pk, changes={"price_minor": 19900}, at=clock.now())
        else:
            listings.archive_tune(author=author, tune_id=self.tune.pk, at=clock.now())
        self.sold_before.append(Purchase.objects.filter(status=PurchaseStatus.PENDING).exists())


@pytest.mark.parametrize(("what", "refusal"), [("price", "price_changed"), ("archive", "not_for_sale")])
class TestAgainstTheTuner:
    def test_nothing_is_sold_on_terms_that_were_over(self, payments, what, refusal):
        meeting = Meeting()

        outcomes = race_all([meeting.buy, lambda: meeting.change(what)])

        assert outcomes in (["ok", "ok"], sorted(["ok", refusal]))
        assert (outcomes == ["ok", "ok"]) == meeting.sold_before[0]
        assert set(Purchase.objects.values_list("amount_minor", flat=True)) <= {14900}

    def test_control_without_the_lock_it_is(self, payments, what, refusal):
        meeting = Meeting()

        outcome = in_between(
            meeting.buy, lambda: meeting.change(what), after='FROM "marketplace_tune" INNER JOIN "tuners_tunerprofile"', row_locks=False
        )

        tune = Tune.objects.get()
        assert outcome == "ok"
        assert (tune.price_minor, tune.status) != (14900, "PUBLISHED")
        assert meeting.sold_before == [False], "the terms were over, and then it was sold"


class TestTwentyWithOneKey:
    def test_are_one_purchase_and_one_payment(self, payments):
        meeting = Meeting()
        session = UserDeviceFactory(user=meeting.rider)
        answers = []

        race(
            lambda: answers.append(buy(client_for(meeting.rider, device=session), meeting.tune, meeting.bike, key="one")), times=20
        )

        purchase = Purchase.objects.get()
        done = [answer for answer in answers if answer.status_code == 201]
        assert done and {answer.json()["id"] for answer in done} == {str(purchase.pk)}
        assert {(answer.status_code, answer.json().get("code")) for answer in answers} <= {(201, None), (409, "idempotency_in_progress")}
        assert len(payments.intents_of(purchase.pk)) == 1


@pytest.mark.parametrize("end", [PurchaseStatus.EXPIRED, PurchaseStatus.CANCELED])
class TestPayAgainstTheEnd:
    """The provider has been paid, and at the same moment somebody who heard otherwise closes the purchase."""

    def paid_at_the_provider(self, payments):
        attempt = PaymentAttemptFactory(purchase=PurchaseFactory())
        settlement.open_payment(purchase_id=attempt.purchase_id, at=clock.now())
        attempt.refresh_from_db()
        payments.choose(attempt.intent_id, "succeed")
        return attempt, gateway.get_intent(attempt.intent_id)

    def acts(self, attempt, intent, end):
        purchase_id = attempt.purchase_id
        return [
            lambda: settlement.mark_purchase_paid(purchase_id=purchase_id, intent=intent, at=clock.now()),
            lambda: settlement._close(purchase_id=purchase_id, status=end, at=clock.now(), ended_attempt=attempt),
        ]

    def test_ends_paid_whoever_came_first(self, payments, end):
        attempt, intent = self.paid_at_the_provider(payments)

        assert race_all(self.acts(attempt, intent, end)) == ["ok", "ok"]
        settlement.mark_purchase_paid(purchase_id=attempt.purchase_id, intent=intent, at=clock.now())

        assert Purchase.objects.get().status == PurchaseStatus.PAID
        assert License.objects.count() == 1

    def test_control_without_the_lock_only_the_constraint_is_left(self, payments, end):
        attempt, intent = self.paid_at_the_provider(payments)
        pay, close = self.acts(attempt, intent, end)

        with pytest.raises(IntegrityError, match=r"purchase_|paymentattempt_"):  # the other order ends well: a payment revives
            in_between(close, pay, after="marketplace_paymentattempt", row_locks=False)
