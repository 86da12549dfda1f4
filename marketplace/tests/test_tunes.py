"""One tune, a tuner's listings, favourites, facets, suggestions, search and reviews, over HTTP."""

import random
from uuid import uuid4

import pytest
from django.core.cache import cache
from django.db import IntegrityError, transaction

from core import clock
from core.embedded.payments.intents import CURRENCIES
from core.models import AuditEvent
from core.testing.http import ApiClient, client_for
from core.testing.races import race_all
from garage.models import MakeAlias
from garage.tests.factories import ModelAliasFactory, VehicleFactory, VehicleMakeFactory, VehicleModelFactory
from marketplace.enums import TuneStatus
from marketplace.exceptions import OwnVersion
from marketplace.models import Favorite, SearchWord, Tune
from marketplace.money import SMALLEST_PRICE_MINOR
from marketplace.selectors import browse
from marketplace.serializers.tunes import OwnTuneOutput, TuneDetailOutput
from marketplace.services import favorites, listings, moderation, upkeep
from marketplace.tests.factories import FavoriteFactory, PurchaseFactory, TuneFactory, TuneVersionFactory
from tuners.services import reinstate_tuner, suspend_tuner
from tuners.tests.factories import TunerProfileFactory
from users.tests.factories import UserFactory

URL = "marketplace/tunes/"
LISTING = {
    "title": "MT-09 Stage 1",
    "description": "Smooth.\nStrong.",
    "kind": "MOTORCYCLE",
    "category": "STAGE_1",
    "price_minor": 14900,
    "currency": "EUR",
}


@pytest.fixture(autouse=True)
def _fresh_caches():
    browse.names.clear()
    cache.clear()


def search(q: str, **params) -> list[str]:
    answer = ApiClient().get(URL, {"q": q, **params})
    assert answer.status_code == 200, answer.content
    return [row["title"] for row in answer.json()["results"]]


@pytest.mark.django_db
class TestDetail:
    def test_has_what_the_documentation_says(self):
        tune = TuneFactory(published=True, version__blocked_regions=["US-CA"], dyno=None)

        seen = ApiClient().get(f"{URL}{tune.pk}/").json()

        fields = TuneDetailOutput().fields
        assert seen.keys() == fields.keys() - {"viewer"}
        for name in ("tuner", "latest_version", "requirements", "attestation"):
            assert seen[name].keys() == fields[name].fields.keys(), name
        assert seen["fitments"][0].keys() == fields["fitments"].child.fields.keys()
        assert (seen["blocked_regions"], seen["on_sale"], seen["status"]) == (["US-CA"], True, "PUBLISHED")
        assert seen["requirements"]["flash_methods"] == ["OBD"]
        assert len(seen["attestation"]["sha256"]) == 64

    def test_tells_a_rider_what_they_have_to_do_with_it(self):
        tune = TuneFactory(published=True)
        buyer, stranger = PurchaseFactory(paid=True, tune=tune).buyer, UserFactory()
        FavoriteFactory(user=stranger, tune=tune)

        mine = client_for(buyer).get(f"{URL}{tune.pk}/").json()["viewer"]
        theirs = client_for(stranger).get(f"{URL}{tune.pk}/").json()["viewer"]

        assert mine["purchase_id"] is not None
        assert mine["is_favorite"] is False
        assert theirs == {"purchase_id": None, "license_state": None, "owned_version": None, "is_favorite": True}

    def test_drafts_and_suspended_ones_are_their_tuners_and_owners_only(self):
        draft, suspended, archived = TuneFactory(), TuneFactory(suspended=True), TuneFactory(archived=True)

        def status(tune, user=None):
            client = client_for(user) if user else ApiClient()
            return client.get(f"{URL}{tune.pk}/").status_code

        assert (status(draft), status(draft, UserFactory()), status(draft, draft.tuner.user)) == (404, 404, 200)
        assert (status(suspended), status(suspended, suspended.tuner.user)) == (404, 200)
        buyer = PurchaseFactory(paid=True, tune=archived).buyer
        Tune.objects.filter(pk=archived.pk).update(
            status="SUSPENDED", suspended_at=clock.now(), suspended_from="ARCHIVED", suspension_reason="SAFETY"
        )
        assert (status(archived), status(archived, buyer)) == (404, 200)
        assert ApiClient().get(f"{URL}{uuid4()}/").json()["code"] == "not_found"

    @pytest.mark.parametrize("count", [1, 20])
    def test_takes_one_query_and_three_signed_in(self, django_assert_num_queries, count):
        tune = TuneFactory(published=True, version__version="1.0.0")
        for number in range(1, count):
            TuneVersionFactory(tune=tune, published=True, version=f"1.{number}.0")
        client = client_for(UserFactory())
        client.get(f"{URL}{tune.pk}/")

        with django_assert_num_queries(1):
            ApiClient().get(f"{URL}{tune.pk}/")
        with django_assert_num_queries(3):  # session, tune, what the rider has to do with it
            client.get(f"{URL}{tune.pk}/")

    def test_the_verdict_for_ones_own_vehicle(self):
        vehicle, tune = VehicleFactory(with_ecu=True), TuneFactory(published=True, version__fitment__calibration_ids=["OTHER"])
        client = client_for(vehicle.owner)

        seen = client.get(f"{URL}{tune.pk}/fitment/", {"vehicle": vehicle.pk}).json()

        assert seen["verdict"] == "mismatch"
        assert [reason["code"] for reason in seen["reasons"]] == ["calibration_id_mismatch"]
        assert seen["version"]["id"] == str(tune.latest_version_id)
        assert client_for(UserFactory()).get(f"{URL}{tune.pk}/fitment/", {"vehicle": vehicle.pk}).status_code == 404
        assert ApiClient().get(f"{URL}{tune.pk}/fitment/", {"vehicle": vehicle.pk}).status_code == 401
        assert client.get(f"{URL}{tune.pk}/fitment/").json()["errors"][0]["parameter"] == "vehicle"


