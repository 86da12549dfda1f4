"""A search walks its order or asks the index of words, whichever is bounded: never to be told from what it answers."""

import random
from itertools import combinations
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from core.testing.http import ApiClient, client_for
from garage.enums import Market
from garage.tests.factories import VehicleFactory
from marketplace.models import SearchRow, Tune
from marketplace.selectors import browse, matching
from marketplace.selectors.fitment import get_vehicle_facts, judge_tune
from marketplace.tests.crowd import WORDS, Row, expected, gather
from marketplace.tests.test_browse_combined import ORDERINGS, VALUES, chosen, params_scale, walk_while_tunes_change

pytestmark = [pytest.mark.django_db, pytest.mark.xdist_group("crowd")]  # one process makes the rows, and once

URL = "marketplace/tunes/"
WALKS, ASKS = {"GLANCE": 10**6}, {"GLANCE": 1, "WALK": 1}
BOUNDS = {"walks": WALKS, "asks the index": ASKS, "walks a little": {"GLANCE": 4, "WALK": 15, "DEARER": 10**9}}
QUERIES = [*WORDS, *(" ".join(pair) for pair in combinations(WORDS, 2)), "amber yamaha", "willow hornet", "cobalt ducati"]
FILTERS = [name for name in VALUES if name != "q"]


@pytest.fixture(scope="module")
def rows(django_db_setup, django_db_blocker):
    """The crowd, in a transaction that is taken back after this module. One word only the least popular tunes have."""
    with django_db_blocker.unblock(), transaction.atomic():
        browse.names.clear()
        rows = gather(90, seed=12)
        for row in rows:
            if row.popularity > 1 and "granite" in row.title.split():
                row.title = "willow cobalt"
                Tune.objects.filter(pk=row.id).update(title=row.title)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE marketplace_searchrow")
        yield rows
        transaction.set_rollback(True)
        browse.names.clear()


@pytest.fixture
def bound(monkeypatch):
    def to(bounds: dict[str, int]) -> None:
        for name, value in {"GLANCE": 200, "WALK": 50_000, "DEARER": 2, **bounds}.items():
            monkeypatch.setattr(matching, name, value)

    return to


def page_of(client: ApiClient, params: dict) -> list[tuple]:
    """All pages of a list, with what is said of each tune."""
    found, url = [], None
    sent = {**params, **({"fuel_scale": params_scale(params["fuel_octane"])} if "fuel_octane" in params else {})}
    while True:
        answer = client.get(url) if url else client.get(URL, {"page_size": 7, **sent})
        assert answer.status_code == 200, (params, answer.content)
        found += [(UUID(row["id"]), str(row.get("fitment"))) for row in answer.json()["results"]]
        if (url := answer.json()["next"]) is None:
            return found


def oracle(rows: list[Row], params: dict, ordering: str) -> list[UUID]:
    """What has all the words, in the order."""
    *words, last = params["q"].split()
    names = {"yamaha": "Yamaha", "ducati": "Ducati", "hornet": "Hornet"}
    met = [row for row in rows if all(word in row.title.split() for word in words)]
    rest = {name: value for name, value in params.items() if name not in {"q", "page_size"}}
    if last in names:
        met = [row for row in met if names[last] in {name for fits in row.fits for name in (fits.make, fits.model)}]
    else:
        met = [row for row in met if last in row.title.split()]
    return expected(met, rest, ordering)


@pytest.mark.parametrize("ordering", [*ORDERINGS, "relevance"])
def test_both_ways_answer_the_same(rows: list[Row], bound, ordering: str):
    chance, found = random.Random(ordering), 0
    for q in chance.sample(QUERIES, 7):
        for name in (None, *chance.sample(FILTERS, 2)):
            params = {**chosen([name] if name else [], chance, rows), "q": q, "ordering": ordering}
            if "price" in ordering:
                params.setdefault("currency", "EUR")
            answers = []
            for bounds in BOUNDS.values():
                bound(bounds)
                answers.append(page_of(ApiClient(), params))
            assert answers[0] == answers[1] == answers[2], params
            ids, asked = [tune for tune, _ in answers[0]], {name: value for name, value in params.items() if name != "ordering"}
            if ordering == "relevance":
                assert sorted(ids) == sorted(oracle(rows, asked, "newest")), params
            else:
                assert ids == oracle(rows, asked, ordering), params
            found += bool(ids)
    assert found > 8


