"""What the words of a search for tuners mean: parts of names and makes, specialities, and slips away from either."""

from collections.abc import Sequence

from django.db import connection
from django.db.models import Q

from core.spelling import halves_of, slips_of
from tuners.enums import Speciality
from tuners.names import name_key

MAX_WORDS = 8
MOST_NEIGHBOURS = 4
SHORTEST_OF_SPECIALITY = 4  # "and" and "to" are words of their labels
# One branch for each word, so that Postgres can tell a rare one and looks it up instead of reading all profiles.
_KNOWN = """
SELECT %s WHERE EXISTS (
    SELECT 1 FROM tuners_tunerprofile t
     WHERE t.status = 'ACTIVE' AND (t.search_text LIKE %s OR t.make_keys @> ARRAY[%s]::varchar[]))
"""
_WORDS = """
SELECT DISTINCT word
  FROM tuners_tunerprofile t CROSS JOIN LATERAL unnest(string_to_array(t.search_text, ' ')) AS word
 WHERE t.status = 'ACTIVE' AND string_to_array(t.search_text, ' ') && %(spellings)s::text[] AND word = ANY(%(spellings)s::text[])
"""
_OF_SPECIALITIES = {
    speciality.value: [word for word in name_key(speciality.label).split() if len(word) >= SHORTEST_OF_SPECIALITY]
    for speciality in Speciality
}


def meanings_of(words: Sequence[str]) -> list[Q]:
    """A condition for each word: it stands in the name or the makes, or begins a word of a speciality. One that does neither
    anywhere is taken for what is one slip away, else for two words typed as one; else nothing meets its condition.

    One query, two when a word is not known.
    """
    found = {word: _stands(word) for word in words}
    if not found:
        return []
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join([_KNOWN] * len(found)), [value for word in found for value in (word, f"%{word}%", word)])
        known = {word for (word,) in cursor.fetchall()}
        strange = [word for word in found if word not in known and not _specialities(word)]
        if strange:
            cursor.execute(_WORDS, {"spellings": [spelling for word in strange for spelling in _spellings(word)]})
            near = {word for (word,) in cursor.fetchall()}
            found |= {word: _meant(word, near) for word in strange}
    return list(found.values())


def _stands(word: str) -> Q:
    condition = Q(search_text__contains=word) | Q(make_keys__contains=[word])
    specialities = _specialities(word)
    return condition | Q(specialities__overlap=specialities) if specialities else condition


def _specialities(word: str) -> list[str]:
    """Those of whose labels the word begins a word."""
    if len(word) < SHORTEST_OF_SPECIALITY:
        return []
    return [value for value, words in _OF_SPECIALITIES.items() if any(other.startswith(word) for other in words)]


def _spellings(word: str) -> list[str]:
    return [*slips_of(word), *(half for both in halves_of(word) for half in both)]


def _meant(word: str, near: set[str]) -> Q:
    slips = slips_of(word)
    readings = [_stands(slip) for slip in [slip for slip in slips if slip in near][:MOST_NEIGHBOURS]]
    whole = {word for words in _OF_SPECIALITIES.values() for word in words}
    readings += [Q(specialities__overlap=_specialities(slip)) for slip in slips if slip in whole][:1]
    if not readings:
        readings = [_stands(left) & _stands(right) for left, right in halves_of(word) if {left, right} <= near]
    meant = Q(pk__in=[])
    for reading in readings:
        meant |= reading
    return meant

