"""The world that generated tests share."""

import pytest

from core.testing.payments import StandIn


@pytest.fixture(scope="session")
def payments_process(tmp_path_factory):
    """One stand-in payment server for the run; it sends no events by itself."""
    server = StandIn(tmp_path_factory.mktemp("payments"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def world(django_db_setup, django_db_blocker, payments_process):
    """Everybody and their things, for the tests of one module; each case is undone, and all of it after them."""
    from django.test import override_settings

    from core.testing.matrix import undone
    from revsync_backend.tests import world as people  # Django is not set up yet when this file is read

    provider = override_settings(STRIPE_API_BASE=payments_process.url, PAYMENTS_SANDBOX_URL=payments_process.url)
    with django_db_blocker.unblock(), provider, undone():
        yield people.build()
