"""Who may review, what a refund makes of it, ratings that stay exact, and an order that one five-star review does not lead."""

import importlib
from functools import partial

import pytest
from django.db import IntegrityError, OperationalError, connection

from core import clock, invariants
from core.idempotency import Claim
from core.testing.http import ApiClient
from core.testing.races import overtake, race_all
from core.testing.tasks import run_all
from garage.models import EcuReadout, Vehicle, VehicleModel
from garage.tests.factories import HARDWARE_NUMBER, VehicleFactory, VehicleModelFactory
from marketplace.exceptions import VerifiedBuyerRequired
from marketplace.models import GrantedPurchase, Purchase, Tune
from marketplace.models.tunes import PRIOR_RATING_MILLI, PRIOR_REVIEWS
from marketplace.selectors import browse
from marketplace.services import buyer_reviews, ratings, status
from marketplace.services.refunds import decide_refund, request_refund
from marketplace.services.settlement import settle_purchase
from marketplace.tests.cases import ask, bought, deliver
from marketplace.tests.factories import PurchaseFactory, TuneFactory, ride_for, sold
from marketplace.tests.purchasing import buy, intent_of
from marketplace.tests.test_money_races import LEAVES, is_gone, leaving
from tuners import models as tuner_models
from tuners import services
from tuners.models import TunerProfile, TunerReview
from tuners.tests.factories import TunerProfileFactory
from users.tests.factories import UserFactory

NOW = clock.now()
COUNTS = ("tuners count their reviews", "tunes count their reviews")
READ_PURCHASE = '"marketplace_purchase"."vehicle_identity_hashes"'
MARKS = "reviews are by buyers and marked as their purchases say"


@pytest.fixture(autouse=True)
def _fresh_names():
    """Names of the catalogue are cached for a minute in each process; its rows live for one test."""
    browse.names.clear()


def post(purchase, *, rating=5, at=NOW):
    return buyer_reviews.review_tune(
        author=purchase.buyer, tuner_id=purchase.tuner_id, tune_id=purchase.tune_id, rating=rating, text="Good.", at=at
    )


def edit(review, *, rating):
    return partial(services.edit_review, author=review.buyer, review_id=review.pk, rating=rating, at=NOW)


def grant(purchase):
    GrantedPurchase.objects.create(purchase=purchase, granted_at=NOW)


def figures(tune_id):
    tune = Tune.objects.select_related("tuner").get(pk=tune_id)
    return (tune.rating_sum, tune.rating_count), (tune.tuner.rating_sum, tune.tuner.review_count)


def wrong(*names):
    """What `verify_invariants` finds of these."""
    found = dict(invariants.verify())
    return [line for name in names for line in found[name]]


def marks(review):
    review.refresh_from_db()
    return review.is_refunded, review.is_counted


@pytest.mark.django_db
class TestWhoMay:
    @pytest.mark.parametrize("state", [{}, {"canceled": True}, {"refunded": True}, {"charged_back": True}])
    def test_only_whose_purchase_stands(self, state):
        purchase = PurchaseFactory(**state)

        with pytest.raises(VerifiedBuyerRequired):
            post(purchase)

    def test_a_refunded_one_is_none_while_its_bank_disputes_it_either(self):
        purchase = PurchaseFactory(disputed=True)
        assert post(purchase).pk
        refunded = PurchaseFactory(refunded=True)
        Purchase.objects.filter(pk=refunded.pk).update(status="DISPUTED", disputed_from="REFUNDED")

        with pytest.raises(VerifiedBuyerRequired):
            post(refunded)

    def test_it_says_which_bike_by_the_last_ticket(self):
        status.publish_status(at=NOW)
        ride = ride_for()
        other = ride.another_vehicle(year=2022)
        ride.ticket(vehicle=other)
        EcuReadout.objects.filter(vehicle=other).update(hardware_number=" rsh-4711-a ")

        review = post(ride.purchase)

        assert (review.vehicle_model_id, review.vehicle_year, review.hardware_number) == (other.catalog_model_id, 2022, HARDWARE_NUMBER)
        assert review.vehicle_label == "Yamaha MT-09 2022"

    def test_before_a_ticket_by_the_bike_that_it_was_bought_for(self):
        vehicle = VehicleFactory(with_stock=True)
        review = post(PurchaseFactory(paid=True, buyer=vehicle.owner, vehicle_id=vehicle.pk))

        assert (review.vehicle_year, review.hardware_number) == (vehicle.year, HARDWARE_NUMBER)

    def test_what_the_next_owner_reads_is_not_the_authors(self):
        vehicle = VehicleFactory(with_stock=True)
        purchase = PurchaseFactory(paid=True, buyer=vehicle.owner, vehicle_id=vehicle.pk)
        Vehicle.objects.filter(pk=vehicle.pk).update(owner=UserFactory())

        assert post(purchase).hardware_number == ""

    def test_a_model_that_is_listed_later_is_found(self):
        vehicle = VehicleFactory(make="Ural", model="Gear Up")
        Vehicle.objects.filter(pk=vehicle.pk).update(catalog_model=None)
        review = post(PurchaseFactory(paid=True, buyer=vehicle.owner, vehicle_id=vehicle.pk))
        assert (review.vehicle_model_id, buyer_reviews.adopt_listed_models()) == (None, 0)
        listed = VehicleModelFactory(name="Gear Up")
        Vehicle.objects.filter(pk=vehicle.pk).update(catalog_model=listed)

        assert buyer_reviews.adopt_listed_models() == 1
        review.refresh_from_db()
        assert review.vehicle_model_id == listed.pk
        assert VehicleModel.objects.filter(pk=listed.pk).exists()


