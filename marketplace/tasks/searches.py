"""The schedule's side of saved searches."""

from core import clock
from core.schedule import every
from core.tasks import task
from marketplace.services import saved_searches


@every(minutes=5, name="match_saved_searches")
@task(max_attempts=2)
def match_saved_searches() -> None:
    """Compare saved searches with what came onto the lists, and tell their owners."""
    saved_searches.match_listing_changes(at=clock.now())
    saved_searches.tell_matches(at=clock.now())


@every(hours=1, name="refresh_search_scopes")
@task(max_attempts=2)
def refresh_search_scopes() -> None:
    """Look the makes and models of saved searches up again."""
    saved_searches.refresh_scopes()
