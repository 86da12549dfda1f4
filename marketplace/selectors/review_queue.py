"""The review queue: who comes first, and why. One order, for the admin's list and for the place that a tuner is told."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection
from django.db.models import Case, Exists, F, OuterRef, Q, QuerySet, Value, When, Window
from django.db.models.fields import BooleanField, IntegerField
from django.db.models.functions import Cast, RowNumber

from marketplace.enums import CaseKind, StopSource, VersionStatus
from marketplace.models import Case as SupportCase
from marketplace.models import FileXRay, Flash, TuneVersion, VersionStop
from marketplace.policies.tunes import LARGE_CHANGE_BASIS_POINTS, REVIEW_WITHIN

COMPLAINTS_OVER = timedelta(days=180)

# The annotation that tells it, and what a reviewer reads. Each counts one; the more, the earlier.
RISKS = {
    "has_complaint": "complaint: a stop, a failed flash or a case within half a year",
    "is_large_change": "large change: a quarter of the image, or program code",
    "is_new_tuner": "new tuner: nothing published before",
    "is_first_version": "first version of this tune",
}
ORDER = ("-is_overdue", "-risk", "submitted_at", "pk")


def with_risks(versions: QuerySet[TuneVersion], *, at: datetime) -> QuerySet[TuneVersion]:
    """Each version with its risks, how many they are (`risk`) and whether its decision is overdue, for ordering by `ORDER`.

    Overdue ones come first, so that nobody waits for ever behind riskier ones.
    """
    since = at - COMPLAINTS_OVER
    published = TuneVersion.objects.filter(published_at__isnull=False)
    stops = VersionStop.objects.filter(version__tune=OuterRef("tune"), since__gt=since).exclude(source=StopSource.AUTHOR)
    failures = Flash.objects.filter(version__tune=OuterRef("tune"), counts_as_hard_failure=True, received_at__gt=since)
    cases = SupportCase.objects.filter(purchase__tune=OuterRef("tune"), kind=CaseKind.FLASH_FAILURE, created_at__gt=since)
    large = Q(share_basis_points__gte=LARGE_CHANGE_BASIS_POINTS) | Q(changes_code=True)
    annotated = versions.annotate(
        has_complaint=Exists(stops) | Exists(failures) | Exists(cases),
        is_large_change=Exists(FileXRay.objects.filter(large, file__version=OuterRef("pk"))),
        is_new_tuner=~Exists(published.filter(tune__tuner=OuterRef("tune__tuner"))),
        is_first_version=~Exists(published.filter(tune=OuterRef("tune"))),
        is_overdue=Case(
            When(submitted_at__lte=at - REVIEW_WITHIN, then=Value(True)), default=Value(False), output_field=BooleanField()
        ),
    )
    risk = sum((Cast(F(name), IntegerField()) for name in RISKS), Value(0))
    return annotated.annotate(risk=risk)


def positions_of(version_ids: Iterable[UUID], *, at: datetime) -> dict[UUID, int]:
    """The places, from 1, of those that are in review. One query, none without ids."""
    ids = list(version_ids)
    if not ids:
        return {}
    queue = with_risks(TuneVersion.objects.filter(status=VersionStatus.IN_REVIEW), at=at)
    ranked = queue.annotate(position=Window(RowNumber(), order_by=ORDER)).order_by().values("pk", "position")
    sql, parameters = ranked.query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM ({sql}) AS queue (id, position) WHERE id = ANY(%s)", [*parameters, ids])
        return dict(cursor.fetchall())


def risks_of(version: TuneVersion) -> list[str]:
    """Why a version of `with_risks` comes early, in words."""
    return [words for name, words in RISKS.items() if getattr(version, name, False)]
