"""One spelling for addresses and passwords, whatever keyboard they were typed on."""

import re
import unicodedata
from typing import overload

ADDRESS = re.compile(
    r"(?=.{3,254}$)(?=.{1,64}@)[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])"
)


def normalise_email(raw: str) -> str | None:
    """The address as it is stored, or None when it is none that we accept.

    Plain ASCII only (an internationalised domain comes as punycode and is shown so), so that no look-alike letter makes a
    second account that reads like the first. Spaces around it go; a control character anywhere makes it none.
    """
    folded = raw.strip(" ").lower()
    return folded if raw.isascii() and ADDRESS.fullmatch(folded) else None  # "K" in the Kelvin spelling would fold to ASCII


@overload
def normalise_password(raw: str) -> str: ...
@overload
def normalise_password(raw: None) -> None: ...
def normalise_password(raw: str | None) -> str | None:
    """Composed characters (NFC): one keyboard sends "é" as one character, another as two."""
    return None if raw is None else unicodedata.normalize("NFC", raw)
