"""How names are folded, so that "Müller Tuning", "MULLER tuning" and "muller" meet."""

import unicodedata
from collections.abc import Iterable


def name_key(name: str) -> str:
    """The name without accents and case, its runs of other signs made one space: what a list is sorted and searched by."""
    plain = "".join(sign for sign in unicodedata.normalize("NFKD", name) if not unicodedata.combining(sign)).casefold()
    return " ".join("".join(sign if sign.isalnum() else " " for sign in plain).split())[:160]


def make_key(make: str) -> str:
    """A make's name without any separators: "Harley-Davidson" and "harley davidson" are one."""
    return name_key(make).replace(" ", "")[:80]


def search_text(business_name: str, makes: Iterable[str]) -> str:
    """What `q` looks in: the name and the makes."""
    return " ".join([name_key(business_name), *(name_key(make) for make in makes)])
