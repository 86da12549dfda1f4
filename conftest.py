"""Fixtures and set-up for every test of the project."""

import pytest
from django.core.cache import cache

pytest_plugins = ["core.testing.plugin", "core.testing.leak_plugin", "core.testing.answers"]


@pytest.fixture(scope="session", autouse=True)
def _fast_flush() -> None:
    """Imported late: Django is not set up when this file is read."""
    from core.testing import flush

    flush.install()


@pytest.fixture(autouse=True)
def _empty_cache() -> None:
    """Approximate limits and short caches must not leak from test to test."""
    cache.clear()
