"""Inspection of tune files: what the dry run tells a tuner is what the worker decides."""

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from django.db import transaction

from core import audit, storage
from core.exceptions import InvalidInput, ServiceUnavailable
from core.models import Upload
from core.uploads.enums import UploadPurpose, UploadState
from garage.ecu_images import Finding, Inspection, XRay, compare_claims, run_inspection, run_xray, xray
from garage.ecu_images.report import UNKNOWN_FORMAT
from garage.models import StockFile
from marketplace.enums import FindingSeverity, InspectionVerdict, VersionStatus, XRayBase
from marketplace.models import FileXRay, TuneFile, TuneVersion
from marketplace.policies import tunes as policies
from marketplace.services.stock_images import find_stock_upload
from marketplace.services.versions import lock_version
from users.enums import NoticeType
from users.models import User
from users.services import notify

T = TypeVar("T")
NO_KEY = "uploads/swept"


@dataclass(frozen=True)
class Claims:
    """What somebody says about a file; what is left out is not compared."""

    hardware_numbers: tuple[str, ...] = ()
    calibration_ids: tuple[str, ...] = ()
    image_sizes_bytes: tuple[int, ...] = ()
    tuner_id: UUID | None = None

    @classmethod
    def of(
        cls, fitments: Iterable[Mapping[str, Any]], *, calibration_id_after: str | None, tuner_id: UUID, hardware_number: str | None = None
    ) -> "Claims":
        """What a file's fitments claim of its image, the same for a dry run and for a version."""
        rows = list(fitments)
        calibrations = {number for row in rows for number in row["calibration_ids"]}
        if calibrations and calibration_id_after:
            calibrations.add(calibration_id_after)  # a tuned image usually carries its own
        hardware = {number for row in rows for number in row["hardware_numbers"]}
        return cls(
            hardware_numbers=tuple(sorted(hardware | {hardware_number} if hardware_number else hardware)),
            calibration_ids=tuple(sorted(calibrations)),
            image_sizes_bytes=tuple(sorted({row["image_size_bytes"] for row in rows})),
            tuner_id=tuner_id,
        )


@dataclass
class Examined:
    """One file's report with everything that was found, ready to be stored or shown."""

    report: Inspection
    findings: list[Finding] = field(default_factory=list)
    xray: XRay | None = None

    @property
    def passed(self) -> bool:
        return all(finding.severity != FindingSeverity.ERROR for finding in self.findings)

    def findings_as_dicts(self, **more: Any) -> list[dict[str, Any]]:
        return as_dicts(self.findings, **more)


def as_dicts(findings: Iterable[Finding], **more: Any) -> list[dict[str, Any]]:
    """Findings as they are stored and shown."""
    return [{"rule": row.rule, "severity": row.severity, "message": row.message, "offset": row.offset, **more} for row in findings]


def inspect_upload(
    *,
    author: User,
    upload_id: UUID,
    hardware_number: str | None = None,
    fitments: Iterable[Mapping[str, Any]] = (),
    calibration_id_after: str | None = None,
    tags: Iterable[str] = (),
    stock_image_id: UUID | None = None,
    at: datetime,
) -> Examined:
    """The dry run: what the real inspection would say of an own upload. Keeps nothing but an audit row; the upload stays unused.

    Called by a tuner. An upload that was refused when it was checked is answered with what was found then: its bytes are
    gone. Both sides of a comparison are the author's own, so nobody learns anything about somebody else's image. Starts
    child processes, so never call it in a transaction.
    Raises: InvalidInput at /upload_id (missing, foreign, another purpose, not checked yet) or /stock_image,
    ServiceUnavailable (storage, inspection).
    """
    upload = Upload.objects.filter(pk=upload_id, owner_id=author.pk, purpose=UploadPurpose.TUNE_FILE).first()
    if upload is None:
        raise InvalidInput.at("/upload_id", "unknown_upload", "There is no such upload of a tune file of yours.")
    stock = find_stock_upload(author, stock_image_id, pointer="/stock_image")
    claims = Claims.of(
        fitments, calibration_id_after=calibration_id_after, tuner_id=author.tuner_profile.pk, hardware_number=hardware_number
    )
    if upload.state == UploadState.REFUSED:
        examined = _of_refused(upload)
    elif upload.state == UploadState.READY:
        try:
            with _fetched(upload.storage_key) as path:
                stock_key = stock.storage_key if stock is not None else None
                examined = examine(path, name=upload.name, sha256=upload.sha256, claims=claims, stock_key=stock_key)
        except storage.ObjectMissing as exc:
            raise InvalidInput.at("/upload_id", "unknown_upload", "The bytes of this upload are gone. Upload the file again.") from exc
    else:
        raise InvalidInput.at("/upload_id", "upload_not_ready", f"This upload is {upload.state}; it can be inspected once it was checked.")
    examined.findings[:0] = _of_tags(tags)
    with transaction.atomic():
        audit.record(
            act="upload.inspected",
            actor_id=author.pk,
            subject_id=upload.pk,
            at=at,
            passed=examined.passed,
            stock_upload_id=stock.pk if stock is not None else None,
        )
    return examined


