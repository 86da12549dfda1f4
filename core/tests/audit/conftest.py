import pytest


@pytest.fixture
def log(transactional_db):
    """An empty log on real connections, and no copies of an earlier one in storage."""
    from core import storage
    from core.audit import copies
    from core.tests.audit.log import Log

    for key, _ in list(storage.list_keys(copies.PREFIX)):
        storage.delete(key)
    return Log()
