"""The catalogue: what is committed, and how it gets into the database."""

from dataclasses import replace

import pytest
from django.core.management import call_command
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from garage import catalog, catalogue_data
from garage.catalogue_data import (
    Catalogue,
    CatalogueDataWrong,
    GenerationRow,
    MakeRow,
    ModelRow,
)
from garage.folding import fold
from garage.models import MakeAlias, ModelAlias, VehicleGeneration, VehicleMake, VehicleModel
from garage.services import import_catalogue
from garage.tests.factories import (
    ModelAliasFactory,
    VehicleGenerationFactory,
    VehicleMakeFactory,
    VehicleModelFactory,
)


class TestCommittedFiles:
    def test_every_row_is_consistent_and_has_its_source(self):
        catalogue = catalogue_data.read_catalogue()

        assert 1000 < len(catalogue.models) < 3000
        assert len({row.key for row in catalogue.models}) == len(catalogue.models)
        assert all(row.source_note and fold(row.name) and 1885 <= row.year_from <= (row.year_to or 9999) for row in catalogue.models)
        assert {fold(row.make) for row in catalogue.models} <= {make.folded for make in catalogue.makes}
        assert sum((catalogue_data.DATA / name).stat().st_size for name in ("makes.csv", "additions.csv", "catalogue.csv")) < 300_000

    def test_an_addition_wins_over_vpic(self):
        by_key = {row.key: row for row in catalogue_data.read_catalogue().models}

        assert by_key["yamaha", "mt09"].source == "ADDED"
        assert ("yamaha", "fz09") not in by_key  # the name of the same motorcycle in the United States
        assert by_key["chevrolet", "corvette"].source == "VPIC"

    @pytest.mark.parametrize(
        ("row", "complaint"),
        [
            ("Nomake,MT-09,MOTORCYCLE,2013,,,a test", "not in makes.csv"),
            ("Yamaha,MT 09,MOTORCYCLE,2013,,,a test", "listed twice"),
            ("Yamaha,Other,MOTORCYCLE,2013,,FZ-09,a test", "stands for"),
        ],
    )
    def test_names_the_row_that_contradicts_another(self, catalogue_files, row, complaint):
        catalogue_files("Yamaha,MT-09,MOTORCYCLE,2013,,FZ-09,a test", row)

        with pytest.raises(CatalogueDataWrong, match=complaint):
            catalogue_data.read_catalogue()


    def test_generations_are_of_popular_models_and_say_where_they_come_from(self):
        generations = catalogue_data.read_catalogue().generations

        assert len({row.model_key for row in generations}) > 100
        assert len(generations) > 400
        assert all(row.source_note for row in generations)

    @pytest.mark.parametrize(
        ("row", "complaint"),
        [
            ({"model": "MT-99"}, "not in the catalogue"),
            ({"markets": ("EU", "XX")}, "'XX' is no market"),
            ({"year_from": 2010}, "not within the model's"),
            ({"year_to": 2013}, "not within the model's"),
            ({"year_from": 2016}, "2016 is also Gen 1's"),
        ],
    )
    def test_names_the_generation_that_can_not_be(self, row, complaint):
        first = GenerationRow("Yamaha", "MT-09", "Gen 1", 2013, 2016, (), "a test")
        second = replace(first, name="Gen 2", year_from=2017, year_to=None)
        models = {row.key: row for row in small_catalogue().models}
        catalogue_data.check_generations([second, first], models)

        with pytest.raises(CatalogueDataWrong, match=complaint):
            catalogue_data.check_generations([first, replace(second, **row)], models)


def small_catalogue(**changes) -> Catalogue:
    make = MakeRow("Yamaha", ("Yam",), ())
    model = ModelRow("Yamaha", "MT-09", "MOTORCYCLE", 2013, None, ("FZ-09",), "ADDED", "a test")
    return Catalogue(makes=[make], models=[replace(model, **changes)])


def all_ids() -> list:
    return [list(table.objects.values_list("pk").order_by("pk")) for table in (VehicleMake, VehicleModel, MakeAlias, ModelAlias)]


