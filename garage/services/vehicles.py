"""Vehicles of an owner."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Now

from core import audit, clock, storage, tasks
from core.crypto import keyed_hash
from core.exceptions import IdTaken, InvalidInput, StaleRevision
from core.ids import new_id
from core.renderers import dumps
from core.uploads.services import claim_upload
from garage import catalog, policies
from garage import vin as vins
from garage.enums import TransferState
from garage.exceptions import GarageFull, VehicleNotFound, VinInGarage
from garage.models import (
    EcuReadout,
    NoReadBackConsent,
    RescueLink,
    StockFile,
    Vehicle,
    VehicleMod,
    VehicleTransfer,
)
from garage.services.names import note_unlisted_name
from users.models import User

VIN_INPUTS = frozenset({"vin", "year", "make", "model", "kind"})  # a change of one of them is judged anew


@dataclass(frozen=True)
class Added:
    """A resource that a creating call found or made; `created` is false when the same call made it before."""

    resource: Any
    created: bool

    @property
    def pk(self) -> UUID:
        return self.resource.pk


def creation_fingerprint(kind: str, fields: dict[str, Any]) -> bytes:
    """What makes two creating requests the same. Keyed, because a body may hold a VIN."""
    return keyed_hash(f"creation_{kind}", hashlib.sha256(dumps(sorted(fields.items()))).hexdigest())


def lock_garages(*owner_ids: UUID) -> None:
    """Hold the garages of these owners until the transaction ends: their primary vehicle, VINs and number stay as read.

    Locks the users' rows in the order of their ids, so that two transfers across each other can't deadlock.
    """
    list(User.objects.select_for_update(no_key=True).filter(pk__in=owner_ids).order_by("pk").values_list("pk"))


def touch(vehicle_id: UUID, *, at: datetime) -> None:
    """Note that something shown of a vehicle changed, for phones that were offline."""
    Vehicle.objects.filter(pk=vehicle_id).update(updated_at=at, changed_at=Now())


def add_vehicle(*, owner: User, at: datetime, id: UUID | None = None, **fields: Any) -> Added:
    """Put a vehicle into its owner's garage. `fields` are those of the API, validated for shape.

    The first vehicle becomes the primary one. Locks the garage. Idempotent by a client-made `id`: the owner's own vehicle
    with the same body is answered again.
    Raises: InvalidInput (VIN, year, photo), VinInGarage, GarageFull, IdTaken.
    """
    fingerprint = creation_fingerprint("vehicle", fields)
    with transaction.atomic():
        lock_garages(owner.pk)
        if id is not None and (present := Vehicle.objects.filter(pk=id).first()):
            if present.owner_id == owner.pk and bytes(present.creation_fingerprint or b"") == fingerprint:
                return Added(present, created=False)
            raise IdTaken
        if Vehicle.objects.owned_by(owner).present().count() >= policies.MAX_VEHICLES:
            raise GarageFull
        vehicle = Vehicle(id=id or new_id(), owner_id=owner.pk, created_at=at, updated_at=at, creation_fingerprint=fingerprint)
        wants_primary = fields.pop("is_primary", None)
        _apply(vehicle, fields, at=at)
        _ensure_vin_is_free(vehicle)
        has_primary = Vehicle.objects.owned_by(owner).present().filter(is_primary=True).exists()
        vehicle.is_primary = wants_primary if wants_primary is not None else not has_primary
        if vehicle.is_primary and has_primary:
            _demote_others(vehicle, at=at)
        try:
            with transaction.atomic():
                vehicle.save(force_insert=True)
        except IntegrityError as error:
            if "garage_vehicle_pkey" in str(error):  # another owner took the id since it was looked for
                raise IdTaken from error
            raise
    return Added(vehicle, created=True)


def update_vehicle(*, owner: User, vehicle_id: UUID, changes: dict[str, Any], revision: int | None, at: datetime) -> Vehicle:
    """Change an owner's vehicle; fields that are not in `changes` stay. Making it primary takes that from the other one.

    Locks the garage. Idempotent but for the revision.
    Raises: VehicleNotFound, StaleRevision, InvalidInput (VIN, year, photo), VinInGarage.
    """
    with transaction.atomic():
        lock_garages(owner.pk)
        vehicle = get_locked_vehicle(owner, vehicle_id)
        ensure_revision(vehicle.revision, revision)
        changes = dict(changes)
        is_primary = changes.pop("is_primary", vehicle.is_primary)
        _apply(vehicle, changes, at=at)
        if "vin" in changes:
            _ensure_vin_is_free(vehicle)
        if is_primary and not vehicle.is_primary:
            _demote_others(vehicle, at=at)
        vehicle.is_primary = is_primary
        vehicle.revision += 1
        vehicle.updated_at = at
        vehicle.changed_at = Now()
        vehicle.save()
    return vehicle


def delete_vehicle(*, owner: User, vehicle_id: UUID, revision: int | None, at: datetime) -> None:
    """Take a vehicle out of its owner's garage; its row stays as a tombstone, an open offer of it is withdrawn.

    Locks the garage. Not idempotent: a second call finds nothing. Licenses stay with the buyer.
    Raises: VehicleNotFound, StaleRevision.
    """
    with transaction.atomic():
        lock_garages(owner.pk)
        vehicle = get_locked_vehicle(owner, vehicle_id)
        ensure_revision(vehicle.revision, revision)
        _bury(vehicle, at=at)
        audit.record(act="vehicle.deleted", actor_id=owner.pk, subject_id=vehicle.pk, at=at)


def get_locked_vehicle(owner: User, vehicle_id: UUID) -> Vehicle:
    """An owner's vehicle, its row locked until the transaction ends. Raises: VehicleNotFound."""
    vehicle = (
        Vehicle.objects.owned_by(owner).present().select_related("ecu").select_for_update(no_key=True, of=("self",)).filter(pk=vehicle_id)
    ).first()
    if vehicle is None:
        raise VehicleNotFound
    return vehicle


