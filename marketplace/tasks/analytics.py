"""The schedule's side of a tuner's figures."""

from core import clock
from core.schedule import every
from core.tasks import task
from marketplace.services import analytics


@every(days=1, name="forget_old_views", offset_seconds=3 * 3600)
@task(max_attempts=3)
def forget_old_views() -> None:
    """Delete views that are older than two years."""
    analytics.forget_old_views(at=clock.now())
