"""`make run` as a real process tree that tests freeze, kill and start again, on ports and data of its own."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from core.embedded import ports, processes, supervisor

ROOT = supervisor.ROOT
STARTED_WITHIN_SECONDS = 240
PATIENCE_SECONDS = 120  # how long a busy machine may take for what an idle one does at once
USUAL_FIRST_START_SECONDS = 15.0  # on two idle cores it is less


def is_gone(process: psutil.Process) -> bool:
    """Dead, whether or not its parent has noticed."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@dataclass(frozen=True)
class Answer:
    """What came back; status 0 when nothing did."""

    status: int
    text: str
    headers: dict[str, str]
    seconds: float

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.text)


class System:
    """A supervisor of the whole system, without demo data unless asked for.

    What the design promises in seconds it promises on two free cores: `allowance(15)` is 15 s there, and more where the
    first start of this very system already took longer than usual.
    """

    module = "core.embedded.supervisor"
    arguments: tuple[str, ...] = ()

    def __init__(self, data: Path, *, public_host: str = "", demo: bool = False) -> None:
        self.data, self.public_host, self.demo = data, public_host, demo
        self.port = ports.free_port()
        self.first_start_seconds = 0.0

    def start(self) -> "System":
        """Start it; `wait_for` tells when it got how far."""
        self.output = self.data.with_suffix(f".{time.monotonic_ns()}.out")
        environment = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "HOME")}
        environment |= {
            "PORT": str(self.port),
            "REVSYNC_DATA_DIR": str(self.data),
            "REVSYNC_DEMO": "1" if self.demo else "0",
            "REVSYNC_PUBLIC_HOST": self.public_host,
        }
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self.module, *self.arguments], cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
            )
        return self

    def start_and_wait(self) -> float:
        """Start it, wait for its ready line, return how long that took."""
        began = time.monotonic()
        self.start().wait_for("ready in", STARTED_WITHIN_SECONDS)
        took = time.monotonic() - began
        self.first_start_seconds = self.first_start_seconds or took
        return took

    def allowance(self, seconds: float) -> float:
        """So many seconds of a machine with nothing else to do."""
        return seconds * max(1.0, self.first_start_seconds / USUAL_FIRST_START_SECONDS)

    def said(self) -> str:
        """What it printed since it was started last."""
        return self.output.read_text()

    def wait_for(self, text: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until it said so; fail with what it said instead."""
        found = processes.wait_until(lambda: text in self.said(), seconds=seconds, alive=lambda: self.process.poll() is None)
        assert found, f"it did not say {text!r} but:\n{self.said()}{self.logs()}"

    def logs(self) -> str:
        """The ends of its logs, for the message of a failure."""
        return "".join(
            f"\n== {path.name}\n{path.read_text(errors='replace')[-1500:]}" for path in sorted((self.data / "logs").glob("*.log"))
        )

    def members(self) -> list[psutil.Process]:
        """The supervisor and everything below it."""
        me = psutil.Process(self.process.pid)
        return [me, *me.children(recursive=True)]

    def child(self, part: str) -> psutil.Process:
        """The child whose command line has `part`."""
        for process in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):
                if part in " ".join(process.cmdline()):
                    return process
        raise AssertionError(f"no child has {part} in its command line")

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a GET."""
        answer = self.ask("GET", path)
        return answer.status, answer.text

    def ask(
        self, method: str, path: str, body: Any = None, *, token: str = "", timeout: float = PATIENCE_SECONDS, **headers: str
    ) -> Answer:
        """One request; `Idempotency_Key="…"` gives a header. A body of bytes is sent as it is, and called JSON."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        data = None
        if body is not None:
            sent["Content-Type"] = "application/json"
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=data, method=method, headers=sent)
        began = time.monotonic()
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                status, text, got = answer.status, answer.read().decode(), dict(answer.headers)
        except urllib.error.HTTPError as refused:
            with refused:
                status, text, got = refused.code, refused.read().decode(), dict(refused.headers)
        except (OSError, http.client.HTTPException) as trouble:
            status, text, got = 0, str(trouble), {}
        return Answer(status, text, got, time.monotonic() - began)

    def is_ready(self) -> bool:
        """Whether `/readyz` is 200."""
        return self.ask("GET", "/readyz").status == 200

    def wait_until(self, true: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
        """Fail with the logs when it does not come true."""
        assert processes.wait_until(true, seconds=seconds, pause=0.2), self.logs()

    def run(self, program: str, *arguments: str) -> str:
        """Run a Python program on the settings of this system; returns what it printed."""
        return self._beside("-c", program, *arguments)

    def manage(self, *arguments: str) -> str:
        """Run a management command beside this system; returns what it printed."""
        return self._beside("manage.py", *arguments)

    def _beside(self, *arguments: str) -> str:
        environment = {"PATH": os.environ["PATH"], "REVSYNC_DATA_DIR": str(self.data), "DJANGO_SETTINGS_MODULE": "revsync_backend.settings"}
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextlib.contextmanager
    def frozen(self, part: str) -> Iterator[None]:
        """A child and all below it hang, as by SIGSTOP: their ports still take connections."""
        child = self.child(part)
        members = [child, *child.children(recursive=True)]
        for process in members:
            process.suspend()
        try:
            yield
        finally:
            for process in members:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.resume()

    @contextlib.contextmanager
    def gone(self, part: str) -> Iterator[None]:
        """A child is killed, and the supervisor is kept from starting it again until the end of the block."""
        child = self.child(part)
        members = [child, *child.children(recursive=True)]
        self.process.send_signal(signal.SIGSTOP)
        try:
            for process in members:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            assert processes.wait_until(lambda: all(is_gone(process) for process in members), seconds=PATIENCE_SECONDS)
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def stop(self) -> float:
        """SIGTERM; returns how long it took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE_SECONDS)
        return time.monotonic() - started

    def kill_everything(self) -> list[psutil.Process]:
        """kill -9 of supervisor and children at once; returns who was killed."""
        members = self.members()
        for process in members:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(PATIENCE_SECONDS)
        return members

    def clean_up(self) -> None:
        """Leave nothing running."""
        if self.process.poll() is None:
            self.kill_everything()
