"""Finding makes and models of the catalogue by whatever people type. Reads only."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
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
    """A row of the catalogue and whether the words named it exactly, or with a trim or an engine behind it.

    `text` are the model's words as typed, wherever they stood.
    """

    model: VehicleModel
    exact: bool
    text: str = ""


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


def find_makes(names: Sequence[str]) -> list[VehicleMake]:
    """The makers of these names or aliases, in the order of the names, each once. One query."""
    wanted = list(dict.fromkeys(folded for name in names if (folded := fold(name)[:60])))
    aliases = MakeAlias.objects.filter(folded__in=wanted)
    makes = VehicleMake.objects.filter(Q(folded__in=wanted) | Q(pk__in=aliases.values("make_id"))).annotate(
        hits=ArraySubquery(aliases.filter(make=OuterRef("pk")).values("folded"))
    )
    named = {name: make for make in makes for name in [*make.hits, make.folded]}
    return list(dict.fromkeys(named[name] for name in wanted if name in named))


def find_make(name: str) -> VehicleMake | None:
    """The maker of that name or alias, or None. One query."""
    folded = fold(name)[:60]
    if not folded:
        return None
    return VehicleMake.objects.filter(Q(folded=folded) | Exists(MakeAlias.objects.filter(make=OuterRef("pk"), folded=folded))).first()


def find_match(make: str, model: str) -> Match | None:
    """The catalogue's row for a make and model as typed, or None. One query, with the make; three when that finds nothing.

    Tried in this order: the name or an alias; the same without the maker's name or a year around it; without trims
    ("SP", "ABS") behind it; and for cars the longest beginning ("Golf 2.0 TDI" is a Golf). When the maker is not one of the
    catalogue's, both fields are read as one text, which may begin with a maker ("Yamaha R1", "2020") or name a model that
    only one of them makes ("R1", "2020").
    """
    if not fold(model):
        return None
    if match := _match_of_make(make, model):
        return replace(match, text=model)
    text = model if fold(make) == fold(model) else f"{make} {model}".strip()
    splits = _splits(text)
    if any(fold(typed) == fold(make) for _, typed, _ in splits):
        return None  # the maker was right, and has no such model
    for maker, _, rest in splits:
        if match := _match_of_make(maker.name, rest):
            return replace(match, text=rest)
    match = None if splits else _match_of_any_make(text)
    return match and replace(match, text=text)


def _match_of_make(make: str, model: str) -> Match | None:
    make_folded = fold(make)[:60]
    if not make_folded:
        return None
    names = _candidates(make, model)
    rows = _named(names).filter(
        Q(make__folded=make_folded) | Q(make__in=MakeAlias.objects.filter(folded=make_folded).values("make_id")),
    )
    return _best(names, rows)


def _match_of_any_make(text: str) -> Match | None:
    """A model by a name that only one maker has. Beginnings are not tried: "Golf" may begin anything."""
    exact, trimmed, _ = _candidates("", text)
    rows = list(_named((exact, trimmed, [])))
    return _best((exact, trimmed, []), rows) if len({row.make_id for row in rows}) == 1 else None


Names = tuple[list[str], list[str], list[str]]


def _named(names: Names) -> QuerySet[VehicleModel]:
    """Models that have one of the names; `hits` are those of their aliases."""
    wanted = list(dict.fromkeys(name for group in names for name in group))
    aliases = ModelAlias.objects.filter(folded__in=wanted)
    return (
        VehicleModel.objects.filter(Q(folded__in=wanted) | Q(pk__in=aliases.values("model_id")), merged_into__isnull=True)
        .annotate(hits=ArraySubquery(aliases.filter(model=OuterRef("pk")).values("folded")))
        .select_related("make")
    )


def _best(names: Names, rows: Iterable[VehicleModel]) -> Match | None:
    exact, trimmed, beginnings = names
    by_name = {name: row for row in rows for name in [*row.hits, row.folded]}  # type: ignore[attr-defined]  # annotated
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


LONGEST_MAKER = 3  # words


def _splits(text: str) -> list[tuple[VehicleMake, str, str]]:
    """The makers that a text may begin with, behind a year or not, each with that beginning and what follows it, the longest
    first. One query."""
    chunks = text.split()
    if len(chunks) > 1 and _is_year(chunks[0]):
        chunks = chunks[1:]
    beginnings = {fold(" ".join(chunks[:length])): length for length in range(min(LONGEST_MAKER, len(chunks)), 0, -1)}
    beginnings.pop("", None)
    aliases = MakeAlias.objects.filter(folded__in=beginnings)
    makes = VehicleMake.objects.filter(Q(folded__in=beginnings) | Q(pk__in=aliases.values("make_id"))).annotate(
        hits=ArraySubquery(aliases.filter(make=OuterRef("pk")).values("folded"))
    )
    found = [(beginnings[name], make) for make in makes for name in [make.folded, *make.hits] if name in beginnings]
    found.sort(key=lambda pair: -pair[0])
    return [(make, " ".join(chunks[:length]), " ".join(chunks[length:])) for length, make in found]


def match_model(make: str, model: str) -> VehicleModel | None:
    """The catalogue's row for a make and model as typed, or None. One query; three when the maker is not where it belongs."""
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
    """Models of a make whose name or alias is like `q` however it is spelled; order them by (quality, rank, id).

    `quality` is 0 for the very name, 1 for a beginning, 2 for a part of a name, and from 3 on for a known name that `q` goes
    on from ("MT-09 SP" where only the MT-09 is listed), the fewer words too many the better. An unknown make has no models.
    `q` may name the maker, which is looked up when `make` was not given, and a year ("Yamaha MT 09", "R1 2020").
    """
    models = VehicleModel.objects.filter(merged_into__isnull=True).select_related("make").annotate(
        alias_names=ArraySubquery(ModelAlias.objects.filter(model=OuterRef("pk")).order_by("name").values("name")),
        generation_rows=ArraySubquery(
            VehicleGeneration.objects.filter(model=OuterRef("pk"))
            .order_by("year_from")
            .values(row=JSONObject(name="name", year_from="year_from", year_to="year_to", markets="markets"))
        ),
    )
    found = None
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
    return _like(models, q, wanted, found)


