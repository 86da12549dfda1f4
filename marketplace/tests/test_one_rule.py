"""One rule decides whether a file fits: in lists, on a tune's page, at the till, at the download and at the ticket.

A table of vehicles is driven through all five over HTTP and must get the same verdict and reasons from each; and no other
module compares what a fitment names with what a vehicle is.
"""

import ast
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

from core.testing.http import client_for
from garage.tests.factories import CALIBRATION_ID, MADE_AT, NoReadBackConsentFactory, VehicleFactory, VehicleModFactory
from marketplace.fitment import DETAILS, REASONS
from marketplace.policies.trust import NOT_READ_OUT
from marketplace.tests.factories import CALIBRATION_ID_AFTER, REQUIREMENTS, released_tune, ride_for
from marketplace.tests.purchasing import buy
from users.tests.factories import UserFactory

DEMANDING = {  # what the second tune of the table needs
    **REQUIREMENTS,
    "fuel": {"octane": 95, "scale": "RON"},
    "required_parts": ["Air filter"],
    "forbidden_parts": ["Race exhaust"],
    "flash_methods": ["BENCH"],
    "read_back": "NO",
}
UNLISTED = {"catalog_model": None, "model": "MT-09 Special Build"}


@dataclass(frozen=True)
class Row:
    name: str
    codes: list[str]
    vehicle: dict[str, Any] = field(default_factory=dict)
    mods: tuple[dict[str, str], ...] = ()
    demanding: bool = False
    gives_up_way_back: bool = False


TABLE = [
    Row("the very bike", []),
    Row("the year before", ["year_mismatch"], {"year": 2020}),
    Row("the last year", [], {"year": 2023}),
    Row("another market", ["market_mismatch"], {"market": "US"}),
    Row("a market that names none", ["market_unknown"], {"market": "OTHER"}),
    Row("another model", ["model_mismatch"], {"model": "MT-07"}),
    Row("another make", ["make_mismatch"], {"make": "Honda", "model": "CB650R"}),
    Row("an unlisted model of the make", ["model_unknown"], UNLISTED),
    Row("an unlisted make", ["make_unknown", "model_unknown"], {**UNLISTED, "make": "Nomake"}),
    Row(
        "an ECU that was never read",
        ["hardware_number_unknown", "image_size_unknown", "calibration_id_unknown"],
        {"with_stock": False},
    ),
    Row("another ECU", ["hardware_number_mismatch"], {"ecu_hardware_number": "RSH-4712-A"}),
    Row("a longer hardware number", ["hardware_number_mismatch"], {"ecu_hardware_number": "RSH-4711-AB"}),
    Row("the hardware number as some phone spells it", [], {"ecu_hardware_number": " rsh-4711-a"}),
    Row("an ECU whose size was not read", ["image_size_unknown"], {"ecu_image_size_bytes": None}),
    Row("an ECU of another size", ["image_size_mismatch"], {"ecu_image_size_bytes": 393_216}),
    Row("another calibration", ["calibration_id_mismatch"], {"ecu_calibration_id": "RSC-210-US"}),
    Row("a dealer's update", ["reflash_stock_first"], {"ecu_calibration_id": "RSC-211-EU", "stock_calibration_id": CALIBRATION_ID}),
    Row("this very tune in it", [], {"ecu_calibration_id": CALIBRATION_ID_AFTER, "stock_calibration_id": CALIBRATION_ID}),
    Row("this very tune in it, stock unknown", ["calibration_id_unknown"], {"ecu_calibration_id": CALIBRATION_ID_AFTER}),
    Row("several mismatches", ["market_mismatch", "year_mismatch"][::-1], {"market": "JP", "year": 2019}),
    Row(
        "what the demanding tune can't know",
        ["flash_method_unknown", "read_back_unknown", "fuel_unknown", "parts_unknown"],
        {"with_stock": False, "with_ecu": True},
        demanding=True,
    ),
    Row("a stock file is a way back", ["flash_method_unknown", "fuel_unknown", "parts_unknown"], demanding=True),
    Row(
        "a stock file of another ECU is none",
        ["flash_method_unknown", "read_back_unknown", "fuel_unknown", "parts_unknown"],
        {"stockfile_hardware_number": "RSH-0000"},
        demanding=True,
    ),
    Row(
        "who gives up the way back knows it",
        ["flash_method_unknown", "fuel_unknown", "parts_unknown"],
        {"with_stock": False, "with_ecu": True},
        demanding=True,
        gives_up_way_back=True,
    ),
    Row(
        "the part and the fuel it needs",
        ["flash_method_unknown"],
        {"fuel_octane": 98, "fuel_scale": "RON"},
        ({"category": "AIR_FILTER", "brand": "", "part": ""},),
        demanding=True,
    ),
    Row(
        "too little octane and a part that must not be there",
        ["fuel_mismatch", "parts_mismatch", "flash_method_unknown", "parts_unknown"],
        {"fuel_octane": 91, "fuel_scale": "RON"},
        ({"category": "EXHAUST", "brand": "", "part": "race-exhaust"},),
        demanding=True,
    ),
]  # fmt: skip


