"""How the statements of each screen are executed at a hundred thousand rows: by the index that was made for the screen.

What is explained is what the request really sent. Runs on the PostgreSQL of the suite and, in CI, on PostgreSQL 15.
"""

from dataclasses import dataclass, field
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection

from core.testing import plans
from core.testing.http import ApiClient, client_for
from marketplace.selectors import browse
from revsync_backend.tests.many_rows import MAKES, ManyRows, loaded
from users.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.xdist_group("plans")]  # one process loads the rows, and once

TUNES = "marketplace/tunes/"
# Model 1 is the most popular one: a ninth of all tunes.
MODEL = {"make": f"Make{1 + 1 % MAKES}", "model": "Model 1"}

TUNER_WORDS = "tuners_tunerword_pkey"

UNDER_200 = {"currency": "EUR", "max_price_minor": 20_000}


@dataclass(frozen=True)
class Screen:
    """A request, and how its rows are found: `indexes` are all used, and no more than `rows` rows are looked at."""

    name: str
    path: str
    indexes: set[str]
    query: dict[str, Any] = field(default_factory=dict)
    of: str | None = None  # who asks: "rider", "tuner", or anybody
    rows: int = 800
    finds: bool = True


BROWSE = [
    Screen("make, model and year", TUNES, {"browserow_newest"}, {**MODEL, "year": 2012}),
    Screen("make", TUNES, {"browserow_newest"}, {"make": MODEL["make"]}),
    Screen("model and market", TUNES, {"browserow_newest"}, {**MODEL, "market": "EU"}),
    Screen("hardware number", TUNES, {"browserow_newest"}, {"hardware_number": "RSH-250-1"}),
    Screen("newest of a number", TUNES, {"browserow_newest"}, {"hardware_number": "RSH-1-1"}),
    Screen("cheapest of a number", TUNES, {"browserow_price"}, {"hardware_number": "RSH-1-1", "ordering": "price", "currency": "EUR"}),
    Screen("dearest of a number", TUNES, {"browserow_price"}, {"hardware_number": "RSH-1-1", "ordering": "-price", "currency": "EUR"}),
    Screen("best rated of a number", TUNES, {"browserow_rating"}, {"hardware_number": "RSH-1-1", "ordering": "rating"}),
    Screen("most popular of a number", TUNES, {"browserow_popular"}, {"hardware_number": "RSH-1-1", "ordering": "popular"}),
    Screen("a number that nobody lists", TUNES, {"browserow_newest"}, {"hardware_number": "RSH-NONE"}, rows=10, finds=False),
    Screen("model, category and price", TUNES, {"browserow_newest"}, {**MODEL, "category": "TRACK", **UNDER_200}),
    Screen("category", TUNES, {"tune_newest"}, {"category": "TRACK"}),
    Screen("newest", TUNES, {"tune_newest"}),
    Screen("cheapest", TUNES, {"tune_price"}, {"ordering": "price", "currency": "EUR"}),
    Screen("dearest", TUNES, {"tune_price"}, {"ordering": "-price", "currency": "EUR"}),
    Screen("best rated", TUNES, {"tune_rating"}, {"ordering": "rating"}),
    Screen("most popular", TUNES, {"tune_popular"}, {"ordering": "popular"}),
    Screen("newest of a model", TUNES, {"browserow_newest"}, MODEL),
    Screen("cheapest of a model", TUNES, {"browserow_price"}, {**MODEL, "ordering": "price", "currency": "EUR"}),
    Screen("dearest of a model", TUNES, {"browserow_price"}, {**MODEL, "ordering": "-price", "currency": "EUR"}),
    Screen("best rated of a model", TUNES, {"browserow_rating"}, {**MODEL, "ordering": "rating"}),
    Screen("most popular of a model", TUNES, {"browserow_popular"}, {**MODEL, "ordering": "popular"}),
    Screen("fitment for twenty", TUNES, {"browserow_newest"}, {"vehicle": "{vehicle}"}, "rider", rows=5000),
    Screen("a vehicle whose number nobody lists", TUNES, {"browserow_newest"}, {"vehicle": "{other_ecu}"}, "rider", rows=100, finds=False),
    Screen(
        "a vehicle that little fits",
        TUNES,
        {"browserow_newest", "fitment_facts", "tune_calibration_after"},
        {"vehicle": "{other_calibration}"},
        "rider",
        rows=5000,
        finds=False,
    ),
    Screen("tunes of a tuner", "tuners/{tuner}/tunes/", {"tune_of_tuner"}),
    Screen("own tunes", "tuners/me/tunes/", {"tune_own_newest"}, of="tuner"),
    Screen("favourites", "marketplace/favorites/", {"favorite_own_newest"}, of="rider"),
]
SEARCH = [
    # A common word has so many tunes that the most popular ones are walked through until 250 have it.
    Screen("common word", TUNES, {"searchrow_popular"}, {"q": "stage"}, rows=2000),
    Screen("rare word", TUNES, {"searchrow_words"}, {"q": "{word}"}),
    Screen("unknown word", TUNES, {"searchrow_words", "searchword_trigrams"}, {"q": "qqqqxxxxzzzz"}, finds=False, rows=1000),
    Screen("typo", TUNES, {"searchrow_words", "searchword_prefix"}, {"q": "{typo}"}, rows=2000),
    Screen("two words", TUNES, {"searchrow_words"}, {"q": "stage {word}"}, rows=1500),
    # What many tunes have, and none has together: looked for among the first 200, then in the index.
    Screen("two common words", TUNES, {"searchrow_words"}, {"q": "economy track"}, finds=False, rows=1000),
    Screen("two common words, newest", TUNES, {"searchrow_words"}, {"q": "economy track", "ordering": "newest"}, finds=False, rows=1500),
    Screen("no such word of a model", TUNES, {"searchrow_words"}, {**MODEL, "q": "make3"}, finds=False, rows=1500),
    Screen("no such word of a category", TUNES, {"searchrow_words"}, {"category": "TRACK", "q": "economy"}, finds=False, rows=1500),
    # Each make and each combination of values is counted to 1,001 at most, once a minute.
    Screen("facets", f"{TUNES}facets/", {"tune_facets", "tune_price"}, rows=160_000),
    Screen("facets of a model", f"{TUNES}facets/", {"browserow_facets", "browserow_price"}, MODEL, rows=25_000),
    Screen("suggest", f"{TUNES}suggest/", {"searchphrase_prefix"}, {"q": "make1"}),
    Screen("suggest with a typo", f"{TUNES}suggest/", {"searchphrase_prefix"}, {"q": "{typo}"}, rows=4000),
]
DETAIL = [
    Screen("one tune", f"{TUNES}{{tune}}/", {"marketplace_tune_pkey"}),
    Screen("one tune, signed in", f"{TUNES}{{tune}}/", {"marketplace_tune_pkey"}, of="rider"),
    Screen("versions", f"{TUNES}{{tune}}/versions/", {"tuneversion_of_tune"}),
    Screen("reviews of a tune", f"{TUNES}{{tune}}/reviews/", {"review_by_tune"}),
    Screen("fitment of a tune", f"{TUNES}{{tune}}/fitment/", {"tuneversion_of_tune"}, {"vehicle": "{vehicle}"}, "rider"),
    Screen("reviews of a tuner", "tuners/{tuner}/reviews/", {"review_by_tuner"}),
    Screen("tuners by rating", "tuners/", {"tuner_by_rating"}),
    Screen("tuners by followers", "tuners/", {"tuner_by_followers"}, {"ordering": "popular"}),
    Screen("tuners by name", "tuners/", {"tuner_by_name"}, {"ordering": "name"}),
    Screen("newest tuners", "tuners/", {"tuner_by_age"}, {"ordering": "newest"}),
    # What many have is found among the first of the order; else the first 500 are looked at, and then the index is asked.
    Screen("tuners by a common word", "tuners/", {"tuner_by_rating"}, {"q": "tuning"}),
    Screen("tuners by a common word, by name", "tuners/", {"tuner_by_name"}, {"q": "tuning", "ordering": "name"}),
    Screen("tuners by a rare word", "tuners/", {"tuner_document"}, {"q": "{tuner_word}"}),
    Screen("tuners by an end of a word", "tuners/", {"tuner_document"}, {"q": "{tuner_end}"}),
    Screen("tuners by an unknown word", "tuners/", {"tuner_document", TUNER_WORDS}, {"q": "qqqqxxxxzzzz"}, finds=False),
    Screen("tuners with a slip", "tuners/", {"tuner_document", TUNER_WORDS}, {"q": "{tuner_typo}"}, rows=1200),
    Screen("tuners by two words that nobody has both of", "tuners/", {"tuner_document"}, {"q": "tuning racing"}, finds=False),
    Screen("tuners of a country and a make", "tuners/", {"tuner_document"}, {"country": "KZ", "make": "make1", "ordering": "popular"}),
    Screen("tuners with five stars", "tuners/", {"tuner_document"}, {"min_rating": 4.9, "ordering": "newest"}),
    Screen("one tuner", "tuners/{tuner}/", {"tuners_tunerprofile_pkey"}),
]
OWN = [
    Screen("my garage", "garage/vehicles/", {"vehicle_garage"}, of="rider"),
    Screen("stock files", "garage/vehicles/{vehicle}/stock-files/", {"stock_file_vault"}, of="rider"),
    Screen("read-outs", "garage/vehicles/{vehicle}/ecu/readouts/", {"ecu_readout_history"}, of="rider"),
    Screen("my purchases", "marketplace/purchases/", {"purchase_own_newest"}, of="rider", rows=1000),
    Screen("a purchase's downloads", "marketplace/purchases/{purchase}/downloads/", {"download_trail"}, of="rider"),
    Screen("my flashes", "marketplace/flashes/", {"flash_own_newest"}, of="rider"),
    Screen("my notices", "users/me/notices/", {"notice_of_user"}, of="rider"),
    Screen("my sales", "marketplace/sales/", {"purchase_sales"}, of="tuner"),
]
SCREENS = [*BROWSE, *SEARCH, *DETAIL, *OWN]


