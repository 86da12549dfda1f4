"""Which passwords are refused: short or very long ones, common ones, and those built of words that anybody would try first.

No rules of composition, no truncation; any Unicode.
"""

import gzip
import re
from functools import cache
from pathlib import Path

from django.contrib.auth import hashers, password_validation

from core.exceptions import InvalidInput
from users.normalise import normalise_password

SHORTEST, LONGEST = 10, 128  # code points
CONTEXT_WORDS = ("revsync", "motorcycle", "motorbike", "chiptuning", "tuning", "tuner", "rider", "ecu")
_LEFT_AT_LEAST = 6  # characters that must remain once words of the context are taken out


@cache
def _common() -> frozenset[str]:
    """The 20,000 most common passwords: Django ships the list, so that no call leaves the machine."""
    path = Path(password_validation.__file__).parent / "common-passwords.txt.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return frozenset(line.strip() for line in lines)


def ensure_acceptable(password: str, *, email: str = "", display_name: str = "", pointer: str = "/password") -> None:
    """Refuse a password that is guessed first. Raises: InvalidInput at `pointer`."""
    text = normalise_password(password)
    if len(text) < SHORTEST:
        raise InvalidInput.at(pointer, "password_too_short", f"Use at least {SHORTEST} characters.")
    if len(text) > LONGEST:
        raise InvalidInput.at(pointer, "password_too_long", f"Use at most {LONGEST} characters.")
    folded = text.casefold()
    if _is_common(folded):
        raise InvalidInput.at(pointer, "password_too_common", "This password is among the first that are tried.")
    words = _context_words(email, display_name)
    if folded.strip() == email.casefold() or not _stands_without(folded, words):
        raise InvalidInput.at(pointer, "password_too_personal", "Don't build the password of your name, your address or our name.")


def verify(password: str, encoded: str | None) -> bool:
    """Compare with a stored hash; with None it takes the same time and is never right."""
    is_right, _ = hashers.verify_password(normalise_password(password), encoded or "!")
    return is_right


def hashed(password: str) -> str:
    """The hash to store."""
    return hashers.make_password(normalise_password(password))


def _is_common(folded: str) -> bool:
    bare = re.sub(r"[\s!-/:-@\[-`{-~]+", "", folded)  # ASCII punctuation decorates; other characters are part of the password
    core = bare.strip("0123456789")
    repeated = len(set(folded)) <= 2
    running = len(bare) >= 8 and (bare in "0123456789" * 13 or bare in "abcdefghijklmnopqrstuvwxyz" * 5)
    return bool({folded, bare} & _common()) or (len(core) >= 4 and core in _common() and len(bare) - len(core) <= 4) or repeated or running


def _context_words(email: str, display_name: str) -> list[str]:
    local, _, domain = email.casefold().partition("@")
    parts = [local, *re.split(r"[\W_\d]+", local), domain.split(".")[0], *re.split(r"[\W_]+", display_name.casefold())]
    return sorted({part for part in (*CONTEXT_WORDS, *parts) if len(part) >= 3}, key=len, reverse=True)


def _stands_without(folded: str, words: list[str]) -> bool:
    rest = folded
    for word in words:
        rest = rest.replace(word, " ")
    if rest == folded:
        return True
    bare = re.sub(r"[\W_]+", "", rest)
    return len(bare) >= _LEFT_AT_LEAST and not bare.isdigit() and bare.strip("0123456789") not in _common()
