"""The worker's side of versions."""

from uuid import UUID

from core import clock
from core.tasks import task
from marketplace.services import inspection, review


@task(max_attempts=8)
def inspect_version(version_id: str) -> None:
    """Inspect the files of a version that was just uploaded."""
    inspection.inspect_version(version_id=UUID(version_id), at=clock.now())


@task(max_attempts=8)
def tell_owners(version_id: str) -> None:
    """Tell a tune's owners of a version that was just published."""
    review.tell_owners(version_id=UUID(version_id), at=clock.now())
