"""From what a rider types to queries that Postgres can't misread: words only, each of them data.

A search is read three ways, each only when the one before found nothing: as typed; with words that no tune has replaced
by what they may have meant (a typo, a beginning, two words in one, one word in two) or left out; and with any one word
less. What is found is ranked by where the words stand: title and model, then tuner, category and aliases, then codes,
then the description. Price plays no part.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from typing import Any

from django.db import connection

from core.spelling import LONGEST, SHORTEST, halves_of, is_cyrillic, slips_of

_CHUNK = re.compile(r"[^\W_]+(?:[-._]+[^\W_]+)*")  # "GSX-R1000" and "MED17.5.5" are one each
_WORD = re.compile(r"[^\W_]+")
_LETTERS_OR_DIGITS = re.compile(r"[^\W\d_]+|\d+")
_LEXEME = re.compile(r"'([^']+)'(:\*)?")
_HYPHENS = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"))

MAX_WORDS, MAX_WORD_LENGTH, MAX_PARTS = 12, 64, 6
MAX_QUERY_BYTES = 560  # it travels in the cursor
SHORTEST_BEGINNING = 3  # "st" begins "stage", which half of all tunes are
SHORTEST_ALIKE = 4  # by trigrams: those of shorter words are too few
MOST_MISSPELT = 6
MOST_NEIGHBOURS = 4
FEWEST_TO_SPARE_ONE, MOST_TO_SPARE_ONE = 3, 6

# Words that say what everything here is, and those that hold a sentence together: they find nothing and hide nothing.
_TRADE = frozenset(
    {
        *("tune", "tunes", "tuned", "tuning", "map", "maps", "mapping", "remap", "remaps", "remapping", "ecu", "software"),
        *("file", "files", "flash", "flashing", "reflash"),
    }
)
_GLUE = frozenset(
    {
        *("a", "an", "the", "and", "or", "for", "with", "of", "to", "in", "on", "my", "your", "from", "by"),
        *("der", "die", "das", "und", "oder", "für", "fuer", "mit", "von", "im", "am", "mein", "meine"),
        *("le", "les", "des", "du", "et", "ou", "pour", "avec", "el", "los", "para", "con", "per", "il", "для", "на", "и", "с"),
    }
)


@dataclass(frozen=True)
class Reading:
    """One way to read a search: what a tune must have, and what it is ranked by. Both are tsqueries."""

    match: str
    ranking: str


@dataclass(frozen=True)
class Term:
    """What stands between two spaces: its words ("gsx", "r1000"), and whether it may be the beginning of one only."""

    words: tuple[str, ...]
    open: bool = False

    @property
    def whole(self) -> str:
        return "".join(self.words)

    @property
    def parts(self) -> list[str]:
        """Letters and digits apart: "gsx", "r", "1000"."""
        return [part for word in self.words for part in _LETTERS_OR_DIGITS.findall(word)]

    @property
    def is_filling(self) -> bool:
        return self.whole in _TRADE or self.whole in _GLUE

    def expression(self) -> str:
        """All spellings of the term as a tsquery: in one, or its words or parts one after the other."""
        star = ":*" if self.open and len(self.words) == 1 and self.whole.isalpha() and len(self.whole) >= SHORTEST_BEGINNING else ""
        spellings = [f"'{self.whole[:MAX_WORD_LENGTH]}'{star}"]
        for pieces in (self.parts, list(self.words)):
            if len(pieces) > MAX_PARTS:
                spellings.append(f"({' & '.join(map(_quoted, pieces[:MAX_PARTS]))})")
            elif len(pieces) > 1:
                spellings.append(f"({' <-> '.join(map(_quoted, pieces))})")
        return _any(spellings)


def _quoted(word: str) -> str:
    return f"'{word[:MAX_WORD_LENGTH]}'"


def _any(expressions: Iterable[str]) -> str:
    few = list(dict.fromkeys(expressions))
    return few[0] if len(few) == 1 else f"({' | '.join(few)})"


def terms_of(text: str) -> list[Term]:
    """The terms of a text in lower case, at most twelve. Accents on letters are taken off by the search configuration,
    on both sides; those that are characters of their own are taken off here, as they are in documents."""
    composed = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower()).translate(_HYPHENS)
    plain = "".join(sign for sign in composed if not "\u0300" <= sign <= "\u036f")
    chunks = _CHUNK.findall(plain)[:MAX_WORDS]
    return [Term(tuple(_WORD.findall(chunk)), open=number == len(chunks)) for number, chunk in enumerate(chunks, 1)]


def _asked(terms: Sequence[Term]) -> list[Term]:
    """Without what only fills, unless there is nothing else."""
    return [term for term in terms if not term.is_filling] or list(terms)


def as_typed(terms: Sequence[Term]) -> str:
    """All terms, the last one perhaps only begun. Empty without terms.

    Nothing of the syntax can come from the words: they hold letters and digits only.
    """
    return " & ".join(term.expression() for term in _asked(terms))


def ranking_of(query: str, terms: Sequence[Term]) -> str:
    """What found tunes are ranked by: each word of the query for itself, the filling ones too, and neighbours in one.

    A begun word counts twice where it is the whole one: exactly, and as the beginning of anything.
    """
    lexemes: dict[str, None] = {}
    for word, star in _LEXEME.findall(query):
        lexemes[f"'{word}'"] = None
        if star:
            lexemes[f"'{word[:-1]}':*"] = None
    for first, second in pairwise(terms):
        lexemes[_quoted(first.whole + second.whole)] = None
    for term in terms:
        if term.whole not in _GLUE:
            lexemes[_quoted(term.whole)] = None
    return " | ".join(lexemes)


def reading_of(match: str, terms: Sequence[Term]) -> Reading:
    """A query with its ranking."""
    return Reading(match, ranking_of(match, terms))


# What a word that no tune has may have meant

# One branch for each term, with its query as a constant: of a query that comes from a row Postgres can't tell whether it is
# rare, and would read all documents for a word that none has.
_FOUND = "SELECT %s WHERE EXISTS (SELECT 1 FROM marketplace_searchrow s WHERE s.document @@ to_tsquery('revsync_search', %s))"
# Words in a row it takes to be wherever both are: hidden, and with a condition that it thinks one row in two hundred meets, they are
# asked of the index. Only where none has them in one, which is seen in the first rows when many have.
_FOUND_IN_A_ROW = f"""{_FOUND}
    OR EXISTS (
    SELECT 1 FROM marketplace_searchrow s
     WHERE s.document @@ (SELECT query FROM to_tsquery('revsync_search', %s) AS query) AND (s.popularity & 0) = 0)