@pytest.mark.django_db
class TestListings:
    @pytest.fixture
    def tuner(self):
        return TunerProfileFactory()

    @pytest.fixture
    def client(self, tuner):
        return client_for(tuner.user)

    def test_a_listing_is_made_edited_archived_and_deleted(self, client):
        made = client.post(URL, LISTING)
        assert (made.status_code, made.json()["status"], made.json()["on_sale"]) == (201, "DRAFT", False), made.content
        assert made.json().keys() == OwnTuneOutput().fields.keys()
        url = f"{URL}{made.json()['id']}/"

        edited = client.patch(url, {"price_minor": 9900, "requirements": {"fuel": {"octane": 98, "scale": "RON"}}}, HTTP_IF_MATCH='"1"')
        assert (edited.json()["price_minor"], edited.json()["revision"]) == (9900, 2)
        assert edited.json()["requirements"]["fuel"] == {"octane": 98, "scale": "RON"}
        assert client.patch(url, {"title": "Older"}, HTTP_IF_MATCH='"1"').json()["code"] == "stale_revision"
        assert AuditEvent.objects.get(act="tune.price_changed").facts["price_minor_before"] == 14900
        assert client.post(f"{url}archive/").json()["code"] == "invalid_transition"
        assert client.delete(url).status_code == 204
        assert client.get(url).status_code == 404

    def test_archiving_hides_and_unarchiving_shows(self, client, tuner):
        tune = TuneFactory(published=True, tuner=tuner)

        assert client.post(f"{URL}{tune.pk}/archive/").json()["status"] == "ARCHIVED"
        assert ApiClient().get(URL).json()["results"] == []
        assert ApiClient().get(f"{URL}{tune.pk}/").json()["on_sale"] is False
        assert client.post(f"{URL}{tune.pk}/archive/").json()["code"] == "invalid_transition"
        assert client.post(f"{URL}{tune.pk}/unarchive/").json()["on_sale"] is True
        assert len(ApiClient().get(URL).json()["results"]) == 1

    @pytest.mark.parametrize(
        ("change", "pointer", "code"),
        [
            ({"title": "ab"}, "/title", "min_length"),
            ({"title": "a\u202eb and more"}, "/title", "control_character"),
            ({"kind": "TRACTOR"}, "/kind", "invalid_choice"),
            ({"price_minor": -1}, "/price_minor", "min_value"),
            ({"price_minor": 10**12}, "/price_minor", "max_value"),
            ({"currency": "euro"}, "/currency", "invalid_choice"),
            ({"status": "PUBLISHED"}, "/status", "unknown_field"),
            ({"rating_sum": 5}, "/rating_sum", "unknown_field"),
            ({"listed": True}, "/listed", "unknown_field"),
            ({"dyno": {"standard": "DIN", "baseline": {"power_kw": 80, "torque_nm": 90}}}, "/dyno/tuned", "required"),
            (
                {"dyno": {"standard": "DIN", "baseline": {"power_kw": "nan", "torque_nm": 1}, "tuned": {"power_kw": 1, "torque_nm": 1}}},
                "/dyno/baseline/power_kw",
                "invalid",
            ),
            ({"image_upload_ids": [str(uuid4())]}, "/image_upload_ids/0", "upload_not_found"),
        ],
    )
    def test_what_is_wrong_is_named(self, client, change, pointer, code):
        answer = client.post(URL, {**LISTING, **change})

        assert answer.status_code == 400, answer.content
        assert (answer.json()["errors"][0]["pointer"], answer.json()["errors"][0]["code"]) == (pointer, code)
        assert not Tune.objects.exists()

    @pytest.mark.parametrize(
        ("change", "pointer", "code"),
        [
            ({"currency": "XYZ"}, "/currency", "invalid_choice"),
            ({"currency": "XYZ", "price_minor": 0}, "/currency", "invalid_choice"),
            ({"price_minor": 49}, "/price_minor", "price_too_small"),
            ({"price_minor": 49, "currency": "JPY"}, "/price_minor", "price_too_small"),
            ({"currency": "HUF"}, "/price_minor", "price_too_small"),
        ],
    )
    def test_a_price_that_could_never_be_paid_is_refused(self, change, pointer, code):
        tune = TuneFactory()
        client = client_for(tune.tuner.user)

        made, changed = client.post(URL, {**LISTING, **change}), client.patch(f"{URL}{tune.pk}/", change)

        for answer in (made, changed):
            assert answer.status_code == 400, answer.content
            assert (answer.json()["errors"][0]["pointer"], answer.json()["errors"][0]["code"]) == (pointer, code)
        assert Tune.objects.get().price_minor == tune.price_minor
        assert client.patch(f"{URL}{tune.pk}/", {"price_minor": 50}).status_code == 200
        assert client.patch(f"{URL}{tune.pk}/", {"price_minor": 0}).status_code == 200

    def test_a_currency_is_sold_in_only_if_the_stand_in_takes_it(self):
        sold_in = {currency.lower(): smallest for currency, smallest in SMALLEST_PRICE_MINOR.items()}

        assert sold_in == {currency: smallest for currency, (_decimals, smallest) in CURRENCIES.items()}

    def test_a_creator_publishes_free_tunes_only(self):
        client = client_for(TunerProfileFactory(creator=True).user)

        paid = client.post(URL, LISTING)
        free = client.post(URL, {**LISTING, "price_minor": 0})

        assert (paid.status_code, paid.json()["errors"][0]["code"]) == (400, "creator_free_only")
        assert free.status_code == 201
        assert client.patch(f"{URL}{free.json()['id']}/", {"price_minor": 1}).status_code == 400

    def test_a_tune_that_somebody_bought_stays(self, client, tuner):
        tune = TuneFactory(published=True, tuner=tuner)
        PurchaseFactory(paid=True, tune=tune)

        assert client.delete(f"{URL}{tune.pk}/").json()["code"] == "tune_in_use"
        tune.refresh_from_db()
        assert tune.listed

    def test_foreign_tunes_are_missing(self, client):
        tune = TuneFactory(published=True)
        answers = [
            client.patch(f"{URL}{tune.pk}/", {"title": "Mine"}),
            client.delete(f"{URL}{tune.pk}/"),
            client.post(f"{URL}{tune.pk}/archive/"),
            client.post(f"{URL}{tune.pk}/unarchive/"),
            client.patch(f"{URL}{uuid4()}/", {"title": "Nobody's"}),
        ]
        assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(404, "not_found")}

    @pytest.mark.parametrize("count", [1, 20])
    def test_own_listings_in_every_state_take_three_queries_at_most(self, client, tuner, django_assert_num_queries, count):
        for _ in range(count):
            TuneFactory(tuner=tuner)
        TuneFactory(published=True, tuner=tuner)
        client.get("tuners/me/tunes/")

        with django_assert_num_queries(2):  # session, listings
            answer = client.get("tuners/me/tunes/", {"status": "DRAFT"})

        assert len(answer.json()["results"]) == count
        assert client.get("tuners/me/tunes/", {"page_size": 1}).json()["results"][0]["status"] == "PUBLISHED"
        assert client.get("tuners/me/tunes/", {"status": "SOLD"}).status_code == 400

    def test_own_listings_are_walked_page_by_page(self, client, tuner):
        for number in range(5):
            TuneFactory(tuner=tuner, title=f"tune {number}")
        found, url = [], "tuners/me/tunes/?page_size=2"
        while url:
            answer = client.get(url).json()
            found += [row["title"] for row in answer["results"]]
            url = answer["next"]
        assert sorted(found) == [f"tune {number}" for number in range(5)]

    def test_staff_suspend_and_lift_with_a_reason(self, client, tuner):
        tune, admin = TuneFactory(published=True, tuner=tuner), UserFactory(admin=True, mfa=True)

        moderation.suspend_tune(tune_id=tune.pk, actor=admin, reason_code="SAFETY", note="Lean at 9,000.", at=clock.now())
        assert ApiClient().get(URL).json()["results"] == []
        own = client.get("tuners/me/tunes/").json()["results"][0]
        assert (own["status"], own["suspension_reason"], own["suspension_note"]) == ("SUSPENDED", "SAFETY", "Lean at 9,000.")
        assert client.patch(f"{URL}{tune.pk}/", {"title": "Better"}).json()["code"] == "tune_suspended"
        assert client.post(f"{URL}{tune.pk}/archive/").json()["code"] == "tune_suspended"
        with pytest.raises(Exception, match="suspended already"):
            moderation.suspend_tune(tune_id=tune.pk, actor=admin, reason_code="SAFETY", note="", at=clock.now())
        moderation.unsuspend_tune(tune_id=tune.pk, actor=admin, note="Fixed.", at=clock.now())
        assert len(ApiClient().get(URL).json()["results"]) == 1

    def test_nobody_suspends_their_own(self, tuner):
        tune = TuneFactory(published=True, tuner=tuner)
        tuner.user.role, tuner.user.is_staff = "ADMIN", True
        tuner.user.save(update_fields=["role", "is_staff"])

        with pytest.raises(OwnVersion):
            moderation.suspend_tune(tune_id=tune.pk, actor=tuner.user, reason_code="SAFETY", note="", at=clock.now())

    def test_postgres_refuses_half_a_suspension(self):
        tune = TuneFactory(published=True)
        with pytest.raises(IntegrityError, match="tune_suspension_complete"), transaction.atomic():
            Tune.objects.filter(pk=tune.pk).update(status=TuneStatus.SUSPENDED)
        with pytest.raises(IntegrityError, match="tune_rating_sum_possible"), transaction.atomic():
            Tune.objects.filter(pk=tune.pk).update(rating_sum=6, rating_count=1)


