"""A verdict in a rider's words: what this very file is for, what this very vehicle is, and what to do about it.

Lists say it in general (`fitment.DETAILS`), because they show a verdict in every row. Where one pair is judged, the facts
are at hand and are named. A file's fitments are public, and a vehicle's facts are shown to its owner only.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from garage.enums import Market
from marketplace.enums import FlashMethod
from marketplace.fitment import DETAILS, FitmentLike, VehicleFacts, Verdict, part_key

NAMED_AT_MOST = 3
_METHODS = {FlashMethod.OBD: "through the diagnostic port", FlashMethod.BENCH: "on the bench", FlashMethod.BOOT: "in boot mode"}


def reasons(
    verdict: Verdict, *, vehicle: VehicleFacts, fitment: FitmentLike | None, requirements: Mapping[str, Any]
) -> list[dict[str, str]]:
    """The reasons of a verdict as the API shows them, each with the facts that it compares.

    `fitment` is the one that came closest, `requirements` are its version's.
    """
    said = {} if fitment is None else {**_of_vehicle(vehicle, fitment), **_of_ecu(vehicle, fitment), **_of_use(vehicle, requirements)}
    return [{"code": code, "detail": said.get(code) or DETAILS[code]} for code in verdict.codes]


def _of_vehicle(vehicle: VehicleFacts, fitment: FitmentLike) -> dict[str, str]:
    named = " ".join(filter(None, (getattr(fitment, "make_name", ""), getattr(fitment, "model_name", ""))))
    other = f"This file is for the {named}, and your vehicle is another one." if named else ""
    years = f"{fitment.year_from}–{fitment.year_to}" if fitment.year_from < fitment.year_to else str(fitment.year_from)
    return {
        "make_mismatch": other,
        "model_mismatch": other,
        "model_unknown": f"This file is for the {named}. Your model is not in our catalogue, so it can't be compared." if named else "",
        "year_mismatch": f"This file is for vehicles of {years}; yours is of {vehicle.year}.",
        "market_mismatch": f"This file is for vehicles of the {_markets(fitment)} market; yours is of the {vehicle.market} market.",
        "market_unknown": (
            f"This file is for vehicles of the {_markets(fitment)} market. Say in which market yours was first sold."
            if set(fitment.markets) - {Market.OTHER}
            else "This file does not say for which market it is. Ask its tuner."
        ),
    }


def _of_ecu(vehicle: VehicleFacts, fitment: FitmentLike) -> dict[str, str]:
    made_for = f"the {_either(fitment.calibration_ids)} calibration"
    if vehicle.market is not None and fitment.markets and vehicle.market not in fitment.markets:
        made_for = f"the {_markets(fitment)} calibration ({_either(fitment.calibration_ids)})"
    is_as_made = vehicle.stock_calibration_id in (None, vehicle.calibration_id)
    made_with = "" if is_as_made else f"was made with {vehicle.stock_calibration_id} and "
    read_first = "Read your ECU first."
    return {
        "hardware_number_mismatch": (
            f"This file is for an ECU with the hardware number {_either(fitment.hardware_numbers)}; yours is {vehicle.hardware_number}."
        ),
        "hardware_number_unknown": (
            f"This file is for an ECU with the hardware number {_either(fitment.hardware_numbers)}. {read_first}"
            if vehicle.hardware_number is None
            else "This file does not say for which hardware number it is. Ask its tuner."
        ),
        "image_size_mismatch": (
            f"This file has {_size(fitment.image_size_bytes)} and your ECU's image {_size(vehicle.image_size_bytes or 0)}: "
            "writing it would destroy the ECU."
        ),
        "image_size_unknown": f"This file has {_size(fitment.image_size_bytes)}; the size of your ECU's image is not known. {read_first}",
        "calibration_id_mismatch": f"This file is for {made_for}; your ECU {made_with}carries {vehicle.calibration_id}.",
        "calibration_id_unknown": (
            f"This file is for {made_for}. {read_first}"
            if vehicle.calibration_id is None and fitment.calibration_ids
            else "This file does not say for which calibration it is. Ask its tuner."
            if not fitment.calibration_ids
            else f"Your ECU already carries this tune ({vehicle.calibration_id}), and nobody read what it was made with. "
            "Flash its stock file, then read it again."
        ),
        "reflash_stock_first": (
            f"Your ECU was made with {vehicle.stock_calibration_id}, which this file is for, but carries {vehicle.calibration_id} now: "
            "a dealer's update or another tune. Flash your stock file first."
        ),
    }


def _of_use(vehicle: VehicleFacts, requirements: Mapping[str, Any]) -> dict[str, str]:
    fuel = requirements.get("fuel") or {}
    needed = f"This tune needs {fuel.get('octane')} {fuel.get('scale')}"
    yours = f"{vehicle.fuel_octane} {vehicle.fuel_scale}"
    required = requirements.get("required_parts") or ()
    missing = [part for part in required if part_key(part) not in vehicle.part_keys]
    unwanted = [part for part in requirements.get("forbidden_parts") or () if part_key(part) in vehicle.part_keys]
    methods = [_METHODS[method] for method in FlashMethod if method in (requirements.get("flash_methods") or ())]
    return {
        "fuel_mismatch": f"{needed}; you use {yours}.",
        "fuel_unknown": (
            f"{needed}. Say which octane you use, and its scale."
            if vehicle.fuel_octane is None
            else f"{needed}; you use {yours}, and nobody may convert one scale into the other. Say your octane as {fuel.get('scale')}."
        ),
        "parts_unknown": f"This tune needs {_all(missing)}. Add it to your mods, or make sure that it is fitted." if missing else "",
        "parts_mismatch": f"This tune must not be used with what is in your list of mods: {_all(unwanted)}." if unwanted else "",
        "flash_method_unknown": (
            f"This ECU can only be flashed {_either(methods)}: it takes equipment for that."
            if methods
            else "This file does not say how its ECU is flashed. Ask its tuner."
        ),
    }


def _markets(fitment: FitmentLike) -> str:
    return _either("another" if market == Market.OTHER else market for market in fitment.markets)


def _either(names: Iterable[str]) -> str:
    return _joined(list(names), "or")


def _all(names: Iterable[str]) -> str:
    return _joined(list(names), "and")


def _joined(names: list[str], word: str) -> str:
    if len(names) > NAMED_AT_MOST:
        names = [*names[:NAMED_AT_MOST], f"{len(names) - NAMED_AT_MOST} more"]
        word = "and"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}" if names else ""


def _size(size_bytes: int) -> str:
    return f"{size_bytes // 1024} KiB" if size_bytes % 1024 == 0 else f"{size_bytes} bytes"