"""
# Trigrams are compared with every word that shares some, the more the more words there are: only for a word that nothing else
# explains. The rest are look-ups by key.
_FACTS = """
WITH found (whole) AS MATERIALIZED ({found}),
given AS (SELECT * FROM unnest(%s::text[], %s::text[]) AS given (word, whole)),
known AS MATERIALIZED (SELECT word FROM marketplace_searchword WHERE word = ANY(%s::text[])),
begun AS MATERIALIZED (
    SELECT given.word FROM given
     WHERE EXISTS (SELECT 1 FROM marketplace_searchword w WHERE w.word ~>=~ given.word AND w.word ~<~ (given.word || chr(1114111)))
),
unexplained AS (
    SELECT given.word FROM given
     WHERE length(given.word) >= %s
       AND NOT EXISTS (SELECT FROM found WHERE found.whole = given.whole)
       AND NOT EXISTS (SELECT FROM begun WHERE begun.word = given.word)
       AND NOT EXISTS (SELECT FROM known JOIN unnest(%s::text[], %s::text[]) AS slip (word, spelling) ON slip.spelling = known.word
                        WHERE slip.word = given.word)
)
SELECT 'found', NULL, whole FROM found
UNION ALL
SELECT 'known', NULL, word FROM known
UNION ALL
SELECT 'begun', NULL, word FROM begun
UNION ALL
SELECT 'alike', unexplained.word, near.word FROM unexplained
 CROSS JOIN LATERAL (
    SELECT w.word FROM marketplace_searchword w
     WHERE w.word %% unexplained.word AND similarity(w.word, unexplained.word) >= 0.4
     ORDER BY similarity(w.word, unexplained.word) DESC, w.word LIMIT %s) AS near
"""


@dataclass
class _Facts:
    """What is known of a search's terms and of the words near them."""

    found: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)
    begun: set[str] = field(default_factory=set)
    alike: dict[str, list[str]] = field(default_factory=dict)
    slips: dict[str, list[str]] = field(default_factory=dict)

    def meaning_of(self, term: Term) -> str | None:
        """A term that some tune has stays as it is. Another is what it begins and what is one slip away, else what looks
        like it, else what it is made of, else nothing."""
        if term.whole in self.found:
            return term.expression()
        word = unaccented(term.whole)
        near = [slip for slip in self.slips.get(word, ()) if slip in self.words]
        near = near or [other for other in self.alike.get(word, ()) if _digits(other) == _digits(word)]
        readings = [f"'{word}':*"] if word in self.begun else []
        readings += map(_quoted, near[:MOST_NEIGHBOURS])
        if not readings:
            readings = [f"('{left}' & '{right}')" for left, right in halves_of(word) if {left, right} <= self.words][:2]
        if not readings and 2 <= len(term.parts) <= MAX_PARTS and self.found.issuperset(term.parts):
            readings = [f"({' & '.join(map(_quoted, term.parts))})"]
        return _any(readings) if readings else None


