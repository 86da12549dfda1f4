"""Reads of stops, flashes and installed files."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import OuterRef, QuerySet, Subquery

from marketplace.enums import VersionStatus
from marketplace.models import Flash, StopAcknowledgement, TuneFile, VersionStop

_STATES = {
    VersionStatus.PUBLISHED: "current",
    VersionStatus.WITHDRAWN: "withdrawn",
    VersionStatus.ON_HOLD: "on_hold",
    VersionStatus.RECALLED: "recalled",
}
_WORST_FIRST = ("recalled", "on_hold", "withdrawn", "current")


def list_flashes(reporter, *, vehicle_id: UUID | None = None) -> QuerySet[Flash]:
    """A rider's own reports, of one vehicle if asked."""
    flashes = Flash.objects.filter(reporter_id=reporter.pk)
    return flashes if vehicle_id is None else flashes.filter(vehicle_id=vehicle_id)


def check_installed(reader, hashes: Iterable[str]) -> list[dict[str, Any]]:
    """What became of files, by their hashes, in the order asked. Two queries however many.

    The same bytes may be in several versions: the worst state counts, so that no stop is overlooked.
    """
    asked = list(hashes)
    found: dict[str, dict[str, Any]] = {}
    files = TuneFile.objects.filter(sha256__in=asked, version__published_at__isnull=False).select_related("version")
    for file in files.order_by("-version__published_at"):
        state = _STATES[VersionStatus(file.version.status)]
        known = found.get(file.sha256)
        if known is None or _WORST_FIRST.index(state) < _WORST_FIRST.index(known["state"]):
            found[file.sha256] = {
                "sha256": file.sha256,
                "state": state,
                "tune": str(file.version.tune_id),
                "version": str(file.version_id),
                "recall": None,
            }
    stops = {
        str(stop.version_id): recall_shape(stop, acknowledged_at=stop.read_at)  # type: ignore[attr-defined]  # annotated
        for stop in _with_reading(reader).filter(
            version_id__in=[row["version"] for row in found.values()], lifted_at=None, recalled_at=None
        )
    }
    unknown = {"state": "unknown", "tune": None, "version": None, "recall": None}
    return [
        {**found[sha256], "recall": stops.get(found[sha256]["version"])} if sha256 in found else {"sha256": sha256, **unknown}
        for sha256 in asked
    ]


def recall_shape(stop: VersionStop, *, acknowledged_at: datetime | None) -> dict[str, Any]:
    """A stop as the API shows it."""
    return {
        "id": stop.pk,
        "version": stop.version_id,
        "state": stop.kind,
        "severity": stop.severity,
        "reason": stop.reason,
        "replacement": stop.replacement_id,
        "since": stop.since,
        "acknowledged_at": acknowledged_at,
    }


def _with_reading(reader) -> QuerySet[VersionStop]:
    read_at = StopAcknowledgement.objects.filter(stop=OuterRef("pk"), user_id=reader.pk).values("acknowledged_at")
    return VersionStop.objects.annotate(read_at=Subquery(read_at[:1]))
