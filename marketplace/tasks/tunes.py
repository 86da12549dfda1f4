"""The worker's and the schedule's side of listings."""

from uuid import UUID

from core import clock
from core.schedule import every
from core.tasks import task
from marketplace.services import trending, upkeep


@every(minutes=10, name="refresh_popularity")
@task(max_attempts=2)
def refresh_popularity() -> None:
    """Bring the order "popular" up to date."""
    upkeep.refresh_popularity(at=clock.now())


@every(minutes=15, name="refresh_trends")
@task(max_attempts=2)
def refresh_trends() -> None:
    """Bring the list of trending tunes up to date."""
    trending.refresh_trends(at=clock.now())


@task(max_attempts=5)
def refresh_makes_of(tuner_id: str) -> None:
    """Bring a tuner's makes up to date after a publication."""
    upkeep.refresh_makes(tuner_id=UUID(tuner_id))


@every(minutes=10, name="refresh_makes")
@task(max_attempts=2)
def refresh_makes() -> None:
    """Bring all tuners' makes up to date: a make goes with its last tune on sale."""
    upkeep.refresh_makes()
