"""What is known of a rider's vehicle, and how a tune's files fit it."""

from dataclasses import dataclass
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Exists, F, OuterRef, Prefetch
from django.db.models.functions import JSONObject

from garage import catalog
from garage.exceptions import VehicleNotFound
from garage.models import NoReadBackConsent, StockFile, Vehicle, VehicleMod
from marketplace.enums import VersionStatus
from marketplace.fitment import Needs, VehicleFacts, Verdict, judge, part_keys_of
from marketplace.models import Fitment, TuneFile, TuneVersion

_FACTS = Vehicle.objects.present().annotate(
    make_id=F("catalog_model__make_id"),
    hardware_number=F("ecu__hardware_number"),
    read_calibration_id=F("ecu__calibration_id"),
    read_at=F("ecu__read_at"),
    image_size_bytes=F("ecu__image_size_bytes"),
    has_stock_file=Exists(StockFile.objects.filter(vehicle=OuterRef("pk"))),
    accepts_no_read_back=Exists(
        NoReadBackConsent.objects.filter(
            vehicle=OuterRef("pk"), given_by=OuterRef("owner"), hardware_number__in=["", OuterRef("ecu__hardware_number")]
        )
    ),
    parts=ArraySubquery(
        VehicleMod.objects.filter(vehicle=OuterRef("pk")).values(part_row=JSONObject(category="category", brand="brand", part="part"))
    ),
).values(
    *("make", "make_id", "catalog_model_id", "year", "market", "hardware_number", "read_calibration_id", "read_at", "image_size_bytes"),
    *("stock_calibration_id", "installed_calibration_id", "installed_at", "fuel_octane", "fuel_scale"),
    *("has_stock_file", "accepts_no_read_back", "parts"),
)


def get_vehicle_facts(*, owner, vehicle_id: UUID) -> VehicleFacts:
    """The facts of a rider's own, present vehicle, for a verdict. One query; two when its model is not in the catalogue.

    What the ECU carries is the newest of read-out and reported flash. Raises: VehicleNotFound (missing, or foreign).
    """
    row = _FACTS.filter(owner_id=owner.pk, pk=vehicle_id).first()
    if row is None:
        raise VehicleNotFound
    make_id = row["make_id"]
    if make_id is None:
        make = catalog.find_make(row["make"])
        make_id = make and make.pk
    calibration_id = row["read_calibration_id"]
    if row["installed_calibration_id"] and (row["read_at"] is None or row["installed_at"] > row["read_at"]):
        calibration_id = row["installed_calibration_id"]
    keys: set[str] = set()
    for part in row["parts"]:
        keys |= part_keys_of(**part)
    return VehicleFacts(
        make_id=make_id,
        model_id=row["catalog_model_id"],
        year=row["year"],
        market=row["market"],
        hardware_number=ecu_code(row["hardware_number"]),
        calibration_id=ecu_code(calibration_id),
        stock_calibration_id=ecu_code(row["stock_calibration_id"]),
        image_size_bytes=row["image_size_bytes"],
        fuel_octane=row["fuel_octane"],
        fuel_scale=row["fuel_scale"],
        part_keys=frozenset(keys),
        has_way_back=row["has_stock_file"] or row["accepts_no_read_back"],
    )


def ecu_code(text: str | None) -> str | None:
    """A hardware number or calibration id as fitments write it: trimmed, in capitals. An empty one is unknown."""
    return (text or "").strip().upper() or None


@dataclass(frozen=True)
class JudgedFile:
    """One file of a version with what is known about it and a vehicle."""

    version: TuneVersion
    file: TuneFile
    verdict: Verdict


def judge_version(version: TuneVersion, vehicle: VehicleFacts, *, calibration_ids_after: list[str]) -> list[JudgedFile]:
    """Every file of a version, the one that comes closest first. `calibration_ids_after` is its tune's. Reads nothing when
    files and fitments are prefetched."""
    needs = Needs.of(version, calibration_ids_after=calibration_ids_after)
    judged = [JudgedFile(version, file, judge(vehicle, file.fitments.all(), needs)) for file in version.files.all()]
    return sorted(judged, key=lambda row: (row.verdict.mask, row.file.position))


def judge_tune(*, tune_id: UUID, calibration_ids_after: list[str], vehicle: VehicleFacts) -> JudgedFile | None:
    """The file to flash: of all PUBLISHED versions the newest that matches, else what comes closest; None without any.

    Three queries. What the purchase, the detail and the grant show is this.
    """
    versions = (
        TuneVersion.objects.filter(tune_id=tune_id, status=VersionStatus.PUBLISHED)
        .order_by("-version_order")
        .prefetch_related(with_files())
    )
    best: JudgedFile | None = None
    for version in versions:
        for row in judge_version(version, vehicle, calibration_ids_after=calibration_ids_after)[:1]:
            if best is None or row.verdict.mask < best.verdict.mask:
                best = row
        if best is not None and best.verdict.mask == 0:
            break
    return best


def with_files() -> Prefetch:
    """A version's files with their fitments, in their order: two queries however many."""
    fitments = Prefetch("fitments", queryset=Fitment.objects.order_by("position"))
    return Prefetch("files", queryset=TuneFile.objects.order_by("position").prefetch_related(fitments))
