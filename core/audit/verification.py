"""The proof that the audit log says what it said when it was sealed.

What must be there comes from the copies in storage as far as they reach, and from the chain in the database after
that. So a row that was edited, removed, inserted or swapped is named even when somebody with every right in the
database turned the triggers off and made the whole chain anew. What no copy holds yet is the open tail: it is checked
against the database's own chain, which proves nothing against the database's owner.

Links are read some at a time and rows by the index, so memory stays the same however long the log is. No server-side
cursor: they don't pass a transaction pooler.
"""

import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from itertools import takewhile
from typing import Any

from django.db import connection

from core.audit.copies import Copy, CopyDamaged, list_copies, read_copy
from core.audit.rows import COLUMNS, ENTRY_BYTES, Entry, Seal, digest_of, entries_in
from core.audit.sealing import BEFORE_ALL, as_seal, last_place
from core.models import AuditHeadCopy, AuditSeal
from core.storage import ObjectMissing

ROWS_AT_ONCE = 2_000
LINKS_AT_ONCE = 60
NAMED_AT_MOST = 20
COMPARED_AT_MOST = 500  # edited rows that are kept to find out which of them changed places

_ROWS_BETWEEN = f"""
SELECT {COLUMNS} FROM core_auditevent WHERE (position, id) > (%s, %s) AND (position, id) <= (%s, %s) ORDER BY position, id
"""
_ROWS_OF = f"SELECT {COLUMNS} FROM core_auditevent WHERE id = ANY (%s)"
_TAIL = """
SELECT count(*), count(*) FILTER (WHERE (position, id) > (%(position)s, %(id)s)), min(at)
FROM core_auditevent WHERE (position, id) > (%(copied_position)s, %(copied_id)s)
"""
_PLACELESS = "SELECT id FROM core_auditevent WHERE position IS NULL OR position < 0 LIMIT 1"


class Change(StrEnum):
    """What happened to a row, or to the chain itself."""

    EDITED = "edited"
    SWAPPED = "swapped"
    REMOVED = "removed"
    INSERTED = "inserted"
    SEAL_CHANGED = "seal changed"
    SEAL_REMOVED = "seal removed"
    COPY_MISSING = "copy missing"
    COPY_DAMAGED = "copy damaged"


OF_ROWS = frozenset({Change.EDITED, Change.SWAPPED, Change.REMOVED, Change.INSERTED})


@dataclass
class Finding:
    """One thing that is not as it was sealed. `seal` is the link in which it shows."""

    change: Change
    seal: int
    event_id: uuid.UUID | None = None
    detail: str = ""

    def __str__(self) -> str:
        what = f"row {self.event_id} was {self.change}" if self.change in OF_ROWS else str(self.change)
        return f"{what} (seal {self.seal}{'; ' + self.detail if self.detail else ''})"


@dataclass
class Report:
    """What was found. `first` is the first row that was changed, in the order of sealing."""

    rows: int = 0
    seals: int = 0
    copied_seals: int = 0  # links that were compared with a copy
    copied_at: datetime | None = None
    findings: list[Finding] = field(default_factory=list)  # the first NAMED_AT_MOST
    changed: int = 0  # all of them
    first: Finding | None = None
    tail_rows: int = 0  # rows that no copy holds
    unsealed_rows: int = 0  # of them, rows that no link holds either
    tail_since: datetime | None = None

    @property
    def intact(self) -> bool:
        return self.changed == 0

    def add(self, finding: Finding) -> None:
        self.changed += 1
        if len(self.findings) < NAMED_AT_MOST:
            self.findings.append(finding)
        if self.first is None and finding.change in OF_ROWS:
            self.first = finding


