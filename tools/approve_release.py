#!/usr/bin/env python3
"""A reviewer's own word on a release, or on lifting a stop, from their own machine: the signer of production signs neither without it.

    approve_release.py make-key ada                            writes ada.pem, prints the line for the signer's reviewers.json
    approve_release.py approve --key ada.pem --drafts drafts.json file.bin …

`drafts.json` is what the admin shows when a version is published, a hold released or a recall lifted. The files are those that
were looked at: the tool hashes them itself, so a web server that is no longer ours can't slip in others. Needs Python 3.11 and
the package `cryptography`.
"""

import argparse
import base64
import getpass
import hashlib
import json
import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def canonical(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def make_key(name: str, directory: Path, password: bytes) -> str:
    """Write <name>.pem, encrypted; the line for reviewers.json."""
    if not re.fullmatch(r"[a-z0-9-]{1,40}", name):
        raise SystemExit("a name has 1 to 40 of a-z, 0-9 and -")
    private = Ed25519PrivateKey.generate()
    sealing = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    data = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealing)
    with os.fdopen(os.open(directory / f"{name}.pem", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
    public = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return f'"{name}": "{base64.b64encode(public).decode()}"'


def approve(drafts: dict[str, Any], files: list[bytes], key: Ed25519PrivateKey, name: str, at: datetime) -> str:
    """The approval of exactly these drafts, when exactly their files are here. Raises SystemExit."""
    releases, lifts = drafts.get("releases", []), drafts.get("lifts", [])
    wanted = {draft["file"]["sha256"] for draft in releases}
    here = {hashlib.sha256(data).hexdigest() for data in files}
    if not (releases or lifts) or wanted != here:
        raise SystemExit(f"these are not the files of the drafts: missing {sorted(wanted - here)}, not asked for {sorted(here - wanted)}")
    claims = [hashlib.sha256(canonical(draft)).hexdigest() for draft in [*releases, *lifts]]
    statement = canonical(
        {"_type": "release-approval", "env": drafts["env"], "approved_at": at.strftime("%Y-%m-%dT%H:%M:%SZ"), "claims": claims}
    )
    parts = (base64.urlsafe_b64encode(part).decode() for part in (statement, key.sign(b"revsync-approval " + statement)))
    body, signature = parts
    return f"v1.{body}.{name}.{signature}"


def describe(draft: dict[str, Any]) -> str:
    lines = [
        f"version {draft['version']} of tune {draft['tune_id']}, counter {draft['release_counter']}, {draft['emissions_class']}",
        f"  file   {draft['file']['size_bytes']} bytes {draft['file']['format']}, SHA-256 {draft['file']['sha256']}",
        f"  image  {draft['image']['size_bytes']} bytes at {draft['image']['base']}, SHA-256 {draft['image']['sha256']}",
    ]
    for row in draft["fitments"]:
        markets = ", ".join(row["markets"]) or "any market"
        lines.append(f"  fits   {row['make']} {row['model']} {row['year_from']}–{row['year_to']}, {markets}")
        lines.append(f"         hardware {', '.join(row['hardware_numbers'])}, calibrations {', '.join(row['calibration_ids'])}")
    lines.append(f"  over   {', '.join(draft['replaces_calibration_ids']) or 'stock only'}")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="approve_release.py", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make-key")
    making.add_argument("name")
    making.add_argument("--no-password", action="store_true")
    approving = commands.add_parser("approve")
    approving.add_argument("--key", type=Path, required=True)
    approving.add_argument("--drafts", type=Path, required=True)
    approving.add_argument("--yes", action="store_true", help="do not ask")
    approving.add_argument("files", type=Path, nargs="*")
    options = parser.parse_args(arguments)
    if options.command == "make-key":
        print(make_key(options.name, Path(), b"" if options.no_password else getpass.getpass("Password of the key: ").encode()))
        return 0
    drafts = json.loads(options.drafts.read_text())
    print("\n".join(describe(draft) for draft in drafts.get("releases", [])), file=sys.stderr)
    for draft in drafts.get("lifts", []):
        print(f"lifts the stop {draft['stop_id']} of the version {draft['tune_version_id']}", file=sys.stderr)
    if not options.yes and input("Is this what you looked at? Type yes: ") != "yes":
        return 1
    pem = options.key.read_bytes()
    password = getpass.getpass("Password of the key: ").encode() if b"ENCRYPTED" in pem else None
    key = serialization.load_pem_private_key(pem, password)
    if not isinstance(key, Ed25519PrivateKey):
        raise SystemExit("this is no Ed25519 key")
    print(approve(drafts, [path.read_bytes() for path in options.files], key, options.key.stem, datetime.now(UTC)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
