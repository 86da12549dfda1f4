"""What the schedule does for "bikes like yours"."""

from core import clock
from core.schedule import every
from core.tasks import task
from marketplace.services import buyer_reviews, flash_groups


@every(days=1, name="group_flashes", offset_seconds=3 * 3600)
@task(max_attempts=3)
def group_flashes() -> None:
    """Add flashes to what riders of the same bike are told, several riders at a time."""
    flash_groups.group_flashes(at=clock.now())


@every(days=1, name="adopt_listed_models", offset_seconds=3 * 3600 + 900)
@task(max_attempts=3)
def adopt_listed_models() -> None:
    """Find the reviews of bikes that were added to the catalogue since."""
    buyer_reviews.adopt_listed_models()
