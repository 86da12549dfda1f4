"""What `/readyz` and `manage.py doctor` ask about the trust documents."""

from collections.abc import Iterator

from django.db import DatabaseError, InterfaceError

from core import clock, doctor
from core.exceptions import ServiceUnavailable
from marketplace.services import status


def find_status_trouble() -> str | None:
    """For `/readyz`: one sentence when the served status document is too old."""
    try:
        return status.find_trouble(at=clock.now())
    except (DatabaseError, InterfaceError):
        return "The status document can't be read: the database does not answer."


def check_status() -> Iterator[doctor.Finding]:
    """For `doctor`: the document's age, its copy in storage, and whether rows and copy agree about what is stopped."""
    now = clock.now()
    newest = status.find_newest_status()
    if newest is None:
        yield doctor.warn("no status document was published yet", "start worker and scheduler; the first request publishes one too")
        return
    if trouble := status.find_trouble(at=now):
        yield doctor.wrong(trouble, "look at the worker and at its dead tasks")
    try:
        divergence = status.find_divergence(at=now)
    except ServiceUnavailable:
        yield doctor.warn("its copy can't be read", "storage does not answer")
        return
    if divergence:
        yield doctor.wrong(f"publishing has stopped: {divergence}", "find out who ended the stop; put it back or lift it properly")
    elif newest.copied_at is None:
        yield doctor.warn("storage has no copy of the newest one", "the next document brings its own; look at storage")
    else:
        yield doctor.ok(f"version {newest.version}, {len(newest.stopped)} stopped files, copied")
