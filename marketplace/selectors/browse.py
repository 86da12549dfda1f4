"""The lists of tunes: SQL text by filter shape, driven from the rows that their index orders.

A page is one statement: the inner query walks one index in order and stops after `limit` rows, the outer one joins what
the page shows of those rows only. Conditions on a fitment always stand together in one subquery, because they must hold
for one and the same fitment.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any
from uuid import UUID

from django.db import connection

from garage import catalog
from marketplace.fitment import FIRST_MISMATCH, MATCH, MISMATCH, UNKNOWN, VehicleFacts, may_fit_sql, may_match, tune_mask_sql
from marketplace.selectors.fitment import ecu_code
from marketplace.selectors.matching import CANDIDATES, WORDS, Ordered, asked_sql, first_matching
from marketplace.selectors.search import Reading, as_meant, as_typed, reading_of, terms_of

# What `serializers.tunes.render_row` takes, in this order. Ids as texts: sixty UUID objects cost a tenth of a page.
COLUMNS = (
    "t.id::text, t.title, t.kind, t.category, t.price_minor, t.currency, t.rating_milli, t.rating_count, t.download_count,"
    " t.flash_count, t.flash_success_count, t.images #>> '{0,key}', t.fitment_summary, t.emissions_class,"
    " p.id::text, p.business_name, p.verified, p.rating::float8, p.review_count, v.id::text, v.version, v.published_at"
)
COLUMN_COUNT = 22
OWN_COLUMNS = (
    "t.status, t.listed, t.description, t.images, t.requirements, t.dyno, t.suspension_reason, t.suspension_note,"
    " t.created_at, t.updated_at, t.published_at, t.revision"
)
OWN_COLUMN_COUNT = 12
JOINS = "JOIN tuners_tunerprofile p ON p.id = t.tuner_id LEFT JOIN marketplace_tuneversion v ON v.id = t.latest_version_id"


@dataclass(frozen=True)
class Order:
    """A named order over the driving rows `b`; the tune's id settles ties in the same direction."""

    column: str
    descending: bool = True

    @property
    def direction(self) -> str:
        return "DESC" if self.descending else "ASC"


ORDERS = {
    "newest": Order("published_at"),
    "price": Order("price_minor", descending=False),
    "-price": Order("price_minor"),
    "rating": Order("rating_score"),
    "popular": Order("popularity"),
}

# Filters on columns that tune and browse rows both have.
PLAIN = {
    "kind": "b.kind = %s",
    "category": "b.category = %s",
    "tuner": "b.tuner_id = %s",
    "currency": "b.currency = %s",
    "emissions_class": "b.emissions_class = %s",
    "min_price_minor": "b.price_minor >= %s",
    "max_price_minor": "b.price_minor <= %s",
}
MARKS = ("kind", "category", "tuner", "currency", "emissions_class")  # those that the index of words has too: migration 0037
# Filters on one fitment, all of them on the same one.
OF_FITMENT = {
    "year": "%s BETWEEN f.year_from AND f.year_to",
    "market": "%s = ANY(f.markets)",
    "hardware_number": "f.hardware_numbers @> ARRAY[%s]::varchar[]",
    "calibration_id": "f.calibration_ids @> ARRAY[%s]::varchar[]",
}


@dataclass(frozen=True)
class Scope:
    """A make or a model of the catalogue; `UNLISTED` when a name was given that it does not have."""

    make_id: UUID | None = None
    model_id: UUID | None = None

    @property
    def id(self) -> UUID | None:
        return self.model_id or self.make_id


EVERYTHING = Scope()


class _NameCache:
    """Names as typed → rows of the catalogue, for a minute in each process: every browse would ask the same again."""

    def __init__(self, *, seconds: float = 60.0, size: int = 4096) -> None:
        self.seconds, self.size = seconds, size
        self.known: dict[tuple[str, str | None], tuple[float, Scope | None]] = {}
        self.lock = Lock()

    def get(self, make: str, model: str | None) -> Scope | None:
        key, now = (make, model), time.monotonic()
        found = self.known.get(key)
        if found is not None and found[0] > now:
            return found[1]
        scope = self._look_up(make, model)
        with self.lock:
            if len(self.known) >= self.size:
                self.known.clear()
            self.known[key] = (now + self.seconds, scope)
        return scope

    def clear(self) -> None:
        self.known.clear()

    @staticmethod
    def _look_up(make: str, model: str | None) -> Scope | None:
        if model is None:
            row = catalog.find_make(make)
            return None if row is None else Scope(make_id=row.pk)
        match = catalog.match_model(make, model)
        return None if match is None else Scope(make_id=match.make_id, model_id=match.pk)


