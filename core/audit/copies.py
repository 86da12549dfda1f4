"""Copies of the chain in storage: what the database's owner can't rewrite.

One object holds some links of the chain with all their entries, a line each, and is named after the last of them and
its hash. So a copy says which rows there were and what they said, not only that something is different now. A key is
written once; whatever rewrites the chain in the database makes other hashes, and with them other keys.
"""

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from django.db import connection

from core import storage
from core.audit.rows import Seal
from core.audit.sealing import as_seal
from core.models import AuditHeadCopy, AuditSeal

PREFIX = "audit/"
SEALS_A_COPY = 60  # an hour of them; 56 kB each at most
MAX_BYTES = 16 * 1024 * 1024
_NAME = re.compile(r"\A(\d{12})-(\d{12})-([0-9a-f]{64})\Z")

_NOTE = """
INSERT INTO core_auditheadcopy (last_number, first_number, hash, key, copied_at) VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""


class ChainBroken(Exception):
    """What is to be copied does not follow from what was copied: somebody rewrote the chain. Nothing is copied any more."""


class CopyDamaged(Exception):
    """An object is not what it was when it was stored."""


@dataclass(frozen=True, order=True)
class Copy:
    """An object that holds the links `first` to `last`."""

    first: int
    last: int
    hash: bytes
    key: str


def copy_head(*, at: datetime) -> int:
    """Copy the links that no copy holds yet; answer how many. Called by the worker, not inside a transaction.

    Safe to run from many at once and again after it was killed: the same links have the same key. Stops at the first
    object that the store gives back otherwise. Raises: ServiceUnavailable("storage"), ChainBroken, ObjectCorrupt.
    """
    copied = 0
    while True:
        last = AuditHeadCopy.objects.order_by("-last_number").first()
        rows = AuditSeal.objects.filter(number__gt=last.last_number if last is not None else 0).order_by("number")[:SEALS_A_COPY]
        seals = [as_seal(row) for row in rows]
        if not seals:
            return copied
        _ensure_follows(seals, last)
        copy = _store(seals)
        with connection.cursor() as cursor:
            cursor.execute(_NOTE, [copy.last, copy.first, copy.hash, copy.key, at])
        copied += len(seals)


def _ensure_follows(seals: list[Seal], last: AuditHeadCopy | None) -> None:
    number, previous_hash = (last.last_number, bytes(last.hash)) if last is not None else (0, bytes(32))
    for seal in seals:
        if (seal.number, seal.previous_hash) != (number + 1, previous_hash) or not seal.is_whole():
            raise ChainBroken(f"Seal {seal.number} does not follow from what was copied. Run audit_verify.")
        number, previous_hash = seal.number, seal.hash


def _store(seals: list[Seal]) -> Copy:
    first, last = seals[0], seals[-1]
    key = f"{PREFIX}{first.number:012d}-{last.number:012d}-{last.hash.hex()}"
    data = "".join(_line(seal) for seal in seals).encode("ascii")
    storage.put_bytes(key, data, "application/x-ndjson")
    if storage.hash_object(key) != (hashlib.sha256(data).hexdigest(), len(data)):
        raise storage.ObjectCorrupt(key)
    return Copy(first.number, last.number, last.hash, key)


def _line(seal: Seal) -> str:
    said = {
        "number": seal.number,
        "previous_hash": seal.previous_hash.hex(),
        "sealed_at": seal.sealed_at.isoformat(),
        "entries": base64.b64encode(seal.packed).decode("ascii"),
        "hash": seal.hash.hex(),
    }
    return json.dumps(said, separators=(",", ":")) + "\n"


def list_copies() -> list[Copy]:
    """Every copy in storage, by what it holds. Raises: ServiceUnavailable("storage")."""
    found = []
    for key, _head in storage.list_keys(PREFIX):
        match = _NAME.match(key.removeprefix(PREFIX))
        if match is not None:
            found.append(Copy(int(match[1]), int(match[2]), bytes.fromhex(match[3]), key))
    return sorted(found)


def read_copy(copy: Copy) -> list[Seal]:
    """The links that an object holds, each whole and right after the one before.

    Raises: CopyDamaged, ObjectMissing, ServiceUnavailable("storage").
    """
    try:
        seals = [_seal_of(line) for line in storage.read(copy.key, max_bytes=MAX_BYTES).splitlines()]
    except (ValueError, KeyError, TypeError, binascii.Error, storage.ObjectTooLarge) as error:
        raise CopyDamaged(copy.key) from error
    numbers = [seal.number for seal in seals]
    linked = all(later.follows(earlier) for earlier, later in pairwise(seals))
    if numbers != list(range(copy.first, copy.last + 1)) or not linked or not all(seal.is_whole() for seal in seals):
        raise CopyDamaged(copy.key)
    if seals[-1].hash != copy.hash:
        raise CopyDamaged(copy.key)
    return seals


def _seal_of(line: bytes) -> Seal:
    said = json.loads(line)
    return Seal(
        number=int(said["number"]),
        previous_hash=bytes.fromhex(said["previous_hash"]),
        sealed_at=datetime.fromisoformat(said["sealed_at"]),
        packed=base64.b64decode(said["entries"], validate=True),
        hash=bytes.fromhex(said["hash"]),
    )