@dataclass
class World:
    tunes: dict[bool, Any]
    rides: dict[bool, Any]


@pytest.fixture(scope="module")
def world(django_db_setup, django_db_blocker):
    """Two tunes on sale and somebody who owns each, for the tests of this module; rolled back after them."""
    with django_db_blocker.unblock(), transaction.atomic():
        tunes = {False: released_tune(price_minor=0), True: released_tune(price_minor=0, requirements=DEMANDING)}
        version = tunes[True].versions.get()
        type(version).objects.filter(pk=version.pk).update(required_part_keys=["airfilter"], forbidden_part_keys=["raceexhaust"])
        yield World(tunes, {demanding: ride_for(tune) for demanding, tune in tunes.items()})
        transaction.set_rollback(True)


def garage_of(owner, row: Row):
    vehicle = VehicleFactory(**{"owner": owner, "with_stock": True, **row.vehicle})
    for mod in row.mods:
        VehicleModFactory(vehicle=vehicle, **mod)
    if row.gives_up_way_back:
        NoReadBackConsentFactory(vehicle=vehicle, accepted_at=MADE_AT)
    return vehicle


def codes(answer: dict[str, Any]) -> list[str]:
    return [reason["code"] for reason in answer["reasons"]]


@pytest.mark.django_db
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_all_five_say_the_same(world, row):
    tune, ride = world.tunes[row.demanding], world.rides[row.demanding]
    verdict = "match" if not row.codes else "mismatch" if any(code.endswith("_mismatch") for code in row.codes) else "unknown"
    rider = UserFactory()
    client, bike = client_for(rider), garage_of(rider, row)

    # 1 lists
    def listed(**query):
        text = "&".join(f"{name}={value}" for name, value in {"vehicle": bike.pk, **query}.items())
        answer = client.get(f"marketplace/tunes/?{text}")
        assert answer.status_code == 200, answer.json()
        return {found["id"]: found["fitment"] for found in answer.json()["results"]}

    asked = listed(verdict=verdict)[str(tune.pk)]
    assert (asked["verdict"], codes(asked)) == (verdict, row.codes)
    assert (str(tune.pk) in listed()) == (verdict != "mismatch")
    for other in {"match", "unknown", "mismatch"} - {verdict}:
        assert str(tune.pk) not in listed(verdict=other)

    # 2 the tune's page
    judged = client.get(f"marketplace/tunes/{tune.pk}/fitment/?vehicle={bike.pk}").json()
    assert (judged["verdict"], codes(judged)) == (verdict, row.codes)

    # 3 the till
    bought = buy(client, tune, bike)
    if verdict == "match":
        assert bought.status_code == 201, bought.json()
    else:
        assert bought.status_code == 409
        refusal = bought.json()
        assert refusal["code"] == ("fitment_mismatch" if verdict == "mismatch" else "acknowledgement_required")
        said = refusal["reasons"] if verdict == "mismatch" else refusal["fitment"]["reasons"]
        assert said == judged["reasons"]
        if verdict == "unknown":
            assert refusal["required_reasons"] == sorted(row.codes)

    # 4 the download and 5 its ticket, for the same kind of vehicle in the garage of somebody who owns the tune
    owner, own = client_for(ride.buyer), garage_of(ride.buyer, row)
    granted = owner.post(f"marketplace/purchases/{ride.purchase.pk}/downloads/", {"vehicle": str(own.pk)})
    if verdict == "mismatch":
        assert (granted.status_code, granted.json()["code"]) == (409, "fitment_mismatch")
        assert granted.json()["reasons"] == judged["reasons"]
        return
    assert granted.status_code == 201, granted.json()
    grant = granted.json()
    assert grant["file"]["id"] == judged["file"]
    blockers = set(grant["ticket_blockers"])
    assert ("ecu_readout_required" in blockers) == bool(NOT_READ_OUT & set(row.codes))
    assert ("reflash_stock_first" in blockers) == ("reflash_stock_first" in row.codes)
    if "read_back_unknown" in row.codes:
        assert "stock_backup_required" in blockers
    if verdict == "match":
        assert (grant["ticket"] is not None, blockers) == (True, set())


