"""The fitment rule, case by case, from the facts of the trade."""

from dataclasses import replace
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest

from garage.tests.factories import (
    CALIBRATION_ID,
    NoReadBackConsentFactory,
    VehicleFactory,
    VehicleModFactory,
)
from marketplace.fitment import DETAILS, REASONS, Needs, VehicleFacts, Verdict, judge, part_key
from marketplace.selectors.fitment import get_vehicle_facts, judge_tune
from marketplace.tests.factories import FitmentFactory, TuneFactory, TuneFileFactory, TuneVersionFactory

YAMAHA, HONDA, MT09, MT07 = (UUID(int=number) for number in range(1, 5))
STOCK, DEALER, FOREIGN = "CAL-1", "CAL-1-UPDATE", "SOMEBODY-ELSE"
TUNED_1, TUNED_2 = "TUNED-1", "TUNED-2"

BIKE = VehicleFacts(
    make_id=YAMAHA,
    model_id=MT09,
    year=2021,
    market="EU",
    hardware_number="HW-1",
    calibration_id=STOCK,
    stock_calibration_id=STOCK,
    image_size_bytes=1_048_576,
    fuel_octane=95,
    fuel_scale="RON",
)
FILE = SimpleNamespace(
    make_id=YAMAHA,
    model_id=MT09,
    year_from=2021,
    year_to=2023,
    markets=["EU", "UK"],
    hardware_numbers=["HW-1", "HW-2"],
    calibration_ids=[STOCK],
    image_size_bytes=1_048_576,
)
TUNE = Needs(flash_methods=("OBD",), read_back="YES", calibration_ids_after=(TUNED_1, TUNED_2))


def file(**changes):
    return SimpleNamespace(**{**vars(FILE), **changes})


