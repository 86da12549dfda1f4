"""`make run`: the whole system as one process tree. `python -m core.embedded.supervisor`.

Order: what a killed run left is stopped → S3, PostgreSQL, the signer and the stand-in for payments → migrations → web, worker, schedule →
demo data on the first start → one ready line, once `/readyz` answers 200. A child that dies is started again, and it is said;
one that dies again and again ends the whole. SIGTERM, SIGHUP or Ctrl-C stop everything in the opposite order.

honcho was looked at: it starts and stops a Procfile, but neither waits for readiness, nor restarts, nor finds what a
kill -9 left behind, and these are most of what is wanted here.

Nothing here imports Django, so that the supervisor stays small.
"""

import argparse
import contextlib
import ctypes
import fcntl
import hashlib
import http.client
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from core.embedded import ports, processes, secrets
from core.embedded.postgres import Postgres, PostgresFailed
from core.embedded.s3 import REGION, S3, S3Failed

ROOT = Path(__file__).resolve().parent.parent.parent
DEATHS_ALLOWED, DEATHS_WINDOW_SECONDS = 5, 60.0
LOG_LIMIT_BYTES = 20_000_000
READY_SECONDS = 300.0
MIGRATE_SECONDS, DEMO_SECONDS = 900.0, 900.0  # a slow machine may take its time: a transaction is never cut off lightly
STOP_GRACE_SECONDS = 4.0
WEB_THREADS = 4


class StopRequested(BaseException):
    """A signal asked for the end while something was being started."""


class Failed(Exception):
    """Starting can't go on; the message is the one line to print."""


@dataclass(frozen=True)
class Options:
    """What the environment of `make run` says."""

    port: int
    data_dir: Path
    public_host: str
    demo: bool

    @classmethod
    def from_environment(cls) -> "Options":
        port = os.environ.get("PORT") or "8000"
        if not port.isdigit() or not 1 <= int(port) <= 65_535:
            raise Failed(f"PORT is {port!r}: a number from 1 to 65535 is wanted")
        data_dir = Path(os.environ.get("REVSYNC_DATA_DIR") or ROOT / ".data").expanduser().absolute()
        return cls(int(port), data_dir, os.environ.get("REVSYNC_PUBLIC_HOST", "").strip(), os.environ.get("REVSYNC_DEMO", "1") != "0")


@dataclass
class Child:
    """One process that must run all the time. `start` makes it anew; `stop` ends it."""

    name: str
    start: Callable[[], subprocess.Popen[bytes]]
    first_signal: signal.Signals = signal.SIGTERM
    process: subprocess.Popen[bytes] | None = None
    deaths: deque[float] = field(default_factory=deque)
    start_again_at: float | None = None


