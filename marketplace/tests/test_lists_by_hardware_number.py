"""Lists of a model and a hardware number: whose they are, how they change with what is on sale, and that a vehicle is read by them."""

import importlib
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, transaction

from core import clock
from core.testing import plans
from core.testing.http import ApiClient, client_for
from garage.tests.factories import HARDWARE_NUMBER, VehicleFactory, VehicleModelFactory
from marketplace.enums import TuneStatus
from marketplace.models import BrowseRow, TrendRow, Tune
from marketplace.selectors import browse, saved_searches
from marketplace.tests.factories import FitmentFactory, TuneVersionFactory
from marketplace.tests.factories.tunes import _move

pytestmark = pytest.mark.django_db

URL = "marketplace/tunes/"


@pytest.fixture(autouse=True)
def _fresh_names():
    browse.names.clear()


def on_sale(title: str, *fitments: dict, needs: dict | None = None, **facts) -> Tune:
    """A tune with one file for these fitments, and what its version needs."""
    first, *others = fitments or ({},)
    version = TuneVersionFactory(tune__title=title, **({"requirements": needs} if needs else {}),
                                 **{f"tune__{name}": value for name, value in facts.items()},
                                 **{f"fitment__{name}": value for name, value in first.items()})  # fmt: skip
    for position, values in enumerate(others, start=1):
        FitmentFactory(file=version.files.get(), position=position, **values)
    version.files.update(format="BIN", image_base=0, image_size_bytes=1, image_sha256="0" * 64)
    _move(version, "PUBLISHED")
    return version.tune


def titles(client=None, **params) -> list[str]:
    answer = (client or ApiClient()).get(URL, params)
    assert answer.status_code == 200, answer.content
    return [row["title"] for row in answer.json()["results"]]


def ecu_rows():
    return BrowseRow.objects.filter(scope=BrowseRow.Scope.ECU)


def scope_of(number: str, model_id: UUID) -> UUID:
    with connection.cursor() as cursor:
        cursor.execute("SELECT marketplace_ecu_scope(%s, %s)", [number, model_id])
        return cursor.fetchone()[0]


class TestRows:
    def test_one_for_each_number_of_each_model_with_the_years_of_its_fitments(self):
        other = VehicleModelFactory(name="MT-07")
        tune = on_sale(
            "it",
            {"hardware_numbers": ["A", "B"], "year_from": 2020, "year_to": 2021},
            {"hardware_numbers": ["A"], "year_from": 2023, "year_to": 2023, "markets": ["US"]},
            {"hardware_numbers": ["A"], "model": other, "year_from": 2019, "year_to": 2019},
        )
        model = tune.fitments.get(position=0).model_id

        rows = {row.scope_id: row.years for row in ecu_rows()}

        assert rows == {scope_of("A", model): [2020, 2021, 2023], scope_of("B", model): [2020, 2021], scope_of("A", other.pk): [2019]}
        assert set(ecu_rows().values_list("tune_id", flat=True)) == {tune.pk}

    def test_what_begins_with_one_number_is_of_that_number(self):
        ends = [UUID(int=0), UUID(int=2**128 - 1)]
        for number in ("A", "A" * 64, "a", "Я" * 64):
            low, high = (scope_of(number, end) for end in ends)
            assert all(low <= scope_of(number, model) <= high for model in (UUID(int=7), UUID(int=2**127 + 1)))
            assert not low <= scope_of(f"{number}B", UUID(int=7)) <= high

    def test_they_go_with_the_tune_and_come_back_with_it(self):
        tune = on_sale("it")
        Tune.objects.filter(pk=tune.pk).update(status=TuneStatus.ARCHIVED, archived_at=clock.now())
        assert not ecu_rows().exists()
        assert titles(hardware_number=HARDWARE_NUMBER) == []

        Tune.objects.filter(pk=tune.pk).update(status=TuneStatus.PUBLISHED, archived_at=None)
        assert titles(hardware_number=HARDWARE_NUMBER) == ["it"]

    @pytest.mark.parametrize("trait", ["on_hold", "recalled", "withdrawn", "in_review"])
    def test_a_version_that_is_not_on_sale_has_none(self, trait: str):
        TuneVersionFactory(**{trait: True})

        assert not ecu_rows().exists()

    def test_prices_and_ratings_change_in_them_too(self):
        on_sale("dear", price_minor=2000)
        cheap = on_sale("cheap", price_minor=3000)

        Tune.objects.filter(pk=cheap.pk).update(price_minor=1000, rating_sum=50, rating_count=10, popularity=9)

        for ordering in ("price", "rating", "popular"):
            assert titles(hardware_number=HARDWARE_NUMBER, ordering=ordering, currency="EUR") == ["cheap", "dear"], ordering

    def test_nothing_else_takes_them_for_a_make_or_a_model(self):
        tune = on_sale("it")

        with plans.captured() as sent:
            saved_searches.list_candidates(tune)
        (scopes,) = [sent_.parameters["scopes"] for sent_ in sent if isinstance(sent_.parameters, dict)]
        assert set(scopes) == {tune.fitments.get().make_id, tune.fitments.get().model_id}
        assert not TrendRow.objects.filter(scope_id__in=ecu_rows().values("scope_id")).exists()

    def test_a_fitment_without_a_number_is_refused(self):
        """It would be in none of these lists, though the rule calls it unknown."""
        version = TuneVersionFactory()
        with pytest.raises(IntegrityError, match="fitment_hardware_number_stated"), transaction.atomic():
            FitmentFactory(file=version.files.get(), position=1, hardware_numbers=[])

    def test_the_migration_makes_the_same_rows_for_tunes_that_were_there(self):
        for number in range(3):
            on_sale(f"tune {number}", {"hardware_numbers": ["A", f"N{number}"]}, {"hardware_numbers": ["A"], "year_to": 2026})
        made = list(BrowseRow.objects.order_by("scope_id", "tune_id").values())
        assert ecu_rows().count() == 6
        ecu_rows().delete()

        fill = importlib.import_module("marketplace.migrations.0035_rows_by_hardware_number").FILL
        with connection.cursor() as cursor:
            for _ in range(2):  # it can be repeated
                cursor.execute(fill.replace("COMMIT;", ""))

        assert list(BrowseRow.objects.order_by("scope_id", "tune_id").values()) == made


