"""Who has a version that was stopped, and who of them knows."""

from dataclasses import dataclass
from uuid import UUID

from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery

from garage.models import Vehicle
from marketplace.enums import DownloadOutcome
from marketplace.models import Download, Flash, StopAcknowledgement, VersionStop
from users.models import Notice, User


@dataclass(frozen=True)
class Reached:
    """How many have the version, and how far they were reached."""

    holders: int
    told: int
    mailed: int
    pushed: int
    acknowledged: int

    @property
    def silent(self) -> int:
        return self.holders - self.acknowledged


def dedupe_key_of(stop_id: UUID) -> str:
    """By which a person's notice of a stop is found, and told once."""
    return f"stop:{stop_id}"


def list_holders(version_id: UUID) -> QuerySet[User]:
    """Everybody who downloaded or flashed the version, or has a vehicle that it is installed on. Deleted accounts have nothing."""
    return User.objects.filter(
        Q(pk__in=Download.objects.filter(version_id=version_id, outcome=DownloadOutcome.GRANTED).values("buyer"))
        | Q(pk__in=Flash.objects.filter(version_id=version_id).values("reporter"))
        | Q(pk__in=Vehicle.objects.present().filter(installed_tune_version_id=version_id).values("owner")),
        deleted_at=None,
    )


def list_reached(stop: VersionStop) -> QuerySet[User]:
    """The holders with when they were told in the app, mailed, pushed to, and when they acknowledged."""
    notices = Notice.objects.filter(user=OuterRef("pk"), dedupe_key=dedupe_key_of(stop.pk))
    known = StopAcknowledgement.objects.filter(stop=stop, user=OuterRef("pk"))
    return list_holders(stop.version_id).annotate(
        told_at=Subquery(notices.values("created_at")),
        mailed_at=Subquery(notices.values("mailed_at")),
        pushed_at=Subquery(notices.values("pushed_at")),
        acknowledged_at=Subquery(known.values("acknowledged_at")),
    )


def list_silent(stop: VersionStop, *, after: UUID | None = None) -> QuerySet[User]:
    """Those who have not acknowledged, in the order of their ids, from the one behind `after`."""
    silent = list_reached(stop).filter(~Exists(StopAcknowledgement.objects.filter(stop=stop, user=OuterRef("pk")))).order_by("pk")
    return silent.filter(pk__gt=after) if after is not None else silent


def count_reached(stop: VersionStop) -> Reached:
    """The figures of a stop. One query."""
    names = {"holders": "pk", "told": "told_at", "mailed": "mailed_at", "pushed": "pushed_at", "acknowledged": "acknowledged_at"}
    return Reached(**list_reached(stop).aggregate(**{name: Count(column) for name, column in names.items()}))