@pytest.mark.django_db
class TestImport:
    def test_fills_an_empty_database(self):
        report = import_catalogue(small_catalogue())

        assert (report.makes, report.models, report.aliases) == (1, 1, 2)
        assert report.added == ["Yamaha", "Yamaha MT-09", "alias Yam", "alias FZ-09"]
        assert (report.renamed, report.changed, report.removed, report.retired) == ([], [], [], [])
        assert catalog.match_model("yam", "fz 09").name == "MT-09"

    def test_changes_nothing_the_second_time(self):
        import_catalogue(small_catalogue())
        before = all_ids()

        report = import_catalogue(small_catalogue())

        assert report.changes_nothing
        assert report.lines == []
        assert str(report).endswith("nothing changed")
        assert all_ids() == before

    def test_the_committed_files_change_nothing_the_second_time(self):
        first = import_catalogue()
        before = all_ids()

        again = import_catalogue()

        assert len(first.added) > 3000
        assert again.changes_nothing
        assert all_ids() == before

    def test_a_changed_file_is_told_row_by_row(self):
        make = MakeRow("Yamaha", ("Yam",), ())
        rows = {
            name: ModelRow("Yamaha", name, "MOTORCYCLE", 2013, None, aliases, "ADDED", "a test")
            for name, aliases in (("MT-09", ("FZ-09",)), ("MT-07", ()), ("FJ-09", ()), ("XV 1900", ()))
        }
        import_catalogue(Catalogue([make], list(rows.values())))
        ids = dict(VehicleModel.objects.values_list("name", "pk"))
        changed = [
            replace(rows["MT-09"], year_to=2030, aliases=("Master of Torque",)),
            rows["MT-07"],
            replace(rows["FJ-09"], name="Tracer 900", aliases=("FJ-09",)),
            ModelRow("Yamaha", "Niken", "MOTORCYCLE", 2018, None, (), "ADDED", "a test"),
        ]

        report = import_catalogue(Catalogue([make], changed))

        assert report.added == ["Yamaha Niken", "alias FJ-09", "alias Master of Torque"]
        assert report.renamed == ["Yamaha Tracer 900, before: FJ-09"]
        assert report.changed == ["Yamaha MT-09: year_to None → 2030"]
        assert report.removed == ["alias FZ-09"]
        assert report.retired == ["Yamaha XV 1900"]
        assert "1 renamed" in str(report)
        assert "renamed: Yamaha Tracer 900, before: FJ-09" in report.lines
        assert VehicleModel.objects.get(name="Tracer 900").pk == ids["FJ-09"]
        assert catalog.match_model("Yamaha", "FJ09").pk == ids["FJ-09"]
        assert import_catalogue(Catalogue([make], changed)).changes_nothing

    def test_a_renamed_make_keeps_its_models(self):
        import_catalogue(small_catalogue())
        before = VehicleModel.objects.get()

        renamed = MakeRow("Yamaha Motor", ("Yamaha",), ())
        report = import_catalogue(Catalogue([renamed], [replace(small_catalogue().models[0], make="Yamaha Motor")]))

        assert report.renamed == ["Yamaha Motor, before: Yamaha"]
        assert (VehicleMake.objects.get().name, VehicleModel.objects.get().pk) == ("Yamaha Motor", before.pk)
        assert catalog.match_model("yamaha", "mt09").pk == before.pk

    def test_ranks_that_move_are_counted_only(self):
        first = small_catalogue()
        import_catalogue(first)
        other = replace(first.models[0], name="MT-07", aliases=())

        report = import_catalogue(replace(first, models=[other, *first.models]))

        assert (report.added, report.changed, report.reordered) == (["Yamaha MT-07"], [], 1)

    def test_what_staff_added_stays_until_the_files_know_better(self):
        import_catalogue(small_catalogue())
        model = VehicleModel.objects.get()
        ModelAliasFactory(model=model, name="Hyper Naked", by_staff=True)

        assert import_catalogue(small_catalogue()).changes_nothing
        assert catalog.match_model("Yamaha", "hyper-naked").pk == model.pk

        report = import_catalogue(small_catalogue(aliases=("FZ-09", "Hyper Naked")))
        assert "alias Hyper Naked, which staff had added" in report.removed
        assert ModelAlias.objects.get(folded="hypernaked").by_staff is False

    def test_keeps_the_ids_of_rows_that_change(self):
        import_catalogue(small_catalogue())
        before = VehicleModel.objects.get()

        report = import_catalogue(small_catalogue(name="MT 09", year_to=2030, aliases=("Master of Torque",)))

        after = VehicleModel.objects.get()
        assert (after.pk, after.name, after.year_to) == (before.pk, "MT 09", 2030)
        assert (report.renamed, report.changed) == (["Yamaha MT 09, before: MT-09"], ["Yamaha MT 09: year_to None → 2030"])
        assert [alias.name for alias in after.aliases.all()] == ["Master of Torque"]

    def test_keeps_rows_that_are_no_longer_listed_and_says_so(self):
        VehicleModelFactory(name="MT-01")

        report = import_catalogue(small_catalogue())

        assert report.retired == ["Yamaha MT-01"]
        assert "retired: Yamaha MT-01" in report.lines
        assert import_catalogue(small_catalogue()).changes_nothing

    def test_generations_follow_the_files(self):
        gen_1 = GenerationRow("Yamaha", "MT-09", "Gen 1", 2013, 2016, (), "a test")
        gen_2 = replace(gen_1, name="Gen 2", year_from=2017, year_to=None, markets=("EU", "UK"))

        def generations_after(*rows):
            import_catalogue(replace(small_catalogue(), generations=list(rows)))
            return list(VehicleGeneration.objects.order_by("year_from").values_list("pk", "name", "year_to", "markets"))

        first = generations_after(gen_1, gen_2)
        assert [row[1:] for row in first] == [("Gen 1", 2016, []), ("Gen 2", None, ["EU", "UK"])]
        assert generations_after(gen_2, gen_1) == first
        assert [row[1:] for row in generations_after(gen_2, replace(gen_1, name="RN29"))] == [("RN29", 2016, []), first[1][1:]]
        assert generations_after() == []

    def test_the_command_reports(self, capsys, catalogue_files):
        catalogue_files("Yamaha,MT-09,MOTORCYCLE,2013,,FZ-09,a test")

        call_command("import_catalogue")

        said = capsys.readouterr().out
        assert "1 models of 1 makes, 2 aliases, 0 generations; 4 added" in said
        assert "  added: Yamaha MT-09\n" in said


