"""Saved searches: a rider's own, and which of all of them a tune came to match."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet

from marketplace.exceptions import SavedSearchNotFound
from marketplace.fitment import VehicleFacts
from marketplace.models import BrowseRow, SavedSearch, Tune
from marketplace.selectors import browse
from marketplace.selectors.fitment import list_vehicle_facts
from marketplace.selectors.search import as_meant, as_typed, terms_of

AT_ONCE = 100  # different searches in one statement
NOT_FILTERS = ("q", "ordering", "verdict")
COMPARED = ("kind", "category", "tuner", "currency", "emissions_class")  # equal or not given: what an index does not tell is told here


def list_saved_searches(owner) -> QuerySet[SavedSearch]:
    """A rider's own. One query with what `paused_reason` reads."""
    return SavedSearch.objects.filter(owner_id=owner.pk).select_related("vehicle")


def get_saved_search(owner, search_id: UUID) -> SavedSearch:
    """One of a rider's own. One query. Raises: SavedSearchNotFound (missing, or somebody else's)."""
    search = list_saved_searches(owner).filter(pk=search_id).first()
    if search is None:
        raise SavedSearchNotFound
    return search


def scope_of(query: dict[str, Any]) -> browse.Scope | None:
    """What the names in a query mean, as for the list."""
    return browse.find_scope(query.get("make"), query.get("model"))


def reading_of(query: dict[str, Any]) -> str:
    """The words of a query as the list reads them now: as typed, unless that finds nothing and what they may mean finds something."""
    terms, scope = terms_of(query.get("q", "")), scope_of(query)
    if not terms:
        return ""
    typed = as_typed(terms)
    if scope is None or _finds(query, scope, typed):
        return typed
    return next((meant for meant in as_meant(terms) if _finds(query, scope, meant)), typed)


def _finds(query: dict[str, Any], scope: browse.Scope, match: str) -> bool:
    condition, parameters = browse.membership(_filters_of(query), scope, match=match)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {condition}", parameters)
        return cursor.fetchone()[0]


def _filters_of(query: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if name not in NOT_FILTERS}


# Whom a tune may concern: what indexes and equal columns tell. Not asked: the tune's own tuner, blocked and deleted people, who
# has it already, and whose vehicle is another model, gone, or not in the catalogue (to such a vehicle every tune is "unknown").
_CANDIDATES = f"""
SELECT s.id
  FROM marketplace_savedsearch s
  JOIN users_user person ON person.id = s.owner_id AND person.is_active AND person.blocked_at IS NULL
  LEFT JOIN garage_vehicle vehicle ON vehicle.id = s.vehicle_id
 WHERE s.notify AND s.owner_id <> %(author)s
   AND (s.scope_id = ANY(%(scopes)s) OR s.scope_id IS NULL) AND (s.scope_id IS NOT NULL OR NOT s.query ? 'make')
   AND (s.vehicle_id IS NULL
        OR vehicle.owner_id = s.owner_id AND vehicle.deleted_at IS NULL AND vehicle.catalog_model_id = ANY(%(scopes)s))
   AND {" AND ".join(f"coalesce(s.query ->> '{name}' = %({name})s, true)" for name in COMPARED)}
   AND NOT EXISTS (SELECT FROM marketplace_savedsearchmatch m WHERE m.search_id = s.id AND m.tune_id = %(tune)s)
   AND NOT EXISTS (SELECT FROM marketplace_license l WHERE l.holder_id = s.owner_id AND l.tune_id = %(tune)s AND l.state <> 'REVOKED')
 ORDER BY s.id
"""


def list_candidates(tune: Tune) -> list[UUID]:
    """Searches that a listed tune may match and whose owners were not told of it. Two queries, whatever their number."""
    facts: dict[str, Any] = {
        "tune": tune.pk,
        "author": tune.tuner.user_id,
        "scopes": list(BrowseRow.objects.filter(tune=tune).exclude(scope=BrowseRow.Scope.ECU).values_list("scope_id", flat=True)),
        **{name: str(getattr(tune, f"{name}_id" if name == "tuner" else name)) for name in COMPARED},
    }
    with connection.cursor() as cursor:
        cursor.execute(_CANDIDATES, facts)
        return [search_id for (search_id,) in cursor.fetchall()]


@dataclass(frozen=True)
class Asked:
    """One question, however many people ask it."""

    query: str  # as JSON
    scope_id: UUID | None
    reading: str
    vehicle: VehicleFacts | None

    def condition(self, tune_id: UUID) -> tuple[str, list[Any]]:
        query = json.loads(self.query)
        scope = browse.EVERYTHING
        if self.scope_id is not None:
            scope = browse.Scope(model_id=self.scope_id) if "model" in query else browse.Scope(make_id=self.scope_id)
        if "q" in query and not self.reading:
            return "false", []
        return browse.membership(
            _filters_of(query),
            scope,
            vehicle=self.vehicle,
            verdict=query.get("verdict"),
            match=self.reading or None,
            tune_id=tune_id,
        )


