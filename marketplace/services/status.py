"""The status document: which releases are stopped, signed, its version only ever rising, with a copy in storage.

A database that was restored must not make the phones forget a stop. So each new document is built upon the newest of
our own and storage's: its version is above both, and a stop that one of them had vanishes only with a signed lifting.
"""

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction

from core import signing, storage
from core.exceptions import ServiceUnavailable
from marketplace.exceptions import StatusDiverged
from marketplace.models import AppVersionBlock, StatusDocument, VersionStop

log = structlog.get_logger("marketplace.status")

LIFETIME = timedelta(hours=72)
KEPT_FOR = timedelta(days=7)
COPY_PREFIX = "trust/status/"
COPY_BYTES = 16 * 1024 * 1024
TRUSTED_WITHOUT_STORAGE = timedelta(hours=2)
LATE_AFTER = timedelta(hours=3)
ATTEMPTS = 5


def publish_status(*, at: datetime) -> StatusDocument:
    """Sign and store a new status document, and copy it to storage.

    Called by the schedule every hour and by a task at once after every stop. Safe in parallel: two publishers can't both
    follow the same document, and the loser builds on the winner's. Talks to signer and storage, so never call it in a
    transaction. With storage away it goes on alone only if its own newest document is younger than two hours (a
    restored database's would be older); the copy follows with the next one.

    Raises: StatusDiverged (a stop ended without a signed lifting: nothing is published), ServiceUnavailable, SigningNotReady.
    """
    for _ in range(ATTEMPTS):
        newest = find_newest_status()
        copied_version, copied = _read_copy(newest, at=at)
        stopped = _merge(_open_stops(), [*(newest.stopped if newest else ()), *copied])
        floor = max(newest.version if newest else 0, copied_version)
        version = max(int(at.timestamp()), floor + 1)
        envelope = signing.sign(signing.Role.STATUS, signing.PayloadType.STATUS, _payload(version, stopped, at=at))
        document = StatusDocument(
            version=version,
            previous_version=newest.version if newest else 0,
            envelope=envelope,
            stopped=signing.payload_of(envelope)["stopped"],
            payload_sha256=signing.payload_sha256(envelope),
            issued_at=at,
            expires_at=at + LIFETIME,
        )
        try:
            with transaction.atomic():
                document.save(force_insert=True)
                StatusDocument.objects.filter(issued_at__lt=at - KEPT_FOR).delete()
        except IntegrityError:  # another publisher followed the same document first
            continue
        copy_status(document=document, at=at)
        return document
    raise ServiceUnavailable("database")


def find_newest_status() -> StatusDocument | None:
    """The document that is served."""
    return StatusDocument.objects.order_by("-version").first()


def get_status(*, at: datetime) -> StatusDocument:
    """The document that is served; the very first call of an installation publishes one. Raises: ServiceUnavailable."""
    return find_newest_status() or publish_status(at=at)


def find_trouble(*, at: datetime) -> str | None:
    """One sentence when phones are served a document that is too old; None when all is well. One query."""
    newest = find_newest_status()
    if newest is None or newest.issued_at > at - LATE_AFTER:
        return None  # an installation without any publishes its first one when it is asked for
    return f"The status document is of {signing.utc_text(newest.issued_at)}; a new one is due every hour."


def find_divergence(*, at: datetime) -> str | None:
    """Why publishing stopped: what our rows and storage's copy disagree about; None when they agree. For `doctor`.

    Raises: ServiceUnavailable.
    """
    newest = find_newest_status()
    try:
        _, copied = _read_copy(newest, at=at)
        _merge(_open_stops(), [*(newest.stopped if newest else ()), *copied])
    except StatusDiverged as reason:
        return str(reason)
    return None


def copy_status(*, document: StatusDocument, at: datetime) -> None:
    """Give storage its copy and forget those older than a week. An outage is logged: the next document brings its own."""
    try:
        storage.put_bytes(_copy_key(document.version), json.dumps(document.envelope).encode(), "application/json")
        for key, head in list(storage.list_keys(COPY_PREFIX)):
            if head.modified_at < at - KEPT_FOR and key != _copy_key(document.version):
                storage.delete(key)
    except ServiceUnavailable:
        log.warning("status_not_copied", version=document.version)
        return
    StatusDocument.objects.filter(pk=document.pk).update(copied_at=at)


