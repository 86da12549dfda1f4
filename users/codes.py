"""The six digits of a challenge: derived, never stored, so that neither a table nor a task row gives them away."""

import hmac
import json

from core import crypto
from users.models import Challenge


def code_of(challenge: Challenge) -> str:
    """The code that its mail carries."""
    digest = crypto.keyed_hash("challenge_code", f"{challenge.kind}:{challenge.pk}")
    return f"{int.from_bytes(digest[:8], 'big') % 1_000_000:06d}"


def is_right(challenge: Challenge, code: str) -> bool:
    """Whether the guess is right; compared in constant time. A decoy has no right code."""
    matches = hmac.compare_digest(code_of(challenge).encode(), code.encode())
    return matches and bool(challenge.pending) and "decoy" not in json.loads(challenge.pending)
