"""A copy of everything that a person gave or caused: asked for, made by the worker, fetched for a day, deleted."""

import tempfile
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any

from django.db import transaction

from core import audit, storage
from core.renderers import dumps
from core.storage import content_disposition
from core.tasks import enqueue
from core.uploads.inspection import hash_file
from users import privacy, selectors
from users.enums import ExportState, NoticeType
from users.exceptions import ExportInProgress
from users.models import DataExport, User
from users.privacy import StoredFile
from users.services.notices import notify

LINK_SECONDS = 60
FETCHABLE_FOR = timedelta(hours=24)
GIVEN_UP_AFTER = timedelta(hours=24)  # an export that is not made by then was killed too often
ROW_IS_KEPT_FOR = timedelta(days=30)
FORMAT = "revsync-export/1"


@dataclass(frozen=True)
class OpenedExport:
    """An export, with a link while it can be fetched."""

    export: DataExport
    url: str | None = None
    url_expires_at: datetime | None = None


def request_export(*, user: User, at: datetime) -> DataExport:
    """Queue a copy of everything about the person. Called by the person, also while blocked. Locks the person's row.

    Not idempotent: while one is being made, another is refused. Queues users.tasks.make_export. Raises: ExportInProgress (`export_id`).
    """
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        open_one = selectors.find_open_export(user)
        if open_one is not None:
            raise ExportInProgress(export_id=open_one.pk)
        export = DataExport.objects.create(user=user, created_at=at)
        audit.record(act="export.requested", actor_id=user.pk, subject_id=export.pk, at=at)
        enqueue("users.tasks.make_export", export_id=export.pk)
    return export


def open_export(*, user: User, export_id: uuid.UUID, at: datetime) -> OpenedExport:
    """How far the copy is; once it can be fetched, with a fresh link of a minute. Called by the person, also while blocked.

    Each link is audited: whoever has it has everything. No network. Raises: ExportNotFound, ServiceUnavailable("storage").
    """
    export = selectors.get_export(user, export_id)
    if export.state != ExportState.READY or export.expires_at is None or export.expires_at <= at:
        return OpenedExport(export)
    storage.ensure_available()
    name = f"revsync-data-{export.created_at:%Y-%m-%d}.zip"
    url = storage.presign_get(export.storage_key, expires_seconds=LINK_SECONDS, filename=name, content_type="application/zip")
    audit.record(act="export.opened", actor_id=user.pk, subject_id=export.pk, at=at)
    return OpenedExport(export, url, at + timedelta(seconds=LINK_SECONDS))


def make_export(*, export_id: uuid.UUID | str, at: datetime) -> None:
    """Write the archive and store it. Called by the worker, outside transactions; a killed one starts again from the beginning.

    Needs disk for the archive, and memory for one row chunk and one file chunk. The row names the object before it is stored, so
    that whoever deletes the account meanwhile deletes it too.

    Raises: ServiceUnavailable("storage"): the export waits.
    """
    export = DataExport.objects.filter(pk=export_id, state__in=(ExportState.QUEUED, ExportState.RUNNING)).first()
    if export is None:
        return
    storage.ensure_available()
    left_behind, key = export.storage_key, f"exports/{uuid.uuid4()}.zip"
    if not _note(export, state=ExportState.RUNNING, progress_percent=0, storage_key=key):
        return
    if left_behind:
        storage.delete(left_behind)
    with tempfile.TemporaryDirectory(prefix="revsync-export-") as directory:
        path = Path(directory) / "export.zip"
        _write_archive(path, export, at=at)
        sha256, size_bytes = hash_file(path)
        storage.put_file(key, path, content_type="application/zip", sha256=sha256)
    with transaction.atomic():
        ready = {"sha256": sha256, "size_bytes": size_bytes, "ready_at": at, "expires_at": at + FETCHABLE_FOR}
        if _note(export, state=ExportState.READY, progress_percent=100, **ready):
            notify(
                user_id=export.user_id,
                type=NoticeType.ACCOUNT,
                title="Your data is ready",
                body="The copy of your data that was asked for can be fetched for 24 hours. If you did not ask for it, "
                "change your password and end all sessions.",
                link={"resource": "export", "id": export.pk},
                dedupe_key=f"export:{export.pk}",
                at=at,
            )
            return
    storage.delete(key)  # the account was deleted, or the export given up, while it was made


def sweep_exports(*, at: datetime) -> int:
    """Delete the files of exports whose day is over, give up those that were never made, forget rows after a month.

    Called by the schedule; talks to storage, outside transactions. Idempotent. Returns how many files went.
    """
    DataExport.objects.filter(
        state__in=(ExportState.QUEUED, ExportState.RUNNING), created_at__lte=at - GIVEN_UP_AFTER
    ).update(state=ExportState.FAILED)
    over = DataExport.objects.filter(state=ExportState.READY, expires_at__lte=at) | DataExport.objects.filter(state=ExportState.FAILED)
    swept = 0
    for export in over.exclude(storage_key="")[:500]:
        storage.delete(export.storage_key)
        state = ExportState.EXPIRED if export.state == ExportState.READY else ExportState.FAILED
        swept += DataExport.objects.filter(pk=export.pk).update(state=state, storage_key="")
    DataExport.objects.filter(created_at__lte=at - ROW_IS_KEPT_FOR, storage_key="").delete()
    return swept


def _note(export: DataExport, **facts: Any) -> bool:
    """Write progress, as long as the export is still wanted."""
    wanted = DataExport.objects.filter(pk=export.pk, state__in=(ExportState.QUEUED, ExportState.RUNNING))
    return bool(wanted.update(**facts))


def _write_archive(path: Path, export: DataExport, *, at: datetime) -> None:
    files = list(privacy.files_of(export.user_id))
    held = privacy.holdings()
    steps = len(files) + len(held)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        described = []
        for number, file in enumerate(files):
            if file.is_exported:
                described.append(_add_file(archive, file))
                _note(export, progress_percent=95 * (number + 1) // steps)
        with archive.open("data.json", "w", force_zip64=True) as out:
            out.write(b'{"format":' + dumps(FORMAT) + b',"made_at":' + dumps(at) + b',"files":' + dumps(described) + b',"data":{')
            for number, holding in enumerate(held):
                out.write((b"," if number else b"") + dumps(holding.section) + b":[")
                _write_rows(out, holding.export(export.user_id))
                out.write(b"]")
                _note(export, progress_percent=95 * (len(files) + number + 1) // steps)
            out.write(b"}}\n")


def _write_rows(out: IO[bytes], rows: Iterator[dict[str, Any]]) -> None:
    for number, row in enumerate(rows):
        out.write((b",\n" if number else b"\n") + dumps(row))


def _add_file(archive: zipfile.ZipFile, file: StoredFile) -> dict[str, Any]:
    """Copy one object into the archive under a name that is safe to unpack; what storage has lost is said, not hidden."""
    path = f"files/{file.section}/{file.id}-{_safe_name(file.name)}"
    described = {"section": file.section, "id": file.id, "name": file.name, "path": path, "missing": False}
    try:
        with storage.open_stream(file.key, bucket=file.bucket) as chunks, archive.open(path, "w", force_zip64=True) as out:
            for chunk in chunks:
                out.write(chunk)
    except storage.ObjectMissing:
        return {**described, "path": None, "missing": True}
    return described


def _safe_name(name: str) -> str:
    """The ASCII of a name as a download would have it; never a path."""
    _, _, quoted = content_disposition(name).partition('filename="')
    return quoted.rstrip('"') or "file"
