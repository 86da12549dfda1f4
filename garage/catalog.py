"""Finding makes and models of the catalogue by whatever people type. Reads only."""

from dataclasses import dataclass
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import (
    Case,
    CharField,
    Exists,
    F,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Value,
    When,
)
from django.db.models.functions import Concat, JSONObject

from garage.enums import VehicleKind
from garage.folding import fold, words
from garage.models import MakeAlias, ModelAlias, VehicleGeneration, VehicleMake, VehicleModel

# Words that follow a motorcycle's name without making it another engine computer. Everything else ("RR", "Tracer",
# "Adventure") may be another one, so it is never dropped: then the model stays unlisted and its verdict unknown.
TRIM_WORDS = frozenset(
    {
        *("abs", "cbs", "dct", "sp", "se", "a2", "35kw", "70kw", "akrapovic", "ohlins", "edition", "special", "limited", "anniversary"),
        *("performance", "urban", "carbon", "pack", "plus", "my", "model", "year", "krt", "replica", "eclutch", "premium", "standard"),
    }
)


@dataclass(frozen=True)
class Match:
    """A row of the catalogue and whether the words named it exactly, or with a trim or an engine behind it."""

    model: VehicleModel
    exact: bool


def _is_year(word: str) -> bool:
    return len(word) == 4 and word.isdigit() and 1900 <= int(word) <= 2099


def _candidates(make: str, model: str) -> tuple[list[str], list[str], list[str]]:
    """Folded names to look for, best first: exact, without motorcycle trims, and beginnings (for cars only)."""
    tokens = words(model)
    make_tokens = words(make)
    exact = [tokens]
    if make_tokens and tokens[: len(make_tokens)] == make_tokens:  # "Yamaha MT-09" as the model of a Yamaha
        exact.append(tokens[len(make_tokens) :])
    exact += [found[:-1] for found in exact if len(found) > 1 and _is_year(found[-1])]
    exact += [found[1:] for found in exact if len(found) > 1 and _is_year(found[0])]
    trimmed = []
    for found in exact:
        rest = list(found)
        while len(rest) > 1 and (rest[-1] in TRIM_WORDS or _is_year(rest[-1])):
            rest = rest[:-1]
            trimmed.append(rest)
    chunks = [fold(chunk) for chunk in model.split()]  # "ST-Line" is one: a Focus ST-Line is no Focus ST
    if chunks[: len(make_tokens)] == make_tokens:
        chunks = chunks[len(make_tokens) :]
    beginnings = [chunks[:length] for length in range(len(chunks) - 1, 0, -1) if chunks[length] != "line"]
    glued = ["".join(found).removesuffix(suffix) for found in exact for suffix in ("abs", "sp")]

    def names(lists: list[list[str]]) -> list[str]:
        return [name for name in dict.fromkeys("".join(found) for found in lists) if name]

    exact_names = names(exact)
    trimmed_names = [name for name in dict.fromkeys([*names(trimmed), *glued]) if name and name not in exact_names]
    return exact_names, trimmed_names, names(beginnings)


def find_make(name: str) -> VehicleMake | None:
    """The maker of that name or alias, or None. One query."""
    folded = fold(name)[:60]
    if not folded:
        return None
    return VehicleMake.objects.filter(Q(folded=folded) | Exists(MakeAlias.objects.filter(make=OuterRef("pk"), folded=folded))).first()


def find_match(make: str, model: str) -> Match | None:
    """The catalogue's row for a make and model as typed, or None. One query, with the make.

    Tried in this order: the name or an alias; the same without the maker's name or a year around it; without trims
    ("SP", "ABS") behind it; and for cars the longest beginning ("Golf 2.0 TDI" is a Golf).
    """
    make_folded = fold(make)[:60]
    exact, trimmed, beginnings = _candidates(make, model)
    wanted = list(dict.fromkeys([*exact, *trimmed, *beginnings]))
    if not make_folded or not wanted:
        return None
    rows = (
        VehicleModel.objects.filter(
            Q(make__folded=make_folded) | Q(make__in=MakeAlias.objects.filter(folded=make_folded).values("make_id")),
        )
        .filter(Q(folded__in=wanted) | Q(pk__in=ModelAlias.objects.filter(folded__in=wanted).values("model_id")))
        .annotate(hits=ArraySubquery(ModelAlias.objects.filter(model=OuterRef("pk"), folded__in=wanted).values("folded")))
        .select_related("make")
    )
    by_name = {name: row for row in rows for name in [*row.hits, row.folded]}
    for name in exact:
        if name in by_name:
            return Match(by_name[name], exact=True)
    for name in trimmed:
        if name in by_name:
            return Match(by_name[name], exact=False)
    for name in beginnings:
        if name in by_name and by_name[name].kind == VehicleKind.CAR:
            return Match(by_name[name], exact=False)
    return None


