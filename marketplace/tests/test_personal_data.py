"""What the marketplace knows of a person: the books stay, without what identifies a vehicle."""

import pytest

from core import clock, storage
from core.testing.http import client_for
from core.testing.tasks import run_all
from garage.tests.factories import VehicleFactory
from marketplace import personal_data
from marketplace.models import Download, License, PaymentAttempt, Purchase, SearchPhrase, SearchWord, StopAcknowledgement, Tune
from marketplace.services import news, saved_searches, stops
from marketplace.tests.factories import (
    FavoriteFactory,
    LicenseFactory,
    PaymentAttemptFactory,
    PayoutFactory,
    PurchaseFactory,
    SavedSearchFactory,
    TuneFactory,
    TuneVersionFactory,
    released_tune,
    ride_for,
)
from tuners.models import TunerProfile, TunerReview
from tuners.tests.factories import TunerProfileFactory, TunerReviewFactory
from users import privacy, services
from users.tests.factories import UserDeviceFactory, UserFactory

pytestmark = pytest.mark.django_db


def exported(user_id) -> dict[str, list]:
    return {holding.section: list(holding.export(user_id)) for holding in personal_data.PROVIDER.holdings}


def delete(user) -> None:
    services.delete_account(user=user, session=UserDeviceFactory(user=user), stock_files_saved=True, at=clock.now())


def blockers(user) -> list[str]:
    return [blocker["code"] for blocker in client_for(user).get("users/me/deletion/").json()["blockers"]]


class TestBuyer:
    def test_export_has_what_the_rider_did_and_no_identity(self):
        ride = ride_for()
        ride.report(ride.ticket())

        found = exported(ride.buyer.pk)

        assert [len(found[name]) for name in ("purchases", "licenses", "downloads", "flash_tickets", "flashes")] == [1, 1, 1, 1, 1]
        assert ride.vehicle.vin not in str(found)
        assert privacy.stats_of(ride.buyer.pk) == {
            "vehicles": 1, "reviews": 0, "followed_tuners": 0, "favorites": 0, "flashes": 1, "purchases": 1,
        }  # fmt: skip

    def test_deleting_keeps_the_books_without_vehicle_identities(self):
        purchase = PurchaseFactory(paid=True, vehicle_identity_hashes=["ab"], with_license=False)
        LicenseFactory(bound=True, purchase=purchase)
        FavoriteFactory(user=purchase.buyer)

        delete(purchase.buyer)

        assert Purchase.objects.get(pk=purchase.pk).vehicle_identity_hashes == []
        assert License.objects.get(purchase=purchase).vehicle_identity_hashes == []
        assert exported(purchase.buyer_id)["favorites"] == []

    def test_deleting_keeps_the_download_log_and_forgets_payment_secrets(self):
        ride = ride_for()
        ride.grant()
        PaymentAttemptFactory(open=True, purchase=ride.purchase)
        stop = stops.recall_version(actor=UserFactory(admin=True), version_id=ride.version.pk, severity="info", reason="Lean.", at=ride.at)
        stops.acknowledge_stop(rider=ride.buyer, stop_id=stop.pk, at=ride.at)

        delete(ride.buyer)

        assert not StopAcknowledgement.objects.exists() and Download.objects.filter(buyer=ride.buyer).count() == 1
        assert PaymentAttempt.objects.get().client_secret is None

    def test_a_pending_purchase_is_wound_down_first(self):
        purchase = PurchaseFactory()

        assert blockers(purchase.buyer) == ["purchases_pending"]
        answer = client_for(purchase.buyer, step_up=True).delete("users/me/")
        assert (answer.status_code, answer.json()["code"]) == (409, "account_deletion_blocked")
        assert answer.json()["blockers"][0]["count"] == 1

    def test_a_review_stays_under_another_name(self):
        review = TunerReviewFactory(buyer__display_name="Anna Berg", text="Smooth.")

        delete(review.buyer)

        shown = client_for(UserFactory()).get(f"tuners/{review.tuner_id}/reviews/").json()["results"]
        assert [(row["text"], row["author"]["display_name"]) for row in shown] == [("Smooth.", "Deleted rider")]


