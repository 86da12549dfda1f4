"""Does this file fit this vehicle? One rule in two forms: Python for a pair, SQL for lists.

A verdict is `match`, `unknown` or `mismatch`, with a reason for everything that is not certain. Both forms give an
integer in which each reason is one bit, the more fundamental the higher, every mismatch above every unknown. So the
smallest number among several fitments is the one that comes closest, and 0 is a match. The two forms stand side by side
for each fact; a property test holds them equal. Nothing else may decide whether something fits.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from garage.enums import Market
from garage.folding import fold
from marketplace.enums import FitmentVerdict, FlashMethod, ReadBack

MATCH, UNKNOWN, MISMATCH = (verdict.value for verdict in FitmentVerdict)

UNKNOWN_REASONS = {  # from the least to the most fundamental
    "parts_unknown": "This tune needs parts that are not in your list of mods. Add them, or make sure that they are fitted.",
    "fuel_unknown": "This tune needs a certain fuel. Say which octane you use, with its scale (RON or AKI).",
    "read_back_unknown": "Your ECU may not let its stock image be read. Save a stock file first, or accept that there is no way back.",
    "flash_method_unknown": "This ECU can't be flashed through the diagnostic port alone; it takes bench equipment.",
    "reflash_stock_first": "Your ECU carries other software than this file was made for. Flash your stock file first.",
    "calibration_id_unknown": "The calibration can't be compared yet. Read your ECU first.",
    "market_unknown": "It is not known whether this file is for the market your vehicle was made for.",
    "image_size_unknown": "The size of your ECU's image is not known. Read your ECU first.",
    "hardware_number_unknown": "The hardware number of your ECU is not known. Read your ECU first.",
    "year_unknown": "The year of your vehicle is not known.",
    "model_unknown": "Your model is not in our catalogue, so it can't be compared.",
    "make_unknown": "Your make is not in our catalogue, so it can't be compared.",
}
MISMATCH_REASONS = {
    "parts_mismatch": "This tune must not be used with a part that is in your list of mods.",
    "fuel_mismatch": "This tune needs fuel of a higher octane than you use.",
    "read_back_mismatch": "This tune needs an ECU whose stock image can be read.",
    "flash_method_mismatch": "This ECU can't be flashed with the equipment that you have.",
    "calibration_id_mismatch": "This file is for another calibration than the one in your ECU.",
    "market_mismatch": "This file is for vehicles of another market.",
    "image_size_mismatch": "This file has another size than your ECU's image; writing it would destroy the ECU.",
    "hardware_number_mismatch": "This file is for an ECU with another hardware number.",
    "year_mismatch": "This file is for other years.",
    "model_mismatch": "This file is for another model.",
    "make_mismatch": "This file is for another make.",
}
REASONS = (*UNKNOWN_REASONS, *MISMATCH_REASONS)
DETAILS = UNKNOWN_REASONS | MISMATCH_REASONS
BIT = {code: 1 << position for position, code in enumerate(REASONS)}
FIRST_MISMATCH = BIT["parts_mismatch"]


@dataclass(frozen=True)
class Verdict:
    """What is known about one vehicle and one file, version or tune."""

    mask: int
    closest: "FitmentLike | None" = field(default=None, compare=False, repr=False)  # the fitment that it is about, where one was judged

    @property
    def verdict(self) -> str:
        return MATCH if self.mask == 0 else UNKNOWN if self.mask < FIRST_MISMATCH else MISMATCH

    @property
    def codes(self) -> list[str]:
        """The reasons, most fundamental first; empty for a match."""
        return [code for code in reversed(REASONS) if self.mask & BIT[code]]

    @property
    def unknown_codes(self) -> list[str]:
        """What a buyer has to acknowledge, in alphabetical order."""
        return sorted(code for code in UNKNOWN_REASONS if self.mask & BIT[code])

    def as_dict(self) -> dict[str, Any]:
        """The API's shape, in general words. `fitment_words` has those for one pair."""
        return {"verdict": self.verdict, "reasons": [{"code": code, "detail": DETAILS[code]} for code in self.codes]}


@dataclass(frozen=True)
class VehicleFacts:
    """What is known of a vehicle, all of it optional: what is None is unknown, never assumed."""

    make_id: UUID | None = None
    model_id: UUID | None = None
    year: int | None = None
    market: str | None = None
    hardware_number: str | None = None
    calibration_id: str | None = None
    stock_calibration_id: str | None = None
    image_size_bytes: int | None = None
    fuel_octane: int | None = None
    fuel_scale: str | None = None
    part_keys: frozenset[str] = frozenset()
    has_way_back: bool = False  # a stock file, or the owner's consent that there is none
    flash_methods: frozenset[str] | None = None  # None: only the diagnostic port is certain


