"""An upload's life: started, completed, checked, claimed, swept."""

import hashlib
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import structlog
from django.db import connection, transaction
from django.db.models import Count, Q, Sum

from core import storage
from core.exceptions import InvalidInput
from core.idempotency import Claim
from core.tasks import enqueue
from core.uploads import inspection, scanner
from core.uploads.enums import UploadPurpose, UploadState
from core.uploads.exceptions import UploadExpired, UploadNotFound, UploadNotPending, UploadNotReceived, UploadQuotaExceeded
from core.uploads.inspection import Reason, Verdict
from core.uploads.models import Upload
from core.uploads.rules import OPEN_BYTES_PER_OWNER, OPEN_UPLOADS_PER_OWNER, RULES, UPLOAD_LIFETIME
from core.uploads.selectors import get_upload

log = structlog.get_logger("core.uploads")


def start_upload(
    *, owner_id: UUID, purpose: str, name: str, size_bytes: int, sha256: str, content_type: str, at: datetime, claim: Claim | None = None
) -> Upload:
    """Take a promise and give it a place in quarantine; the link to it is made when the upload is shown.

    Called by any account for itself. Asks the storage first, outside the transaction. Locks the owner's quota for the
    transaction (an advisory lock). Idempotent through `claim` only.

    Raises: InvalidInput (/size_bytes, /content_type), UploadQuotaExceeded, ServiceUnavailable("storage").
    """
    rule = RULES[UploadPurpose(purpose)]
    if size_bytes > rule.max_bytes:
        raise InvalidInput.at("/size_bytes", "too_large", f"A file for {purpose} has at most {rule.max_bytes} bytes.")
    if content_type not in rule.content_types:
        raise InvalidInput.at("/content_type", "unsupported_type", f"A file for {purpose} is one of {', '.join(rule.content_types)}.")
    storage.ensure_available()
    with transaction.atomic():
        _lock_quota(owner_id)
        _ensure_quota(owner_id=owner_id, purpose=purpose, size_bytes=size_bytes, at=at)
        upload = Upload.objects.create(
            owner_id=owner_id,
            purpose=purpose,
            name=name,
            size_bytes=size_bytes,
            sha256=sha256,
            content_type=content_type,
            storage_key=f"quarantine/{uuid4()}",  # not the id, which others may learn
            created_at=at,
            expires_at=at + UPLOAD_LIFETIME,
        )
        if claim is not None:
            claim.complete(upload.pk)
    return upload


def _ensure_quota(*, owner_id: UUID, purpose: str, size_bytes: int, at: datetime) -> None:
    """One query counts what waits (of every purpose) and what is kept or waits for this one. Raises: UploadQuotaExceeded."""
    waits = Q(used_at=None, expires_at__gt=at)
    of_purpose = Q(purpose=purpose)
    standing = (
        Upload.objects.filter(waits | Q(used_at__isnull=False, purpose=purpose), owner_id=owner_id, gone_at=None)
        .exclude(state=UploadState.REFUSED)
        .aggregate(
            waiting=Count("pk", filter=waits),
            waiting_bytes=Sum("size_bytes", filter=waits, default=0),
            kept=Count("pk", filter=of_purpose),
            kept_bytes=Sum("size_bytes", filter=of_purpose, default=0),
        )
    )
    if standing["waiting"] >= OPEN_UPLOADS_PER_OWNER or standing["waiting_bytes"] + size_bytes > OPEN_BYTES_PER_OWNER:
        raise UploadQuotaExceeded(quota="waiting")
    rule = RULES[UploadPurpose(purpose)]
    if standing["kept"] >= rule.kept_files or standing["kept_bytes"] + size_bytes > rule.kept_bytes:
        raise UploadQuotaExceeded("You have too many files of this kind. Delete some of what they belong to first.", quota="stored")