@pytest.mark.django_db
class TestRefunded:
    def test_without_a_download_it_is_marked_and_counts_no_more(self, payments):
        rider, purchase, _ = bought(payments)
        review = post(purchase)
        assert figures(purchase.tune_id) == ((5, 1), (5, 1))

        assert ask(rider, purchase).status_code == 201

        assert marks(review) == (True, False)
        assert figures(purchase.tune_id) == ((0, 0), (0, 0))
        shown = ApiClient().get(f"marketplace/tunes/{purchase.tune_id}/reviews/").json()["results"]
        assert [(row["is_refunded"], row["is_counted"]) for row in shown] == [(True, False)]
        assert wrong(*COUNTS, MARKS) == []

    def test_a_refund_that_fails_later_is_owed_and_stays_one(self, payments):
        rider, purchase, intent_id = bought(payments)
        review = post(purchase)
        ask(rider, purchase)
        run_all()
        payments.act("refund_fails", purchase.refunds.get().provider_refund_id)
        deliver(payments, intent_id)

        assert purchase.refunds.get().status == "FAILED"
        assert marks(review) == (True, False)
        assert wrong(*COUNTS, MARKS) == []

    def test_bought_anew_it_counts_again(self, payments):
        rider, purchase, _ = bought(payments)
        review = post(purchase)
        ask(rider, purchase)
        again = buy(rider, purchase.tune, rider.user.vehicles.get()).json()
        payments.choose(intent_of(again), "succeed")

        settle_purchase(purchase_id=again["id"], at=NOW)

        assert marks(review) == (False, True)
        assert figures(purchase.tune_id) == ((5, 1), (5, 1))
        assert wrong(*COUNTS, MARKS) == []

    @pytest.mark.parametrize(
        ("outcome", "downloaded", "expected"),
        [("dispute_won", True, (False, True)), ("dispute_lost", True, (True, True)), ("dispute_lost", False, (True, False))],
    )
    def test_a_dispute_marks_it_once_it_is_lost(self, payments, outcome, downloaded, expected):
        _, purchase, intent_id = bought(payments)
        review = post(purchase, rating=1)
        if downloaded:
            grant(purchase)
        payments.choose(intent_id, "dispute")
        deliver(payments, intent_id, types="charge.dispute")
        assert (Purchase.objects.get(pk=purchase.pk).status, marks(review)) == ("DISPUTED", (False, True))

        payments.choose(intent_id, outcome)
        deliver(payments, intent_id, types="charge.dispute", times=2)

        assert marks(review) == expected
        assert figures(purchase.tune_id) == (((1, 1), (1, 1)) if expected[1] else ((0, 0), (0, 0)))
        assert wrong(*COUNTS, MARKS) == []

    def test_another_purchase_that_stands_keeps_it_unmarked(self):
        first = sold()
        sold(buyer=first.buyer, tune=first.tune)
        review = post(first)

        request_refund(buyer=first.buyer, purchase_id=first.pk, reason="", claim=Claim(), at=NOW)

        assert marks(review) == (False, True)
        assert wrong(MARKS) == []

    def test_a_wrong_mark_and_a_strangers_review_are_found(self):
        review = post(sold())
        TunerReview.objects.filter(pk=review.pk).update(is_refunded=True, is_counted=False)

        assert wrong(MARKS) == [f"review {review.pk} says refunded true, counted false; its buyer's purchases say false, true"]
        TunerReview.objects.filter(pk=review.pk).update(buyer=UserFactory())
        assert wrong(MARKS) == [f"review {review.pk} is by somebody who never paid"]
        assert len(wrong(*COUNTS)) == 2


