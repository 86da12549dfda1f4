"""Reads of the download grant. It is asked often and reads much: one call of a database function (migration 0009), whose
plans Postgres keeps, answers everything in the usual case, when the newest version on sale fits."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from django.db import connection
from django.db.models import QuerySet

from core import crypto
from garage.models import EcuReadout, Vehicle
from marketplace.enums import DownloadKind, DownloadOutcome, ReadBack
from marketplace.exceptions import DownloadNotFound, PurchaseNotFound
from marketplace.fitment import FIRST_MISMATCH, Needs, VehicleFacts, Verdict, judge, mask_sql
from marketplace.models import Download, Purchase, TuneFile, VersionStop
from marketplace.policies.trust import UNREPORTED_WINDOW
from marketplace.selectors.fitment import facts_of

# PUBLISHED before WITHDRAWN, and a stopped one only when nothing else fits: it then tells the rider why.
_FILE = """
WITH judged AS (
    SELECT f.file_id, min({mask}) AS mask
      FROM marketplace_fitment f
      JOIN marketplace_tuneversion v ON v.id = f.version_id
      JOIN marketplace_tune t ON t.id = f.tune_id
     WHERE f.tune_id = %s AND v.published_at IS NOT NULL
     GROUP BY f.file_id
)
SELECT v.id, v.version, v.status, v.requirements ->> 'read_back', i.id, i.name, i.format, i.size_bytes, i.sha256, i.storage_key,
       judged.mask, r.envelope, r.payload_sha256
  FROM judged
  JOIN marketplace_tunefile i ON i.id = judged.file_id
  JOIN marketplace_tuneversion v ON v.id = i.version_id
  LEFT JOIN marketplace_release r ON r.file_id = i.id AND r.channel = 'public' AND r.superseded_at IS NULL
 ORDER BY judged.mask >= {first_mismatch}, CASE v.status WHEN 'PUBLISHED' THEN 0 WHEN 'WITHDRAWN' THEN 1 ELSE 2 END,
          judged.mask, v.version_order DESC, i.position
 LIMIT 1
"""


@dataclass(frozen=True)
class GrantFacts:
    """Everything that decides a grant, as one statement saw it. `vehicle` is None when it is not the buyer's."""

    purchase_id: UUID
    purchase_status: str
    tune_id: UUID
    license_id: UUID | None
    license_state: str | None
    license_vehicle_id: UUID | None
    license_identity_hashes: list[str]
    license_reserved_until: datetime | None
    vehicle: Vehicle | None
    facts: VehicleFacts
    has_stock_file: bool
    accepts_no_read_back: bool
    unreported_tickets: int
    status_version: int | None
    app_version_blocked: bool
    calibration_ids_after: tuple[str, ...]
    files: list[dict[str, Any]]


@dataclass(frozen=True)
class Choice:
    """The file that a rider gets, with the verdict on it."""

    version_id: UUID
    version: str
    version_status: str
    read_back: str
    file: TuneFile
    verdict: Verdict
    release: dict[str, Any] | None
    release_payload_sha256: str


def get_grant_facts(
    *, buyer, purchase_id: UUID, vehicle_id: UUID, version_id: UUID | None = None, app_version: str, at: datetime
) -> GrantFacts:
    """One query; two when the vehicle's model is not in the catalogue. Raises: PurchaseNotFound (missing, or foreign)."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT marketplace_grant_facts(%s, %s, %s, %s, %s, %s)::text",
            [purchase_id, buyer.pk, vehicle_id, version_id, app_version, at - UNREPORTED_WINDOW],
        )
        (text,) = cursor.fetchone()
    if text is None:
        raise PurchaseNotFound
    row = orjson.loads(text)
    vehicle, facts = _vehicle_of(row["vehicle"], owner_id=buyer.pk)
    return GrantFacts(
        purchase_id=purchase_id,
        purchase_status=row["purchase_status"],
        tune_id=UUID(row["tune"]),
        license_id=_uuid(row["license"]),
        license_state=row["license_state"],
        license_vehicle_id=_uuid(row["license_vehicle"]),
        license_identity_hashes=row["license_hashes"] or [],
        license_reserved_until=_moment(row["reserved_until"]),
        vehicle=vehicle,
        facts=facts,
        has_stock_file=bool(row["vehicle"] and row["vehicle"]["stock_file"]),
        accepts_no_read_back=bool(row["vehicle"] and row["vehicle"]["accepts_no_read_back"]),
        unreported_tickets=row["unreported_tickets"],
        status_version=row["status_version"],
        app_version_blocked=row["app_version_blocked"],
        calibration_ids_after=tuple(row["calibration_ids_after"]),
        files=row["files"] or [],
    )


def choose(seen: GrantFacts, *, version_id: UUID | None = None) -> Choice | None:
    """The file to hand out for these facts, which were read for the same `version_id`. None: there is no such version.

    No query when a version was asked for or the newest one on sale fits; else one, over the tune's whole history.
    """
    judged = [_judged(file, seen) for file in seen.files]
    best = min(judged, key=lambda choice: choice.verdict.mask, default=None)  # the first of equals: files come in their order
    if version_id is not None or (best is not None and best.verdict.mask == 0):
        return best
    return find_choice(tune_id=seen.tune_id, vehicle=seen.facts)


def find_choice(*, tune_id: UUID, vehicle: VehicleFacts) -> Choice | None:
    """Of all versions ever published the newest whose file matches, else what comes closest. One query."""
    mask, parameters = mask_sql(vehicle)
    with connection.cursor() as cursor:
        cursor.execute(_FILE.format(mask=mask, first_mismatch=FIRST_MISMATCH), [*parameters, tune_id])
        row = cursor.fetchone()
    if row is None:
        return None
    version_id, version, status, read_back, file_id, name, format_, size_bytes, sha256, storage_key, bits, release, release_hash = row
    return Choice(
        version_id=version_id,
        version=version,
        version_status=status,
        read_back=read_back or "",
        file=TuneFile(
            id=file_id,
            version_id=version_id,
            name=name,
            format=format_,
            size_bytes=size_bytes,
            sha256=sha256,
            storage_key=storage_key,
        ),
        verdict=Verdict(bits),
        release=_json(release),
        release_payload_sha256=release_hash or "",
    )


def find_open_stop(version_id: UUID) -> VersionStop | None:
    """The hold or recall in force."""
    return VersionStop.objects.filter(version_id=version_id, lifted_at=None, recalled_at=None).first()


def get_own_grant(buyer, download_id: UUID) -> Download:
    """A grant that this rider was given. One query. Raises: DownloadNotFound."""
    download = (
        Download.objects.select_related("flash_ticket")
        .filter(pk=download_id, buyer_id=buyer.pk, kind=DownloadKind.GRANT, outcome=DownloadOutcome.GRANTED)
        .first()
    )
    if download is None:
        raise DownloadNotFound
    return download


def list_downloads(buyer, purchase_id: UUID) -> QuerySet[Download]:
    """The trail of a rider's own purchase. Two queries with its page. Raises: PurchaseNotFound."""
    if not Purchase.objects.filter(pk=purchase_id, buyer_id=buyer.pk).exists():
        raise PurchaseNotFound
    return Download.objects.filter(purchase_id=purchase_id).select_related("version", "flash_ticket")