def _lock_quota(owner_id: UUID) -> None:
    """Two requests of one person count one after the other; released with the transaction, so a pooler does not mind."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(%s)", [int.from_bytes(hashlib.sha256(b"uploads" + owner_id.bytes).digest()[:8], signed=True)]
        )


def renew_upload(*, owner_id: UUID, upload_id: UUID, at: datetime) -> Upload:
    """Allow a new link to the same place: changes nothing, because links are made when an upload is shown.

    Called by its owner. Idempotent. Raises: UploadNotFound, UploadNotPending, UploadExpired, ServiceUnavailable("storage").
    """
    upload = get_upload(owner_id=owner_id, upload_id=upload_id)
    if upload.state != UploadState.PENDING:
        raise UploadNotPending
    _refuse_expired(upload, at)
    storage.ensure_available()
    return upload


def complete_upload(*, owner_id: UUID, upload_id: UUID, at: datetime) -> Upload:
    """Queue the check of what was sent.

    Called by its owner. Asks the storage for the object first, then locks the row. Idempotent: an upload that is being
    or was checked is returned as it is, and two calls at once queue one check. Queues `check_upload`.

    Raises: UploadNotFound, UploadExpired, UploadNotReceived, ServiceUnavailable("storage").
    """
    upload = get_upload(owner_id=owner_id, upload_id=upload_id)
    if upload.state != UploadState.PENDING:
        return upload
    _refuse_expired(upload, at)
    if storage.head(upload.storage_key) is None:
        raise UploadNotReceived
    with transaction.atomic():
        locked = Upload.objects.select_for_update(no_key=True).filter(pk=upload_id).first()
        if locked is None:
            raise UploadNotFound
        if locked.state == UploadState.PENDING:
            locked.state, locked.completed_at = UploadState.CHECKING, at
            locked.save(update_fields=["state", "completed_at"])
            enqueue("core.uploads.tasks.check_upload", upload_id=locked.id)
    return locked


def _refuse_expired(upload: Upload, at: datetime) -> None:
    if upload.expires_at <= at:
        raise UploadExpired


def check_upload(*, upload_id: UUID, at: datetime) -> None:
    """Check the received bytes against the promise and their purpose; the upload becomes READY or REFUSED.

    Called by the worker. The object is read once; the bytes that were hashed are the bytes that are scanned, parsed and
    stored under the final key, so a second PUT to the quarantine changes nothing. Locks the row for the outcome.
    Idempotent: an upload that is not CHECKING is left alone. Queues the deletion of the quarantined object.

    Raises: ServiceUnavailable (storage, scanner), ObjectCorrupt: the file waits for another try.
    """
    upload = Upload.objects.filter(pk=upload_id, state=UploadState.CHECKING).first()
    if upload is None:
        return
    with tempfile.TemporaryDirectory(prefix="revsync-upload-") as directory:
        path = Path(directory) / "received"
        reasons = _receive(upload, path)
        details: dict[str, Any] = {}
        stored = upload.storage_key
        if not reasons:
            scanned, reasons = _scan(upload, path)
            if not reasons:
                verdict = inspection.inspect(path, purpose=upload.purpose, name=upload.name, content_type=upload.content_type)
                reasons = list(verdict.reasons)
                details = {**verdict.details, "scanned": scanned}
                if not reasons:
                    stored, details["stored"] = _promote(upload, path, verdict)
    with transaction.atomic():
        locked = Upload.objects.select_for_update(no_key=True).filter(pk=upload_id, state=UploadState.CHECKING).first()
        if locked is None:  # its owner deleted the account meanwhile
            if stored != upload.storage_key:
                enqueue("core.uploads.tasks.delete_object", key=stored, bucket=RULES[UploadPurpose(upload.purpose)].bucket)
            return
        quarantined = locked.storage_key
        locked.state = UploadState.REFUSED if reasons else UploadState.READY
        locked.reasons = [{"code": reason.code, "detail": reason.detail} for reason in reasons]
        locked.details, locked.checked_at = details, at
        if not reasons:
            locked.storage_key = stored
        locked.save(update_fields=["state", "reasons", "details", "checked_at", "storage_key"])
        enqueue("core.uploads.tasks.delete_object", key=quarantined, bucket=storage.PRIVATE)
    log.info(
        "upload_checked", upload=str(upload.id), purpose=upload.purpose, outcome=locked.state, reasons=[reason.code for reason in reasons]
    )


def _receive(upload: Upload, path: Path) -> list[Reason]:
    """Read the quarantined object once into `path`, measuring and hashing; the reasons against it."""
    digest, total = hashlib.sha256(), 0
    try:
        with storage.open_stream(upload.storage_key) as chunks, path.open("wb") as file:
            for chunk in chunks:
                total += len(chunk)
                if total > upload.size_bytes:
                    return [Reason("size_mismatch", f"The file is larger than the {upload.size_bytes} bytes that were promised.")]
                digest.update(chunk)
                file.write(chunk)
    except storage.ObjectMissing:
        return [Reason("not_received", "The storage has not received this file.")]
    if total < upload.size_bytes:
        return [Reason("size_mismatch", f"The file has {total} bytes; {upload.size_bytes} were promised.")]
    if digest.hexdigest() != upload.sha256:
        return [Reason("sha256_mismatch", "The file's SHA-256 is not the one that was promised.")]
    return []


def _scan(upload: Upload, path: Path) -> tuple[bool, list[Reason]]:
    """Whether the file was scanned, and the reasons against it. Raises: ServiceUnavailable("scanner"): it waits."""
    try:
        result = scanner.scan(path)
    except scanner.StreamTooLong:  # it would wait for ever
        log.error("upload_not_scannable", upload=str(upload.id), size_bytes=upload.size_bytes)
        return False, [Reason("not_scannable", "The virus scanner takes no file as long as this one, and nothing is kept unscanned.")]
    if result.malware:
        log.warning("upload_malware", upload=str(upload.id), finding=result.malware)
        return True, [Reason("malware_found", "The virus scanner refuses this file.")]
    return result.scanned, []


def _promote(upload: Upload, path: Path, verdict: Verdict) -> tuple[str, dict[str, Any]]:
    """Store the checked bytes under their final key and return it with what is stored there.

    The key holds the hash, so it never means other bytes, and the end of the upload's id, so that deleting one person's
    file can't take another's with it.
    """
    source = verdict.replacement or path
    content_type = verdict.replacement_type or upload.content_type
    sha256, size_bytes = inspection.hash_file(source)
    bucket = RULES[UploadPurpose(upload.purpose)].bucket
    folder, suffix = ("images", ".webp") if bucket == storage.PUBLIC else ("uploads", "")
    key = f"{folder}/{sha256[:2]}/{sha256}-{upload.id.hex[-12:]}{suffix}"
    storage.put_file(key, source, content_type=content_type, sha256=sha256, bucket=bucket)
    return key, {"sha256": sha256, "size_bytes": size_bytes, "content_type": content_type}


def claim_upload(*, upload_id: UUID, owner_id: UUID, purpose: str, at: datetime, pointer: str = "/upload_id") -> Upload:
    """Take a READY upload over for the resource that is being made: it can be used once.

    Called by services of upper apps inside their own transaction, which decides about both. Locks the row. Not
    idempotent: a second claim is refused. `purpose` is the one (or several, as a tuple) that the resource takes.

    Raises: InvalidInput at `pointer`, with the code upload_not_found (missing or somebody else's),
    upload_wrong_purpose, upload_not_ready, upload_refused or upload_used.
    """
    assert connection.in_atomic_block, "a claim belongs into the transaction of what it is for"
    upload = Upload.objects.select_for_update(no_key=True).filter(pk=upload_id, owner_id=owner_id).first()
    if upload is None:
        raise InvalidInput.at(pointer, "upload_not_found", "There is no such upload of yours.")
    if upload.purpose != purpose and upload.purpose not in ((purpose,) if isinstance(purpose, str) else purpose):
        raise InvalidInput.at(pointer, "upload_wrong_purpose", f"This file was uploaded for {upload.purpose}.")
    if upload.state == UploadState.REFUSED:
        raise InvalidInput.at(pointer, "upload_refused", "This file was refused; its reasons are on the upload.")
    if upload.state != UploadState.READY:
        raise InvalidInput.at(pointer, "upload_not_ready", "This file has not been checked yet.")
    if upload.used_at is not None:
        raise InvalidInput.at(pointer, "upload_used", "This file is used already. Upload it again.")
    upload.used_at = at
    upload.save(update_fields=["used_at"])
    return upload


def sweep_uploads(*, at: datetime, limit: int = 500) -> int:
    """Delete uploads that nobody used in 24 hours, with their objects; return how many.

    Called by the schedule. Locks the rows, skipping those in other hands. Idempotent. Queues the objects' deletion.
    """
    with transaction.atomic():
        expired = list(
            Upload.objects.select_for_update(skip_locked=True).filter(used_at=None, expires_at__lte=at).order_by("expires_at")[:limit]
        )
        _forget(expired)
    return len(expired)


def erase_uploads_of(*, owner_id: UUID) -> int:
    """Delete every unused upload of a person who leaves, and the names of the used ones; return how many rows.

    Called when an account is deleted, inside that transaction. Used files belong to their resources, which decide.
    Idempotent. Queues the objects' deletion.
    """
    with transaction.atomic():
        unused = list(Upload.objects.select_for_update().filter(owner_id=owner_id, used_at=None))
        _forget(unused)
        renamed = Upload.objects.filter(owner_id=owner_id).exclude(name="").update(name="")
    return len(unused) + renamed


def note_deleted_object(*, key: str, at: datetime) -> None:
    """An object is gone, so it counts for nobody's quota any more. Called by the worker. Idempotent."""
    Upload.objects.filter(storage_key=key, gone_at=None).update(gone_at=at)


def _forget(uploads: list[Upload]) -> None:
    for upload in uploads:
        if upload.state != UploadState.REFUSED:
            ready = upload.state == UploadState.READY
            bucket = RULES[UploadPurpose(upload.purpose)].bucket if ready else storage.PRIVATE
            enqueue("core.uploads.tasks.delete_object", key=upload.storage_key, bucket=bucket)
    Upload.objects.filter(pk__in=[upload.pk for upload in uploads]).delete()


def sweep_quarantine(*, at: datetime) -> int:
    """Delete objects that a late PUT left in quarantine after their upload was checked or swept; return how many.

    Called by the schedule. Twice an upload's lifetime old means that no upload waits for it. Raises: ServiceUnavailable.
    """
    deleted = 0
    for key, head in list(storage.list_keys("quarantine/")):
        if head.modified_at < at - 2 * UPLOAD_LIFETIME:
            storage.delete(key)
            deleted += 1
    return deleted
