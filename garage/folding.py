"""One spelling for each make and model: "MT-09", "MT09" and "mt 09" are all "mt09"."""

import re
import unicodedata

_SPELLED_OUT = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "ł": "l", "ı": "i", "þ": "th", "&": "and", "²": "2", "³": "3"}
)
_WORD = re.compile(r"[^\W_]+")


def plain(text: str) -> str:
    """Lower case, without accents and ligatures; word breaks stay as they are."""
    decomposed = unicodedata.normalize("NFKD", text.lower().translate(_SPELLED_OUT))
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def words(text: str) -> list[str]:
    """The words of a name, folded: "Ténéré 700" is ["tenere", "700"]."""
    return [word for word in _WORD.findall(plain(text)) if word.isascii()]


def fold(text: str) -> str:
    """Only `a-z0-9` are left, so that spaces, hyphens, case and accents make no difference. May be empty."""
    return "".join(words(text))