def inspect_version(*, version_id: UUID, at: datetime) -> None:
    """Inspect a VALIDATING version's files, keep the bytes that were read, and decide: INVALID or VALIDATED.

    Called by the worker; idempotent: a version in another state is left alone. Files are read, inspected and stored
    under the hash of those very bytes before the transaction; it locks tune and version. Tells the tuner.
    Raises: ServiceUnavailable (storage, inspection), nothing changed.
    """
    version = TuneVersion.objects.filter(pk=version_id, status=VersionStatus.VALIDATING).select_related("tune").first()
    if version is None:
        return
    examined: dict[UUID, Examined] = {}
    xrays: dict[UUID, list[FileXRay]] = {}
    files = list(version.files.order_by("position").prefetch_related("fitments"))
    uploads = [upload_id for file in files for upload_id in (file.upload_id, file.stock_upload_id) if upload_id is not None]
    keys: dict[UUID | None, str] = dict(Upload.objects.filter(pk__in=uploads).values_list("pk", "storage_key"))
    earlier = _earlier_files(version)
    for file in files:
        # an upload that nobody used is swept after a day: then there is a name, and nothing under it
        stock_key = keys.get(file.stock_upload_id, NO_KEY) if file.stock_upload_id else None
        try:
            with _fetched(keys[file.upload_id]) as path:
                seen = examine(path, name=file.name, sha256=file.sha256, claims=_claims_of(file, version), stock_key=stock_key)
                examined[file.pk], xrays[file.pk] = seen, _xrays_of(file, seen, path, earlier, at=at)
                if seen.passed:
                    _keep(file, path)
        except storage.ObjectMissing:
            gone = Finding("bytes_missing", FindingSeverity.ERROR, "The uploaded bytes are gone. Upload the file again, as a new version.")
            blank = Inspection(format=UNKNOWN_FORMAT, size_bytes=file.size_bytes, sha256=file.sha256)
            examined[file.pk] = Examined(blank, [gone])
    of_tags = _of_tags(version.tags)
    passed = all(row.passed for row in examined.values()) and not of_tags and bool(files)
    findings = as_dicts(of_tags) + [row for file in files for row in examined[file.pk].findings_as_dicts(file=str(file.pk))]
    with transaction.atomic():
        version = lock_version(version_id=version.pk, tune_id=version.tune_id)
        if version.status != VersionStatus.VALIDATING:
            return
        for file in files:
            _store(file, examined[file.pk], promoted=passed)
        FileXRay.objects.bulk_create([row for file in files for row in xrays.get(file.pk, ())])
        version.status = VersionStatus.VALIDATED if passed else VersionStatus.INVALID
        version.inspection_verdict = InspectionVerdict.PASS if passed else InspectionVerdict.REFUSED
        version.inspection_findings, version.inspected_at, version.updated_at = findings, at, at
        version.change_summary = change_summary([examined[file.pk].xray for file in files])
        version.revision += 1
        version.save(
            update_fields=[
                *("status", "inspection_verdict", "inspection_findings", "inspected_at", "change_summary", "updated_at", "revision"),
            ]
        )
        audit.record(act="tune_version.inspected", actor_id=None, subject_id=version.pk, at=at, verdict=version.inspection_verdict)
        outcome = "passed the inspection: submit it for review" if passed else "did not pass the inspection: see its findings"
        notify(
            user_id=version.tune.tuner.user_id,
            type=NoticeType.INSPECTION,
            title=f"Version {version.version} was inspected",
            body=f"Version {version.version} of “{version.tune.title}” {outcome}.",
            link={"resource": "tune_version", "id": version.pk},
            dedupe_key=f"inspected:{version.pk}",
            at=at,
            mail=False,
        )


