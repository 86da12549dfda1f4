"""The servers of one benchmark: PostgreSQL and S3 of its own, and one web worker each for the application and the floor."""

import contextlib
import http.client
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from core.embedded import ports, processes, secrets
from core.embedded.postgres import Postgres
from core.embedded.s3 import REGION, S3
from core.embedded.supervisor import web_command

ROOT = Path(__file__).resolve().parent.parent
APPLICATION, FLOOR = "application", "floor"
MODULES = {APPLICATION: "revsync_backend.wsgi:application", FLOOR: "benchmarks.floor:application"}
PREFIX = "revsync-bench-"
DATABASE_SETTINGS = {
    # Nothing may run beside the measurement: the loader vacuums, analyses and makes a checkpoint itself.
    "autovacuum": "off",
    "max_wal_size": "6GB",
    "checkpoint_timeout": "1h",
    "maintenance_work_mem": "256MB",
    # A quarter of a small database server's memory; the embedded server's 96 MB are for a developer's own machine.
    "shared_buffers": "1GB",
    "max_connections": "150",  # fifty writers beside fifty readers, each with a connection
}


def cores() -> tuple[int, int]:
    """The core of the web worker, and that of database and load. One and the same on a machine with a single core."""
    if not hasattr(os, "sched_getaffinity"):
        return 0, 0
    available = sorted(os.sched_getaffinity(0))
    return available[0], available[-1]


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """Processes started inside inherit the core. Without such a thing (macOS) they run where they like."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Servers:
    """PostgreSQL and S3 in a directory that vanishes at the end, unless one is given; web servers are started on them."""

    def __init__(self, directory: Path | None = None) -> None:
        _remove_abandoned()
        self.is_kept = directory is not None
        self.directory = directory or Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o711)  # PostgreSQL's unprivileged user passes through
        self.data = self.directory / "data"
        self.data.mkdir(mode=0o700, exist_ok=True)
        (self.data / "static").mkdir(exist_ok=True)
        self.secrets = secrets.load(self.data / "secrets.json")
        self.postgres = Postgres(
            self.directory / "postgres",
            self.directory / "postgres.log",
            self.secrets["postgres_superuser"],
            self.secrets["postgres_role"],
            extra=DATABASE_SETTINGS,
        )
        self.s3 = S3(self.directory / "s3", self.directory / "s3.log", self.secrets["s3_access_key"], self.secrets["s3_secret_key"])
        self.web: dict[str, subprocess.Popen[bytes]] = {}
        self.ports: dict[str, int] = {}

    def start(self) -> None:
        """Start both servers and set the environment that `revsync_backend.settings` reads, here and in the workers."""
        _, other = cores()
        with on_core(other):
            self.s3.begin()
            self.postgres.start()
            self.s3.finish()
        for name in ("REDIS_URL", "EMAIL_BACKEND", "METRICS_TOKEN", "TRUSTED_PROXY_HOPS", "MEDIA_PUBLIC_BASE_URL", "LOG_LEVEL", "DEBUG"):
            os.environ.pop(name, None)
        os.environ.update(
            {
                "DJANGO_SETTINGS_MODULE": "revsync_backend.settings",
                "REVSYNC_ENV": "development",
                "REVSYNC_EMBEDDED": "1",
                "REVSYNC_DATA_DIR": str(self.data),
                "SECRET_KEY": self.secrets["secret_key"],
                "JWT_SIGNING_KEYS": f"bench-1:{self.secrets['jwt_key']}",
                "FIELD_ENCRYPTION_KEYS": self.secrets["field_key"],
                "HASH_KEY": self.secrets["hash_key"],
                "CURSOR_KEY": self.secrets["cursor_key"],
                "SIGNING_KEYS_DIR": str(self.data / "signing"),
                "MAIL_DIR": str(self.data / "mail"),
                "PUBLIC_BASE_URL": "http://127.0.0.1",
                "ALLOWED_HOSTS": "127.0.0.1",
                "API_REQUESTS_PER_MINUTE": "1000000",  # one address sends all requests; they are counted all the same
                "DATABASE_URL": self.postgres.url,
                "S3_ENDPOINT_URL": self.s3.endpoint_url,
                "S3_PUBLIC_ENDPOINT_URL": self.s3.endpoint_url,
                "S3_REGION": REGION,
                "S3_ACCESS_KEY_ID": self.secrets["s3_access_key"],
                "S3_SECRET_ACCESS_KEY": self.secrets["s3_secret_key"],
                "S3_BUCKET_PRIVATE": self.s3.buckets[0],
                "S3_BUCKET_PUBLIC": self.s3.buckets[1],
                "PYTHONPATH": str(ROOT),
                "MALLOC_ARENA_MAX": "2",
            }
        )

    def start_web(self, name: str, *, workers: int = 1) -> None:
        """Start a web server as `make run` does: one worker on a core of its own, or more wherever they like; returns when it answers."""
        self.ports[name] = ports.free_port()
        command = [MODULES[name] if part == MODULES[APPLICATION] else part for part in web_command("127.0.0.1", self.ports[name])]
        command[command.index("--workers") + 1] = str(workers)
        with on_core(cores()[0]) if workers == 1 else contextlib.nullcontext():
            self.web[name] = processes.spawn(command, log=self.directory / f"{name}.log", env=dict(os.environ), cwd=ROOT)
        child = self.web[name]
        if not processes.wait_until(lambda: _answers(self.ports[name]), seconds=60, alive=lambda: child.poll() is None):
            log = (self.directory / f"{name}.log").read_text(errors="replace").splitlines()[-20:]
            raise RuntimeError(f"the web server of the {name} does not answer: " + "\n".join(log))

    def stop_web(self) -> None:
        for child in self.web.values():
            processes.stop_child(child)
        self.web.clear()

    def workers(self, name: str) -> list[psutil.Process]:
        """The worker processes behind gunicorn's master."""
        return psutil.Process(self.web[name].pid).children()

    def stop(self) -> None:
        """Stop everything and remove the directory, unless it was given."""
        self.stop_web()
        self.s3.stop()
        self.postgres.stop()
        if not self.is_kept:
            shutil.rmtree(self.directory, ignore_errors=True)


def _remove_abandoned() -> None:
    """Directories of runs that were killed; their servers died with them."""
    for directory in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = directory.name.removeprefix(PREFIX).split("-")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(directory, ignore_errors=True)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def python_version() -> str:
    return ".".join(map(str, sys.version_info[:3]))
