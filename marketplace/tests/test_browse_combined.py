"""Every filter with every other, in each order, against a plain telling of the same rows; pages while rows come and go; and
facets that count what the list shows."""

import random
from contextlib import contextmanager
from itertools import combinations, product
from uuid import UUID

import pytest
from django.core.cache import cache
from django.db import transaction

from core import clock
from core.testing.http import ApiClient, client_for
from garage.enums import Market
from garage.tests.factories import VehicleFactory
from marketplace.enums import TuneStatus
from marketplace.models import Tune
from marketplace.selectors import browse
from marketplace.selectors.fitment import get_vehicle_facts, judge_tune
from marketplace.tests.crowd import CALIBRATIONS, HARDWARE, MODELS, WORDS, Row, expected, gather, params_scale

pytestmark = [pytest.mark.django_db, pytest.mark.xdist_group("crowd")]  # one process makes the rows, and once

URL = "marketplace/tunes/"
ORDERINGS = ("newest", "price", "-price", "rating", "popular")
VALUES = {
    "make": list(MODELS),
    "model": ["MT-09", "MT-07", "Hornet"],
    "year": [2016, 2019, 2022],
    "market": ["EU", "US"],
    "hardware_number": list(HARDWARE),
    "calibration_id": list(CALIBRATIONS),
    "kind": ["MOTORCYCLE", "CAR"],
    "category": ["STAGE_1", "STAGE_2", "ECONOMY"],
    "tuner": [],
    "currency": ["EUR", "USD"],
    "min_price_minor": [1, 9900, 15000],
    "max_price_minor": [0, 14900],
    "free": ["true", "false"],
    "min_rating": [2.5, 4.0],
    "fuel_octane": [91, 95, 98],
    "emissions_class": ["UNCHANGED", "CLOSED_COURSE_ONLY"],
    "q": list(WORDS),
}
MAKE_OF = {name: make for make, names in MODELS.items() for name in names}


@pytest.fixture(scope="module")
def rows(django_db_setup, django_db_blocker):
    """The crowd, in a transaction that is taken back after this module."""
    with django_db_blocker.unblock(), transaction.atomic():
        browse.names.clear()
        yield gather(90, seed=11)
        transaction.set_rollback(True)
        browse.names.clear()


READ = {"with_ecu": True, "ecu_hardware_number": "HW-1", "ecu_calibration_id": "CAL-1"}


@contextmanager
def riding(rows: list[Row], **facts):
    """A client with a vehicle, and each row judged for it by the engine's other form."""
    vehicle = VehicleFactory(year=2019, market=Market.EU, fuel_octane=98, fuel_scale="RON", **facts)
    known = get_vehicle_facts(owner=vehicle.owner, vehicle_id=vehicle.pk)
    for row in rows:
        row.verdict = judge_tune(tune_id=row.id, calibration_ids_after=[], vehicle=known).verdict.verdict
    yield client_for(vehicle.owner), vehicle.pk
    for row in rows:
        row.verdict = ""


@pytest.fixture
def rider(rows: list[Row]):
    with riding(rows, **READ) as found:
        assert {row.verdict for row in rows} == {"match", "unknown", "mismatch"}
        yield found


def chosen(names, chance: random.Random, rows: list[Row]) -> dict:
    """A value for each filter, and what it cannot be sent without."""
    params: dict = {}
    for name in names:
        params[name] = chance.choice(VALUES[name] or sorted({row.tuner for row in rows}))
    if "model" in params:
        params["make"] = MAKE_OF[params["model"]]
    if {"min_price_minor", "max_price_minor"} & params.keys():
        params.setdefault("currency", "EUR")
        if params.get("min_price_minor", 0) > params.get("max_price_minor", 10**9):
            params["max_price_minor"] = params["min_price_minor"]
    return params


def asked(client: ApiClient, params: dict, **more) -> list[UUID]:
    sent = {**params, **more}
    if "fuel_octane" in sent:
        sent["fuel_scale"] = params_scale(sent["fuel_octane"])
    answer = client.get(URL, {"page_size": 100, **sent})
    assert answer.status_code == 200, (sent, answer.content)
    assert answer.json()["next"] is None
    return [UUID(row["id"]) for row in answer.json()["results"]]


@pytest.mark.parametrize("ordering", ORDERINGS)
def test_every_two_filters_together_in_each_order(rows: list[Row], ordering: str):
    chance, client, found = random.Random(ordering), ApiClient(), 0
    for names in [(), *((name,) for name in VALUES), *combinations(VALUES, 2)]:
        params = chosen(names, chance, rows)
        if "price" in ordering:
            params.setdefault("currency", "EUR")
        ids = asked(client, params, ordering=ordering)
        assert ids == expected(rows, params, ordering), params
        found += bool(ids)

    assert found > 100  # most of them show something, or nothing would be shown by their being equal


def test_many_filters_together(rows: list[Row]):
    chance, client, found = random.Random(5), ApiClient(), 0
    for _ in range(100):
        params = chosen(chance.sample(list(VALUES), chance.randint(3, 5)), chance, rows)
        ids = asked(client, params, ordering="rating")
        assert ids == expected(rows, params, "rating"), params
        found += bool(ids)

    assert found > 20


def test_relevance_shows_the_same_tunes_with_every_filter(rows: list[Row]):
    chance, client = random.Random(6), ApiClient()
    for name in VALUES:
        params = chosen({name, "q"}, chance, rows)
        ids = asked(client, params)
        assert sorted(ids) == sorted(expected(rows, params, "newest")), params
        assert len(ids) == len(set(ids))


VERDICTS = [None, "match", "unknown", "mismatch"]


