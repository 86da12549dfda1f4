"""Run a command with the settings of a test run: `python tools/with_test_settings.py [--servers] python manage.py …`.

For commands that need Django's settings and no running copy of the system. `--servers` starts an empty database and an S3 server.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from core.testing import services


def main() -> int:
    parser = argparse.ArgumentParser(description="Run a command with the settings of a test run.")
    parser.add_argument("--servers", action="store_true", help="start an empty database and an S3 server for it")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if options.servers:
        running = services.Services()
        running.start()
        try:
            return subprocess.run(options.command, check=False).returncode
        finally:
            running.stop()
    with tempfile.TemporaryDirectory(prefix="revsync-settings-") as directory:
        services.set_environment(Path(directory), {"DATABASE_URL": "postgres://nobody:nothing@127.0.0.1:9/none"})
        return subprocess.run(options.command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
