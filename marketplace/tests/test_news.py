"""Favourites, and who is told of what: a new tune, a new version, a lower price; each person once."""

from datetime import timedelta

import pytest
from django.db import IntegrityError

from core import clock
from core.testing.http import client_for
from core.testing.races import in_between, race, race_all
from core.testing.tasks import run_all
from marketplace.models import Favorite, Tune
from marketplace.services import favorites, listings, moderation, news, review
from marketplace.tests.factories import PurchaseFactory, TuneFactory, TuneVersionFactory
from tuners.tests.factories import TunerFollowFactory, TunerProfileFactory
from users.models import Notice
from users.services import collect_batches
from users.tests.factories import UserFactory


def mark(tune, *people):
    for who in people or [UserFactory()]:
        favorites.add_favorite(user=who, tune_id=tune.pk, at=clock.now())
    return Favorite.objects.filter(tune=tune).order_by("pk").last()


def reprice(tune, price_minor, **changes):
    listings.update_tune(author=tune.tuner.user, tune_id=tune.pk, changes={"price_minor": price_minor, **changes}, at=clock.now())
    run_all()


def told(**facts):
    return list(Notice.objects.filter(**facts).order_by("pk").values_list("user_id", flat=True))


@pytest.mark.django_db
class TestFavorites:
    def test_a_double_tap_is_one_and_remembers_the_price(self, django_assert_num_queries):
        tune, rider = TuneFactory(published=True), UserFactory()
        with django_assert_num_queries(1):
            favorites.add_favorite(user=rider, tune_id=tune.pk, at=clock.now())

        favorites.add_favorite(user=rider, tune_id=tune.pk, at=clock.now())

        marked = Favorite.objects.get()
        assert (marked.known_price_minor, marked.known_currency) == (14900, "EUR")

    def test_an_archived_one_stays_a_suspended_one_is_hidden_until_it_is_back(self):
        tune, rider = TuneFactory(published=True), UserFactory()
        mark(tune, rider)
        client, admin = client_for(rider), UserFactory(admin=True, mfa=True)

        def shown():
            return [row["tune"]["id"] for row in client.get("marketplace/favorites/").json()["results"]]

        moderation.suspend_tune(tune_id=tune.pk, actor=admin, reason_code="SAFETY", note="x", at=clock.now())
        suspended, again = shown(), client.put(f"marketplace/tunes/{tune.pk}/favorite/")
        moderation.unsuspend_tune(tune_id=tune.pk, actor=admin, note="x", at=clock.now())
        listings.archive_tune(author=tune.tuner.user, tune_id=tune.pk, at=clock.now())

        assert (suspended, again.status_code, shown()) == ([], 404, [str(tune.pk)])


@pytest.mark.django_db(transaction=True)
class TestFavoriteRaces:
    def test_six_taps_at_once_are_one(self):
        tune, rider = TuneFactory(published=True), UserFactory()

        assert race(lambda: favorites.add_favorite(user=rider, tune_id=tune.pk, at=clock.now()), times=6) == ["ok"] * 6
        assert Favorite.objects.count() == 1

    def test_a_tune_that_is_deleted_meanwhile_is_not_found(self):
        tune, rider = TuneFactory(), UserFactory()
        Tune.objects.filter(pk=tune.pk).update(status="ARCHIVED", published_at=clock.now(), archived_at=clock.now())

        def delete():
            listings.delete_tune(author=tune.tuner.user, tune_id=tune.pk, at=clock.now())

        outcomes = race_all([lambda: favorites.add_favorite(user=rider, tune_id=tune.pk, at=clock.now()), delete])

        assert set(outcomes) <= {"ok", "not_found"} and not Favorite.objects.exists()

    def test_control_a_mark_that_looks_first_meets_a_tune_that_is_gone(self):
        tune, rider = TuneFactory(), UserFactory()
        Tune.objects.filter(pk=tune.pk).update(status="ARCHIVED", published_at=clock.now(), archived_at=clock.now())

        def look_then_mark():
            assert Tune.objects.public().filter(pk=tune.pk).exists()
            Favorite.objects.create(user=rider, tune_id=tune.pk, created_at=clock.now())

        with pytest.raises(IntegrityError):
            in_between(
                look_then_mark,
                lambda: listings.delete_tune(author=tune.tuner.user, tune_id=tune.pk, at=clock.now()),
                after='FROM "marketplace_tune"',
            )