names = _NameCache()


def find_scope(make: str | None, model: str | None) -> Scope | None:
    """The catalogue's row for the names, EVERYTHING without any, None for one that it does not have."""
    return EVERYTHING if make is None else names.get(make, model)


@dataclass
class TunePage:
    """Rows of COLUMNS (with the mask last, when a vehicle was given) and the position behind the last one."""

    rows: list[tuple]
    masks: list[int] | None
    after: list[Any] | None


def list_tunes(
    filters: Mapping[str, Any],
    *,
    ordering: str,
    after: Sequence[Any] | None,
    page_size: int,
    vehicle: VehicleFacts | None = None,
    verdict: str | None = None,
) -> TunePage:
    """One page of listed tunes. `filters` are those of the API, validated. One query; names of the catalogue are looked up
    at most once a minute; a search that finds nothing asks what its words may mean and tries that. The last page for a vehicle
    asks whether there is more to judge, and if so for what may fit. A page for a vehicle may be short though others follow."""
    scope = find_scope(filters.get("make"), filters.get("model"))
    if scope is None:
        return TunePage([], None, None)
    if "q" not in filters:
        return _page(filters, scope, ordering, after, page_size, vehicle, verdict)
    terms = terms_of(filters["q"])
    if not terms:
        return TunePage([], None, None)
    typed = as_typed(terms)
    if after is not None:
        *after, match = after  # later pages ask what the first one asked
        return _page(filters, scope, ordering, after, page_size, vehicle, verdict, reading_of(match or typed, terms), match)
    page = _page(filters, scope, ordering, None, page_size, vehicle, verdict, reading_of(typed, terms))
    for match in () if page.rows else as_meant(terms):
        page = _page(filters, scope, ordering, None, page_size, vehicle, verdict, reading_of(match, terms), match)
        if page.rows:
            break
    return page


def _page(filters, scope, ordering, after, page_size, vehicle, verdict, reading=None, match=None) -> TunePage:
    """A page; `match` goes into its cursor when the search was not read as typed."""
    if vehicle is not None and verdict == MATCH and not may_match(vehicle):
        return TunePage([], [], None)
    if vehicle is not None and scope is EVERYTHING and verdict != MISMATCH:
        scope = Scope(make_id=vehicle.make_id, model_id=vehicle.model_id)  # all else would be a mismatch
    with connection.cursor() as cursor:
        cursor.execute(*statement(filters, scope, ordering, after, page_size + 1, vehicle, verdict, reading))
        rows, position = cursor.fetchall(), None
        if len(rows) <= page_size and vehicle is not None and reading is None:
            rows, position = _beyond(_walk_of(filters, scope, ordering, after, vehicle, verdict), rows, page_size + 1, cursor)
    if len(rows) > page_size:
        rows = rows[:page_size]
        position = [rows[-1][COLUMN_COUNT], rows[-1][0]]
        if reading is not None:
            position.append(match)
    masks = None if vehicle is None else [row[COLUMN_COUNT + 1] for row in rows]
    return TunePage(rows, masks, position)


def _beyond(walk: "Walk", rows: list[tuple], limit: int, cursor: Any) -> tuple[list[tuple], list[Any] | None]:
    """The rows of a page for a vehicle that the first WALKED tunes of its list did not fill, and the position behind what was
    judged, where that is not all.

    Little fits, so those that may fit are found by the facts of their fitments, judged and sorted. Are they more than FEW, the walk
    goes on, but not for ever: a page ends after MOST_WALKED tunes, however few of them fit, and the next one goes on behind them.
    """
    if walk.rows.each_model:
        return rows, None
    if walk.may_fit is None:
        return rows, _end_of(walk, cursor)
    cursor.execute(*walk.exceeds())
    if not cursor.fetchone()[0]:
        return rows, None
    cursor.execute(*walk.may_fit)
    few = [tune_id for (tune_id,) in cursor.fetchall()]
    if len(few) <= FEW:
        if few:
            cursor.execute(*_shown(*walk.page_among(few, limit), walk.order, walk.vehicle))
        return cursor.fetchall() if few else [], None
    cursor.execute(*_shown(*walk.page(limit, first=MOST_WALKED), walk.order, walk.vehicle))
    rows = cursor.fetchall()
    return rows, _end_of(walk, cursor) if len(rows) < limit else None


