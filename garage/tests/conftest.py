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
