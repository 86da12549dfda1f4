"""Making keyed hashes anew after `HASH_KEY` was changed: of VINs, frame numbers and serials, and of the vehicles that licenses know."""

from collections.abc import Iterable, Iterator
from uuid import UUID

from django.db import models, transaction

from core.crypto import keyed_hash, keyed_hashes
from garage.enums import IdentityKind
from garage.models import EcuReadout, StockFile, Vehicle
from marketplace.models import License, Purchase

BATCH = 500


def rehash(*, batch: int = BATCH) -> Iterator[tuple[str, int, int]]:
    """Bring every hash under the present `HASH_KEY`; yields (table, rows looked at, rows changed) for each.

    For the command line, while nothing else writes: until it is done a vehicle is not recognised by its old hash. Locks the
    rows of a batch. Idempotent, so a stopped run is begun again.
    """
    yield "garage.Vehicle", *_each(Vehicle.objects.exclude(vin=None, frame_number=None), _rehash_vehicle, batch)
    yield "garage.EcuReadout", *_each(EcuReadout.objects.exclude(serial=None), _rehash_readout, batch)
    for model in (Purchase, License):
        named = model._default_manager.exclude(vehicle_identity_hashes=[])
        yield model._meta.label, *_each(named, _rehash_identity, batch)


def _each(rows: models.QuerySet, change, batch: int) -> tuple[int, int]:
    seen = changed = 0
    last: UUID | None = None
    while True:
        with transaction.atomic():
            following = rows if last is None else rows.filter(pk__gt=last)
            chunk = list(following.select_for_update(no_key=True, of=("self",)).order_by("pk")[:batch])
            changed += sum(bool(change(row)) for row in chunk)
        seen += len(chunk)
        if len(chunk) < batch:
            return seen, changed
        last = chunk[-1].pk


def _rehash_vehicle(vehicle: Vehicle) -> int:
    vin_hash = keyed_hash("vin", vehicle.vin) if vehicle.vin else None
    frame_number_hash = keyed_hash("frame_number", vehicle.frame_number) if vehicle.frame_number else None
    if (vin_hash, frame_number_hash) == (_bytes(vehicle.vin_hash), _bytes(vehicle.frame_number_hash)):
        return 0
    return Vehicle.objects.filter(pk=vehicle.pk).update(vin_hash=vin_hash, frame_number_hash=frame_number_hash)


def _rehash_readout(readout: EcuReadout) -> int:
    serial_hash = keyed_hash("ecu_serial", readout.serial) if readout.serial else None
    if serial_hash == _bytes(readout.serial_hash):
        return 0
    return EcuReadout.objects.filter(pk=readout.pk).update(serial_hash=serial_hash)


def _rehash_identity(row: Purchase | License) -> int:
    """What a license knows of its vehicle follows the vehicle's own values, as long as they are there; else it stays as it is."""
    renewed = {}
    for purpose, value in _values_of(row.vehicle_id):
        newest, *retired = (found.hex() for found in keyed_hashes(purpose, value))
        renewed.update(dict.fromkeys(retired, newest))
    hashes = [renewed.get(known, known) for known in row.vehicle_identity_hashes]
    if hashes == row.vehicle_identity_hashes:
        return 0
    return type(row)._default_manager.filter(pk=row.pk).update(vehicle_identity_hashes=hashes)


def _values_of(vehicle_id: UUID | None) -> Iterable[tuple[str, str]]:
    vehicle = Vehicle.objects.filter(pk=vehicle_id).first() if vehicle_id is not None else None
    if vehicle is None:
        return
    yield from ((purpose, value) for purpose, value in (("vin", vehicle.vin), ("frame_number", vehicle.frame_number)) if value)
    for readout in EcuReadout.objects.filter(vehicle=vehicle).exclude(serial=None):
        yield "ecu_serial", readout.serial or ""
    for sha256 in StockFile.objects.filter(vehicle=vehicle).values_list("image_sha256", flat=True):
        yield f"identity_{IdentityKind.STOCK_IMAGE}", sha256


def _bytes(value: bytes | memoryview | None) -> bytes | None:
    return None if value is None else bytes(value)