class TestTheListOfANumber:
    def test_a_tune_for_two_models_with_the_number_is_shown_once(self):
        other = VehicleModelFactory(name="MT-07")
        on_sale("one model")
        on_sale("both", {}, {"model": other})
        on_sale("another number", {"hardware_numbers": ["OTHER"]})

        for ordering in ("newest", "price", "-price", "rating", "popular"):
            found = titles(hardware_number=HARDWARE_NUMBER, ordering=ordering, currency="EUR")
            assert sorted(found) == ["both", "one model"], ordering
        assert titles(hardware_number=HARDWARE_NUMBER, make="Yamaha", model="MT-07") == ["both"]
        assert sorted(titles(hardware_number=HARDWARE_NUMBER, make="Yamaha")) == ["both", "one model"]

    def test_conditions_hold_for_the_fitment_with_the_number(self):
        on_sale("it", {"hardware_numbers": ["A"], "markets": ["EU"]}, {"hardware_numbers": ["B"], "markets": ["US"], "year_to": 2026})

        assert titles(hardware_number="A", market="EU") == titles(hardware_number="B", market="US", year=2026) == ["it"]
        assert titles(hardware_number="A", market="US") == titles(hardware_number="A", year=2026) == []
        assert titles(hardware_number="A", make="Yamaha", model="MT-09", year=2026) == []

    def test_it_is_found_however_it_is_written(self):
        on_sale("it", {"hardware_numbers": ["ЭБУ 12-" + "X" * 57]})

        assert titles(hardware_number=" эбу 12-" + "x" * 57) == ["it"]
        assert titles(hardware_number="ЭБУ 12-" + "X" * 56) == []

    def test_pages_stay_in_place_while_a_new_version_has_other_numbers(self):
        tunes = [on_sale(f"tune {number}", {"hardware_numbers": ["A", "B"]}) for number in range(6)]
        found, url, first = [], None, True
        client = ApiClient()
        while url or first:
            answer = (client.get(url) if url else client.get(URL, {"hardware_number": "A", "page_size": 2})).json()
            found += [row["title"] for row in answer["results"]]
            url = answer["next"]
            if first:
                first = False
                last = tunes[1]  # it gives up the number before its page is read
                old = last.versions.get()
                TuneVersionFactory(tune=last, version="2.0.0", published=True, fitment__hardware_numbers=["B"])
                type(old).objects.filter(pk=old.pk).update(status="WITHDRAWN", withdrawn_at=clock.now())

        assert found == ["tune 5", "tune 4", "tune 3", "tune 2", "tune 0"]
        assert "tune 1" in titles(hardware_number="B")


