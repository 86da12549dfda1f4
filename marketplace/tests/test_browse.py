"""The list of tunes over HTTP: filters, orders, pages, verdicts, and what it costs."""

from datetime import timedelta
from uuid import uuid4

import pytest

from core import clock
from core.testing.http import ApiClient, client_for
from garage.tests.factories import (
    CALIBRATION_ID,
    HARDWARE_NUMBER,
    ModelAliasFactory,
    VehicleFactory,
    VehicleMakeFactory,
    VehicleModelFactory,
)
from marketplace.enums import TuneStatus
from marketplace.models import BrowseRow, SearchRow, Tune
from marketplace.selectors import browse
from marketplace.serializers.tunes import TuneRowOutput
from marketplace.tests.factories import FitmentFactory, TuneFactory, TuneFileFactory, TuneVersionFactory
from tuners.models import TunerProfile
from tuners.tests.factories import TunerProfileFactory

URL = "marketplace/tunes/"


@pytest.fixture(autouse=True)
def _fresh_names():
    """Names of the catalogue are cached for a minute in each process; its rows live for one test."""
    browse.names.clear()


def titles(client=None, **params) -> list[str]:
    answer = (client or ApiClient()).get(URL, params)
    assert answer.status_code == 200, answer.content
    return [row["title"] for row in answer.json()["results"]]


def published(title: str, *, version: dict | None = None, **facts) -> Tune:
    return TuneFactory(published=True, title=title, **{f"version__{name}": value for name, value in (version or {}).items()}, **facts)


