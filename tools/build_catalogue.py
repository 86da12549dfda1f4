"""Build garage/data/catalogue.csv: makes, models and years of the United States market from vPIC (public domain).

    .venv/bin/python tools/build_catalogue.py

NHTSA's vPIC database travels inside the `ultravin` package. It is read by drawing VINs of its own patterns for each
maker of garage/data/makes.csv and decoding them. The clock and the seeds are fixed, so that the same package gives the
same file, byte for byte. vPIC also lists thousands of importers and parade cars: only makers that people ride, drive
and tune are asked for.
"""

import csv
import re
import sys
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import ultravin

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from garage.folding import fold

NOW = datetime(2026, 11, 1, tzinfo=UTC)
NEWEST_YEAR = 2027  # vPIC's open-ended patterns run on past what is announced
STILL_SOLD = 2026
DRAWS, DRAW_SIZE = 4, 6000
MOTORCYCLES, CARS, TRUCKS, MPVS = 1, 2, 3, 7
OLDEST_LAST_YEAR = {"MOTORCYCLE": 2008, "CAR": 2008, "OTHER": 2014}  # older ones are in the additions where people still tune them

# Entries that are not models: race-only lines, special paint, fleet and lodge editions, code lists, heavy trucks.
NOT_MODELS = re.compile(
    r"[,+']|closed course|competition|race only|racing|series$|shrine|police|military|anniversary|edition|centennial|"
    r"jack daniel|not applicable|incomplete|cutaway|chassis|motorhome|recreational vehicle|stripped|commercial|hearse|"
    r"armoured|cruise origin|brightdrop|chieftan|highway king|deadwood|mkii|\b10[3]$|\bhd1\b|^tle\b|mule|big red|youth|"
    r"^(piaggio|pioneer|enduro|classic|minis|rally|sport|gen|new range rover|livewire)$",
    re.IGNORECASE,
)
PARENTHESES = re.compile(r"^(?P<name>[^()]+?)\s*\((?P<alias>[^()]+)\)$")


def kind_of(vehicle_type: int, attributes: dict) -> str | None:
    """MOTORCYCLE, CAR, OTHER (quads, side-by-sides, snowmobiles) or None for what is none of ours (heavy trucks, mopeds)."""
    body = attributes.get("Body Class") or ""
    if vehicle_type == MOTORCYCLES:
        if "Moped" in body or "Minibike" in body or ("Autocycle" in body and attributes.get("Make") not in {"POLARIS", "CAN-AM"}):
            return None
        off_road = ("All-Terrain Vehicle", "Recreational Off-Highway", "Snowmobile")
        return "OTHER" if any(word in body for word in off_road) else "MOTORCYCLE"
    if vehicle_type == TRUCKS:
        weight = attributes.get("Gross Vehicle Weight Rating From") or ""
        return "CAR" if re.match(r"Class [123]\w?:", weight) else None
    return "CAR"


def tidy(name: str) -> str:
    """vPIC's spelling as riders write it: no shouting, single spaces."""
    words = []
    for word in name.replace("™", "").split():
        shouted = len(word) >= 4 and word.isalpha() and word.isupper() and re.search("[AEIOUY]", word)
        whispered = len(word) >= 4 and word.isalpha() and word.islower()
        words.append(word.capitalize() if shouted or whispered else word)
    return " ".join(words)


def plausible_years(years: set[int], kind: str) -> set[int]:
    """Without the echo of a motorcycle's year letter, which repeats every thirty years and nothing tells apart."""
    recent = {year for year in years if 1999 <= year <= NEWEST_YEAR}
    if kind == "CAR" or not recent:
        return {year for year in years if year <= NEWEST_YEAR}
    echoes = {year for year in years if year < 1999 and min(recent) - 1 <= year + 30 <= max(recent) + 2}
    return {year for year in years - echoes if year <= NEWEST_YEAR}


def sample(make: str) -> dict[tuple[str, str], set[int]]:
    """(kind, model) → model years of one of vPIC's makers."""
    found: dict[tuple[str, str], set[int]] = defaultdict(set)
    for vehicle_type in (MOTORCYCLES, CARS, MPVS, TRUCKS):
        for seed in range(DRAWS):
            vins = ultravin.generate(DRAW_SIZE, seed=seed, make=make, vehicle_type=vehicle_type, now=NOW)
            for row in ultravin.decode_batch(vins, now=NOW):
                attributes = row["attributes"]
                model, year = attributes.get("Model"), row["model_year"]
                kind = kind_of(vehicle_type, attributes)
                if attributes.get("Make") == make and model and year and kind:
                    found[kind, " ".join(model.split())].add(year)
    return found


def rows_of(make: str, vpic_make: str) -> list[list]:
    """The lines of one maker, sorted."""
    merged: dict[str, list] = {}
    for (kind, raw), years in sorted(sample(vpic_make).items()):
        alias = ""
        if match := PARENTHESES.match(raw):
            raw, alias = match["name"], tidy(match["alias"])
        if ("/" in raw and not re.search(r"[A-Z]/[A-Z0-9]$", raw)) or NOT_MODELS.search(raw) or fold(raw) == fold(make):
            continue
        years = plausible_years(years, kind)
        name = tidy(re.sub(rf"^{re.escape(make)}\s+", "", raw, flags=re.IGNORECASE))
        if not years or max(years) < OLDEST_LAST_YEAR[kind] or not fold(name) or len(name) > 40:
            continue
        row = merged.setdefault(fold(name), [make, name, kind, min(years), max(years), set()])
        row[3], row[4] = min(row[3], *years), max(row[4], *years)
        if alias and fold(alias) != fold(name):
            row[5].add(alias)
    for key, row in list(merged.items()):
        if row[4] < STILL_SOLD and row[4] == row[3]:
            del merged[key]  # a single year long past is a fragment of another name
        row[4] = "" if row[4] >= STILL_SOLD else row[4]
        row[5] = "|".join(sorted(row[5]))
    return [merged[key] for key in sorted(merged)]


def main() -> int:
    data_month = ultravin.provenance()["data_month"].replace("_", "-")
    with (ROOT / "garage/data/makes.csv").open(encoding="utf-8", newline="") as lines:
        makes = [(row["name"], name) for row in csv.DictReader(lines) for name in row["vpic_makes"].split("|") if name]
    target = ROOT / "garage/data/catalogue.csv"
    count = 0
    fresh = target.with_suffix(".fresh")
    with fresh.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["make", "model", "kind", "year_from", "year_to", "aliases", "data_month"])
        for make, vpic_make in makes:
            rows = rows_of(make, vpic_make)
            count += len(rows)
            writer.writerows([*row, data_month] for row in rows)
            print(f"{make:<20} {len(rows):>4} models")
    fresh.replace(target)
    print(f"{count} models of {len(makes)} makes, {target.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
