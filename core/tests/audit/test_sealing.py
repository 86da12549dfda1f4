"""Sealing: nothing slips in between, nothing waits, one sealer wins."""

import threading
import uuid
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from core import audit
from core.audit import sealing
from core.audit.rows import entries_in
from core.models import AuditEvent, AuditSeal
from core.testing.races import race
from core.tests.audit.log import NOW


def entries():
    return [entry for seal in AuditSeal.objects.order_by("number") for entry in entries_in(bytes(seal.entries))]


class OpenTransaction:
    """A transaction on a connection of its own that has written a row and has not committed yet."""

    def __init__(self):
        self._may_end, self._has_written = threading.Event(), threading.Event()
        self.event_id = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._has_written.wait(10)

    def _run(self):
        try:
            with transaction.atomic():
                self.event_id = audit.record(act="thing.late", actor_id=None, subject_id=uuid.uuid4(), at=NOW).pk
                self._has_written.set()
                self._may_end.wait(30)
        finally:
            connection.close()

    def commit(self):
        self._may_end.set()
        self._thread.join()


def test_every_row_is_sealed_once_and_in_order(log):
    ids = log.write(7)

    log.seal(limit=3)

    assert [entry.event_id for entry in entries()] == ids
    assert list(AuditSeal.objects.order_by("number").values_list("number", "row_count")) == [(1, 3), (2, 3), (3, 1)]


def test_each_link_follows_from_the_one_before(log):
    log.sealed(2, 2, 2)

    seals = [sealing.as_seal(row) for row in AuditSeal.objects.order_by("number")]
    assert all(seal.is_whole() for seal in seals)
    assert [seal.follows(previous) for previous, seal in zip([None, *seals], seals, strict=False)] == [True, True, True]


def test_nothing_new_makes_no_link(log):
    log.sealed(1)

    assert sealing.seal_batch(at=NOW) == 0
    assert AuditSeal.objects.count() == 1


def test_rows_of_one_large_transaction_go_into_several_links(log):
    with transaction.atomic():
        ids = log.write(5)

    log.seal(limit=2)

    assert [entry.event_id for entry in entries()] == sorted(ids)
    assert AuditSeal.objects.count() == 3


def test_a_transaction_that_commits_late_holds_back_what_came_after_it(log):
    late = OpenTransaction()
    try:
        log.write(3)
        while_open = [sealing.seal_batch(at=NOW) for _ in range(3)]
    finally:
        late.commit()
    log.seal()

    assert while_open == [0, 0, 0]
    assert entries()[0].event_id == late.event_id, "it belongs before the rows that were written after it, and is sealed there"
    assert len(entries()) == 4


def test_without_the_horizon_the_late_row_would_have_been_passed_over(log, monkeypatch):
    """The control: sealed up to what is visible, the chain has gone past the place of the row that is still open."""
    monkeypatch.setattr(sealing, "_FINISHED_ROWS", sealing._FINISHED_ROWS.replace("AND position < core_audit_horizon()", ""))
    late = OpenTransaction()
    try:
        log.write(3)
        assert sealing.seal_batch(at=NOW) == 3
    finally:
        late.commit()

    assert sealing.seal_batch(at=NOW) == 0
    assert late.event_id not in {entry.event_id for entry in entries()}


def test_a_transaction_that_is_taken_back_holds_nothing_back_for_good(log):
    with pytest.raises(RuntimeError), transaction.atomic():
        log.write(1)
        raise RuntimeError
    ids = log.write(1)

    log.seal()

    assert [entry.event_id for entry in entries()] == ids


def test_of_parallel_sealers_one_adds_the_link(log, transactional_db):
    log.write(20)
    wait_until_finished(20)
    sealed = []

    race(lambda: sealed.append(sealing.seal_batch(at=NOW)), times=4)

    assert sum(sealed) == 20
    assert len(entries()) == len({entry.event_id for entry in entries()}) == 20


def test_sealers_that_all_read_before_one_writes_still_add_one_link(log):
    """The control: everybody has read the same rows and the same head; the primary key lets one insert."""
    log.write(20)
    wait_until_finished(20)
    sealed = []

    race(lambda: sealed.append(sealing.seal_batch(at=NOW)), times=4, row_locks=False, meet_after="core_audit_horizon")

    assert sorted(sealed) == [0, 0, 0, 20]
    assert AuditSeal.objects.count() == 1


def test_without_the_keys_those_sealers_would_have_forked_the_chain(log):
    log.write(20)
    wait_until_finished(20)
    with connection.cursor() as cursor:
        cursor.execute("SELECT conname FROM pg_constraint WHERE conrelid = 'core_auditseal'::regclass AND contype IN ('p', 'u')")
        names = [name for (name,) in cursor.fetchall()]
        for name in names:
            cursor.execute(f'ALTER TABLE core_auditseal DROP CONSTRAINT "{name}"')
    try:
        race(lambda: sealing.seal_batch(at=NOW), times=2, row_locks=False, meet_after="core_audit_horizon")
        links = list(AuditSeal.objects.values_list("number", "row_count"))
    finally:
        with log.owner() as cursor:
            cursor.execute("DELETE FROM core_auditseal")
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE core_auditseal ADD PRIMARY KEY (number), ADD UNIQUE (previous_hash)")

    assert links == [(1, 20), (1, 20)]