@pytest.mark.django_db
class TestConstraints:
    def refuses(self, constraint):
        return pytest.raises(IntegrityError, match=constraint)

    def test_postgres_refuses_a_model_under_two_spellings(self):
        VehicleModelFactory()

        with self.refuses("vehicle_model_once_per_make"), transaction.atomic():
            VehicleModel.objects.create(
                make=VehicleMakeFactory(), kind="CAR", name="Mt 09", folded="mt09", year_from=2000, rank=1, source="ADDED", source_note="x"
            )

    def test_postgres_refuses_an_unfolded_name(self):
        with self.refuses("vehicle_make_folded_has_no_spaces"), transaction.atomic():
            VehicleMakeFactory(name="Moto Guzzi", folded="moto guzzi")

    def test_postgres_refuses_years_in_the_wrong_order(self):
        with self.refuses("vehicle_model_years_in_order"), transaction.atomic():
            VehicleModelFactory(year_from=2010, year_to=2009)

    def test_postgres_refuses_an_alias_of_two_models(self):
        ModelAliasFactory()

        with self.refuses("model_alias_once_per_make"), transaction.atomic():
            ModelAliasFactory(model=VehicleModelFactory(name="MT-07"))

    def test_postgres_refuses_a_year_of_two_generations(self):
        VehicleGenerationFactory(year_from=2021, year_to=2023)
        VehicleGenerationFactory(model=VehicleModelFactory(name="MT-07"), year_from=2021, year_to=2023)

        with self.refuses("vehicle_generation_one_per_year"), transaction.atomic():
            VehicleGenerationFactory(name="Gen 4", year_from=2023, year_to=None)

    def test_a_make_with_models_is_not_deleted(self):
        model = VehicleModelFactory()

        with pytest.raises(ProtectedError):
            VehicleMake.objects.filter(pk=model.make_id).delete()
