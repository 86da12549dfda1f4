"""What is known of a rider's vehicle, and how a tune's files fit it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Exists, F, OuterRef, Prefetch
from django.db.models.functions import Coalesce, JSONObject

from garage import catalog
from garage.exceptions import VehicleNotFound
from garage.models import NoReadBackConsent, StockFile, Vehicle, VehicleMod
from marketplace import fitment_words
from marketplace.enums import VersionStatus
from marketplace.fitment import Needs, VehicleFacts, Verdict, judge, part_keys_of
from marketplace.models import Fitment, TuneFile, TuneVersion

_FACTS = Vehicle.objects.present().annotate(
    make_id=F("catalog_model__make_id"),
    hardware_number=F("ecu__hardware_number"),
    read_calibration_id=F("ecu__calibration_id"),
    read_at=F("ecu__read_at"),
    image_size_bytes=F("ecu__image_size_bytes"),
    # a way back is one for the ECU that is in the vehicle; as long as nobody read that, a stock file may be
    has_stock_file=Exists(
        StockFile.objects.filter(
            vehicle=OuterRef("pk"), hardware_number=Coalesce(OuterRef("ecu__hardware_number"), F("hardware_number"))
        )
    ),
    accepts_no_read_back=Exists(
        NoReadBackConsent.objects.filter(
            vehicle=OuterRef("pk"), given_by=OuterRef("owner"), hardware_number=OuterRef("ecu__hardware_number")
        )
    ),
    parts=ArraySubquery(
        VehicleMod.objects.filter(vehicle=OuterRef("pk")).values(part_row=JSONObject(category="category", brand="brand", part="part"))
    ),
).values(
    *("make", "make_id", "catalog_model_id", "year", "market", "hardware_number", "read_calibration_id", "read_at", "image_size_bytes"),
    *("stock_calibration_id", "installed_calibration_id", "installed_at", "fuel_octane", "fuel_scale"),
    *("has_stock_file", "accepts_no_read_back", "parts", "pk"),
)


def get_vehicle_facts(*, owner, vehicle_id: UUID) -> VehicleFacts:
    """The facts of a rider's own, present vehicle, for a verdict. One query; two when its model is not in the catalogue.

    What the ECU carries is the newest of read-out and reported flash. Raises: VehicleNotFound (missing, or foreign).
    """
    row = _FACTS.filter(owner_id=owner.pk, pk=vehicle_id).first()
    if row is None:
        raise VehicleNotFound
    return _facts_of_row(row)


def list_vehicle_facts(vehicle_ids: Iterable[UUID]) -> dict[UUID, VehicleFacts]:
    """The facts of many vehicles that are present, whoever's. One query; one more for each whose model is not in the catalogue."""
    return {row["pk"]: _facts_of_row(row) for row in _FACTS.filter(pk__in=list(vehicle_ids))}


def _facts_of_row(row: Mapping[str, Any]) -> VehicleFacts:
    return facts_of(
        make=row["make"],
        make_id=row["make_id"],
        model_id=row["catalog_model_id"],
        year=row["year"],
        market=row["market"],
        hardware_number=row["hardware_number"],
        read_calibration_id=row["read_calibration_id"],
        read_at=row["read_at"],
        image_size_bytes=row["image_size_bytes"],
        stock_calibration_id=row["stock_calibration_id"],
        installed_calibration_id=row["installed_calibration_id"],
        installed_at=row["installed_at"],
        fuel_octane=row["fuel_octane"],
        fuel_scale=row["fuel_scale"],
        parts=row["parts"],
        has_way_back=row["has_stock_file"] or row["accepts_no_read_back"],
    )


def facts_of(
    *,
    make: str,
    make_id: UUID | None,
    model_id: UUID | None,
    year: int,
    market: str,
    hardware_number: str | None,
    read_calibration_id: str | None,
    read_at: datetime | None,
    image_size_bytes: int | None,
    stock_calibration_id: str | None,
    installed_calibration_id: str | None,
    installed_at: datetime | None,
    fuel_octane: int | None,
    fuel_scale: str | None,
    parts: Iterable[Mapping[str, str]],
    has_way_back: bool,
) -> VehicleFacts:
    """The columns of a vehicle as the rule wants them: the same for a list, a purchase and a grant, wherever they were read.

    No query; one when its make is not known by its model.
    """
    if make_id is None:
        found = catalog.find_make(make)
        make_id = found.pk if found is not None else None
    calibration_id = read_calibration_id
    if installed_calibration_id and installed_at is not None and (read_at is None or installed_at > read_at):
        calibration_id = installed_calibration_id
    keys: set[str] = set()
    for part in parts:
        keys |= part_keys_of(**part)
    return VehicleFacts(
        make_id=make_id,
        model_id=model_id,
        year=year,
        market=market,
        hardware_number=ecu_code(hardware_number),
        calibration_id=ecu_code(calibration_id),
        stock_calibration_id=ecu_code(stock_calibration_id),
        image_size_bytes=image_size_bytes,
        fuel_octane=fuel_octane,
        fuel_scale=fuel_scale,
        part_keys=frozenset(keys),
        has_way_back=has_way_back,
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
    vehicle: VehicleFacts

    @property
    def reasons(self) -> list[dict[str, str]]:
        """Why, with the facts of this file and this vehicle."""
        return fitment_words.reasons(
            self.verdict, vehicle=self.vehicle, fitment=self.verdict.closest, requirements=self.version.requirements
        )

    def as_dict(self) -> dict[str, Any]:
        """The API's shape."""
        return {"verdict": self.verdict.verdict, "reasons": self.reasons}


def judge_version(version: TuneVersion, vehicle: VehicleFacts, *, calibration_ids_after: list[str]) -> list[JudgedFile]:
    """Every file of a version, the one that comes closest first. `calibration_ids_after` is its tune's. Reads nothing when
    files and fitments are prefetched."""
    needs = Needs.of(version, calibration_ids_after=calibration_ids_after)
    judged = [JudgedFile(version, file, judge(vehicle, file.fitments.all(), needs), vehicle) for file in version.files.all()]
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


def judge_file(file_id: UUID, vehicle: VehicleFacts) -> JudgedFile:
    """One file by itself, for the words of a refusal. Two queries."""
    file = TuneFile.objects.select_related("version__tune").prefetch_related(_fitments()).get(pk=file_id)
    needs = Needs.of(file.version, calibration_ids_after=file.version.tune.calibration_ids_after)
    return JudgedFile(file.version, file, judge(vehicle, file.fitments.all(), needs), vehicle)


def with_files() -> Prefetch:
    """A version's files with their fitments, in their order: two queries however many."""
    return Prefetch("files", queryset=TuneFile.objects.order_by("position").prefetch_related(_fitments()))


def _fitments() -> Prefetch:
    return Prefetch("fitments", queryset=Fitment.objects.order_by("position"))