@pytest.mark.parametrize("verdict", VERDICTS)
def test_with_a_vehicle_and_every_filter_in_each_order(rows: list[Row], rider, verdict: str | None):
    check_with_a_vehicle(rows, rider, verdict, ORDERINGS)


@pytest.mark.parametrize("few", [0, 10_000], ids=["the walk goes on", "the few are sorted"])
@pytest.mark.parametrize("verdict", VERDICTS)
def test_with_a_vehicle_that_little_fits(monkeypatch, rows: list[Row], rider, verdict: str | None, few: int):
    """The same when each list is too long to be judged on the way."""
    monkeypatch.setattr(browse, "WALKED", 1)
    monkeypatch.setattr(browse, "FEW", few)
    check_with_a_vehicle(rows, rider, verdict, ["newest", "price"])


UNLISTED_MODEL, UNLISTED_MAKE = {"catalog_model": None, "model": "Special"}, {"catalog_model": None, "make": "Nomake", "model": "Special"}


@pytest.mark.parametrize(
    ("facts", "about"),
    [
        ({}, {"make": "Yamaha", "model": "MT-09"}),
        ({**READ, **UNLISTED_MODEL}, {"make": "Yamaha"}),
        (UNLISTED_MODEL, {"make": "Yamaha"}),
        ({**READ, **UNLISTED_MAKE}, {}),
        (UNLISTED_MAKE, {}),
    ],
    ids=["not read", "unlisted model", "unlisted model, not read", "unlisted make", "unlisted make, not read"],
)
def test_with_a_vehicle_of_which_little_is_known(rows: list[Row], facts: dict, about: dict):
    with riding(rows, **facts) as rider:
        assert {row.verdict for row in rows} == {"unknown", "mismatch"}
        for verdict in VERDICTS:
            check_with_a_vehicle(rows, rider, verdict, ["newest"], about=about)


MT_09 = {"make": "Yamaha", "model": "MT-09"}


def check_with_a_vehicle(rows: list[Row], rider, verdict: str | None, orderings, *, about: dict = MT_09) -> None:
    client, vehicle = rider
    chance = random.Random(verdict)
    for ordering, name in product(orderings, [None, *VALUES]):
        params = chosen([name] if name else [], chance, rows)
        if "price" in ordering:
            params.setdefault("currency", "EUR")
        ids = asked(client, params, ordering=ordering, vehicle=vehicle, **({"verdict": verdict} if verdict else {}))
        wanted = {"match", "unknown"} if verdict is None else {verdict}
        if verdict != "mismatch" and "make" not in params:  # what may fit is of its model, and so is what the filters are about
            params |= about
        assert ids == expected([row for row in rows if row.verdict in wanted], params, ordering), (params, ordering)


def walk_while_tunes_change(params: dict, restless: list[UUID], chance: random.Random, *, before_page=lambda: None) -> list[UUID]:
    """All pages of a list, while some of its tunes leave, come back, and change price, rating and popularity between them."""
    found: list[UUID] = []
    client, url = ApiClient(), None
    while True:
        before_page()
        answer = client.get(url) if url else client.get(URL, params)
        assert answer.status_code == 200, answer.content
        found += [UUID(row["id"]) for row in answer.json()["results"]]
        if (url := answer.json()["next"]) is None:
            return found
        some = chance.sample(restless, 9)
        Tune.objects.filter(pk__in=some[:3]).update(status=TuneStatus.ARCHIVED, archived_at=clock.now())
        Tune.objects.filter(pk__in=some[3:6]).update(status=TuneStatus.PUBLISHED, archived_at=None)
        Tune.objects.filter(pk__in=some[6:]).update(price_minor=chance.randrange(30_000), rating_sum=45, rating_count=10, popularity=50)


class TestPages:
    @pytest.mark.parametrize("scope", [{}, {"make": "Yamaha"}, {"make": "Yamaha", "model": "MT-09"}], ids=["all", "make", "model"])
    @pytest.mark.parametrize("ordering", [*ORDERINGS, "relevance"])
    def test_what_was_there_all_along_is_shown_once(self, rows: list[Row], scope: dict, ordering: str):
        chance = random.Random(f"{ordering}{scope}")
        params = {**scope, "page_size": 4, "ordering": ordering, "currency": "EUR"}
        if ordering == "relevance":
            params["q"] = WORDS[0]
        there = expected(rows, {name: value for name, value in params.items() if name in {"make", "model", "currency", "q"}}, "newest")
        restless = [row.id for row in rows if chance.random() < 0.4]
        faithful = [tune for tune in there if tune not in restless]
        assert len(faithful) > 4

        found = walk_while_tunes_change(params, restless, chance)

        assert sorted(tune for tune in found if tune in faithful) == sorted(faithful)


class TestFacets:
    @pytest.mark.parametrize(
        "scope", [{}, *({"make": make} for make in MODELS), {"make": "Yamaha", "model": "MT-09"}, {"make": "Honda", "model": "hornet"}]
    )
    def test_each_count_is_what_the_list_shows(self, rows: list[Row], scope: dict):
        cache.clear()
        counts = ApiClient().get(f"{URL}facets/", scope).json()["counts"]

        for name, values in counts.items():
            assert values, name
            for value in values:
                if name == "make":
                    shown = asked(ApiClient(), {**scope, "make": value["value"]})
                else:
                    shown = asked(ApiClient(), {**scope, name: value["value"]})
                assert (value["count"], value["capped"]) == (len(shown), False), (name, value)
        everything = len(asked(ApiClient(), scope))
        for name in ("kind", "category", "free", "emissions_class"):
            assert sum(value["count"] for value in counts[name]) == everything, name
