"""The fitment rule, case by case, from the facts of the trade."""

from dataclasses import replace
from uuid import uuid4

import pytest

from garage.tests.factories import (
    CALIBRATION_ID,
    NoReadBackConsentFactory,
    VehicleFactory,
    VehicleModFactory,
)
from marketplace.fitment import DETAILS, REASONS, Verdict, judge, part_key
from marketplace.fitment_words import reasons
from marketplace.selectors.fitment import get_vehicle_facts, judge_tune
from marketplace.tests.factories import FitmentFactory, TuneFactory, TuneFileFactory, TuneVersionFactory
from marketplace.tests.fitment_cases import BIKE, CASES, TUNE


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_of_the_trade(case):
    verdict = judge(case.facts, case.fitments, case.requirements)

    assert (verdict.codes, verdict.verdict) == (case.reasons, case.verdict)


def test_the_cases_are_many_and_reach_every_reason():
    assert len(CASES) == len({case.name for case in CASES}) >= 80
    assert {code for case in CASES for code in case.reasons} == set(REASONS) - {"read_back_mismatch"}


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


WORDS = [  # a case, a reason of it, and what a rider is told
    ("an EU bike and a US file", "market_mismatch", "This file is for vehicles of the US market; yours is of the EU market."),
    ("the year before", "year_mismatch", "This file is for vehicles of 2021–2023; yours is of 2020."),
    ("another model of the make", "model_mismatch", "This file is for the Yamaha MT-09, and your vehicle is another one."),
    (
        "another hardware number",
        "hardware_number_mismatch",
        "This file is for an ECU with the hardware number HW-1 or HW-2; yours is HW-3.",
    ),
    (
        "an ECU that was never read",
        "hardware_number_unknown",
        "This file is for an ECU with the hardware number HW-1 or HW-2. Read your ECU first.",
    ),
    ("an ECU that was never read", "calibration_id_unknown", "This file is for the CAL-1 calibration. Read your ECU first."),
    (
        "a 256 KiB image for a 384 KiB ECU, a documented brick",
        "image_size_mismatch",
        "This file has 256 KiB and your ECU's image 384 KiB: writing it would destroy the ECU.",
    ),
    (
        "a US bike with the EU file: three facts say no",
        "calibration_id_mismatch",
        "This file is for the EU or UK calibration (CAL-1); your ECU carries CAL-1-US.",
    ),
    (
        "after this tune, on a bike of another stock calibration",
        "calibration_id_mismatch",
        "This file is for the CAL-1 calibration; your ECU was made with CAL-9 and carries TUNED-1.",
    ),
    (
        "after a dealer's update",
        "reflash_stock_first",
        "Your ECU was made with CAL-1, which this file is for, but carries CAL-1-UPDATE now: a dealer's update or another tune. "
        "Flash your stock file first.",
    ),
    ("worse fuel than it needs", "fuel_mismatch", "This tune needs 95 RON; you use 91 RON."),
    (
        "91 AKI is about 95 RON, but nobody may guess",
        "fuel_unknown",
        "This tune needs 95 RON; you use 91 AKI, and nobody may convert one scale into the other. Say your octane as RON.",
    ),
    ("bench only", "flash_method_unknown", "This ECU can only be flashed on the bench: it takes equipment for that."),
    (
        "another market, even when the file says so",
        "market_unknown",
        "This file does not say for which market it is. Ask its tuner.",
    ),
]


def words_of(case) -> dict[str, str]:
    needs = case.requirements
    verdict = judge(case.facts, case.fitments, needs)
    requirements = {
        "fuel": {"octane": needs.fuel_octane, "scale": needs.fuel_scale} if needs.fuel_octane else None,
        "required_parts": list(needs.required_part_keys),
        "forbidden_parts": list(needs.forbidden_part_keys),
        "flash_methods": list(needs.flash_methods),
        "read_back": needs.read_back,
    }
    said = reasons(verdict, vehicle=case.facts, fitment=verdict.closest, requirements=requirements)
    assert [reason["code"] for reason in said] == verdict.codes
    return {reason["code"]: reason["detail"] for reason in said}


@pytest.mark.parametrize(("name", "code", "sentence"), WORDS, ids=[f"{code} of {name}" for name, code, _ in WORDS])
def test_a_rider_is_told_what_differs(name, code, sentence):
    (case,) = [case for case in CASES if case.name == name]

    assert words_of(case)[code] == sentence


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_sentence_is_whole(case):
    for sentence in words_of(case).values():
        assert sentence[0].isupper()
        assert sentence.endswith(".")
        assert not [hole for hole in ("None", "[", "  ", " .", " ;", " ,") if hole in sentence]


def test_a_long_list_is_cut():
    case = replace(CASES[0], vehicle={"hardware_number": "X"}, files=[{"hardware_numbers": [f"HW-{n}" for n in range(9)]}])

    assert words_of(case)["hardware_number_mismatch"].endswith("HW-0, HW-1, HW-2 and 6 more; yours is X.")


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