def examine(path: Path, *, name: str, sha256: str, claims: Claims, stock_key: str | None = None) -> Examined:
    """Read the bytes at `path` in the child process, and hold them against claims, stock images and others' tunes.

    The one judgement of dry run and worker. Two indexed queries, no writes, never in a transaction. With a `stock_key`
    the image is compared with the one stored there, in a process of its own. Raises: ServiceUnavailable("inspection").
    """
    report = _patiently(run_inspection, path, name=name)
    findings = list(report.findings)
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        findings.append(Finding("bytes_differ", FindingSeverity.ERROR, "The stored file is not the one that was uploaded and checked."))
    for size in claims.image_sizes_bytes or (None,):
        compared = compare_claims(
            report, hardware_numbers=claims.hardware_numbers, calibration_ids=claims.calibration_ids, image_size_bytes=size
        )
        findings += [finding for finding in compared if finding not in findings]
    if report.image is None:
        return Examined(report, findings)
    findings += _copies(report.image.sha256, claims.tuner_id)
    seen = None
    if stock_key is not None:
        seen = _compare(stock_key, path)
        findings += [seen] if isinstance(seen, Finding) else xray.judge(seen)
    return Examined(report, findings, seen if isinstance(seen, XRay) else None)


def change_summary(xrays: Iterable[XRay | None]) -> str:
    """What riders read of a version's changes against stock: each different sentence once. Empty when none was compared."""
    return " ".join(dict.fromkeys(xray.summary(seen) for seen in xrays if seen is not None))


def _of_tags(tags: Iterable[str]) -> list[Finding]:
    """What a version says of itself and may not be published with, whatever its files hold."""
    message = "{} switches an emission system off; such versions are not published here."
    return [Finding("prohibited_tag", FindingSeverity.ERROR, message.format(tag)) for tag in policies.prohibited_tags(tags)]


def _patiently(run: Callable[..., T], *args: Any, **named: Any) -> T:
    """A machine too busy to inspect is an outage: the file is asked about again later, and not refused."""
    try:
        return run(*args, **named)
    except TimeoutError as late:
        raise ServiceUnavailable("inspection") from late


def _keep(file: TuneFile, path: Path) -> None:
    """Store the bytes under their hash, unless they are there: another version may have been published with them."""
    key = content_key(file.sha256)
    try:
        if storage.hash_object(key) == (file.sha256, file.size_bytes):
            return
    except storage.ObjectMissing:
        pass
    storage.put_file(key, path, content_type="application/octet-stream", sha256=file.sha256)


def _compare(base_key: str, path: Path) -> XRay | Finding:
    try:
        with _fetched(base_key) as base:
            return _patiently(run_xray, base, path)
    except storage.ObjectMissing:
        return Finding("not_compared", FindingSeverity.WARNING, "The stock image's bytes are gone, so nothing was compared.")


def _of_refused(upload: Upload) -> Examined:
    """What the upload's own check found, which was the same inspection; or what kept it from being inspected."""
    if "findings" in upload.details:
        report = Inspection.from_dict(upload.details)
        return Examined(report, list(report.findings))
    blank = Inspection(format=UNKNOWN_FORMAT, size_bytes=upload.size_bytes, sha256=upload.sha256)
    return Examined(blank, [Finding(reason["code"], FindingSeverity.ERROR, reason["detail"]) for reason in upload.reasons])


