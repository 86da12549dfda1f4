"""Reads of the garage. A vehicle that is missing, deleted or somebody else's is the same to all of them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Q, QuerySet

from core import crypto
from core.pagination import decode_cursor, encode_cursor
from garage import catalog, policies
from garage import vin as vins
from garage.enums import CatalogStatus, TransferState
from garage.exceptions import (
    RescueLinkNotFound,
    StockFileNotFound,
    TransferNotFound,
    VehicleModNotFound,
    VehicleNotFound,
)
from garage.models import (
    EcuReadout,
    NoReadBackConsent,
    RescueLink,
    StockFile,
    Vehicle,
    VehicleMod,
    VehicleTransfer,
)


def find_vehicle(owner, vehicle_id: UUID) -> Vehicle | None:
    """An owner's vehicle with its newest read-out, or None. One query."""
    return Vehicle.objects.owned_by(owner).present().select_related("ecu").filter(pk=vehicle_id).first()


def get_vehicle(owner, vehicle_id: UUID) -> Vehicle:
    """An owner's vehicle with its newest read-out. One query. Raises: VehicleNotFound."""
    vehicle = find_vehicle(owner, vehicle_id)
    if vehicle is None:
        raise VehicleNotFound
    return vehicle


def get_vehicle_shape(owner, vehicle_id: UUID, *, deleted_too: bool = False) -> Vehicle:
    """An owner's vehicle with all that the API shows of it. Two queries. Raises: VehicleNotFound."""
    vehicles = Vehicle.objects.owned_by(owner).with_shape()
    vehicle = (vehicles if deleted_too else vehicles.present()).filter(pk=vehicle_id).first()
    if vehicle is None:
        raise VehicleNotFound
    return vehicle


# The garage is read at every start of the app. Written by hand: compiling the same query anew took three times its execution.
_VEHICLE = (
    *("id", "kind", "nickname", "make", "model", "catalog_model_id", "year", "market", "vin", "vin_warnings", "frame_number", "photo_key"),
    *("odometer_km", "is_primary", "fuel_octane", "fuel_scale", "stock_calibration_id", "installed_tune_id", "installed_tune_version_id"),
    *("installed_version", "installed_calibration_id", "installed_at", "revision", "created_at", "updated_at"),
)
_ECU = ("id", "hardware_number", "calibration_id", "serial", "image_size_bytes", "read_at")
_GARAGE = f"""
SELECT EXISTS (SELECT FROM garage_stockfile s WHERE s.vehicle_id = v.id), {", ".join(f"v.{name}" for name in _VEHICLE)},
       {", ".join(f"e.{name}" for name in _ECU)}
  FROM garage_vehicle v LEFT JOIN garage_ecureadout e ON e.id = v.ecu_id
 WHERE v.owner_id = %s AND v.deleted_at IS NULL {{after}}
 ORDER BY v.created_at DESC, v.id DESC LIMIT %s
"""
_MOD = ("id", "vehicle_id", "category", "brand", "part", "installed_on", "notes", "revision", "created_at", "updated_at")
_MODS = f"SELECT {', '.join(_MOD)} FROM garage_vehiclemod WHERE vehicle_id = ANY(%s::uuid[]) ORDER BY created_at, id"


def list_vehicles(owner, *, cursor: str | None, page_size: int, bound_to: str) -> tuple[list[Vehicle], str | None]:
    """A page of an owner's vehicles, newest first, with all that the API shows of them, and the cursor of the next. Two queries.

    Raises: InvalidInput for a cursor that is not of this list.
    """
    values: list[Any] = [owner.pk]
    if cursor is not None:
        values += decode_cursor(cursor, bound_to=bound_to)
    with connection.cursor() as db:
        db.execute(_GARAGE.format(after="" if cursor is None else "AND (v.created_at, v.id) < (%s, %s)"), [*values, page_size + 1])
        rows = db.fetchall()
        vehicles = [_vehicle_of(*row) for row in rows[:page_size]]
        mods: dict[UUID, list[VehicleMod]] = {vehicle.pk: [] for vehicle in vehicles}
        db.execute(_MODS, [list(mods)])
        for row in db.fetchall():
            mod = VehicleMod(**dict(zip(_MOD, row, strict=True)))
            mods[mod.vehicle_id].append(mod)
    for vehicle in vehicles:
        vehicle._prefetched_objects_cache = {"mods": mods[vehicle.pk]}  # type: ignore[attr-defined]  # what prefetching would set
    following = encode_cursor([vehicles[-1].created_at, vehicles[-1].pk], bound_to=bound_to) if len(rows) > page_size else None
    return vehicles, following