def _end_of(walk: "Walk", cursor: Any) -> list[Any] | None:
    cursor.execute(*walk.last_of(MOST_WALKED))
    last = cursor.fetchone()
    return None if last is None else list(last)


@dataclass(frozen=True)
class Rows:
    """The rows `b` that a list walks, in the order of an index."""

    where: str
    parameters: list[Any]
    table: str = "marketplace_browserow b"
    tune: str = "b.tune_id"
    of_scope: bool = True  # the very rows of the scope that the filters are about, with its years
    in_scope: bool = True  # none of a tune that is not in that scope
    of_number: str | None = None  # all have this hardware number
    each_model: bool = False  # `where` is about one of the lists of its number, and all of them are to be walked


def _rows_of(scope: Scope) -> Rows:
    if scope.id is None:
        return Rows("b.listed", [], table="marketplace_tune b", tune="b.id", of_scope=False)
    return Rows("b.scope_id = %s", [scope.id])


def _narrowest_rows(filters: Mapping[str, Any], scope: Scope, vehicle: VehicleFacts | None, verdict: str | None) -> Rows:
    """The shortest list that has all that is asked for: with a hardware number, that of a model and the number."""
    number, model_id, in_scope = ecu_code(filters.get("hardware_number")), scope.model_id, True
    if vehicle is not None and verdict != MISMATCH and vehicle.hardware_number is not None:
        # whatever is no mismatch lists this number for this model, whichever scope the filters are about
        number, model_id = vehicle.hardware_number, vehicle.model_id
        in_scope = scope.id is None or (model_id is not None and scope.id in {model_id, vehicle.make_id})
    if number is None:
        return _rows_of(scope)
    if model_id is None:
        return Rows("b.scope_id = ecu.scope_id", [], of_scope=False, in_scope=in_scope, of_number=number, each_model=True)
    where, parameters = "b.scope_id = marketplace_ecu_scope(%s, %s)", [number, model_id]
    return Rows(where, parameters, of_scope=False, in_scope=in_scope, of_number=number)


# The lists of one hardware number, of whichever models: their ids begin alike, so the index steps from one to the next.
_LISTS_OF_NUMBER = f"""
WITH RECURSIVE ends AS (
    SELECT marketplace_ecu_scope(%s, '{UUID(int=0)}') AS low, marketplace_ecu_scope(%s, '{UUID(int=2**128 - 1)}') AS high
),
ecu AS (
    SELECT ends.high, (SELECT b.scope_id FROM marketplace_browserow b
                        WHERE b.scope_id BETWEEN ends.low AND ends.high ORDER BY b.scope_id LIMIT 1) AS scope_id FROM ends
    UNION ALL
    SELECT ecu.high, (SELECT b.scope_id FROM marketplace_browserow b
                       WHERE b.scope_id > ecu.scope_id AND b.scope_id <= ecu.high ORDER BY b.scope_id LIMIT 1)
      FROM ecu WHERE ecu.scope_id IS NOT NULL
)
"""
WALKED = 500  # tunes of a list for a vehicle that are judged on the way before it is asked which may fit
FEW = 2000  # of those that are judged at once; where there are more, the walk soon meets a page of them
MOST_WALKED = 10_000  # tunes that one page judges