def verify(*, progress: Callable[[int], None] = lambda _rows: None) -> Report:
    """Compare every sealed row with what it was sealed as. `progress` gets the number of rows so far.

    Reads only; takes no lock and no transaction. Raises: ServiceUnavailable("storage"), without which nothing is proved.
    """
    report = Report()
    known = AuditHeadCopy.objects.order_by("-last_number").first()  # before the list: a newer copy may come meanwhile
    report.copied_at = known.copied_at if known is not None else None
    chain = _Chain(list_copies(), known.last_number if known is not None else 0, report)
    rows = _RowCheck(report)
    for links in _in_groups(chain.links()):
        _compare_with_database(links, report)
        rows.check([(seal.number, entry) for seal, _ in links for entry in entries_in(seal.packed)])
        copied = [seal for seal, is_copied in links if is_copied]
        report.seals += len(links)
        report.copied_seals += len(copied)
        if copied:
            rows.copied_place = last_place(copied[-1])
        progress(report.rows)
    rows.finish()
    return report


class _Chain:
    """The links that must be there: out of the copies as far as they reach, out of the database where no copy has them."""

    def __init__(self, copies: list[Copy], known_until: int, report: Report) -> None:
        self.copies = deque(copies)
        self.copied_until = max([known_until, *(copy.last for copy in copies)])
        self.report = report

    def links(self) -> Iterator[tuple[Seal, bool]]:
        """Every link from the first on, and whether a copy vouches for it. A link that nobody has is named and passed over."""
        previous: Seal | None = None
        number, is_after_gap, copy_was_there = 1, False, True
        while True:
            links, is_copied = self._copied(number), True
            if not links:
                links, is_copied = self._stored(number), False
                if links and copy_was_there and number <= self.copied_until:
                    self.report.add(Finding(Change.COPY_MISSING, number, detail="the database's chain is compared instead"))
            copy_was_there = is_copied
            if not links:
                following = self._next_after(number)
                if following is not None or number <= self.copied_until:
                    self.report.add(Finding(Change.SEAL_REMOVED, number, detail="neither the database nor a copy has it"))
                if following is None:
                    return
                number, is_after_gap = following, True
                continue
            for seal in links:
                if not (seal.is_whole() and (is_after_gap or seal.follows(previous))):
                    self.report.add(Finding(Change.SEAL_CHANGED, seal.number, detail="it does not follow from the one before"))
                yield (seal if len(seal.packed) % ENTRY_BYTES == 0 else replace(seal, packed=b"")), is_copied
                previous, is_after_gap = seal, False
            number = links[-1].number + 1

    def _copied(self, number: int) -> list[Seal]:
        """The links from `number` on out of the copy that holds most of them. Damaged copies are named and passed over."""
        while self.copies and self.copies[0].last < number:
            self.copies.popleft()
        holding = [copy for copy in takewhile(lambda copy: copy.first <= number, self.copies) if copy.last >= number]
        for copy in sorted(holding, key=lambda copy: copy.last, reverse=True):
            try:
                return [seal for seal in read_copy(copy) if seal.number >= number]
            except (CopyDamaged, ObjectMissing):
                self.report.add(Finding(Change.COPY_DAMAGED, copy.last, detail=copy.key))
                self.copies.remove(copy)
        return []

    def _stored(self, number: int) -> list[Seal]:
        """The links of the database from `number` on without a gap, some at a time, up to the next that a copy holds."""
        end = next((copy.first for copy in self.copies if copy.first > number), number + LINKS_AT_ONCE)
        rows = AuditSeal.objects.filter(number__gte=number, number__lt=min(end, number + LINKS_AT_ONCE)).order_by("number")
        return [as_seal(row) for index, row in enumerate(rows) if row.number == number + index]

    def _next_after(self, number: int) -> int | None:
        """The next link that anybody has."""
        stored = AuditSeal.objects.filter(number__gt=number).order_by("number").values_list("number", flat=True).first()
        candidates = [copy.first for copy in self.copies if copy.first > number] + ([stored] if stored is not None else [])
        return min(candidates, default=None)