@pytest.mark.django_db
def test_reviews_from_before_are_filled_in_by_the_same_rules():
    """The migration's SQL, on reviews as old code left them."""
    fill = importlib.import_module("marketplace.migrations.0033_fill_review_bikes")
    status.publish_status(at=NOW)
    ride, vehicle = ride_for(), VehicleFactory(with_stock=True)
    ride.ticket(vehicle=ride.another_vehicle(year=2022))
    unflashed = sold(buyer=vehicle.owner, vehicle_id=vehicle.pk)
    never_downloaded, downloaded = sold(), sold()
    grant(downloaded)
    written = [post(purchase, rating=3) for purchase in (ride.purchase, unflashed, never_downloaded, downloaded)]
    for purchase in (never_downloaded, downloaded):
        request_refund(buyer=purchase.buyer, purchase_id=purchase.pk, reason="", claim=Claim(), at=NOW)
    decide_refund(
        case_id=downloaded.cases.get().pk, actor=UserFactory(admin=True, mfa=True), resolution="FULL_REFUND", reason="It surges.", at=NOW
    )
    facts = ("pk", "vehicle_model_id", "vehicle_year", "hardware_number", "is_refunded", "is_counted")
    wanted = list(TunerReview.objects.order_by("pk").values_list(*facts))
    assert [row[3:] for row in wanted] == [
        (HARDWARE_NUMBER, False, True), (HARDWARE_NUMBER, False, True), ("", True, False), ("", True, True)
    ]  # fmt: skip
    numbers = [figures(review.tune_id) for review in written]
    TunerReview.objects.update(vehicle_model_id=None, vehicle_year=None, hardware_number="", is_refunded=False, is_counted=True)
    ratings.move_rating(tune_id=never_downloaded.tune_id, rating_delta=3, count_delta=1)
    TunerProfile.objects.filter(pk=never_downloaded.tuner_id).update(rating_sum=3, review_count=1)

    with connection.cursor() as cursor:
        for sql in (fill.BIKES, fill.REFUNDED, fill.TUNERS, fill.TUNES):
            cursor.execute(sql)

    assert list(TunerReview.objects.order_by("pk").values_list(*facts)) == wanted
    assert [figures(review.tune_id) for review in written] == numbers
    assert wrong(*COUNTS, MARKS) == []


