"""The status document: which releases are stopped, signed, its version only ever rising, with a copy in storage.

A database that was restored must not make the phones forget a stop. So each new document is built upon the newest of
our own and storage's, both as they were signed: its version is above both, a stop that one of them had vanishes only with
a signed lifting, a counter floor never sinks, and a revoked key id stays.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Max

from core import signing, storage
from core.exceptions import ServiceUnavailable
from marketplace.enums import StopKind
from marketplace.exceptions import StatusDiverged
from marketplace.models import AppVersionBlock, CounterFloor, RevokedKey, StatusDocument, VersionStop

log = structlog.get_logger("marketplace.status")

LIFETIME = timedelta(hours=72)
KEPT_FOR = timedelta(days=7)
COPY_PREFIX = "trust/status/"
COPY_NAME = re.compile(r"[0-9]{20}\.json")
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
        earlier = _earlier(newest, at=at)
        version = max([int(at.timestamp()), *(document["version"] + 1 for document in earlier)])
        payload = _payload(version, _said(earlier), at=at)
        try:
            envelope = signing.sign(signing.Role.STATUS, signing.PayloadType.STATUS, payload)
        except signing.SigningNotReady:
            if find_newest_status() != newest:  # another publisher was first, and a signer signs no version twice
                continue
            raise
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
    try:
        _said(_earlier(find_newest_status(), at=at))
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


@dataclass(frozen=True)
class _Said:
    """What the next document says beside its version and its times."""

    stopped: list[dict[str, Any]]
    counter_floors: dict[str, int]
    revoked_keyids: list[str]


def _said(earlier: Sequence[dict[str, Any]]) -> _Said:
    """Our rows, merged with what the earlier documents said. Raises: StatusDiverged."""
    floors = {str(tune): floor for tune, floor in CounterFloor.objects.values_list("tune_id").annotate(Max("least_counter"))}
    for document in earlier:
        for tune, floor in document["counter_floors"].items():
            floors[tune] = max(floor, floors.get(tune, 0))
    revoked = set(RevokedKey.objects.values_list("keyid", flat=True)).union(*(document["revoked_keyids"] for document in earlier))
    stopped = _merge(_open_stops(), (entry for document in earlier for entry in document["stopped"]))
    return _Said(stopped, floors, sorted(revoked))


def _earlier(newest: StatusDocument | None, *, at: datetime) -> list[dict[str, Any]]:
    """The payloads of our newest document and of storage's copies, by their signatures: a row that says something else than
    its envelope is not believed. Raises: StatusDiverged, ServiceUnavailable."""
    documents = []
    if newest is not None:
        documents.append(_opened(newest.envelope, version=newest.version, what="our own row"))
    try:
        keys = [key for key, _ in storage.list_keys(COPY_PREFIX) if COPY_NAME.fullmatch(key.removeprefix(COPY_PREFIX))]
        if keys:
            copy = storage.read(max(keys), max_bytes=COPY_BYTES)
            version = int(max(keys).removeprefix(COPY_PREFIX).removesuffix(".json"))
            documents.append(_opened(copy, version=version, what="storage's copy"))
    except (ServiceUnavailable, storage.ObjectMissing):
        if newest is None or newest.issued_at <= at - TRUSTED_WITHOUT_STORAGE:
            raise ServiceUnavailable("storage") from None
    return documents


def _opened(envelope: Any, *, version: int, what: str) -> dict[str, Any]:
    """Signed by a status key of any root of ours that is not revoked: after a rotation the key before still counts here."""
    try:
        if isinstance(envelope, bytes):
            envelope = json.loads(envelope)
        payload = _verified(envelope)
    except (signing.SignatureRefused, ValueError) as refusal:
        raise StatusDiverged(f"{what} {version} is not ours: {refusal}") from refusal
    if payload["_type"] != signing.PayloadType.STATUS.document_type or payload["version"] != version:
        raise StatusDiverged(f"{what} {version} is another document")
    return payload


def _verified(envelope: dict[str, Any]) -> dict[str, Any]:
    revoked = RevokedKey.objects.values_list("keyid", flat=True)
    return signing.verify_by_any_root(envelope, role=signing.Role.STATUS, without=revoked)


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
    present = {entry["id"]: entry for entry in ours}
    missing = {}
    for entry in earlier:
        here = present.get(entry["id"])
        if here is None:
            missing[entry["id"], entry["stop_id"]] = entry
        elif here["stop_id"] == entry["stop_id"] and any(here[name] != entry[name] for name in ("sha256", "state", "severity")):
            raise StatusDiverged(f"stop {entry['stop_id']} is not what was signed")
    known = {str(stop.pk): stop for stop in VersionStop.objects.filter(pk__in={entry["stop_id"] for entry in missing.values()})}
    carried = {}
    for entry in missing.values():
        stop = known.get(entry["stop_id"])
        if stop is None:
            log.error("status_stop_unknown_here", stop=entry["stop_id"], file=entry["id"])
            carried[entry["id"]] = entry
        elif not _is_lifted(stop, entry):
            raise StatusDiverged(f"stop {stop.pk} ended without a signed lifting")
    return ours + list(carried.values())


def _is_lifted(stop: VersionStop, entry: dict[str, Any]) -> bool:
    """Whether a lifting was signed since: for this stop, or for the recall that it became."""
    if stop.recalled_at is not None:  # its recall carries the lifting
        recalls = VersionStop.objects.filter(version_id=stop.version_id, kind=StopKind.RECALL).exclude(lift_envelope=None)
        return any(_is_lifting(recall, entry) for recall in recalls)
    return _is_lifting(stop, entry)


def _is_lifting(stop: VersionStop, entry: dict[str, Any]) -> bool:
    """Only what was signed counts: an older lifting of the same version lifts nothing that came after it."""
    if stop.lift_envelope is None:
        return False
    try:
        payload = _verified(stop.lift_envelope)
    except signing.SignatureRefused:
        return False
    return (
        payload["_type"] == signing.PayloadType.STOP_LIFT.document_type
        and payload["stop_id"] == str(stop.pk)
        and payload["tune_version_id"] == entry["tune_version_id"]
        and payload["issued_at"] >= entry["since"]
    )


def _payload(version: int, said: _Said, *, at: datetime) -> dict[str, Any]:
    return {
        **signing.base_fields(signing.PayloadType.STATUS, env=signing.environment_name(), issued_at=at, expires_at=at + LIFETIME),
        "version": version,
        "stopped": said.stopped,
        "counter_floors": said.counter_floors,
        "min_app": settings.MINIMUM_APP_VERSION,
        "blocked_app_versions": sorted(AppVersionBlock.objects.values_list("app_version", flat=True)),
        "revoked_keyids": said.revoked_keyids,
    }