@dataclass(frozen=True)
class Walk:
    """Rows in an order, judged for a vehicle where one is given: what a page's statements are made of."""

    rows: Rows
    order: Order
    where: str
    parameters: list[Any]
    vehicle: VehicleFacts | None
    verdict: str | None

    @property
    def may_fit(self) -> tuple[str, list[Any]] | None:
        """Which tunes may fit the vehicle, where the walk ends before it has judged them all."""
        if self.vehicle is None or self.verdict == MISMATCH or self.rows.each_model:
            return None
        return may_fit_sql(self.vehicle, most=FEW, matching=self.verdict == MATCH)

    def page(self, limit: int, *, first: int | None = None) -> tuple[str, list[Any]]:
        """The first tunes in the order, with their keys and masks. For a vehicle those that fit, of the `first` ones: few, where it
        is known which others may fit. For a list of one number: of each of its models, and those then in the order."""
        if self.vehicle is None:
            sql, parameters = self._plain(limit)
        elif self.rows.each_model:
            sql, parameters = self._judged(limit)
        else:
            sql, parameters = self._judged_of_first(limit, first or (MOST_WALKED if self.may_fit is None else WALKED))
        if not self.rows.each_model:
            return sql, parameters
        direction = self.order.direction
        return (  # a tune may have the number for more than one model
            f"{_LISTS_OF_NUMBER} SELECT DISTINCT one.* FROM ecu CROSS JOIN LATERAL ({sql}) AS one"
            f" ORDER BY key {direction}, id {direction} LIMIT %s"
        ), [self.rows.of_number, self.rows.of_number, *parameters, limit]

    def exceeds(self) -> tuple[str, list[Any]]:
        """Whether there is more than the page has judged."""
        return f"SELECT EXISTS (SELECT FROM {self.rows.table} WHERE {self.where} OFFSET {WALKED})", self.parameters

    def last_of(self, count: int) -> tuple[str, list[Any]]:
        """Key and id of the last of so many tunes, where there are so many."""
        listed = f"SELECT b.{self.order.column}, {self.rows.tune} FROM {self.rows.table} WHERE {self.where}"
        return f"{listed} {self._sorting} OFFSET {count - 1} LIMIT 1", self.parameters

    def page_among(self, tunes: list[UUID], limit: int) -> tuple[str, list[Any]]:
        """The page, of these tunes only."""
        return replace(
            self, where=f"{self.where} AND {self.rows.tune} = ANY(%s::uuid[])", parameters=[*self.parameters, tunes]
        )._judged(limit)

    @property
    def _picked(self) -> str:
        return f"SELECT {self.rows.tune} AS id, b.{self.order.column} AS key"

    @property
    def _sorting(self) -> str:
        return f"ORDER BY b.{self.order.column} {self.order.direction}, {self.rows.tune} {self.order.direction}"

    def _plain(self, limit: int) -> tuple[str, list[Any]]:
        return f"{self._picked} FROM {self.rows.table} WHERE {self.where} {self._sorting} LIMIT %s", [*self.parameters, limit]

    def _judged(self, limit: int) -> tuple[str, list[Any]]:
        """Each tune is judged on the way, until a page of them fits."""
        assert self.vehicle is not None
        mask, masked = tune_mask_sql(self.vehicle)
        return (
            f"{self._picked}, fit.mask FROM {self.rows.table} JOIN marketplace_tune t ON t.id = {self.rows.tune}"
            f" CROSS JOIN LATERAL (SELECT {mask} AS mask OFFSET 0) AS fit"
            f" WHERE {self.where} AND {_VERDICT_CONDITION[self.verdict]} {self._sorting} LIMIT %s"
        ), [*masked, *self.parameters, limit]

    def _judged_of_first(self, limit: int, first_ones: int) -> tuple[str, list[Any]]:
        assert self.vehicle is not None
        mask, masked = tune_mask_sql(self.vehicle)
        first, parameters = self._plain(first_ones)
        direction = self.order.direction
        return (
            f"SELECT few.id, few.key, fit.mask FROM ({first}) AS few JOIN marketplace_tune t ON t.id = few.id"
            f" CROSS JOIN LATERAL (SELECT {mask} AS mask OFFSET 0) AS fit WHERE {_VERDICT_CONDITION[self.verdict]}"
            f" ORDER BY few.key {direction}, few.id {direction} LIMIT %s"
        ), [*parameters, *masked, limit]


