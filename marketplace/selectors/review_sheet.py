"""What a reviewer looks at before deciding on a version: read once, a fixed number of queries."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q

from marketplace.enums import FlashOutcome, ReleaseChannel
from marketplace.models import FileXRay, Fitment, Flash, TuneFile, TuneVersion, VersionStop
from marketplace.selectors.review_queue import positions_of, risks_of, with_risks


@dataclass(frozen=True)
class Finding:
    """One finding of the inspection, of the whole version or of one file."""

    where: str
    rule: str
    severity: str
    message: str
    offset: Any


@dataclass(frozen=True)
class ReviewSheet:
    """A version with all that speaks for and against it."""

    files: list[TuneFile]
    findings: list[Finding]
    fitments: list[Fitment]
    previous: TuneVersion | None
    added: list[str]
    removed: list[str]
    changed: list[tuple[str, str, str]]  # what else differs from the previous version: what, before, now
    xrays: list[FileXRay]
    risks: list[str]
    position: int | None
    copies: list[TuneFile]
    test_flashes: str
    stops: list[VersionStop]


def of_version(version: TuneVersion, *, at: datetime) -> ReviewSheet:
    """Everything about a version that its reviewer should see. A dozen queries, however much there is."""
    files = list(version.files.order_by("position"))
    fitments = list(Fitment.objects.filter(version=version).select_related("file").order_by("file__position", "position"))
    previous = (
        TuneVersion.objects.filter(tune_id=version.tune_id, published_at__isnull=False, version_order__lt=version.version_order)
        .order_by("-version_order")
        .first()
    )
    before = _lines(Fitment.objects.filter(version=previous)) if previous else set()
    now = _lines(fitments)
    return ReviewSheet(
        files=files,
        findings=_findings(version, files),
        fitments=fitments,
        previous=previous,
        added=sorted(now - before) if previous else [],
        removed=sorted(before - now),
        changed=_differences(previous, version, files) if previous else [],
        xrays=list(FileXRay.objects.filter(file__version=version).select_related("file").order_by("file__position", "against")),
        risks=risks_of(with_risks(TuneVersion.objects.filter(pk=version.pk), at=at).get()),
        position=positions_of([version.pk], at=at).get(version.pk),
        copies=_copies(version, files),
        test_flashes=_test_flashes(version),
        stops=list(VersionStop.objects.filter(version=version).order_by("-since")),
    )


def _findings(version: TuneVersion, files: list[TuneFile]) -> list[Finding]:
    """Each finding once: the version repeats those of its files."""
    of_files = [_finding(file.name, each) for file in files for each in file.inspection_findings]
    repeated = {(each.rule, each.message, each.offset) for each in of_files}
    of_version = [_finding("whole version", each) for each in version.inspection_findings]
    return [each for each in of_version if (each.rule, each.message, each.offset) not in repeated] + of_files


def _finding(where: str, stored: dict[str, Any]) -> Finding:
    offset = stored.get("offset")
    return Finding(
        where=where,
        rule=stored.get("rule", ""),
        severity=stored.get("severity", ""),
        message=stored.get("message", ""),
        offset="–" if offset is None else f"0x{offset:06X}" if isinstance(offset, int) else offset,
    )


def _lines(fitments: Any) -> set[str]:
    """A fitment as one comparable line."""
    return {
        f"{row.make_name} {row.model_name} {row.year_from}–{row.year_to}, {'/'.join(sorted(row.markets))}, "
        f"hardware {', '.join(sorted(row.hardware_numbers))}, calibrations {', '.join(sorted(row.calibration_ids)) or 'any'}, "
        f"{row.image_size_bytes} bytes"
        for row in fitments
    }


def _differences(previous: TuneVersion, version: TuneVersion, files: list[TuneFile]) -> list[tuple[str, str, str]]:
    """Claims, requirements, words and files that are not what they were."""
    pairs = [
        ("Emissions class", previous.get_emissions_class_display(), version.get_emissions_class_display()),
        ("Certification number", previous.certification_number, version.certification_number),
        ("Tags", ", ".join(previous.tags), ", ".join(version.tags)),
        ("Blocked regions", ", ".join(previous.blocked_regions), ", ".join(version.blocked_regions)),
        ("Changelog", previous.changelog, version.changelog),
    ]
    pairs += [
        (f"Requires: {name.replace('_', ' ')}", _said(previous.requirements.get(name)), _said(version.requirements.get(name)))
        for name in sorted({*previous.requirements, *version.requirements})
    ]
    pairs.append(("Files", _listed(previous.files.order_by("position")), _listed(files)))
    return [(what, before or "–", after or "–") for what, before, after in pairs if before != after]


def _listed(files: Iterable[TuneFile]) -> str:
    return "\n".join(f"{file.sha256} {file.calibration_id_after}".strip() for file in files)


def _said(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True) if value not in (None, "", [], {}) else ""


def _copies(version: TuneVersion, files: list[TuneFile]) -> list[TuneFile]:
    images = [file.image_sha256 for file in files if file.image_sha256]
    same = Q(sha256__in=[file.sha256 for file in files]) | Q(image_sha256__in=images)
    return list(TuneFile.objects.filter(same).exclude(version__tune__tuner_id=version.tune.tuner_id).select_related("version__tune")[:20])


def _test_flashes(version: TuneVersion) -> str:
    outcomes = list(Flash.objects.filter(version=version, ticket__channel=ReleaseChannel.TEST).values_list("outcome", flat=True))
    return f"{outcomes.count(FlashOutcome.SUCCEEDED)} succeeded of {len(outcomes)}"
