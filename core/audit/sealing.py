"""Sealing: rows of the audit log become links of a hash chain, in batches, by the worker.

Nobody who writes a row waits for this: no lock is taken that a business transaction would meet. A row is sealed only
when every transaction that began before its own has ended (the database's `xmin` horizon), because then no row can
appear any more that belongs before it. Rows are sealed by (position, id); a transaction that commits late has its
rows sealed late, and holds back those after it until then.

Of several sealers at once, the primary key of the chain lets one add the next link; the others find that out and stop.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction

from core.audit.rows import COLUMNS, ENTRY_BYTES, Entry, Seal, entries_in, entry_of
from core.models import AuditHeadCopy, AuditSeal

BATCH_ROWS = 1_000
SEALED_WITHIN, COPIED_WITHIN = timedelta(minutes=15), timedelta(hours=2)  # twice and more what the schedule takes

_FINISHED_ROWS = f"""
SELECT {COLUMNS} FROM core_auditevent
WHERE (position, id) > (%s, %s) AND position < core_audit_horizon()
ORDER BY position, id LIMIT %s
"""

_ADD_LINK = """
INSERT INTO core_auditseal (number, previous_hash, hash, sealed_at, row_count, entries)
VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""

BEFORE_ALL = (-1, uuid.UUID(int=0))  # no position is negative

# What is added to a transaction's number, the number that the next transaction gets, and the newest row's position
_COUNTER = """
SELECT core_audit_horizon() - pg_snapshot_xmin(snapshot)::text::bigint,
    greatest(pg_snapshot_xmax(snapshot)::text::bigint, coalesce(pg_current_xact_id_if_assigned()::text::bigint + 1, 0)),
    coalesce((SELECT max(position) FROM core_auditevent), 0)
FROM pg_current_snapshot() AS snapshot
"""

_RAISE = """
CREATE OR REPLACE FUNCTION core_audit_position() RETURNS bigint LANGUAGE sql VOLATILE AS
    $$ SELECT %(base)s::bigint + pg_catalog.pg_current_xact_id()::text::bigint $$;
CREATE OR REPLACE FUNCTION core_audit_horizon() RETURNS bigint LANGUAGE sql STABLE AS
    $$ SELECT %(base)s::bigint + pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text::bigint $$;
"""


def seal_batch(*, at: datetime, limit: int = BATCH_ROWS) -> int:
    """Add one link over the next rows; answer how many it seals. Called by the worker; safe to call from many at once.

    0 when nothing is finished, or when another sealer added that link meanwhile.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        previous = find_last_seal()
        after = last_place(previous)
        cursor.execute(_FINISHED_ROWS, [*after, limit])
        entries = [entry_of(row) for row in cursor.fetchall()]
        if not entries:
            return 0
        seal = Seal.after(previous, packed=b"".join(entry.to_bytes() for entry in entries), sealed_at=at)
        cursor.execute(_ADD_LINK, [seal.number, seal.previous_hash, seal.hash, seal.sealed_at, len(entries), seal.packed])
        return len(entries) if cursor.rowcount else 0


def as_seal(row: AuditSeal) -> Seal:
    """The link that a row of the chain's table holds."""
    return Seal(row.number, bytes(row.previous_hash), row.sealed_at, bytes(row.entries), bytes(row.hash))


def find_last_seal() -> Seal | None:
    """The chain's head as the database has it."""
    row = AuditSeal.objects.order_by("-number").first()
    return as_seal(row) if row is not None else None


def last_place(seal: Seal | None) -> tuple[int, uuid.UUID]:
    """Where that link ends, in the order of sealing."""
    return last_entry(seal).place if seal is not None else BEFORE_ALL


def last_entry(seal: Seal) -> Entry:
    """The last row that a link seals."""
    return next(entries_in(seal.packed[-ENTRY_BYTES:]))


@dataclass(frozen=True)
class ChainState:
    """How far the log is sealed and copied."""

    seals: int
    sealed_at: datetime | None  # of the newest link
    copied_number: int
    copied_at: datetime | None  # of the newest copy
    oldest_uncopied_at: datetime | None  # when the first link that no copy holds was made
    oldest_unsealed_at: datetime | None  # when the first row that no link holds was written
    counter_is_behind: bool  # the database was restored into a server that counts transactions from the beginning

    def complaints(self, *, at: datetime) -> list[tuple[str, str]]:
        """What stands still, and what to do about it."""
        found = []
        if self.counter_is_behind:
            found.append(
                ("The audit log was restored into a server that counts transactions anew", "run `manage.py migrate`, which lets it go on")
            )
        if self.oldest_unsealed_at is not None and at - self.oldest_unsealed_at > SEALED_WITHIN:
            found.append(("A row of the audit log waits to be sealed for more than 15 minutes", "look for a transaction that does not end"))
        if self.oldest_uncopied_at is not None and at - self.oldest_uncopied_at > COPIED_WITHIN:
            found.append(("The head of the audit chain was not copied for more than two hours", "look at the storage and at Dead tasks"))
        if self.copied_number > self.seals:
            found.append(("Copies of the audit chain are noted that reach further than the chain", "run `manage.py audit_verify`"))
        return found


def get_chain_state() -> ChainState:
    """How far the log is sealed and copied, in a handful of indexed queries."""
    head = find_last_seal()
    copied = AuditHeadCopy.objects.order_by("-last_number").first()
    copied_number = copied.last_number if copied is not None else 0
    uncopied = AuditSeal.objects.filter(number__gt=copied_number).order_by("number").values_list("sealed_at", flat=True).first()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT at FROM core_auditevent WHERE (position, id) > (%s, %s) ORDER BY position, id LIMIT 1", list(last_place(head))
        )
        unsealed = cursor.fetchone()
        cursor.execute(_COUNTER)
        counter = cursor.fetchone()
    return ChainState(
        seals=head.number if head is not None else 0,
        sealed_at=head.sealed_at if head is not None else None,
        copied_number=copied_number,
        copied_at=copied.copied_at if copied is not None else None,
        oldest_uncopied_at=uncopied,
        oldest_unsealed_at=unsealed[0] if unsealed else None,
        counter_is_behind=_is_behind(*counter),
    )


def _is_behind(base: int, next_number: int, newest: int) -> bool:
    """Whether the next row would stand before one that is there already."""
    return base + next_number <= newest


def keep_counting(**_: object) -> None:
    """Receiver of `post_migrate` for core: positions go on from the newest row where the server counts from the beginning.

    A dump that is restored into another server brings the rows, but not the server's count of transactions: without
    this, new rows would stand before sealed ones. Run `migrate` after a restore, before anything serves.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT to_regproc('core_audit_horizon') IS NOT NULL")
        if not cursor.fetchone()[0]:  # migrated back to before it
            return
        cursor.execute(_COUNTER)
        base, next_number, newest = cursor.fetchone()
        if _is_behind(base, next_number, newest):
            cursor.execute(_RAISE % {"base": newest + 1 - next_number})