def _in_groups(links: Iterator[tuple[Seal, bool]]) -> Iterator[list[tuple[Seal, bool]]]:
    """Links until their rows are worth a query."""
    group: list[tuple[Seal, bool]] = []
    size = 0
    for seal, is_copied in links:
        group.append((seal, is_copied))
        size += len(seal.packed) // ENTRY_BYTES
        if size >= ROWS_AT_ONCE or len(group) >= LINKS_AT_ONCE:
            yield group
            group, size = [], 0
    if group:
        yield group


def _compare_with_database(links: list[tuple[Seal, bool]], report: Report) -> None:
    """Whether the database still has the links that copies hold."""
    numbers = [seal.number for seal, is_copied in links if is_copied]
    stored = {number: bytes(hash) for number, hash in AuditSeal.objects.filter(number__in=numbers).values_list("number", "hash")}
    for seal, is_copied in links:
        if not is_copied or stored.get(seal.number) == seal.hash:
            continue
        if seal.number in stored:
            report.add(Finding(Change.SEAL_CHANGED, seal.number, detail="the database's differs from the copy"))
        else:
            report.add(Finding(Change.SEAL_REMOVED, seal.number, detail="the copy has it, the database does not"))


class _RowCheck:
    """Compares rows with entries, from one place in the order to the next."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.place = self.copied_place = BEFORE_ALL
        self._edited: list[tuple[Finding, Entry, tuple[Any, ...]]] = []

    def check(self, sealed: list[tuple[int, Entry]]) -> None:
        """Compare all rows up to the last entry. An entry that lies before one that came earlier vouches for nothing."""
        expected, until = [], self.place
        for number, entry in sealed:
            if entry.place > until:
                expected.append((number, entry))
                until = entry.place
        found = _query(_ROWS_BETWEEN, [*self.place, *until]) if expected else []
        by_id = {row[0]: row for row in found}
        moved = [entry.event_id for _, entry in expected if entry.event_id not in by_id]
        by_id.update({row[0]: row for row in _query(_ROWS_OF, [moved])} if moved else {})
        findings: list[tuple[tuple[int, uuid.UUID], Finding]] = []
        for number, entry in expected:
            row = by_id.get(entry.event_id)
            if row is None:
                findings.append((entry.place, Finding(Change.REMOVED, number, entry.event_id)))
            elif digest_of(row) != entry.digest:
                finding = Finding(Change.EDITED, number, entry.event_id, detail=f"it says {row[3]} now")
                findings.append((entry.place, finding))
                if len(self._edited) < COMPARED_AT_MOST:
                    self._edited.append((finding, entry, row))
        due = {entry.event_id for _, entry in expected}
        seen: set[uuid.UUID] = set()
        for row in found:
            if row[0] not in due or row[0] in seen:
                number = next((number for number, entry in expected if entry.place >= (row[1], row[0])), expected[-1][0])
                findings.append(((row[1], row[0]), Finding(Change.INSERTED, number, row[0], detail=f"it says {row[3]}")))
            seen.add(row[0])
        for _, finding in sorted(findings, key=lambda pair: pair[0]):
            self.report.add(finding)
        self.report.rows += len(expected)
        self.place = until

    def finish(self) -> None:
        """Tell edited rows from swapped ones, and measure the tail."""
        for finding, entry, _row in self._edited:
            for _, other, its_row in self._edited:
                said_before = (entry.event_id, entry.position, *its_row[2:])  # had the two changed places
                if other is not entry and digest_of(said_before) == entry.digest:
                    finding.change, finding.detail = Change.SWAPPED, f"with {other.event_id}"
                    break
        for (event_id,) in _query(_PLACELESS, []):
            self.report.add(Finding(Change.INSERTED, self.report.seals, event_id, detail="it has no place in the order"))
        (position, last_id), (copied_position, copied_id) = self.place, self.copied_place
        (tail,) = _query(_TAIL, {"position": position, "id": last_id, "copied_position": copied_position, "copied_id": copied_id})
        self.report.tail_rows, self.report.unsealed_rows, self.report.tail_since = tail


def _query(sql: str, parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()