def _walk_of(
    filters: Mapping[str, Any],
    scope: Scope,
    ordering: str,
    after: Sequence[Any] | None,
    vehicle: VehicleFacts | None,
    verdict: str | None,
) -> Walk:
    rows, order = _narrowest_rows(filters, scope, vehicle, verdict), ORDERS[ordering]
    where, parameters = _conditions(filters, scope, rows)
    if after is not None:
        where.append(f"(b.{order.column}, {rows.tune}) {'<' if order.descending else '>'} (%s, %s)")
        parameters += after
    return Walk(rows, order, " AND ".join(where), parameters, vehicle, verdict)


def statement(
    filters: Mapping[str, Any],
    scope: Scope,
    ordering: str,
    after: Sequence[Any] | None,
    limit: int,
    vehicle: VehicleFacts | None = None,
    verdict: str | None = None,
    reading: Reading | None = None,
) -> tuple[str, list[Any]]:
    """The SQL of a page and its parameters. The text depends on which filters are given only, never on their values."""
    rows = _narrowest_rows(filters, scope, vehicle, verdict)
    if reading is not None and rows.each_model:
        rows = _rows_of(scope)
    if reading is not None:
        order, inner, parameters = _found_by_words(filters, scope, rows, ordering, after, limit, vehicle, verdict, reading)
    else:
        walk = _walk_of(filters, scope, ordering, after, vehicle, verdict)
        order = walk.order
        inner, parameters = walk.page(limit)
    return _shown(inner, parameters, order, vehicle)


def _shown(inner: str, parameters: list[Any], order: Order, vehicle: VehicleFacts | None) -> tuple[str, list[Any]]:
    """What the page shows of the tunes that were found."""
    shown = ", w.key, w.mask" if vehicle is not None else ", w.key"
    sql = (
        f"SELECT {COLUMNS}{shown} FROM ({inner}) AS w JOIN marketplace_tune t ON t.id = w.id {JOINS}"
        f" ORDER BY w.key {order.direction}, w.id {order.direction}"
    )
    return sql, parameters


def _found_by_words(
    filters: Mapping[str, Any],
    scope: Scope,
    rows: Rows,
    ordering: str,
    after: Sequence[Any] | None,
    limit: int,
    vehicle: VehicleFacts | None,
    verdict: str | None,
    reading: Reading,
) -> tuple[Order, str, list[Any]]:
    """What a page of a search shows: the first tunes of the order that match; by relevance, of the most popular ones the best."""
    by_relevance = ordering == "relevance"
    order = ORDERS["popular" if by_relevance else ordering]
    table, tune = rows.table, rows.tune
    where, tested = _conditions(filters, scope, rows)
    edge, edges = [rows.where], list(rows.parameters)
    marks = [f"{name}:{filters[name]}" for name in MARKS if name in filters]
    all_marked = vehicle is None and len(where) == 1 + len(marks)  # nothing is asked but these and the list itself
    if scope.id is not None:
        marks.append(f"scope:{scope.id}")
    mask, may_fit = None, None
    if vehicle is not None:
        mask, may_fit = tune_mask_sql(vehicle), None if verdict == MISMATCH else may_fit_sql(vehicle, most=10**9)
        where.append(_VERDICT_CONDITION[verdict])
    elif by_relevance and all_marked and scope.id is None:
        table, tune, edge = WORDS, "b.tune_id", ["true"]
        where, tested = (["b.marks @> %s::text[]"], [marks]) if marks else (["true"], [])
    if order.column == "price_minor" and "currency" in filters:
        edge.append(PLAIN["currency"])
        edges.append(filters["currency"])
    if after is not None and not by_relevance:
        edge.append(f"(b.{order.column}, {tune}) {'<' if order.descending else '>'} (%s, %s)")
        edges += after
    listed = Ordered(
        table, tune, order.column, order.descending, (" AND ".join(edge), edges), (" AND ".join(where), tested),
        marks, all_marked, mask, may_fit,
    )  # fmt: skip
    matching, parameters = first_matching(listed, reading, CANDIDATES if by_relevance else limit, scored=by_relevance)
    shown = ", mask" if mask else ""
    if not by_relevance:
        return order, f"SELECT id, place AS key{shown} FROM ({matching}) AS met", parameters
    inner = f"WITH hit AS MATERIALIZED ({matching}) SELECT id, score AS key{shown} FROM hit"
    if after is not None:
        inner += " WHERE (score, id) < (%s, %s)"
        parameters += after
    return Order("score"), f"{inner} ORDER BY score DESC, id DESC LIMIT %s", [*parameters, limit]