@dataclass(frozen=True)
class Before:
    """What a listed tune was before it changed: without these versions, at this price (None: the same as now)."""

    version_ids: tuple[UUID, ...] = ()
    price_minor: int | None = None
    currency: str | None = None


# The names of tables hide the tables: the very conditions that judge the tune as it is judge it as it was.
_AS_IT_WAS = """
WITH given AS MATERIALIZED (SELECT %s::uuid AS tune_id, %s::uuid[] AS version_ids, %s::int AS price_minor, %s::text AS currency),
marketplace_fitment AS MATERIALIZED (
    SELECT f.* FROM given JOIN marketplace_fitment f ON f.tune_id = given.tune_id AND NOT f.version_id = ANY(given.version_ids)
),
older AS (
    SELECT v.emissions_class, (v.requirements #>> '{fuel,octane}')::smallint AS fuel_octane,
           coalesce(v.requirements #>> '{fuel,scale}', '') AS fuel_scale
      FROM given JOIN marketplace_tuneversion v ON v.tune_id = given.tune_id AND NOT v.id = ANY(given.version_ids)
     WHERE v.status = 'PUBLISHED' ORDER BY v.version_order DESC LIMIT 1
),
marketplace_tune AS MATERIALIZED (
    SELECT t.id, t.listed, t.kind, t.category, t.tuner_id, t.rating_milli, t.calibration_ids_after,
           coalesce(given.currency, t.currency) AS currency, coalesce(given.price_minor, t.price_minor) AS price_minor,
           older.emissions_class, older.fuel_octane, older.fuel_scale
      FROM given JOIN marketplace_tune t ON t.id = given.tune_id CROSS JOIN older
),
marketplace_browserow AS MATERIALIZED (
    SELECT span.scope_id, t.id AS tune_id, span.years, t.kind, t.category, t.tuner_id, t.rating_milli, t.currency, t.price_minor,
           t.emissions_class, t.fuel_octane, t.fuel_scale
      FROM marketplace_tune t CROSS JOIN (
        SELECT s.scope_id, array_agg(year) AS years
          FROM marketplace_fitment f CROSS JOIN LATERAL (VALUES (f.model_id), (f.make_id)) AS s (scope_id)
         CROSS JOIN LATERAL generate_series(f.year_from::int, f.year_to::int) AS year
         WHERE f.live GROUP BY s.scope_id) AS span
)
"""


def find_matching(tune_id: UUID, search_ids: Collection[UUID], *, before: Before | None = None) -> set[UUID]:
    """Which of these searches have the tune in their list, or had it before it changed.

    Two queries and one for each AT_ONCE different questions: searches without a vehicle that ask the same are one.
    """
    asking: dict[Asked, list[UUID]] = defaultdict(list)
    for asked, search_id in _questions(search_ids):
        asking[asked].append(search_id)
    found: set[UUID] = set()
    different = list(asking)
    for start in range(0, len(different), AT_ONCE):
        some = different[start : start + AT_ONCE]
        for number in _answer(tune_id, some, before):
            found.update(asking[some[number]])
    return found


def _questions(search_ids: Collection[UUID]) -> Iterator[tuple[Asked, UUID]]:
    rows = SavedSearch.objects.filter(pk__in=search_ids).values_list("pk", "query", "scope_id", "reading", "vehicle_id")
    vehicles = list_vehicle_facts({row[4] for row in rows if row[4] is not None})
    for pk, query, scope_id, reading, vehicle_id in rows:
        if vehicle_id is None or vehicle_id in vehicles:
            yield Asked(json.dumps(query, sort_keys=True), scope_id, reading, vehicles.get(vehicle_id)), pk


def _answer(tune_id: UUID, asked: Sequence[Asked], before: Before | None) -> list[int]:
    head, parts = "", []
    parameters: list[Any] = []
    if before is not None:
        head, parameters = _AS_IT_WAS, [tune_id, list(before.version_ids), before.price_minor, before.currency]
    for number, question in enumerate(asked):
        condition, values = question.condition(tune_id)
        parts.append(f"SELECT {number} WHERE {condition}")
        parameters += values
    with connection.cursor() as cursor:
        cursor.execute(head + " UNION ALL ".join(parts), parameters)
        return [number for (number,) in cursor.fetchall()]
