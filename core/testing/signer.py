"""A real signer process for tests, with keys, socket and log in a directory of its own."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from core.signing import remote

ROOT = Path(__file__).resolve().parent.parent.parent


class SignerProcess:
    """Start it, freeze it, kill it, start it again."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory, self.options = directory, options
        self._place = tempfile.TemporaryDirectory(prefix="signer-")  # a socket's path is short
        self.socket = str(Path(self._place.name) / "s")
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> "SignerProcess":
        command = [sys.executable, "-m", "core.signing.signer", "--make-development-keys", "--socket", self.socket, *self.options]
        command += [part for name in ("keys", "roots", "log") for part in (f"--{name}", str(self.directory / name))]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},  # none of the application's settings
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None and self.process.stderr is not None
        line = self.process.stdout.readline()
        assert "listening" in line, self.process.stderr.read()
        remote._gate.note(good=True)
        return self

    def freeze(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Also when it is frozen."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def close(self) -> None:
        self.stop()
        self._place.cleanup()
        remote._gate.note(good=True)

    def log(self, role: str) -> str:
        return (self.directory / "log" / f"{role}.log").read_text()


def wait_until_answered(ask, *, seconds: float = 10.0) -> None:
    """Until `ask()` no longer raises ServiceUnavailable."""
    from core.exceptions import ServiceUnavailable

    deadline = time.monotonic() + seconds
    while True:
        try:
            ask()
            return
        except ServiceUnavailable:
            assert time.monotonic() < deadline
            time.sleep(0.05)
