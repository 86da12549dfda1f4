"""What is taken up now: who counts and how much, how it fades, and what the list shows and costs."""

from datetime import timedelta

import pytest
from django.db import connection

from core import clock
from core.testing.http import ApiClient
from garage.tests.factories import VehicleModelFactory
from marketplace.models import Favorite, Purchase, TrendRow, Tune
from marketplace.selectors import browse
from marketplace.services.trending import EPOCH, HALF_LIFE, STEPS, WINDOW, refresh_trends
from marketplace.tests.factories import FavoriteFactory, PurchaseFactory, TuneFactory
from marketplace.tests.factories.trust import released_tune, ride_for
from users.models import User
from users.tests.factories import UserFactory

pytestmark = pytest.mark.django_db
URL = "marketplace/tunes/trending/"
NOW = clock.now().replace(microsecond=0)


@pytest.fixture(autouse=True)
def _fresh_names():
    browse.names.clear()


def on_sale(title: str, **facts) -> Tune:
    return TuneFactory(published=True, title=title, **facts)


def bought(tune, *, ago=timedelta(0), **facts):
    """Paid so long ago, also where it was refunded since."""
    state = facts.pop("state", "paid")
    return PurchaseFactory(tune=tune, created_at=NOW - ago, **{state: True}, **facts)


def marked(tune, *, ago=timedelta(0), **facts):
    return FavoriteFactory(tune=tune, created_at=NOW - ago, **facts)


def flashed(tune, *, ago=timedelta(0), **report):
    """A flash that its rider confirmed, of something bought long before."""
    ride = ride_for(tune)
    flash = ride.report(ride.ticket(), **report).flash
    with connection.cursor() as cursor:  # neither is ever changed: only a test moves them back in time
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("UPDATE marketplace_flash SET received_at = %s WHERE id = %s", [NOW - ago, flash.pk])
        cursor.execute("UPDATE marketplace_purchase SET paid_at = %s WHERE id = %s", [NOW - 2 * WINDOW, ride.purchase.pk])
        cursor.execute("SET LOCAL session_replication_role = DEFAULT")
    return flash


def trend(*, at=NOW) -> dict[str, float]:
    """Titles with what stands behind the score: the weighted sum as of now, highest first."""
    refresh_trends(at=at)
    rows = TrendRow.objects.filter(scope_id=TrendRow.EVERYTHING).order_by("-score").values_list("tune__title", "score")
    ahead = (NOW - EPOCH) / HALF_LIFE
    return {title: round(2 ** (score / STEPS - ahead), 2) for title, score in rows}


class TestWhoCounts:
    def test_a_flash_counts_more_than_a_purchase_and_that_more_than_a_mark(self):
        bought(on_sale("bought"))
        marked(on_sale("marked"))
        flashed(released_tune(title="flashed"))

        assert trend() == {"flashed": 5, "bought": 3, "marked": 1}

    def test_an_account_counts_once_however_often_it_acts(self):
        rider, tune = UserFactory(), on_sale("one account")
        for _ in range(5):
            bought(tune, buyer=rider)
        marked(tune, user=rider)
        two = on_sale("two accounts")
        bought(two)
        bought(two)

        assert trend() == {"two accounts": 6, "one account": 3}

    def test_acting_again_renews_nothing(self):
        rider, tune = UserFactory(), on_sale("again and again")
        for weeks in (3, 2, 1, 0):
            bought(tune, buyer=rider, ago=weeks * HALF_LIFE)

        assert trend() == {"again and again": pytest.approx(3 / 8, abs=0.01)}, "of the first time"

    def test_the_tuners_own_account_never_counts(self):
        tune = on_sale("own")
        marked(tune, user=tune.tuner.user)

        assert trend() == {}

    @pytest.mark.parametrize("facts", [{"blocked_at": NOW, "blocked_reason": "Bots."}, {"is_active": False}])
    def test_blocked_and_deactivated_accounts_do_not_count(self, facts):
        rider = UserFactory()
        marked(on_sale("of a robot"), user=rider)
        User.objects.filter(pk=rider.pk).update(**facts)

        assert trend() == {}

    @pytest.mark.parametrize("state", ["refunded", "disputed", "charged_back", "canceled", "expired"])
    def test_what_was_given_back_or_never_paid_does_not_count(self, state):
        bought(on_sale("given back"), state=state)
        PurchaseFactory(tune=on_sale("pending"))

        assert trend() == {}

    def test_a_flash_of_a_refunded_purchase_does_not_count(self):
        flash = flashed(released_tune(title="flashed"))
        Purchase.objects.filter(pk=flash.ticket.purchase_id).update(status="CHARGED_BACK")

        assert trend() == {}

    def test_a_failed_flash_does_not_count(self):
        flash = flashed(released_tune(title="failed"), outcome="FAILED_BEFORE_WRITE")

        assert flash.outcome == "FAILED_BEFORE_WRITE"
        assert trend() == {}

    def test_the_price_plays_no_part(self):
        free, dear = on_sale("free", price_minor=0), on_sale("dear", price_minor=90_000)
        for tune in (free, dear):
            bought(tune)
            marked(tune)

        assert trend() == {"free": 4, "dear": 4}


