"""VINs that others published, by hand, and VINs by the thousand, by rule.

`data/vins.csv` holds examples of Europe, Asia and the Americas from manuals, decoders' own tests and owners' pages, with what
their source says of each: maker, model year and model. A European VIN need not code its year, and vPIC knows none of them.
"""

import csv
import random
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.exceptions import InvalidInput
from garage import selectors
from garage import vin as vins

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DATA = Path(__file__).resolve().parent / "data" / "vins.csv"
EXAMPLES = list(csv.DictReader(DATA.open(encoding="utf-8", newline="")))
NORTH_AMERICA = "12345"


def ids(row: dict[str, str]) -> str:
    return row["vin"]


def test_the_list_is_long_and_says_where_each_row_is_from():
    regions = Counter("North America" if row["vin"][0] in "123457" else "Asia" if row["vin"][0] < "S" else "Europe" for row in EXAMPLES)

    assert len({row["vin"] for row in EXAMPLES}) == len(EXAMPLES) >= 60
    assert min(regions[region] for region in ("Europe", "Asia", "North America")) >= 10, regions
    assert all(row["source"] for row in EXAMPLES)
    assert len({row["make"] for row in EXAMPLES}) >= 35
    assert {"Ducati", "BMW", "Triumph", "MV Agusta", "Bajaj", "Kawasaki", "Harley-Davidson"} <= {row["make"] for row in EXAMPLES}


@pytest.mark.django_db
@pytest.mark.parametrize("row", EXAMPLES, ids=ids)
def test_an_example_tells_what_its_source_says(catalogue, row):
    found = selectors.decode_vin(row["vin"], at=NOW)

    assert (vins.check_digit(row["vin"]) == row["vin"][8]) == (row["check_digit"] == "right")
    if row["make"]:
        assert found.makes[0] == row["make"]
    if row["year"]:
        assert int(row["year"]) in found.decoded.years
    if row["model"]:
        assert row["model"] in [model.model for model in found.models]
    if row["market"]:
        assert found.decoded.markets[0] == row["market"]


@pytest.mark.parametrize("row", EXAMPLES, ids=ids)
def test_a_wrong_check_digit_is_a_fault_where_it_is_compulsory_and_a_warning_elsewhere(row):
    decoded = vins.decode(row["vin"], at=NOW)
    compulsory = row["vin"][0] in NORTH_AMERICA or row["vin"][0] == "L"

    assert decoded.valid == (row["check_digit"] == "right" or not compulsory)
    assert ("vin_check_digit_mismatch" in decoded.warnings) == (row["check_digit"] == "wrong" and not compulsory)


@pytest.mark.parametrize("row", [row for row in EXAMPLES if row["check_digit"] == "wrong"], ids=ids)
def test_no_model_and_no_north_american_market_without_the_check_digit(row):
    """vPIC's patterns are those of North America: they once made a Diavel of a European ST4S."""
    decoded = vins.decode(row["vin"], at=NOW)

    assert decoded.model_names == []
    if row["vin"][0] not in NORTH_AMERICA:
        assert not {"US", "CA"} & set(decoded.markets)


@pytest.mark.parametrize("vin", ["WBA71DC010CH14720", "JTHBYLFF305000302", "JTMW53FV60D023016"])
def test_a_check_digit_that_is_right_by_chance_makes_no_american(vin):
    assert vins.check_digit(vin) == vin[8]
    assert vins.decode(vin, at=NOW).markets == []  # none codes a model year, which is law there


@pytest.mark.parametrize(("vin", "latest"), [("WAUZZZ8V1H1123456", 2017), ("WV2ZZZAAZFD123456", 2015), ("VF3VBBHXHGZ041335", 2016)])
def test_the_seventh_character_tells_the_decade_of_americans_only(vin, latest):
    assert vins.decode(vin, at=NOW).years[0] == latest


@pytest.mark.parametrize(
    ("wmi", "eighth", "markets"),
    [
        ("1HD", "1", ["US"]), ("1HD", "3", ["US"]), ("1HD", "6", ["US"]), ("1HD", "A", ["CA"]), ("5HD", "B", ["CA"]),
        ("5HD", "E", ["JP"]), ("5HD", "H", ["AU"]), ("5HD", "C", []), ("5HD", "1", []), ("MEG", "N", ["IN"]), ("932", "J", ["BR"]),
    ],
)  # fmt: skip
def test_a_harley_says_for_which_market_it_was_calibrated(wmi, eighth, markets):
    unsigned = f"{wmi}1LK3{eighth}0GB332987"
    vin = unsigned[:8] + vins.check_digit(unsigned) + unsigned[9:]

    assert vins.decode(vin, at=NOW).markets == markets


# By the thousand

