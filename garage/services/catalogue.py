"""Bringing the committed catalogue into the database."""

from dataclasses import dataclass, field

from django.db import transaction

from garage.catalogue_data import Catalogue, read_catalogue
from garage.folding import fold
from garage.models import MakeAlias, ModelAlias, VehicleGeneration, VehicleMake, VehicleModel


@dataclass
class ImportReport:
    """What an import did. `retired` rows are no longer in the files but stay, because rows may point to them."""

    makes: int = 0
    models: int = 0
    aliases: int = 0
    generations: int = 0
    added: int = 0
    changed: int = 0
    retired: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        text = f"{self.models} models of {self.makes} makes, {self.aliases} aliases, {self.generations} generations; "
        text += f"{self.added} added, {self.changed} changed"
        return f"{text}; kept though no longer listed: {', '.join(self.retired[:20])}" if self.retired else text


def import_catalogue(catalogue: Catalogue | None = None) -> ImportReport:
    """Make the database's catalogue that of the committed files. Idempotent: a second run changes nothing.

    Called by an operator, at start and by tests. Rows keep their ids: they are found by folded names. Makes and models are
    never deleted; aliases and generations are. Locks the table of makes against a second import.
    Raises: CatalogueDataWrong, before anything changed.
    """
    catalogue = catalogue or read_catalogue()
    report = ImportReport(makes=len(catalogue.makes), models=len(catalogue.models))
    with transaction.atomic():
        makes = {make.folded: make for make in VehicleMake.objects.select_for_update(no_key=True).order_by("pk")}
        _save(
            VehicleMake,
            makes,
            {row.folded: {"name": row.name, "folded": row.folded, "rank": rank} for rank, row in enumerate(catalogue.makes, 1)},
            report,
        )
        models = {(model.make.folded, model.folded): model for model in VehicleModel.objects.select_related("make")}
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
                }
                for rank, row in enumerate(catalogue.models, 1)
            },
            report,
        )
        wanted = {row.key for row in catalogue.models}
        report.retired = [f"{model.make.name} {model.name}" for key, model in sorted(models.items()) if key not in wanted]
        _replace_aliases(catalogue, makes, models, report)
        _replace_generations(catalogue, models, report)
    return report


def _save(table, present: dict, wanted: dict, report: ImportReport) -> None:
    """Insert what is missing and update what differs; `present` then holds all of them."""
    changed, added = [], []
    for key, values in wanted.items():
        row = present.get(key)
        if row is None:
            row = present[key] = table(**values)
            added.append(row)
        elif any(getattr(row, name) != value for name, value in values.items()):
            for name, value in values.items():
                setattr(row, name, value)
            changed.append(row)
    table.objects.bulk_create(added, batch_size=500)
    if changed:
        table.objects.bulk_update(changed, [name for name in next(iter(wanted.values())) if name != "folded"], batch_size=500)
    report.added += len(added)
    report.changed += len(changed)


def _replace_aliases(catalogue: Catalogue, makes: dict, models: dict, report: ImportReport) -> None:
    """Aliases have no readers by id, so those that differ are simply made anew."""
    by_name = {fold(name): (name, makes[row.folded].pk) for row in catalogue.makes for name in row.aliases if fold(name) != row.folded}
    wanted_makes = {(folded, name, make_id) for folded, (name, make_id) in by_name.items()}
    wanted_models: dict[tuple, tuple] = {}
    for row in catalogue.models:
        for name in row.aliases:
            if (row.key[0], fold(name)) not in models:
                wanted_models.setdefault((makes[row.key[0]].pk, fold(name)), (name, models[row.key].pk))
    report.aliases = len(wanted_makes) + len(wanted_models)
    if wanted_makes != set(MakeAlias.objects.values_list("folded", "name", "make_id")):
        MakeAlias.objects.all().delete()
        MakeAlias.objects.bulk_create(
            MakeAlias(folded=folded, name=name, make_id=make_id) for folded, name, make_id in sorted(wanted_makes)
        )
    rows = {(make_id, folded, name, model_id) for (make_id, folded), (name, model_id) in wanted_models.items()}
    if rows != set(ModelAlias.objects.values_list("make_id", "folded", "name", "model_id")):
        ModelAlias.objects.all().delete()
        ModelAlias.objects.bulk_create(
            [ModelAlias(make_id=make_id, folded=folded, name=name, model_id=model_id) for make_id, folded, name, model_id in sorted(rows)],
            batch_size=1000,
        )


def _replace_generations(catalogue: Catalogue, models: dict, report: ImportReport) -> None:
    """Generations have no readers by id, so those of a model that differ are made anew."""
    wanted: dict = {}
    for row in catalogue.generations:
        facts = (row.name, row.year_from, row.year_to, list(row.markets), row.source_note)
        wanted.setdefault(models[row.model_key].pk, []).append(facts)
    present: dict = {}
    columns = ("name", "year_from", "year_to", "markets", "source_note")
    for model_id, *facts in VehicleGeneration.objects.order_by("model_id", "year_from").values_list("model_id", *columns):
        present.setdefault(model_id, []).append(tuple(facts))
    report.generations = len(catalogue.generations)
    differing = [pk for pk in wanted.keys() | present.keys() if sorted(wanted.get(pk, []), key=lambda row: row[1]) != present.get(pk)]
    if differing:
        VehicleGeneration.objects.filter(model_id__in=differing).delete()
        rows = [(pk, facts) for pk in sorted(differing) for facts in wanted.get(pk, [])]
        VehicleGeneration.objects.bulk_create(VehicleGeneration(model_id=pk, **dict(zip(columns, facts, strict=True))) for pk, facts in rows)
