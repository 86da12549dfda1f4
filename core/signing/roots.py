"""The root document: which keys speak for which role, and how many of them it takes. Immutable, one file a version."""

import base64
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings

from core.signing.errors import RootMissing, SigningNotReady
from core.signing.payloads import decode_payload
from core.signing.roles import Role

DEVELOPMENT = "dev"
PRODUCTION = "production"


def environment_name() -> str:
    """`env` of every document: what production signs never verifies in development, and the other way round."""
    return PRODUCTION if settings.IS_PRODUCTION else DEVELOPMENT


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


def roots_directory() -> Path:
    return Path(settings.SIGNING_KEYS_DIR) / "roots"


def root_envelope(number: int) -> dict[str, Any]:
    """The bare envelope of root `number`, as it was written. Raises RootMissing."""
    from core.signing.keyfiles import ensure_development_keys

    ensure_development_keys()
    try:
        return json.loads((roots_directory() / f"{number}.json").read_bytes())
    except FileNotFoundError:
        raise RootMissing from None


def current_root() -> RootDocument:
    """The newest root document of this installation.

    Development makes one, with its keys, on the first call. Raises SigningNotReady in production when there is none, or
    when it is a development root.
    """
    return all_roots()[0]


def all_roots() -> tuple[RootDocument, ...]:
    """Every root document of this installation, the newest first. Raises as `current_root` does."""
    from core.signing.keyfiles import ensure_development_keys

    ensure_development_keys()
    roots = roots_in(roots_directory())
    if settings.IS_PRODUCTION and roots[0].env != PRODUCTION:
        raise SigningNotReady("The root document is one of development. Production needs its own keys and root.")
    return roots


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
