"""`Idempotency-Key`: a repeated request finds what the first one made, and never makes it twice.

A claim is committed before the work starts (so that a parallel repeat sees it) and completed *in the transaction of
the effect*: either both are there or neither. What is kept is the id of the resource, never the answer.
"""

import hashlib
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from core.exceptions import IdempotencyInProgress, IdempotencyKeyReused
from core.ids import new_id
from core.models import IdempotencyRecord
from core.renderers import dumps

LEASE = timedelta(seconds=60)
KEPT_FOR = timedelta(hours=24)

_CLAIM = """
INSERT INTO core_idempotencyrecord AS record (id, actor_id, operation, key, fingerprint, lease_id, lease_expires_at, expires_at)
VALUES (%(id)s, %(actor)s, %(operation)s, %(key)s, %(fingerprint)s, %(lease)s, %(lease_expires_at)s, %(expires_at)s)
ON CONFLICT (actor_id, operation, key) DO UPDATE
   SET fingerprint = excluded.fingerprint, lease_id = excluded.lease_id, lease_expires_at = excluded.lease_expires_at,
       expires_at = excluded.expires_at, resource_id = NULL
 WHERE record.expires_at <= %(at)s
    OR (record.resource_id IS NULL AND record.lease_expires_at <= %(at)s AND record.fingerprint = excluded.fingerprint)
RETURNING id
"""
_COMPLETE = "UPDATE core_idempotencyrecord SET resource_id = %s WHERE id = %s AND lease_id = %s AND resource_id IS NULL"


def fingerprint(*parts: object) -> bytes:
    """SHA-256 over the JSON of what makes two requests the same: path and body."""
    return hashlib.sha256(dumps(list(parts))).digest()


@dataclass(frozen=True)
class Claim:
    """The right to do the work once. Without a key it claims nothing and completes nothing."""

    record_id: uuid.UUID | None = None
    lease_id: uuid.UUID | None = None
    replayed_resource_id: uuid.UUID | None = None

    def complete(self, resource_id: uuid.UUID) -> None:
        """Note what was made. Call it inside the transaction of the effect, exactly once.

        Raises: IdempotencyInProgress when the lease ran out and a repeat took the work over: the effect must roll back.
        """
        if self.record_id is None or self.lease_id is None:
            return
        with connection.cursor() as cursor:
            cursor.execute(_COMPLETE, [resource_id, self.record_id, self.lease_id])
            if cursor.rowcount != 1:
                raise IdempotencyInProgress

    def abandon(self) -> None:
        """Forget a claim whose request was refused: a refusal had no effect, and a repeat is judged anew."""
        if self.record_id is not None and self.lease_id is not None:
            IdempotencyRecord.objects.filter(pk=self.record_id, lease_id=self.lease_id, resource_id=None).delete()


def begin(*, actor_id: uuid.UUID, operation: str, key: str | None, fingerprint: bytes, at: datetime) -> Claim:
    """Claim a key for 60 seconds, or learn what it made before. Call it outside any transaction.

    Raises: IdempotencyKeyReused (another request had the key), IdempotencyInProgress (the first is still running).
    """
    if not key:
        return Claim()
    lease_id = new_id()
    with connection.cursor() as cursor:
        cursor.execute(
            _CLAIM,
            {
                "id": new_id(),
                "actor": actor_id,
                "operation": operation,
                "key": key,
                "fingerprint": fingerprint,
                "lease": lease_id,
                "lease_expires_at": at + LEASE,
                "expires_at": at + KEPT_FOR,
                "at": at,
            },
        )
        claimed = cursor.fetchone()
    if claimed:
        return Claim(record_id=claimed[0], lease_id=lease_id)
    record = IdempotencyRecord.objects.filter(actor_id=actor_id, operation=operation, key=key).first()
    if record is None:  # it was abandoned between the two statements
        raise IdempotencyInProgress
    if bytes(record.fingerprint) != fingerprint:
        raise IdempotencyKeyReused
    if record.resource_id is None:
        raise IdempotencyInProgress
    return Claim(replayed_resource_id=record.resource_id)


def purge_expired(*, at: datetime) -> int:
    """Delete keys older than 24 hours; returns how many."""
    return IdempotencyRecord.objects.filter(expires_at__lte=at).delete()[0]
