"""Private keys in files of one directory, and what is made with them: signatures, and the first keys and root of all.

Plain `cryptography`, and nothing of the settings: this is what the signer process loads. (securesystemslib, which reads
envelopes for the application, brings the clients of three clouds with it.)
"""

import base64
import fcntl
import hashlib
import os
import shutil
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.signing.errors import SigningNotReady
from core.signing.payloads import base_fields, encode_payload
from core.signing.roles import ROOT_KEYS, ROOT_THRESHOLD, PayloadType, Role
from core.signing.rootfiles import DEVELOPMENT, RootDocument, roots_in, write_root

ROOT_LIFETIME = timedelta(days=365)


class KeyRing:
    """The private keys of one directory, for the newest root that stands in another. Knows nothing of the settings."""

    def __init__(self, keys: Path, roots: Path) -> None:
        self.keys, self.roots = keys, roots

    def root(self) -> RootDocument:
        """Raises SigningNotReady."""
        return roots_in(self.roots)[0]

    def sign(self, role: Role, payload_type: PayloadType, payload: bytes) -> list[dict[str, str]]:
        """The signatures of as many of the role's keys as its threshold asks for. Raises SigningNotReady."""
        root = self.root()
        found: list[Ed25519PrivateKey] = []
        for keyid in root.keyids_of(role):  # the newest first: that is the order in which a root names them
            path = self.keys / f"{keyid}.pem"
            if len(found) < root.threshold_of(role) and path.exists():
                found.append(_load_key(str(path), path.stat().st_mtime_ns))
        if len(found) < root.threshold_of(role):
            raise SigningNotReady(f"This machine has too few keys of the role {role}.")
        return signatures_of(payload_type, payload, found)


def signatures_of(payload_type: str, payload: bytes, keys: Sequence[Ed25519PrivateKey]) -> list[dict[str, str]]:
    """DSSE's signatures over a payload."""
    message = b"DSSEv1 %d %b %d %b" % (len(payload_type.encode()), payload_type.encode(), len(payload), payload)
    return [{"keyid": keyid_for(key), "sig": base64.b64encode(key.sign(message)).decode()} for key in keys]


def envelope_of(payload_type: str, payload: bytes, keys: Sequence[Ed25519PrivateKey]) -> dict[str, Any]:
    """A DSSE envelope, signed by these keys."""
    signatures = signatures_of(payload_type, payload, keys)
    return {"payload": base64.b64encode(payload).decode(), "payloadType": str(payload_type), "signatures": signatures}


def make_development_keys(*, keys: Path, roots: Path, at: datetime) -> None:
    """The whole set, if there is no root yet; safe in parallel, and after a start that was killed before its root was written."""
    if (roots / "1.json").exists():
        return
    for directory in (keys, roots):
        directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(keys.parent / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (roots / "1.json").exists():
            shutil.rmtree(keys, ignore_errors=True)
            _make_keys(keys, roots, env=DEVELOPMENT, at=at)


def _make_keys(keys_directory: Path, roots_directory: Path, *, env: str, at: datetime) -> None:
    keys = {role: [Ed25519PrivateKey.generate() for _ in range(ROOT_KEYS if role is Role.ROOT else 1)] for role in Role}
    keys_directory.mkdir(mode=0o700)
    for private in (key for role_keys in keys.values() for key in role_keys):
        write_private_key(keys_directory / f"{keyid_for(private)}.pem", private)
    payload = root_payload(
        version=1,
        env=env,
        at=at,
        keyids={role: [keyid_for(key) for key in role_keys] for role, role_keys in keys.items()},
        public_keys={keyid_for(key): public_bytes(key) for role_keys in keys.values() for key in role_keys},
    )
    write_root(roots_directory, 1, envelope_of(PayloadType.ROOT, encode_payload(payload), keys[Role.ROOT][:ROOT_THRESHOLD]))


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


def write_private_key(path: Path, private: Ed25519PrivateKey) -> None:
    """Readable by this account only, from the first byte."""
    data = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)


@lru_cache(maxsize=32)
def _load_key(path: str, _stamp: int) -> Ed25519PrivateKey:
    private = serialization.load_pem_private_key(Path(path).read_bytes(), password=None)
    if not isinstance(private, Ed25519PrivateKey) or keyid_for(private) != Path(path).stem:
        raise SigningNotReady(f"{path} is not the Ed25519 key that its name says.")
    return private
