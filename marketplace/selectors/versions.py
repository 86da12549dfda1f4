"""A tune's history, one version, and where versions stand in the review queue."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Q, QuerySet

from core.pagination import Key, Ordering
from marketplace.enums import VersionStatus
from marketplace.exceptions import VersionNotFound
from marketplace.models import Tune, TuneVersion
from marketplace.policies.tunes import PUBLIC_STATUSES, REVIEW_WITHIN
from marketplace.selectors.fitment import with_files
from marketplace.selectors.review_queue import positions_of
from marketplace.selectors.tunes import PUBLIC

NEWEST_VERSION = Ordering("newest", Key("version_order", desc=True), Key("id", desc=True))
MEDIAN_OVER = timedelta(days=90)
DECISIONS: dict[str, str] = {
    VersionStatus.CHANGES_REQUESTED: "CHANGES_REQUESTED",
    VersionStatus.REJECTED: "REJECTED",
    **dict.fromkeys(PUBLIC_STATUSES, "PUBLISHED"),
}

_MEDIAN = """
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM decided_at - submitted_at))
  FROM (SELECT decided_at, submitted_at FROM marketplace_tuneversion WHERE decided_at > %s ORDER BY decided_at DESC LIMIT 200) AS recent
"""


def list_versions(tune: Tune, viewer=None) -> QuerySet[TuneVersion]:
    """A tune's history with files and fitments: what was ever published, for its tuner everything. Three queries a page."""
    versions = TuneVersion.objects.filter(tune=tune).prefetch_related(with_files())
    if viewer is None or tune.tuner.user_id != viewer.pk:
        versions = versions.filter(status__in=PUBLIC_STATUSES)
    return versions


def get_version(version_id: UUID, viewer=None) -> TuneVersion:
    """A version that everybody may see, or its tuner's own in any state, with its tune, tuner and files.

    Raises: VersionNotFound.
    """
    visible = Q(status__in=PUBLIC_STATUSES, tune__status__in=PUBLIC)
    if viewer is not None:
        visible |= Q(tune__tuner__user_id=viewer.pk)
    version = _whole().filter(visible, pk=version_id).first()  # in the query: a hidden one takes no longer than a missing one
    if version is None:
        raise VersionNotFound
    return version


def get_own_version(author, version_id: UUID) -> TuneVersion:
    """One's own version in any state. Raises: VersionNotFound (missing, or somebody else's)."""
    version = _whole().filter(pk=version_id, tune__tuner__user_id=author.pk).first()
    if version is None:
        raise VersionNotFound
    return version


def _whole() -> QuerySet[TuneVersion]:
    return TuneVersion.objects.select_related("tune__tuner").prefetch_related(with_files())


def is_own(version: TuneVersion, viewer) -> bool:
    """Whether the viewer is its tuner; its tune and profile must be loaded."""
    return viewer is not None and version.tune.tuner.user_id == viewer.pk


def standings_of(versions: Iterable[TuneVersion], *, at: datetime) -> dict[UUID, dict[str, Any]]:
    """For each version its place in the queue, the median wait, when a decision is due, and the last decision.

    One query, and one more when any is in review.
    """
    versions = list(versions)
    positions = positions_of((version.pk for version in versions if version.status == VersionStatus.IN_REVIEW), at=at)
    with connection.cursor() as cursor:
        cursor.execute(_MEDIAN, [at - MEDIAN_OVER])
        (median_seconds,) = cursor.fetchone()
    median_wait_hours = None if median_seconds is None else round(float(median_seconds) / 3600, 1)
    return {
        version.pk: {
            "position": positions.get(version.pk),
            "median_wait_hours": median_wait_hours,
            "due_at": version.submitted_at + REVIEW_WITHIN if version.submitted_at and version.pk in positions else None,
            "decision": DECISIONS.get(version.status),
            "reason_code": version.review_reason or None,
            "note": version.review_note or None,
        }
        for version in versions
    }