@pytest.mark.django_db
class TestNews:
    def test_followers_hear_of_a_new_tune_once_and_nobody_else(self):
        tune = TuneFactory(published=True)
        follow = TunerFollowFactory(tuner=tune.tuner)
        TunerFollowFactory()

        for _ in range(2):
            news.tell_of_new_tune(tune_id=tune.pk, at=clock.now())

        notice = Notice.objects.get()
        assert (notice.user_id, notice.type, notice.link_id) == (follow.follower_id, "NEW_TUNE", tune.pk)
        assert tune.title in notice.body and tune.tuner.business_name in notice.title and notice.batch_due_at

    @pytest.mark.parametrize("state", [{"suspended": True}, {"archived": True}, {"published": True, "tuner__suspended": True}])
    def test_nobody_hears_of_what_is_not_on_sale(self, state):
        tune = TuneFactory(**state)
        TunerFollowFactory(tuner=tune.tuner)
        Favorite.objects.create(user=UserFactory(), tune=tune, created_at=clock.now(), known_price_minor=99900, known_currency="EUR")

        news.tell_of_new_tune(tune_id=tune.pk, at=clock.now())
        news.tell_of_new_version(version_id=tune.versions.get().pk, at=clock.now())
        news.tell_of_lower_price(tune_id=tune.pk, at=clock.now())

        assert told() == []

    def test_a_new_version_is_told_once_to_who_marked_it_and_to_who_owns_it(self):
        tune = TuneFactory(published=True)
        rider, owner = UserFactory(), PurchaseFactory(paid=True, tune=tune).buyer
        mark(tune, rider, owner)
        version = TuneVersionFactory(tune=tune, published=True, version="1.1.0", changelog="Smoother at 3,000.")

        for _ in range(2):
            news.tell_of_new_version(version_id=version.pk, at=clock.now())
            review.tell_owners(version_id=version.pk, at=clock.now())

        assert sorted(told(type="NEW_VERSION")) == sorted([rider.pk, owner.pk])
        assert "Smoother at 3,000." in Notice.objects.get(user=rider).body

    def test_a_publication_queues_the_news_that_it_is(self):
        tuner = TunerProfileFactory(user__mfa=True)
        tune = TuneFactory(tuner=tuner)
        follower, fan, admin = TunerFollowFactory(tuner=tuner).follower, UserFactory(), UserFactory(admin=True, mfa=True)
        for number in ("1.0.0", "1.1.0"):
            version = TuneVersionFactory(tune=tune, in_review=True, stored=True, version=number)
            hashes = [file.sha256 for file in version.files.all()]
            review.publish_tune_version(version_id=version.pk, reviewer=admin, approved_sha256=hashes, note="Good.", at=clock.now())
            run_all()
            mark(tune, fan)

        assert (told(type="NEW_TUNE"), told(type="NEW_VERSION")) == ([follower.pk], [fan.pk])