def _earlier_files(version: TuneVersion) -> list[TuneFile]:
    """The files of the newest version of the tune that was published before, with their fitments."""
    before = TuneVersion.objects.filter(
        tune_id=version.tune_id, published_at__isnull=False, version_order__lt=version.version_order
    ).order_by("-version_order")
    newest = before.first()
    return [] if newest is None else list(newest.files.order_by("position").select_related("version").prefetch_related("fitments"))


def _xrays_of(file: TuneFile, seen: Examined, path: Path, earlier: list[TuneFile], *, at: datetime) -> list[FileXRay]:
    """The rows to keep: against stock, and for reviewers against the earlier version's file for the same hardware."""
    found = [(XRayBase.STOCK, "", seen.xray)] if seen.xray is not None else []
    hardware = {number for fitment in file.fitments.all() for number in fitment.hardware_numbers}
    for other in earlier if seen.report.image is not None else ():
        if hardware & {number for fitment in other.fitments.all() for number in fitment.hardware_numbers} and other.storage_key:
            before = _compare(other.storage_key, path)
            if isinstance(before, XRay):
                found.append((XRayBase.PREVIOUS, other.version.version, before))
                break
    return [
        FileXRay(
            file=file,
            against=against,
            base_label=label,
            base_sha256=report.base_sha256,
            regions=report.regions,
            share_basis_points=round(report.share * 10_000),
            changes_code=bool(report.kinds.get(xray.CODE)),
            report=report.to_dict(),
            created_at=at,
        )
        for against, label, report in found
    ]


def content_key(sha256: str) -> str:
    """Where reviewed bytes lie: the name is the hash, so no other bytes can ever stand there."""
    return f"tunes/{sha256[:2]}/{sha256}"


def _copies(image_sha256: str, tuner_id: UUID | None) -> list[Finding]:
    findings = []
    if StockFile.objects.filter(image_sha256=image_sha256).exists():
        findings.append(Finding("identical_to_stock", FindingSeverity.ERROR, "This image is a stock image: nothing in it was changed."))
    others = TuneFile.objects.filter(image_sha256=image_sha256).exclude(version__tune__tuner_id=tuner_id)
    if others.filter(version__published_at__isnull=False).exists():
        findings.append(Finding("identical_to_another_tune", FindingSeverity.ERROR, "This image was published by another tuner."))
    elif others.exists():
        findings.append(Finding("identical_to_another_tune", FindingSeverity.WARNING, "Another tuner has uploaded the same image."))
    return findings


def _claims_of(file: TuneFile, version: TuneVersion) -> Claims:
    fitments = (
        {name: getattr(fitment, name) for name in ("hardware_numbers", "calibration_ids", "image_size_bytes")}
        for fitment in file.fitments.all()
    )
    return Claims.of(fitments, calibration_id_after=file.calibration_id_after, tuner_id=version.tune.tuner_id)


def _store(file: TuneFile, examined: Examined, *, promoted: bool) -> None:
    report = examined.report
    file.format = report.format[:12]
    if report.image is not None:
        file.image_base, file.image_size_bytes, file.image_sha256 = report.image.base, report.image.size_bytes, report.image.sha256
    file.detected = detected_of(report)
    file.inspection_findings = examined.findings_as_dicts()
    file.storage_key = content_key(file.sha256) if promoted else ""
    file.save(
        update_fields=[
            *("format", "image_base", "image_size_bytes", "image_sha256", "detected", "inspection_findings", "storage_key"),
        ]
    )


def detected_of(report: Inspection) -> dict[str, Any]:
    """What the image states about itself."""
    return {
        "hardware_number": report.detected.hardware_number,
        "calibration_id": report.detected.calibration_id,
        "image_size_bytes": report.image.size_bytes if report.image else None,
    }


@contextmanager
def _fetched(key: str) -> Iterator[Path]:
    """The object of a key as a file in a private directory, gone afterwards. Raises: storage.ObjectMissing."""
    with tempfile.TemporaryDirectory(prefix="revsync-inspection-") as directory:
        path = Path(directory) / "image"
        with storage.open_stream(key) as chunks, path.open("wb") as target:
            target.writelines(chunks)
        yield path