class TestHowItFades:
    def test_half_in_a_half_life_and_nothing_after_the_window(self):
        for title, ago in (("now", 0 * HALF_LIFE), ("a week ago", HALF_LIFE), ("two weeks ago", 2 * HALF_LIFE), ("old", WINDOW * 1.01)):
            bought(on_sale(title), ago=ago)

        assert trend() == {"now": 3, "a week ago": 1.5, "two weeks ago": 0.75}

    def test_an_act_of_tomorrow_waits_until_then(self):
        bought(on_sale("clock ahead"), ago=-timedelta(days=1))

        assert trend() == {}
        assert list(trend(at=NOW + timedelta(days=2))) == ["clock ahead"]

    def test_scores_stay_while_nobody_acts_so_nothing_is_written_and_pages_stay(self):
        marked(on_sale("marked"))
        assert refresh_trends(at=NOW) == 3  # everything, make, model
        before = list(TrendRow.objects.order_by("scope_id").values_list("scope_id", "score"))

        assert refresh_trends(at=NOW + timedelta(days=3)) == 0
        assert list(TrendRow.objects.order_by("scope_id").values_list("scope_id", "score")) == before

    def test_of_another_year_it_means_the_same(self):
        marked(on_sale("marked"))
        refresh_trends(at=NOW)
        before = TrendRow.objects.first().score

        refresh_trends(at=NOW.replace(month=1, day=3, year=NOW.year + 1))  # two more landmarks would be two more scores
        assert not TrendRow.objects.exists() or abs(TrendRow.objects.first().score - before) <= 1

    def test_rows_go_with_the_last_act_and_with_the_listing(self):
        gone = on_sale("archived")
        marked(gone)
        mark = marked(on_sale("unmarked"))
        assert set(trend()) == {"archived", "unmarked"}
        Tune.objects.filter(pk=gone.pk).update(status="ARCHIVED", archived_at=NOW)
        Favorite.objects.filter(pk=mark.pk).delete()

        assert trend() == {} and not TrendRow.objects.exists()


def titles(**params) -> list[str]:
    answer = ApiClient().get(URL, params)
    assert answer.status_code == 200, answer.content
    return [row["title"] for row in answer.json()["results"]]


class TestTheList:
    @pytest.fixture
    def three(self):
        tunes = [
            on_sale("first", version__fitment__model=VehicleModelFactory(name="MT-07")),
            on_sale("second"),
            on_sale("third", kind="CAR"),
        ]
        for count, tune in zip((3, 2, 1), tunes, strict=True):
            for _ in range(count):
                marked(tune)
        refresh_trends(at=NOW)
        return tunes

    def test_of_everything_a_make_a_model_and_a_kind(self, three):
        assert titles() == titles(make="yamaha") == ["first", "second", "third"]
        assert titles(make="Yamaha", model="mt 09") == ["second", "third"]
        assert titles(kind="CAR") == titles(make="Yamaha", model="MT-09", kind="CAR") == ["third"]
        assert titles(make="Nobody") == titles(make="Yamaha", model="Nothing") == []

    def test_pages(self, three):
        first = ApiClient().get(URL, {"page_size": 2}).json()
        second = ApiClient().get(first["next"]).json()

        assert [row["title"] for row in first["results"]] == ["first", "second"]
        assert ([row["title"] for row in second["results"]], second["next"]) == (["third"], None)

    def test_a_tune_that_was_taken_off_since_is_not_shown(self, three):
        Tune.objects.filter(title="first").update(status="ARCHIVED", archived_at=NOW)

        assert titles() == ["second", "third"]

    def test_a_model_needs_its_make(self):
        answer = ApiClient().get(URL, {"model": "MT-09"})

        assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (400, "make")

    def test_anonymous_readers_may_cache_it(self, three):
        first = ApiClient().get(URL)

        assert first["Cache-Control"] == "public, max-age=30"
        assert ApiClient().get(URL, HTTP_IF_NONE_MATCH=first["ETag"]).status_code == 304

    @pytest.mark.parametrize("count", [1, 20])
    def test_one_query_for_a_page(self, django_assert_num_queries, count):
        for number in range(count):
            marked(on_sale(f"tune {number}"))
        refresh_trends(at=NOW)

        with django_assert_num_queries(1):
            assert len(titles()) == count

    def test_reads_the_index_of_the_list_and_the_indexes_of_the_acts(self):
        from marketplace.services import trending

        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
            cursor.execute(
                "EXPLAIN SELECT tune_id FROM marketplace_trendrow r WHERE scope_id = %s AND (score, tune_id) < (5, %s)"
                " ORDER BY score DESC, tune_id DESC LIMIT 21",
                [TrendRow.EVERYTHING, TrendRow.EVERYTHING],
            )
            page = "\n".join(line for (line,) in cursor.fetchall())
            plans: list[str] = []

            def explain(execute, sql, params, many, context):
                if sql is trending._REFRESH:
                    execute(f"EXPLAIN {sql}", params, many, context)
                    plans.append("\n".join(line for (line,) in context["cursor"].fetchall()))
                return execute(sql, params, many, context)

            with connection.execute_wrapper(explain):
                refresh_trends(at=NOW)

        assert "trendrow_trending" in page and "Sort" not in page, page
        for index in ("purchase_trend", "flash_trend", "favorite_trend"):
            assert index in plans[0], plans[0]