def _copy_key(version: int) -> str:
    return f"{COPY_PREFIX}{version:020d}.json"


def _read_copy(newest: StatusDocument | None, *, at: datetime) -> tuple[int, list[dict[str, Any]]]:
    """(version, stopped) of storage's newest copy; (0, []) when there is none yet."""
    try:
        keys = [key for key, _ in storage.list_keys(COPY_PREFIX)]
        if not keys:
            return 0, []
        if newest is not None and max(keys) == _copy_key(newest.version):
            return newest.version, []
        envelope = json.loads(storage.read(max(keys), max_bytes=COPY_BYTES))
    except (ServiceUnavailable, storage.ObjectMissing):
        if newest is not None and newest.issued_at > at - TRUSTED_WITHOUT_STORAGE:
            return newest.version, []
        raise ServiceUnavailable("storage") from None
    try:
        payload = signing.verify(envelope, role=signing.Role.STATUS)
    except signing.SignatureRefused as refusal:
        raise StatusDiverged(f"storage's copy {max(keys)} is not ours: {refusal}") from refusal
    return payload["version"], payload["stopped"]


def _open_stops() -> list[dict[str, Any]]:
    stops = (
        VersionStop.objects.filter(lifted_at=None, recalled_at=None)
        .select_related("version")
        .prefetch_related("version__files")
        .order_by("since", "id")
    )
    return [
        {
            "id": str(file.pk),
            "sha256": file.sha256,
            "state": stop.kind,
            "severity": stop.severity,
            "reason": stop.reason,
            "since": signing.utc_text(stop.since),
            "replacement": str(stop.replacement_id) if stop.replacement_id else None,
            "tune_version_id": str(stop.version_id),
            "stop_id": str(stop.pk),
        }
        for stop in stops
        for file in sorted(stop.version.files.all(), key=lambda row: row.position)
    ]


def _merge(ours: list[dict[str, Any]], earlier: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Our open stops, and every earlier one that we do not know of. Raises: StatusDiverged."""
    present = {entry["id"] for entry in ours}
    missing = {entry["id"]: entry for entry in earlier if entry["id"] not in present}
    known = VersionStop.objects.in_bulk({entry["stop_id"] for entry in missing.values()})
    carried = []
    for entry in missing.values():
        stop = next((row for key, row in known.items() if str(key) == entry["stop_id"]), None)
        if stop is None:
            log.error("status_stop_unknown_here", stop=entry["stop_id"], file=entry["id"])
            carried.append(entry)
        elif not _is_lifted(stop):
            raise StatusDiverged(f"stop {stop.pk} ended without a signed lifting")
    return ours + carried


def _is_lifted(stop: VersionStop) -> bool:
    if stop.recalled_at is not None:  # its recall carries the lifting
        recalls = VersionStop.objects.filter(version_id=stop.version_id, since__gte=stop.recalled_at).exclude(pk=stop.pk)
        return any(_is_lifted(recall) for recall in recalls.exclude(lifted_at=None))
    if stop.lift_envelope is None:
        return False
    try:
        payload = signing.verify(stop.lift_envelope, role=signing.Role.STATUS)
    except signing.SignatureRefused:
        return False
    return payload["_type"] == signing.PayloadType.STOP_LIFT.document_type and payload["stop_id"] == str(stop.pk)


def _payload(version: int, stopped: list[dict[str, Any]], *, at: datetime) -> dict[str, Any]:
    return {
        **signing.base_fields(signing.PayloadType.STATUS, env=signing.environment_name(), issued_at=at, expires_at=at + LIFETIME),
        "version": version,
        "stopped": stopped,
        "counter_floors": {},
        "min_app": settings.MINIMUM_APP_VERSION,
        "blocked_app_versions": sorted(AppVersionBlock.objects.values_list("app_version", flat=True)),
        "revoked_keyids": [],
    }