def _vehicle_of(has_stock_file: bool, *columns: Any) -> Vehicle:
    facts, read = dict(zip(_VEHICLE, columns, strict=False)), dict(zip(_ECU, columns[len(_VEHICLE) :], strict=True))
    for row, name in ((facts, "vin"), (facts, "frame_number"), (read, "serial")):
        row[name] = None if row[name] is None else crypto.decrypt(bytes(row[name]))
    vehicle = Vehicle(**facts, ecu=EcuReadout(**read) if read["id"] is not None else None)
    vehicle.has_stock_file = has_stock_file  # type: ignore[attr-defined]  # as `with_shape()` annotates it
    return vehicle



def list_mods(vehicle: Vehicle) -> QuerySet[VehicleMod]:
    """The parts listed on a vehicle."""
    return VehicleMod.objects.filter(vehicle_id=vehicle.pk)


def get_mod(vehicle: Vehicle, mod_id: UUID) -> VehicleMod:
    """One of a vehicle's parts. Raises: VehicleModNotFound."""
    mod = VehicleMod.objects.filter(vehicle_id=vehicle.pk, pk=mod_id).first()
    if mod is None:
        raise VehicleModNotFound
    return mod


def list_readouts(vehicle: Vehicle) -> QuerySet[EcuReadout]:
    """Every read-out of a vehicle's ECU."""
    return EcuReadout.objects.filter(vehicle_id=vehicle.pk)


def get_consent(vehicle: Vehicle, consent_id: UUID) -> NoReadBackConsent:
    """A consent given for a vehicle. Raises: VehicleNotFound."""
    consent = NoReadBackConsent.objects.filter(vehicle_id=vehicle.pk, pk=consent_id).first()
    if consent is None:
        raise VehicleNotFound
    return consent


def get_transfer(vehicle: Vehicle, transfer_id: UUID) -> VehicleTransfer:
    """An offer of a vehicle. Raises: TransferNotFound."""
    transfer = VehicleTransfer.objects.filter(vehicle_id=vehicle.pk, pk=transfer_id).first()
    if transfer is None:
        raise TransferNotFound
    return transfer


def list_stock_files(vehicle: Vehicle) -> QuerySet[StockFile]:
    """The stock images kept for a vehicle."""
    return StockFile.objects.filter(vehicle_id=vehicle.pk)


def get_stock_file(vehicle: Vehicle, stock_file_id: UUID) -> StockFile:
    """One of a vehicle's stock images. Raises: StockFileNotFound."""
    stock_file = StockFile.objects.filter(vehicle_id=vehicle.pk, pk=stock_file_id).first()
    if stock_file is None:
        raise StockFileNotFound
    return stock_file


def find_rescue_image(vehicle: Vehicle) -> StockFile | None:
    """The stock image that a rescue brings: the newest for the ECU that is in the vehicle, else the newest; or None."""
    stock_files = list(list_stock_files(vehicle).order_by("-created_at", "-id"))
    return next((stock_file for stock_file in stock_files if policies.is_way_back(stock_file, vehicle)), next(iter(stock_files), None))


def list_rescue_links(vehicle: Vehicle, *, at: datetime) -> QuerySet[RescueLink]:
    """A vehicle's links that still open something."""
    return RescueLink.objects.of(vehicle).open(at=at)


def get_rescue_link(vehicle: Vehicle, link_id: UUID) -> RescueLink:
    """One of a vehicle's links, in any state. Raises: RescueLinkNotFound."""
    link = RescueLink.objects.of(vehicle).filter(pk=link_id).first()
    if link is None:
        raise RescueLinkNotFound
    return link


