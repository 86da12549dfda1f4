"""The fitment rule, case by case, from the facts of the trade. Both forms of the rule must say this.

A case is a name that says why, what differs from BIKE, FILE and TUNE, and the reasons that must come out (none: a match).
Several files are several fitments of one version: the closest counts.
"""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from marketplace.fitment import Needs, VehicleFacts

YAMAHA, HONDA, MT09, MT07, CB650 = (UUID(int=number) for number in range(1, 6))
STOCK, DEALER, FOREIGN, US_STOCK = "CAL-1", "CAL-1-UPDATE", "SOMEBODY-ELSE", "CAL-1-US"
TUNED_1, TUNED_2 = "TUNED-1", "TUNED-2"
KIB = 1024

BIKE = VehicleFacts(
    make_id=YAMAHA,
    model_id=MT09,
    year=2021,
    market="EU",
    hardware_number="HW-1",
    calibration_id=STOCK,
    stock_calibration_id=STOCK,
    image_size_bytes=1024 * KIB,
    fuel_octane=95,
    fuel_scale="RON",
)
FILE = {
    "make_id": YAMAHA,
    "model_id": MT09,
    "year_from": 2021,
    "year_to": 2023,
    "markets": ["EU", "UK"],
    "hardware_numbers": ["HW-1", "HW-2"],
    "calibration_ids": [STOCK],
    "image_size_bytes": 1024 * KIB,
}
TUNE = Needs(flash_methods=("OBD",), read_back="YES", calibration_ids_after=(TUNED_1, TUNED_2))


def file(**changes: Any) -> SimpleNamespace:
    return SimpleNamespace(**{**FILE, "make_name": "Yamaha", "model_name": "MT-09", **changes})


@dataclass(frozen=True)
class Case:
    name: str
    reasons: list[str]
    vehicle: dict[str, Any] = field(default_factory=dict)
    files: list[dict[str, Any]] = field(default_factory=lambda: [{}])
    needs: dict[str, Any] = field(default_factory=dict)

    @property
    def facts(self) -> VehicleFacts:
        return replace(BIKE, **self.vehicle)

    @property
    def fitments(self) -> list[SimpleNamespace]:
        return [file(**changes) for changes in self.files]

    @property
    def requirements(self) -> Needs:
        return replace(TUNE, **self.needs)

    @property
    def verdict(self) -> str:
        return "match" if not self.reasons else "mismatch" if any(code.endswith("_mismatch") for code in self.reasons) else "unknown"


UNREAD = {"hardware_number": None, "calibration_id": None, "stock_calibration_id": None, "image_size_bytes": None}
US_FILE = {"markets": ["US"], "hardware_numbers": ["HW-US"], "calibration_ids": [US_STOCK]}
US_BIKE = {"market": "US", "hardware_number": "HW-US", "calibration_id": US_STOCK, "stock_calibration_id": US_STOCK}
RON_95 = {"fuel_octane": 95, "fuel_scale": "RON"}
AKI_91 = {"fuel_octane": 91, "fuel_scale": "AKI"}
NO_FUEL = {"fuel_octane": None, "fuel_scale": None}
EXHAUST, AIR_FILTER = frozenset({"exhaust"}), frozenset({"airfilter"})