CASES = [
    # what is said, vehicle, file, needs, verdict and reasons
    ("the very vehicle", {}, {}, {}, []),
    ("the first year", {"year": 2021}, {}, {}, []),
    ("the last year", {"year": 2023}, {}, {}, []),
    ("the year before", {"year": 2020}, {}, {}, ["year_mismatch"]),
    ("the year after", {"year": 2024}, {}, {}, ["year_mismatch"]),
    ("an unknown year", {"year": None}, {}, {}, ["year_unknown"]),
    ("the second market", {"market": "UK"}, {}, {}, []),
    ("a US bike and an EU file", {"market": "US"}, {}, {}, ["market_mismatch"]),
    ("a Canadian bike and a US file", {"market": "CA"}, {"markets": ["US"]}, {}, ["market_mismatch"]),
    ("another market, which names none", {"market": "OTHER"}, {}, {}, ["market_unknown"]),
    ("another market, even when the file says so", {"market": "OTHER"}, {"markets": ["OTHER"]}, {}, ["market_unknown"]),
    ("a file that names no market", {}, {"markets": []}, {}, ["market_unknown"]),
    ("another model of the make", {"model_id": MT07}, {}, {}, ["model_mismatch"]),
    ("another make, which says it all", {"make_id": HONDA, "model_id": uuid4()}, {}, {}, ["make_mismatch"]),
    ("a model that is not in the catalogue", {"model_id": None}, {}, {}, ["model_unknown"]),
    ("an unlisted model of another make", {"make_id": HONDA, "model_id": None}, {}, {}, ["make_mismatch"]),
    ("a make that is not in the catalogue", {"make_id": None, "model_id": None}, {}, {}, ["make_unknown", "model_unknown"]),
    ("the second hardware number", {"hardware_number": "HW-2"}, {}, {}, []),
    ("another hardware number", {"hardware_number": "HW-3"}, {}, {}, ["hardware_number_mismatch"]),
    ("a 256 KB image for a 384 KB ECU", {"image_size_bytes": 393_216}, {"image_size_bytes": 262_144}, {}, ["image_size_mismatch"]),
    ("an ECU whose size was not read", {"image_size_bytes": None}, {}, {}, ["image_size_unknown"]),
    (
        "an ECU that was never read",
        {"hardware_number": None, "calibration_id": None, "stock_calibration_id": None, "image_size_bytes": None},
        {},
        {},
        ["hardware_number_unknown", "image_size_unknown", "calibration_id_unknown"],
    ),
    ("another calibration", {"calibration_id": "CAL-9", "stock_calibration_id": "CAL-9"}, {}, {}, ["calibration_id_mismatch"]),
    ("a file that names no calibration", {}, {"calibration_ids": []}, {}, ["calibration_id_unknown"]),
    ("after an earlier version of this tune", {"calibration_id": TUNED_1}, {}, {}, []),
    ("after the same version", {"calibration_id": TUNED_2}, {}, {}, []),
    (
        "after this tune, on a bike of another stock calibration",
        {"calibration_id": TUNED_1, "stock_calibration_id": "CAL-9"},
        {},
        {},
        ["calibration_id_mismatch"],
    ),
    (
        "after this tune, on a bike whose stock calibration nobody read",
        {"calibration_id": TUNED_1, "stock_calibration_id": None},
        {},
        {},
        ["calibration_id_unknown"],
    ),
    (
        "bought with this tune in it, so that it looked like stock",
        {"calibration_id": TUNED_1, "stock_calibration_id": TUNED_1},
        {},
        {},
        ["calibration_id_unknown"],
    ),
    ("after a dealer's update", {"calibration_id": DEALER}, {}, {}, ["reflash_stock_first"]),
    ("after somebody else's tune", {"calibration_id": FOREIGN}, {}, {}, ["reflash_stock_first"]),
    ("a dealer's update that the file serves too", {"calibration_id": DEALER}, {"calibration_ids": [STOCK, DEALER]}, {}, []),
    ("a dealer's update, stock unknown", {"calibration_id": DEALER, "stock_calibration_id": None}, {}, {}, ["calibration_id_mismatch"]),
    ("a tune that leaves the calibration id as it was", {}, {}, {"calibration_ids_after": (STOCK,)}, []),
    ("the fuel it needs", {}, {}, {"fuel_octane": 95, "fuel_scale": "RON"}, []),
    ("better fuel than it needs", {"fuel_octane": 98}, {}, {"fuel_octane": 95, "fuel_scale": "RON"}, []),
    ("worse fuel than it needs", {"fuel_octane": 91}, {}, {"fuel_octane": 95, "fuel_scale": "RON"}, ["fuel_mismatch"]),
    ("91 AKI is not 91 RON", {"fuel_octane": 91, "fuel_scale": "AKI"}, {}, {"fuel_octane": 91, "fuel_scale": "RON"}, ["fuel_unknown"]),
    ("fuel not stated", {"fuel_octane": None, "fuel_scale": None}, {}, {"fuel_octane": 95, "fuel_scale": "RON"}, ["fuel_unknown"]),
    ("no fuel needed, none stated", {"fuel_octane": None, "fuel_scale": None}, {}, {}, []),
    ("bench only", {}, {}, {"flash_methods": ("BENCH",)}, ["flash_method_unknown"]),
    ("bench or port", {}, {}, {"flash_methods": ("BENCH", "OBD")}, []),
    ("bench only, and a bench at hand", {"flash_methods": frozenset({"BENCH"})}, {}, {"flash_methods": ("BENCH",)}, []),
    ("boot mode only, just a bench", {"flash_methods": frozenset({"BENCH"})}, {}, {"flash_methods": ("BOOT",)}, ["flash_method_mismatch"]),
    ("a method that nobody stated", {}, {}, {"flash_methods": ()}, ["flash_method_unknown"]),
    ("an ECU that can't be read back", {}, {}, {"read_back": "NO"}, ["read_back_unknown"]),
    ("an ECU of which that is not known", {}, {}, {"read_back": "UNKNOWN"}, ["read_back_unknown"]),
    ("can't be read back, but a stock file is saved", {"has_way_back": True}, {}, {"read_back": "NO"}, []),
    ("a part it needs, fitted", {"part_keys": frozenset({"exhaust"})}, {}, {"required_part_keys": ("exhaust",)}, []),
    ("a part it needs, not listed", {}, {}, {"required_part_keys": ("exhaust",)}, ["parts_unknown"]),
    ("a part it must not meet", {"part_keys": frozenset({"airfilter"})}, {}, {"forbidden_part_keys": ("airfilter",)}, ["parts_mismatch"]),
    ("a forbidden part, not listed", {}, {}, {"forbidden_part_keys": ("airfilter",)}, []),
    (
        "the wrong bike altogether",
        {"model_id": MT07, "market": "US", "hardware_number": "HW-9"},
        {},
        {},
        ["model_mismatch", "hardware_number_mismatch", "market_mismatch"],
    ),
    ("a mismatch beside an unknown", {"market": "US", "year": None}, {}, {}, ["market_mismatch", "year_unknown"]),
]


