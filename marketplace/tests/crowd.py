"""A crowd of listed tunes with facts by chance, and what a list of them must show, told in plain Python."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection

from core import clock
from core.ids import new_id
from garage.enums import FuelScale
from garage.tests.factories import IMAGE_SIZE_BYTES, VehicleMakeFactory, VehicleModelFactory
from marketplace.enums import EmissionsClass, InspectionVerdict, TuneCategory, TuneStatus, VersionStatus
from marketplace.models import Fitment, Tune, TuneFile, TuneVersion
from marketplace.tests.factories import REQUIREMENTS
from tuners.tests.factories import TunerProfileFactory
from users.tests.factories import UserFactory

WORDS = ("amber", "cobalt", "willow", "granite")
MODELS = {"Yamaha": ("MT-09", "MT-07", "Tracer 9"), "Honda": ("CB650R", "Hornet"), "Ducati": ("Monster",)}
HARDWARE = ("HW-1", "HW-2", "HW-3")
CALIBRATIONS = ("CAL-1", "CAL-2", "CAL-3")


@dataclass(frozen=True)
class Fits:
    make: str
    model: str
    year_from: int
    year_to: int
    markets: tuple[str, ...]
    hardware_numbers: tuple[str, ...]
    calibration_ids: tuple[str, ...]


@dataclass
class Row:
    """One listed tune as the oracle knows it."""

    id: UUID
    title: str
    tuner: UUID
    kind: str
    category: str
    price_minor: int
    currency: str
    rating_sum: int
    rating_count: int
    popularity: int
    published_at: datetime
    emissions_class: str
    fuel: tuple[int, str] | None
    fits: list[Fits] = field(default_factory=list)
    verdict: str = ""  # about the vehicle that a test asks for

    def order_key(self, ordering: str) -> Any:
        return {
            "newest": self.published_at,
            "price": self.price_minor,
            "-price": self.price_minor,
            "rating": (self.rating_sum * 1000 + 5 * 3800) // (self.rating_count + 5),
            "popular": self.popularity,
        }[ordering]


def expected(rows: list[Row], params: dict[str, Any], ordering: str) -> list[UUID]:
    """The ids that a list with these parameters shows, in its order."""
    found = [row for row in rows if _meets(row, params)]
    return [row.id for row in sorted(found, key=lambda row: (row.order_key(ordering), row.id), reverse=ordering != "price")]


def _meets(row: Row, params: dict[str, Any]) -> bool:
    return all(_plain(row, name, value) for name, value in params.items()) and any(_fitting(fits, params) for fits in row.fits)


def _plain(row: Row, name: str, value: Any) -> bool:
    match name:
        case "kind" | "category" | "tuner" | "currency" | "emissions_class":
            return str(getattr(row, name)) == str(value)
        case "min_price_minor":
            return row.price_minor >= value
        case "max_price_minor":
            return row.price_minor <= value
        case "free":
            return (row.price_minor == 0) == (value == "true")
        case "min_rating":
            return row.rating_count > 0 and row.rating_sum * 1000 // row.rating_count >= round(value * 1000)
        case "fuel_octane":
            return row.fuel is None or (row.fuel[1] == params_scale(value) and row.fuel[0] <= value)
        case "q":
            return value in row.title.split()
        case "vehicle":
            return row.verdict != ""
        case "verdict":
            return row.verdict == value
    return True


def params_scale(octane: int) -> str:
    """The scale that the tests send with an octane number."""
    return "RON" if octane >= 94 else "AKI"


def _fitting(fits: Fits, params: dict[str, Any]) -> bool:
    """All conditions on a fitment hold for one and the same."""
    return (
        params.get("make", fits.make) == fits.make
        and params.get("model", fits.model) == fits.model
        and fits.year_from <= params.get("year", fits.year_from) <= fits.year_to
        and ("market" not in params or params["market"] in fits.markets)
        and ("hardware_number" not in params or params["hardware_number"] in fits.hardware_numbers)
        and ("calibration_id" not in params or params["calibration_id"] in fits.calibration_ids)
    )


def gather(count: int, *, seed: int) -> list[Row]:
    """That many listed tunes, in a handful of statements."""
    chance = random.Random(seed)
    reviewer, tuners = UserFactory(admin=True), TunerProfileFactory.create_batch(3)
    models = {
        (make, name): VehicleModelFactory(make=VehicleMakeFactory(name=make), name=name) for make, names in MODELS.items() for name in names
    }
    now = clock.now().replace(microsecond=0)
    rows: list[Row] = []
    tunes, versions, files, fitments = [], [], [], []
    for _ in range(count):
        at = now - timedelta(hours=chance.randrange(count // 2))  # some at the same time
        rating_count = chance.choice([0, 0, 1, 2, 12])
        row = Row(
            id=new_id(),
            title=" ".join(chance.sample(WORDS, 2)),
            tuner=chance.choice(tuners).pk,
            kind=chance.choice(["MOTORCYCLE", "MOTORCYCLE", "CAR"]),
            category=chance.choice(TuneCategory.values[:4]),
            price_minor=chance.choice([0, 0, 9900, 14900, 24900]),
            currency=chance.choice(["EUR", "EUR", "USD"]),
            rating_sum=sum(chance.randint(1, 5) for _ in range(rating_count)),
            rating_count=rating_count,
            popularity=chance.randrange(8),
            published_at=at,
            emissions_class=chance.choice([EmissionsClass.UNCHANGED, EmissionsClass.CLOSED_COURSE_ONLY]),
            fuel=chance.choice([None, (95, FuelScale.RON.value), (98, FuelScale.RON.value), (91, FuelScale.AKI.value)]),
        )
        needs = REQUIREMENTS | {"fuel": row.fuel and {"octane": row.fuel[0], "scale": row.fuel[1]}}
        made = {"created_at": at, "updated_at": at}
        named = ("id", "title", "kind", "category", "price_minor", "currency", "rating_sum", "rating_count", "popularity")
        tune = Tune(tuner_id=row.tuner, requirements=needs, **made, **{name: getattr(row, name) for name in named})
        version = TuneVersion(tune=tune, version="1.0.0", emissions_class=row.emissions_class, requirements=needs, **made)
        sha256 = hashlib.sha256(row.id.bytes).hexdigest()
        file = TuneFile(version=version, upload_id=new_id(), name="tune.bin", size_bytes=IMAGE_SIZE_BYTES, sha256=sha256, created_at=at)
        for position in range(chance.choice([1, 1, 2, 3])):
            make, name = chance.choices(list(models), weights=[6, 3, 1, 2, 2, 1])[0]
            year = chance.randint(2015, 2020)
            fits = Fits(
                make,
                name,
                year,
                year + chance.randrange(6),
                tuple(chance.sample(["EU", "UK", "US"], chance.randint(1, 2))),
                tuple(chance.sample(HARDWARE, chance.randint(1, 2))),
                tuple(chance.sample(CALIBRATIONS, chance.randint(0, 2))),
            )
            row.fits.append(fits)
            model = models[make, name]
            fitment = Fitment(
                file=file,
                version=version,
                tune=tune,
                position=position,
                make=model.make,
                model=model,
                make_name=make,
                model_name=name,
                year_from=fits.year_from,
                year_to=fits.year_to,
                markets=list(fits.markets),
                hardware_numbers=list(fits.hardware_numbers),
                calibration_ids=list(fits.calibration_ids),
                image_size_bytes=IMAGE_SIZE_BYTES,
            )
            fitments.append(fitment)
        rows.append(row)
        tunes.append(tune)
        versions.append(version)
        files.append(file)
    for model, made in ((Tune, tunes), (TuneVersion, versions), (TuneFile, files), (Fitment, fitments)):
        model.objects.bulk_create(made)
    for tune, version in zip(tunes, versions, strict=True):
        at = tune.created_at
        version.status, version.inspection_verdict, version.inspected_at = VersionStatus.PUBLISHED, InspectionVerdict.PASS, at
        version.submitted_at = version.decided_at = version.published_at = at
        version.reviewer, version.release_counter = reviewer, 1
        tune.status, tune.published_at, tune.release_counter = TuneStatus.PUBLISHED, at, 1
    decided = ["status", "inspection_verdict", "inspected_at", "submitted_at", "decided_at", "published_at", "reviewer", "release_counter"]
    with published_at_once(tunes):
        TuneVersion.objects.bulk_update(versions, decided)
        Tune.objects.bulk_update(tunes, ["status", "published_at", "release_counter"])
    return rows


@contextmanager
def published_at_once(tunes: list[Tune]) -> Iterator[None]:
    """What is published here is derived for all tunes in one call, as a bulk load does, instead of row by row by triggers."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET LOCAL session_replication_role = replica")
        yield
        cursor.execute("SET LOCAL session_replication_role = DEFAULT")
        cursor.execute("SELECT marketplace_refresh_tunes(%s::uuid[])", [[tune.pk for tune in tunes]])
