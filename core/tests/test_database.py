"""The health check of a kept connection."""

import pytest
from django.db import connection, connections
from django.db.utils import OperationalError


def _pid(db) -> int:
    with db.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


def _begin_request(db) -> None:
    """What Django does with each kept connection when a request starts."""
    db.close_if_unusable_or_obsolete()
    db.health_check_enabled = True


@pytest.fixture
def kept():
    """A second connection, as another thread of the web server would keep it."""
    db = connections.create_connection("default")
    db.settings_dict = {**connection.settings_dict}
    yield db
    db.close()


@pytest.mark.django_db(transaction=True)
class TestKeptConnections:
    def test_a_connection_that_stands_is_kept_without_a_round_trip(self, kept, monkeypatch):
        pid = _pid(kept)
        monkeypatch.setattr("django.db.backends.postgresql.base.DatabaseWrapper.is_usable", lambda db: pytest.fail("a round trip"))
        _begin_request(kept)
        assert _pid(kept) == pid

    def test_a_connection_whose_server_went_away_is_replaced_before_it_is_used(self, kept):
        pid = _pid(kept)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        _begin_request(kept)
        assert _pid(kept) != pid

    def test_after_an_error_the_server_itself_is_asked(self, kept, monkeypatch):
        _pid(kept)
        kept.errors_occurred = True
        asked = []
        monkeypatch.setattr("django.db.backends.postgresql.base.DatabaseWrapper.is_usable", lambda db: asked.append(db) or True)
        assert kept.is_usable()
        assert asked == [kept]

    def test_without_the_check_the_first_query_would_fail(self, kept):
        pid = _pid(kept)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        kept.health_check_enabled = False
        with pytest.raises(OperationalError):
            _pid(kept)
