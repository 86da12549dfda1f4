"""Generate the TypeScript client from openapi.yaml, compile it strictly, and play a rider's journey with it on a running system.

    python tools/run_client_ts.py                                          # starts a system of its own with the demo data
    python tools/run_client_ts.py --base-url http://127.0.0.1:8000 --data-dir .data

Needs Node 18 or newer with npm: `apt-get install nodejs npm`.
"""

import argparse
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
OLDEST_NODE = 18
sys.path.insert(0, str(ROOT))

from core.testing import system


def say(text: str) -> None:
    print(text, flush=True)


def check_node() -> None:
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            sys.exit(f"{program} is missing: apt-get install nodejs npm")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(re.match(r"v(\d+)", version).group(1)) < OLDEST_NODE:
        sys.exit(f"Node {OLDEST_NODE} or newer is needed, this is {version}")


def npm(*arguments: str) -> None:
    began = time.monotonic()
    done = subprocess.run(["npm", *arguments], cwd=CLIENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"npm {' '.join(arguments)} failed:\n{done.stdout}")
    say(f"npm {' '.join(arguments)}: {time.monotonic() - began:.0f} s")


def build() -> None:
    """What the lock file names, the types of the committed schema, and the strict compiler over both."""
    npm("ci", "--ignore-scripts")
    shutil.rmtree(CLIENT / "generated", ignore_errors=True)
    npm("run", "generate")
    npm("run", "check")


def play(base_url: str, data: Path) -> int:
    command = ["node", "build/journey.js", "--base-url", base_url, "--data-dir", str(data.absolute())]
    return subprocess.run(command, cwd=CLIENT, check=False, timeout=300).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description="Play a rider's journey with the client that is generated from openapi.yaml.")
    parser.add_argument("--base-url", help="of a running system with the demo data; without it one is started")
    parser.add_argument("--data-dir", type=Path, default=Path(".data"), help="of that system")
    options = parser.parse_args()
    check_node()
    if options.base_url:
        build()
        return play(options.base_url, options.data_dir)
    with tempfile.TemporaryDirectory(prefix="revsync-client-ts-") as name, ThreadPoolExecutor(1) as beside:
        directory = Path(name)
        directory.chmod(0o711)  # PostgreSQL's unprivileged user passes through
        building = beside.submit(build)
        with system.running(directory) as running:
            say(f"the system is ready in {running.ready_seconds:.0f} s")
            building.result()
            return play(running.base_url, running.data)


if __name__ == "__main__":
    sys.exit(main())
