"""Parts that were changed on a vehicle."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from core.exceptions import IdTaken, InvalidInput
from core.ids import new_id
from garage import policies
from garage.exceptions import TooManyMods, VehicleModNotFound
from garage.models import Vehicle, VehicleMod
from garage.services.vehicles import (
    Added,
    creation_fingerprint,
    ensure_revision,
    get_locked_vehicle,
    touch,
)
from users.models import User


def add_mod(*, owner: User, vehicle_id: UUID, at: datetime, id: UUID | None = None, **fields: Any) -> Added:
    """List a part on an owner's vehicle. Locks the vehicle. Idempotent by a client-made `id`, as vehicles are.

    Raises: VehicleNotFound, TooManyMods, IdTaken, InvalidInput (installed_on).
    """
    fingerprint = creation_fingerprint("mod", {**fields, "vehicle": vehicle_id})
    with transaction.atomic():
        vehicle = get_locked_vehicle(owner, vehicle_id)
        if id is not None and (present := VehicleMod.objects.filter(pk=id).first()):
            if present.vehicle_id == vehicle.pk and bytes(present.creation_fingerprint or b"") == fingerprint:
                return Added(present, created=False)
            raise IdTaken
        if vehicle.mods.count() >= policies.MAX_MODS:
            raise TooManyMods
        _ensure_not_in_future(fields, at=at)
        mod = VehicleMod(
            id=id or new_id(), vehicle=vehicle, creation_fingerprint=fingerprint, created_at=at, updated_at=at, **fields
        )
        try:
            with transaction.atomic():
                mod.save(force_insert=True)
        except IntegrityError as error:
            raise IdTaken from error  # another owner took the id since it was looked for
        touch(vehicle.pk, at=at)
    return Added(mod, created=True)


def update_mod(
    *, owner: User, vehicle_id: UUID, mod_id: UUID, changes: dict[str, Any], revision: int | None, at: datetime
) -> VehicleMod:
    """Change a part on an owner's vehicle. Locks the vehicle.

    Raises: VehicleNotFound, VehicleModNotFound, StaleRevision, InvalidInput (installed_on).
    """
    with transaction.atomic():
        vehicle = get_locked_vehicle(owner, vehicle_id)
        mod = _get_mod(vehicle, mod_id)
        ensure_revision(mod.revision, revision)
        _ensure_not_in_future(changes, at=at)
        for name, value in changes.items():
            setattr(mod, name, value)
        mod.revision += 1
        mod.updated_at = at
        mod.save()
        touch(vehicle.pk, at=at)
    return mod


def delete_mod(*, owner: User, vehicle_id: UUID, mod_id: UUID, revision: int | None, at: datetime) -> None:
    """Take a part off the list. Locks the vehicle. Not idempotent: a second call finds nothing.

    Raises: VehicleNotFound, VehicleModNotFound, StaleRevision.
    """
    with transaction.atomic():
        vehicle = get_locked_vehicle(owner, vehicle_id)
        mod = _get_mod(vehicle, mod_id)
        ensure_revision(mod.revision, revision)
        mod.delete()
        touch(vehicle.pk, at=at)


def _get_mod(vehicle: Vehicle, mod_id: UUID) -> VehicleMod:
    mod = vehicle.mods.filter(pk=mod_id).first()
    if mod is None:
        raise VehicleModNotFound
    return mod


def _ensure_not_in_future(fields: dict[str, Any], *, at: datetime) -> None:
    installed_on = fields.get("installed_on")
    if installed_on is not None and (installed_on - at.date()).days > 1:  # somewhere it is tomorrow already
        raise InvalidInput.at("/installed_on", "in_future", "This day has not come yet.")