@pytest.mark.django_db
class TestFavorites:
    def test_marking_twice_is_one_favourite(self):
        tune, rider = TuneFactory(published=True), UserFactory()
        client = client_for(rider)

        assert [client.put(f"{URL}{tune.pk}/favorite/").status_code for _ in range(2)] == [204, 204]
        assert Favorite.objects.count() == 1
        listed = client.get("marketplace/favorites/").json()["results"]
        assert listed[0]["tune"]["id"] == str(tune.pk)
        assert [client.delete(f"{URL}{tune.pk}/favorite/").status_code for _ in range(2)] == [204, 204]
        assert client.get("marketplace/favorites/").json()["results"] == []

    def test_only_public_tunes_are_marked_and_shown(self):
        draft, rider = TuneFactory(), UserFactory()
        FavoriteFactory(user=rider, tune=TuneFactory(suspended=True))
        client = client_for(rider)

        assert client.put(f"{URL}{draft.pk}/favorite/").status_code == 404
        assert client.put(f"{URL}{uuid4()}/favorite/").status_code == 404
        assert client.get("marketplace/favorites/").json()["results"] == []
        assert ApiClient().get("marketplace/favorites/").status_code == 401

    @pytest.mark.parametrize("count", [1, 20])
    def test_take_two_queries_and_pages_hold(self, django_assert_num_queries, count):
        rider, now = UserFactory(), clock.now()
        for _ in range(count):
            FavoriteFactory(user=rider, created_at=now)
        client = client_for(rider)
        client.get("marketplace/favorites/")

        with django_assert_num_queries(2):
            assert len(client.get("marketplace/favorites/").json()["results"]) == count
        url, found = "marketplace/favorites/?page_size=7", []
        while url:
            answer = client.get(url).json()
            found += [row["tune"]["id"] for row in answer["results"]]
            url = answer["next"]
        assert len(found) == len(set(found)) == count


