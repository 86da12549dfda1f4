"""How a list finds the tunes that a search's words are in, at nearly the same cost however many tunes there are.

Walking a list in its order until enough tunes match is quick where many match, and endless where none does; asking the index
of words for all that match is quick where few do. Postgres chooses by taking words, models and filters for independent of each
other, which they are not. So a glance at the first tunes of the order decides, a walk ends after so many tunes, and what it has
not found is asked of the index. Both ways give the same tunes in the same order: which of them ran never shows.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from marketplace.selectors.search import Reading, unaccented

CANDIDATES = 250  # a common word has half a million tunes: only so many, the most popular, are ranked
GLANCE, WALK = 200, 50_000  # tunes that are looked at: to decide, and at most
DEARER = 2  # what a tune that the index finds costs, in tunes that are walked past: it lies somewhere in the table
# What the index finds of a common word has to stay in memory tune by tune, or whole pages of the table are read again for it;
# and as this can't be said to other processes, Postgres starts none, which takes longer than all the rest.
ROOM = "set_config('work_mem', '32MB', true)"
# The weights are those of description, codes and years, tuner and category and aliases, title and model. Nothing that
# changes by itself is in it: a rank that moves would lose tunes between two pages.
SCORE = "(1000000 * ts_rank('{0.05, 0.3, 0.5, 1.0}', s.document, to_tsquery('revsync_search', %s)))::int"
QUERY = "(SELECT query FROM asked)"
BEGUN = re.compile(r"'([^']+)':\*")
FEW_WORDS = 20
WORDS = "marketplace_searchrow b"  # has a row for each listed tune: of what filters ask for its marks


@dataclass(frozen=True)
class Ordered:
    """A list `b` in its order, and what is asked of its tunes. Conditions come with their values."""

    table: str
    tune: str
    column: str
    descending: bool
    edge: tuple[str, Sequence[Any]]  # what the index of the order finds
    where: tuple[str, Sequence[Any]]  # all of it, but for the words and for what came on pages before
    marks: Sequence[str] = ()  # as much of it as the index of words knows
    all_marked: bool = False  # which is all of it
    mask: tuple[str, Sequence[Any]] | None = None  # how a tune fits a vehicle
    among: tuple[str, Sequence[Any]] | None = None  # the ids of all tunes that may match, where an index tells

    @property
    def direction(self) -> str:
        return "DESC" if self.descending else "ASC"

    def first(self, bound: str) -> tuple[str, list[Any]]:
        """So many of the list, whether they match or not."""
        condition, values = self.edge
        order = f"b.{self.column} {self.direction}, {self.tune} {self.direction}"
        return f"SELECT * FROM {self.table} WHERE {condition} ORDER BY {order} {bound}", [*values]

    def more_than(self, many: int) -> tuple[str, list[Any]]:
        rows, values = self.first(f"LIMIT 1 OFFSET {many}")
        return f"EXISTS ({rows})", values

    def worded(self, many: int, shown: str = "1") -> tuple[str, list[Any]]:
        """Which of the first so many have the words: in their own row, or each looked up by its key; OFFSET 0 keeps it that way."""
        rows, values = self.first(f"LIMIT {many}")
        if self.table == WORDS:
            met = f"SELECT * FROM ({rows}) AS b WHERE b.document @@ {QUERY}"
            return f"SELECT {shown} FROM ({met}) AS b CROSS JOIN LATERAL (SELECT b.document) AS s", values
        document = f"SELECT s.document FROM marketplace_searchrow s WHERE s.tune_id = {self.tune} AND s.document @@ {QUERY} OFFSET 0"
        return f"SELECT {shown} FROM ({rows}) AS b CROSS JOIN LATERAL ({document}) AS s", values

    def matching(self, many: int, shown: str = "1") -> tuple[str, list[Any]]:
        """Which of the first so many have the words and all the rest."""
        rows, values = self.worded(many, shown)
        fit, judged = self._fit("CROSS JOIN LATERAL (SELECT * FROM marketplace_tune t WHERE t.id = {tune} OFFSET 0) AS t")
        condition, tested = self.where
        return f"{rows}{fit} WHERE {condition}", [*values, *judged, *tested]

    def every(self) -> tuple[str, list[Any]]:
        """All that match, in no order. What a tuner has is little: read by whose it is, whatever the words."""
        itself = f"JOIN {self.table} ON {self.tune} = s.tune_id"
        if self.table == WORDS:
            itself = "CROSS JOIN LATERAL (SELECT s.tune_id, s.popularity, s.marks) AS b"
        fit, judged = self._fit("JOIN marketplace_tune t ON t.id = {tune}")
        shown = f"{self.tune} AS id, b.{self.column} AS place, s.document{', fit.mask' if self.mask else ''}"
        of_tuner = any(mark.startswith("tuner:") for mark in self.marks)
        document = "coalesce(s.document, '')" if of_tuner else "s.document"  # no index knows the former
        conditions, values = [f"{document} @@ {QUERY}", self.edge[0], self.where[0]], [*judged, *self.edge[1], *self.where[1]]
        if self.marks:
            conditions.append("s.marks @> %s::text[]")
            values.append(list(self.marks))
        if self.among is not None:
            conditions.append(f"s.tune_id IN ({self.among[0]})")
            values += self.among[1]
        return f"SELECT {shown} FROM marketplace_searchrow s {itself}{fit} WHERE {' AND '.join(conditions)} OFFSET 0", values

    def _fit(self, join: str) -> tuple[str, Sequence[Any]]:
        if self.mask is None:
            return "", []
        mask, values = self.mask
        return f" {join.format(tune=self.tune)} CROSS JOIN LATERAL (SELECT {mask} AS mask) AS fit", values


def asked_sql(match: str) -> tuple[str, list[Any]]:
    """The query. A last word that may be the beginning of one is looked up: where it is a word of its own and few go on from it,
    it means these. Of any that go on the index would collect all tunes first. Nowhere is the query known to the planner: it
    takes what it can't know for rare, and never thinks that all documents had better be read."""
    begun = BEGUN.findall(match)
    if len(begun) != 1:
        return "SELECT to_tsquery('revsync_search', %s) AS query", [match]
    sql = f"""
    SELECT to_tsquery('revsync_search', CASE
               WHEN bool_or(word = %s) AND bool_and(word ~ '^[[:alnum:]]+$') AND count(*) <= {FEW_WORDS}
               THEN replace(%s, %s, '(' || string_agg(quote_literal(word), ' | ') || ')') ELSE %s END) AS query
      FROM (SELECT word FROM marketplace_searchword w WHERE w.word ~>=~ %s AND w.word ~<~ %s
             ORDER BY w.word USING ~<~ LIMIT {FEW_WORDS + 1}) AS longer"""
    word = unaccented(begun[0])
    return sql, [word, match, f"'{begun[0]}':*", match, word, word + chr(0x10FFFF)]


