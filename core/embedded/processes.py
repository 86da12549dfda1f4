"""Children that are started, found again and stopped: by process id *and* start time, never by a name alone."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import psutil

LAUNCHER = Path(__file__).with_name("launch.py")


def spawn(
    command: list[str],
    *,
    log: Path | IO[bytes],
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    death_signal: signal.Signals = signal.SIGTERM,
    user: str | None = None,
    see_all_paths: bool = False,
) -> subprocess.Popen[bytes]:
    """Start `command` in its own session, bound to the life of this process; its output is appended to `log`."""
    options = ["--parent", str(os.getpid()), "--death-signal", str(int(death_signal))]
    if user:
        options += ["--user", user]
    if see_all_paths:
        options += ["--see-all-paths"]
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(log.open("ab")) if isinstance(log, Path) else log
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(LAUNCHER), *options, "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
        )


def wait_until(ready: Callable[[], bool], *, seconds: float, alive: Callable[[], bool] = lambda: True, pause: float = 0.05) -> bool:
    """True as soon as `ready()` is; False when time is over or `alive()` no longer holds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if ready():
            return True
        if not alive():
            return False
        time.sleep(pause)
    return False


def descendants() -> list[psutil.Process]:
    """Every process that this one or a child of it started and that still lives."""
    return psutil.Process().children(recursive=True)


def stop(processes: Iterable[psutil.Process], *, first: signal.Signals = signal.SIGTERM, grace_seconds: float = 5) -> None:
    """Ask each process to stop, wait, then kill what is left. Processes that are gone already are no error."""
    living = list(processes)
    for process in living:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(first)
    _, stubborn = psutil.wait_procs(living, timeout=grace_seconds)
    for process in stubborn:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(stubborn, timeout=5)


def stop_child(child: subprocess.Popen[bytes], *, first: signal.Signals = signal.SIGTERM, grace_seconds: float = 5) -> None:
    """The same for a child of ours, which is also reaped."""
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(first)
    try:
        child.wait(grace_seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait(5)


@dataclass(frozen=True)
class ProcessRecord:
    """What must agree before a process of an earlier run is believed to be ours."""

    name: str
    pid: int
    started_at: float

    @classmethod
    def of(cls, name: str, pid: int) -> "ProcessRecord":
        return cls(name, pid, psutil.Process(pid).create_time())

    def find(self) -> psutil.Process | None:
        """The process, when it still runs and is the very one that was recorded."""
        try:
            process = psutil.Process(self.pid)
            # The clock may have been stepped between the runs; a reused id inside two seconds is not to be feared.
            if abs(process.create_time() - self.started_at) > 2 or process.status() == psutil.STATUS_ZOMBIE:
                return None
            return process
        except psutil.NoSuchProcess:
            return None


class ProcessBook:
    """The children of a run in a file, so that the next run can stop what a kill -9 left behind."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._records: dict[str, ProcessRecord] = {}

    def enter(self, name: str, pid: int) -> None:
        try:
            self._records[name] = ProcessRecord.of(name, pid)
        except psutil.NoSuchProcess:
            return
        self._write()

    def strike(self, name: str) -> None:
        if self._records.pop(name, None):
            self._write()

    def _write(self) -> None:
        text = json.dumps([asdict(record) for record in self._records.values()])
        partial = self.path.with_suffix(".partial")
        partial.write_text(text)
        partial.replace(self.path)

    def leftovers(self) -> list[tuple[str, psutil.Process]]:
        """Processes of an earlier run, with all their descendants, that still live."""
        try:
            records = [ProcessRecord(**row) for row in json.loads(self.path.read_text())]
        except (OSError, ValueError, TypeError):
            return []
        found: dict[int, tuple[str, psutil.Process]] = {}
        for record in records:
            process = record.find()
            if process is None:
                continue
            found[process.pid] = (record.name, process)
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in process.children(recursive=True):
                    found[child.pid] = (record.name, child)
        return list(found.values())
