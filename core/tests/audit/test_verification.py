"""`audit_verify`: the first changed row is named, whoever changed it."""

from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection

from core import storage
from core.audit import copies, sealing
from core.audit.rows import COLUMNS, Seal, entry_of
from core.audit.verification import Change, verify
from core.models import AuditEvent, AuditSeal
from core.tests.audit.log import NOW

EDIT = "UPDATE core_auditevent SET reason = 'it was nobody' WHERE id = %s"
DELETE = "DELETE FROM core_auditevent WHERE id = %s"
INSERT = """
INSERT INTO core_auditevent (id, position, at, act, actor_id, subject_id, session_id, reason, facts)
SELECT gen_random_uuid(), position, at, 'thing.forged', actor_id, subject_id, session_id, reason, facts FROM core_auditevent WHERE id = %s
"""
SWAP = """
UPDATE core_auditevent AS one SET act = other.act, actor_id = other.actor_id, subject_id = other.subject_id,
    session_id = other.session_id, at = other.at, reason = other.reason, facts = other.facts
FROM core_auditevent AS other WHERE (one.id, other.id) IN ((%s, %s), (%s, %s))
"""


def run(*, status=0):
    out, err = StringIO(), StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("audit_verify", stdout=out, stderr=err, no_color=True)
    assert ended.value.code == status, out.getvalue() + err.getvalue()
    return out.getvalue() + err.getvalue()


@pytest.fixture
def ids(log):
    """Nine rows in three links, all copied."""
    ids = log.sealed(3, 3, 3)
    log.copy()
    return ids


class TestIntact:
    def test_an_empty_log(self, log):
        report = verify()

        assert (report.intact, report.rows, report.tail_rows, report.tail_since) == (True, 0, 0, None)

    def test_a_copied_log(self, ids):
        report = verify()

        assert (report.intact, report.rows, report.seals, report.copied_seals) == (True, 9, 3, 3)
        assert (report.tail_rows, report.unsealed_rows) == (0, 0)
        assert "Nothing was changed." in run()
        assert "The open tail is empty" in run()

    def test_it_states_how_long_the_open_tail_is(self, log, ids):
        log.sealed(2)
        log.write(3)

        report = verify()

        assert (report.intact, report.rows, report.tail_rows, report.unsealed_rows) == (True, 11, 5, 3)
        assert "The open tail is 5 rows long, 3 of them not sealed" in run()

    def test_many_rows_in_few_queries(self, log, monkeypatch, django_assert_num_queries):
        monkeypatch.setattr("core.audit.verification.ROWS_AT_ONCE", 10)
        log.write(40)
        log.seal(limit=10)
        log.copy()

        # the newest copy; for each ten rows the links and the rows; that there is no more, twice; rows without a place, the tail
        with django_assert_num_queries(1 + 4 * 2 + 2 + 2):
            assert verify().intact


