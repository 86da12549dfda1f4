"""Tunes like this one: what is offered, in which order, for whose vehicle, and what it costs."""

from uuid import uuid4

import pytest
from django.db import connection

from core.testing.http import ApiClient, client_for
from garage.tests.factories import VehicleFactory, VehicleMakeFactory, VehicleModelFactory
from marketplace.models import Tune
from marketplace.selectors import discovery
from marketplace.tests.factories import TuneFactory, TuneVersionFactory

pytestmark = pytest.mark.django_db


def published(title: str, *, version: dict | None = None, rating: tuple[int, int] = (0, 0), popularity: int = 0, **facts) -> Tune:
    tune = TuneFactory(published=True, title=title, **{f"version__{name}": value for name, value in (version or {}).items()}, **facts)
    Tune.objects.filter(pk=tune.pk).update(rating_sum=rating[0], rating_count=rating[1], popularity=popularity)
    return tune


def similar(tune, client=None, **params) -> list[dict]:
    answer = (client or ApiClient()).get(f"marketplace/tunes/{tune.pk}/similar/", params)
    assert answer.status_code == 200, answer.content
    return answer.json()["results"]


def titles(tune, client=None, **params) -> list[str]:
    return [row["title"] for row in similar(tune, client, **params)]


class TestWhatIsOffered:
    def test_other_tunes_on_sale_for_the_same_model(self):
        mine = published("mine")
        published("the other one")
        published("other model", version={"fitment__model": VehicleModelFactory(name="MT-07")})
        published("other make", version={"fitment__model": VehicleModelFactory(make=VehicleMakeFactory(name="Honda"), name="CB 650")})
        TuneFactory(title="draft")
        for trait in ("archived", "suspended"):
            TuneFactory(**{trait: True}, title=trait)
        TuneVersionFactory(tune__title="held", on_hold=True)

        assert titles(mine) == ["the other one"]

    def test_the_same_hardware_first_then_category_rating_and_popularity(self):
        mine = published("mine", category="STAGE_1")
        other_hardware = {"fitment__hardware_numbers": ["OTHER-HW"]}
        published("other hardware", version=other_hardware, rating=(500, 100), popularity=900)
        published("other category", category="TRACK", rating=(500, 100), popularity=900)
        published("well rated", rating=(450, 100))
        published("popular", popularity=50)
        published("unknown yet")
        published("badly rated", rating=(100, 100), popularity=800)

        assert titles(mine) == ["well rated", "popular", "unknown yet", "badly rated", "other category", "other hardware"]

    def test_the_price_plays_no_part(self):
        mine = published("mine")
        published("dear", price_minor=50_000, popularity=1)
        published("free", price_minor=0, popularity=2)
        published("cheap", price_minor=100, popularity=3)
        found = titles(mine)
        Tune.objects.filter(title="dear").update(price_minor=0)
        Tune.objects.filter(title="free").update(price_minor=90_000)

        assert found == titles(mine) == ["cheap", "free", "dear"]

    def test_a_tune_for_two_models_is_offered_once_and_offers_both(self):
        mine = published("mine")
        version = TuneVersionFactory(tune=mine, published=True, fitment__model=VehicleModelFactory(name="XSR 900"))
        published("for the first")
        published("for the second", version={"fitment__model": VehicleModelFactory(name="XSR 900")})
        both = published("for both")
        TuneVersionFactory(tune=both, published=True, fitment__model=VehicleModelFactory(name="XSR 900"))

        assert version.tune_id == mine.pk
        assert sorted(titles(mine)) == ["for both", "for the first", "for the second"]

    def test_an_archived_tune_still_leads_to_others(self):
        gone = TuneFactory(archived=True)
        published("on sale")

        assert titles(gone) == ["on sale"]

    def test_at_most_twenty_of_the_best_candidates(self, monkeypatch):
        mine = published("mine")
        for number in range(7):
            published(f"tune {number}", popularity=number)
        best = published("best", rating=(5000, 1000))
        monkeypatch.setattr(discovery, "SIMILAR", 5)
        monkeypatch.setattr(discovery, "CANDIDATES", 2)

        assert titles(mine) == [best.title, "tune 6", "tune 5"], "two by popularity, two by rating"

    def test_what_nobody_may_see_has_none(self):
        draft = TuneFactory()

        for tune_id in (draft.pk, uuid4()):
            assert ApiClient().get(f"marketplace/tunes/{tune_id}/similar/").status_code == 404
        assert client_for(draft.tuner.user).get(f"marketplace/tunes/{draft.pk}/similar/").status_code == 200

    def test_anonymous_readers_may_cache_it(self):
        mine = published("mine")

        first = ApiClient().get(f"marketplace/tunes/{mine.pk}/similar/")
        again = ApiClient().get(f"marketplace/tunes/{mine.pk}/similar/", HTTP_IF_NONE_MATCH=first["ETag"])

        assert first["Cache-Control"] == "public, max-age=30"
        assert (again.status_code, again.content) == (304, b"")


