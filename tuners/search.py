"""What the words of a search for tuners mean, as a query of the profiles' documents (migration `tuner_document`).

A search is read as typed: each word begins a word of the name, a make or one of its aliases, or stands inside a word of the
name, or begins a word of a speciality. Only when nothing was found, words that begin nothing are taken for what is one slip
away, too, else for two words typed as one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import floor
from typing import Any

from django.db import connection

from core.spelling import LONGEST, halves_of, slips_of
from tuners.enums import Speciality
from tuners.names import make_key, name_key

MAX_WORDS = 8
MOST_NEIGHBOURS = 4
SHORTEST_INSIDE = 3  # two letters stand inside nearly every name
SHORTEST_OF_SPECIALITY = 4  # "and" and "to" are words of their labels

# For each word the numbers of those of its `_alternatives` that are meant beside it; none: as typed. Short, for a cursor.
Reading = Sequence[Sequence[int]]

# Each word is one step of the index, whatever the number of tuners that have it.
_FACTS = """
WITH begun AS MATERIALIZED (
    SELECT given.word FROM unnest(%(words)s::text[]) AS given (word)
     CROSS JOIN LATERAL (SELECT w.word FROM tuners_tunerword w WHERE w.word >= given.word ORDER BY w.word LIMIT 1) AS next
     WHERE starts_with(next.word, given.word)
)
SELECT word, true FROM begun
UNION ALL
SELECT near.word, false
  FROM unnest(%(of)s::text[], %(spellings)s::text[]) AS near (of, word)
 CROSS JOIN LATERAL (SELECT w.tuner_id FROM tuners_tunerword w WHERE w.word = near.word ORDER BY w.tuner_id LIMIT 1) AS known
 WHERE near.of NOT IN (SELECT word FROM begun)
"""
_OF_SPECIALITIES = {
    speciality.value: [word for word in name_key(speciality.label).split() if len(word) >= SHORTEST_OF_SPECIALITY]
    for speciality in Speciality
}
_SPECIALITY_WORDS = {word for words in _OF_SPECIALITIES.values() for word in words}


def words_of(text: str) -> list[str]:
    """The words of a text as profiles have them, each once."""
    return list(dict.fromkeys(name_key(text).split()))[:MAX_WORDS]


def as_typed(words: Sequence[str]) -> Reading:
    return [[] for _ in words]


def as_meant(words: Sequence[str]) -> Reading:
    """How a search that found nothing may be read. One query."""
    strange = [word for word in words if not _specialities(word)]
    spelled = [(word, half) for word in strange for alternative in _alternatives(word) for half in alternative.split()]
    asked = {"words": strange, "of": [word for word, _ in spelled], "spellings": [spelling for _, spelling in spelled]}
    with connection.cursor() as cursor:
        cursor.execute(_FACTS, asked)
        facts = cursor.fetchall()
    begun = {word for word, is_begun in facts if is_begun}
    known = {word for word, is_begun in facts if not is_begun} | _SPECIALITY_WORDS
    return [_neighbours(word, known) if word in strange and word not in begun else [] for word in words]


def expression(words: Sequence[str], reading: Reading) -> str:
    """A reading as a tsquery. Words are letters and digits only: nothing of the syntax can come from them."""
    return _all(_any([_stands(word), *_read(word, numbers)]) for word, numbers in zip(words, reading, strict=True))


def _read(word: str, numbers: Sequence[int]) -> Iterator[str]:
    alternatives = _alternatives(word) if numbers else []
    for number in numbers:
        yield from (_all(map(_stands, alternative.split())) for alternative in alternatives[number : number + 1])


def expression_of_filters(filters: Mapping[str, Any]) -> str:
    """The other filters of the list as a tsquery, `min_rating` to a tenth of a star; empty without any."""
    queries = []
    if "speciality" in filters:
        queries.append(f"'#{filters['speciality']}'")
    if "make" in filters:
        queries.append(f"'/{make_key(filters['make'])}'")
    if "country" in filters:
        queries.append(f"'@{filters['country']}'")
    if filters.get("verified") is not None:
        queries.append("'+'" if filters["verified"] else "'-'")
    if "min_rating" in filters:
        queries.append(_any(f"'*{tenths}'" for tenths in range(floor(filters["min_rating"] * 10), 51)))
    return _all(queries)


def _all(expressions: Iterable[str]) -> str:
    return " & ".join(expressions)


def _any(expressions: Iterable[str]) -> str:
    return f"({' | '.join(expressions)})"


def _stands(word: str) -> str:
    inside = [f"'~{word}':*"] if SHORTEST_INSIDE <= len(word) <= LONGEST else []
    return _any([f"'{word}':*", *inside, *(f"'#{speciality}'" for speciality in _specialities(word))])


def _specialities(word: str) -> list[str]:
    """Those of whose labels the word begins a word."""
    if len(word) < SHORTEST_OF_SPECIALITY:
        return []
    return [value for value, words in _OF_SPECIALITIES.items() if any(other.startswith(word) for other in words)]


def _alternatives(word: str) -> list[str]:
    """What a word may have been: one slip away, likeliest first, then in two words. The same each time."""
    return [*slips_of(word), *(f"{left} {right}" for left, right in halves_of(word))]


def _neighbours(word: str, known: set[str]) -> list[int]:
    """The numbers of those alternatives that are known; two words only when no slip is."""
    found = [(number, other) for number, other in enumerate(_alternatives(word)) if known.issuperset(other.split())]
    slips = [number for number, other in found if " " not in other]
    return (slips or [number for number, _ in found])[:MOST_NEIGHBOURS]