@pytest.mark.django_db(transaction=True)
def test_two_taps_at_once_are_one_favourite():
    tune, rider = TuneFactory(published=True), UserFactory()

    assert race_all([lambda: favorites.add_favorite(user=rider, tune_id=tune.pk, at=clock.now())] * 4) == ["ok"] * 4
    assert Favorite.objects.count() == 1


@pytest.mark.django_db
class TestSearch:
    @pytest.fixture
    def tunes(self):
        honda = VehicleMakeFactory(name="Honda")
        gsxr = VehicleModelFactory(make=VehicleMakeFactory(name="Suzuki"), name="GSX-R1000")
        zx10r = VehicleModelFactory(make=VehicleMakeFactory(name="Kawasaki"), name="Ninja ZX-10R")
        ModelAliasFactory(model=VehicleModelFactory(make=honda, name="CBR 1000 RR"), name="Fireblade")
        TuneFactory(published=True, title="Smooth road map")
        TuneFactory(published=True, title="Quickshifter for track days", version__fitment__model=gsxr)
        TuneFactory(published=True, title="Winter economy", version__fitment__model=zx10r, tuner__business_name="Müller Tuning")
        cbr = VehicleModelFactory(make=honda, name="CBR 1000 RR")
        TuneFactory(published=True, title="Настройка für Ténéré 😀", version__fitment__model=cbr)

    @pytest.mark.parametrize(
        ("q", "expected"),
        [
            ("mt 09", "Smooth road map"),
            ("MT-09", "Smooth road map"),
            ("yamaha mt09 stage 1", "Smooth road map"),
            ("yamaha stage1", "Smooth road map"),
            ("gsxr 1000", "Quickshifter for track days"),
            ("GSX-R 1000", "Quickshifter for track days"),
            ("gsxr1000", "Quickshifter for track days"),
            ("ninja zx10r", "Winter economy"),
            ("zx 10r", "Winter economy"),
            ("muller", "Winter economy"),
            ("müller", "Winter economy"),
            ("fireblade", "Настройка für Ténéré 😀"),
            ("настройка", "Настройка für Ténéré 😀"),
            ("tenere", "Настройка für Ténéré 😀"),
            ("quicks", "Quickshifter for track days"),
            # typos
            ("quikshifter", "Quickshifter for track days"),
            ("yamha road", "Smooth road map"),
            ("kawaski", "Winter economy"),
            ("economi", "Winter economy"),
            ("mt -09 -yamaha zzz", "Smooth road map"),  # a word that nobody used is left out
        ],
    )
    def test_finds_what_riders_mean(self, tunes, q, expected):
        found = search(q)

        assert found[:1] == [expected], found

    @pytest.mark.parametrize("q", ["xyzzyplugh", "😀", "!!!", "-", "winter quickshifter"])
    def test_finds_nothing_where_there_is_nothing(self, tunes, q):
        assert search(q) == []

    @pytest.mark.parametrize(
        "q",
        [
            *("'", "\\", "' | !x", "a:*", "a & b", "!!a", "(((", "a <-> b", "%", "_", "{}", "'; DROP TABLE marketplace_tune; --", "a\\'b"),
            *("½", "٣٤", "\u200d", "ﷺ", "İstanbul", "ß", "e" * 300, "1 " * 150, "a1b2c3d4e5f6g7", "𝕏", "*:*", "and or not"),
        ],
    )
    @pytest.mark.parametrize("path", [URL, "marketplace/tunes/suggest/"])
    def test_query_syntax_is_data(self, tunes, path, q):
        assert ApiClient().get(path, {"q": q}).status_code in {200, 400}

    def test_random_text_is_never_an_error(self, tunes):
        chance = random.Random(7)
        for _ in range(60):
            ranges = [chance.choice([(32, 126), (160, 0x2FFF), (0x1F300, 0x1FAFF)]) for _ in range(12)]
            q = "".join(chr(chance.randint(*bounds)) for bounds in ranges)
            for path in (URL, "marketplace/tunes/suggest/"):
                assert ApiClient().get(path, {"q": q}).status_code in {200, 400}, q

    def test_words_and_filters_hold_together(self, tunes):
        assert search("smooth", make="Yamaha", model="MT-09", year=2021) == ["Smooth road map"]
        assert search("smooth", make="Yamaha", model="MT-09", year=2011) == []
        assert search("road", make="Honda") == []

    def test_a_title_counts_more_than_a_description(self):
        TuneFactory(published=True, title="Plain", description="As good as a unicorn.")
        TuneFactory(published=True, title="Unicorn", description="Plain.")

        assert search("unicorn") == ["Unicorn", "Plain"]

    def test_a_changed_title_is_found_at_once(self):
        tune = TuneFactory(published=True, title="Before")
        Tune.objects.filter(pk=tune.pk).update(title="Afterwards")

        assert (search("afterwards"), search("before")) == (["Afterwards"], [])
        assert SearchWord.objects.filter(word="afterwards").exists()

    def test_a_typo_takes_three_queries(self, tunes, django_assert_num_queries):
        with django_assert_num_queries(3):
            search("quikshifter")