class TestForMyVehicle:
    def test_mismatches_are_hidden_and_matches_come_first(self):
        vehicle = VehicleFactory(with_ecu=True)
        mine = published("mine")
        published("fits")
        published("may fit", version={"fitment__calibration_ids": []}, rating=(500, 100), popularity=500)
        published("other market", version={"fitment__markets": ["US"]})
        published("other hardware", version={"fitment__hardware_numbers": ["OTHER-HW"]})

        found = {row["title"]: row["fitment"]["verdict"] for row in similar(mine, client_for(vehicle.owner), vehicle=vehicle.pk)}

        assert list(found.items()) == [("fits", "match"), ("may fit", "unknown")]

    def test_for_another_model_it_offers_what_fits_the_vehicle(self):
        vehicle = VehicleFactory(with_ecu=True)
        another = {"fitment__model": VehicleModelFactory(name="MT-07")}
        not_for_it = published("track tune of another bike", category="TRACK", version=another)
        published("for the bike", popularity=9)
        published("track tune for the bike", category="TRACK")

        assert titles(not_for_it, client_for(vehicle.owner), vehicle=vehicle.pk) == ["track tune for the bike", "for the bike"]

    def test_a_vehicle_that_is_not_in_the_catalogue_can_only_be_unknown(self):
        vehicle = VehicleFactory(unlisted=True, model="Special", with_ecu=True)
        mine = published("mine")
        published("same make")

        (row,) = similar(mine, client_for(vehicle.owner), vehicle=vehicle.pk)

        assert "model_unknown" in {reason["code"] for reason in row["fitment"]["reasons"]}

    def test_needs_a_session_and_ones_own_vehicle(self):
        vehicle, mine = VehicleFactory(), published("mine")
        url = f"marketplace/tunes/{mine.pk}/similar/"

        assert ApiClient().get(url, {"vehicle": vehicle.pk}).status_code == 401
        assert client_for(VehicleFactory().owner).get(url, {"vehicle": vehicle.pk}).status_code == 404


class TestCost:
    @pytest.mark.parametrize("count", [1, 15])
    def test_two_queries_and_two_more_for_my_vehicle(self, django_assert_num_queries, count):
        vehicle, mine = VehicleFactory(with_ecu=True), published("mine")
        for number in range(count):
            published(f"tune {number}")
        client = client_for(vehicle.owner)
        client.get(f"marketplace/tunes/{mine.pk}/similar/")

        with django_assert_num_queries(2):
            assert len(similar(mine)) == count
        with django_assert_num_queries(4):
            assert len(similar(mine, client, vehicle=vehicle.pk)) == count

    def test_candidates_come_from_the_indexes_of_the_model(self):
        """However many tunes a model has: no sort of all of them, and no scan of the browse rows."""
        mine = published("mine")
        for number in range(3):
            published(f"tune {number}")
        plans: list[str] = []

        def explain(execute, sql, params, many, context):
            if "row_number() OVER" in sql and not plans:
                plans.append("")
                with connection.cursor() as cursor:
                    cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off")
                    cursor.execute(f"EXPLAIN {sql}", params)
                    plans[0] = "\n".join(line for (line,) in cursor.fetchall())
            return execute(sql, params, many, context)

        with connection.execute_wrapper(explain):
            similar(mine)

        assert "browserow_popular" in plans[0] and "browserow_rating" in plans[0], plans[0]