def unaccented(word: str) -> str:
    """As the search configuration writes a word, nearly: enough to compare with what it has written."""
    if is_cyrillic(word):
        return word.replace("ё", "е")
    bare = "".join(sign for sign in unicodedata.normalize("NFKD", word) if not unicodedata.combining(sign))
    return bare.replace("ß", "ss")


def _digits(word: str) -> str:
    return "".join(sign for sign in word if sign.isdigit())


def _look_up(asked: Sequence[Term], joined: Sequence[str]) -> _Facts:
    """One query: by primary key, prefix and, for what these don't explain, trigrams of words, and by the index of documents."""
    parts = [Term((part,)) for term in asked for part in term.parts]
    queries = {whole: _quoted(whole) for whole in joined} | {term.whole: term.expression().replace(":*", "") for term in [*parts, *asked]}
    plain = {unaccented(term.whole): term.whole for term in asked}
    given = {word: whole for word, whole in plain.items() if SHORTEST <= len(word) <= LONGEST and _WORD.fullmatch(word)}
    words = list(given)[:MOST_MISSPELT]
    facts = _Facts(slips={word: slips_of(word) for word in words})
    slips = [(word, slip) for word, few in facts.slips.items() for slip in few]
    spellings = {slip for _, slip in slips} | {half for word in words for both in halves_of(word) for half in both}
    found: list[str] = []
    parameters: list[Any] = []
    for whole, query in queries.items():
        in_a_row = "<->" in query
        found.append(_FOUND_IN_A_ROW if in_a_row else _FOUND)
        parameters += [whole, _quoted(whole), query] if in_a_row else [whole, query]
    parameters += [words, [given[word] for word in words], list(spellings), SHORTEST_ALIKE]
    parameters += [[word for word, _ in slips], [slip for _, slip in slips], MOST_NEIGHBOURS]
    with connection.cursor() as cursor:
        cursor.execute(_FACTS.replace("{found}", " UNION ALL ".join(found)), parameters)
        for kind, given_word, word in cursor.fetchall():
            match kind:
                case "found":
                    facts.found.add(word)
                case "known":
                    facts.words.add(word)
                case "begun":
                    facts.begun.add(word)
                case "alike" if _WORD.fullmatch(word):  # a dictionary may have written "'n" for "ŉ": nothing to put between quotes
                    facts.alike.setdefault(given_word, []).append(word)
    return facts


def as_meant(terms: Sequence[Term]) -> list[str]:
    """Further readings of a search that found nothing, likeliest first. One query.

    In one word, as a part number typed in groups is; corrected, two neighbours perhaps as one word, without the terms
    that no tune has and nothing is like; and with any one term less.
    """
    asked = _asked(terms)
    together = "".join(term.whole for term in asked)
    pairs = [first.whole + second.whole for first, second in pairwise(asked)]
    facts = _look_up(asked, [whole for whole in dict.fromkeys([*pairs, together]) if len(whole) <= MAX_WORD_LENGTH])
    meanings = [facts.meaning_of(term) for term in asked]
    corrected: list[str] = []
    at = 0
    while at < len(asked):
        if at < len(pairs) and pairs[at] in facts.found:
            apart = [meaning for meaning in meanings[at : at + 2] if meaning]
            corrected.append(_any([_quoted(pairs[at]), *([f"({' & '.join(apart)})"] if len(apart) == 2 else [])]))
            at += 2
            continue
        if (meaning := meanings[at]) is not None:
            corrected.append(meaning)
        at += 1
    readings = [_quoted(together)] if len(asked) > 2 and together in facts.found else []
    readings.append(" & ".join(corrected))
    if FEWEST_TO_SPARE_ONE <= len(corrected) <= MOST_TO_SPARE_ONE:
        readings.append(" | ".join(f"({' & '.join(few)})" for few in combinations(corrected, len(corrected) - 1)))
    typed = as_typed(terms)
    return [reading for reading in dict.fromkeys(readings) if reading and reading != typed and len(reading.encode()) <= MAX_QUERY_BYTES]