def match_model(make: str, model: str) -> VehicleModel | None:
    """The catalogue's row for a make and model as typed, or None. One query."""
    match = find_match(make, model)
    return match and match.model


def find_generation(model_id: UUID, year: int) -> VehicleGeneration | None:
    """The generation of a model in a year, or None where the catalogue tells none apart. One query.

    In SQL: `JOIN garage_vehiclegeneration g ON g.model_id = … AND int4range(g.year_from, g.year_to, '[]') @> year::int`;
    the constraint `vehicle_generation_one_per_year` makes it one row at most, and its index finds it.
    """
    ends_later = Q(year_to__isnull=True) | Q(year_to__gte=year)
    return VehicleGeneration.objects.filter(ends_later, model_id=model_id, year_from__lte=year).first()


def list_makes(*, kind: str | None = None, q: str | None = None) -> QuerySet[VehicleMake]:
    """Makes that have models (of a kind), with their kinds; order them by (rank, id)."""
    of_make = VehicleModel.objects.filter(make=OuterRef("pk"))
    makes = VehicleMake.objects.annotate(kinds=ArraySubquery(of_make.order_by("kind").values("kind").distinct()))
    makes = makes.filter(Exists(of_make.filter(kind=kind)) if kind else Exists(of_make))
    if q is not None:
        wanted = fold(q)[:60]
        makes = (
            makes.filter(Q(folded__startswith=wanted) | Exists(MakeAlias.objects.filter(make=OuterRef("pk"), folded__startswith=wanted)))
            if wanted
            else makes.none()
        )
    return makes


def list_models(
    *, make: str | None = None, q: str | None = None, kind: str | None = None, year: int | None = None
) -> QuerySet[VehicleModel]:
    """Models of a make whose name or alias contains `q` however it is spelled; order them by (quality, rank, id).

    `quality` is 0 for the very name, 1 for a beginning, 2 for the rest. An unknown make has no models. `q` may name the
    maker too ("yamaha mt 09").
    """
    models = VehicleModel.objects.select_related("make").annotate(
        alias_names=ArraySubquery(ModelAlias.objects.filter(model=OuterRef("pk")).order_by("name").values("name")),
        generation_rows=ArraySubquery(
            VehicleGeneration.objects.filter(model=OuterRef("pk"))
            .order_by("year_from")
            .values(row=JSONObject(name="name", year_from="year_from", year_to="year_to", markets="markets"))
        ),
    )
    if make is not None:
        found = find_make(make)
        models = models.filter(make=found) if found else models.none()
    if kind is not None:
        models = models.filter(kind=kind)
    if year is not None:
        models = models.filter(Q(year_from__lte=year) & (Q(year_to__isnull=True) | Q(year_to__gte=year)))
    if q is None:
        return models.annotate(quality=Value(0, output_field=IntegerField()))
    wanted = fold(q)[:80]
    if not wanted:
        return models.none().annotate(quality=Value(0, output_field=IntegerField()))
    aliases = ModelAlias.objects.filter(model=OuterRef("pk"))
    models = models.annotate(full=Concat(F("make__folded"), F("folded"), output_field=CharField()))
    named = Q(folded=wanted) | Q(full=wanted) | Exists(aliases.filter(folded=wanted))
    begins = Q(folded__startswith=wanted) | Q(full__startswith=wanted) | Exists(aliases.filter(folded__startswith=wanted))
    contains = Q(full__contains=wanted) | Exists(aliases.filter(folded__contains=wanted))
    return models.filter(contains).annotate(
        quality=Case(When(named, then=Value(0)), When(begins, then=Value(1)), default=Value(2), output_field=IntegerField())
    )

