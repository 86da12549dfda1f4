"""What the worker does for this app."""

from core import clock, storage
from core.schedule import every
from core.tasks import task
from tuners import services


@task(max_attempts=8)
def delete_certification_file(storage_key: str) -> None:
    """Remove the file of a certification that its owner removed. Safe to run again: a missing object is fine."""
    storage.delete(storage_key)


@every(seconds=24 * 3600, name="tuners.renew_badges")
@task(max_attempts=3)
def renew_badges() -> None:
    """Look once a day at badges whose documents run out."""
    services.renew_badges(at=clock.now())