@pytest.mark.parametrize("anew", [False, True], ids=["in the rows alone", "and the whole chain made anew"])
class TestChanged:
    """What the database's owner does with the triggers off; in the second form they make the whole chain anew as well."""

    def test_an_edited_row(self, log, ids, anew):
        log.tamper(EDIT, ids[4])
        if anew:
            log.rebuild()

        first = verify().first

        assert (first.change, first.event_id, first.seal) == (Change.EDITED, ids[4], 2)
        assert f"The first changed row: row {ids[4]} was edited (seal 2; it says thing.done now)" in run(status=1)

    def test_an_id_that_was_replaced(self, log, ids, anew):
        log.tamper("UPDATE core_auditevent SET id = gen_random_uuid() WHERE id = %s", ids[4])
        if anew:
            log.rebuild()

        report = verify()

        assert {finding.change for finding in report.findings} >= {Change.REMOVED, Change.INSERTED}
        assert report.first.seal == 2

    def test_a_removed_row(self, log, ids, anew):
        log.tamper(DELETE, ids[0])
        if anew:
            log.rebuild()

        first = verify().first

        assert (first.change, first.event_id, first.seal) == (Change.REMOVED, ids[0], 1)

    def test_an_inserted_row(self, log, ids, anew):
        log.tamper(INSERT, ids[5])
        if anew:
            log.rebuild()

        first = verify().first

        assert (first.change, first.event_id) == (Change.INSERTED, AuditEvent.objects.get(act="thing.forged").pk)

    def test_a_row_inserted_before_all_others(self, log, ids, anew):
        log.tamper("UPDATE core_auditevent SET position = -5 WHERE id = %s", log.write(1)[0])
        if anew:
            log.rebuild()

        assert verify().first.change == Change.INSERTED

    @pytest.mark.parametrize("pair", [(1, 2), (1, 7)], ids=["in one link", "in two links"])
    def test_two_rows_that_changed_places(self, log, ids, anew, pair):
        one, other = ids[pair[0]], ids[pair[1]]
        log.tamper(SWAP, one, other, other, one)
        if anew:
            log.rebuild()

        report = verify()

        assert (report.first.change, report.first.event_id, report.first.detail) == (Change.SWAPPED, one, f"with {other}")
        assert [finding.event_id for finding in report.findings if finding.change == Change.SWAPPED] == [one, other]

    def test_the_first_of_several(self, log, ids, anew):
        log.tamper(EDIT, ids[8])
        log.tamper(DELETE, ids[3])
        log.tamper(EDIT, ids[6])
        if anew:
            log.rebuild()

        report = verify()

        assert (report.first.change, report.first.event_id) == (Change.REMOVED, ids[3])
        assert [finding.event_id for finding in report.findings if finding.event_id] == [ids[3], ids[6], ids[8]]

    def test_a_tail_that_was_cut_off(self, log, ids, anew):
        log.tamper("DELETE FROM core_auditevent WHERE id = ANY(%s)", ids[6:])
        if anew:
            log.rebuild()
        else:
            log.tamper("DELETE FROM core_auditseal WHERE number = 3")

        report = verify()

        assert (report.first.change, report.first.event_id) == (Change.REMOVED, ids[6])
        assert [finding.event_id for finding in report.findings if finding.event_id] == ids[6:]

    def test_everything_deleted(self, log, ids, anew):
        log.tamper("DELETE FROM core_auditevent")
        log.tamper("DELETE FROM core_auditseal")
        log.tamper("DELETE FROM core_auditheadcopy")

        assert (verify().first.change, verify().first.event_id) == (Change.REMOVED, ids[0])


@pytest.mark.parametrize(
    "assignment",
    [
        "at = at + interval '1 microsecond'",
        "act = 'thing.undone'",
        "actor_id = NULL",
        "subject_id = NULL",
        "session_id = gen_random_uuid()",
        "reason = ''",
        "facts = facts || '{\"more\": 1}'",
        "position = position - 1",
    ],
)
def test_every_column_counts(log, ids, assignment):
    log.tamper(f"UPDATE core_auditevent SET {assignment} WHERE id = %s", ids[4])

    assert (verify().first.change, verify().first.event_id) == (Change.EDITED, ids[4])


def test_more_changes_than_are_named_are_counted(log):
    log.sealed(30)
    log.copy()
    log.tamper("UPDATE core_auditevent SET act = 'thing.hidden'")

    report = verify()

    assert (report.changed, len(report.findings)) == (30, 20)
    assert "… and 10 more" in run(status=1)


def test_a_chain_made_anew_over_unchanged_rows_is_named(log, ids):
    log.rebuild()

    report = verify()

    assert (report.first, {finding.change for finding in report.findings}) == (None, {Change.SEAL_CHANGED})
    run(status=1)


def test_rows_in_the_open_tail_are_compared_with_the_databases_own_chain(log, ids):
    tail = log.sealed(2)
    log.tamper(EDIT, tail[1])

    assert (verify().first.change, verify().first.event_id, verify().first.seal) == (Change.EDITED, tail[1], 4)


def test_what_the_owner_does_to_the_open_tail_and_its_chain_is_not_found_as_it_says(log, ids):
    """The limit that the command states: nothing outside the database vouches for the tail."""
    tail = log.sealed(2)
    log.tamper(EDIT, tail[1])
    with log.owner() as cursor:
        cursor.execute("DELETE FROM core_auditseal WHERE number = 4")
    log.seal()

    assert verify().intact
    assert "Nothing vouches for these rows against the database's owner yet." in run()


def test_a_forged_link_after_the_copied_head_can_not_vouch_for_a_row_before_it(log, ids):
    """The owner inserts a row among sealed ones and adds a link with its entry that follows from the copied head."""
    log.tamper(INSERT, ids[1])
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {COLUMNS} FROM core_auditevent WHERE act = 'thing.forged'")
        entry = entry_of(cursor.fetchone())
    seal = Seal.after(sealing.find_last_seal(), packed=entry.to_bytes(), sealed_at=NOW)
    AuditSeal.objects.create(
        number=4, previous_hash=seal.previous_hash, hash=seal.hash, sealed_at=NOW, row_count=1, entries=seal.packed
    )

    assert (verify().first.change, verify().first.event_id) == (Change.INSERTED, entry.event_id)


