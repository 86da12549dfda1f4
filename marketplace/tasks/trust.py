"""The worker's and the schedule's side of trust."""

from uuid import UUID

from core import clock
from core.schedule import every
from core.tasks import task
from marketplace.services import flashes, status, stops, stored_files


@every(hours=1, name="publish_status")
@task(max_attempts=20, first_delay_seconds=2, longest_delay_seconds=30)
def publish_status() -> None:
    """Publish the status document: hourly, and at once after every stop."""
    status.publish_status(at=clock.now())


@task(max_attempts=20, longest_delay_seconds=60)
def tell_stop(stop_id: str) -> None:
    """Tell those who have a version that it was stopped."""
    stops.tell_stop(stop_id=UUID(stop_id), at=clock.now())


@task(max_attempts=20, longest_delay_seconds=60)
def judge_failures(flash_id: str) -> None:
    """Decide what a hard failure means for its version."""
    flashes.judge_failures(flash_id=UUID(flash_id), at=clock.now())


@task(max_attempts=5)
def count_downloads(tune_id: str) -> None:
    """Bring a tune's number of downloads up to date."""
    flashes.count_downloads(tune_id=UUID(tune_id))


@every(minutes=5, name="expire_tickets")
@task(max_attempts=3)
def expire_tickets() -> None:
    """Free what unreported tickets reserved."""
    flashes.expire_tickets(at=clock.now())


@every(days=1, name="check_stored_files", offset_seconds=2 * 3600)
@task(max_attempts=3)
def check_stored_files(after: str | None = None) -> None:
    """Hash every published file again, some hundred in each task."""
    stored_files.check_stored(after=UUID(after) if after else None, at=clock.now())