@pytest.mark.django_db
class TestOrder:
    """(prior × its weight + sum of ratings) / (weight + count): a Bayesian average."""

    @pytest.mark.parametrize("scope", [{}, {"make": "Yamaha", "model": "MT-09"}])
    def test_one_five_star_review_does_not_lead_the_tunes(self, scope):
        single, many, none, poor = (TuneFactory(published=True, title=title) for title in ("single", "many", "none", "poor"))
        ratings.move_rating(tune_id=single.pk, rating_delta=5, count_delta=1)
        ratings.move_rating(tune_id=many.pk, rating_delta=240, count_delta=50)  # 4.8 each
        ratings.move_rating(tune_id=poor.pk, rating_delta=1, count_delta=1)

        rows = ApiClient().get("marketplace/tunes/", {**scope, "ordering": "rating"}).json()["results"]

        assert [row["title"] for row in rows] == ["many", "single", "none", "poor"]
        assert [row["rating"] for row in rows] == [4.8, 5.0, None, 1.0], "what is shown is the plain average"
        assert none.pk

    def test_nor_the_tuners(self):
        for name, total, count in (("Single", 5, 1), ("Many", 240, 50), ("None", 0, 0), ("Poor", 1, 1)):
            TunerProfile.objects.filter(pk=TunerProfileFactory(business_name=name).pk).update(rating_sum=total, review_count=count)

        rows = ApiClient().get("tuners/", {"ordering": "rating"}).json()["results"]

        assert [row["business_name"] for row in rows] == ["Many", "Single", "None", "Poor"]

    @pytest.mark.parametrize(("total", "count"), [(0, 0), (5, 1), (1, 1), (240, 50), (4_999, 1_000)])
    def test_both_scores_are_the_formula(self, total, count):
        tune = TuneFactory(published=True)
        Tune.objects.filter(pk=tune.pk).update(rating_sum=total, rating_count=count)
        TunerProfile.objects.filter(pk=tune.tuner_id).update(rating_sum=total, review_count=count)
        tune = Tune.objects.select_related("tuner").get(pk=tune.pk)

        assert tune.rating_score == (total * 1000 + PRIOR_REVIEWS * PRIOR_RATING_MILLI) // (count + PRIOR_REVIEWS)
        prior = tuner_models.PRIOR_RATING_SUM
        assert float(tune.tuner.rating_order) == pytest.approx((total + prior) / (count + tuner_models.PRIOR_REVIEWS), abs=1e-6)

    def test_a_review_moves_the_lists_at_once(self):
        first, second = sold(tune__title="first"), sold(tune__title="second")

        post(first, rating=2)
        post(second, rating=3)

        rows = ApiClient().get("marketplace/tunes/", {"make": "Yamaha", "model": "MT-09", "ordering": "rating"}).json()["results"]
        assert [row["title"] for row in rows] == ["second", "first"]


@pytest.mark.django_db(transaction=True)
class TestManyAtOnce:
    """Tune and tuner are what riders choose by: no writer's effect is lost or counted twice."""

    @staticmethod
    def buyers(count):
        tune = TuneFactory(published=True)
        return tune, [PurchaseFactory(paid=True, tune=tune) for _ in range(count)]

    def test_fifty_writers_leave_exact_numbers(self):
        """18 post; ten reviews are each edited from two phones; four are hidden, four deleted, four restored."""
        tune, purchases = self.buyers(40)
        admin = UserFactory(admin=True, mfa=True)
        written = [post(purchase, rating=number % 5 + 1) for number, purchase in enumerate(purchases[:22])]
        for review in written[18:]:
            services.hide_review(review_id=review.pk, actor=admin, reason="Insult.", at=NOW)

        acts = [
            *(partial(post, purchase, rating=number % 5 + 1) for number, purchase in enumerate(purchases[22:])),
            *(edit(review, rating=rating) for review in written[:10] for rating in (2, 5)),
            *(partial(services.hide_review, review_id=review.pk, actor=admin, reason="Spam.", at=NOW) for review in written[10:14]),
            *(partial(services.delete_review, author=review.buyer, review_id=review.pk, at=NOW) for review in written[14:18]),
            *(partial(services.restore_review, review_id=review.pk, actor=admin, reason="No.", at=NOW) for review in written[18:]),
        ]

        assert race_all(acts) == ["ok"] * 50

        counted = list(TunerReview.objects.counted().filter(tune_id=tune.pk).values_list("rating", flat=True))
        assert len(counted) == 18 + 10 + 4
        assert figures(tune.pk) == ((sum(counted), len(counted)),) * 2
        assert wrong(*COUNTS) == []

    def test_edits_hidings_and_deletions_of_the_same_reviews_leave_exact_numbers(self):
        tune, purchases = self.buyers(5)
        admin = UserFactory(admin=True, mfa=True)
        written = [post(purchase, rating=1) for purchase in purchases]

        acts = []
        for review in written:
            acts += [
                edit(review, rating=4),
                partial(services.hide_review, review_id=review.pk, actor=admin, reason="Spam.", at=NOW),
                partial(services.restore_review, review_id=review.pk, actor=admin, reason="No.", at=NOW),
                partial(services.delete_review, author=review.buyer, review_id=review.pk, at=NOW),
            ]
        race_all(acts)

        assert not TunerReview.objects.exclude(state="DELETED").exists()
        assert figures(tune.pk) == ((0, 0), (0, 0))
        assert wrong(*COUNTS) == []

    def test_control_without_the_locks_tune_and_tuner_count_twice(self):
        tune, purchases = self.buyers(5)
        written = [post(purchase, rating=1) for purchase in purchases]

        race_all([edit(review, rating=2) for review in written for _phone in range(2)], row_locks=False)

        assert figures(tune.pk) == ((15, 5), (15, 5)), "the true sum is 10"
        assert len(wrong(*COUNTS)) == 2

    def test_a_review_and_a_refund_at_once_leave_it_marked(self):
        purchase = sold()

        assert overtake(lambda: post(purchase), self.refund(purchase), after=READ_PURCHASE) == ("ok", "ok")

        assert marks(TunerReview.objects.get()) == (True, False)
        assert wrong(*COUNTS, MARKS) == []

    def test_a_refund_and_a_review_at_once_leave_none(self):
        purchase = sold()

        outcomes = overtake(self.refund(purchase), lambda: post(purchase), after='UPDATE "marketplace_purchase"')

        assert outcomes == ("ok", "verified_buyer_required")
        assert not TunerReview.objects.exists()

    def test_control_without_the_purchases_lock_it_stays_unmarked(self):
        purchase = sold()

        assert overtake(lambda: post(purchase), self.refund(purchase), after=READ_PURCHASE, row_locks=False) == ("ok", "ok")

        assert len(wrong(MARKS)) == 1

    def test_of_two_purchases_refunded_at_once_the_second_sees_the_first(self):
        first = sold()
        second = sold(buyer=first.buyer, tune=first.tune)
        review = post(first)

        assert race_all([self.refund(first), self.refund(second)]) == ["ok", "ok"]

        assert marks(review) == (True, False)
        assert wrong(*COUNTS, MARKS) == []

    def test_control_without_the_reviews_lock_each_believes_the_other(self):
        first = sold()
        second = sold(buyer=first.buyer, tune=first.tune)
        post(first)

        race_all([self.refund(first), self.refund(second)], row_locks=False, meet_after='"tuners_tunerreview"')

        assert len(wrong(MARKS)) == 1

    @staticmethod
    def refund(purchase):
        return lambda: request_refund(buyer=purchase.buyer, purchase_id=purchase.pk, reason="", claim=Claim(), at=clock.now())


