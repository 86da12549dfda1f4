"""Bringing the committed catalogue into the database."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from garage.catalogue_data import Catalogue, read_catalogue
from garage.folding import fold
from garage.listeners import tell_model_merged
from garage.models import MakeAlias, ModelAlias, UnlistedName, Vehicle, VehicleGeneration, VehicleMake, VehicleModel

LISTED_AT_MOST = 50  # lines of a kind: the first import of an empty database is no news
UNREPORTED = frozenset({"rank"})  # one row more moves all behind it


@dataclass
class ImportReport:
    """What an import changed, by name. `retired` rows are no longer in the files but stay, because rows may point to them;
    they are told at every run, and are no change.
    """

    makes: int = 0
    models: int = 0
    aliases: int = 0
    generations: int = 0
    added: list[str] = field(default_factory=list)
    renamed: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    merged: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)  # aliases and generations
    retired: list[str] = field(default_factory=list)
    reordered: int = 0

    @property
    def changes_nothing(self) -> bool:
        return not (self.added or self.renamed or self.changed or self.merged or self.removed or self.reordered)

    def __str__(self) -> str:
        text = f"{self.models} models of {self.makes} makes, {self.aliases} aliases, {self.generations} generations; "
        if self.changes_nothing:
            return f"{text}nothing changed"
        counted = [f"{len(getattr(self, kind))} {kind}" for kind in ("added", "renamed", "changed", "merged", "removed")]
        return f"{text}{', '.join(counted)}, {self.reordered} reordered"

    @property
    def lines(self) -> list[str]:
        """What changed and what is retired, one line each; only counted where it is too much to read."""
        found = []
        for kind in ("added", "renamed", "changed", "merged", "removed", "retired"):
            names = sorted(getattr(self, kind))
            found += [f"{kind}: {name}" for name in names[:LISTED_AT_MOST]]
            if len(names) > LISTED_AT_MOST:
                found.append(f"{kind}: {len(names) - LISTED_AT_MOST} more")
        return found


def import_catalogue(catalogue: Catalogue | None = None) -> ImportReport:
    """Make the database's catalogue that of the committed files. Idempotent: a second run changes nothing.

    Called by an operator, at start and by tests. Rows keep their ids: they are found by folded names, or by an alias that was
    their name before. Makes and models are never deleted; aliases and generations are, but for the aliases that staff added.
    A model that is no longer listed, and whose name another one has for an alias, is merged into that: its vehicles move, and
    so does whatever apps above have of it. Locks the table of makes against a second import, and vehicles that move.
    Raises: CatalogueDataWrong, before anything changed.
    """
    catalogue = catalogue or read_catalogue()
    report = ImportReport(makes=len(catalogue.makes), models=len(catalogue.models), generations=len(catalogue.generations))
    with transaction.atomic():
        makes = {make.folded: make for make in VehicleMake.objects.select_for_update(no_key=True).order_by("pk")}
        _rename(makes, {row.folded: row.aliases for row in catalogue.makes})
        _save(
            VehicleMake,
            makes,
            {row.folded: {"name": row.name, "folded": row.folded, "rank": rank} for rank, row in enumerate(catalogue.makes, 1)},
            report,
        )
        folded_make = {make.pk: folded for folded, make in makes.items()}
        models = {(folded_make[model.make_id], model.folded): model for model in VehicleModel.objects.select_related("make")}
        _rename(models, {row.key: row.aliases for row in catalogue.models})
        _save(
            VehicleModel,
            models,
            {
                row.key: {
                    "make_id": makes[row.key[0]].pk,
                    "name": row.name,
                    "folded": row.key[1],
                    "kind": row.kind,
                    "year_from": row.year_from,
                    "year_to": row.year_to,
                    "rank": rank,
                    "source": row.source,
                    "source_note": row.source_note,
                    "merged_into_id": None,
                }
                for rank, row in enumerate(catalogue.models, 1)
            },
            report,
        )
        merged = _merge(catalogue, models, report)
        models = {key: model for key, model in models.items() if key not in merged}
        wanted = {row.key for row in catalogue.models}
        report.retired = [f"{makes[key[0]].name} {model.name}" for key, model in sorted(models.items()) if key not in wanted]
        _replace_aliases(catalogue, makes, models, report)
        _replace_generations(catalogue, models, report)
    return report


def _rename(present: dict, wanted: dict) -> None:
    """File rows that are no longer listed under the listed row that has their name as an alias: it is theirs, renamed."""
    for key, aliases in wanted.items():
        if key in present:
            continue
        make = key[:-1] if isinstance(key, tuple) else ()
        former = [(*make, fold(alias)) if make else fold(alias) for alias in aliases]
        unlisted = [old for old in dict.fromkeys(former) if old in present and old not in wanted]
        if len(unlisted) == 1:
            present[key] = present.pop(unlisted[0])


def _save(table: type, present: dict, wanted: dict[Any, dict[str, Any]], report: ImportReport) -> None:
    """Insert what is missing and update what differs; `present` then holds all of them."""
    changed, added = [], []
    names = {} if table is VehicleMake else {make.pk: make.name for make in VehicleMake.objects.all()}
    for key, values in wanted.items():
        label = values["name"] if table is VehicleMake else f"{names[values['make_id']]} {values['name']}"
        row = present.get(key)
        if row is None:
            row = present[key] = table(**values)
            added.append(row)
            report.added.append(label)
            continue
        differing = {name: (getattr(row, name), value) for name, value in values.items() if getattr(row, name) != value}
        if not differing:
            continue
        _tell(report, label, row.name, differing)
        for name, (_, value) in differing.items():
            setattr(row, name, value)
        changed.append(row)
    table.objects.bulk_create(added, batch_size=500)  # type: ignore[attr-defined]  # a model
    if changed:
        table.objects.bulk_update(changed, list(next(iter(wanted.values()))), batch_size=500)  # type: ignore[attr-defined]


def _tell(report: ImportReport, label: str, name_before: str, differing: dict[str, tuple[Any, Any]]) -> None:
    if "name" in differing:
        report.renamed.append(f"{label}, before: {name_before}")
    facts = [f"{name} {before} → {after}" for name, (before, after) in differing.items() if name not in UNREPORTED | {"name", "folded"}]
    if facts:
        report.changed.append(f"{label}: {', '.join(facts)}")
    elif "name" not in differing:
        report.reordered += 1


def _merge(catalogue: Catalogue, models: dict, report: ImportReport) -> set:
    """Merge what is only another name by now. Returns the keys of all merged models; what still points to them is moved."""
    listed = {row.key for row in catalogue.models}
    alias_of = {(row.key[0], fold(alias)): row.key for row in reversed(catalogue.models) for alias in row.aliases}
    merged = set()
    for key, model in models.items():
        into = models.get(alias_of.get(key))
        if key in listed or into is None or into.kind != model.kind:
            continue
        merged.add(key)
        if model.merged_into_id != into.pk:
            VehicleModel.objects.filter(pk=model.pk).update(merged_into=into)
            report.merged.append(f"{model} into {into.name}")
        Vehicle.objects.filter(catalog_model=model).update(catalog_model=into)
        UnlistedName.objects.filter(merged_into=model).update(merged_into=into)
        ModelAlias.objects.filter(model=model, by_staff=True).update(model=into)
        tell_model_merged(model=model, into=into)
    return merged


def _replace_aliases(catalogue: Catalogue, makes: dict, models: dict, report: ImportReport) -> None:
    by_name = {fold(name): (name, makes[row.folded].pk) for row in catalogue.makes for name in row.aliases if fold(name) != row.folded}
    wanted_makes = {(folded, name, make_id) for folded, (name, make_id) in by_name.items()}
    wanted_models: dict[tuple, tuple] = {}
    for row in catalogue.models:
        for name in row.aliases:
            if (row.key[0], fold(name)) not in models:
                wanted_models.setdefault((makes[row.key[0]].pk, fold(name)), (name, models[row.key].pk))
    report.aliases = len(wanted_makes) + len(wanted_models)
    _replace(MakeAlias.objects.all(), ("folded", "name", "make_id"), wanted_makes, report)
    named = {(make.pk, folded) for (make_folded, folded) in models for make in [makes[make_folded]]}
    by_staff = ModelAlias.objects.filter(by_staff=True)
    taken = [alias.pk for alias in by_staff if (alias.make_id, alias.folded) in named | wanted_models.keys()]
    report.removed += [f"alias {alias.name}, which staff had added" for alias in by_staff.filter(pk__in=taken)]
    by_staff.filter(pk__in=taken).delete()  # the files say now whose name it is
    rows = {(make_id, folded, name, model_id) for (make_id, folded), (name, model_id) in wanted_models.items()}
    _replace(ModelAlias.objects.filter(by_staff=False), ("make_id", "folded", "name", "model_id"), rows, report)


def _replace(present, columns: tuple[str, ...], wanted: Iterable[tuple], report: ImportReport) -> None:
    """Aliases have no readers by id: those that are not wanted go, those that are missing come."""
    held = {tuple(row): pk for pk, *row in present.values_list("pk", *columns)}
    name = columns.index("name")
    gone = [pk for row, pk in held.items() if row not in wanted]
    new = [row for row in sorted(wanted) if row not in held]
    report.removed += [f"alias {row[name]}" for row in held if row not in wanted]
    report.added += [f"alias {row[name]}" for row in new]
    present.filter(pk__in=gone).delete()
    present.model.objects.bulk_create([present.model(**dict(zip(columns, row, strict=True))) for row in new], batch_size=1000)


def _replace_generations(catalogue: Catalogue, models: dict, report: ImportReport) -> None:
    """Generations have no readers by id, so those of a model that differ are made anew."""
    columns = ("name", "year_from", "year_to", "markets", "source_note")
    wanted: dict = {}
    labels: dict = {}
    for row in catalogue.generations:
        pk = models[row.model_key].pk
        labels[pk] = f"{row.make} {row.model}"
        wanted.setdefault(pk, []).append((row.name, row.year_from, row.year_to, list(row.markets), row.source_note))
    present: dict = {}
    for model_id, *facts in VehicleGeneration.objects.order_by("model_id", "year_from").values_list("model_id", *columns):
        present.setdefault(model_id, []).append(tuple(facts))
    new = [pk for pk, rows in wanted.items() if pk not in present]
    gone = [pk for pk in present if pk not in wanted]
    differing = [pk for pk, rows in wanted.items() if pk in present and sorted(rows, key=lambda row: row[1]) != present[pk]]
    report.added += [f"generations of {labels[pk]}" for pk in new]
    report.changed += [f"{labels[pk]}: generations" for pk in differing]
    report.removed += [f"generations of {model}" for model in VehicleModel.objects.filter(pk__in=gone).select_related("make")]
    VehicleGeneration.objects.filter(model_id__in=[*gone, *differing]).delete()
    VehicleGeneration.objects.bulk_create(
        VehicleGeneration(model_id=pk, **dict(zip(columns, facts, strict=True)))
        for pk in sorted([*new, *differing])
        for facts in wanted[pk]
    )
