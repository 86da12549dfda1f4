"""Merging what riders typed into models of the catalogue."""

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Now

from core import audit
from core.exceptions import InvalidInput
from garage import catalog, policies
from garage.enums import UnlistedState
from garage.exceptions import VehicleNotFound
from garage.folding import fold
from garage.models import ModelAlias, UnlistedName, Vehicle, VehicleModel
from garage.services.vehicles import vin_warnings
from users.models import User

BATCH = 200


def merge_unlisted_name(
    *, actor: User, name_id: UUID, into: str, reason: str, at: datetime, adds_alias: bool = False
) -> int:
    """Say which model of the catalogue riders meant by a name. Returns how many vehicles moved.

    `into` is the model as the catalogue spells it ("Yamaha MT-09"), or its id. With `adds_alias` searches find it by the name
    as well. Called by staff. The name is settled first, in a transaction of its own that locks nothing but the name; then its
    vehicles follow, locked in small batches. A rider who is editing one of them holds its lock and wants the name's: in one
    transaction the two would wait for each other. Idempotent: another call moves what a broken one left behind; with another
    model it corrects.
    Raises: PermissionRefused, VehicleNotFound (no such name), InvalidInput (no such model, or one of another kind).
    """
    policies.ensure_is_staff(actor)
    model = _find_model(into)
    with transaction.atomic():
        name = UnlistedName.objects.select_for_update().filter(pk=name_id).first()
        if name is None:
            raise VehicleNotFound
        if model.kind != name.kind:
            raise InvalidInput.at("/into", "other_kind", f"{model} is a {model.get_kind_display().lower()}.")
        _settle(name, model, actor_id=actor.pk, reason=reason, at=at)
        if adds_alias:
            _add_alias(name, model)
    return _move_vehicles(name, model, at=at)


def merge_names_now_listed(*, at: datetime) -> int:
    """Merge what the catalogue has by now. Returns how many vehicles moved. Called after an import; idempotent.

    A query or three for each name that waits; locks as `merge_unlisted_name` does.
    """
    moved = 0
    for name_id, make, model in UnlistedName.objects.filter(state=UnlistedState.OPEN).order_by("pk").values_list("pk", "make", "model"):
        match = catalog.find_match(make, model)
        if match is None:
            continue
        with transaction.atomic():
            name = UnlistedName.objects.select_for_update().filter(pk=name_id, state=UnlistedState.OPEN, kind=match.model.kind).first()
            if name is None:
                continue
            _settle(name, match.model, actor_id=None, reason="The catalogue has it now.", at=at)
        moved += _move_vehicles(name, match.model, at=at)
    return moved


def tidy_unlisted_names(*, at: datetime) -> int:
    """Complete what a process that died left undone with names, and forget those that nobody waits for. Returns how many vehicles
    moved. Called by the schedule; idempotent. Locks as `merge_unlisted_name` and `forget_unborne_names` do.
    """
    moved = merge_names_now_listed(at=at)  # an import that was killed right after it: the next one finds nothing to do
    elsewhere = Q(catalog_model__isnull=True) | ~Q(catalog_model=F("unlisted_name__merged_into"))
    left_behind = Vehicle.objects.present().filter(elsewhere, unlisted_name__state=UnlistedState.MERGED)
    for name in UnlistedName.objects.filter(pk__in=left_behind.values("unlisted_name")).select_related("merged_into__make"):
        assert name.merged_into is not None  # the constraint says so
        moved += _move_vehicles(name, name.merged_into, at=at)
    forget_unborne_names()
    return moved


def forget_unborne_names() -> int:
    """Delete open names that no vehicle in a garage bears any more; returns how many. Idempotent.

    They are somebody's words, and nobody waits for their merge. Locks each name, then the vehicles that were deleted with it:
    who types it at this moment waits, and makes it anew, or was first, and it stays. Merged ones stay for who types them later.
    """
    forgotten = 0
    borne = Exists(Vehicle.objects.present().filter(unlisted_name=OuterRef("pk")))
    for name_id in UnlistedName.objects.filter(~borne, state=UnlistedState.OPEN).values_list("pk", flat=True):
        with transaction.atomic():
            name = UnlistedName.objects.select_for_update().filter(pk=name_id, state=UnlistedState.OPEN).first()
            if name is None or name.vehicles.present().exists():
                continue
            name.vehicles.update(unlisted_name=None)
            name.delete()
            forgotten += 1
    return forgotten


def _settle(name: UnlistedName, model: VehicleModel, *, actor_id: UUID | None, reason: str, at: datetime) -> None:
    if name.merged_into_id == model.pk:
        return
    audit.record(
        act="unlisted_name.merged", actor_id=actor_id, subject_id=name.pk, at=at, reason=reason,
        model_id=model.pk, before_id=name.merged_into_id,
    )  # fmt: skip
    UnlistedName.objects.filter(pk=name.pk).update(state=UnlistedState.MERGED, merged_into=model, merged_at=at)


def _find_model(text: str) -> VehicleModel:
    try:
        model = VehicleModel.objects.select_related("make").filter(pk=UUID(text), merged_into__isnull=True).first()
    except ValueError:
        match = catalog.find_match("", text)
        model = match.model if match is not None and match.exact else None
    if model is None:
        raise InvalidInput.at("/into", "unknown_model", f"The catalogue has no {text}.")
    return model


def _add_alias(name: UnlistedName, model: VehicleModel) -> None:
    """Searches find the model by the name: unless it, or another model of the maker, has that name already."""
    folded = fold(name.model)[:80]
    of_make = {"make_id": model.make_id, "folded": folded}
    if folded and not VehicleModel.objects.filter(**of_make).exists():
        ModelAlias.objects.get_or_create(**of_make, defaults={"model": model, "name": name.model, "by_staff": True})


def _move_vehicles(name: UnlistedName, model: VehicleModel, *, at: datetime) -> int:
    left_behind = Vehicle.objects.present().filter(unlisted_name=name).exclude(catalog_model=model)
    moved = 0
    while True:
        with transaction.atomic():
            vehicles = list(left_behind.select_for_update(no_key=True).order_by("pk")[:BATCH])
            if not vehicles:
                return moved
            Vehicle.objects.filter(pk__in=[vehicle.pk for vehicle in vehicles]).update(
                catalog_model=model, make=model.make.name, revision=F("revision") + 1, updated_at=at, changed_at=Now()
            )
            for vehicle in vehicles:
                if vehicle.vin:
                    vehicle.make = model.make.name
                    Vehicle.objects.filter(pk=vehicle.pk).update(vin_warnings=vin_warnings(vehicle, at=at))
            moved += len(vehicles)
