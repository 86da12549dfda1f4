"""Generate the TypeScript client from openapi.yaml, compile it strictly, and play a rider's journey with it on a running system.

    python tools/run_client_ts.py                                          # starts a system of its own with the demo data
    python tools/run_client_ts.py --with-bench                             # and the virtual bench's short form on the same system
    python tools/run_client_ts.py --base-url http://127.0.0.1:8000 --data-dir .data

The generator runs on the Node of requirements-dev.txt. The journey is played on that and on the system's Node (18 or newer), if
there is one: an app's developers have either.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLIENT = ROOT / "tools" / "client-ts"
PROGRAMS = Path(sys.prefix) / "bin"
OLDEST_NODE = 18
sys.path.insert(0, str(ROOT))

from core.testing import system


def say(text: str) -> None:
    print(text, flush=True)


def npm(*arguments: str) -> None:
    began = time.monotonic()
    environment = os.environ | {"PATH": f"{PROGRAMS}:{os.environ.get('PATH', '')}"}
    command = [str(PROGRAMS / "npm"), *arguments]
    done = subprocess.run(
        command, cwd=CLIENT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"npm {' '.join(arguments)} failed:\n{done.stdout}")
    say(f"npm {' '.join(arguments)}: {time.monotonic() - began:.0f} s")


def build() -> None:
    """What the lock file names, the client of the committed schema, and the strict compiler over both."""
    npm("ci", "--ignore-scripts")
    for name in ("generated", "build"):
        shutil.rmtree(CLIENT / name, ignore_errors=True)
    npm("run", "generate")
    npm("run", "check")


def nodes() -> list[str]:
    """Ours, and the system's unless it is older than what the client promises."""
    found = [str(PROGRAMS / "node")]
    if elsewhere := shutil.which("node", path=os.pathsep.join(part for part in os.get_exec_path() if Path(part) != PROGRAMS)):
        version = subprocess.run([elsewhere, "--version"], capture_output=True, text=True, check=True).stdout
        if int(re.match(r"v(\d+)", version)[1]) >= OLDEST_NODE:
            found.append(elsewhere)
    return found


def play(base_url: str, data: Path) -> int:
    """The journey on each Node. The first exit status that is not 0, or 0."""
    for node in nodes():
        say(f"\n== Node {subprocess.run([node, '--version'], capture_output=True, text=True, check=True).stdout.strip()}")
        command = [node, "build/journey.js", "--base-url", base_url, "--data-dir", str(data.absolute())]
        if status := subprocess.run(command, cwd=CLIENT, check=False, timeout=300).returncode:
            return status
    return 0


def play_and_bench(base_url: str, data: Path) -> int:
    """The journey, then the virtual bench: two steps of CI on one system."""
    if status := play(base_url, data):
        return status
    say("\n== Virtual bench")
    bench = str(ROOT / "tools" / "virtual_bench.py")
    command = [sys.executable, bench, "--short", "--base-url", base_url, "--data-dir", str(data.absolute())]
    return subprocess.run(command, check=False, timeout=900).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description="Play a rider's journey with the client that is generated from openapi.yaml.")
    parser.add_argument("--base-url", help="of a running system with the demo data; without it one is started")
    parser.add_argument("--data-dir", type=Path, default=Path(".data"), help="of that system")
    parser.add_argument("--with-bench", action="store_true", help="run tools/virtual_bench.py --short on the same system as well")
    options = parser.parse_args()
    run = play_and_bench if options.with_bench else play
    if options.base_url:
        build()
        return run(options.base_url, options.data_dir)
    with tempfile.TemporaryDirectory(prefix="revsync-client-ts-") as name, ThreadPoolExecutor(1) as beside:
        directory = Path(name)
        directory.chmod(0o711)  # PostgreSQL's unprivileged user passes through
        building = beside.submit(build)
        with system.running(directory) as running:
            say(f"the system is ready in {running.ready_seconds:.0f} s")
            building.result()
            return run(running.base_url, running.data)


if __name__ == "__main__":
    sys.exit(main())
