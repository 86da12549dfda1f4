#!/usr/bin/env python
"""Run the commands of a page of the documentation, as they stand there, against a running `make run`.

    python tools/run_guide.py docs/app-developer.md --base-url http://127.0.0.1:8000 --data-dir .data

All fenced `bash` blocks run in one shell that stops at the first failure.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the commands of a page of the documentation.")
    parser.add_argument("page", type=Path)
    parser.add_argument("--base-url", default="http://127.0.0.1:8000")
    parser.add_argument("--data-dir", type=Path, default=Path(".data"))
    options = parser.parse_args()
    blocks = re.findall(r"^```bash\n(.*?)^```$", options.page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    script = "set -euo pipefail\n" + "".join(f"echo '== block {number}'\n{block}" for number, block in enumerate(blocks, 1))
    environment = {**os.environ, "BASE": options.base_url.rstrip("/"), "DATA": str(options.data_dir.absolute()), "REPO": str(ROOT)}
    with tempfile.TemporaryDirectory(prefix="revsync-guide-") as directory:
        return subprocess.run(["bash", "-c", script], cwd=directory, env=environment, check=False, timeout=600).returncode


if __name__ == "__main__":
    sys.exit(main())
