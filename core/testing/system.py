"""The whole system as `make run` starts it, on ports and in a directory of its own: for checks over real HTTP."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from core.embedded import ports, processes
from core.testing.leaks import find_in_logs_of

ROOT = Path(__file__).resolve().parent.parent.parent
READY_SECONDS = 600  # with the demo data, on a machine that does other things too


@dataclass(frozen=True)
class System:
    """A running system: where it answers and where it keeps its files."""

    base_url: str
    data: Path
    environment: dict[str, str]
    ready_seconds: float


class NotReady(Exception):
    """The system did not become ready; the message has its output and the ends of its logs."""


class Leaked(Exception):
    """Something private stands in the system's logs; the message says in which, and of what kind."""


@contextlib.contextmanager
def running(directory: Path, *, extra: Mapping[str, str] | None = None, module: str = "core.embedded.supervisor") -> Iterator[System]:
    """Start the system with its data under `directory`, stop it at the end, and search what it logged. Raises: NotReady, Leaked."""
    port, data = ports.free_port(), directory / "data"
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "HOME")}
    environment |= {"PORT": str(port), "REVSYNC_DATA_DIR": str(data), **(extra or {})}
    output = directory / "supervisor.out"
    began = time.monotonic()
    with output.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-m", module, "--end-with-parent"], cwd=ROOT, env=environment, stdout=file, stderr=file)
    try:
        is_ready = processes.wait_until(
            lambda: b"ready in" in output.read_bytes(), seconds=READY_SECONDS, alive=lambda: process.poll() is None
        )
        if not is_ready:
            logs = "".join(f"\n== {path.name}\n{path.read_text(errors='replace')[-3000:]}" for path in (data / "logs").glob("*.log"))
            raise NotReady(f"{output.read_text()}{logs}")
        yield System(f"http://127.0.0.1:{port}", data, environment, time.monotonic() - began)
    finally:
        processes.stop_child(process, grace_seconds=20)
    if leaks := find_in_logs_of(data):
        raise Leaked("Something private is in " + ", ".join(leaks))