@pytest.mark.django_db
class TestPrices:
    def test_a_lower_price_is_told_once_however_often_it_comes(self):
        tune = TuneFactory(published=True)
        rider = mark(tune).user

        for price in (9900, 14900, 9900):
            reprice(tune, price)
        again = told(type="PRICE_DROP")
        reprice(tune, 4900)

        assert again == [rider.pk] and told(type="PRICE_DROP") == [rider.pk] * 2
        assert "49.00 EUR" in Notice.objects.filter(type="PRICE_DROP").order_by("pk").last().body

    @pytest.mark.parametrize("changes", [{"price_minor": 14800}, {"price_minor": 14900}, {"price_minor": 19900}])
    def test_a_cent_is_no_news_and_neither_is_a_higher_price(self, changes):
        tune = TuneFactory(published=True)
        mark(tune)

        reprice(tune, **changes)

        assert told() == []

    def test_another_currency_can_not_be_compared(self):
        tune = TuneFactory(published=True)
        mark(tune)

        reprice(tune, 4900, currency="CHF")
        reprice(tune, 3900)

        assert told() == []

    def test_free_is_told_once_and_ends(self):
        tune = TuneFactory(published=True)
        rider = mark(tune).user

        reprice(tune, 0)
        news.tell_of_lower_price(tune_id=tune.pk, at=clock.now())

        assert told(type="PRICE_DROP") == [rider.pk] and Notice.objects.get().body == "It is free now."

    def test_who_owns_it_is_told_of_no_price(self):
        tune = TuneFactory(published=True)
        mark(tune, PurchaseFactory(paid=True, tune=tune).buyer)

        reprice(tune, 4900)

        assert told(type="PRICE_DROP") == []

    def test_who_marked_it_before_prices_were_remembered_is_told_of_none(self):
        tune = TuneFactory(published=True)
        Favorite.objects.create(user=UserFactory(), tune=tune, created_at=clock.now())

        reprice(tune, 4900)

        assert told() == []

    def test_many_are_told_by_few_statements(self, monkeypatch, django_assert_num_queries):
        tune, people = TuneFactory(published=True), UserFactory.create_batch(7)
        mark(tune, *people)
        Tune.objects.filter(pk=tune.pk).update(price_minor=4900)
        monkeypatch.setattr(news, "TOLD_AT_ONCE", 3)

        with django_assert_num_queries(1 + 3 * 4):  # the tune; three thousands, each: savepoint, update, insert, release
            news.tell_of_lower_price(tune_id=tune.pk, at=clock.now())

        assert sorted(told()) == sorted(person.pk for person in people)
        assert collect_batches(at=clock.now() + timedelta(hours=1)) == 7


@pytest.mark.django_db(transaction=True)
def test_four_workers_tell_each_follower_once():
    tune = TuneFactory(published=True)
    followers = [TunerFollowFactory(tuner=tune.tuner).follower_id for _ in range(20)]

    race(lambda: news.tell_of_new_tune(tune_id=tune.pk, at=clock.now()), times=4)

    assert sorted(told()) == sorted(followers)


@pytest.mark.django_db(transaction=True)
class TestPriceRaces:
    def test_two_workers_tell_each_person_once(self, monkeypatch):
        tune = self.cheaper()
        handed = self.spy(monkeypatch)

        race(lambda: news.tell_of_lower_price(tune_id=tune.pk, at=clock.now()), times=4)

        assert len(handed) == 5 == Notice.objects.count()

    def test_control_a_price_that_is_looked_up_first_is_told_twice(self, monkeypatch):
        """It is the unique key then that keeps the second notice out: one line of defence less."""
        tune = self.cheaper()
        handed = self.spy(monkeypatch)

        def look_then_tell():
            rows = [(row.pk, row.user_id) for row in Favorite.objects.filter(tune=tune, known_price_minor__gt=4900)]
            news.notify_many(
                ((user_id, f"{pk}") for pk, user_id in rows), type="PRICE_DROP", title="x", body="x", at=clock.now()
            )
            Favorite.objects.filter(tune=tune).update(known_price_minor=4900)

        race(look_then_tell, row_locks=False)

        assert len(handed) == 10

    def cheaper(self):
        tune = TuneFactory(published=True)
        mark(tune, *UserFactory.create_batch(5))
        Tune.objects.filter(pk=tune.pk).update(price_minor=4900)
        return tune

    def spy(self, monkeypatch):
        handed, real = [], news.notify_many

        def noting(people, **facts):
            people = list(people)
            handed.extend(people)
            return real(people, **facts)

        monkeypatch.setattr(news, "notify_many", noting)
        return handed