@pytest.mark.django_db
class TestSuggest:
    def suggest(self, q):
        return [(row["text"], row["kind"]) for row in ApiClient().get("marketplace/tunes/suggest/", {"q": q}).json()["results"]]

    def test_completes_makes_models_tuners_and_titles(self):
        TuneFactory(published=True, title="Yankee map", tuner__business_name="Yaris Works")

        assert self.suggest("ya") == [("Yamaha", "MAKE"), ("Yamaha MT-09", "MODEL"), ("Yaris Works", "TUNER"), ("Yankee map", "TUNE")]
        assert self.suggest("mt 0") == [("Yamaha MT-09", "MODEL")]
        assert self.suggest("yamha")[0] == ("Yamaha", "MAKE")
        assert self.suggest("!") == []

    def test_what_is_wrong_is_named(self):
        assert ApiClient().get("marketplace/tunes/suggest/").json()["errors"][0]["parameter"] == "q"

    def test_takes_one_query(self, django_assert_num_queries):
        TuneFactory(published=True)
        with django_assert_num_queries(1):
            self.suggest("yam")


@pytest.mark.django_db
class TestFacets:
    def facets(self, **params):
        return ApiClient().get("marketplace/tunes/facets/", params).json()

    def test_counts_everything_or_one_make_or_model(self):
        TuneFactory(published=True)
        TuneFactory(published=True, free=True, category="ECONOMY", version__fitment__model=VehicleModelFactory(name="MT-07"))
        TuneFactory()

        counts = self.facets()["counts"]
        assert counts["make"] == [{"value": "Yamaha", "count": 2, "capped": False}]
        assert counts["category"] == [{"value": name, "count": 1, "capped": False} for name in ("ECONOMY", "STAGE_1")]
        assert counts["free"] == [{"value": name, "count": 1, "capped": False} for name in ("false", "true")]
        model = self.facets(make="yamaha", model="mt 07")["counts"]
        assert [row["value"] for row in model["category"]] == ["ECONOMY"]
        assert self.facets(make="Nobody")["counts"]["category"] == []

    def test_are_kept_for_a_minute(self, django_assert_num_queries):
        TuneFactory(published=True)
        first = self.facets()
        with django_assert_num_queries(0):
            assert self.facets() == first

    def test_stop_counting_at_a_thousand(self, monkeypatch):
        from marketplace.selectors import tunes

        monkeypatch.setattr(tunes, "FACET_CAP", 1)
        for _ in range(3):
            TuneFactory(published=True)

        assert self.facets()["counts"]["category"] == [{"value": "STAGE_1", "count": 1, "capped": True}]

    def test_model_needs_its_make(self):
        answer = ApiClient().get("marketplace/tunes/facets/", {"model": "MT-09"})
        assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (400, "make")


