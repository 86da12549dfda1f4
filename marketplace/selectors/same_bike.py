"""What riders of the same bike say of a tune: their reviews, and how their flashes went. Never of fewer than five together."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Case, CharField, Count, Q, QuerySet, Sum, Value, When
from django.db.models.functions import Coalesce

from garage import catalog
from garage.models import VehicleGeneration
from garage.selectors import get_vehicle
from marketplace.enums import SameBike, Withheld
from marketplace.models import MINIMUM_RIDERS, FlashGroup
from marketplace.selectors.fitment import ecu_code
from tuners.models import TunerReview
from tuners.selectors import list_reviews_of_tune
from users.models import User


@dataclass(frozen=True)
class Bike:
    """What is known of a bike that others are compared with; nothing of whose it is."""

    model_id: UUID | None = None
    generation: VehicleGeneration | None = None
    hardware_number: str = ""

    def years(self, first: str, last: str) -> Q:
        """That a row's years, from `first` to `last`, lie in this bike's generation."""
        assert self.generation is not None
        ends = Q() if self.generation.year_to is None else Q(**{f"{last}__lte": self.generation.year_to})
        return ends & Q(**{f"{first}__gte": self.generation.year_from})

    @property
    def known(self) -> list[SameBike]:
        """The levels at which this bike can be compared."""
        if self.model_id is None:
            return []
        return [
            SameBike.MODEL,
            *([SameBike.GENERATION] if self.generation else []),
            *([SameBike.HARDWARE_NUMBER] if self.hardware_number else []),
        ]


def get_own_bike(owner: User, vehicle_id: UUID) -> Bike:
    """One's own vehicle. Two queries. Raises: VehicleNotFound."""
    vehicle = get_vehicle(owner, vehicle_id)
    if vehicle.catalog_model_id is None:
        return Bike()
    return Bike(
        model_id=vehicle.catalog_model_id,
        generation=catalog.find_generation(vehicle.catalog_model_id, vehicle.year),
        hardware_number=ecu_code(vehicle.ecu.hardware_number if vehicle.ecu else None) or "",
    )


def find_bike(make: str, model: str, *, year: int | None = None, hardware_number: str = "") -> Bike:
    """A bike by its names, as a visitor types them. Two queries."""
    found = catalog.match_model(make, model)
    if found is None:
        return Bike()
    return Bike(
        model_id=found.pk,
        generation=catalog.find_generation(found.pk, year) if year else None,
        hardware_number=ecu_code(hardware_number) or "",
    )


def list_reviews_of_bike(tune_id: UUID, bike: Bike, *, level: str = SameBike.MODEL) -> QuerySet[TunerReview]:
    """A tune's reviews by riders of the same bike, each with how near theirs is as `same_bike`.

    Model and year stand on each review for all to see; the hardware number does not, so that reviews share it is told only
    of five and more. One query more where the bike's is known.
    """
    reviews = list_reviews_of_tune(tune_id).filter(vehicle_model_id=bike.model_id)
    conditions: dict[str, Q] = {}
    if SameBike.HARDWARE_NUMBER in bike.known:
        alike = Q(hardware_number=bike.hardware_number)
        if reviews.filter(alike)[:MINIMUM_RIDERS].count() == MINIMUM_RIDERS:
            conditions[SameBike.HARDWARE_NUMBER] = alike
    if SameBike.GENERATION in bike.known:
        conditions[SameBike.GENERATION] = bike.years("vehicle_year", "vehicle_year")
    if bike.model_id is None or (level != SameBike.MODEL and level not in conditions):
        return reviews.none().annotate(same_bike=Value("", output_field=CharField()))
    if level != SameBike.MODEL:
        reviews = reviews.filter(conditions[level])
    nearest = [When(condition, then=Value(name)) for name, condition in conditions.items()]
    return reviews.annotate(same_bike=Case(*nearest, default=Value(SameBike.MODEL.value), output_field=CharField()))


def find_figures(tune_id: UUID, bike: Bike) -> list[dict[str, Any]]:
    """Rating and flash success of a tune among bikes of the same model, generation and hardware number. Two queries, however
    much there is; none for a bike that the catalogue does not know."""
    if bike.model_id is None:
        return [_level(level, {}, {}, Withheld.UNKNOWN) for level in SameBike]
    reviews, flashes = {SameBike.MODEL: Q()}, {SameBike.MODEL: Q()}
    if bike.generation:
        reviews[SameBike.GENERATION] = bike.years("vehicle_year", "vehicle_year")
        flashes[SameBike.GENERATION] = bike.years("year_from", "year_to")
    if bike.hardware_number:
        reviews[SameBike.HARDWARE_NUMBER] = flashes[SameBike.HARDWARE_NUMBER] = Q(hardware_number=bike.hardware_number)
    rated = TunerReview.objects.counted().filter(tune_id=tune_id, vehicle_model_id=bike.model_id).aggregate(
        **{f"{level}_count": Count("pk", filter=condition) for level, condition in reviews.items()},
        **{f"{level}_sum": Coalesce(Sum("rating", filter=condition), 0) for level, condition in reviews.items()},
    )
    flashed = FlashGroup.objects.filter(tune_id=tune_id, vehicle_model_id=bike.model_id).aggregate(
        **{f"{level}_count": Coalesce(Sum("flash_count", filter=condition), 0) for level, condition in flashes.items()},
        **{f"{level}_sum": Coalesce(Sum("success_count", filter=condition), 0) for level, condition in flashes.items()},
    )
    return [_level(level, rated, flashed, None if level in bike.known else Withheld.UNKNOWN) for level in SameBike]


def _level(level: SameBike, rated: dict[str, int], flashed: dict[str, int], withheld: Withheld | None) -> dict[str, Any]:
    def told(numbers: dict[str, int], mean: str, places: int) -> dict[str, Any]:
        count = numbers.get(f"{level}_count", 0)
        why = withheld or (Withheld.TOO_FEW if count < MINIMUM_RIDERS else None)
        if why:
            return {"count": None, mean: None, "withheld": why}
        return {"count": count, mean: round(numbers[f"{level}_sum"] / count, places), "withheld": None}

    return {"level": level, "reviews": told(rated, "rating", 2), "flashes": told(flashed, "success_rate", 3)}
