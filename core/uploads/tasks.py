"""What the worker and the schedule do for uploads."""

from uuid import UUID

from core import clock, storage
from core.schedule import every
from core.tasks import task
from core.uploads import services


@task(max_attempts=5)
def check_upload(upload_id: str) -> None:
    """Check one received file."""
    services.check_upload(upload_id=UUID(upload_id), at=clock.now())


@task(max_attempts=10)
def delete_object(key: str, bucket: str) -> None:
    """Delete one stored object that nothing refers to any more."""
    storage.delete(key, bucket=storage.PUBLIC if bucket == storage.PUBLIC else storage.PRIVATE)
    services.note_deleted_object(key=key, at=clock.now())


@every(minutes=30, name="sweep_uploads")
@task(max_attempts=3)
def sweep_uploads() -> None:
    """Delete uploads that nobody used in 24 hours."""
    while services.sweep_uploads(at=clock.now()):
        pass


@every(days=1, name="sweep_quarantine", offset_seconds=3 * 3600)
@task(max_attempts=3)
def sweep_quarantine() -> None:
    """Delete what late PUTs left in quarantine."""
    services.sweep_quarantine(at=clock.now())