@pytest.mark.django_db
class TestWhatIsListed:
    def test_only_tunes_with_a_published_version_of_an_active_tuner(self):
        seen = published("seen")
        TuneFactory(title="draft")
        TuneFactory(archived=True, title="archived")
        TuneFactory(suspended=True, title="suspended")
        for trait in ("on_hold", "recalled", "withdrawn", "in_review"):
            TuneVersionFactory(tune__title=trait, **{trait: True})
        hidden = published("of a suspended tuner", tuner=TunerProfileFactory())
        TunerProfile.objects.filter(pk=hidden.tuner_id).update(status="SUSPENDED", suspended_at=clock.now(), suspension_reason="SAFETY")
        from marketplace.services.upkeep import on_standing

        on_standing(tuner_id=hidden.tuner_id, active=False, verified=False)

        assert titles() == ["seen"]
        assert list(BrowseRow.objects.values_list("tune_id", flat=True).distinct()) == [seen.pk]
        assert list(SearchRow.objects.values_list("tune_id", flat=True)) == [seen.pk]

    def test_a_row_has_the_shape_that_is_documented(self):
        tuner = TunerProfileFactory(rating_sum=24, review_count=5)
        image = {"upload_id": str(uuid4()), "key": "images/ab/abc.webp", "width": 8, "height": 6}
        tune = published("MT-09 Stage 1", tuner=tuner, images=[image])
        Tune.objects.filter(pk=tune.pk).update(
            rating_sum=14, rating_count=3, download_count=240, flash_count=412, flash_success_count=409
        )

        row = ApiClient().get(URL).json()["results"][0]

        version = tune.versions.get()
        assert row == {
            "id": str(tune.pk),
            "title": "MT-09 Stage 1",
            "kind": "MOTORCYCLE",
            "category": "STAGE_1",
            "tuner": {
                "id": str(tuner.pk),
                "business_name": tuner.business_name,
                "verified": True,
                "rating": 4.8,
                "review_count": 5,
            },
            "price_minor": 14900,
            "currency": "EUR",
            "rating": 4.7,
            "review_count": 3,
            "download_count": 240,
            "flash_success_rate": 0.993,
            "flash_count": 412,
            "latest_version": {
                "id": str(version.pk),
                "version": version.version,
                "published_at": version.published_at.isoformat().replace("+00:00", "Z"),
            },
            "image_url": "http://testserver/media/images/ab/abc.webp",
            "fitment_summary": ["Yamaha MT-09 2021–2023"],
            "emissions_class": "CLOSED_COURSE_ONLY",
        }
        assert row.keys() == TuneRowOutput().fields.keys() - {"fitment"}
        assert row["tuner"].keys() == TuneRowOutput().fields["tuner"].fields.keys()
        assert row["latest_version"].keys() == TuneRowOutput().fields["latest_version"].fields.keys()

    def test_anonymous_readers_may_cache_it(self):
        published("one")

        first = ApiClient().get(URL)
        again = ApiClient().get(URL, HTTP_IF_NONE_MATCH=first["ETag"])

        assert first["Cache-Control"] == "public, max-age=30"
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.django_db
class TestFilters:
    def test_make_and_model_are_names_however_spelled(self):
        published("mine")
        published("other", version={"fitment__model": VehicleModelFactory(name="MT-07")})
        ModelAliasFactory(model=VehicleModelFactory(name="MT-09"), name="FZ-09")

        for spelling in ("MT-09", "mt09", "mt 09", "FZ09"):
            assert titles(make="yamaha", model=spelling) == ["mine"], spelling
        assert sorted(titles(make="YAMAHA")) == ["mine", "other"]
        assert titles(make="Yamaha", model="MT-10") == titles(make="Nobody") == []

    def test_a_tune_for_two_models_of_a_make_is_listed_once_for_the_make(self):
        version = TuneVersionFactory(tune__title="both")
        FitmentFactory(file=version.files.get(), position=1, model=VehicleModelFactory(name="XSR 900"))
        from marketplace.tests.factories.tunes import _move

        TuneFileFactory(version=version, position=1, inspected=True)
        version.files.update(format="BIN", image_base=0, image_size_bytes=1, image_sha256="0" * 64)
        _move(version, "PUBLISHED")

        assert titles(make="Yamaha") == titles(make="Yamaha", model="XSR900") == titles(make="Yamaha", model="MT-09") == ["both"]

    @pytest.mark.parametrize(
        ("params", "found"),
        [
            ({"year": 2021}, True),
            ({"year": 2024}, False),
            ({"make": "Yamaha", "model": "MT-09", "year": 2023}, True),
            ({"make": "Yamaha", "model": "MT-09", "year": 2020}, False),
            ({"make": "Yamaha", "year": 2022}, True),
            ({"market": "EU"}, True),
            ({"market": "US"}, False),
            ({"hardware_number": HARDWARE_NUMBER.lower()}, True),
            ({"hardware_number": "OTHER"}, False),
            ({"calibration_id": CALIBRATION_ID}, True),
            ({"calibration_id": "OTHER"}, False),
            ({"make": "Yamaha", "model": "MT-09", "year": 2021, "market": "UK", "hardware_number": HARDWARE_NUMBER}, True),
            ({"kind": "MOTORCYCLE"}, True),
            ({"kind": "CAR"}, False),
            ({"category": "STAGE_1"}, True),
            ({"category": "ECONOMY"}, False),
            ({"currency": "EUR"}, True),
            ({"currency": "USD"}, False),
            ({"currency": "EUR", "min_price_minor": 14900, "max_price_minor": 14900}, True),
            ({"currency": "EUR", "min_price_minor": 14901}, False),
            ({"currency": "EUR", "max_price_minor": 14899}, False),
            ({"free": "true"}, False),
            ({"free": "false"}, True),
            ({"min_rating": "4.5"}, True),
            ({"min_rating": "4.6"}, False),
            ({"fuel_octane": 98, "fuel_scale": "RON"}, True),
            ({"fuel_octane": 94, "fuel_scale": "RON"}, False),
            ({"fuel_octane": 98, "fuel_scale": "AKI"}, False),
            ({"emissions_class": "CLOSED_COURSE_ONLY"}, True),
            ({"emissions_class": "CERTIFIED"}, False),
            ({"q": "smoother throttle"}, True),
            ({"q": "turbo"}, False),
        ],
    )
    def test_each_filter_keeps_what_it_should_with_and_without_a_model(self, params, found):
        fuel = {"fuel": {"octane": 95, "scale": "RON"}, "flash_methods": ["OBD"], "read_back": "YES"}
        tune = published("it", version={"requirements": fuel})
        Tune.objects.filter(pk=tune.pk).update(rating_sum=9, rating_count=2)

        assert titles(**params) == (["it"] if found else [])
        assert titles(**{"make": "Yamaha", "model": "MT-09", **params}) == (["it"] if found else [])

    def test_conditions_hold_for_one_fitment_not_across_them(self):
        version = TuneVersionFactory(tune__title="two fitments", fitment__markets=["EU"])
        FitmentFactory(file=version.files.get(), position=1, markets=["US"], hardware_numbers=["US-HW"])
        version.files.update(format="BIN", image_base=0, image_size_bytes=1, image_sha256="0" * 64)
        from marketplace.tests.factories.tunes import _move

        _move(version, "PUBLISHED")

        assert titles(market="US", hardware_number="US-HW") == ["two fitments"]
        assert titles(market="EU", hardware_number="US-HW") == []
        assert titles(make="Yamaha", model="MT-09", market="EU", hardware_number="US-HW") == []

    def test_the_tuners_page_lists_what_is_on_sale(self):
        mine, _other = published("mine"), published("other")

        answer = ApiClient().get(f"tuners/{mine.tuner_id}/tunes/")

        assert [row["title"] for row in answer.json()["results"]] == ["mine"]
        assert titles(tuner=mine.tuner_id) == ["mine"]
        assert ApiClient().get(f"tuners/{uuid4()}/tunes/").status_code == 404

    @pytest.mark.parametrize(
        ("params", "parameter", "code"),
        [
            ({"colour": "red"}, "colour", "unknown_field"),
            ({"ordering": "sideways"}, "ordering", "invalid_choice"),
            ({"ordering": "relevance"}, "ordering", "needs_q"),
            ({"ordering": "price"}, "currency", "required"),
            ({"min_price_minor": 1}, "currency", "required"),
            ({"min_price_minor": -1, "currency": "EUR"}, "min_price_minor", "min_value"),
            ({"currency": "EURO"}, "currency", "invalid"),
            ({"model": "MT-09"}, "make", "required"),
            ({"fuel_octane": 95}, "fuel_scale", "required"),
            ({"year": "soon"}, "year", "invalid"),
            ({"market": "Mars"}, "market", "invalid_choice"),
            ({"tuner": "me"}, "tuner", "invalid"),
            ({"verdict": "match"}, "vehicle", "required"),
            ({"free": "perhaps"}, "free", "invalid"),
            ({"min_rating": "nan"}, "min_rating", None),
            ({"page_size": 101}, "page_size", "max_value"),
            ({"cursor": "AAAA"}, "cursor", "invalid_cursor"),
            ({"q": ""}, "q", "blank"),
            ({"q": "x" * 301}, "q", "max_length"),
            ({"q": "a\x00b"}, "q", "invalid"),
        ],
    )
    def test_what_is_wrong_is_named(self, params, parameter, code):
        answer = ApiClient().get(URL, params)

        assert answer.status_code == 400
        error = answer.json()["errors"][0]
        assert error["parameter"] == parameter
        assert code is None or error["code"] == code

    def test_a_repeated_parameter_is_refused(self):
        answer = ApiClient().get(f"{URL}?year=2020&year=2021")

        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "repeated")


