"""Followers are counted exactly, whoever else follows, unfollows or leaves at the same moment."""

import pytest
from django.db import connection, transaction

from core import clock
from core.testing.http import client_for
from core.testing.races import race, race_all
from tuners import services
from tuners.models import TunerFollow, TunerProfile
from tuners.services.follows import unfollow_all
from tuners.tests.factories import TunerFollowFactory, TunerProfileFactory
from users.tests.factories import UserFactory


def count_of(tuner):
    return TunerProfile.objects.get(pk=tuner.pk).follower_count


@pytest.mark.django_db
class TestFollowing:
    def test_twice_is_once_and_so_is_unfollowing(self):
        tuner, client = TunerProfileFactory(), client_for(UserFactory())

        follows = [client.put(f"tuners/{tuner.pk}/follow/").status_code for _ in range(2)]
        followed = count_of(tuner)
        unfollows = [client.delete(f"tuners/{tuner.pk}/follow/").status_code for _ in range(2)]

        assert (follows, followed, unfollows, count_of(tuner)) == ([204, 204], 1, [204, 204], 0)

    def test_a_suspended_tuner_keeps_followers_who_may_go_and_gets_no_new_ones(self):
        follow = TunerFollowFactory(tuner=TunerProfileFactory(suspended=True))
        other, own = client_for(UserFactory()), client_for(follow.follower)

        assert other.put(f"tuners/{follow.tuner_id}/follow/").status_code == 404
        assert own.delete(f"tuners/{follow.tuner_id}/follow/").status_code == 204
        assert count_of(follow.tuner) == 0


@pytest.mark.django_db(transaction=True)
class TestRaces:
    def test_twenty_who_follow_at_once_are_twenty(self):
        tuner, people = TunerProfileFactory(), UserFactory.create_batch(20)

        outcomes = race_all([lambda who=who: services.follow_tuner(follower=who, tuner_id=tuner.pk, at=clock.now()) for who in people])

        assert outcomes == ["ok"] * 20
        assert count_of(tuner) == TunerFollow.objects.filter(tuner=tuner).count() == 20

    def test_control_a_count_that_is_read_and_written_loses_some(self):
        tuner, people = TunerProfileFactory(), UserFactory.create_batch(4)

        def follow(who):
            TunerFollow.objects.create(tuner=tuner, follower=who, created_at=clock.now())
            known = TunerProfile.objects.values_list("follower_count", flat=True).get(pk=tuner.pk)
            TunerProfile.objects.filter(pk=tuner.pk).update(follower_count=known + 1)

        race_all([lambda who=who: follow(who) for who in people], row_locks=False)

        assert count_of(tuner) < 4

    def test_one_person_on_six_phones_is_counted_once_in_and_once_out(self):
        tuner, rider = TunerProfileFactory(), UserFactory()

        race(lambda: services.follow_tuner(follower=rider, tuner_id=tuner.pk, at=clock.now()), times=6)
        followed = count_of(tuner)
        race(lambda: services.unfollow_tuner(follower=rider, tuner_id=tuner.pk), times=6)

        assert (followed, count_of(tuner)) == (1, 0)

    def test_who_unfollows_while_the_account_is_erased_is_counted_out_once(self):
        follows = [TunerFollowFactory() for _ in range(3)]
        rider = follows[0].follower
        for follow in follows[1:]:
            services.follow_tuner(follower=rider, tuner_id=follow.tuner_id, at=clock.now())
        acts = [lambda follow=follow: services.unfollow_tuner(follower=rider, tuner_id=follow.tuner_id) for follow in follows]

        assert race_all([*acts, lambda: erase(rider)]) == ["ok"] * 4
        assert [count_of(follow.tuner) for follow in follows] == [0, 1, 1]

    def test_two_tuners_who_follow_each_other_may_leave_at_once(self):
        one, other = TunerProfileFactory(), TunerProfileFactory()
        services.follow_tuner(follower=one.user, tuner_id=other.pk, at=clock.now())
        services.follow_tuner(follower=other.user, tuner_id=one.pk, at=clock.now())

        assert race_all([lambda: erase(one.user), lambda: erase(other.user)]) == ["ok", "ok"]
        assert (count_of(one), count_of(other)) == (0, 0)


def erase(person):
    """As a deletion does: out of all follows, then its own profile."""
    with transaction.atomic():
        unfollow_all(follower_id=person.pk)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.05)")  # whoever else is at it gets their turn
        TunerProfile.objects.select_for_update(no_key=True).filter(user_id=person.pk).first()