class TestTuner:
    @pytest.mark.parametrize(
        ("code", "make"),
        [
            ("tunes_published", lambda profile: TuneFactory(tuner=profile, published=True)),
            ("versions_in_review", lambda profile: TuneVersionFactory(tune=TuneFactory(tuner=profile), in_review=True)),
            ("sales_open", lambda profile: PurchaseFactory(tune=TuneFactory(tuner=profile, archived=True))),
            ("sales_open", lambda profile: PurchaseFactory(tune=TuneFactory(tuner=profile, archived=True), disputed=True)),
            ("payouts_open", lambda profile: PayoutFactory(account__tuner=profile)),
        ],
    )
    def test_what_is_open_is_wound_down_first(self, code, make):
        profile = TunerProfileFactory()
        make(profile)

        assert blockers(profile.user) == [code]
        assert client_for(profile.user, step_up=True).delete("users/me/").json()["code"] == "account_deletion_blocked"
        assert TunerProfile.objects.get(pk=profile.pk).is_active

    def test_a_balance_is_settled_first(self):
        from marketplace.models import LedgerEntry, LedgerSet

        purchase = PurchaseFactory(paid=True, tune__archived=True, tune__published=False)
        entry_set = LedgerSet.objects.create(cause="SALE", cause_id=purchase.pk, purchase=purchase, currency="EUR", at=purchase.paid_at)
        facts = {"set": entry_set, "purchase": purchase, "currency": "EUR", "at": purchase.paid_at}
        LedgerEntry.objects.bulk_create(
            [
                LedgerEntry(account="TUNER", tuner=purchase.tuner, amount_minor=100, available_at=purchase.paid_at, **facts),
                LedgerEntry(account="BUYER_CLEARING", amount_minor=-100, **facts),
            ]
        )

        assert blockers(purchase.tuner.user) == ["balance_not_settled"]

    def test_what_nobody_bought_is_deleted_with_its_files_and_the_name_is_forgotten(self):
        profile = TunerProfileFactory(business_name="Quandtberg Motortechnik")
        tune = TuneFactory(tuner=profile, title="Quandtberg Stage 9", stored=True)
        key = tune.versions.get().files.get().storage_key
        assert SearchPhrase.objects.filter(text="Quandtberg Motortechnik").exists()
        assert SearchWord.objects.filter(word="quandtberg").exists()
        Tune.objects.filter(pk=tune.pk).update(status="ARCHIVED", archived_at=clock.now())

        delete(profile.user)
        run_all()

        assert not Tune.objects.filter(pk=tune.pk).exists() and storage.head(key) is None
        assert not SearchPhrase.objects.filter(text__contains="Quandtberg").exists()
        assert not SearchWord.objects.filter(word__in=["quandtberg", "motortechnik"]).exists()

    def test_words_that_others_use_stay_in_search(self):
        profile = TunerProfileFactory(business_name="Alpine Quandtberg")
        tune = TuneFactory(tuner=profile, published=True)
        TuneFactory(tuner__business_name="Alpine Flash", published=True)
        Tune.objects.filter(pk=tune.pk).update(status="ARCHIVED", archived_at=clock.now())

        delete(profile.user)

        assert SearchWord.objects.filter(word="alpine").exists() and not SearchWord.objects.filter(word="quandtberg").exists()

    def test_who_bought_keeps_the_tune_and_its_bytes(self):
        ride = ride_for(released_tune(tuner__business_name="Quandtberg Motortechnik"))
        Tune.objects.filter(pk=ride.tune.pk).update(status="ARCHIVED", archived_at=clock.now())

        delete(ride.tune.tuner.user)
        run_all()

        profile = TunerProfile.objects.get(pk=ride.tune.tuner_id)
        assert (profile.business_name, profile.status, profile.suspension_reason) == ("Former tuner", "SUSPENDED", "CLOSED")
        assert Download.objects.get(pk=ride.grant().pk).outcome == "GRANTED"
        assert client_for(UserFactory()).get(f"tuners/{profile.pk}/").status_code == 404

    def test_replies_are_taken_back_where_they_were_told_too(self):
        from users.models import Notice

        review = TunerReviewFactory(tuner__business_name="Quandtberg Motortechnik")
        client_for(review.tuner.user).post(f"tuners/reviews/{review.pk}/reply/", {"text": "Thanks from Quandtberg."})
        assert Notice.objects.filter(user=review.buyer, title__contains="Quandtberg").exists()

        delete(review.tuner.user)

        assert TunerReview.objects.get(pk=review.pk).reply == "" and not Notice.objects.filter(user=review.buyer).exists()

    def test_no_news_that_riders_were_told_name_the_tuner_afterwards(self):
        from tuners.tests.factories import TunerFollowFactory
        from users.models import Notice

        profile = TunerProfileFactory(business_name="Quandtberg Motortechnik")
        TunerFollowFactory(tuner=profile)
        SavedSearchFactory()
        tune = TuneFactory(tuner=profile, published=True)
        saved_searches.match_listing_changes(at=clock.now())
        assert saved_searches.tell_matches(at=clock.now()) == 1
        news.tell_of_new_tune(tune_id=tune.pk, at=clock.now())
        Tune.objects.filter(pk=tune.pk).update(status="ARCHIVED", archived_at=clock.now())

        delete(profile.user)

        assert Notice.objects.filter(type="SAVED_SEARCH").exists()
        assert not [notice for notice in Notice.objects.all() if "Quandtberg" in notice.title + notice.body]

    def test_a_closed_profile_is_not_reinstated(self):
        from tuners.exceptions import TunerNotSuspended
        from tuners.services import reinstate_tuner

        profile = TunerProfileFactory()
        delete(profile.user)

        with pytest.raises(TunerNotSuspended):
            reinstate_tuner(tuner_id=profile.pk, actor=UserFactory(admin=True), reason="why", at=clock.now())


def test_the_plan_takes_the_same_number_of_queries_for_everybody():
    few, many = VehicleFactory(with_stock=True).owner, UserFactory()
    for _ in range(5):
        VehicleFactory(owner=many, with_stock=True)
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    counts = []
    for person in (few, many):
        client = client_for(person)
        with CaptureQueriesContext(connection) as queries:
            assert client.get("users/me/deletion/").status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1]
