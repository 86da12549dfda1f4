"""The catalogue: what is committed, and how it gets into the database."""

from dataclasses import replace

import pytest
from django.core.management import call_command
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from garage import catalog, catalogue_data
from garage.catalogue_data import Catalogue, CatalogueDataWrong, MakeRow, ModelRow
from garage.folding import fold
from garage.models import MakeAlias, ModelAlias, VehicleMake, VehicleModel
from garage.services import import_catalogue
from garage.tests.factories import ModelAliasFactory, VehicleMakeFactory, VehicleModelFactory


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
            ({"make": "Nomake"}, "not in makes.csv"),
            ({"name": "MT 09"}, "listed twice"),
            ({"name": "Other", "aliases": ("FZ-09",)}, "stands for"),
        ],
    )
    def test_names_the_row_that_contradicts_another(self, monkeypatch, row, complaint):
        good = next(row for row in catalogue_data.read_additions() if row.name == "MT-09")
        monkeypatch.setattr(catalogue_data, "read_additions", lambda: [good, replace(good, **{"aliases": (), **row})])

        with pytest.raises(CatalogueDataWrong, match=complaint):
            catalogue_data.read_catalogue()


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

        assert (report.makes, report.models, report.aliases, report.added, report.changed) == (1, 1, 2, 2, 0)
        assert catalog.match_model("yam", "fz 09").name == "MT-09"

    def test_changes_nothing_the_second_time(self):
        import_catalogue(small_catalogue())
        before = all_ids()

        report = import_catalogue(small_catalogue())

        assert (report.added, report.changed, report.retired) == (0, 0, [])
        assert all_ids() == before

    def test_keeps_the_ids_of_rows_that_change(self):
        import_catalogue(small_catalogue())
        before = VehicleModel.objects.get()

        report = import_catalogue(small_catalogue(name="MT 09", year_to=2030, aliases=("Master of Torque",)))

        after = VehicleModel.objects.get()
        assert (after.pk, after.name, after.year_to, report.changed) == (before.pk, "MT 09", 2030, 1)
        assert [alias.name for alias in after.aliases.all()] == ["Master of Torque"]

    def test_keeps_rows_that_are_no_longer_listed_and_says_so(self):
        VehicleModelFactory(name="MT-01")

        report = import_catalogue(small_catalogue())

        assert report.retired == ["Yamaha MT-01"]
        assert "Yamaha MT-01" in str(report)

    def test_the_command_reports(self, capsys, monkeypatch):
        monkeypatch.setattr("garage.services.catalogue.read_catalogue", small_catalogue)

        call_command("import_catalogue")

        assert "1 models of 1 makes, 2 aliases; 2 added" in capsys.readouterr().out


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

    def test_a_make_with_models_is_not_deleted(self):
        model = VehicleModelFactory()

        with pytest.raises(ProtectedError):
            VehicleMake.objects.filter(pk=model.make_id).delete()