@pytest.mark.parametrize("verdict", [None, "match", "unknown", "mismatch"])
def test_for_a_vehicle_too(rows: list[Row], bound, verdict: str | None):
    ecu = {"ecu_hardware_number": "HW-1", "ecu_calibration_id": "CAL-1"}
    vehicle = VehicleFactory(with_ecu=True, **ecu, year=2019, market=Market.EU, fuel_octane=98, fuel_scale="RON")
    client, facts = client_for(vehicle.owner), get_vehicle_facts(owner=vehicle.owner, vehicle_id=vehicle.pk)
    wanted = {"match", "unknown"} if verdict is None else {verdict}
    fit = [row for row in rows if judge_tune(tune_id=row.id, calibration_ids_after=[], vehicle=facts).verdict.verdict in wanted]
    for q in ("cobalt willow", "granite"):
        for ordering in ("newest", "price", "relevance"):
            params = {"q": q, "vehicle": vehicle.pk, "ordering": ordering, **({"verdict": verdict} if verdict else {})}
            if "price" in ordering:
                params["currency"] = "EUR"
            answers = []
            for bounds in BOUNDS.values():
                bound(bounds)
                answers.append(page_of(client, params))
            assert answers[0] == answers[1] == answers[2], params
            about = {"q": q, **({"currency": "EUR"} if "price" in ordering else {})}
            if verdict != "mismatch":
                about |= {"make": "Yamaha", "model": "MT-09"}
            assert sorted(tune for tune, _ in answers[0]) == sorted(oracle(fit, about, "newest")), params


@pytest.mark.parametrize("bounds", [WALKS, ASKS], ids=["walk", "index"])
def test_of_more_candidates_the_most_popular_are_ranked(rows: list[Row], bound, bounds, monkeypatch):
    monkeypatch.setattr(browse, "CANDIDATES", 11)
    bound(bounds)

    ids = [tune for tune, _ in page_of(ApiClient(), {"q": "amber"})]

    assert sorted(ids) == sorted(oracle(rows, {"q": "amber"}, "popular")[:11])


def test_what_the_index_is_asked_for_is_not_found_by_the_walk(rows: list[Row], bound, monkeypatch):
    """The control: without the second way the first would miss what only the least popular tunes have."""
    bound({"GLANCE": 4, "WALK": 15, "DEARER": 10**9})
    whole = page_of(ApiClient(), {"q": "granite", "ordering": "popular"})
    assert whole

    every = matching.Ordered.every

    def none(rows):
        sql, values = every(rows)
        return sql.replace(" OFFSET 0", " AND false OFFSET 0"), values

    monkeypatch.setattr(matching.Ordered, "every", none)
    assert page_of(ApiClient(), {"q": "granite", "ordering": "popular"}) == []
    bound(WALKS)
    assert page_of(ApiClient(), {"q": "granite", "ordering": "popular"}) == whole


@pytest.mark.parametrize("ordering", [*ORDERINGS, "relevance"])
def test_what_was_there_all_along_is_shown_once(rows: list[Row], bound, ordering: str):
    """And the way to them changes from page to page."""
    chance = random.Random(ordering)
    there = oracle(rows, {"q": "cobalt willow", "currency": "EUR"}, "newest")
    restless = [row.id for row in rows if chance.random() < 0.3]
    faithful = [tune for tune in there if tune not in restless]
    assert len(faithful) > 4
    params = {"q": "cobalt willow", "page_size": 3, "ordering": ordering, "currency": "EUR"}

    found = walk_while_tunes_change(params, restless, chance, before_page=lambda: bound(chance.choice(list(BOUNDS.values()))))

    assert sorted(tune for tune in found if tune in faithful) == sorted(faithful)


def test_marks_follow_their_tune(rows: list[Row]):
    """The index of words knows what the lists know, whatever changed: by the trigger of figures, and by that of all the rest."""
    tune = Tune.objects.get(pk=rows[0].id)

    def marks() -> dict[str, list[str]]:
        held: dict[str, list[str]] = {}
        for mark in SearchRow.objects.get(pk=tune.pk).marks:
            name, _, value = mark.partition(":")
            held.setdefault(name, []).append(value)
        return held

    before = marks()
    assert before == {
        **{name: [str(getattr(tune, name))] for name in ("kind", "category", "currency", "emissions_class")},
        "tuner": [str(tune.tuner_id)],
        "scope": sorted(str(row.scope_id) for row in tune.browse_rows.all()),
    }
    Tune.objects.filter(pk=tune.pk).update(currency="GBP", kind="CAR" if tune.kind == "MOTORCYCLE" else "MOTORCYCLE", popularity=77)
    assert marks()["currency"] == ["GBP"] and marks()["kind"] != before["kind"]
    assert SearchRow.objects.get(pk=tune.pk).popularity == 77
    Tune.objects.filter(pk=tune.pk).update(category="LIMITERS")
    assert marks()["category"] == ["LIMITERS"]
    assert marks()["scope"] == before["scope"]


def test_a_search_that_finds_something_takes_one_statement(rows: list[Row], bound):
    for bounds in BOUNDS.values():
        bound(bounds)
        for params in ({"q": "amber"}, {"q": "cobalt willow", "ordering": "newest"}, {"q": "granite", "make": "Yamaha"}):
            page_of(ApiClient(), params)  # names are looked up once a minute
            with CaptureQueriesContext(connection) as sent:
                assert ApiClient().get(URL, params).json()["results"]
            assert len(sent) == 1, params
