"""The catalogue as committed: what vPIC gave, what was added by hand, and how the two become one list.

`makes.csv`, `additions.csv` and `generations.csv` are kept by hand; the order of the first two is the rank. `catalogue.csv` is made by
`tools/build_catalogue.py` from the public-domain vPIC data. An addition wins over a vPIC row of the same name, and a
vPIC row whose name is an addition's alias is left out ("FZ-09" is the MT-09's name in the United States).
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from garage.enums import CatalogSource, Market
from garage.folding import fold

DATA = Path(__file__).resolve().parent / "data"


class CatalogueDataWrong(ValueError):
    """A row of the committed files contradicts another one; the message names it."""


@dataclass(frozen=True)
class MakeRow:
    name: str
    aliases: tuple[str, ...]
    vpic_makes: tuple[str, ...]

    @property
    def folded(self) -> str:
        return fold(self.name)


@dataclass(frozen=True)
class ModelRow:
    make: str
    name: str
    kind: str
    year_from: int
    year_to: int | None
    aliases: tuple[str, ...]
    source: str
    source_note: str

    @property
    def key(self) -> tuple[str, str]:
        return fold(self.make), fold(self.name)


@dataclass(frozen=True)
class GenerationRow:
    make: str
    model: str
    name: str
    year_from: int
    year_to: int | None
    markets: tuple[str, ...]
    source_note: str

    @property
    def model_key(self) -> tuple[str, str]:
        return fold(self.make), fold(self.model)


@dataclass(frozen=True)
class Catalogue:
    """Makes and models in the order of their rank, generations in that of their years."""

    makes: list[MakeRow]
    models: list[ModelRow]
    generations: list[GenerationRow] = field(default_factory=list)


def _rows(name: str) -> Iterator[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split("|") if name)


def read_makes() -> list[MakeRow]:
    """The makes, most common first. Raises: CatalogueDataWrong when two share a name or alias."""
    makes = [MakeRow(row["name"], _names(row["aliases"]), _names(row["vpic_makes"])) for row in _rows("makes.csv")]
    seen: dict[str, str] = {}
    for make in makes:
        for name in (make.name, *make.aliases):
            if seen.setdefault(fold(name), make.name) != make.name or not fold(name):
                raise CatalogueDataWrong(f"makes.csv: {name!r} names both {seen[fold(name)]} and {make.name}")
    return makes


def read_additions() -> list[ModelRow]:
    """The models kept by hand, most common of each make first."""
    return [
        ModelRow(
            make=row["make"],
            name=row["model"],
            kind=row["kind"],
            year_from=int(row["year_from"]),
            year_to=int(row["year_to"]) if row["year_to"] else None,
            aliases=_names(row["aliases"]),
            source=CatalogSource.ADDED,
            source_note=row["source"],
        )
        for row in _rows("additions.csv")
    ]


def read_vpic() -> list[ModelRow]:
    """The models that `tools/build_catalogue.py` found in vPIC."""
    return [
        ModelRow(
            make=row["make"],
            name=row["model"],
            kind=row["kind"],
            year_from=int(row["year_from"]),
            year_to=int(row["year_to"]) if row["year_to"] else None,
            aliases=_names(row["aliases"]),
            source=CatalogSource.VPIC,
            source_note=f"vPIC {row['data_month']}, United States market",
        )
        for row in _rows("catalogue.csv")
    ]


def read_generations() -> list[GenerationRow]:
    """The generations kept by hand."""
    return [
        GenerationRow(
            make=row["make"],
            model=row["model"],
            name=row["generation"],
            year_from=int(row["year_from"]),
            year_to=int(row["year_to"]) if row["year_to"] else None,
            markets=_names(row["markets"]),
            source_note=row["source"],
        )
        for row in _rows("generations.csv")
    ]


def check_generations(generations: list[GenerationRow], models: dict[tuple[str, str], ModelRow]) -> None:
    """Raises: CatalogueDataWrong for an unknown model or market, years outside of the model's or of two generations."""
    before: dict[tuple[str, str], GenerationRow] = {}
    for row in sorted(generations, key=lambda row: (row.model_key, row.year_from)):
        label = f"generations.csv: {row.make} {row.model} {row.name}"
        model = models.get(row.model_key)
        if model is None:
            raise CatalogueDataWrong(f"{label}: the model is not in the catalogue")
        if unknown := set(row.markets) - set(Market.values):
            raise CatalogueDataWrong(f"{label}: {min(unknown)!r} is no market")
        last = row.year_to or 9999
        if not (model.year_from <= row.year_from <= last <= (model.year_to or 9999)):
            raise CatalogueDataWrong(f"{label}: its years are not within the model's, {model.year_from}-{model.year_to or ''}")
        other = before.get(row.model_key)
        if other is not None and row.year_from <= (other.year_to or 9999):
            raise CatalogueDataWrong(f"{label}: {row.year_from} is also {other.name}'s")
        before[row.model_key] = row


def read_catalogue() -> Catalogue:
    """All sources as one list, by rank: additions of a make in their order, then vPIC's rows, newest first.

    Raises: CatalogueDataWrong for an unknown make, a model listed twice by hand, an alias of two models, or a generation
    that is not its model's.
    """
    makes = read_makes()
    known = {make.folded: index for index, make in enumerate(makes)}
    models: dict[tuple[str, str], ModelRow] = {}
    names: dict[tuple[str, str], tuple[str, str]] = {}  # (make, name or alias) → the model it stands for
    for row in read_additions():
        if row.key[0] not in known:
            raise CatalogueDataWrong(f"additions.csv: the make of {row.make} {row.name} is not in makes.csv")
        if row.key in models:
            raise CatalogueDataWrong(f"additions.csv: {row.make} {row.name} is listed twice")
        models[row.key] = row
        names[row.key] = row.key
    for row in list(models.values()):
        for alias in row.aliases:
            key = (row.key[0], fold(alias))
            if names.setdefault(key, row.key) != row.key:
                raise CatalogueDataWrong(f"additions.csv: {alias!r} stands for {names[key][1]} and {row.key[1]} of {row.make}")
    recent = sorted(read_vpic(), key=lambda row: (-(row.year_to or 9999), -((row.year_to or 9999) - row.year_from), row.key))
    for row in recent:
        if row.key in names:
            continue  # an addition, or the alias of one
        names[row.key] = row.key
        aliases = tuple(alias for alias in row.aliases if names.setdefault((row.key[0], fold(alias)), row.key) == row.key)
        models[row.key] = replace(row, aliases=aliases)
    ranked = sorted(models.values(), key=lambda row: known[row.key[0]])  # stable: the order within a make stays
    generations = read_generations()
    check_generations(generations, models)
    return Catalogue(makes=makes, models=ranked, generations=generations)
