"""What the worker and the schedule do for the garage."""

from core import clock, storage
from core.schedule import every
from core.tasks import task
from garage import services


@every(minutes=15, name="expire_vehicle_transfers")
@task(max_attempts=3)
def expire_vehicle_transfers() -> None:
    """End the offers of vehicles that ran out."""
    services.expire_transfers(at=clock.now())


@every(days=1, name="tidy_unlisted_names", offset_seconds=4 * 3600)
@task(max_attempts=3)
def tidy_unlisted_names() -> None:
    """Complete merges of unlisted names that broke off, and forget names that no vehicle bears any more."""
    services.tidy_unlisted_names(at=clock.now())


@task(max_attempts=10)
def delete_stock_images(storage_keys: list[str]) -> None:
    """Delete the stored stock images of an erased account."""
    for key in storage_keys:
        storage.delete(key)


@every(hours=1, name="check_stock_files")
@task(max_attempts=3)
def check_stock_files() -> None:
    """Hash a 24th of the stored stock images again: each of them once a day."""
    services.check_stock_files(at=clock.now())