class Supervisor:
    def __init__(self, options: Options) -> None:
        self.options = options
        self.data = options.data_dir
        self.children: list[Child] = []
        self.s3: S3 | None = None
        self.postgres: Postgres | None = None
        self.payments_port: int | None = None
        self.relay_port: int | None = None
        self.signer_socket: Path | None = None
        self.helpers: list[subprocess.Popen[bytes]] = []  # short ones: migrate, load_demo
        self.stop_requested = False
        self.starting = True
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)

    # Life

    def run(self) -> int:
        """Start everything, stay until the end is asked for or needed, stop everything. Returns the exit status."""
        self._watch_signals()
        began = time.monotonic()
        status = 0
        with self._lock():
            try:
                self._prepare()
                self._start_servers()
                self._start_application()
                self._await_ready(began)
                self.starting = False
                status = self._watch()
            except StopRequested:
                pass
            except (Failed, PostgresFailed, S3Failed) as failure:
                self.say(str(failure))
                status = 1
            finally:
                self.starting = False
                self._stop_all()
        return status

    def say(self, text: str) -> None:
        with contextlib.suppress(OSError):
            print(f"revsync: {text}", flush=True)

    def _watch_signals(self) -> None:
        def asked(_number: int, _frame: object) -> None:
            first = not self.stop_requested
            self.stop_requested = True
            if self.starting and first:
                raise StopRequested

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, asked)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # wakes the loop
        signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """One supervisor for each data directory. A copy that is just ending is waited for."""
        self._make_data_dir()
        path = self.data / "supervisor.lock"
        with path.open("a+") as file:
            deadline = time.monotonic() + 15
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    file.seek(0)
                    owner = file.read().split()
                    if "stopping" not in owner or time.monotonic() > deadline:
                        who = f" (process {owner[0]})" if owner else ""
                        raise Failed(f"another copy runs on {self.data}{who}: stop it, or set REVSYNC_DATA_DIR and PORT") from None
                    time.sleep(0.1)
            self._lock_file = file
            self._note(str(os.getpid()))
            yield

    def _note(self, text: str) -> None:
        self._lock_file.seek(0)
        self._lock_file.truncate()
        self._lock_file.write(text)
        self._lock_file.flush()

    def _make_data_dir(self) -> None:
        try:
            self.data.mkdir(parents=True, exist_ok=True)
            # PostgreSQL's own user must pass through when root starts all this; everything inside that is private says so itself.
            self.data.chmod(0o711 if os.geteuid() == 0 else 0o700)
            for name in ("logs", "mail", "signing", "payments", "static"):
                (self.data / name).mkdir(exist_ok=True)
                (self.data / name).chmod(0o700)
        except OSError as failure:
            raise Failed(f"the data directory {self.data} can't be used: {failure.strerror}; set REVSYNC_DATA_DIR") from failure

    # Starting

    def _prepare(self) -> None:
        self.book = processes.ProcessBook(self.data / "processes.json")
        leftovers = self.book.leftovers()
        if leftovers:
            self.say(f"stopping what an earlier run left: {', '.join(sorted({name for name, _ in leftovers}))}")
            processes.stop([process for _, process in leftovers], grace_seconds=3)
        host = "0.0.0.0" if self.options.public_host else "127.0.0.1"  # noqa: S104 (asked for by REVSYNC_PUBLIC_HOST)
        if not ports.is_free(self.options.port, host):
            raise Failed(f"port {self.options.port} is taken: choose another one with PORT=…")
        free_bytes = shutil.disk_usage(self.data).free
        if free_bytes < 300_000_000:
            raise Failed(f"only {free_bytes // 1_000_000} MB are free under {self.data}: 300 MB are needed")
        self.secrets = secrets.load(self.data / "secrets.json")
        self._trim_logs()

    def _start_servers(self) -> None:
        remembered = self._remembered_ports()
        if not os.environ.get("S3_ENDPOINT_URL"):
            keys = self.secrets["s3_access_key"], self.secrets["s3_secret_key"]
            self.s3 = S3(self.data / "s3", self._log("s3"), *keys, first_port=remembered.get("s3"))
            self.s3.begin()
            self._enter_server("s3", self.s3)
        if not os.environ.get("DATABASE_URL"):
            self.postgres = Postgres(
                self.data / "postgres",
                self._log("postgres"),
                self.secrets["postgres_superuser"],
                self.secrets["postgres_role"],
                port=remembered.get("postgres"),
            )
            self.postgres.start()
            self._enter_server("postgres", self.postgres)
        # The S3 server is given its chance to move to other ports before anybody is told where it is.
        if self.s3:
            self.s3.finish()
            self._enter_server("s3", self.s3)
        if not os.environ.get("STRIPE_API_BASE"):
            self.payments_port = ports.free_port(remembered.get("payments"))
        if "SIGNER_SOCKET" not in os.environ:
            self.signer_socket = self._signer_socket_path()
        if self.options.public_host and self.s3:
            self.relay_port = ports.free_port(remembered.get("relay"), host="0.0.0.0")  # noqa: S104
        self._remember_ports()
        self.environment = self._make_environment()
        self._write_runtime_env()
        # The children that are restarted as they are; the two servers above restart on the ports that everybody knows.
        if self.postgres:
            postgres = self.postgres
            self.children.append(Child("postgres", lambda: self._restart_server(postgres), signal.SIGINT, process=postgres.child))
        if self.s3:
            s3 = self.s3
            self.children.append(Child("s3", lambda: self._restart_server(s3), process=s3.child))
        if self.signer_socket:
            self._add("signer", self._signer_command(self.signer_socket), alone=True)
        if self.payments_port:
            self._add("payments", self._payments_command(), extra=self._payments_environment())
        if self.relay_port and self.s3:
            to = f"127.0.0.1:{self.s3.port}"
            self._add("relay", [sys.executable, "-m", "core.embedded.relay", "--listen", f"0.0.0.0:{self.relay_port}", "--to", to])

    def _enter_server(self, name: str, server: Postgres | S3) -> None:
        if server.child is not None:
            self.book.enter(name, server.child.pid)

    def _restart_server(self, server: Postgres | S3) -> subprocess.Popen[bytes]:
        """Start a server again where its clients expect it."""
        port = server.port
        server.start()
        if server.port != port:
            raise Failed(f"port {port} was taken while its server was down: start again")
        assert server.child is not None
        return server.child

    def _start_application(self) -> None:
        self._manage("migrate", "--noinput", "--skip-checks", "--verbosity=1", log="migrate", wait_seconds=MIGRATE_SECONDS)
        demo_needed = self.options.demo and (self._demo_marker.exists() or not (self.data / "demo.json").exists())
        if demo_needed:
            self._demo_marker.touch()
        host = "0.0.0.0" if self.options.public_host else "127.0.0.1"  # noqa: S104
        self._add("web", web_command(host, self.options.port))
        if demo_needed:  # before the worker: the loader checks its own uploads and drops the mails of a history
            self.say("loading the demo data (first start only)")
            self._manage("load_demo", log="demo", wait_seconds=DEMO_SECONDS)
            self._demo_marker.unlink()
        else:
            self._import_catalogue()
        manage = [sys.executable, str(ROOT / "manage.py")]
        self._add("worker", [*manage, "run_worker", "--skip-checks"])
        self._add("schedule", [*manage, "run_schedule", "--skip-checks"])

    def _import_catalogue(self) -> None:
        """Bring makes and models up to the committed data, when these are not what was imported last (the demo data does it itself)."""
        digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted((ROOT / "garage" / "data").glob("*.csv")))).hexdigest()
        stamp = self.data / "catalogue.sha256"
        if not stamp.exists() or stamp.read_text() != digest:
            self._manage("import_catalogue", "--skip-checks", log="migrate", wait_seconds=MIGRATE_SECONDS)
            stamp.write_text(digest)

    @property
    def _demo_marker(self) -> Path:
        """Exists from before the first row of the demo data until after the last one; `/readyz` looks at it."""
        return self.data / "demo.loading"

    def _add(self, name: str, command: list[str], extra: dict[str, str] | None = None, *, alone: bool = False) -> None:
        """`alone`: a process that must not know the application's secrets."""
        known = ("PATH", "LANG", "HOME", "PYTHONPATH", "PYTHONUNBUFFERED", "MALLOC_ARENA_MAX")
        environment = {name: value for name, value in self.environment.items() if name in known} if alone else self.environment

        def start() -> subprocess.Popen[bytes]:
            return processes.spawn(command, log=self._log(name), env=environment | (extra or {}), cwd=ROOT)

        child = Child(name, start)
        self.children.append(child)
        child.process = start()
        self.book.enter(name, child.process.pid)

    def _manage(self, *arguments: str, log: str, wait_seconds: float) -> None:
        """Run a management command to its end; the children are watched meanwhile."""
        environment = self.environment
        if self.postgres:
            environment = environment | {"PGOPTIONS": "-c statement_timeout=0 -c lock_timeout=20s"}
        if arguments[0] == "migrate" and os.environ.get("MIGRATION_DATABASE_URL"):
            environment = environment | {"DATABASE_URL": os.environ["MIGRATION_DATABASE_URL"]}
        command = [sys.executable, str(ROOT / "manage.py"), *arguments]
        helper = processes.spawn(command, log=self._log(log), env=environment, cwd=ROOT)
        self.helpers.append(helper)
        self.book.enter(arguments[0], helper.pid)
        deadline = time.monotonic() + wait_seconds
        while helper.poll() is None:
            if time.monotonic() > deadline:
                raise Failed(f"manage.py {arguments[0]} took longer than {wait_seconds:.0f} s: see {self._log(log)}")
            self._sleep(0.2)
            self._look_after_children()
        self.helpers.remove(helper)
        self.book.strike(arguments[0])
        if helper.returncode != 0:
            last = self._log(log).read_text(errors="replace").strip().splitlines()[-1:]
            raise Failed(f"manage.py {arguments[0]} failed ({' '.join(last)}): see {self._log(log)}")

    def _await_ready(self, began: float) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while (answer := self._readyz())[0] != 200:
            if time.monotonic() > deadline:
                raise Failed(f"/readyz does not become 200 within {READY_SECONDS:.0f} s; last answer: {answer[0]} {answer[1][:300]}")
            self._sleep(0.25)
            self._look_after_children()
        base = self.environment["PUBLIC_BASE_URL"]
        self.say(
            f"ready in {time.monotonic() - began:.1f} s · API {base}/api/v1/ · docs {base}/api/docs/ · admin {base}/admin/"
            f" · demo accounts {self.data / 'demo.json'} · mail {self.data / 'mail'} · logs {self.data / 'logs'}"
        )

    def _readyz(self) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.options.port, timeout=5)
        try:
            connection.request("GET", "/readyz", headers={"Host": "127.0.0.1"})
            response = connection.getresponse()
            return response.status, response.read(2000).decode(errors="replace")
        except (OSError, http.client.HTTPException) as trouble:
            return 0, str(trouble)
        finally:
            connection.close()

    # Watching

    def _watch(self) -> int:
        trim_at = time.monotonic() + 60
        while not self.stop_requested:
            self._sleep(1.0)
            self._look_after_children()
            if time.monotonic() > trim_at:
                self._trim_logs()
                trim_at = time.monotonic() + 60
        return 0

    def _sleep(self, seconds: float) -> None:
        """Wait, but wake up at once when a child ends or a signal comes."""
        select.select([self._wake_read], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            while self._wake_read.recv(512):
                pass

    def _look_after_children(self) -> None:
        now = time.monotonic()
        for child in self.children:
            if self.stop_requested:
                return
            if child.process is not None and child.process.poll() is not None:
                self.book.strike(child.name)
                how = _describe(child.process.returncode)
                child.process = None
                child.deaths.append(now)
                while child.deaths and child.deaths[0] < now - DEATHS_WINDOW_SECONDS:
                    child.deaths.popleft()
                if len(child.deaths) > DEATHS_ALLOWED:
                    raise Failed(
                        f"{child.name} {how} for the {len(child.deaths)}th time in {DEATHS_WINDOW_SECONDS:.0f} s, stopping everything: "
                        f"see {self._log(child.name)}"
                    )
                pause = 0.2 * 2 ** (len(child.deaths) - 1)
                child.start_again_at = now + pause
                self.say(f"{child.name} {how}; starting it again in {pause:.1f} s")
            if child.process is None and child.start_again_at is not None and now >= child.start_again_at:
                child.start_again_at = None
                child.process = child.start()
                self.book.enter(child.name, child.process.pid)
                self.say(f"{child.name} was started again (process {child.process.pid})")

    # Stopping

    def _stop_all(self) -> None:
        """Everything that uses a server first, then the servers; each group at once. At most about 12 s."""
        self._note(f"{os.getpid()} stopping")
        if self.children or self.helpers:
            self.say("stopping")
        for helper in self.helpers:
            processes.stop_child(helper, grace_seconds=2)
        servers = {"postgres", "s3"}
        for group in (
            [child for child in self.children if child.name not in servers],
            [child for child in self.children if child.name in servers],
        ):
            self._stop_group(group)
        # A server that was begun but never became a child, because its start was interrupted.
        for server in (self.s3, self.postgres):
            if server is not None and server.child is not None:
                server.stop()
        if self.postgres is not None:
            self.postgres.stop_leftovers()
        # Whatever a signal caught between its fork and its entry in a book of ours: initdb, a program not yet executed.
        processes.stop(processes.descendants(), grace_seconds=2)
        with contextlib.suppress(FileNotFoundError):
            (self.data / "processes.json").unlink()
        with contextlib.suppress(FileNotFoundError):
            (self.data / "runtime.env").unlink()
        if self.signer_socket is not None:
            self.signer_socket.unlink(missing_ok=True)
            if self.signer_socket.parent != self.data / "signing":
                with contextlib.suppress(OSError):
                    self.signer_socket.parent.rmdir()

    def _stop_group(self, group: list[Child]) -> None:
        living = [(child, child.process) for child in group if child.process is not None and child.process.poll() is None]
        for child, process in living:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(child.first_signal)
        deadline = time.monotonic() + STOP_GRACE_SECONDS
        for child, process in living:
            try:
                process.wait(max(0.05, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.say(f"{child.name} did not stop in time and was killed")
                process.kill()
                process.wait(5)
        for child in group:
            child.process = None

    # Files

    def _log(self, name: str) -> Path:
        return self.data / "logs" / f"{name}.log"

    def _trim_logs(self) -> None:
        """Writers append, so a log can be copied away and emptied under them."""
        for path in (self.data / "logs").glob("*.log"):
            with contextlib.suppress(OSError):
                if path.stat().st_size > LOG_LIMIT_BYTES:
                    shutil.copyfile(path, path.with_suffix(".log.1"))
                    os.truncate(path, 0)

    def _remembered_ports(self) -> dict[str, int]:
        try:
            return {name: int(port) for name, port in json.loads((self.data / "ports.json").read_text()).items()}
        except (OSError, ValueError, AttributeError):
            return {}

    def _remember_ports(self) -> None:
        chosen = {
            "postgres": self.postgres.port if self.postgres else None,
            "s3": self.s3.port if self.s3 else None,
            "payments": self.payments_port,
            "relay": self.relay_port,
        }
        secrets.write_private(self.data / "ports.json", json.dumps({name: port for name, port in chosen.items() if port}) + "\n")

    def _signer_socket_path(self) -> Path:
        """Beside the keys, unless that path is too long for a socket's name."""
        path = self.data / "signing" / "signer.sock"
        if len(os.fsencode(path)) <= 100:
            return path
        return Path(tempfile.mkdtemp(prefix="revsync-")) / "signer.sock"  # mode 0700

    def _signer_command(self, path: Path) -> list[str]:
        signing = self.data / "signing"
        places = [part for name in ("keys", "roots", "log") for part in (f"--{name}", str(signing / name))]
        return [sys.executable, "-m", "core.signing.signer", "--make-development-keys", "--socket", str(path), *places]

    def _payments_command(self) -> list[str]:
        return [sys.executable, "-m", "core.embedded.payments", "--data", str(self.data / "payments"), "--port", str(self.payments_port)]

    def _payments_environment(self) -> dict[str, str]:
        return {
            "PAYMENTS_SECRET_KEY": self.secrets["stripe_secret_key"],
            "PAYMENTS_WEBHOOK_SECRET": self.secrets["stripe_webhook_secret"],
            "PAYMENTS_WEBHOOK_URL": f"http://127.0.0.1:{self.options.port}/api/v1/marketplace/payments/webhooks/stripe/",
            "PAYMENTS_PUBLIC_URL": self.environment["PAYMENTS_SANDBOX_URL"],
        }

    def make_runtime(self) -> dict[str, str]:
        """What `revsync_backend.settings` needs to know of this run."""
        host = self.options.public_host or "127.0.0.1"
        shown = f"[{host}]" if ":" in host else host
        base = f"http://{shown}:{self.options.port}"
        runtime = {
            "REVSYNC_ENV": "development",
            "REVSYNC_EMBEDDED": "1",
            "PUBLIC_BASE_URL": base,
            "ALLOWED_HOSTS": ",".join(dict.fromkeys(["127.0.0.1", "localhost", "[::1]", shown])),
            "SECRET_KEY": self.secrets["secret_key"],
            "JWT_SIGNING_KEYS": f"dev-1:{self.secrets['jwt_key']}",
            "FIELD_ENCRYPTION_KEYS": self.secrets["field_key"],
            "HASH_KEY": self.secrets["hash_key"],
            "CURSOR_KEY": self.secrets["cursor_key"],
            "SIGNING_KEYS_DIR": str(self.data / "signing"),
            "MAIL_DIR": str(self.data / "mail"),
        }
        if self.postgres:
            runtime["DATABASE_URL"] = self.postgres.url
        if self.s3:
            runtime |= {
                "S3_ENDPOINT_URL": self.s3.endpoint_url,
                "S3_PUBLIC_ENDPOINT_URL": f"http://{shown}:{self.relay_port}" if self.relay_port else self.s3.endpoint_url,
                "S3_REGION": REGION,
                "S3_ACCESS_KEY_ID": self.secrets["s3_access_key"],
                "S3_SECRET_ACCESS_KEY": self.secrets["s3_secret_key"],
                "S3_BUCKET_PRIVATE": self.s3.buckets[0],
                "S3_BUCKET_PUBLIC": self.s3.buckets[1],
            }
        if self.signer_socket:
            runtime["SIGNER_SOCKET"] = str(self.signer_socket)
        if self.payments_port:
            runtime |= {
                "STRIPE_API_BASE": f"http://127.0.0.1:{self.payments_port}",
                "STRIPE_SECRET_KEY": self.secrets["stripe_secret_key"],
                "STRIPE_PUBLISHABLE_KEY": self.secrets["stripe_publishable_key"],
                "STRIPE_WEBHOOK_SECRETS": self.secrets["stripe_webhook_secret"],
                # A phone reaches the stand-in's page through the web server: its own port stays on loopback.
                "PAYMENTS_SANDBOX_URL": f"{base}/stand-in" if self.options.public_host else f"http://127.0.0.1:{self.payments_port}",
            }
        return runtime

    def _make_environment(self) -> dict[str, str]:
        """The children's environment. What the person set by hand goes before what was made here."""
        base = dict(os.environ)
        fixed = {
            "REVSYNC_DATA_DIR": str(self.data),
            "DJANGO_SETTINGS_MODULE": "revsync_backend.settings",
            "PYTHONUNBUFFERED": "1",
            "MALLOC_ARENA_MAX": "2",
            "PYTHONPATH": str(ROOT),
        }
        return self.make_runtime() | base | fixed

    def _write_runtime_env(self) -> None:
        lines = ["# Written at each start of `make run`, removed at its end: how manage.py reaches the running servers."]
        lines += [f"{name}={value}" for name, value in self.make_runtime().items()]
        secrets.write_private(self.data / "runtime.env", "\n".join(lines) + "\n")


def web_command(host: str, port: int) -> list[str]:
    """The web server: one process, a few threads, connections to the database kept open."""
    return [
        *(sys.executable, "-m", "gunicorn", "revsync_backend.wsgi:application"),
        *("--bind", f"{host}:{port}", "--worker-class", "core.web_worker.BufferingWorker", "--workers", "1", "--threads", str(WEB_THREADS)),
        *("--graceful-timeout", "3", "--timeout", "60", "--keep-alive", "15", "--no-control-socket", "--log-level", "warning"),
    ]


def _describe(returncode: int) -> str:
    if returncode < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-returncode).name}"
    return f"ended with status {returncode}"


def _end_with_parent() -> None:
    """When `make` itself is killed, this process is told, so that no orphan holds the data directory."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(1, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(1)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m core.embedded.supervisor", description="Run the whole system until SIGTERM or Ctrl-C.")
    parser.add_argument("--end-with-parent", action="store_true", help="stop when the process that started this one is gone (make run)")
    options = parser.parse_args(arguments)
    if options.end_with_parent:
        _end_with_parent()
    try:
        return Supervisor(Options.from_environment()).run()
    except Failed as failure:
        print(f"revsync: {failure}", file=sys.stderr, flush=True)
        return 1
    except StopRequested:
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
