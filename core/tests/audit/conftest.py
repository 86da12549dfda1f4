import uuid

import pytest


@pytest.fixture
def log(transactional_db, monkeypatch):
    """An empty log on real connections. Its copies lie where no other test's do: all share one store."""
    from core.audit import copies
    from core.tests.audit.log import Log

    monkeypatch.setattr(copies, "PREFIX", f"audit-{uuid.uuid4()}/")
    return Log()