MAKERS = [  # maker's code, what it makes, whether it codes the year, and how its numbers look between code and serial
    ("JYA", "Yamaha", True), ("JH2", "Honda", True), ("JKA", "Kawasaki", True), ("JKB", "Kawasaki", True), ("JS1", "Suzuki", True),
    ("MH3", "Yamaha", True), ("MLH", "Honda", True), ("MD2", "Bajaj", True), ("ME3", "Royal Enfield", True), ("LCE", "CFMOTO", True),
    ("1HD", "Harley-Davidson", True), ("5HD", "Harley-Davidson", True), ("56K", "Indian", True), ("4XA", "Polaris", True),
    ("1HF", "Honda", True), ("WB1", "BMW", True), ("WB3", "BMW", True), ("ZDM", "Ducati", True), ("ZD4", "Aprilia", True),
    ("ZCG", "MV Agusta", True), ("ZGU", "Moto Guzzi", True), ("SMT", "Triumph", True), ("VBK", "KTM", True),
    ("WVW", "Volkswagen", True), ("WAU", "Audi", True), ("WBA", "BMW", False), ("WDD", "Mercedes-Benz", False), ("VF1", "Renault", False),
    ("VF3", "Peugeot", False), ("ZFA", "Fiat", False), ("TMB", "Škoda", True), ("VSS", "SEAT", True), ("YV1", "Volvo", True),
    ("SAJ", "Jaguar", True), ("1FA", "Ford", True), ("1G1", "Chevrolet", True), ("2HG", "Honda", True), ("3VW", "Volkswagen", True),
    ("JTD", "Toyota", True), ("JN1", "Nissan", True), ("JM1", "Mazda", True), ("JF1", "Subaru", True), ("KMH", "Hyundai", True),
    ("KNA", "Kia", True), ("7FA", "Honda", True), ("LVS", "Ford", True),
]  # fmt: skip
LETTERS, DIGITS = "ABCDEFGHJKLMNPRSTUVWXYZ", "0123456789"
YEARS = {code: year for year, code in enumerate("ABCDEFGHJKLMNPRSTVWXY123456789", 1980)}
EACH = 30


def generated(seed: int = 20261125):
    """(VIN, maker, year that its code stands for or None), by the rule of its region: 30 for each maker's code."""
    chance = random.Random(seed)
    for wmi, make, codes_year in MAKERS:
        for _ in range(EACH):
            vds = "".join(chance.choice(LETTERS + DIGITS) for _ in range(5))
            code = chance.choice(sorted(YEARS)) if codes_year else "0"
            serial = f"{chance.choice(LETTERS)}{chance.randint(0, 999_999):06}"
            unsigned = f"{wmi}{vds}0{code}{serial}"
            compulsory = wmi[0] in "12345L" or wmi[:2] == "7F"
            ninth = vins.check_digit(unsigned) if compulsory or chance.random() < 0.5 else chance.choice("0Z")
            yield f"{unsigned[:8]}{ninth}{unsigned[9:]}", make, YEARS[code] if codes_year else None


def test_generated_vins_of_every_region_are_understood():
    count, unknown = 0, Counter()
    for vin, make, year in generated():
        count += 1
        spelled = f" {vin[:3].lower()}-{vin[3:9]} {vin[9:]} "
        assert vins.parse(spelled) == vin, "seed 20261125"
        years = vins.year_candidates(vin, at=NOW)
        if year is None:
            assert years == []
        else:
            assert (year if year + 30 > NOW.year + 2 else year + 30) == years[0]
            assert all((other - year) % 30 == 0 and 1980 <= other <= NOW.year + 2 for other in years)
        names = [re.sub(r"\W", "", name).casefold() for name in vins.make_names(vin)]
        if not any(re.sub(r"\W", "", make).casefold() == name for name in names):
            unknown[vin[:3]] += 1
    assert count >= 1_000
    assert not unknown, "makers' codes whose maker is not found"


def test_one_wrong_character_never_passes_where_the_check_digit_is_compulsory():
    """Any other character in one place is noticed, except one of the same value (A and J and 1): that is all that the rule can do."""
    chance, tried = random.Random(7), 0
    for vin, _, _ in generated():
        if not vins.is_check_digit_compulsory(vin):
            continue
        place = chance.choice([place for place in range(3, 17) if place != 8])
        other = chance.choice([character for character in LETTERS + DIGITS if character not in "IOQ"])
        same_value = vins._VALUES[other] == vins._VALUES[vin[place]]
        wrong = f"{vin[:place]}{other}{vin[place + 1 :]}"
        tried += 1
        if same_value:
            assert vins.parse(wrong) == wrong
        else:
            with pytest.raises(InvalidInput):
                vins.parse(wrong)
    assert tried >= 200


def test_two_swapped_neighbours_are_noticed_nearly_always():
    missed = tried = 0
    for vin, _, _ in generated():
        if vins.is_check_digit_compulsory(vin) and vins._VALUES[vin[12]] != vins._VALUES[vin[13]]:
            tried += 1
            swapped = f"{vin[:12]}{vin[13]}{vin[12]}{vin[14:]}"
            missed += not vins._faults(swapped)
    assert (tried > 100, missed) == (True, 0)


def test_thousands_decode_without_a_failure():
    all_of_them = list(generated(seed=11))
    assert len(all_of_them) >= 1_000
    for vin, _, year in all_of_them:
        decoded = vins.decode(vin, at=NOW)
        assert decoded.valid
        assert set(decoded.years) == set(vins.year_candidates(vin, at=NOW))
        assert decoded.source in {"vpic", "wmi"}
        assert year is None or (year in decoded.years or year + 30 in decoded.years)
        if {"US", "CA"} & set(decoded.markets) and vin[0] not in "12345" and vin[:2] != "7F" and vin[:3] not in vins._HARLEYS:
            assert vins.check_digit(vin) == vin[8]
