"""Root documents as files: which keys speak for which role, and how many of them it takes. Immutable, one file a version.

Knows nothing of the settings: the signer process reads them here too.
"""

import base64
import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.signing.errors import SigningNotReady
from core.signing.payloads import decode_payload
from core.signing.roles import Role

DEVELOPMENT = "dev"
PRODUCTION = "production"


@dataclass(frozen=True)
class RootDocument:
    """A parsed root document."""

    payload: dict[str, Any]

    @property
    def version(self) -> int:
        return self.payload["version"]

    @property
    def env(self) -> str:
        return self.payload["env"]

    @property
    def expires_at(self) -> str:
        return self.payload["expires_at"]

    def keyids_of(self, role: Role) -> list[str]:
        return list(self.payload["roles"][role.value]["keyids"])

    def threshold_of(self, role: Role) -> int:
        return self.payload["roles"][role.value]["threshold"]

    def public_key(self, keyid: str) -> bytes:
        return base64.b64decode(self.payload["keys"][keyid]["public"])


def roots_in(directory: Path) -> tuple[RootDocument, ...]:
    """Every root document of a directory, the newest first. Raises SigningNotReady when there is none."""
    try:
        stamp = directory.stat().st_mtime_ns  # a new root is a new file: the directory's time moves
    except FileNotFoundError:
        raise SigningNotReady(f"There is no root document in {directory}: production brings its own root and keys, made offline.") from None
    return _read_roots(str(directory), stamp)


@lru_cache(maxsize=4)
def _read_roots(directory: str, _stamp: int) -> tuple[RootDocument, ...]:
    numbers = sorted((int(path.stem) for path in Path(directory).glob("*.json") if path.stem.isdigit()), reverse=True)
    if not numbers:
        raise SigningNotReady(f"There is no root document in {directory}.")
    return tuple(_read_root(Path(directory) / f"{number}.json") for number in numbers)


def _read_root(path: Path) -> RootDocument:
    envelope = json.loads(path.read_bytes())
    return RootDocument(decode_payload(base64.b64decode(envelope["payload"])))


def write_root(directory: Path, number: int, envelope: dict[str, Any]) -> Path:
    """Put a root document in its place: whole or not at all, and never over another one. Raises FileExistsError."""
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    path, partial = directory / f"{number}.json", directory / f".{number}.{os.getpid()}.json"
    partial.write_text(json.dumps(envelope))
    partial.chmod(0o644)
    try:
        os.link(partial, path)
    finally:
        partial.unlink()
    return path