@pytest.mark.django_db
class TestOrders:
    @pytest.fixture
    def three(self):
        now = clock.now()
        facts = [("cheap", 100, 5, 1, 10), ("middle", 200, 44, 10, 30), ("dear", 300, 30, 10, 20)]
        for age, (title, price, rating_sum, rating_count, popularity) in enumerate(facts):
            tune = published(title, price_minor=price, published_at=now - timedelta(days=age), created_at=now - timedelta(days=age))
            Tune.objects.filter(pk=tune.pk).update(rating_sum=rating_sum, rating_count=rating_count, popularity=popularity)

    @pytest.mark.parametrize("scope", [{}, {"make": "Yamaha"}, {"make": "Yamaha", "model": "MT-09", "year": 2022}])
    @pytest.mark.parametrize(
        ("params", "expected"),
        [
            ({}, ["cheap", "middle", "dear"]),
            ({"ordering": "newest"}, ["cheap", "middle", "dear"]),
            ({"ordering": "price", "currency": "EUR"}, ["cheap", "middle", "dear"]),
            ({"ordering": "-price", "currency": "EUR"}, ["dear", "middle", "cheap"]),
            ({"ordering": "rating"}, ["middle", "cheap", "dear"]),  # one five-star review does not win
            ({"ordering": "popular"}, ["middle", "dear", "cheap"]),
            ({"ordering": "popular", "q": "smoother"}, ["middle", "dear", "cheap"]),
        ],
    )
    def test_each_order_with_and_without_make_and_model(self, three, scope, params, expected):
        assert titles(**scope, **params) == expected
        assert walk({**scope, **params, "page_size": 1}) == expected

    def test_a_changed_price_and_a_new_review_move_a_tune_at_once(self, three):
        Tune.objects.filter(title="dear").update(price_minor=50, rating_sum=200, rating_count=40)

        assert titles(make="Yamaha", model="MT-09", ordering="price", currency="EUR")[0] == "dear"
        assert titles(make="Yamaha", model="MT-09", ordering="rating")[0] == "dear"