def test_a_link_of_the_tail_that_was_removed(log, ids):
    log.sealed(1, 1, 1)
    log.tamper("DELETE FROM core_auditseal WHERE number = 5")

    report = verify()

    assert (report.findings[0].change, report.findings[0].seal) == (Change.SEAL_REMOVED, 5)


def test_a_link_of_the_tail_that_was_rewritten(log, ids):
    log.sealed(1, 1)
    log.tamper("UPDATE core_auditseal SET hash = decode(repeat('00', 32), 'hex') WHERE number = 4")

    assert {(finding.change, finding.seal) for finding in verify().findings} == {(Change.SEAL_CHANGED, 4), (Change.SEAL_CHANGED, 5)}


class TestCopiesGone:
    def delete(self, number):
        (copy,) = [copy for copy in copies.list_copies() if copy.last == number]
        storage.delete(copy.key)

    @pytest.fixture
    def three(self, log):
        ids = []
        for _ in range(3):
            ids += log.sealed(2)
            log.copy()
        return ids

    @pytest.mark.parametrize("number", [1, 2, 3])
    def test_a_missing_copy_is_named_and_the_databases_chain_compared_instead(self, log, three, number):
        self.delete(number)

        report = verify()

        assert [(finding.change, finding.seal) for finding in report.findings] == [(Change.COPY_MISSING, number)]
        assert report.rows == 6
        assert f"copy missing (seal {number}" in run(status=1)

    def test_a_row_is_named_although_its_copy_is_missing(self, log, three):
        self.delete(2)
        log.tamper(EDIT, three[2])

        assert (verify().first.change, verify().first.event_id) == (Change.EDITED, three[2])

    def test_a_missing_copy_does_not_hide_a_chain_that_was_made_anew(self, log, three):
        """The next copy names the hash of the link before it."""
        self.delete(2)
        log.tamper(EDIT, three[2])
        log.rebuild()

        assert Change.SEAL_CHANGED in {finding.change for finding in verify().findings}

    def test_neither_copy_nor_link(self, log, three):
        self.delete(2)
        log.tamper("DELETE FROM core_auditseal WHERE number = 2")

        findings = verify().findings

        assert (Change.SEAL_REMOVED, 2) in {(finding.change, finding.seal) for finding in findings}

    @pytest.mark.parametrize(
        "damage",
        [lambda data: data[:-9], lambda data: data.replace(b'"number":2', b'"number":9'), lambda data: b"", lambda data: b"{}\n"],
        ids=["cut off", "renumbered", "emptied", "not a link"],
    )
    def test_a_damaged_copy_is_named(self, log, three, damage):
        (copy,) = [copy for copy in copies.list_copies() if copy.last == 2]
        storage.put_bytes(copy.key, damage(storage.read(copy.key, max_bytes=10_000)), "application/x-ndjson")

        report = verify()

        assert Change.COPY_DAMAGED in {finding.change for finding in report.findings}
        assert report.rows == 6

    def test_all_copies_gone(self, log, three):
        for number in (1, 2, 3):
            self.delete(number)

        assert [finding.change for finding in verify().findings] == [Change.COPY_MISSING]
        run(status=1)


def test_a_foreign_object_beside_the_copies_is_passed_over(log, ids):
    storage.put_bytes(f"{copies.PREFIX}readme", b"x", "text/plain")

    assert verify().intact


def test_without_storage_nothing_is_proved(log, ids, settings):
    settings.S3_ENDPOINT_URL = "http://127.0.0.1:9"
    storage.reset()
    try:
        assert "nothing is proved" in run(status=2)
    finally:
        settings.S3_ENDPOINT_URL = settings.S3_PUBLIC_ENDPOINT_URL
        storage.reset()


def test_it_goes_on_while_the_log_grows(log, ids):
    seen = []

    def grow(rows):
        if not seen:
            log.sealed(2)
            log.copy()
        seen.append(rows)

    assert verify(progress=grow).intact


def test_it_writes_nothing(log, ids):
    statements = []
    with connection.execute_wrapper(lambda execute, sql, *rest: statements.append(sql) or execute(sql, *rest)):
        verify()

    assert all(sql.lstrip().startswith("SELECT") for sql in statements)
    assert AuditSeal.objects.count() == 3
