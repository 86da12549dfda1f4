"""Vehicle identification numbers: normalising, checking, and guessing what they tell. Nothing here logs one.

A decode is a suggestion that the rider confirms: year letters repeat every thirty years, the rule that tells the
decades apart does not cover motorcycles, and outside of North America makers code much as they like.
"""

import re
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from core.exceptions import FieldError, InvalidInput
from garage.enums import Market

LENGTH = 17
_CHARACTERS = re.compile(r"[A-HJ-NPR-Z0-9]{17}")
_VALUES = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ", (1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 7, 9, 2, 3, 4, 5, 6, 7, 8, 9), strict=True))
_VALUES |= {str(digit): digit for digit in range(10)}
_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
_YEAR_CODES = "ABCDEFGHJKLMNPRSTVWXY123456789"  # 1980 … 2009, then again
_FIRST_YEAR = 1980
_YEARS_AHEAD = 2  # a model year is sold before it begins

WARNINGS = {
    "vin_check_digit_mismatch": "The ninth character is not the check digit that the others give. Outside of North America and China "
    "makers need not use it; compare the VIN with the frame once more.",
    "vin_year_mismatch": "The tenth character stands for another model year.",
    "vin_make_mismatch": "The first three characters belong to another maker.",
}

# One WMI serves several brands of a house: no warning when a vehicle says another one of the same.
_HOUSES = [
    {"ktm", "husqvarna", "gasgas"},
    {"piaggio", "vespa", "aprilia", "motoguzzi", "gilera", "derbi"},
    {"volkswagen", "audi", "skoda", "seat", "cupra", "bentley", "lamborghini", "porsche"},
    {"bmw", "mini"},
    {"mercedesbenz", "smart", "freightliner"},
    {"fiat", "abarth", "alfaromeo", "lancia", "jeep", "chrysler", "dodge", "ram", "maserati", "ferrari"},
    {"peugeot", "citroen", "ds", "opel", "vauxhall", "fiat", "peugeotmotocycles"},
    {"renault", "dacia", "alpine", "nissan", "infiniti"},
    {"toyota", "lexus", "scion", "daihatsu", "subaru"},
    {"honda", "acura"},
    {"hyundai", "kia", "genesis"},
    {"chevrolet", "gmc", "cadillac", "buick", "pontiac", "saturn", "hummer", "opel", "vauxhall", "saab", "isuzu"},
    {"ford", "lincoln", "mercury", "mazda", "landrover", "jaguar", "volvo"},
    {"mitsubishi", "dodge", "chrysler", "suzuki", "peugeot"},
    {"harleydavidson", "buell", "livewire"},
    {"polaris", "indian", "victory"},
]


# Where the table of makers' codes names a holding, another brand or nobody: what is written on the vehicle.
_BRANDS = {
    "MH3": "Yamaha", "MLH": "Honda", "ME3": "Royal Enfield", "LCE": "CFMOTO", "56K": "Indian", "4XA": "Polaris", "ZCG": "MV Agusta",
    "ZGU": "Moto Guzzi", "ZKH": "Husqvarna", "MEG": "Harley-Davidson", "932": "Harley-Davidson",
    "UU1": "Dacia", "LFV": "Volkswagen", "LSV": "Volkswagen", "MEX": "Volkswagen", "LVS": "Ford", "WDD": "Mercedes-Benz", "KMH": "Hyundai",
}  # fmt: skip

# A Harley-Davidson's eighth character is the market that it was calibrated for, as its service manuals print it.
_HARLEYS = frozenset({"1HD", "5HD", "932", "MEG"})
_HARLEY_MARKETS = {
    **dict.fromkeys("AB", Market.CA), **dict.fromkeys("EF", Market.JP), **dict.fromkeys("GH", Market.AU),
    **dict.fromkeys("JK", Market.BR), **dict.fromkeys("NP", Market.IN),
}  # fmt: skip


class VinInvalid(InvalidInput):
    """It is no VIN, or its check digit is wrong where one is compulsory."""

    code = "invalid_input"


def normalise(text: str) -> str:
    """Upper case without the spaces and hyphens that people put in."""
    return re.sub(r"[\s\-‐-―.]+", "", text).upper()


def mask(vin: str) -> str:
    """What others than the owner may see: the maker and the last three characters."""
    return f"{vin[:3]}{'•' * (len(vin) - 6)}{vin[-3:]}" if len(vin) > 6 else "•" * len(vin)


def check_digit(vin: str) -> str:
    """The ninth character as ISO 3779 and 49 CFR 565 compute it."""
    rest = sum(_VALUES[character] * weight for character, weight in zip(vin, _WEIGHTS, strict=True)) % 11
    return "X" if rest == 10 else str(rest)


def is_check_digit_compulsory(vin: str) -> bool:
    """Whether the maker's region is North America (1-5, 7F-70) or China (L)."""
    return vin[0] in "12345L" or (vin[0] == "7" and (vin[1] >= "F" or vin[1].isdigit()))


def _faults(vin: str) -> list[FieldError]:
    if len(vin) != LENGTH:
        return [FieldError("vin_length", f"A VIN has {LENGTH} characters; this has {len(vin)}.", "/vin")]
    if not _CHARACTERS.fullmatch(vin):
        return [FieldError("vin_characters", "A VIN has the letters A-Z without I, O and Q, and digits.", "/vin")]
    if is_check_digit_compulsory(vin) and check_digit(vin) != vin[8]:
        return [FieldError("vin_check_digit", "The check digit is wrong, so at least one character is.", "/vin")]
    return []


def parse(text: str) -> str:
    """The VIN in normal form. Raises: VinInvalid, pointing at /vin."""
    vin = normalise(text)
    if faults := _faults(vin):
        raise VinInvalid(errors=faults)
    return vin