@pytest.fixture(scope="module")
def many_rows(django_db_setup, django_db_blocker):
    """The rows, for this module only."""
    browse.names.clear()
    with django_db_blocker.unblock(), loaded() as rows:
        yield rows
    browse.names.clear()


def ask(screen: Screen, rows: ManyRows) -> tuple[dict, plans.Plan]:
    """The answer to a screen's request, and the plans of what was sent for it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT word FROM marketplace_searchword WHERE word !~ '(make|model|stage)' ORDER BY word LIMIT 1 OFFSET 7000")
        (word,) = cursor.fetchone()
        cursor.execute("SELECT word FROM tuners_tunerword WHERE word !~ '(house|tuning|racing|make)' ORDER BY word LIMIT 1 OFFSET 1700")
        (tuner_word,) = cursor.fetchone()
    names = {
        "vehicle": rows.vehicle_id,
        "other_ecu": rows.other_ecu_id,
        "other_calibration": rows.other_calibration_id,
        "tuner": rows.tuner_id,
        "tune": rows.tune_id,
        "purchase": rows.purchase_id,
        "word": word,
        "typo": f"{word[:-1]}z",
        "tuner_word": tuner_word,
        "tuner_end": tuner_word[3:],
        "tuner_typo": f"{tuner_word[:-1]}z",
    }
    client = ApiClient()
    if screen.of is not None:
        client = client_for(User.objects.get(pk=rows.rider_id if screen.of == "rider" else rows.tuner_user_id))
    query = {name: value.format(**names) if isinstance(value, str) else value for name, value in screen.query.items()}
    cache.clear()
    with plans.captured() as sent:
        answer = client.get(screen.path.format(**names), query)
    assert answer.status_code == 200, answer.content
    return answer.json(), plans.explain_all(sent)


@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.name)
def test_a_screen_is_read_by_its_index(screen: Screen, many_rows: ManyRows):
    answer, plan = ask(screen, many_rows)

    assert bool(answer.get("results", True)) == screen.finds, "Nothing was found, so nothing was shown to be found well."
    assert not plan.read_whole & many_rows.large_tables
    assert screen.indexes <= plan.indexes
    assert plan.rows_read <= screen.rows


def test_the_later_pages_too(many_rows: ManyRows):
    client = ApiClient()
    for query in ({}, MODEL, {**MODEL, "ordering": "price", "currency": "EUR"}, {"q": "stage"}):
        url = client.get(TUNES, query).json()["next"]
        with plans.captured() as sent:
            assert client.get(url).json()["results"]
        plan = plans.explain_all(sent)
        assert not plan.read_whole & many_rows.large_tables, query
        assert plan.rows_read <= 4000, query


def test_what_no_index_serves_is_noticed(many_rows: ManyRows):
    """The control: a statement of the same tables that has to read all of one."""
    plan = plans.explain(plans.Statement("SELECT id FROM marketplace_tune WHERE description = %s", ["none"]))

    assert plan.read_whole == {"marketplace_tune"} <= many_rows.large_tables
    assert plan.rows_read >= 100_000