def ensure_revision(current: int, expected: int | None) -> None:
    """Raises: StaleRevision when the client edited another revision than the present one."""
    if expected is not None and expected != current:
        raise StaleRevision(current=current)


def erase_garage(owner_id: UUID, *, at: datetime | None = None) -> dict[str, int]:
    """Forget a person's vehicles: part of erasing their account. Returns how many of each went.

    Identifying fields, mods, read-outs' serials, stock images and consents go; the bare rows stay as tombstones, because
    licenses and transfers point to them. Idempotent. Locks the garage. Queues the deletion of the stored images.
    """
    at = at or clock.now()
    with transaction.atomic():
        lock_garages(owner_id)
        vehicles = list(Vehicle.objects.filter(owner_id=owner_id).select_for_update(no_key=True).order_by("pk"))
        for vehicle in vehicles:
            if vehicle.deleted_at is None:
                _bury(vehicle, at=at)
        rows = Vehicle.objects.filter(owner_id=owner_id)
        stock_files = StockFile.objects.filter(vehicle__in=rows)
        keys = list(stock_files.values_list("storage_key", flat=True))
        for vehicle in vehicles:
            _replace_photo(vehicle, None, at=at)
        gone = {"vehicles": len(vehicles), "stock_files": len(keys)}
        NoReadBackConsent.objects.filter(vehicle__in=rows).delete()
        RescueLink.objects.filter(vehicle__in=rows).delete()
        stock_files.delete()
        gone["mods"] = VehicleMod.objects.filter(vehicle__in=rows).delete()[0]
        EcuReadout.objects.filter(vehicle__in=rows).update(serial=None, serial_hash=None)
        rows.update(
            nickname="", photo_key="", vin=None, vin_hash=None, vin_warnings=[], frame_number=None, frame_number_hash=None,
            odometer_km=None, creation_fingerprint=None, updated_at=at, changed_at=Now(),
        )  # fmt: skip
        if keys:
            tasks.enqueue("garage.tasks.delete_stock_images", storage_keys=keys)
    return gone


def _bury(vehicle: Vehicle, *, at: datetime) -> None:
    vehicle.deleted_at = vehicle.updated_at = at
    vehicle.is_primary = False
    vehicle.revision += 1
    vehicle.changed_at = Now()
    _replace_photo(vehicle, None, at=at)
    vehicle.save(update_fields=["deleted_at", "updated_at", "is_primary", "revision", "changed_at", "photo_key"])
    VehicleTransfer.objects.filter(vehicle=vehicle, state=TransferState.OFFERED).update(
        state=TransferState.WITHDRAWN, ended_at=at, changed_at=Now()
    )
    end_rescue_links(vehicle_id=vehicle.pk, at=at)