class FitmentLike(Protocol):
    """A row of `Fitment`, or anything with its facts."""

    @property
    def make_id(self) -> UUID: ...
    @property
    def model_id(self) -> UUID: ...
    @property
    def year_from(self) -> int: ...
    @property
    def year_to(self) -> int: ...
    @property
    def markets(self) -> Sequence[str]: ...
    @property
    def hardware_numbers(self) -> Sequence[str]: ...
    @property
    def calibration_ids(self) -> Sequence[str]: ...
    @property
    def image_size_bytes(self) -> int: ...


@dataclass(frozen=True)
class Needs:
    """What a version needs whatever the vehicle: the comparable part of its requirements."""

    fuel_octane: int | None = None
    fuel_scale: str | None = None
    required_part_keys: tuple[str, ...] = ()
    forbidden_part_keys: tuple[str, ...] = ()
    flash_methods: tuple[str, ...] = ()
    read_back: str = ReadBack.UNKNOWN
    calibration_ids_after: tuple[str, ...] = field(default=(), kw_only=True)  # what this tune's versions leave in an ECU

    @classmethod
    def of(cls, version: Any, *, calibration_ids_after: Iterable[str]) -> "Needs":
        """Those of a version's row; the calibration ids are its tune's."""
        requirements = version.requirements
        fuel = requirements.get("fuel") or {}
        return cls(
            fuel_octane=fuel.get("octane"),
            fuel_scale=fuel.get("scale"),
            required_part_keys=tuple(version.required_part_keys),
            forbidden_part_keys=tuple(version.forbidden_part_keys),
            flash_methods=tuple(requirements.get("flash_methods") or ()),
            read_back=requirements.get("read_back") or ReadBack.UNKNOWN,
            calibration_ids_after=tuple(calibration_ids_after),
        )


def part_key(text: str) -> str:
    """How a part is compared: "Air filter", "AIR_FILTER" and "air-filter" are one."""
    return (fold(text) or text.strip().casefold())[:80]  # what has no Latin letter stays as it is: it must not vanish


def part_keys_of(*, category: str, brand: str, part: str) -> set[str]:
    """The keys under which a mod may be asked for: its category, its part, and both with the brand."""
    keys = {part_key(category), part_key(part), part_key(f"{brand} {part}"), part_key(f"{brand} {category}")}
    return keys - {""}


# Each fact in its two forms. The Python one takes (vehicle, fitment, needs) and gives bits; the SQL one takes the vehicle
# and gives an expression over the aliases f (fitment), v (version), t (tune), with its parameters in order.

Sql = tuple[str, list[Any]]


def _make_and_model(vehicle: VehicleFacts, fitment: FitmentLike, needs: Needs) -> int:
    if vehicle.make_id is None:
        return BIT["make_unknown"] | BIT["model_unknown"]
    if vehicle.make_id != fitment.make_id:
        return BIT["make_mismatch"]
    if vehicle.model_id is None:
        return BIT["model_unknown"]
    return 0 if vehicle.model_id == fitment.model_id else BIT["model_mismatch"]


def _make_and_model_sql(vehicle: VehicleFacts) -> Sql:
    if vehicle.make_id is None:
        return str(BIT["make_unknown"] | BIT["model_unknown"]), []
    if vehicle.model_id is None:
        return f"CASE WHEN f.make_id <> %s THEN {BIT['make_mismatch']} ELSE {BIT['model_unknown']} END", [vehicle.make_id]
    return (
        f"CASE WHEN f.make_id <> %s THEN {BIT['make_mismatch']} WHEN f.model_id <> %s THEN {BIT['model_mismatch']} ELSE 0 END",
        [vehicle.make_id, vehicle.model_id],
    )


def _year(vehicle: VehicleFacts, fitment: FitmentLike, needs: Needs) -> int:
    if vehicle.year is None:
        return BIT["year_unknown"]
    return 0 if fitment.year_from <= vehicle.year <= fitment.year_to else BIT["year_mismatch"]


def _year_sql(vehicle: VehicleFacts) -> Sql:
    if vehicle.year is None:
        return str(BIT["year_unknown"]), []
    return f"CASE WHEN %s BETWEEN f.year_from AND f.year_to THEN 0 ELSE {BIT['year_mismatch']} END", [vehicle.year]


