"""The health check of a kept connection, and the end of every wait."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from django.conf import settings
from django.db import connection, connections
from django.db.utils import OperationalError, ProgrammingError

from core.database import deadlines


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


class SilentServer:
    """Stands between client and server, and says nothing any more once it is told so."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.silent = threading.Event()
        self.sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return self.listener.getsockname()[1]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                self.sockets.append(client)
                if not self.silent.is_set():
                    settings = connection.settings_dict
                    server = socket.create_connection((settings["HOST"], int(settings["PORT"])))
                    self.sockets.append(server)
                    for pair in ((client, server), (server, client)):
                        threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if not self.silent.is_set():
                    target.sendall(data)

    def close(self) -> None:
        for each in (self.listener, *self.sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # wakes who waits on it
            each.close()


@pytest.fixture
def silent(kept, monkeypatch):
    """`kept`, through a server that can fall silent, with short deadlines."""
    server = SilentServer()
    kept.settings_dict |= {"HOST": "127.0.0.1", "PORT": str(server.port)}
    monkeypatch.setattr(deadlines, "OPENING_SECONDS", 1.0)
    deadlines.install(statement_seconds=1.5)
    yield server
    deadlines.remove()
    server.close()


# Asks for more than arrives in one read, and is stopped until long after its deadline while the answer comes.
STOPPED = """
import os, signal, sys, threading, time
import psycopg2
from core.database import deadlines
connection = psycopg2.connect(sys.argv[1])
deadlines.install(statement_seconds=0.4)
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGSTOP)).start()
with connection.cursor() as cursor:
    cursor.execute("SELECT repeat('x', 100000) FROM pg_sleep(0.2)")
    print(len(cursor.fetchone()[0]), deadlines.gate.is_suspected)
"""


@pytest.mark.django_db(transaction=True)
def test_an_answer_that_is_there_is_read_however_late_the_process_gets_to_it(kept):
    kept.ensure_connection()
    known = kept.connection.get_dsn_parameters()
    dsn = " ".join(f"{name}={known[name]}" for name in ("host", "port", "user", "dbname"))
    command = [sys.executable, "-c", STOPPED, f"{dsn} password={kept.settings_dict['PASSWORD']}"]
    with subprocess.Popen(command, cwd=settings.BASE_DIR, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        os.waitpid(process.pid, os.WUNTRACED)
        time.sleep(1)
        process.send_signal(signal.SIGCONT)
        said = process.communicate(timeout=30)

    assert said == ("100000 False\n", "")


@pytest.mark.django_db(transaction=True)
class TestDeadlines:
    """A server that hangs: all its limits are kept by nobody, and TCP says that all is well."""

    def test_a_statement_that_is_never_answered_ends(self, kept, silent):
        _pid(kept)
        silent.silent.set()

        began = time.monotonic()
        with pytest.raises(OperationalError, match="did not answer in time"):
            _pid(kept)

        assert time.monotonic() - began >= 1.4
        assert kept.connection.closed
        assert deadlines.gate.is_suspected

    def test_one_caller_at_a_time_tries_again_and_the_others_do_not_wait(self, kept, silent):
        silent.silent.set()
        deadlines.gate.note(good=False)

        with deadlines.gate.passing(), pytest.raises(OperationalError, match="the last time"):
            _pid(kept)
        with pytest.raises(OperationalError, match="in time"):
            _pid(kept)

    def test_a_kept_connection_is_not_believed_while_the_server_is_suspected(self, kept, silent):
        _pid(kept)
        deadlines.gate.note(good=False)

        assert not kept.is_usable()

    def test_the_first_new_connection_ends_the_suspicion(self, kept, silent):
        pid = _pid(kept)
        deadlines.gate.note(good=False)

        _begin_request(kept)

        assert _pid(kept) != pid
        assert not deadlines.gate.is_suspected

    def test_what_takes_long_but_not_too_long_is_waited_for(self, kept, silent):
        with kept.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.3), repeat('x', 3000000)")
            assert len(cursor.fetchone()[1]) == 3_000_000
            with pytest.raises(ProgrammingError):
                cursor.execute("SELECT nothing_of_that_name")
            cursor.execute("SELECT 1; SELECT 2")
            assert cursor.fetchall() == [(2,)]
