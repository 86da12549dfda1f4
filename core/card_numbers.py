"""Finding payment card numbers in what people type, so that none is ever stored: refused, and never repeated or logged."""

import re
import unicodedata
from collections.abc import Iterator

LENGTHS = (15, 16)
# Fifteen: American Express. Sixteen: Visa, Maestro, Discover, UnionPay and RuPay, Mastercard (two ranges), JCB, Troy.
_ISSUERS = {
    15: re.compile(r"3[47]"),
    16: re.compile(r"4|5[0-8]|6|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)|35(?:2[89]|[3-8])|8[12]|9792"),
}
_GROUP = re.compile(r"[0-9]+")
_SEPARATOR = re.compile(r"[\s./_\\|,:;+*'\"()\[\]-]{1,4}", re.UNICODE)
_DASHES = str.maketrans(dict.fromkeys("‐‑‒–—―−﹣－·•", "-"))


def contains_card_number(text: str) -> bool:
    """Whether a text has 15 or 16 digits, however grouped, that begin like an issuer's and satisfy Luhn's check."""
    folded = unicodedata.normalize("NFKC", text).translate(_DASHES)
    folded = "".join(str(unicodedata.digit(c)) if c.isdecimal() and not c.isascii() else c for c in folded)
    return any(_is_card_number(digits) for run in _runs(folded) for digits in _joined(run))


def _runs(text: str) -> Iterator[list[str]]:
    """Groups of digits that stand so close together that a reader takes them for one number."""
    run: list[str] = []
    end = 0
    for group in _GROUP.finditer(text):
        if run and not _SEPARATOR.fullmatch(text[end : group.start()]):
            yield run
            run = []
        run.append(group.group())
        end = group.end()
    if run:
        yield run


def _joined(run: list[str]) -> Iterator[str]:
    """Every row of neighbouring groups that has as many digits as a card number."""
    for first in range(len(run)):
        digits = ""
        for group in run[first:]:
            digits += group
            if len(digits) in LENGTHS:
                yield digits
            if len(digits) >= max(LENGTHS):
                break


def _is_card_number(digits: str) -> bool:
    return bool(_ISSUERS[len(digits)].match(digits)) and _satisfies_luhn(digits)


def _satisfies_luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit)
        if place % 2:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return total % 10 == 0