def _listed(fact: str, value: str | None, listed: Sequence[str]) -> int:
    if value is None or not listed:
        return BIT[f"{fact}_unknown"]
    return 0 if value in listed else BIT[f"{fact}_mismatch"]


def _listed_sql(fact: str, value: str | None, column: str) -> Sql:
    unknown, mismatch = BIT[f"{fact}_unknown"], BIT[f"{fact}_mismatch"]
    if value is None:
        return str(unknown), []
    return f"CASE WHEN cardinality({column}) = 0 THEN {unknown} WHEN %s = ANY({column}) THEN 0 ELSE {mismatch} END", [value]


def _known_market(vehicle: VehicleFacts) -> str | None:
    return None if vehicle.market == Market.OTHER else vehicle.market  # "another market" names none


def _market(vehicle: VehicleFacts, fitment: FitmentLike, needs: Needs) -> int:
    return _listed("market", _known_market(vehicle), fitment.markets)


def _market_sql(vehicle: VehicleFacts) -> Sql:
    return _listed_sql("market", _known_market(vehicle), "f.markets")


def _hardware_number(vehicle: VehicleFacts, fitment: FitmentLike, needs: Needs) -> int:
    return _listed("hardware_number", vehicle.hardware_number, fitment.hardware_numbers)


def _hardware_number_sql(vehicle: VehicleFacts) -> Sql:
    return _listed_sql("hardware_number", vehicle.hardware_number, "f.hardware_numbers")


def _image_size(vehicle: VehicleFacts, fitment: FitmentLike, needs: Needs) -> int:
    if vehicle.image_size_bytes is None:
        return BIT["image_size_unknown"]
    return 0 if vehicle.image_size_bytes == fitment.image_size_bytes else BIT["image_size_mismatch"]


def _image_size_sql(vehicle: VehicleFacts) -> Sql:
    if vehicle.image_size_bytes is None:
        return str(BIT["image_size_unknown"]), []
    return f"CASE WHEN f.image_size_bytes = %s THEN 0 ELSE {BIT['image_size_mismatch']} END", [vehicle.image_size_bytes]


def _calibration_id(vehicle: VehicleFacts, fitment: FitmentLike, needs: Needs) -> int:
    """The ECU reports what it was made with, what a version of this tune left in it, or something else.

    After one of this tune's versions the stock calibration decides which file is right; another calibration over a
    known stock one is a dealer's update or somebody else's tune, and the stock file brings the ECU back.
    """
    current, stock = vehicle.calibration_id, vehicle.stock_calibration_id
    if current is None or not fitment.calibration_ids:
        return BIT["calibration_id_unknown"]
    if current in fitment.calibration_ids:
        return 0
    stock_fits = stock is not None and stock in fitment.calibration_ids
    if current in needs.calibration_ids_after:
        if stock_fits:
            return 0
        stock_is_certain = stock is not None and stock not in needs.calibration_ids_after
        return BIT["calibration_id_mismatch"] if stock_is_certain else BIT["calibration_id_unknown"]
    return BIT["reflash_stock_first"] if stock_fits else BIT["calibration_id_mismatch"]


def _calibration_id_sql(vehicle: VehicleFacts) -> Sql:
    current, stock = vehicle.calibration_id, vehicle.stock_calibration_id
    unknown, mismatch, reflash = BIT["calibration_id_unknown"], BIT["calibration_id_mismatch"], BIT["reflash_stock_first"]
    if current is None:
        return str(unknown), []
    after, in_fitment = "%s = ANY(t.calibration_ids_after)", "%s = ANY(f.calibration_ids)"
    start = f"CASE WHEN cardinality(f.calibration_ids) = 0 THEN {unknown} WHEN {in_fitment} THEN 0"
    if stock is None:
        return f"{start} WHEN {after} THEN {unknown} ELSE {mismatch} END", [current, current]
    return (
        f"{start} WHEN {after} THEN CASE WHEN {in_fitment} THEN 0 WHEN {after} THEN {unknown} ELSE {mismatch} END"
        f" WHEN {in_fitment} THEN {reflash} ELSE {mismatch} END",
        [current, current, stock, stock, stock],
    )


