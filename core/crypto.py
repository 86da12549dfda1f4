"""Encryption of personal fields at rest and keyed hashes to match them by."""

import hashlib
import hmac
from functools import lru_cache

from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings


@lru_cache(maxsize=4)
def _cipher(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def encrypt(text: str) -> bytes:
    """Encrypt with the newest of `FIELD_ENCRYPTION_KEYS` (Fernet: AES-128-CBC and HMAC-SHA256)."""
    return _cipher(tuple(settings.FIELD_ENCRYPTION_KEYS)).encrypt(text.encode())


def decrypt(token: bytes) -> str:
    """Decrypt with whichever of the keys fits. Raises: cryptography.fernet.InvalidToken."""
    return _cipher(tuple(settings.FIELD_ENCRYPTION_KEYS)).decrypt(bytes(token)).decode()


def keyed_hash(purpose: str, value: str) -> bytes:
    """32 bytes to match a value by without storing it: HMAC-SHA256 under `HASH_KEY`, one domain for each purpose."""
    return _hash(settings.HASH_KEY, purpose, value)


def keyed_hashes(purpose: str, value: str) -> list[bytes]:
    """The same under `HASH_KEY` and each of `HASH_KEYS_RETIRED`: to look up what was hashed before the key was changed."""
    return [_hash(key, purpose, value) for key in (settings.HASH_KEY, *settings.HASH_KEYS_RETIRED)]


def hash_key_id() -> str:
    """Which `HASH_KEY` hashes are made with now, without telling the key."""
    return _key_id(settings.HASH_KEY)


def hash_keys() -> dict[str, str]:
    """Every known `HASH_KEY` by its id, retired ones too."""
    return {_key_id(key): key for key in (*settings.HASH_KEYS_RETIRED, settings.HASH_KEY)}


def trace_hash(kind: str, value: str, *, key_id: str | None = None) -> str:
    """What remains, in hex, of something that identified a person who is gone. KeyError: that key is not known any more."""
    key = settings.HASH_KEY if key_id is None else hash_keys()[key_id]
    return _hash(key, f"trace:{kind}", value).hex()


def _key_id(key: str) -> str:
    return _hash(key, "key_id", "").hex()[:16]


def _hash(key: str, purpose: str, value: str) -> bytes:
    return hmac.new(key.encode(), purpose.encode() + b"\0" + value.encode(), hashlib.sha256).digest()
