"""Fixtures of the marketplace's tests."""

import uuid

import pytest

from core.testing.payments import StandIn


@pytest.fixture(scope="session")
def payments_process(tmp_path_factory):
    """One stand-in payment server for the whole run; it sends no events by itself."""
    server = StandIn(tmp_path_factory.mktemp("payments"))
    yield server
    server.stop()


@pytest.fixture
def payments(payments_process, settings):
    """The stand-in payment server, behaving well, as the application's provider."""
    settings.STRIPE_API_BASE = payments_process.url
    settings.PAYMENTS_SANDBOX_URL = payments_process.url
    payments_process.behave()
    yield payments_process
    payments_process.behave()


@pytest.fixture(autouse=True)
def _own_place_for_status_copies(monkeypatch):
    """All tests share one store, but each is an installation of its own: none may find another's status documents."""
    from marketplace.services import status

    monkeypatch.setattr(status, "COPY_PREFIX", f"tests/status/{uuid.uuid4()}/")


@pytest.fixture
def own(tmp_path, settings):
    """A provider that knows nothing but what this test does."""
    server = StandIn(tmp_path)
    settings.STRIPE_API_BASE = settings.PAYMENTS_SANDBOX_URL = server.url
    yield server
    server.kill()