@pytest.mark.django_db
class TestReviews:
    def post(self, purchase, **changes):
        tuner = purchase.tune.tuner_id
        body = {"tune": str(purchase.tune_id), "rating": 4, "text": "Good.", **changes}
        return client_for(purchase.buyer).post(f"tuners/{tuner}/reviews/", body)

    def test_a_buyer_reviews_and_both_ratings_move(self):
        purchase = PurchaseFactory(paid=True, tune=TuneFactory(published=True))

        answer = self.post(purchase)

        assert answer.status_code == 201, answer.content
        assert (answer.json()["tune"], answer.json()["rating"]) == (str(purchase.tune_id), 4)
        tune = Tune.objects.select_related("tuner").get(pk=purchase.tune_id)
        assert (tune.rating_sum, tune.rating_count, tune.rating_milli) == (4, 1, 4000)
        assert (tune.tuner.rating_sum, tune.tuner.review_count) == (4, 1)
        listed = ApiClient().get(f"{URL}{tune.pk}/reviews/").json()["results"]
        assert [row["text"] for row in listed] == ["Good."]
        assert self.post(purchase).json()["code"] == "already_reviewed"

    def test_who_has_not_paid_reviews_nothing(self):
        tune = TuneFactory(published=True)
        stranger = client_for(UserFactory())
        pending = PurchaseFactory(tune=tune)
        url, body = f"tuners/{tune.tuner_id}/reviews/", {"tune": str(tune.pk), "rating": 5}

        assert stranger.post(url, body).json()["code"] == "verified_buyer_required"
        assert self.post(pending).json()["code"] == "verified_buyer_required"
        assert client_for(tune.tuner.user).post(url, body).status_code in {403, 409}
        assert ApiClient().post(url, body).status_code == 401
        assert stranger.post(f"tuners/{uuid4()}/reviews/", body).status_code == 404
        other = TuneFactory(published=True)
        assert stranger.post(url, {**body, "tune": str(other.pk)}).json()["errors"][0]["pointer"] == "/tune"

    @pytest.mark.parametrize("change", [{"rating": 0}, {"rating": 6}, {"rating": "5"}, {"rating": 4.5}, {"text": "x" * 4001}, {"stars": 5}])
    def test_a_wrong_review_changes_nothing(self, change):
        purchase = PurchaseFactory(paid=True, tune=TuneFactory(published=True))

        assert self.post(purchase, **change).status_code == 400
        assert Tune.objects.get(pk=purchase.tune_id).rating_count == 0

    def test_for_ones_own_vehicle_those_of_its_model(self):
        tune = TuneFactory(published=True)
        vehicle = VehicleFactory()
        purchase = PurchaseFactory(paid=True, tune=tune, buyer=vehicle.owner, vehicle_id=vehicle.pk)
        self.post(purchase)
        client, other = client_for(vehicle.owner), VehicleFactory(owner=vehicle.owner, model="MT-07")

        assert len(client.get(f"{URL}{tune.pk}/reviews/", {"vehicle": vehicle.pk}).json()["results"]) == 1
        assert client.get(f"{URL}{tune.pk}/reviews/", {"vehicle": other.pk}).json()["results"] == []
        assert ApiClient().get(f"{URL}{tune.pk}/reviews/", {"vehicle": vehicle.pk}).status_code == 401

    @pytest.mark.parametrize("count", [1, 20])
    def test_the_list_takes_two_queries(self, django_assert_num_queries, count):
        tune = TuneFactory(published=True)
        for _ in range(count):
            self.post(PurchaseFactory(paid=True, tune=tune))
        with django_assert_num_queries(2):
            assert len(ApiClient().get(f"{URL}{tune.pk}/reviews/").json()["results"]) == count


