"""Are the stored bytes still the reviewed ones? Asked of every object daily, and of one at once when it was touched."""

import time
from datetime import datetime

import structlog
from django.db import transaction

from core import audit, storage
from marketplace.enums import StopSeverity
from marketplace.exceptions import IntegrityError
from marketplace.models import Release, StoredFileCheck, TuneFile
from marketplace.services.stops import hold_version_by_system

log = structlog.get_logger("marketplace.stored_files")

LOOKED_AT_SECONDS = 30.0
REASON = "The stored file is not the one that was reviewed. Nothing was handed out since this was noticed."
_looked_at: dict[str, float] = {}


def ensure_intact(file: TuneFile, *, at: datetime) -> None:
    """Before a file is handed out: it is in storage, and nobody touched it since it was last hashed; else hash it now.

    Looks at most twice a minute at the same object. Talks to storage, so never call it in a transaction.
    Raises: IntegrityError (the version was put on hold), ServiceUnavailable("storage").
    """
    storage.ensure_available()
    if _looked_at.get(file.storage_key, 0.0) > time.monotonic():
        return
    head = storage.head(file.storage_key)
    if head is None or head.size_bytes != file.size_bytes:
        raise _alarm(file, at=at)
    known = StoredFileCheck.objects.filter(pk=file.storage_key).first()
    if known is None or (known.etag, known.modified_at) != (head.etag, head.modified_at):
        _hash(file, head, at=at)
    if len(_looked_at) > 10_000:
        _looked_at.clear()
    _looked_at[file.storage_key] = time.monotonic() + LOOKED_AT_SECONDS


def check_all(*, at: datetime) -> int:
    """Hash every released file; returns how many are wrong. Called by the schedule daily. Raises: ServiceUnavailable."""
    wrong = 0
    files = TuneFile.objects.filter(pk__in=Release.objects.filter(superseded_at=None).values("file_id")).exclude(storage_key="")
    for file in files.iterator(chunk_size=200):
        head = storage.head(file.storage_key)
        try:
            if head is None or head.size_bytes != file.size_bytes:
                raise _alarm(file, at=at)
            _hash(file, head, at=at)
        except IntegrityError:
            wrong += 1
    return wrong


def forget() -> None:
    """Look at every object again at its next grant: for tests that touch one."""
    _looked_at.clear()


def _hash(file: TuneFile, head: storage.ObjectHead, *, at: datetime) -> None:
    try:
        found = storage.hash_object(file.storage_key)
    except storage.ObjectMissing:
        raise _alarm(file, at=at) from None
    if found != (file.sha256, file.size_bytes):
        raise _alarm(file, at=at)
    StoredFileCheck.objects.bulk_create(
        [StoredFileCheck(storage_key=file.storage_key, etag=head.etag, modified_at=head.modified_at, checked_at=at)],
        update_conflicts=True,
        unique_fields=["storage_key"],
        update_fields=["etag", "modified_at", "checked_at"],
    )


def _alarm(file: TuneFile, *, at: datetime) -> IntegrityError:
    """Put every version with these bytes on hold, and leave a trace that staff can't miss."""
    _looked_at.pop(file.storage_key, None)
    log.critical("stored_file_changed", file=str(file.pk), sha256=file.sha256)
    with transaction.atomic():
        for version_id in TuneFile.objects.filter(sha256=file.sha256).values_list("version_id", flat=True).distinct():
            held = hold_version_by_system(version_id=version_id, reason=REASON, severity=StopSeverity.STOP_FLASH, at=at)
            if held:
                audit.record(act="tune_file.integrity_failed", actor_id=None, subject_id=file.pk, at=at, version_id=version_id)
    return IntegrityError()