def test_the_table_has_every_reason_that_a_vehicle_can_have():
    given = {code for row in TABLE for code in row.codes}

    # a vehicle always has a year, and nobody says which equipment they have
    assert set(REASONS) - given == {"year_unknown", "flash_method_mismatch", "read_back_mismatch"}
    assert {len(DETAILS[code]) > 0 for code in given} == {True}


ROOT = Path(__file__).resolve().parents[2]
RULE = {"marketplace/fitment.py"}
FACTS = {
    *("hardware_numbers", "calibration_ids", "calibration_ids_after", "markets", "year_from", "year_to"),
    *("required_part_keys", "forbidden_part_keys"),
}
COMPARED_FOR_ANOTHER_REASON = {
    "garage/catalogue_data.py": "years and markets of the catalogue's own rows",
    "garage/serializers.py": "whether a VIN leaves one market",
    "marketplace/fitment_words.py": "puts a verdict that was given into words",
    "marketplace/selectors/same_bike.py": "whose bikes are of one generation",
    "marketplace/serializers/versions.py": "the order of the years that a tuner states",
    "marketplace/services/inspection.py": "finds the version before it for the same ECU, to compare bytes",
    "marketplace/services/releases.py": "leaves empty calibration ids out of a document",
}
NAMED_FOR_ANOTHER_REASON = {
    "garage/services/stock.py": "a stock image that is not of the ECU",
    "marketplace/fitment_words.py": "puts a verdict that was given into words",
}


def modules() -> list[Path]:
    skipped = {"tests", "migrations", "demo", "ecu_images"}
    apps = [path for app in ("garage", "marketplace", "tuners", "users", "core") for path in (ROOT / app).rglob("*.py")]
    return [path for path in apps if not skipped & set(path.relative_to(ROOT).parts)]


def compares_facts(tree: ast.AST) -> bool:
    """Whether a comparison, or a set operation, has a fitment's fact on one of its sides."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.Sub):
            sides = [node.left, node.right]
        else:
            continue
        for part in (part for side in sides for part in ast.walk(side)):
            if isinstance(part, ast.Attribute) and part.attr in FACTS:
                return True
            if isinstance(part, ast.Subscript) and isinstance(part.slice, ast.Constant) and part.slice.value in FACTS:
                return True
    return False


def test_nothing_else_compares_a_vehicle_with_a_fitment():
    found = {str(path.relative_to(ROOT)) for path in modules() if compares_facts(ast.parse(path.read_text()))}

    assert found - set(COMPARED_FOR_ANOTHER_REASON) == RULE


def test_nothing_else_names_a_mismatch():
    """A module that writes such a code itself would decide by itself; those that read codes take them from the rule."""
    mismatches = {code for code in REASONS if code.endswith("_mismatch")}
    found = {
        str(path.relative_to(ROOT))
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in mismatches
    }

    assert found - set(NAMED_FOR_ANOTHER_REASON) == RULE


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("a = vehicle.market in fitment.markets", True),
        ("a = row['year_from'] <= 2020", True),
        ("a = set(f.hardware_numbers) & mine", True),
        ("a = fitment.markets", False),
        ("a = market == 'EU'", False),
    ],
)
def test_the_search_finds_what_it_looks_for(code, expected):
    assert compares_facts(ast.parse(code)) is expected