@pytest.mark.django_db
def test_popularity_follows_downloads_and_flashes_not_the_price():
    tune = TuneFactory(published=True)
    Tune.objects.filter(pk=tune.pk).update(download_count=10, flash_count=4, flash_success_count=3)
    FavoriteFactory(tune=tune)

    assert upkeep.refresh_popularity(at=clock.now()) == 1
    assert upkeep.refresh_popularity(at=clock.now()) == 0
    tune.refresh_from_db()
    assert tune.popularity == 46
    assert set(tune.browse_rows.values_list("popularity", flat=True)) == {46}


@pytest.mark.django_db
class TestMakesOfTuners:
    def found_by(self, make: str) -> list[str]:
        return [row["id"] for row in ApiClient().get("tuners/", {"make": make}).json()["results"]]

    def test_a_tuner_is_found_by_what_is_on_sale(self):
        tune = TuneFactory(published=True, tuner__makes=[])
        MakeAlias.objects.create(make=tune.fitments.get().make, name="Yam", folded="yam")
        draft = TuneFactory(tuner__makes=[])

        assert upkeep.refresh_makes() == 1
        assert upkeep.refresh_makes() == 0
        assert self.found_by("YAMAHA") == self.found_by("yam") == [str(tune.tuner_id)]
        assert ApiClient().get(f"tuners/{tune.tuner_id}/").json()["makes"] == ["Yamaha"]
        assert ApiClient().get(f"tuners/{draft.tuner_id}/").json()["makes"] == []

    def test_a_make_goes_with_its_last_tune(self):
        tune = TuneFactory(published=True, tuner__makes=["Yamaha"])
        other = TuneFactory(published=True, tuner__makes=["Yamaha"])
        listings.archive_tune(author=tune.tuner.user, tune_id=tune.pk, at=clock.now())

        assert upkeep.refresh_makes(tuner_id=other.tuner_id) == 0
        assert upkeep.refresh_makes(tuner_id=tune.tuner_id) == 1
        assert ApiClient().get(f"tuners/{tune.tuner_id}/").json()["makes"] == []

    def test_a_suspended_tuner_keeps_theirs_for_the_day_of_return(self):
        tune = TuneFactory(published=True, tuner__makes=["Yamaha"])
        admin, at = UserFactory(admin=True), clock.now()
        suspend_tuner(tuner_id=tune.tuner_id, actor=admin, reason="SAFETY", note="Looked into.", at=at)

        assert upkeep.refresh_makes() == 0
        reinstate_tuner(tuner_id=tune.tuner_id, actor=admin, reason="Cleared.", at=at)
        assert self.found_by("Yamaha") == [str(tune.tuner_id)]