def year_candidates(vin: str, *, at: datetime) -> list[int]:
    """Model years that the tenth character may stand for, the latest first; empty if it stands for none."""
    if vin[9] not in _YEAR_CODES:
        return []
    years = range(_FIRST_YEAR + _YEAR_CODES.index(vin[9]), at.year + _YEARS_AHEAD + 1, 30)
    return list(reversed(years))


def _codes_years(vin: str) -> bool:
    """Whether the region's makers put the model year in the tenth place; Europe's need not."""
    return vin[0] < "S" or vin[0].isdigit()


@lru_cache(maxsize=2048)
def _maker_of(wmi: str) -> str | None:
    from vininfo.dicts import WMI

    found = WMI.get(wmi) or WMI.get(wmi[:2])
    return str(getattr(found, "manufacturer", found)) if found else None


def make_names(vin: str) -> list[str]:
    """Names under which the maker of a VIN may be listed, best first: "Ducati Motor Holdings SpA", "Ducati Motor", "Ducati"."""
    names = [_BRANDS[vin[:3]]] if vin[:3] in _BRANDS else []
    maker = _maker_of(vin[:3]) or ""
    for part in re.split(r"[/()]", maker):
        tokens = part.split()
        names += [" ".join(tokens[:length]) for length in range(len(tokens), 0, -1)]
    return list(dict.fromkeys(names))


def warnings(vin: str, *, year: int | None, make_folded: str | None, vin_make_folded: str | None, at: datetime) -> list[str]:
    """Codes of what does not fit between a valid VIN and what its owner says of the vehicle."""
    found = []
    if not is_check_digit_compulsory(vin) and check_digit(vin) != vin[8]:
        found.append("vin_check_digit_mismatch")
    years = year_candidates(vin, at=at) if _codes_years(vin) else []
    if year is not None and years and not any(abs(year - candidate) <= 1 for candidate in years):
        found.append("vin_year_mismatch")
    pair = {make_folded, vin_make_folded}
    if None not in pair and len(pair) == 2 and not any(pair <= house for house in _HOUSES):
        found.append("vin_make_mismatch")
    return found


def warning_texts(codes: list[str]) -> list[dict[str, str]]:
    """Codes with their sentences, as the API shows them."""
    return [{"code": code, "detail": WARNINGS[code]} for code in codes]


@dataclass(frozen=True)
class Decoded:
    """What a VIN tells, as far as it tells anything."""

    vin: str
    faults: list[FieldError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    make_names: list[str] = field(default_factory=list)
    model_names: list[str] = field(default_factory=list)
    years: list[int] = field(default_factory=list)
    markets: list[str] = field(default_factory=list)
    source: str = "wmi"
    data_month: str | None = None

    @property
    def valid(self) -> bool:
        return not self.faults


def _is_north_american(vin: str) -> bool:
    """Whether a VIN can be one of the United States or Canada: they need the check digit and a model year's code.

    One in eleven others has the right check digit by chance.
    """
    return check_digit(vin) == vin[8] and vin[9] in _YEAR_CODES


def _markets(vin: str, destination: str, *, is_known: bool) -> list[str]:
    """Where a vehicle may have been sold first. `is_known`: vPIC, which holds what is sold in the United States, has its model."""
    if vin[:3] in _HARLEYS:
        if market := _HARLEY_MARKETS.get(vin[7]):
            return [market]
        return [Market.US] if vin[:3] == "1HD" and vin[7].isdigit() else []
    if _is_north_american(vin):
        if "state" in destination.lower() or "california" in destination.lower():
            return [Market.US]
        if "canada" in destination.lower():
            return [Market.CA]
    if vin[0] in "145" or (vin[0] == "7" and is_check_digit_compulsory(vin)):
        return [Market.US, Market.CA]
    if vin[0] == "2":
        return [Market.CA, Market.US]
    if vin[0] == "3":
        return [Market.MX, Market.US, Market.CA]
    if vin[0] == "9" and vin[1] in "ABCDE3456789":
        return [Market.BR]
    if vin[0] == "L":
        return [Market.CN]
    return [Market.US, Market.CA] if is_known and _is_north_american(vin) else []


def decode(text: str, *, at: datetime) -> Decoded:
    """What a VIN says, from the maker's code and, where it knows the pattern, from vPIC.

    Loads vPIC's decoder (40 MiB) at the first call. Never raises for a wrong VIN: `faults` say what is wrong.
    """
    vin = normalise(text)
    faults = _faults(vin)
    if faults and faults[0].code != "vin_check_digit":
        return Decoded(vin=vin, faults=faults)
    import ultravin

    found = ultravin.decode(vin, now=at)
    attributes = found["attributes"]
    make, model, year = attributes.get("Make"), attributes.get("Model"), found["model_year"]
    years = year_candidates(vin, at=at)
    if year in years and _is_north_american(vin):  # elsewhere the seventh character tells no decade
        years = [year, *(other for other in years if other != year)]
    names = [make] if make else []
    # vPIC knows what is sold in North America; another market's vehicle may fit the pattern of another model there
    models = [part.strip() for part in re.split(r"[()]", model) if part.strip()] if model and check_digit(vin) == vin[8] else []
    return Decoded(
        vin=vin,
        faults=faults,
        warnings=warnings(vin, year=None, make_folded=None, vin_make_folded=None, at=at),
        make_names=list(dict.fromkeys([*([_BRANDS[vin[:3]]] if vin[:3] in _BRANDS else names), *make_names(vin), *names])),
        model_names=models,
        years=years,
        markets=_markets(vin, attributes.get("Destination Market") or "", is_known=bool(models)),
        source="vpic" if make else "wmi",
        data_month=ultravin.provenance()["data_month"].replace("_", "-"),
    )

