"""Development's secrets: made on the first start, kept in the data directory, never in the repository."""

import base64
import json
import os
import secrets
from pathlib import Path


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


# Where a key's form allows it, it says what it is for: production refuses such keys (`core.settings_check`).
MAKERS = {
    "secret_key": lambda: "dev-" + secrets.token_urlsafe(48),
    "jwt_key": lambda: "dev-" + secrets.token_urlsafe(48),
    "field_key": _fernet_key,
    "hash_key": lambda: "dev-" + secrets.token_urlsafe(32),
    "cursor_key": lambda: "dev-" + secrets.token_urlsafe(32),
    "postgres_superuser": lambda: secrets.token_hex(16),
    "postgres_role": lambda: secrets.token_hex(16),
    "s3_access_key": lambda: "dev-" + secrets.token_hex(8),
    "s3_secret_key": lambda: secrets.token_hex(20),
    "stripe_secret_key": lambda: "sk_test_" + secrets.token_hex(16),
    "stripe_publishable_key": lambda: "pk_test_" + secrets.token_hex(16),
    "stripe_webhook_secret": lambda: "whsec_" + secrets.token_hex(16),
}


def load(path: Path) -> dict[str, str]:
    """The secrets in `path`; missing ones are made and saved (mode 0600, by a rename, so that a crash leaves the old or the new file)."""
    try:
        known: dict[str, str] = json.loads(path.read_text())
    except FileNotFoundError:
        known = {}
    missing = {name: make() for name, make in MAKERS.items() if name not in known}
    if missing:
        known |= missing
        write_private(path, json.dumps(known, indent=1) + "\n")
    return known


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all, and on disk before it counts."""
    partial = path.with_suffix(path.suffix + ".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