def first_matching(rows: Ordered, reading: Reading, need: int, *, scored: bool) -> tuple[str, list[Any]]:
    """The first `need` of a list that match, as id, place, the mask if there is a vehicle, and the score if it is asked for."""
    mask, fit_mask = (", mask", ", fit.mask") if rows.mask else ("", "")
    score, ranking = (f", {SCORE} AS score", [reading.ranking]) if scored else ("", [])
    order = f"ORDER BY place {rows.direction}, id {rows.direction} LIMIT {need}"
    beyond_glance, glance_values = rows.more_than(GLANCE)
    beyond_walk, walk_values = rows.more_than(WALK)
    asked, asked_values = asked_sql(reading.match)
    met, met_values = rows.matching(GLANCE)
    worded, worded_values = ("", []) if rows.all_marked else rows.worded(GLANCE)
    walked, walked_values = rows.matching(WALK, f"{rows.tune} AS id, b.{rows.column} AS place{fit_mask}{score}")
    every, every_values = rows.every()
    known = "met" if rows.all_marked else f"(SELECT count(*) FROM ({worded}) AS worded)"
    # A walk of need * GLANCE / met tunes, or as large a part of all tunes as the index finds of the first ones: what costs less?
    text = f"""
WITH asked AS MATERIALIZED ({asked}
),
glance AS MATERIALIZED (
    SELECT NOT {beyond_glance}
           OR met * {known} * {DEARER} * (SELECT reltuples FROM pg_class WHERE oid = 'marketplace_searchrow'::regclass)
              >= {need * GLANCE * GLANCE} AS promising
      FROM (SELECT count(*) AS met FROM ({met}) AS seen) AS seen
),
walked AS MATERIALIZED (SELECT * FROM ({walked}) AS met WHERE (SELECT promising FROM glance) {order}),
done AS MATERIALIZED (
    SELECT (SELECT count(*) FROM walked) = {need} OR (SELECT promising FROM glance) AND NOT {beyond_walk} AS done, {ROOM}
)
SELECT * FROM walked WHERE (SELECT done FROM done)
UNION ALL
SELECT id, place{mask}{score} FROM (SELECT * FROM ({every}) AS every WHERE NOT (SELECT done FROM done) {order}) AS s
"""
    values = [*asked_values, *glance_values, *worded_values, *met_values, *ranking, *walked_values, *walk_values, *ranking, *every_values]
    return text, values