def _fuel(vehicle: VehicleFacts, fitment: FitmentLike, needs: Needs) -> int:
    if needs.fuel_octane is None:
        return 0
    if vehicle.fuel_octane is None or vehicle.fuel_scale != needs.fuel_scale:
        return BIT["fuel_unknown"]  # 91 AKI is about 95 RON, but nobody may guess
    return 0 if vehicle.fuel_octane >= needs.fuel_octane else BIT["fuel_mismatch"]


def _fuel_sql(vehicle: VehicleFacts) -> Sql:
    octane, scale = "(v.requirements #>> '{fuel,octane}')::int", "v.requirements #>> '{fuel,scale}'"
    if vehicle.fuel_octane is None:
        return f"CASE WHEN {octane} IS NULL THEN 0 ELSE {BIT['fuel_unknown']} END", []
    return (
        f"CASE WHEN {octane} IS NULL THEN 0 WHEN {scale} IS DISTINCT FROM %s THEN {BIT['fuel_unknown']}"
        f" WHEN %s >= {octane} THEN 0 ELSE {BIT['fuel_mismatch']} END",
        [vehicle.fuel_scale, vehicle.fuel_octane],
    )


def _flash_method(vehicle: VehicleFacts, fitment: FitmentLike, needs: Needs) -> int:
    if vehicle.flash_methods is None:
        return 0 if FlashMethod.OBD in needs.flash_methods else BIT["flash_method_unknown"]
    if not needs.flash_methods:
        return BIT["flash_method_unknown"]
    return 0 if vehicle.flash_methods & set(needs.flash_methods) else BIT["flash_method_mismatch"]


def _flash_method_sql(vehicle: VehicleFacts) -> Sql:
    methods = "coalesce(nullif(v.requirements -> 'flash_methods', 'null'), '[]')"
    if vehicle.flash_methods is None:
        return f"CASE WHEN {methods} ? '{FlashMethod.OBD}' THEN 0 ELSE {BIT['flash_method_unknown']} END", []
    return (
        f"CASE WHEN {methods} = '[]' THEN {BIT['flash_method_unknown']} WHEN {methods} ?| %s::text[] THEN 0"
        f" ELSE {BIT['flash_method_mismatch']} END",
        [sorted(vehicle.flash_methods)],
    )


def _read_back(vehicle: VehicleFacts, fitment: FitmentLike, needs: Needs) -> int:
    return 0 if vehicle.has_way_back or needs.read_back == ReadBack.YES else BIT["read_back_unknown"]


def _read_back_sql(vehicle: VehicleFacts) -> Sql:
    if vehicle.has_way_back:
        return "0", []
    return f"CASE WHEN v.requirements ->> 'read_back' = '{ReadBack.YES}' THEN 0 ELSE {BIT['read_back_unknown']} END", []


def _parts(vehicle: VehicleFacts, fitment: FitmentLike, needs: Needs) -> int:
    """A list of mods proves what is fitted, never that something is not."""
    bits = 0 if vehicle.part_keys.issuperset(needs.required_part_keys) else BIT["parts_unknown"]
    return bits if vehicle.part_keys.isdisjoint(needs.forbidden_part_keys) else bits | BIT["parts_mismatch"]


def _parts_sql(vehicle: VehicleFacts) -> Sql:
    keys = sorted(vehicle.part_keys)
    return (
        f"(CASE WHEN v.required_part_keys <@ %s::varchar[] THEN 0 ELSE {BIT['parts_unknown']} END"
        f" | CASE WHEN v.forbidden_part_keys && %s::varchar[] THEN {BIT['parts_mismatch']} ELSE 0 END)",
        [keys, keys],
    )


PythonForm = Callable[[VehicleFacts, FitmentLike, Needs], int]
SqlForm = Callable[[VehicleFacts], Sql]
RULE: tuple[tuple[PythonForm, SqlForm], ...] = (
    (_make_and_model, _make_and_model_sql),
    (_year, _year_sql),
    (_market, _market_sql),
    (_hardware_number, _hardware_number_sql),
    (_image_size, _image_size_sql),
    (_calibration_id, _calibration_id_sql),
    (_fuel, _fuel_sql),
    (_flash_method, _flash_method_sql),
    (_read_back, _read_back_sql),
    (_parts, _parts_sql),
)


def mask_of(vehicle: VehicleFacts, fitment: FitmentLike, needs: Needs) -> int:
    """The bits of one pair."""
    mask = 0
    for in_python, _ in RULE:
        mask |= in_python(vehicle, fitment, needs)
    return mask


