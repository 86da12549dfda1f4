"""The schedule's side of listings."""

from core import clock
from core.schedule import every
from core.tasks import task
from marketplace.services import upkeep


@every(minutes=10, name="refresh_popularity")
@task(max_attempts=2)
def refresh_popularity() -> None:
    """Bring the order "popular" up to date."""
    upkeep.refresh_popularity(at=clock.now())