@pytest.mark.django_db(transaction=True)
class TestLeaving:
    """Whoever is concerned by a decision may delete their account at the same moment: neither waits for the other for ever."""

    @staticmethod
    def decision(about):
        """Somebody, and a decision that tells them: (the author of a hidden review, a reporter)."""
        review, admin = post(sold()), UserFactory(admin=True, mfa=True)
        if about == "author":
            services.hide_review(review_id=review.pk, actor=admin, reason="Insult.", at=NOW)
            return review.buyer, partial(services.restore_review, review_id=review.pk, actor=admin, reason="Irony.", at=clock.now())
        report = services.report_review(reporter=UserFactory(), review_id=review.pk, reason="ABUSE", text="Rude.", at=NOW)
        return report.reporter, partial(services.uphold_report, report_id=report.pk, actor=admin, reason="Insult.", at=NOW)

    @pytest.mark.parametrize("about", ["author", "reporter"])
    def test_a_decision_and_a_deletion_end_both(self, about):
        leaver, decide = self.decision(about)

        assert overtake(leaving(leaver), decide, after=LEAVES) == ("ok", "ok")
        assert is_gone(leaver)

    @pytest.mark.parametrize("about", ["author", "reporter"])
    def test_control_that_does_not_hold_people(self, about, monkeypatch):
        leaver, decide = self.decision(about)
        monkeypatch.setattr("tuners.services.reviews._hold_people", lambda review_id, actor: None)

        with pytest.raises(OperationalError, match="deadlock"):
            overtake(leaving(leaver), decide, after=LEAVES)

    def test_an_edit_and_the_deletion_of_its_author_end_both(self):
        review = post(sold())
        leaver = review.buyer

        edits = partial(services.edit_review, author=leaver, review_id=review.pk, text="Anew.", at=NOW)

        with pytest.raises(IntegrityError, match="account_is_deleted"):
            overtake(leaving(leaver), edits, after=LEAVES)

        assert is_gone(leaver)
        review.refresh_from_db()
        assert review.text == "Good."