class TestTheListForAVehicle:
    def test_of_a_model_only_what_lists_the_number(self):
        on_sale("fits")
        for number in range(5):
            on_sale(f"other {number}", {"hardware_numbers": [f"N{number}"]})
        vehicle = VehicleFactory(with_stock=True)

        with plans.captured() as sent:
            assert titles(client_for(vehicle.owner), vehicle=vehicle.pk) == ["fits"]
        (page,) = [statement for statement in sent if "mask" in statement.sql]
        assert "marketplace_ecu_scope" in page.sql

    def test_a_model_that_the_catalogue_lacks_is_read_by_the_number_alone(self):
        on_sale("same number")
        on_sale("another number", {"hardware_numbers": ["OTHER"]})
        for facts in ({"model": "MT-09 Special"}, {"make": "Nomake", "model": "Nomodel"}):
            vehicle = VehicleFactory(with_stock=True, catalog_model=None, **facts)
            assert titles(client_for(vehicle.owner), vehicle=vehicle.pk) == ["same number"], facts

    def test_a_list_of_another_model_shows_what_fits_the_vehicle_as_well(self):
        other = VehicleModelFactory(name="MT-07")
        on_sale("both", {}, {"model": other})
        on_sale("mine")
        on_sale("theirs", {"model": other})
        vehicle = VehicleFactory(with_stock=True)
        client = client_for(vehicle.owner)

        assert titles(client, vehicle=vehicle.pk, make="Yamaha", model="MT-07") == ["both"]
        assert titles(client, vehicle=vehicle.pk, make="Yamaha", model="MT-07", verdict="mismatch") == ["theirs"]
        assert sorted(titles(client, vehicle=vehicle.pk)) == ["both", "mine"]

    def test_without_a_read_out_nothing_is_a_match_and_nothing_is_asked(self):
        on_sale("it")
        vehicle = VehicleFactory()
        client = client_for(vehicle.owner)
        assert titles(client, vehicle=vehicle.pk) == titles(client, vehicle=vehicle.pk, verdict="unknown") == ["it"]

        with plans.captured() as sent:
            assert titles(client, vehicle=vehicle.pk, verdict="match") == []
        assert not [statement for statement in sent if "fitment" in statement.sql]

    @pytest.mark.parametrize("few", [0, 2000], ids=["the walk goes on", "the few are sorted"])
    def test_what_little_fits_is_found_behind_what_does_not(self, monkeypatch, few: int):
        """Past the tunes that are judged on the way: by facts, whatever keeps the others from fitting."""
        monkeypatch.setattr(browse, "WALKED", 2)
        monkeypatch.setattr(browse, "FEW", few)
        wanted = [on_sale("listed"), on_sale("none listed", {"calibration_ids": []})]
        on_sale("after", {"calibration_ids": ["STOCK"]})
        apart = [{"calibration_ids": ["C"]}, {"markets": ["US"]}, {"year_from": 2024, "year_to": 2024}, {"hardware_numbers": ["N"]}]
        for number in range(8):
            on_sale(f"no {number}", apart[number % 4])
        vehicle = VehicleFactory(with_stock=True)
        client = client_for(vehicle.owner)

        for ordering in ("newest", "price", "-price", "rating", "popular"):
            shown = titles(client, vehicle=vehicle.pk, ordering=ordering, currency="EUR")
            assert sorted(shown) == sorted(tune.title for tune in wanted), ordering
        assert titles(client, vehicle=vehicle.pk, verdict="match") == ["listed"]
        assert titles(client, vehicle=vehicle.pk, verdict="unknown") == ["none listed"]
        first = client.get(URL, {"vehicle": vehicle.pk, "page_size": 1}).json()
        second = client.get(first["next"]).json()
        assert [row["title"] for row in first["results"] + second["results"]] == ["none listed", "listed"]
        assert second["next"] is None

    def test_a_page_judges_no_more_than_so_many_and_the_next_goes_on_behind_them(self, monkeypatch):
        """What may fit by its facts and does not: with other fuel than all of them but two need."""
        monkeypatch.setattr(browse, "WALKED", 2)
        monkeypatch.setattr(browse, "FEW", 2)
        monkeypatch.setattr(browse, "MOST_WALKED", 4)
        needs = {"fuel": {"octane": 98, "scale": "RON"}, "flash_methods": ["OBD"], "read_back": "YES"}
        for number in range(11):
            on_sale(f"tune {number}", needs=None if number in {0, 6} else needs)
        vehicle = VehicleFactory(with_stock=True, fuel_octane=91, fuel_scale="RON")
        client, found, url = client_for(vehicle.owner), [], None
        while url or not found:
            answer = (client.get(url) if url else client.get(URL, {"vehicle": vehicle.pk, "page_size": 2})).json()
            found.append([row["title"] for row in answer["results"]])
            url = answer["next"]

        assert found == [[], ["tune 6"], ["tune 0"]]  # four each
        first = client.get(URL, {"vehicle": vehicle.pk, "verdict": "mismatch", "year": 2021, "market": "US"}).json()
        assert first == {"next": None, "results": []}  # of no tune
        shown = client.get(URL, {"vehicle": vehicle.pk, "verdict": "mismatch"}).json()
        assert (len(shown["results"]), len(client.get(shown["next"]).json()["results"])) == (4, 3)
