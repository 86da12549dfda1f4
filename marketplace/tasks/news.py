"""The worker's side of news of tuners and tunes."""

from uuid import UUID

from core import clock
from core.tasks import task
from marketplace.services import news


@task(max_attempts=8)
def tell_of_new_tune(tune_id: str) -> None:
    """Tell a tuner's followers of a new tune."""
    news.tell_of_new_tune(tune_id=UUID(tune_id), at=clock.now())


@task(max_attempts=8)
def tell_of_new_version(version_id: str) -> None:
    """Tell those who marked a tune of its new version."""
    news.tell_of_new_version(version_id=UUID(version_id), at=clock.now())


@task(max_attempts=8)
def tell_of_lower_price(tune_id: str) -> None:
    """Tell those who marked a tune of its lower price."""
    news.tell_of_lower_price(tune_id=UUID(tune_id), at=clock.now())
