"""Which flashes are told of together, so that nobody is told of alone. Nothing here is seen by a rider but the sums."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from garage.models import VehicleModel
from marketplace.enums import FlashOutcome, ReleaseChannel
from marketplace.models import MINIMUM_RIDERS, FlashGroup, GroupedFlash, Tune
from marketplace.policies.trust import STATISTICAL
from tuners.models import TunerReview

OWN_ECU_WAITS = timedelta(days=30)  # for others with the same hardware number; then a flash is told of with its generation
GENERATION_WAITS = timedelta(days=60)  # then with its model
FORGOTTEN_AFTER = timedelta(days=400)  # what never found four other riders is not told of

# What no group tells of yet, of bikes that the catalogue knows. The read-out is the one that the ticket was issued on.
_PENDING = """
  FROM marketplace_flash flash
  JOIN marketplace_flashticket ticket ON ticket.id = flash.ticket_id AND ticket.channel = %(channel)s
  JOIN marketplace_tuneversion version ON version.id = flash.version_id
  JOIN garage_vehicle bike ON bike.id = flash.vehicle_id AND bike.catalog_model_id IS NOT NULL
  LEFT JOIN garage_vehiclegeneration generation
       ON generation.model_id = bike.catalog_model_id AND int4range(generation.year_from, generation.year_to, '[]') @> bike.year::int
  LEFT JOIN garage_ecureadout readout ON readout.id = ticket.readout_id
 WHERE flash.received_at > %(since)s AND flash.outcome = ANY(%(outcomes)s)
   AND NOT EXISTS (SELECT FROM marketplace_groupedflash grouped WHERE grouped.flash_id = flash.id)
"""
_TUNES = f"SELECT version.tune_id {_PENDING} GROUP BY 1 HAVING count(DISTINCT flash.reporter_id) >= {MINIMUM_RIDERS} ORDER BY 1"
_OF_TUNE = f"""
SELECT flash.id, flash.reporter_id, flash.outcome, flash.received_at, bike.catalog_model_id, bike.year, generation.year_from,
       upper(btrim(readout.hardware_number))
{_PENDING} AND version.tune_id = %(tune)s ORDER BY flash.received_at, flash.id
"""


@dataclass(frozen=True)
class Pending:
    """A flash that waits for others, with its bike."""

    flash_id: UUID
    rider_id: UUID
    outcome: str
    received_at: datetime
    model_id: UUID
    year: int
    generation: int | None
    hardware_number: str | None

    def own_ecu(self) -> tuple | None:
        return (self.model_id, self.generation, self.hardware_number) if self.hardware_number else None

    def own_generation(self) -> tuple | None:
        return (self.model_id, self.generation) if self.generation else None

    def own_model(self) -> tuple | None:
        return (self.model_id,)


# The narrowest first: who shares a bike is told of with those who share most.
STEPS: tuple[tuple[timedelta, Callable[[Pending], tuple | None]], ...] = (
    (timedelta(0), Pending.own_ecu),
    (OWN_ECU_WAITS, Pending.own_generation),
    (GENERATION_WAITS, Pending.own_model),
)


def group_flashes(*, at: datetime) -> int:
    """Put flashes that wait into groups of at least five riders; returns how many groups were made.

    Called by the schedule once a day. One transaction for each tune, whose row is locked: of two runs at once the second finds
    nothing left. Idempotent.
    """
    wanted = {"channel": ReleaseChannel.PUBLIC, "since": at - FORGOTTEN_AFTER, "outcomes": sorted(STATISTICAL)}
    return sum(_group_flashes_of(row[0], wanted, at=at) for row in _select(_TUNES, wanted))


def move_to_model(*, model: VehicleModel, into: VehicleModel) -> None:
    """A model of the catalogue is another one from now on: its groups, whole as they are, and its reviews are the other's.

    Registered with `garage.listeners.on_model_merged`, inside the import's transaction. Idempotent.
    """
    FlashGroup.objects.filter(vehicle_model=model).update(vehicle_model=into)
    TunerReview.objects.filter(vehicle_model_id=model.pk).update(vehicle_model_id=into.pk)


def _select(sql: str, parameters: dict[str, Any]) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()


def _group_flashes_of(tune_id: UUID, wanted: dict[str, Any], *, at: datetime) -> int:
    with transaction.atomic():
        Tune.objects.select_for_update(no_key=True).get(pk=tune_id)
        waiting = [Pending(*row) for row in _select(_OF_TUNE, {**wanted, "tune": tune_id})]
        groups = list(_groups_of(waiting, at=at))
        for flashes in groups:
            _store(tune_id, flashes, at=at)
    return len(groups)


def _groups_of(flashes: list[Pending], *, at: datetime) -> Iterable[list[Pending]]:
    for waits, key_of in STEPS:
        alike: dict[Any, list[Pending]] = defaultdict(list)
        for flash in flashes:
            key = key_of(flash)
            if key is not None and at - flash.received_at >= waits:
                alike[key].append(flash)
        for group in alike.values():
            if len({flash.rider_id for flash in group}) >= MINIMUM_RIDERS:
                yield group
                taken = {flash.flash_id for flash in group}
                flashes = [flash for flash in flashes if flash.flash_id not in taken]


def _store(tune_id: UUID, flashes: list[Pending], *, at: datetime) -> None:
    numbers = {flash.hardware_number or "" for flash in flashes}
    group = FlashGroup.objects.create(
        tune_id=tune_id,
        vehicle_model_id=flashes[0].model_id,
        year_from=min(flash.year for flash in flashes),
        year_to=max(flash.year for flash in flashes),
        hardware_number=numbers.pop() if len(numbers) == 1 else "",
        rider_count=len({flash.rider_id for flash in flashes}),
        flash_count=len(flashes),
        success_count=sum(flash.outcome == FlashOutcome.SUCCEEDED for flash in flashes),
        created_at=at,
    )
    GroupedFlash.objects.bulk_create([GroupedFlash(flash_id=flash.flash_id, group=group) for flash in flashes])