CASES = [
    Case("the very vehicle", []),
    # years
    Case("the first year", [], {"year": 2021}),
    Case("the last year", [], {"year": 2023}),
    Case("the year before", ["year_mismatch"], {"year": 2020}),
    Case("the year after", ["year_mismatch"], {"year": 2024}),
    Case("an unknown year", ["year_unknown"], {"year": None}),
    Case("a file for one year only, that year", [], {"year": 2022}, [{"year_from": 2022, "year_to": 2022}]),
    Case("a file for one year only, the next", ["year_mismatch"], {"year": 2023}, [{"year_from": 2022, "year_to": 2022}]),
    Case("a gap between two ranges of years", ["year_mismatch"], {"year": 2022}, [{"year_to": 2021}, {"year_from": 2023}]),
    Case("the second of two ranges of years", [], {"year": 2023}, [{"year_to": 2021}, {"year_from": 2023}]),
    # markets
    Case("the second market", [], {"market": "UK"}),
    Case("a US bike and an EU file", ["market_mismatch"], {"market": "US"}),
    Case("an EU bike and a US file", ["market_mismatch"], {}, [{"markets": ["US"]}]),
    Case("a Canadian bike and a US file: their calibrations differ", ["market_mismatch"], {"market": "CA"}, [{"markets": ["US"]}]),
    Case("a file for the US and Canada", [], {"market": "CA"}, [{"markets": ["US", "CA"]}]),
    Case("the UK is not the EU", ["market_mismatch"], {"market": "UK"}, [{"markets": ["EU"]}]),
    Case("another market, which names none", ["market_unknown"], {"market": "OTHER"}),
    Case("another market, even when the file says so", ["market_unknown"], {"market": "OTHER"}, [{"markets": ["OTHER"]}]),
    Case("a file for another market, which may not be yours", ["market_mismatch"], {}, [{"markets": ["OTHER"]}]),
    Case("a file that names no market", ["market_unknown"], {}, [{"markets": []}]),
    Case("a market that nobody said", ["market_unknown"], {"market": None}),
    # make and model
    Case("another model of the make", ["model_mismatch"], {"model_id": MT07}),
    Case("another make, which says it all", ["make_mismatch"], {"make_id": HONDA, "model_id": CB650}),
    Case("a model that is not in the catalogue", ["model_unknown"], {"model_id": None}),
    Case("an unlisted model of another make", ["make_mismatch"], {"make_id": HONDA, "model_id": None}),
    Case("a make that is not in the catalogue", ["make_unknown", "model_unknown"], {"make_id": None, "model_id": None}),
    Case(
        "an unlisted model never passes, whatever its ECU says", ["model_unknown"], {"model_id": None, "calibration_id": STOCK},
    ),
    Case("an unlisted model with another ECU", ["hardware_number_mismatch", "model_unknown"], {"model_id": None, "hardware_number": "HW-9"}),
    # the ECU
    Case("the second hardware number", [], {"hardware_number": "HW-2"}),
    Case("another hardware number", ["hardware_number_mismatch"], {"hardware_number": "HW-3"}),
    Case("a hardware number that begins like it", ["hardware_number_mismatch"], {"hardware_number": "HW-10"}),
    Case("a hardware number without its revision", ["hardware_number_mismatch"], {"hardware_number": "HW"}),
    Case("a file that names no hardware number", ["hardware_number_unknown"], {}, [{"hardware_numbers": []}]),
    Case("a 256 KiB image for a 384 KiB ECU, a documented brick", ["image_size_mismatch"], {"image_size_bytes": 384 * KIB}, [{"image_size_bytes": 256 * KIB}]),
    Case("a 4 MiB image for a 2 MiB ECU", ["image_size_mismatch"], {"image_size_bytes": 2048 * KIB}, [{"image_size_bytes": 4096 * KIB}]),
    Case("one byte too many", ["image_size_mismatch"], {"image_size_bytes": 1024 * KIB + 1}),
    Case("an ECU whose size was not read", ["image_size_unknown"], {"image_size_bytes": None}),
    Case("an ECU that was never read", ["hardware_number_unknown", "image_size_unknown", "calibration_id_unknown"], UNREAD),
    Case(
        "an unread ECU of the wrong market: what is certain is said first",
        ["market_mismatch", "hardware_number_unknown", "image_size_unknown", "calibration_id_unknown"],
        {**UNREAD, "market": "US"},
    ),
    Case("make, model and year alone are not enough", ["hardware_number_mismatch"], {"hardware_number": "HW-7"}),
    Case("the right ECU in another model", ["model_mismatch"], {"model_id": MT07}),
    Case("a replaced ECU of another size", ["hardware_number_mismatch", "image_size_mismatch"], {"hardware_number": "HW-9", "image_size_bytes": 512 * KIB}),
    # calibrations
    Case("another calibration", ["calibration_id_mismatch"], {"calibration_id": "CAL-9", "stock_calibration_id": "CAL-9"}),
    Case("a calibration that begins like it", ["calibration_id_mismatch"], {"calibration_id": "CAL-11", "stock_calibration_id": "CAL-11"}),
    Case("a file that names no calibration", ["calibration_id_unknown"], {}, [{"calibration_ids": []}]),
    Case("a US bike with the US file", [], US_BIKE, [US_FILE]),
    Case(
        "a US bike with the EU file: three facts say no",
        ["hardware_number_mismatch", "market_mismatch", "calibration_id_mismatch"],
        US_BIKE,
    ),
    Case(
        "an EU bike that somebody flashed with the US calibration",
        ["reflash_stock_first"],
        {"calibration_id": US_STOCK},
    ),
    Case("a US calibration in the EU market's hardware", ["calibration_id_mismatch"], {"calibration_id": US_STOCK, "stock_calibration_id": US_STOCK}),
    Case("after an earlier version of this tune", [], {"calibration_id": TUNED_1}),
    Case("after the same version", [], {"calibration_id": TUNED_2}),
    Case(
        "after this tune, on a bike of another stock calibration",
        ["calibration_id_mismatch"],
        {"calibration_id": TUNED_1, "stock_calibration_id": "CAL-9"},
    ),
    Case(
        "after this tune, on a bike whose stock calibration nobody read",
        ["calibration_id_unknown"],
        {"calibration_id": TUNED_1, "stock_calibration_id": None},
    ),
    Case(
        "bought with this tune in it, so that it looked like stock",
        ["calibration_id_unknown"],
        {"calibration_id": TUNED_1, "stock_calibration_id": TUNED_1},
    ),
    Case(
        "bought with one version in it and updated by another",
        ["calibration_id_unknown"],
        {"calibration_id": TUNED_2, "stock_calibration_id": TUNED_1},
    ),
    Case("after a dealer's update", ["reflash_stock_first"], {"calibration_id": DEALER}),
    Case("after somebody else's tune", ["reflash_stock_first"], {"calibration_id": FOREIGN}),
    Case("a dealer's update that the file serves too", [], {"calibration_id": DEALER}, [{"calibration_ids": [STOCK, DEALER]}]),
    Case("a dealer's update that the file was made from", [], {"calibration_id": DEALER}, [{"calibration_ids": [DEALER]}]),
    Case("never updated, and the file is for the update", ["calibration_id_mismatch"], {}, [{"calibration_ids": [DEALER]}]),
    Case("a dealer's update, stock unknown", ["calibration_id_mismatch"], {"calibration_id": DEALER, "stock_calibration_id": None}),
    Case(
        "a dealer's update, first read after it: that is what it was made with as far as anybody knows",
        ["calibration_id_mismatch"],
        {"calibration_id": DEALER, "stock_calibration_id": DEALER},
    ),
    Case("a dealer's update on the wrong market's bike", ["market_mismatch", "reflash_stock_first"], {"calibration_id": DEALER, "market": "US"}),
    Case(
        "a dealer's update where the file names no calibration",
        ["calibration_id_unknown"],
        {"calibration_id": DEALER},
        [{"calibration_ids": []}],
    ),
    Case("back on stock after a tune", [], {"calibration_id": STOCK, "stock_calibration_id": STOCK}),
    Case("a tune that leaves the calibration id as it was", [], {}, needs={"calibration_ids_after": (STOCK,)}),
    Case("another tuner's tune that leaves the calibration id as it was can't be told from stock", [], {}, needs={"calibration_ids_after": ()}),
    Case(
        "a first tune of this listing: nothing of it can be in the ECU",
        ["reflash_stock_first"],
        {"calibration_id": TUNED_1},
        needs={"calibration_ids_after": ()},
    ),
    # fuel
    Case("the fuel it needs", [], needs=RON_95),
    Case("better fuel than it needs", [], {"fuel_octane": 98}, needs=RON_95),
    Case("worse fuel than it needs", ["fuel_mismatch"], {"fuel_octane": 91}, needs=RON_95),
    Case("one octane short", ["fuel_mismatch"], {"fuel_octane": 94}, needs=RON_95),
    Case("91 AKI is not 91 RON", ["fuel_unknown"], AKI_91, needs={"fuel_octane": 91, "fuel_scale": "RON"}),
    Case("91 AKI is about 95 RON, but nobody may guess", ["fuel_unknown"], AKI_91, needs=RON_95),
    Case("98 RON is no proof of 91 AKI either", ["fuel_unknown"], {"fuel_octane": 98}, needs=AKI_91),
    Case("93 AKI where 91 AKI is needed", [], {"fuel_octane": 93, "fuel_scale": "AKI"}, needs=AKI_91),
    Case("87 AKI where 91 AKI is needed", ["fuel_mismatch"], {"fuel_octane": 87, "fuel_scale": "AKI"}, needs=AKI_91),
    Case("fuel not stated", ["fuel_unknown"], NO_FUEL, needs=RON_95),
    Case("no fuel needed, none stated", [], NO_FUEL),
    # how it is flashed, and the way back
    Case("bench only", ["flash_method_unknown"], needs={"flash_methods": ("BENCH",)}),
    Case("boot mode only", ["flash_method_unknown"], needs={"flash_methods": ("BOOT",)}),
    Case("bench or port", [], needs={"flash_methods": ("BENCH", "OBD")}),
    Case("bench only, and a bench at hand", [], {"flash_methods": frozenset({"BENCH"})}, needs={"flash_methods": ("BENCH",)}),
    Case("a bench at hand and a port needed", ["flash_method_mismatch"], {"flash_methods": frozenset({"BENCH"})}),
    Case("boot mode only, just a bench", ["flash_method_mismatch"], {"flash_methods": frozenset({"BENCH"})}, needs={"flash_methods": ("BOOT",)}),
    Case("a method that nobody stated", ["flash_method_unknown"], needs={"flash_methods": ()}),
    Case("a method that nobody stated, a bench at hand", ["flash_method_unknown"], {"flash_methods": frozenset({"BENCH"})}, needs={"flash_methods": ()}),
    Case("an ECU that can't be read back", ["read_back_unknown"], needs={"read_back": "NO"}),
    Case("an ECU of which that is not known", ["read_back_unknown"], needs={"read_back": "UNKNOWN"}),
    Case("can't be read back, but a stock file is saved or given up", [], {"has_way_back": True}, needs={"read_back": "NO"}),
    Case("can be read back, and was", [], {"has_way_back": True}),
    # parts
    Case("a part it needs, fitted", [], {"part_keys": EXHAUST}, needs={"required_part_keys": ("exhaust",)}),
    Case("a part it needs, not listed", ["parts_unknown"], needs={"required_part_keys": ("exhaust",)}),
    Case("one of two parts it needs", ["parts_unknown"], {"part_keys": EXHAUST}, needs={"required_part_keys": ("exhaust", "airfilter")}),
    Case("both parts it needs", [], {"part_keys": EXHAUST | AIR_FILTER}, needs={"required_part_keys": ("exhaust", "airfilter")}),
    Case("a part it must not meet", ["parts_mismatch"], {"part_keys": AIR_FILTER}, needs={"forbidden_part_keys": ("airfilter",)}),
    Case("a forbidden part, not listed: a list of mods proves what is fitted, not what is not", [], needs={"forbidden_part_keys": ("airfilter",)}),
    Case(
        "a forbidden part fitted and a required one not listed",
        ["parts_mismatch", "parts_unknown"],
        {"part_keys": AIR_FILTER},
        needs={"required_part_keys": ("exhaust",), "forbidden_part_keys": ("airfilter",)},
    ),
    Case("a part in another script", [], {"part_keys": frozenset({"глушитель"})}, needs={"required_part_keys": ("глушитель",)}),
    Case("mods that the tune does not care for", [], {"part_keys": EXHAUST | AIR_FILTER}),
    # several reasons, several fitments
    Case(
        "the wrong bike altogether",
        ["model_mismatch", "hardware_number_mismatch", "market_mismatch"],
        {"model_id": MT07, "market": "US", "hardware_number": "HW-9"},
    ),
    Case("a mismatch beside an unknown", ["market_mismatch", "year_unknown"], {"market": "US", "year": None}),
    Case("the closest of several fitments counts", [], {}, [US_FILE, {}]),
    Case("nothing fits: the closest reason wins", ["calibration_id_mismatch"], {"calibration_id": "CAL-9", "stock_calibration_id": "CAL-9"}, [US_FILE, {}]),
    Case("an unknown is closer than a mismatch", ["calibration_id_unknown"], {}, [US_FILE, {"calibration_ids": []}]),
    Case("a dealer's update is closer than another market", ["reflash_stock_first"], {"calibration_id": DEALER}, [{"markets": ["US"]}, {}]),
    Case("a small unknown is closer than a big one", ["calibration_id_unknown"], {}, [{"hardware_numbers": []}, {"calibration_ids": []}]),
    Case("another model is further off than another year", ["year_mismatch"], {"year": 2019}, [{"model_id": MT07}, {}]),
    Case(
        "conditions never add up across fitments: the market of one and the hardware of the other",
        ["market_mismatch"],
        {},
        [{"markets": ["US"]}, {"hardware_numbers": ["HW-9"]}],
    ),
    Case(
        "the file for the year, not the one for the calibration",
        ["calibration_id_mismatch"],
        {"year": 2023},
        [{"year_to": 2022}, {"year_from": 2023, "calibration_ids": ["CAL-2"]}],
    ),
    Case("two generations, each with its file", [], {"year": 2017, "hardware_number": "HW-OLD"}, [{}, {"year_from": 2017, "year_to": 2020, "hardware_numbers": ["HW-OLD"]}]),
]  # fmt: skip