def has_stock_file(vehicle: Vehicle) -> bool:
    """Whether a stock image is kept for the ECU that is in the vehicle now."""
    stock_files = StockFile.objects.filter(vehicle_id=vehicle.pk)
    if vehicle.ecu is not None:
        stock_files = stock_files.filter(hardware_number=vehicle.ecu.hardware_number)
    return stock_files.exists()


def has_no_read_back_consent(vehicle: Vehicle) -> bool:
    """Whether the present owner accepted that no stock image of the present ECU can be made."""
    hardware_numbers = ["", vehicle.ecu.hardware_number] if vehicle.ecu is not None else [""]
    return NoReadBackConsent.objects.filter(
        vehicle_id=vehicle.pk, given_by_id=vehicle.owner_id, hardware_number__in=hardware_numbers
    ).exists()


@dataclass(frozen=True)
class Departure:
    """What the former owner's phone is told of a vehicle that was handed on: its tombstone."""

    id: UUID
    changed_at: datetime
    departed: dict[str, Any]


@dataclass(frozen=True)
class ChangePage:
    """One page of changes, oldest first, and the cursor of the next."""

    rows: list[Vehicle | Departure]
    next_cursor: str | None


def list_changes(owner, *, since: datetime, cursor: str | None, page_size: int, bound_to: str) -> ChangePage:
    """Vehicles of an owner that changed at or after a moment, deleted and handed-on ones as tombstones. Three queries.

    Raises: InvalidInput for a cursor that is not of this list.
    """
    since, after = since.astimezone(UTC), Q()
    if cursor:
        changed_at, row_id = decode_cursor(cursor, bound_to=bound_to)
        since, after = changed_at, Q(changed_at__gt=changed_at) | Q(id__gt=row_id)
    vehicles = Vehicle.objects.owned_by(owner).filter(after, changed_at__gte=since).with_shape().order_by("changed_at", "id")
    handed_on = VehicleTransfer.objects.filter(after, offered_by_id=owner.pk, state=TransferState.ACCEPTED, changed_at__gte=since)
    handed_on = handed_on.exclude(vehicle__owner_id=owner.pk).order_by("changed_at", "id")
    found = [(row.changed_at, row.pk, row) for row in vehicles[: page_size + 1]]
    found += [
        (row.changed_at, row.pk, Departure(id=row.vehicle_id, changed_at=row.changed_at, departed=row.departed or {}))
        for row in handed_on[: page_size + 1]
    ]
    found.sort(key=lambda entry: entry[:2])
    page = found[:page_size]
    next_cursor = encode_cursor(page[-1][:2], bound_to=bound_to) if len(found) > page_size else None
    return ChangePage(rows=[row for _, _, row in page], next_cursor=next_cursor)


@dataclass(frozen=True)
class ModelCandidate:
    """A model that a VIN may be of; UNLISTED when the catalogue does not have it."""

    make: str
    model: str
    catalog_status: str


@dataclass(frozen=True)
class VinReport:
    """A decoded VIN, its names in the catalogue's spelling where that knows them."""

    decoded: vins.Decoded
    makes: list[str]
    models: list[ModelCandidate]


def decode_vin(text: str, *, at: datetime) -> VinReport:
    """What a VIN tells, in the catalogue's words. A query, and one to three for each model. Never raises for a wrong VIN."""
    decoded = vins.decode(text, at=at)
    makes = [make.name for make in catalog.find_makes(decoded.make_names)]
    maker = makes[0] if makes else next(iter(decoded.make_names), "")
    models: dict[tuple[str, str], ModelCandidate] = {}
    for name in decoded.model_names:
        found = catalog.match_model(maker, name)
        if found is not None:
            candidate = ModelCandidate(found.make.name, found.name, CatalogStatus.MATCHED)
        else:
            candidate = ModelCandidate(maker, name, CatalogStatus.UNLISTED)
        models.setdefault((candidate.make, candidate.model), candidate)
    if any(candidate.catalog_status == CatalogStatus.MATCHED for candidate in models.values()):
        models = {key: candidate for key, candidate in models.items() if candidate.catalog_status == CatalogStatus.MATCHED}
    return VinReport(decoded=decoded, makes=makes or decoded.make_names[:1], models=list(models.values()))
