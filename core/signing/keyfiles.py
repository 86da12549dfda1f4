"""The signing port's first adapter: private keys in files of one directory, named by key id.

    <SIGNING_KEYS_DIR>/roots/<n>.json       root documents, public
    <SIGNING_KEYS_DIR>/keys/<keyid>.pem     private keys (PKCS8, mode 0600)

Development makes the whole set on first use. Production brings its own; its root keys are not on this machine.
"""

import base64
import fcntl
import hashlib
import json
import os
import shutil
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from securesystemslib import dsse
from securesystemslib.signer import CryptoSigner, SSlibKey

from core import clock
from core.signing.errors import SigningNotReady
from core.signing.payloads import base_fields, encode_payload
from core.signing.roles import ROOT_KEYS, ROOT_THRESHOLD, PayloadType, Role
from core.signing.roots import DEVELOPMENT, current_root

ROOT_LIFETIME = timedelta(days=365)


class KeyFileSigner:
    """Signs with the key files of this machine."""

    def sign(self, role: Role, payload_type: PayloadType, payload: bytes) -> list[dict[str, str]]:
        """The signatures of as many of the role's keys as its threshold asks for. Raises SigningNotReady."""
        root = current_root()
        envelope = dsse.Envelope(payload, payload_type.value, {})
        for signer in self._signers(role):
            envelope.sign(signer)
        if len(envelope.signatures) < root.threshold_of(role):
            raise SigningNotReady(f"This machine has too few keys of the role {role}.")
        return envelope.to_dict()["signatures"]

    def _signers(self, role: Role) -> list[CryptoSigner]:
        root = current_root()
        found: list[CryptoSigner] = []
        for keyid in root.keyids_of(role):
            path = keys_directory() / f"{keyid}.pem"
            if path.exists() and len(found) < root.threshold_of(role):
                found.append(_load_signer(str(path), path.stat().st_mtime_ns))
        return found


def keys_directory() -> Path:
    return Path(settings.SIGNING_KEYS_DIR) / "keys"


_ready: set[Path] = set()


def ensure_development_keys() -> None:
    """Make the keys and root 1 of a development or test installation, once, whoever comes first. Production: nothing."""
    directory = Path(settings.SIGNING_KEYS_DIR)
    if settings.IS_PRODUCTION or directory in _ready:
        return
    if not (directory / "roots" / "1.json").exists():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(directory / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (directory / "roots" / "1.json").exists():
                shutil.rmtree(directory / "keys", ignore_errors=True)  # of a start that was killed before its root was written
                _make_keys(directory, env=DEVELOPMENT, at=clock.now())
    _ready.add(directory)


def _make_keys(directory: Path, *, env: str, at: datetime) -> None:
    keys = {role: [Ed25519PrivateKey.generate() for _ in range(ROOT_KEYS if role is Role.ROOT else 1)] for role in Role}
    (directory / "keys").mkdir(mode=0o700)
    for private in (key for role_keys in keys.values() for key in role_keys):
        write_private_key(directory / "keys" / f"{keyid_for(private)}.pem", private)
    payload = root_payload(
        version=1,
        env=env,
        at=at,
        keyids={role: [keyid_for(key) for key in role_keys] for role, role_keys in keys.items()},
        public_keys={keyid_for(key): public_bytes(key) for role_keys in keys.values() for key in role_keys},
    )
    envelope = dsse.Envelope(encode_payload(payload), PayloadType.ROOT.value, {})
    for private in keys[Role.ROOT][:ROOT_THRESHOLD]:
        envelope.sign(signer_of(private))
    (directory / "roots").mkdir(mode=0o755, exist_ok=True)
    partial = directory / "roots" / ".1.json"
    partial.write_text(json.dumps(envelope.to_dict()))
    partial.rename(directory / "roots" / "1.json")


def root_payload(*, version: int, env: str, at: datetime, keyids: dict[Role, list[str]], public_keys: dict[str, bytes]) -> dict:
    """The payload of a root document. Raises ValueError when a key is in two roles."""
    named = [keyid for role_keyids in keyids.values() for keyid in role_keyids]
    if len(set(named)) != len(named) or len({public_keys[keyid] for keyid in named}) != len(named):
        raise ValueError("no key may be in two roles")
    return {
        **base_fields(PayloadType.ROOT, env=env, issued_at=at, expires_at=at + ROOT_LIFETIME),
        "version": version,
        "keys": {keyid: {"scheme": "ed25519", "public": base64.b64encode(public_keys[keyid]).decode()} for keyid in named},
        "roles": {role.value: {"keyids": keyids[role], "threshold": ROOT_THRESHOLD if role is Role.ROOT else 1} for role in Role},
    }


def public_bytes(private: Ed25519PrivateKey) -> bytes:
    return private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def keyid_for(private: Ed25519PrivateKey) -> str:
    """Opaque to every reader; ours is the hash of the public key."""
    return hashlib.sha256(public_bytes(private)).hexdigest()


def signer_of(private: Ed25519PrivateKey) -> CryptoSigner:
    return CryptoSigner(private, SSlibKey(keyid_for(private), "ed25519", "ed25519", {"public": public_bytes(private).hex()}))


def write_private_key(path: Path, private: Ed25519PrivateKey) -> None:
    """Readable by this account only, from the first byte."""
    data = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)


@lru_cache(maxsize=32)
def _load_signer(path: str, _stamp: int) -> CryptoSigner:
    private = serialization.load_pem_private_key(Path(path).read_bytes(), password=None)
    if not isinstance(private, Ed25519PrivateKey) or keyid_for(private) != Path(path).stem:
        raise SigningNotReady(f"{path} is not the Ed25519 key that its name says.")
    return signer_of(private)
