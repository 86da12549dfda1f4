"""Reads of the garage. A vehicle that is missing, deleted or somebody else's is the same to all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, NamedTuple
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


# What the API shows of vehicles. Written by hand, because the garage is read at every start of the app: compiling the same
# query anew took three times its execution, and making model objects of its rows as long again.


class ModShape(NamedTuple):
    """A part as it is shown, under the names of its model."""

    id: UUID
    category: str
    brand: str
    part: str
    installed_on: date | None
    notes: str
    revision: int
    created_at: datetime
    updated_at: datetime


class EcuShape(NamedTuple):
    """A read-out as a vehicle shows it, under the names of its model."""

    hardware_number: str
    calibration_id: str
    serial: str | None
    image_size_bytes: int | None
    read_at: datetime


class VehicleShape(NamedTuple):
    """A vehicle with all that is shown of it, under the names of its model."""

    id: UUID
    kind: str
    nickname: str
    make: str
    model: str
    catalog_model_id: UUID | None
    year: int
    market: str
    vin: str | None
    vin_warnings: list[str]
    frame_number: str | None
    photo_key: str
    odometer_km: int | None
    is_primary: bool
    fuel_octane: int | None
    fuel_scale: str | None
    stock_calibration_id: str | None
    installed_tune_id: UUID | None
    installed_tune_version_id: UUID | None
    installed_version: str | None
    installed_calibration_id: str | None
    installed_at: datetime | None
    revision: int
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    changed_at: datetime
    # What other tables say of it
    has_stock_file: bool
    mods: list[ModShape]
    ecu: EcuShape | None

    @property
    def pk(self) -> UUID:
        return self.id

    @property
    def catalog_status(self) -> CatalogStatus:
        return CatalogStatus.MATCHED if self.catalog_model_id else CatalogStatus.UNLISTED


_OF_VEHICLE = VehicleShape._fields[: VehicleShape._fields.index("has_stock_file")]
_SHAPES = f"""
SELECT EXISTS (SELECT FROM garage_stockfile s WHERE s.vehicle_id = v.id),
       (SELECT json_agg(json_build_array({", ".join(f"m.{name}" for name in ModShape._fields)}) ORDER BY m.created_at, m.id)
          FROM garage_vehiclemod m WHERE m.vehicle_id = v.id),
       {", ".join(f"v.{name}" for name in _OF_VEHICLE)}, {", ".join(f"e.{name}" for name in EcuShape._fields)}
  FROM garage_vehicle v LEFT JOIN garage_ecureadout e ON e.id = v.ecu_id
 WHERE v.owner_id = %s AND {{condition}}
 ORDER BY {{order}} LIMIT %s
"""


def _shapes_of(owner, condition: str, values: Sequence[Any] = (), *, order: str = "v.id", limit: int = 1) -> list[VehicleShape]:
    with connection.cursor() as db:
        db.execute(_SHAPES.format(condition=condition, order=order), [owner.pk, *values, limit])
        return [_shape_of(*row) for row in db.fetchall()]


def _shape_of(has_stock_file: bool, mods: list[list] | None, *columns: Any) -> VehicleShape:
    facts, read = dict(zip(_OF_VEHICLE, columns, strict=False)), dict(zip(EcuShape._fields, columns[len(_OF_VEHICLE) :], strict=True))
    for row, name in ((facts, "vin"), (facts, "frame_number"), (read, "serial")):
        row[name] = None if row[name] is None else crypto.decrypt(row[name])
    return VehicleShape(
        **facts,
        has_stock_file=has_stock_file,
        mods=[_mod_of(*mod) for mod in mods or ()],
        ecu=None if read["read_at"] is None else EcuShape(**read),
    )


def _mod_of(mod_id: str, category: str, brand: str, part: str, installed_on: str | None, notes: str, revision: int, *at: str) -> ModShape:
    """A part as JSON has it: ids, days and moments as texts."""
    created_at, updated_at = map(datetime.fromisoformat, at)
    day = None if installed_on is None else date.fromisoformat(installed_on)
    return ModShape(UUID(mod_id), category, brand, part, day, notes, revision, created_at, updated_at)


def get_vehicle_shape(owner, vehicle_id: UUID, *, deleted_too: bool = False) -> VehicleShape:
    """An owner's vehicle with all that the API shows of it. One query. Raises: VehicleNotFound."""
    found = _shapes_of(owner, "v.id = %s" if deleted_too else "v.id = %s AND v.deleted_at IS NULL", [vehicle_id])
    if not found:
        raise VehicleNotFound
    return found[0]


def list_vehicles(owner, *, cursor: str | None, page_size: int, bound_to: str) -> tuple[list[VehicleShape], str | None]:
    """A page of an owner's vehicles, newest first, with all that the API shows of them, and the cursor of the next. One query.

    Raises: InvalidInput for a cursor that is not of this list.
    """
    condition, values = "v.deleted_at IS NULL", []
    if cursor is not None:
        condition += " AND (v.created_at, v.id) < (%s, %s)"
        values = decode_cursor(cursor, bound_to=bound_to)
    found = _shapes_of(owner, condition, values, order="v.created_at DESC, v.id DESC", limit=page_size + 1)
    page = found[:page_size]
    following = encode_cursor([page[-1].created_at, page[-1].id], bound_to=bound_to) if len(found) > page_size else None
    return page, following


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

    rows: list[VehicleShape | Departure]
    next_cursor: str | None


def list_changes(owner, *, since: datetime, cursor: str | None, page_size: int, bound_to: str) -> ChangePage:
    """Vehicles of an owner that changed at or after a moment, deleted and handed-on ones as tombstones. Two queries.

    Raises: InvalidInput for a cursor that is not of this list.
    """
    condition, values, after = "v.changed_at >= %s", [since.astimezone(UTC)], Q(changed_at__gte=since)
    if cursor:
        condition, values = "(v.changed_at, v.id) > (%s, %s)", decode_cursor(cursor, bound_to=bound_to)
        changed_at, row_id = values
        after = Q(changed_at__gte=changed_at) & (Q(changed_at__gt=changed_at) | Q(id__gt=row_id))
    vehicles = _shapes_of(owner, condition, values, order="v.changed_at, v.id", limit=page_size + 1)
    handed_on = VehicleTransfer.objects.filter(after, offered_by_id=owner.pk, state=TransferState.ACCEPTED)
    handed_on = handed_on.exclude(vehicle__owner_id=owner.pk).order_by("changed_at", "id")
    found: list[tuple[datetime, UUID, VehicleShape | Departure]] = [(row.changed_at, row.id, row) for row in vehicles]
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
