import uuid
from datetime import UTC, datetime, timedelta

import pytest

from core.exceptions import InvalidInput
from core.models import AuditEvent
from core.pagination import Key, Ordering, decode_cursor, encode_cursor, paginate

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
BY_TIME = Ordering("newest", Key("at", desc=True), Key("id", desc=True))
BY_ACTOR = Ordering("actor", Key("actor_id", nullable=True), Key("id"))


def events(count, *, ties=1, actor=lambda index: None):
    return [
        AuditEvent.objects.create(at=NOW + timedelta(seconds=index // ties), act="test.done", actor_id=actor(index))
        for index in range(count)
    ]


def walk(ordering, *, page_size=3, between=lambda: None):
    seen, cursor = [], None
    while True:
        page = paginate(AuditEvent.objects.all(), ordering, cursor=cursor, page_size=page_size, bound_to="x")
        seen += [row.pk for row in page.rows]
        cursor = page.next_cursor
        if cursor is None:
            return seen
        between()


@pytest.mark.django_db
class TestPaginate:
    @pytest.mark.parametrize("count", [0, 1, 3, 4, 20])
    @pytest.mark.parametrize("ties", [1, 7])
    def test_walks_everything_once_with_ties(self, count, ties):
        made = events(count, ties=ties)

        assert sorted(walk(BY_TIME)) == sorted(event.pk for event in made)

    def test_nulls_come_last_and_once(self):
        made = events(10, actor=lambda index: uuid.UUID(int=index % 3) if index % 2 else None)

        seen = walk(BY_ACTOR)

        assert sorted(seen) == sorted(event.pk for event in made)
        actors = dict(AuditEvent.objects.values_list("pk", "actor_id"))
        assert [actors[pk] is None for pk in seen] == [False] * 5 + [True] * 5

    def test_rows_that_come_meanwhile_lose_and_repeat_nothing(self):
        made = events(9, ties=2)

        seen = walk(BY_TIME, between=lambda: events(2))

        assert [pk for pk in seen if pk in {event.pk for event in made}] == [
            event.pk for event in sorted(made, key=lambda e: (e.at, e.pk), reverse=True)
        ]
        assert len(seen) == len(set(seen))

    def test_a_cursor_of_another_ordering_is_refused(self):
        events(5)
        cursor = paginate(AuditEvent.objects.all(), BY_TIME, cursor=None, page_size=2, bound_to="x").next_cursor

        with pytest.raises(InvalidInput):
            paginate(AuditEvent.objects.all(), BY_ACTOR, cursor=cursor, page_size=2, bound_to="x")


@pytest.mark.parametrize("forged", ["", "a", "ä", "AAAA", "=" * 50, "x" * 900, "😀"])
def test_forged_cursors_are_refused(forged):
    with pytest.raises(InvalidInput):
        decode_cursor(forged, bound_to="x")


def test_a_changed_byte_is_noticed():
    cursor = encode_cursor([NOW, uuid.UUID(int=1), None, 5], bound_to="x")

    assert decode_cursor(cursor, bound_to="x") == [NOW, uuid.UUID(int=1), None, 5]
    for index in range(len(cursor) - 1):
        with pytest.raises(InvalidInput):
            decode_cursor(cursor[:index] + ("A" if cursor[index] != "A" else "B") + cursor[index + 1 :], bound_to="x")