def _like(models: QuerySet[VehicleModel], q: str, wanted: str, make: VehicleMake | None) -> QuerySet[VehicleModel]:
    splits = _splits(q) if make is None else [(make, "", q)]
    exact, trimmed, _ = _candidates(splits[0][0].name if splits else "", splits[0][2] if splits else q)
    if splits and make is None and exact:
        models = models.filter(Q(make=splits[0][0]) | Q(folded__contains=wanted))
    stem = next((name[:80] for name in reversed(exact) if not _is_year(name)), wanted)  # without maker and year
    shorter = _shorter(splits[0][2] if splits else q)
    aliases = ModelAlias.objects.filter(model=OuterRef("pk"))
    models = models.annotate(full=Concat(F("make__folded"), F("folded"), output_field=CharField()))
    named = Q(folded__in=[wanted, *exact]) | Q(full=wanted) | Exists(aliases.filter(folded__in=[wanted, *exact]))
    begins, contains = Q(full__startswith=wanted), Q(full__contains=wanted)
    for text in dict.fromkeys([wanted, stem]):
        begins |= Q(folded__startswith=text) | Exists(aliases.filter(folded__startswith=text))
        contains |= Q(folded__contains=text) | Exists(aliases.filter(folded__contains=text))
    goes_on = {
        words_over: Q(folded__in=names) | Exists(aliases.filter(folded__in=names))
        for words_over, names in [(0, trimmed), *enumerate(([name] for name in shorter), 1)]
        if names
    }
    known = named | contains
    for condition in goes_on.values():
        known |= condition
    ranked = [When(named, then=Value(0)), When(begins, then=Value(1)), When(contains, then=Value(2))]
    ranked += [When(condition, then=Value(3 + words_over)) for words_over, condition in goes_on.items()]
    return models.filter(known).annotate(quality=Case(*ranked, output_field=IntegerField()))


def _shorter(text: str) -> list[str]:
    """The beginnings of a text by words, the longest first; a year at its front is no word of a name."""
    tokens = words(text)
    if len(tokens) > 1 and _is_year(tokens[0]):
        tokens = tokens[1:]
    return ["".join(tokens[:length])[:80] for length in range(len(tokens) - 1, 0, -1)][:8]
