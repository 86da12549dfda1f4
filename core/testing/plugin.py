"""pytest plugin: one PostgreSQL and one S3 server for a whole run, started before Django reads its settings."""

import os

import pytest
from django.conf import settings

from core.testing import services

_services: services.Services | None = None


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Start the servers unless a parent process did. pytest-django sets Django up in its own, later, hook."""
    global _services
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "revsync_backend.settings")
    if not services.running_elsewhere():
        _services = services.Services()
        _services.start()
    services.use_own_buckets(os.environ.get("PYTEST_XDIST_WORKER", ""))
    settings.DATABASES  # noqa: B018  (read now: pytest-django sets Django up only when the settings are configured)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop them, after Ctrl-C as well."""
    global _services
    if _services is not None:
        _services.stop()
        _services = None
