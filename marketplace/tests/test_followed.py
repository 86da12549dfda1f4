"""What is new of the tuners whom somebody follows."""

from datetime import timedelta

import pytest
from django.db import connection

from core import clock
from core.testing.http import ApiClient, client_for
from marketplace.models import Tune
from marketplace.services import stops
from marketplace.services.upkeep import on_standing
from marketplace.tests.factories import TuneFactory, TuneVersionFactory
from tuners.models import TunerFollow, TunerProfile
from tuners.services import follow_tuner
from tuners.tests.factories import TunerProfileFactory
from users.tests.factories import UserFactory

pytestmark = pytest.mark.django_db
URL = "marketplace/tunes/followed/"
NOW = clock.now().replace(microsecond=0)


@pytest.fixture
def rider():
    return client_for(UserFactory())


@pytest.fixture
def tuner(rider):
    profile = TunerProfileFactory()
    follow_tuner(follower=rider.user, tuner_id=profile.pk, at=NOW)
    return profile


def on_sale(title: str, *, days: int = 0, **facts) -> Tune:
    at = NOW - timedelta(days=days)
    return TuneFactory(published=True, title=title, published_at=at, created_at=at, **facts)


def titles(client, url=URL, **params) -> list[str]:
    answer = client.get(url, params)
    assert answer.status_code == 200, answer.content
    return [row["title"] for row in answer.json()["results"]]


def test_of_followed_tuners_only_and_of_what_is_on_sale(rider, tuner):
    on_sale("mine", tuner=tuner)
    on_sale("of somebody else")
    TuneFactory(tuner=tuner, title="draft")
    for trait in ("archived", "suspended"):
        TuneFactory(tuner=tuner, title=trait, **{trait: True})
    TuneVersionFactory(tune__tuner=tuner, tune__title="held", on_hold=True)

    assert titles(rider) == ["mine"]
    assert titles(client_for(UserFactory())) == []
    assert ApiClient().get(URL).status_code == 401


def test_a_new_version_brings_an_old_tune_to_the_top(rider, tuner):
    old = on_sale("old", days=30, tuner=tuner)
    on_sale("new", days=2, tuner=tuner)
    assert titles(rider) == ["new", "old"]

    TuneVersionFactory(tune=old, published=True, published_at=NOW - timedelta(days=1))

    assert titles(rider) == ["old", "new"]


def test_the_time_follows_the_version_that_is_on_sale(rider, tuner):
    tune = on_sale("tune", days=30, tuner=tuner)
    newer = TuneVersionFactory(tune=tune, published=True, published_at=NOW)
    tune.refresh_from_db()
    assert tune.latest_version_at == NOW

    stops.hold_version(actor=UserFactory(admin=True, mfa=True), version_id=newer.pk, reason="Surging.", at=NOW)

    tune.refresh_from_db()
    assert tune.latest_version_at == NOW - timedelta(days=30)


def test_a_suspended_tuner_disappears_and_unfollowing_ends_it(rider, tuner):
    on_sale("mine", tuner=tuner)
    TunerProfile.objects.filter(pk=tuner.pk).update(
        status="SUSPENDED", suspended_at=NOW, suspension_reason="SAFETY", suspension_note="Under test."
    )
    on_standing(tuner_id=tuner.pk, active=False, verified=False)
    assert titles(rider) == []

    TunerProfile.objects.filter(pk=tuner.pk).update(status="ACTIVE", suspended_at=None, suspension_reason="", suspension_note="")
    on_standing(tuner_id=tuner.pk, active=True, verified=True)
    assert titles(rider) == ["mine"]

    assert rider.delete(f"tuners/{tuner.pk}/follow/").status_code == 204
    assert titles(rider) == []


def test_pages_over_several_tuners_with_ties(rider, tuner):
    other = TunerProfileFactory()
    follow_tuner(follower=rider.user, tuner_id=other.pk, at=NOW)
    for number in range(3):
        on_sale(f"a{number}", tuner=tuner, days=1)
        on_sale(f"b{number}", tuner=other, days=1)

    found, answer = [], rider.get(URL, {"page_size": 2}).json()
    while True:
        found += [row["title"] for row in answer["results"]]
        if answer["next"] is None:
            break
        answer = rider.get(answer["next"]).json()

    assert sorted(found) == ["a0", "a1", "a2", "b0", "b1", "b2"]


@pytest.mark.parametrize("count", [1, 20])
def test_one_query_beside_the_session(rider, tuner, django_assert_num_queries, count):
    for number in range(count):
        on_sale(f"tune {number}", tuner=tuner)
    rider.get(URL)

    with django_assert_num_queries(2):
        assert len(titles(rider)) == count


def test_each_tuners_first_rows_come_from_its_index(rider, tuner):
    on_sale("mine", tuner=tuner)
    plans: list[str] = []

    def explain(execute, sql, params, many, context):
        if "CROSS JOIN LATERAL" in sql and "tuners_tunerfollow" in sql:
            execute(f"EXPLAIN {sql}", params, many, context)
            plans.append("\n".join(line for (line,) in context["cursor"].fetchall()))
        return execute(sql, params, many, context)

    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
    with connection.execute_wrapper(explain):
        titles(rider)

    assert TunerFollow.objects.count() == 1
    assert "tune_followed" in plans[0], plans[0]