def _judged(file: dict[str, Any], seen: GrantFacts) -> Choice:
    """One file of the answer with its verdict, by the same rule as everywhere."""
    requirements = file["requirements"]
    fuel = requirements.get("fuel") or {}
    needs = Needs(
        fuel_octane=fuel.get("octane"),
        fuel_scale=fuel.get("scale"),
        required_part_keys=tuple(file["required_part_keys"]),
        forbidden_part_keys=tuple(file["forbidden_part_keys"]),
        flash_methods=tuple(requirements.get("flash_methods") or ()),
        read_back=requirements.get("read_back") or ReadBack.UNKNOWN,
        calibration_ids_after=seen.calibration_ids_after,
    )
    fitments = [_Fitment(**{**row, "make_id": UUID(row["make_id"]), "model_id": UUID(row["model_id"])}) for row in file["fitments"] or ()]
    version_id = UUID(file["version"])
    return Choice(
        version_id=version_id,
        version=file["number"],
        version_status=file["status"],
        read_back=requirements.get("read_back") or "",
        file=TuneFile(
            id=UUID(file["id"]),
            version_id=version_id,
            name=file["name"],
            format=file["format"],
            size_bytes=file["size_bytes"],
            sha256=file["sha256"],
            storage_key=file["storage_key"],
        ),
        verdict=judge(seen.facts, fitments, needs),
        release=file["release"],
        release_payload_sha256=file["release_payload_sha256"] or "",
    )


@dataclass(frozen=True, slots=True)
class _Fitment:
    """A fitment's facts, as the rule wants them."""

    make_id: UUID
    model_id: UUID
    year_from: int
    year_to: int
    markets: list[str]
    hardware_numbers: list[str]
    calibration_ids: list[str]
    image_size_bytes: int


def _vehicle_of(row: dict[str, Any] | None, *, owner_id: UUID) -> tuple[Vehicle | None, VehicleFacts]:
    if row is None:
        return None, VehicleFacts()
    read = row["ecu"] or {}
    ecu = None
    if read:
        ecu = EcuReadout(
            id=UUID(read["id"]),
            hardware_number=read["hardware_number"],
            calibration_id=read["calibration_id"],
            serial=_decrypted(read["serial"]),
            serial_hash=_bytes(read["serial_hash"]),
            image_size_bytes=read["image_size_bytes"],
        )
    vehicle = Vehicle(
        id=UUID(row["id"]),
        owner_id=owner_id,
        vin=_decrypted(row["vin"]),
        vin_hash=_bytes(row["vin_hash"]),
        frame_number=_decrypted(row["frame_number"]),
        frame_number_hash=_bytes(row["frame_number_hash"]),
        ecu=ecu,
    )
    facts = facts_of(
        make=row["make"],
        make_id=_uuid(row["make_id"]),
        model_id=_uuid(row["model_id"]),
        year=row["year"],
        market=row["market"],
        hardware_number=read.get("hardware_number"),
        read_calibration_id=read.get("calibration_id"),
        read_at=_moment(read.get("read_at")),
        image_size_bytes=read.get("image_size_bytes"),
        stock_calibration_id=row["stock_calibration_id"],
        installed_calibration_id=row["installed_calibration_id"],
        installed_at=_moment(row["installed_at"]),
        fuel_octane=row["fuel_octane"],
        fuel_scale=row["fuel_scale"],
        parts=row["parts"] or (),
        has_way_back=row["stock_file" if read else "any_stock_file"] or row["accepts_no_read_back"],
    )
    return vehicle, facts


def _uuid(text: str | None) -> UUID | None:
    return None if text is None else UUID(text)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _bytes(text: str | None) -> bytes | None:
    """Postgres writes bytea into JSON as \\x and hexadecimal digits."""
    return None if text is None else bytes.fromhex(text[2:])


def _decrypted(text: str | None) -> str | None:
    stored = _bytes(text)
    return None if stored is None else crypto.decrypt(stored)


def _json(value: Any) -> Any:
    """JSON columns come as text or as objects, depending on what the driver was told."""
    return orjson.loads(value) if isinstance(value, (str, bytes)) else value
