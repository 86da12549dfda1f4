"""What lists show beside what its own tables say: refreshed when something outside changes, and by the schedule."""

from collections import defaultdict
from datetime import datetime
from uuid import UUID

from django.db import connection

from garage.models import MakeAlias, VehicleMake
from marketplace.models import BrowseRow
from tuners import services as tuners
from tuners.models import TunerProfile

_POPULARITY = """
WITH due AS (
    SELECT id, figure FROM (
        SELECT id, popularity,
               least(1000000000, 3 * download_count + 5 * flash_success_count + 4 * rating_count
                                 + (SELECT count(*) FROM marketplace_favorite f WHERE f.tune_id = t.id)) AS figure
          FROM marketplace_tune t WHERE listed) AS figures
     WHERE popularity <> figure ORDER BY id LIMIT %s)
UPDATE marketplace_tune AS tune SET popularity = due.figure FROM due WHERE tune.id = due.id
"""


def refresh_tuner(*, tuner_id: UUID) -> None:
    """Take a suspended tuner's tunes off the lists and put a reinstated one's back, inside the transaction of that act."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT marketplace_refresh_tunes(coalesce(array_agg(id ORDER BY id), '{}')) FROM marketplace_tune WHERE tuner_id = %s",
            [tuner_id],
        )


def on_standing(*, tuner_id: UUID, active: bool, verified: bool) -> None:
    """Registered with `tuners.listeners.on_standing`."""
    refresh_tuner(tuner_id=tuner_id)


def refresh_popularity(*, at: datetime, batch: int = 5000) -> int:
    """Recompute the order "popular" from downloads, flashes, reviews and favourites; returns how many tunes changed.

    Called by the schedule. Price plays no part: free and paid tunes are ranked alike.
    """
    changed = 0
    with connection.cursor() as cursor:
        while True:
            cursor.execute(_POPULARITY, [batch])
            changed += cursor.rowcount
            if cursor.rowcount < batch:
                return changed


def refresh_makes(*, tuner_id: UUID | None = None) -> int:
    """Tell the profiles of active tuners, or of one, for which makes they have tunes on sale; returns how many changed.

    Called by the worker after a publication and by the schedule, never inside another change: that locks tune before
    profile, a suspension profile before tunes. Locks each profile that changes. Idempotent.
    """
    profiles, rows = TunerProfile.objects.active(), BrowseRow.objects.filter(scope=BrowseRow.Scope.MAKE)
    if tuner_id is not None:
        profiles, rows = profiles.filter(pk=tuner_id), rows.filter(tuner_id=tuner_id)
    names = dict(VehicleMake.objects.values_list("pk", "name"))
    offered: dict[UUID, set[UUID]] = defaultdict(set)
    for owner_id, make_id in rows.values_list("tuner_id", "scope_id").distinct():
        offered[owner_id].add(make_id)
    changed = 0
    for profile_id, makes in profiles.values_list("pk", "makes"):
        make_ids = offered[profile_id] & names.keys()
        present = {names[make_id] for make_id in make_ids}
        if present != set(makes):
            aliases = MakeAlias.objects.filter(make__in=make_ids).values_list("name", flat=True)
            tuners.set_makes(tuner_id=profile_id, makes=present, aliases=aliases)
            changed += 1
    return changed
