"""Are the stored bytes still the reviewed ones? Asked of every object daily, and of one at once when it was touched.

The daily round is a chain of tasks, each over some files in the order of their ids: one that dies is run again and goes on
behind what it had hashed, and no task is so long that a worker's restart waits for it.
"""

import time
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.db import transaction

from core import audit, storage
from core.tasks import enqueue
from marketplace.enums import StopSeverity
from marketplace.exceptions import IntegrityError
from marketplace.models import Release, StoredFileCheck, TuneFile
from marketplace.services.stops import hold_version_by_system

log = structlog.get_logger("marketplace.stored_files")

LOOKED_AT_SECONDS = 30.0
FILES_A_TASK = 200
SECONDS_A_TASK = 60.0
HASHED_LATELY = timedelta(hours=1)  # by the same round: a task that is run twice hashes nothing twice
NEXT = "marketplace.tasks.trust.check_stored_files"
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


def check_stored(*, after: UUID | None = None, at: datetime) -> int:
    """Hash the released files behind `after`, as many as a task should, and queue the task for the rest; returns how many are wrong.

    Called by the schedule daily and by itself. Safe to repeat: what was hashed within the last hour is not hashed again.
    Talks to storage, so never call it in a transaction. Raises: ServiceUnavailable.
    """
    files = TuneFile.objects.filter(pk__in=Release.objects.filter(superseded_at=None).values("file_id")).exclude(storage_key="")
    if after is not None:
        files = files.filter(pk__gt=after)
    chunk = list(files.order_by("pk")[:FILES_A_TASK])
    lately = StoredFileCheck.objects.filter(pk__in=[file.storage_key for file in chunk], checked_at__gt=at - HASHED_LATELY)
    done = set(lately.values_list("pk", flat=True))
    wrong, until, last = 0, time.monotonic() + SECONDS_A_TASK, after
    for file in chunk:
        if last != after and time.monotonic() > until:
            break
        if file.storage_key not in done:
            wrong += not _is_intact(file, at=at)
        last = file.pk
    if chunk and (last != chunk[-1].pk or len(chunk) == FILES_A_TASK):
        enqueue(NEXT, after=last)
    return wrong


def _is_intact(file: TuneFile, *, at: datetime) -> bool:
    """Whether the object is there and hashes to what was reviewed; else its versions are on hold now."""
    head = storage.head(file.storage_key)
    try:
        if head is None or head.size_bytes != file.size_bytes:
            raise _alarm(file, at=at)
        _hash(file, head, at=at)
    except IntegrityError:
        return False
    return True


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
