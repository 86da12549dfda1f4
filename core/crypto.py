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


def hash_key_id() -> str:
    """Which `HASH_KEY` a hash was made with, without telling the key."""
    return keyed_hash("key_id", "").hex()[:16]


def trace_hash(kind: str, value: str) -> str:
    """What remains, in hex, of something that identified a person who is gone."""
    return keyed_hash(f"trace:{kind}", value).hex()


def keyed_hash(purpose: str, value: str) -> bytes:
    """32 bytes to match a value by without storing it: HMAC-SHA256 under `HASH_KEY`, one domain for each purpose."""
    return hmac.new(settings.HASH_KEY.encode(), purpose.encode() + b"\0" + value.encode(), hashlib.sha256).digest()
