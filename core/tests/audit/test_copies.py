"""Copies of the head: written once, checked, and made again after whatever went wrong."""

import os
import signal
import subprocess
import sys
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connection

from core import schedule, storage
from core.audit import copies, sealing
from core.audit.tasks import copy_audit_head, seal_audit
from core.audit.verification import verify
from core.exceptions import ServiceUnavailable
from core.models import AuditHeadCopy, AuditSeal
from core.testing.races import race
from core.tests.audit.log import NOW

KILLED = """
import os, signal, django
django.setup()
from datetime import datetime, UTC
from django.db import connection
from core.audit import copies, sealing

def die(execute, sql, params, many, context):
    if {piece!r} in sql:
        if {after}:
            execute(sql, params, many, context)
        os.kill(os.getpid(), signal.SIGKILL)
    return execute(sql, params, many, context)

copies.PREFIX = {prefix!r}
with connection.execute_wrapper(die):
    {call}(at=datetime(2026, 6, 1, 12, tzinfo=UTC))
"""


def run_and_kill(call, piece, *, after):
    """Run `call` in a process that is killed with -9 right before or after the statement that has `piece` in it."""
    database = connection.settings_dict
    url = f"postgres://{database['USER']}:{database['PASSWORD']}@{database['HOST']}:{database['PORT']}/{database['NAME']}"
    script = KILLED.format(call=call, piece=piece, after=after, prefix=copies.PREFIX)
    done = subprocess.run([sys.executable, "-c", script], cwd=settings.BASE_DIR, env={**os.environ, "DATABASE_URL": url}, timeout=60)
    assert done.returncode == -signal.SIGKILL


@pytest.fixture
def outage(settings):
    """Storage that answers nobody."""

    def begin():
        settings.S3_ENDPOINT_URL = "http://127.0.0.1:9"
        storage.reset()

    def end():
        settings.S3_ENDPOINT_URL = settings.S3_PUBLIC_ENDPOINT_URL
        storage.reset()

    begin.end = end
    yield begin
    storage.reset()


def test_a_copy_holds_the_links_word_for_word(log):
    log.sealed(3, 2)

    assert log.copy() == 2

    (copy,) = copies.list_copies()
    assert copies.read_copy(copy) == [sealing.as_seal(row) for row in AuditSeal.objects.order_by("number")]
    assert (copy.first, copy.last, copy.hash) == (1, 2, sealing.find_last_seal().hash)
    assert AuditHeadCopy.objects.get().key == copy.key


def test_the_next_copy_begins_where_the_last_one_ended(log):
    log.sealed(1)
    log.copy()
    log.sealed(1, 1)

    assert log.copy() == 2

    assert [(copy.first, copy.last) for copy in copies.list_copies()] == [(1, 1), (2, 3)]


def test_without_new_links_nothing_is_written(log):
    log.sealed(1)
    log.copy()

    assert log.copy() == 0
    assert len(copies.list_copies()) == 1


def test_a_long_tail_goes_into_several_objects(log, monkeypatch):
    monkeypatch.setattr(copies, "SEALS_A_COPY", 2)
    log.write(5)
    log.seal(limit=1)

    assert log.copy() == 5

    assert [(copy.first, copy.last) for copy in copies.list_copies()] == [(1, 2), (3, 4), (5, 5)]


def test_the_copies_are_private(log):
    log.sealed(1)
    log.copy()

    (copy,) = copies.list_copies()
    assert list(storage.list_keys(copies.PREFIX, bucket=storage.PUBLIC)) == []
    assert storage.head(copy.key, bucket=storage.PRIVATE) is not None


def test_while_storage_is_away_sealing_goes_on_and_copying_waits(log, outage):
    log.sealed(1)
    outage()
    log.write(2)
    log.seal()
    with pytest.raises(ServiceUnavailable):
        log.copy()
    assert not AuditHeadCopy.objects.exists()

    outage.end()

    assert log.copy() == 2
    assert verify().intact


def test_a_chain_that_was_rewritten_is_not_copied_over_its_copy(log):
    log.sealed(2)
    log.copy()
    log.tamper("UPDATE core_auditevent SET reason = 'another' WHERE id = (SELECT id FROM core_auditevent ORDER BY position LIMIT 1)")
    log.rebuild()
    log.sealed(1)

    with pytest.raises(copies.ChainBroken):
        copy_audit_head()

    assert [(copy.first, copy.last) for copy in copies.list_copies()] == [(1, 1)]


def test_a_link_whose_entries_were_rewritten_is_not_copied(log):
    log.sealed(2)
    log.tamper("UPDATE core_auditseal SET entries = decode(repeat('00', 112), 'hex')")

    with pytest.raises(copies.ChainBroken):
        log.copy()


def test_a_sealer_that_is_killed_leaves_a_whole_chain(log):
    ids = log.write(5)

    run_and_kill("sealing.seal_batch", "INSERT INTO core_auditseal", after=True)

    assert not AuditSeal.objects.exists(), "the transaction died with it"
    log.seal()
    log.copy()
    report = verify()
    assert report.intact
    assert report.rows == len(ids)


def test_a_copier_that_is_killed_before_its_note_loses_nothing(log):
    log.sealed(2, 1)

    run_and_kill("copies.copy_head", "INSERT INTO core_auditheadcopy", after=False)
    assert len(copies.list_copies()) == 1, "the object was there first"
    assert not AuditHeadCopy.objects.exists()
    log.sealed(1)
    log.copy()

    assert AuditHeadCopy.objects.order_by("-last_number").first().last_number == 3
    report = verify()
    assert (report.intact, report.copied_seals, report.tail_rows) == (True, 3, 0)


def test_parallel_copiers_copy_each_link(log):
    log.write(6)
    log.seal(limit=2)

    race(log.copy, times=4)

    report = verify()
    assert (report.intact, report.copied_seals, report.tail_rows) == (True, 3, 0)
    assert AuditHeadCopy.objects.count() == len(copies.list_copies()) == 1


def test_a_forged_note_of_a_copy_is_noticed(log):
    """It would end the copying: append-only tables take any new row."""
    log.sealed(2)
    log.copy()
    AuditHeadCopy.objects.create(last_number=10_000, first_number=2, hash=bytes(32), key="audit/none", copied_at=NOW)
    log.sealed(1)

    assert log.copy() == 0
    assert not verify().intact
    assert "reach further" in sealing.get_chain_state().complaints(at=NOW)[0][0]


def test_the_schedule_has_both():
    periods = {entry.name: entry.period for entry in schedule.entries()}

    assert (periods["seal_audit"], periods["copy_audit_head"]) == (timedelta(minutes=1), timedelta(hours=1))


def test_the_tasks_seal_and_copy(log):
    log.write(1)
    log.seal()
    log.write(1)

    seal_audit()
    copy_audit_head()

    assert AuditHeadCopy.objects.exists()
