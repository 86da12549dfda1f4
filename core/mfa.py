"""One-time codes of authenticator apps (RFC 6238: SHA-1, 30 seconds, 6 digits), and recovery codes."""

import base64
import secrets
from datetime import datetime
from urllib.parse import quote

from django_otp.oath import TOTP

STEP_SECONDS = 30
TOLERANCE_STEPS = 1
_RECOVERY_ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"  # nothing that reads like something else


def new_secret() -> str:
    """A fresh secret of 160 bits, in base32 as authenticator apps take it."""
    return base64.b32encode(secrets.token_bytes(20)).decode()


def code_of(secret: str, *, at: datetime) -> str:
    """The six digits that an authenticator shows at that moment."""
    return f"{_totp(secret, at).token():06d}"


def matching_step(secret: str, code: str, *, at: datetime, after_step: int) -> int | None:
    """The time step whose code this is, within one step of now and later than `after_step`; None when there is none.

    The caller stores the step, under a lock or by a conditional update, so that a code works once.
    """
    if len(code) != 6 or not (code.isascii() and code.isdigit()):
        return None
    totp = _totp(secret, at)
    if not totp.verify(int(code), tolerance=TOLERANCE_STEPS, min_t=after_step + 1):
        return None
    return totp.t()


def _totp(secret: str, at: datetime) -> TOTP:
    totp = TOTP(base64.b32decode(secret), step=STEP_SECONDS)
    totp.time = at.timestamp()
    return totp


def provisioning_uri(secret: str, *, account: str, issuer: str = "RevSync") -> str:
    """The `otpauth://` link that a QR code carries."""
    return f"otpauth://totp/{quote(issuer)}:{quote(account)}?secret={secret}&issuer={quote(issuer)}&algorithm=SHA1&digits=6&period={STEP_SECONDS}"


def new_recovery_codes(count: int = 10) -> list[str]:
    """Fresh codes of about 59 bits, in two groups."""
    return ["-".join("".join(secrets.choice(_RECOVERY_ALPHABET) for _ in range(6)) for _ in range(2)) for _ in range(count)]


def fold_recovery_code(raw: str) -> str:
    """One spelling of a recovery code, however it was typed."""
    return "".join(character for character in raw.upper() if character.isalnum())
