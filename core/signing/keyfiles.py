"""The signing port's first adapter: private keys in files of one directory, named by key id.

    <SIGNING_KEYS_DIR>/roots/<n>.json       root documents, public
    <SIGNING_KEYS_DIR>/keys/<keyid>.pem     private keys (PKCS8, mode 0600)

Development makes the whole set on first use. Production brings its own; its root keys are not on this machine.
"""

from pathlib import Path

from django.conf import settings

from core import clock
from core.signing.keyring import KeyRing, make_development_keys
from core.signing.roles import PayloadType, Role
from core.signing.roots import current_root, roots_directory


class KeyFileSigner:
    """Signs with the key files of this machine."""

    def sign(self, role: Role, payload_type: PayloadType, payload: bytes, *, approval: str = "") -> list[dict[str, str]]:
        current_root()  # makes development's keys, and refuses them in production
        return KeyRing(keys_directory(), roots_directory()).sign(role, payload_type, payload)


def keys_directory() -> Path:
    return Path(settings.SIGNING_KEYS_DIR) / "keys"


_ready: set[Path] = set()


def ensure_development_keys() -> None:
    """Make the keys and root 1 of a development or test installation, once, whoever comes first. Production: nothing.
    Where a signer process has the keys, it makes them."""
    directory = Path(settings.SIGNING_KEYS_DIR)
    if settings.IS_PRODUCTION or settings.SIGNER_SOCKET or directory in _ready:
        return
    make_development_keys(keys=directory / "keys", roots=directory / "roots", at=clock.now())
    _ready.add(directory)
