"""Fixtures of the garage's tests."""

import pytest
from django.db import transaction


@pytest.fixture(scope="module")
def catalogue(django_db_setup, django_db_blocker):
    """The whole committed catalogue, for the tests of one module; rolled back after them."""
    from garage.services import import_catalogue  # the servers start, and Django with them, after this file is read

    with django_db_blocker.unblock(), transaction.atomic():
        yield import_catalogue()
        transaction.set_rollback(True)


@pytest.fixture
def catalogue_files(tmp_path, monkeypatch):
    """Call it with lines of additions.csv: the catalogue is read from real files with these, and Yamaha for a make."""
    from garage import catalogue_data

    def write(*additions: str) -> None:
        for name, lines in {
            "makes.csv": ["name,aliases,vpic_makes", "Yamaha,Yam,YAMAHA"],
            "additions.csv": ["make,model,kind,year_from,year_to,aliases,source", *additions],
            "catalogue.csv": ["make,model,kind,year_from,year_to,aliases,data_month"],
            "generations.csv": ["make,model,generation,year_from,year_to,markets,source"],
        }.items():
            (tmp_path / name).write_text("\n".join([*lines, ""]), encoding="utf-8")
        monkeypatch.setattr(catalogue_data, "DATA", tmp_path)

    return write
