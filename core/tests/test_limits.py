"""Exact limits under parallel use, approximate ones, and hits that are taken back."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from core import limits
from core.exceptions import RateLimited
from core.models import LimitCounter
from core.testing.races import race

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _three_a_minute(settings):
    settings.LIMITS = {"test": (3, 60)}
    settings.APPROXIMATE_LIMITS = {"default": (3, 60)}


@pytest.mark.django_db
class TestExactLimit:
    def test_the_fourth_within_the_window_is_refused_and_says_how_long(self):
        for _ in range(3):
            limits.hit("test", "a", at=NOW)

        with pytest.raises(RateLimited) as refusal:
            limits.hit("test", "a", at=NOW + timedelta(seconds=20))

        assert refusal.value.retry_after_seconds == 41

    def test_keys_do_not_share_a_count(self):
        for key in "abcd":
            limits.hit("test", key, at=NOW)

    def test_the_window_ends(self):
        for _ in range(3):
            limits.hit("test", "a", at=NOW)

        assert limits.hit("test", "a", at=NOW + timedelta(seconds=60)).remaining == 2

    def test_failures_are_refused_without_being_counted(self):
        for _ in range(3):
            limits.hit("test", "a", at=NOW)

        with pytest.raises(RateLimited):
            limits.ensure_below("test", "a", at=NOW)
        limits.reset("test", "a")
        limits.ensure_below("test", "a", at=NOW)

    def test_ended_windows_are_purged(self):
        limits.hit("test", "a", at=NOW)

        assert limits.purge_ended(at=NOW + timedelta(seconds=59)) == 0
        assert limits.purge_ended(at=NOW + timedelta(seconds=60)) == 1


@pytest.mark.django_db(transaction=True)
def test_of_twenty_parallel_hits_exactly_three_pass():
    assert race(lambda: limits.hit("test", "a", at=NOW), times=20) == ["ok"] * 3 + ["rate_limited"] * 17


def test_the_approximate_limit_counts_in_the_cache():
    for _ in range(3):
        limits.hit_approximate("default", "x")

    with pytest.raises(RateLimited):
        limits.hit_approximate("default", "x")


def test_the_approximate_limit_loses_no_hit_when_a_window_begins():
    """Twenty at once, none of whom finds a count yet: one makes it, the others add to it."""
    begin = threading.Barrier(20)

    def hit(_number: int) -> bool:
        begin.wait()
        try:
            limits.hit_approximate("default", "y")
        except RateLimited:
            return False
        return True

    with ThreadPoolExecutor(20) as threads:
        assert sorted(threads.map(hit, range(20))) == [False] * 17 + [True] * 3


@pytest.mark.django_db(transaction=True)
class TestTakenBackAtOnce:
    """Every parallel success takes its own hit back: what is left is what failed."""

    def test_all_hits_are_taken_back(self, settings):
        settings.LIMITS = {"test": (100, 60)}

        def succeed():
            limits.hit("test", "a", at=NOW)
            limits.release("test", "a")

        assert race(succeed, times=20) == ["ok"] * 20
        assert LimitCounter.objects.get().count == 0

    def test_control_reading_the_count_first_leaves_some(self, settings):
        settings.LIMITS = {"test": (100, 60)}
        for _ in range(4):
            limits.hit("test", "a", at=NOW)
        all_have_read = threading.Barrier(4)

        def read_then_write():
            row = LimitCounter.objects.get()
            all_have_read.wait(timeout=60)
            LimitCounter.objects.filter(pk=row.pk).update(count=row.count - 1)

        race(read_then_write, times=4)

        assert LimitCounter.objects.get().count == 3

    def test_taking_back_what_was_never_counted_changes_nothing(self):
        limits.release("test", "a")
        limits.hit("test", "a", at=NOW)
        limits.release("test", "a")
        limits.release("test", "a")

        assert limits.hit("test", "a", at=NOW).remaining == 2


@pytest.mark.django_db(transaction=True)
def test_control_looking_before_counting_lets_more_than_three_pass():
    all_have_looked = threading.Barrier(20)

    def look_then_count():
        limits.ensure_below("test", "a", at=NOW)
        all_have_looked.wait(timeout=60)
        with suppress(RateLimited):  # the control decides by its look, not by the count
            limits.hit("test", "a", at=NOW)

    assert race(look_then_count, times=20) == ["ok"] * 20
