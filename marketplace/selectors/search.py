"""From what a rider types to a query that Postgres can't misread: words only, each of them data."""

import re
import unicodedata
from collections.abc import Sequence

from django.db import connection

_WORD = re.compile(r"[^\W_]+")
_LETTERS_AND_DIGITS = re.compile(r"[^\W\d_]+|\d+")
MAX_WORDS, MAX_WORD_LENGTH = 12, 64
SHORTEST_MISSPELT = 4  # shorter words have too many neighbours, and trigrams need three letters

_NEIGHBOURS = """
SELECT given.word,
       ARRAY(SELECT near.word FROM marketplace_searchword near
              WHERE near.word %% given.plain AND similarity(near.word, given.plain) >= 0.4
              ORDER BY similarity(near.word, given.plain) DESC, near.word LIMIT 4)
  FROM (SELECT word, lower(unaccent(word)) AS plain FROM unnest(%s::text[]) AS word) AS given
 WHERE NOT EXISTS (SELECT 1 FROM marketplace_searchword known WHERE known.word = given.plain)
"""


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, at most twelve. Accents are taken off by the search configuration, on both sides."""
    return [word[:MAX_WORD_LENGTH] for word in _WORD.findall(unicodedata.normalize("NFC", text).lower())][:MAX_WORDS]


def tsquery_of(words: Sequence[str], neighbours: dict[str, list[str]] | None = None) -> str:
    """The words as a tsquery: all of them, the last one as a beginning; "mt09" is also "mt 09".

    `neighbours` offers other spellings for a word. Nothing of the syntax can come from the words: they hold letters
    and digits only. Empty when there are no words.
    """
    terms = []
    for position, word in enumerate(words):
        alternatives = [_term(spelling, prefix=position == len(words) - 1) for spelling in [word, *(neighbours or {}).get(word, ())]]
        terms.append(alternatives[0] if len(alternatives) == 1 else f"({' | '.join(alternatives)})")
    return " & ".join(terms)


def _term(word: str, *, prefix: bool) -> str:
    star = ":*" if prefix and len(word) > 1 else ""
    parts = _LETTERS_AND_DIGITS.findall(word)
    whole = f"'{word}'{star}"
    if not 2 <= len(parts) <= 4:
        return whole
    split = " & ".join(f"'{part}'" for part in parts[:-1]) + f" & '{parts[-1]}'{star}"
    return f"({whole} | ({split}))"


def neighbours_of(words: Sequence[str]) -> dict[str, list[str]]:
    """Known words that look like those which no tune has. One query, by trigram index."""
    candidates = sorted({word for word in words if len(word) >= SHORTEST_MISSPELT})
    if not candidates:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_NEIGHBOURS, [candidates])
        return {word: near for word, near in cursor.fetchall() if near}