def walk(params, client=None, between=lambda: None) -> list[str]:
    found, url = [], None
    client = client or ApiClient()
    while True:
        answer = client.get(url) if url else client.get(URL, params)
        assert answer.status_code == 200, answer.content
        found += [row["title"] for row in answer.json()["results"]]
        url = answer.json()["next"]
        if url is None:
            return found
        between()


@pytest.mark.django_db
class TestPages:
    @pytest.mark.parametrize("scope", [{}, {"make": "Yamaha", "model": "MT-09"}])
    @pytest.mark.parametrize("ordering", ["newest", "price", "-price", "rating", "popular", "relevance"])
    def test_every_tune_once_in_spite_of_ties(self, scope, ordering):
        now = clock.now()
        for number in range(7):
            published(f"smoother {number}", created_at=now)
        params = {**scope, "ordering": ordering, "currency": "EUR", "page_size": 2}
        if ordering == "relevance":
            params["q"] = "smoother"

        found = walk(params)

        assert sorted(found) == [f"smoother {number}" for number in range(7)]

    def test_stays_in_place_while_tunes_come_and_go(self):
        now = clock.now()
        for number in range(6):
            published(f"old {number}", created_at=now - timedelta(minutes=number))
        comers = iter(range(100))

        def between():
            published(f"new {next(comers)}", created_at=now + timedelta(minutes=1))
            Tune.objects.filter(title="old 1").update(status=TuneStatus.ARCHIVED, archived_at=now)

        assert walk({"page_size": 2}, between=between) == [f"old {number}" for number in range(6)]

    def test_a_cursor_is_bound_to_its_filters(self):
        for number in range(3):
            published(f"tune {number}")
        cursor = ApiClient().get(URL, {"page_size": 1}).json()["next"].split("cursor=")[1]

        answer = ApiClient().get(f"{URL}?page_size=1&kind=CAR&cursor={cursor}")

        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "invalid_cursor")


