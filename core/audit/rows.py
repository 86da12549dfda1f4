"""What a row of the audit log says, as bytes to be hashed, and what a seal keeps of it."""

import hashlib
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

# The facts are hashed as PostgreSQL writes them: jsonb has one spelling of each value.
COLUMNS = "id, position, at, act, actor_id, subject_id, session_id, reason, facts::text"
ENTRY_BYTES = 16 + 8 + 32


@dataclass(frozen=True, slots=True)
class Entry:
    """One sealed row: its id, its place in the order of sealing, and the hash of all it said then."""

    event_id: uuid.UUID
    position: int
    digest: bytes

    @property
    def place(self) -> tuple[int, uuid.UUID]:
        """What rows are ordered by."""
        return self.position, self.event_id

    def to_bytes(self) -> bytes:
        return self.event_id.bytes + self.position.to_bytes(8, "big", signed=True) + self.digest


def entry_of(row: tuple[Any, ...]) -> Entry:
    """The entry of a row that was read as `COLUMNS`."""
    return Entry(event_id=row[0], position=row[1], digest=digest_of(row))


def digest_of(row: tuple[Any, ...]) -> bytes:
    """SHA-256 of a row that was read as `COLUMNS`: of the JSON array of its values, without spaces, in ASCII."""
    event_id, position, at, act, actor_id, subject_id, session_id, reason, facts = row
    ids = [None if value is None else str(value) for value in (actor_id, subject_id, session_id)]
    said = [str(event_id), position, _moment(at), act, *ids, reason, facts]
    return hashlib.sha256(json.dumps(said, separators=(",", ":")).encode("ascii")).digest()


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def entries_in(packed: bytes) -> Iterator[Entry]:
    """The entries of a seal, in their order. Raises: ValueError when it is no whole number of them."""
    if len(packed) % ENTRY_BYTES:
        raise ValueError("A seal's entries are cut off.")
    for start in range(0, len(packed), ENTRY_BYTES):
        yield Entry(
            event_id=uuid.UUID(bytes=bytes(packed[start : start + 16])),
            position=int.from_bytes(packed[start + 16 : start + 24], "big", signed=True),
            digest=bytes(packed[start + 24 : start + ENTRY_BYTES]),
        )


@dataclass(frozen=True, slots=True)
class Seal:
    """One link of the chain, wherever it was read from."""

    number: int
    previous_hash: bytes
    sealed_at: datetime
    packed: bytes
    hash: bytes

    @classmethod
    def after(cls, previous: "Seal | None", *, packed: bytes, sealed_at: datetime) -> "Seal":
        """The next link."""
        number, previous_hash = (1, bytes(32)) if previous is None else (previous.number + 1, previous.hash)
        return cls(number, previous_hash, sealed_at, packed, seal_hash(number, previous_hash, sealed_at, packed))

    def is_whole(self) -> bool:
        """Whether the hash is that of what the seal says."""
        return self.hash == seal_hash(self.number, self.previous_hash, self.sealed_at, self.packed)

    def follows(self, previous: "Seal | None") -> bool:
        """Whether it is the link right after that one; None stands for the beginning."""
        if previous is None:
            return self.number == 1 and self.previous_hash == bytes(32)
        return self.number == previous.number + 1 and self.previous_hash == previous.hash


def seal_hash(number: int, previous_hash: bytes, sealed_at: datetime, packed: bytes) -> bytes:
    """SHA-256 over a heading, the number, the link before, the moment and the entries."""
    heading = f"RevSync audit seal 1\n{number}\n{previous_hash.hex()}\n{_moment(sealed_at)}\n".encode("ascii")
    return hashlib.sha256(heading + packed).digest()
