"""The rule's two forms agree: the SQL of lists says what the Python of pairs says."""

import random
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from django.db import connection

from garage.tests.factories import VehicleMakeFactory, VehicleModelFactory
from marketplace.fitment import BIT, REASONS, Needs, VehicleFacts, mask_of, mask_sql, tune_mask_sql
from marketplace.models import Fitment, Tune, TuneVersion
from marketplace.tests.factories import FitmentFactory, TuneFileFactory, TuneVersionFactory

PAIRS = 3000


def maybe(chance: random.Random, value, share: float = 0.2):
    return None if chance.random() < share else value


def any_of(chance: random.Random, values: list) -> list:
    return chance.sample(values, chance.randint(0, len(values)))


CALIBRATIONS = ["A", "B", "C", "T1", "T2"]
PARTS = ["exhaust", "airfilter", "fuel", "глушитель"]


def random_vehicle(chance: random.Random, makes: list[UUID], models: list[UUID]) -> VehicleFacts:
    octane = maybe(chance, chance.choice([91, 95, 98]))
    return VehicleFacts(
        make_id=maybe(chance, chance.choice(makes)),
        model_id=maybe(chance, chance.choice(models)),
        year=maybe(chance, chance.randint(2018, 2024)),
        market=maybe(chance, chance.choice(["EU", "US", "OTHER"])),
        hardware_number=maybe(chance, chance.choice(["H1", "H2"])),
        calibration_id=maybe(chance, chance.choice(CALIBRATIONS)),
        stock_calibration_id=maybe(chance, chance.choice(CALIBRATIONS)),
        image_size_bytes=maybe(chance, chance.choice([1024, 2048])),
        fuel_octane=octane,
        fuel_scale=octane and chance.choice(["RON", "AKI"]),
        part_keys=frozenset(any_of(chance, PARTS)),
        has_way_back=chance.random() < 0.5,
        flash_methods=maybe(chance, frozenset(any_of(chance, ["OBD", "BENCH"]))),
    )


def random_requirements(chance: random.Random) -> dict:
    requirements: dict = {
        "fuel": maybe(chance, {"octane": chance.choice([91, 95, 98]), "scale": chance.choice(["RON", "AKI"])}, 0.4),
        "flash_methods": any_of(chance, ["OBD", "BENCH", "BOOT"]),
        "read_back": chance.choice(["YES", "NO", "UNKNOWN"]),
    }
    return {name: value for name, value in requirements.items() if chance.random() < 0.9}


@pytest.mark.django_db
def test_python_and_sql_agree_on_random_pairs():
    chance = random.Random(20261122)
    makes = [VehicleMakeFactory(name=name).pk for name in ("Yamaha", "Honda")]
    named = [("Yamaha", "MT-09"), ("Honda", "CB 650")]
    models = [VehicleModelFactory(make=VehicleMakeFactory(name=name), name=model).pk for name, model in named]
    seen = 0
    for _ in range(60):
        version = TuneVersionFactory(
            files=0,
            requirements=random_requirements(chance),
            required_part_keys=any_of(chance, PARTS)[:2],
            forbidden_part_keys=any_of(chance, PARTS)[:2],
        )
        Tune.objects.filter(pk=version.tune_id).update(calibration_ids_after=any_of(chance, CALIBRATIONS))
        version.tune.refresh_from_db()
        first = FitmentFactory(
            file=TuneFileFactory(version=version),
            make_id=chance.choice(makes),
            model_id=chance.choice(models),
            year_from=chance.randint(2018, 2021),
            year_to=chance.randint(2021, 2024),
            markets=any_of(chance, ["EU", "US"]),
            hardware_numbers=any_of(chance, ["H1", "H2"]),
            calibration_ids=any_of(chance, CALIBRATIONS),
            image_size_bytes=chance.choice([1024, 2048]),
        )
        fitment = Fitment.objects.get(pk=first.pk)
        needs = Needs.of(TuneVersion.objects.get(pk=version.pk), calibration_ids_after=version.tune.calibration_ids_after)
        for _ in range(PAIRS // 60):
            vehicle = random_vehicle(chance, makes, models)
            expression, parameters = mask_sql(vehicle)
            with connection.cursor() as cursor:
                cursor.execute(
                    f"SELECT {expression} FROM marketplace_fitment f JOIN marketplace_tuneversion v ON v.id = f.version_id"
                    " JOIN marketplace_tune t ON t.id = f.tune_id WHERE f.id = %s",
                    [*parameters, fitment.pk],
                )
                in_sql = cursor.fetchone()[0]
            in_python = mask_of(vehicle, fitment, needs)
            assert in_sql == in_python, (vehicle, fitment.__dict__, needs)
            seen |= in_python
    missed = {code for code in REASONS if not seen & BIT[code]}
    assert missed == {"read_back_mismatch"}, "the pairs must reach every reason that the rule can give"


@pytest.mark.django_db
def test_a_list_takes_the_closest_live_fitment():
    version = TuneVersionFactory(published=True, fitment__markets=["US"])
    tune = version.tune
    TuneVersionFactory(tune=tune, validated=True, fitment__markets=["EU"])  # not published, so it counts for nobody
    fitment = version.fitments.get()
    vehicle = VehicleFacts(
        make_id=fitment.make_id,
        model_id=fitment.model_id,
        year=2021,
        market="EU",
        hardware_number=fitment.hardware_numbers[0],
        calibration_id=fitment.calibration_ids[0],
        image_size_bytes=fitment.image_size_bytes,
    )

    def listed(vehicle):
        expression, parameters = tune_mask_sql(vehicle)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {expression} FROM marketplace_tune t WHERE t.id = %s", [*parameters, tune.pk])
            return cursor.fetchone()[0]

    assert listed(vehicle) == BIT["market_mismatch"]
    TuneVersionFactory(tune=tune, published=True, fitment__markets=["EU"])
    assert listed(vehicle) == 0
    assert listed(replace(vehicle, model_id=uuid4())) == BIT["model_mismatch"]