def wait_until_finished(rows):
    """Until the horizon has passed all rows: transactions of other tests in the same cluster may hold it back."""
    for _ in range(600):
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*), pg_sleep(0.1) FROM core_auditevent WHERE position < core_audit_horizon()")
            if cursor.fetchone()[0] == rows:
                return
    pytest.fail("the horizon was held back for too long")


@pytest.mark.parametrize("table", ["core_auditseal", "core_auditheadcopy"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET hash = ''", "DELETE FROM {}", "TRUNCATE {}"])
def test_postgres_refuses_every_change_of_the_chain(log, table, statement):
    log.sealed(1)
    log.copy()

    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement.format(table))


def test_a_seal_has_exactly_the_entries_that_it_counts(log):
    with pytest.raises(IntegrityError, match="seal_has_its_entries"):
        AuditSeal.objects.create(number=1, previous_hash=bytes(32), hash=bytes(32), sealed_at=NOW, row_count=2, entries=bytes(56))


class TestState:
    def test_of_an_empty_log(self, log):
        state = sealing.get_chain_state()

        assert (state.seals, state.sealed_at, state.copied_number, state.copied_at) == (0, None, 0, None)
        assert state.complaints(at=NOW) == []

    def test_tells_since_when_something_waits(self, log):
        log.sealed(2)
        log.write(1)

        state = sealing.get_chain_state()

        assert (state.seals, state.sealed_at, state.oldest_uncopied_at, state.oldest_unsealed_at) == (1, NOW, NOW, NOW)
        assert state.complaints(at=NOW + timedelta(minutes=15)) == []
        assert [what.split(" waits")[0] for what, _ in state.complaints(at=NOW + timedelta(minutes=16))] == ["A row of the audit log"]
        assert len(state.complaints(at=NOW + timedelta(hours=2, seconds=1))) == 2

    def test_of_a_log_that_is_copied(self, log):
        log.sealed(1)
        log.copy()

        state = sealing.get_chain_state()

        assert (state.copied_number, state.copied_at, state.oldest_uncopied_at, state.oldest_unsealed_at) == (1, NOW, None, None)


class TestRestoredIntoAServerThatCountsAnew:
    """A dump brings the rows, but not the server's count of transactions."""

    @pytest.fixture
    def restored(self, log):
        log.sealed(2)
        with log.owner() as cursor:  # as if the rows came from a server that had counted much further
            cursor.execute("UPDATE core_auditevent SET position = position + 1000000000")
            cursor.execute("DELETE FROM core_auditseal")
            cursor.execute("SELECT id, position FROM core_auditevent ORDER BY position, id")
            rows = cursor.fetchall()
        yield rows
        with connection.cursor() as cursor:
            cursor.execute(sealing._RAISE % {"base": 0})

    def test_it_is_noticed(self, restored):
        state = sealing.get_chain_state()

        assert state.counter_is_behind
        assert "restored" in state.complaints(at=NOW)[0][0]

    def test_migrate_lets_the_count_go_on(self, log, restored):
        sealing.keep_counting()

        new = log.write(2)
        log.seal()
        assert not sealing.get_chain_state().counter_is_behind
        assert [entry.event_id for entry in entries()] == [event_id for event_id, _ in restored] + new

    def test_a_second_migrate_changes_nothing(self, restored):
        sealing.keep_counting()
        with connection.cursor() as cursor:
            cursor.execute("SELECT prosrc FROM pg_proc WHERE proname = 'core_audit_position'")
            before = cursor.fetchone()

        sealing.keep_counting()

        with connection.cursor() as cursor:
            cursor.execute("SELECT prosrc FROM pg_proc WHERE proname = 'core_audit_position'")
            assert cursor.fetchone() == before

    def test_the_control_without_it_new_rows_would_stand_before_the_old_ones(self, log, restored):
        new = log.write(1)

        with connection.cursor() as cursor:
            cursor.execute("SELECT id FROM core_auditevent ORDER BY position, id LIMIT 1")
            assert cursor.fetchone()[0] == new[0]


def test_a_row_that_old_code_writes_gets_its_place(log):
    """While a release rolls out, old code does not name the column."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO core_auditevent (id, at, act, actor_id, subject_id, session_id, reason, facts)"
            " VALUES (%s, %s, 'thing.done', NULL, NULL, NULL, '', '{}')",
            [uuid.uuid4(), NOW],
        )
        cursor.execute("SELECT core_audit_horizon()")
        horizon = cursor.fetchone()[0]

    assert 0 < AuditEvent.objects.get().position <= horizon