_VERDICT_CONDITION = {
    None: f"fit.mask < {FIRST_MISMATCH}",
    MATCH: "fit.mask = 0",
    UNKNOWN: f"fit.mask > 0 AND fit.mask < {FIRST_MISMATCH}",
    MISMATCH: f"fit.mask >= {FIRST_MISMATCH}",
}


def _conditions(filters: Mapping[str, Any], scope: Scope, rows: Rows) -> tuple[list[str], list[Any]]:
    where, parameters = [rows.where], list(rows.parameters)
    for name, condition in PLAIN.items():
        if name in filters:
            where.append(condition)
            parameters.append(filters[name])
    if filters.get("free") is not None:
        where.append("b.price_minor = 0" if filters["free"] else "b.price_minor > 0")
    if "min_rating" in filters:
        where.append("b.rating_milli >= %s")
        parameters.append(round(filters["min_rating"] * 1000))
    if "fuel_octane" in filters:
        where.append("(b.fuel_octane IS NULL OR (b.fuel_scale = %s AND b.fuel_octane <= %s))")
        parameters += [filters["fuel_scale"], filters["fuel_octane"]]
    of_fitment = [name for name in OF_FITMENT if name in filters]
    if of_fitment == ["year"] and rows.of_scope:
        where.append("%s = ANY(b.years)")
        parameters.append(filters["year"])
    elif of_fitment or not rows.in_scope:
        together = ["f.live"]
        if scope.model_id is not None:
            together.append("f.model_id = %s")
            parameters.append(scope.model_id)
        elif scope.make_id is not None:
            together.append("f.make_id = %s")
            parameters.append(scope.make_id)
        for name in of_fitment:
            together.append(OF_FITMENT[name])
            parameters.append(ecu_code(filters[name]) if name in {"hardware_number", "calibration_id"} else filters[name])
        conditions = " AND ".join(together)
        if rows.of_number is not None and "calibration_id" not in filters:
            # most of them pass: asked of each on the way (OFFSET keeps it that way), not of all that pass beforehand
            where.append(f"EXISTS (SELECT FROM marketplace_fitment f WHERE f.tune_id = {rows.tune} AND {conditions} OFFSET 0)")
        else:
            where.append(f"{rows.tune} IN (SELECT f.tune_id FROM marketplace_fitment f WHERE {conditions})")
    return where, parameters


def membership(
    filters: Mapping[str, Any],
    scope: Scope,
    *,
    vehicle: VehicleFacts | None = None,
    verdict: str | None = None,
    match: str | None = None,
    tune_id: UUID | None = None,
) -> tuple[str, list[Any]]:
    """Whether a list has a tune, or any at all, as an SQL condition with its parameters: by the conditions of `statement`."""
    if vehicle is not None and verdict == MATCH and not may_match(vehicle):
        return "false", []
    if vehicle is not None and scope is EVERYTHING and verdict != MISMATCH:
        scope = Scope(make_id=vehicle.make_id, model_id=vehicle.model_id)
    rows = _rows_of(scope)  # of one tune all of its lists are short
    tune, driver = rows.tune, rows.table
    where, parameters = _conditions(filters, scope, rows)
    if vehicle is not None:
        mask, masked = tune_mask_sql(vehicle)
        driver += f" JOIN marketplace_tune t ON t.id = {tune} CROSS JOIN LATERAL (SELECT {mask} AS mask OFFSET 0) AS fit"
        where.append(_VERDICT_CONDITION[verdict])
        parameters = [*masked, *parameters]
    if match is not None:
        # of one tune its words are read, of any the planner has to know how rare the words are
        query, words = "to_tsquery('revsync_search', %s)", [match]
        if tune_id is not None:
            asked, words = asked_sql(match)
            query = f"({asked})"
        where.append(f"{tune} IN (SELECT s.tune_id FROM marketplace_searchrow s WHERE s.document @@ {query})")
        parameters += words
    if tune_id is not None:
        where.append(f"{tune} = %s")
        parameters.append(tune_id)
    return f"EXISTS (SELECT FROM {driver} WHERE {' AND '.join(where)})", parameters