@pytest.mark.parametrize(("vehicle", "fitment", "needs", "reasons"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_case_of_the_trade(vehicle, fitment, needs, reasons):
    verdict = judge(replace(BIKE, **vehicle), [file(**fitment)], replace(TUNE, **needs))

    assert verdict.codes == reasons
    expected = "match" if not reasons else "mismatch" if any(code.endswith("_mismatch") for code in reasons) else "unknown"
    assert verdict.verdict == expected


def test_the_closest_of_several_fitments_counts():
    us, eu = file(markets=["US"], hardware_numbers=["HW-US"]), file(markets=["EU"])

    assert judge(BIKE, [us, eu], TUNE).verdict == "match"
    assert judge(replace(BIKE, calibration_id="CAL-9", stock_calibration_id="CAL-9"), [us, eu], TUNE).codes == ["calibration_id_mismatch"]
    assert judge(BIKE, [us, file(calibration_ids=[])], TUNE).codes == ["calibration_id_unknown"]


def test_conditions_never_add_up_across_fitments():
    us = file(markets=["US"])
    other_ecu = file(hardware_numbers=["HW-9"])

    assert judge(BIKE, [us, other_ecu], TUNE).verdict == "mismatch"


def test_without_any_fitment_nothing_is_certain():
    assert judge(BIKE, [], TUNE).verdict == "unknown"


def test_every_reason_has_a_sentence_and_its_place():
    assert set(DETAILS) == set(REASONS)
    assert Verdict(0).as_dict() == {"verdict": "match", "reasons": []}
    everything = Verdict((1 << len(REASONS)) - 1)
    assert everything.codes == list(reversed(REASONS))
    assert everything.unknown_codes == sorted(code for code in REASONS if not code.endswith("_mismatch"))


def test_parts_are_compared_however_they_are_written():
    assert part_key("Air filter") == part_key("AIR_FILTER") == part_key("air-filter") == "airfilter"
    assert part_key("Глушитель") == "глушитель"


@pytest.mark.django_db
class TestFactsOfAVehicle:
    def test_one_query_tells_everything(self, django_assert_num_queries):
        vehicle = VehicleFactory(with_stock=True, fuel_octane=98, fuel_scale="RON", ecu_calibration_id="rsc-210-eu ")
        VehicleModFactory(vehicle=vehicle, category="EXHAUST", brand="Akrapovič", part="Racing Line")

        with django_assert_num_queries(1):
            facts = get_vehicle_facts(owner=vehicle.owner, vehicle_id=vehicle.pk)

        assert facts.model_id == vehicle.catalog_model_id
        assert (facts.make_id, facts.year, facts.market) == (vehicle.catalog_model.make_id, 2021, "EU")
        assert (facts.calibration_id, facts.fuel_octane, facts.has_way_back) == (CALIBRATION_ID, 98, True)
        assert facts.part_keys == {"exhaust", "racingline", "akrapovicracingline", "akrapovicexhaust"}

    def test_what_was_flashed_last_counts_until_the_ecu_is_read_again(self):
        from garage.tests.factories import MADE_AT

        vehicle = VehicleFactory(with_ecu=True)
        for days, expected in ((1, "RSC-210-T1"), (-1, CALIBRATION_ID)):
            type(vehicle).objects.filter(pk=vehicle.pk).update(
                installed_tune_id=uuid4(),
                installed_tune_version_id=uuid4(),
                installed_version="1.0.0",
                installed_calibration_id="RSC-210-T1",
                installed_at=MADE_AT.replace(day=MADE_AT.day + days) if days > 0 else MADE_AT.replace(month=5),
            )
            assert get_vehicle_facts(owner=vehicle.owner, vehicle_id=vehicle.pk).calibration_id == expected

    def test_a_consent_is_a_way_back_only_for_its_own_ecu(self):
        consent = NoReadBackConsentFactory()
        vehicle = consent.vehicle

        assert get_vehicle_facts(owner=vehicle.owner, vehicle_id=vehicle.pk).has_way_back
        vehicle.ecu.hardware_number = "OTHER"
        vehicle.ecu.save(update_fields=["hardware_number"])
        assert not get_vehicle_facts(owner=vehicle.owner, vehicle_id=vehicle.pk).has_way_back


@pytest.mark.django_db
class TestJudgeTune:
    def facts(self, **changes):
        vehicle = VehicleFactory(with_ecu=True)
        return replace(get_vehicle_facts(owner=vehicle.owner, vehicle_id=vehicle.pk), **changes)

    def judged(self, tune, facts):
        tune.refresh_from_db()
        return judge_tune(tune_id=tune.pk, calibration_ids_after=tune.calibration_ids_after, vehicle=facts)

    def test_the_newest_version_that_matches_wins_over_a_newer_one_that_does_not(self):
        tune = TuneFactory(published=True, version__version="1.0.0")
        TuneVersionFactory(tune=tune, published=True, version="2.0.0", fitment__markets=["US"])

        found = self.judged(tune, self.facts())

        assert (found.version.version, found.verdict.verdict) == ("1.0.0", "match")

    def test_of_several_files_the_one_for_the_stock_calibration(self):
        version = TuneVersionFactory(file__name="first.bin")
        second = TuneFileFactory(version=version, position=1, name="second.bin", calibration_id_after="RSC-300-T1")
        FitmentFactory(file=second, calibration_ids=["RSC-300-EU"])
        version.files.update(format="BIN", image_base=0, image_size_bytes=1, image_sha256="0" * 64)
        from marketplace.tests.factories.tunes import _move

        _move(version, "PUBLISHED")

        assert self.judged(version.tune, self.facts()).file.name == "first.bin"
        other = self.facts(calibration_id="RSC-300-EU", stock_calibration_id="RSC-300-EU")
        assert self.judged(version.tune, other).file.name == "second.bin"
        flashed = self.facts(calibration_id="RSC-300-T1", stock_calibration_id="RSC-300-EU")
        assert (self.judged(version.tune, flashed).file.name, self.judged(version.tune, flashed).verdict.verdict) == ("second.bin", "match")

    def test_nothing_on_sale_is_nothing_to_judge(self):
        tune = TuneFactory(published=True)
        tune.versions.update(status="WITHDRAWN", withdrawn_at=tune.created_at)

        assert self.judged(tune, self.facts()) is None
