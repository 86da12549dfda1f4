"""Make the virtual environment and install the pinned packages; do nothing when that is done already.

Run with the system's Python, before anything is installed: standard library only, no syntax newer than Python 3.8 until the
version is checked.
"""

import argparse
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"


def fail(message: str) -> None:
    sys.exit("revsync: " + message)


def check_python() -> None:
    if sys.version_info < (3, 11):
        fail("Python 3.11 or newer is needed, this is %d.%d: apt-get install python3" % sys.version_info[:2])
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            fail("Python's venv module is missing: apt-get install python%d.%d-venv" % sys.version_info[:2])


def wanted_stamp(files: list) -> str:
    """Changes with the pins and with the Python that runs them."""
    digest = hashlib.sha256("{} {}".format(sys.version, VENV).encode())
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def is_usable() -> bool:
    """A virtual environment whose Python was removed or upgraded away is made anew."""
    return PYTHON.exists() and subprocess.run([str(PYTHON), "-c", "import pip"], capture_output=True, check=False).returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description="Make .venv and install the pinned packages.")
    parser.add_argument("--dev", action="store_true", help="what tests and linters need as well")
    options = parser.parse_args()
    files = [ROOT / "requirements.txt", ROOT / "requirements-embedded.txt"]
    files += [ROOT / "requirements-dev.txt"] if options.dev else []
    stamp = VENV / (".installed-dev" if options.dev else ".installed")
    wanted = wanted_stamp(files)
    # One look without any lock: the usual case must cost nothing.
    if PYTHON.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    check_python()
    with open(str(ROOT / ".venv.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two copies of a fresh clone may start at once
        if not is_usable():
            print("revsync: making the virtual environment", flush=True)
            shutil.rmtree(str(VENV), ignore_errors=True)
            made = subprocess.run([sys.executable, "-m", "venv", str(VENV)], capture_output=True, text=True, check=False)
            if made.returncode != 0:
                shutil.rmtree(str(VENV), ignore_errors=True)
                last = (made.stdout + made.stderr).strip().splitlines()[-1:]
                hint = "apt-get install python%d.%d-venv" % sys.version_info[:2]
                fail("Python's venv module does not work ({}): {}".format(" ".join(last), hint))
        if not (stamp.exists() and stamp.read_text() == wanted):
            print("revsync: installing the pinned packages (first time or after a change)", flush=True)
            command = [str(PYTHON), "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-input", "-r", str(files[-1])]
            environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            if subprocess.run(command, env=environment, check=False).returncode != 0:
                fail("the packages could not be installed: see above; is the network reachable?")
            stamp.write_text(wanted)
            if options.dev:  # a superset
                (VENV / ".installed").write_text(wanted_stamp(files[:-1]))


if __name__ == "__main__":
    main()