@pytest.mark.django_db
class TestVehicle:
    def test_adds_the_verdict_and_hides_mismatches(self):
        vehicle = VehicleFactory(with_ecu=True)
        published("fits")
        published("other market", version={"fitment__markets": ["US"]})
        published("other calibration", version={"fitment__calibration_ids": []})
        published("other model", version={"fitment__model": VehicleModelFactory(name="MT-07")})
        published("other make", version={"fitment__model": VehicleModelFactory(make=VehicleMakeFactory(name="Honda"), name="CB 650")})
        client = client_for(vehicle.owner)

        def verdicts(**params):
            rows = client.get(URL, {"vehicle": vehicle.pk, **params}).json()["results"]
            return {row["title"]: (row["fitment"]["verdict"], [reason["code"] for reason in row["fitment"]["reasons"]]) for row in rows}

        assert verdicts() == {"fits": ("match", []), "other calibration": ("unknown", ["calibration_id_unknown"])}
        assert verdicts(verdict="match") == {"fits": ("match", [])}
        assert verdicts(verdict="unknown") == {"other calibration": ("unknown", ["calibration_id_unknown"])}
        assert verdicts(verdict="mismatch") == {
            "other market": ("mismatch", ["market_mismatch"]),
            "other model": ("mismatch", ["model_mismatch"]),
            "other make": ("mismatch", ["make_mismatch"]),
        }
        assert set(verdicts(ordering="popular", q="smoother")) == set(verdicts(q="smoother")) == {"fits", "other calibration"}

    def test_before_the_ecu_is_read_everything_is_unknown(self):
        vehicle = VehicleFactory()
        published("fits")

        row = client_for(vehicle.owner).get(URL, {"vehicle": vehicle.pk}).json()["results"][0]

        assert row["fitment"]["verdict"] == "unknown"
        assert "hardware_number_unknown" in {reason["code"] for reason in row["fitment"]["reasons"]}

    def test_an_unlisted_vehicle_sees_its_makes_tunes_as_unknown(self):
        vehicle = VehicleFactory(unlisted=True, model="Special", with_ecu=True)
        published("same make")

        row = client_for(vehicle.owner).get(URL, {"vehicle": vehicle.pk}).json()["results"][0]

        assert "model_unknown" in {reason["code"] for reason in row["fitment"]["reasons"]}

    def test_needs_a_session_and_ones_own_vehicle(self):
        vehicle = VehicleFactory()

        assert ApiClient().get(URL, {"vehicle": vehicle.pk}).status_code == 401
        assert client_for(TunerProfileFactory().user).get(URL, {"vehicle": vehicle.pk}).status_code == 404

    def test_pages_of_verdicts_are_whole(self):
        vehicle = VehicleFactory(with_ecu=True)
        for number in range(5):
            published(f"fits {number}")
            published(f"not {number}", version={"fitment__markets": ["US"]})

        found = walk({"vehicle": vehicle.pk, "page_size": 2}, client=client_for(vehicle.owner))

        assert sorted(found) == [f"fits {number}" for number in range(5)]


@pytest.mark.django_db
class TestCost:
    @pytest.mark.parametrize("count", [1, 20])
    @pytest.mark.parametrize("params", [{}, {"make": "Yamaha", "model": "MT-09", "year": 2021}, {"q": "smoother"}])
    def test_one_query_for_a_page(self, django_assert_num_queries, params, count):
        for number in range(count):
            published(f"tune {number}")
        client = ApiClient()
        client.get(URL, params)  # the catalogue's names are known for a minute

        with django_assert_num_queries(1):
            assert len(client.get(URL, params).json()["results"]) == count

    @pytest.mark.parametrize(("count", "queries"), [(0, 4), (1, 4), (20, 4), (21, 3)])
    def test_two_more_with_session_and_vehicle(self, django_assert_num_queries, count, queries):
        """And one that asks whether there is more to judge, where the page is the last one."""
        vehicle = VehicleFactory(with_ecu=True)
        for number in range(count):
            published(f"tune {number}")
        client = client_for(vehicle.owner)
        client.get(URL)

        with django_assert_num_queries(queries):
            assert len(client.get(URL, {"vehicle": vehicle.pk}).json()["results"]) == min(count, 20)
