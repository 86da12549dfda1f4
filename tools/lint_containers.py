"""Lint Dockerfile and docker-compose.yml: hadolint, compose-lint, and what neither of them can know about this project."""

import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
SETTING = re.compile(r"\A[A-Z][A-Z0-9_]+\Z")
NOT_OURS = {"REVSYNC_EMBEDDED", "PORT", "REVSYNC_PUBLIC_HOST", "REVSYNC_DEMO"}


def own_rules() -> list[str]:
    """Compose only sets settings that exist, publishes to this machine only, and copies what the image needs."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    known = set(re.findall(r"^([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)) - NOT_OURS
    found = []
    for name, service in compose["services"].items():
        if str(service.get("image", "")).endswith(("latest", ":")) or ":" not in service.get("image", ":"):
            found.append(f"docker-compose.yml: {name} has no fixed version")
        found += [
            f"docker-compose.yml: {name} publishes {port} beyond this machine"
            for port in service.get("ports", [])
            if not str(port).startswith("127.0.0.1:")
        ]
        if service.get("image") == "revsync:local":
            unknown = [key for key in service["environment"] if SETTING.match(key) and key not in known]
            found += [f"docker-compose.yml: {name} sets {key}, which .env.example does not know" for key in unknown]
    copied = set(re.findall(r"^COPY (\w+) \./\1$", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    for package in ("core", "users", "tuners", "garage", "marketplace", "revsync_backend"):
        if package not in copied or f"!{package}" not in (ROOT / ".dockerignore").read_text().split():
            found.append(f"Dockerfile or .dockerignore leaves out {package}")
    return found


def main() -> int:
    failed = 0
    for command in (
        [str(BIN / "hadolint"), "--failure-threshold", "info", "Dockerfile"],
        [str(BIN / "compose-lint"), "check", "--fail-on", "high", "docker-compose.yml"],
    ):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(done.stdout + done.stderr)
            failed = 1
    for problem in own_rules():
        print(problem)
        failed = 1
    print("container files: " + ("problems found" if failed else "no problems found"))
    return failed


if __name__ == "__main__":
    sys.exit(main())