def judge(vehicle: VehicleFacts, fitments: Iterable[FitmentLike], needs: Needs) -> Verdict:
    """The verdict of the fitment that comes closest; without any fitment everything is unknown."""
    judged = [Verdict(mask_of(vehicle, fitment, needs), closest=fitment) for fitment in fitments]
    return min(judged, key=lambda verdict: verdict.mask, default=Verdict(BIT["make_unknown"] | BIT["model_unknown"]))


def mask_sql(vehicle: VehicleFacts) -> Sql:
    """The same as an SQL expression over the aliases f (marketplace_fitment), v (its version), t (its tune)."""
    terms, parameters = [], []
    for _, in_sql in RULE:
        expression, values = in_sql(vehicle)
        terms.append(expression)
        parameters += values
    return " | ".join(terms), parameters


def may_match(vehicle: VehicleFacts) -> bool:
    """Whether any fitment could be a match for this vehicle: not where a fact of its own is unknown that each fitment states.

    Taken from the rule's SQL forms: each must have 0 among the numbers that it can come to.
    """
    return all(re.search(r"(^|THEN |ELSE )0\b", in_sql(vehicle)[0]) for _, in_sql in RULE)


FACTS = (
    "marketplace_fitment_facts(f.model_id, f.year_from, f.year_to, f.markets, f.hardware_numbers, f.calibration_ids, f.image_size_bytes)"
)


def may_fit_sql(vehicle: VehicleFacts, *, most: int, matching: bool = False) -> Sql | None:
    """The ids of tunes that may be something else than a mismatch, or only those that may be a match, some of them twice, as a
    query by the index of all facts of a fitment: all of them, or more than `most`. None for a vehicle whose model is not known,
    which that index can't find.

    It decides nothing: it leaves out what the forms above call a mismatch for one fact alone, and what is left is to be judged.
    Each fact of the vehicle has to be among those of one live fitment, or the fitment lists none, which is unknown. Instead of
    the calibration in the ECU the stock one may be listed; and where neither is, the tune's own versions must have left the one
    in the ECU there, and a known stock one as well. A match lists each fact. Held by the property test: nothing that fits is
    left out.
    """
    if vehicle.model_id is None:
        return None

    def words(letter: str, *values: object) -> list[str]:
        return [f"{vehicle.model_id}{letter}{value}" for value in values if value is not None]

    none = None if matching else ""
    where = ["f.live", "f.model_id = %s", f"{FACTS} @> %s::text[]"]
    parameters: list[Any] = [vehicle.model_id, words("Y", vehicle.year) + words("S", vehicle.image_size_bytes)]
    for letter, value in (("M", _known_market(vehicle)), ("H", vehicle.hardware_number)):
        if value is not None:
            where.append(f"{FACTS} && %s::text[]")
            parameters.append(words(letter, value, none))
    facts, current, stock = " AND ".join(where), vehicle.calibration_id, vehicle.stock_calibration_id
    fitments = "SELECT f.tune_id FROM marketplace_fitment f WHERE"
    if current is None:
        return f"{fitments} {facts} LIMIT {most + 1}", parameters
    calibration = words("C", current, stock, none)
    if matching:
        return f"{fitments} {facts} AND {FACTS} && %s::text[] LIMIT {most + 1}", [*parameters, calibration]
    # whichever are fewer: the tunes that left these calibrations, or the fitments with all other facts
    return (
        "WITH left_by AS MATERIALIZED (SELECT t.id AS tune_id FROM marketplace_tune t"
        f" WHERE t.listed AND t.calibration_ids_after @> %s::varchar[] LIMIT {most + 1})"
        f" ({fitments} {facts} AND {FACTS} && %s::text[] LIMIT {most + 1})"
        f" UNION ALL SELECT left_by.tune_id FROM left_by WHERE (SELECT count(*) FROM left_by) <= {most}"
        f" UNION ALL ({fitments} {facts} AND (SELECT count(*) FROM left_by) > {most} LIMIT {most + 1})",
        [[current] if stock is None else [current, stock], *parameters, calibration, *parameters],
    )


def tune_mask_sql(vehicle: VehicleFacts) -> Sql:
    """The smallest mask among the live fitments of tune `t`: a scalar subquery for lists."""
    expression, parameters = mask_sql(vehicle)
    return (
        f"(SELECT min({expression}) FROM marketplace_fitment f JOIN marketplace_tuneversion v ON v.id = f.version_id"
        " WHERE f.tune_id = t.id AND f.live)",
        parameters,
    )