def end_rescue_links(*, vehicle_id: UUID, at: datetime) -> None:
    """End every rescue link of a vehicle that is deleted or handed on. Within the caller's transaction."""
    RescueLink.objects.filter(vehicle_id=vehicle_id, revoked_at=None).update(revoked_at=at)


def _demote_others(vehicle: Vehicle, *, at: datetime) -> None:
    others = Vehicle.objects.filter(owner_id=vehicle.owner_id, is_primary=True, deleted_at=None).exclude(pk=vehicle.pk)
    others.update(is_primary=False, revision=F("revision") + 1, updated_at=at, changed_at=Now())


def _ensure_vin_is_free(vehicle: Vehicle) -> None:
    if vehicle.vin_hash is None:
        return
    same = Vehicle.objects.filter(owner_id=vehicle.owner_id, vin_hash=vehicle.vin_hash, deleted_at=None).exclude(pk=vehicle.pk).first()
    if same is not None:
        raise VinInGarage(vehicle_id=str(same.pk))


def _apply(vehicle: Vehicle, fields: dict[str, Any], *, at: datetime) -> None:
    """Write API fields onto a row: parse numbers, match the catalogue, collect warnings."""
    for name in ("kind", "nickname", "year", "market", "odometer_km", "make", "model"):
        if name in fields:
            setattr(vehicle, name, fields[name])
    if vehicle.year > at.year + 2:
        raise InvalidInput.at("/year", "in_future", "This model year is not sold yet.")
    if "fuel" in fields:
        fuel = fields["fuel"] or {}
        vehicle.fuel_octane, vehicle.fuel_scale = fuel.get("octane"), fuel.get("scale")
    if "vin" in fields:
        vehicle.vin = vins.parse(fields["vin"]) if fields["vin"] else None
        vehicle.vin_hash = keyed_hash("vin", vehicle.vin) if vehicle.vin else None
    if "frame_number" in fields:
        vehicle.frame_number = fields["frame_number"] or None
        vehicle.frame_number_hash = keyed_hash("frame_number", vehicle.frame_number) if vehicle.frame_number else None
    if "photo_upload_id" in fields:
        _replace_photo(vehicle, fields["photo_upload_id"], at=at)
    if fields.keys() & {"make", "model", "kind"}:
        _match_catalogue(vehicle, at=at)
    if fields.keys() & VIN_INPUTS:
        vehicle.vin_warnings = vin_warnings(vehicle, at=at)


def _replace_photo(vehicle: Vehicle, upload_id: UUID | None, *, at: datetime) -> None:
    """Take a picture over, or none. Queues the deletion of the one before."""
    if vehicle.photo_key:
        tasks.enqueue("core.uploads.tasks.delete_object", key=vehicle.photo_key, bucket=storage.PUBLIC)
    vehicle.photo_key = ""
    if upload_id is not None:
        upload = claim_upload(upload_id=upload_id, owner_id=vehicle.owner_id, purpose="VEHICLE_PHOTO", at=at, pointer="/photo_upload_id")
        vehicle.photo_key = upload.storage_key


def _match_catalogue(vehicle: Vehicle, *, at: datetime) -> None:
    """Point to the catalogue's row, and write its names where the owner's words were the same name.

    Words that the catalogue does not have are kept as a name, which staff may have merged into one of its rows.
    """
    match = catalog.find_match(vehicle.make, vehicle.model)
    if match is not None and match.model.kind == vehicle.kind:
        vehicle.catalog_model, vehicle.unlisted_name = match.model, None
        vehicle.make = match.model.make.name
        vehicle.model = match.model.name if match.exact else match.text[:80]
        return
    name = note_unlisted_name(kind=vehicle.kind, make=vehicle.make, model=vehicle.model, at=at)
    vehicle.unlisted_name, vehicle.catalog_model = name, name.merged_into
    if name.merged_into is not None:
        vehicle.make = name.merged_into.make.name


def vin_warnings(vehicle: Vehicle, *, at: datetime) -> list[str]:
    """Codes of what does not fit between a vehicle's VIN and the rest of it."""
    if not vehicle.vin:
        return []
    own = catalog.find_make(vehicle.make)
    maker = next(iter(catalog.find_makes(vins.make_names(vehicle.vin))), None)
    return vins.warnings(
        vehicle.vin,
        year=vehicle.year,
        make_folded=own.folded if own else None,
        vin_make_folded=maker.folded if maker else None,
        at=at,
    )
