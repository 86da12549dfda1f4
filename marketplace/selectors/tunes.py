"""One tune as it is shown, a tuner's and a rider's own lists, facets and suggestions."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from django.core.cache import cache
from django.db import connection

from marketplace.enums import TuneStatus
from marketplace.exceptions import TuneNotFound
from marketplace.models import Tune
from marketplace.money import SMALLEST_PRICE_MINOR
from marketplace.selectors.browse import COLUMN_COUNT, COLUMNS, JOINS, OWN_COLUMN_COUNT, OWN_COLUMNS, find_scope

DETAIL = f"""
SELECT {COLUMNS}, {OWN_COLUMNS}, v.requirements, v.blocked_regions, p.user_id,
       (SELECT jsonb_agg(DISTINCT jsonb_build_object(
                  'make', f.make_name, 'model', f.model_name, 'year_from', f.year_from, 'year_to', f.year_to, 'markets', f.markets,
                  'hardware_numbers', f.hardware_numbers, 'calibration_ids', f.calibration_ids, 'image_size_bytes', f.image_size_bytes))
          FROM marketplace_fitment f WHERE f.tune_id = t.id AND (f.live OR f.version_id = t.latest_version_id))
  FROM marketplace_tune t {JOINS}
 WHERE t.id = %s
"""
VIEWER = """
SELECT bought.id, license.state,
       (SELECT version.version FROM marketplace_download d JOIN marketplace_tuneversion version ON version.id = d.version_id
         WHERE d.purchase_id = bought.id AND d.outcome = 'GRANTED' ORDER BY d.id DESC LIMIT 1),
       EXISTS (SELECT 1 FROM marketplace_favorite f WHERE f.user_id = %s AND f.tune_id = %s)
  FROM (VALUES (1)) AS one
  LEFT JOIN LATERAL (
    SELECT p.id FROM marketplace_purchase p
     WHERE p.buyer_id = %s AND p.tune_id = %s AND p.paid_at IS NOT NULL ORDER BY p.paid_at DESC LIMIT 1
  ) AS bought ON true
  LEFT JOIN marketplace_license license ON license.purchase_id = bought.id
"""
PUBLIC = (TuneStatus.PUBLISHED, TuneStatus.ARCHIVED)


def get_tune_detail(tune_id: UUID, viewer) -> tuple[tuple, dict[str, Any] | None, UUID]:
    """The row of DETAIL, signed in what the viewer has to do with it, and who wrote it. One query; two when signed in.

    Published and archived tunes are everybody's; in another state its tuner and whoever bought it see it.
    Raises: TuneNotFound.
    """
    with connection.cursor() as cursor:
        cursor.execute(DETAIL, [tune_id])
        row = cursor.fetchone()
        if row is None:
            raise TuneNotFound
        standing = None
        if viewer is not None:
            cursor.execute(VIEWER, [viewer.pk, tune_id, viewer.pk, tune_id])
            purchase_id, license_state, owned_version, is_favorite = cursor.fetchone()
            standing = {
                "purchase_id": purchase_id,
                "license_state": license_state,
                "owned_version": owned_version,
                "is_favorite": is_favorite,
            }
    own = decode_own(row[COLUMN_COUNT : COLUMN_COUNT + OWN_COLUMN_COUNT])
    requirements, blocked_regions, author_id, fitments = row[COLUMN_COUNT + OWN_COLUMN_COUNT :]
    if own[0] not in PUBLIC:
        is_theirs = standing is not None and (viewer.pk == author_id or standing["purchase_id"] is not None)
        if not is_theirs:
            raise TuneNotFound
    fitments = orjson.loads(fitments) if fitments else []
    fitments.sort(key=lambda row: (row["make"], row["model"], row["year_from"], row["markets"]))
    detail = (row[:COLUMN_COUNT], own, orjson.loads(requirements) if requirements else None, blocked_regions or [], fitments)
    return detail, standing, author_id


def decode_own(columns: Sequence[Any]) -> tuple:
    """OWN_COLUMNS with their JSON read."""
    status, listed, description, images, requirements, dyno, *rest = columns
    return (status, listed, description, orjson.loads(images), orjson.loads(requirements), dyno and orjson.loads(dyno), *rest)


def get_public_tune(tune_id: UUID, viewer=None) -> Tune:
    """A tune that everybody may see, or its tuner's own in any state. One query. Raises: TuneNotFound."""
    tune = Tune.objects.select_related("tuner").filter(pk=tune_id).first()
    if tune is None or not (tune.status in PUBLIC or (viewer is not None and tune.tuner.user_id == viewer.pk)):
        raise TuneNotFound
    return tune


def list_own_tunes(author, *, status: str | None, after: Sequence[Any] | None, page_size: int) -> list[tuple]:
    """A tuner's listings in every state, newest first: COLUMNS and OWN_COLUMNS, one row more than a page. One query."""
    # by a subquery, not by the join: whose they are is known before, and the index gives them in order
    where, parameters = ["t.tuner_id = (SELECT id FROM tuners_tunerprofile WHERE user_id = %s)"], [author.pk]
    if status is not None:
        where.append("t.status = %s")
        parameters.append(status)
    if after is not None:
        where.append("(t.created_at, t.id) < (%s, %s)")
        parameters += after
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {COLUMNS}, {OWN_COLUMNS} FROM marketplace_tune t {JOINS} WHERE {' AND '.join(where)}"
            " ORDER BY t.created_at DESC, t.id DESC LIMIT %s",
            [*parameters, page_size + 1],
        )
        return cursor.fetchall()


def get_own_tune(author, tune_id: UUID) -> tuple:
    """The same row of one own listing. Raises: TuneNotFound."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {COLUMNS}, {OWN_COLUMNS} FROM marketplace_tune t {JOINS} WHERE p.user_id = %s AND t.id = %s", [author.pk, tune_id]
        )
        row = cursor.fetchone()
    if row is None:
        raise TuneNotFound
    return row


def list_favorites(user, *, after: Sequence[Any] | None, page_size: int) -> list[tuple]:
    """A rider's favourites that are still public, newest first: COLUMNS, when and the favourite's id. One query."""
    where, parameters = "", []
    if after is not None:
        where, parameters = " AND (f.created_at, f.id) < (%s, %s)", list(after)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {COLUMNS}, f.created_at, f.id FROM marketplace_favorite f JOIN marketplace_tune t ON t.id = f.tune_id {JOINS}"
            f" WHERE f.user_id = %s AND t.status IN ('PUBLISHED', 'ARCHIVED'){where} ORDER BY f.created_at DESC, f.id DESC LIMIT %s",
            [user.pk, *parameters, page_size + 1],
        )
        return cursor.fetchall()


# Facets: each value counted to 1,001 at most, for all or for one make or model, kept for a minute

FACET_CAP = 1000
FACET_SECONDS = 60


def get_facets(*, make: str | None, model: str | None, at: datetime) -> dict[str, Any]:
    """Counts of the unfiltered set or of one make or model; may be a minute old. One query when not cached."""
    scope = find_scope(make, model)
    key = f"facets:{scope.id if scope else 'unlisted'}"
    facets = cache.get(key)
    if facets is None:
        facets = {"counts": _count(scope), "as_of": at}
        cache.set(key, facets, FACET_SECONDS)
    return facets


def _few(rows: str) -> str:
    """A count that stops once it is over the cap."""
    return f"(SELECT count(*) FROM (SELECT 1 FROM {rows} LIMIT {FACET_CAP + 1}) AS few)"


def _count(scope) -> dict[str, list[dict[str, Any]]]:
    """What there is of each value, by the index `…_facets`: from one combination of values that occurs to the next, each
    counted to the cap. So a value that nothing has costs nothing, and a common one no more than the cap."""
    empty: dict[str, list] = {name: [] for name in ("kind", "category", "emissions_class", "make", "free")}
    if scope is None:
        return empty
    source, of_scope = "marketplace_tune b WHERE b.listed", "marketplace_browserow b WHERE b.scope_id = make.id"
    if scope.id is not None:
        source = of_scope = "marketplace_browserow b WHERE b.scope_id = %(scope)s"
    columns = "b.category, b.emissions_class, b.kind"
    sums = [f"SELECT '{name}', {name}, sum(many)::int FROM counted GROUP BY {name}" for name in ("kind", "category", "emissions_class")]
    for value, test in (("true", "="), ("false", ">")):
        # in the order of an index: Postgres can't tell a currency that nobody uses from one that everybody does
        many = _few(f"{source} AND b.currency = money AND b.price_minor {test} 0 ORDER BY b.price_minor")
        sums.append(f"SELECT 'free', '{value}', sum({many})::int FROM unnest(%(currencies)s::text[]) AS money")
    sql = f"""
        WITH RECURSIVE combination AS (
          (SELECT {columns} FROM {source} ORDER BY {columns} LIMIT 1)
          UNION ALL
          SELECT following.* FROM combination c CROSS JOIN LATERAL (
            SELECT {columns} FROM {source} AND ({columns}) > (c.category, c.emissions_class, c.kind) ORDER BY {columns} LIMIT 1
          ) AS following
        ), counted AS MATERIALIZED (
          SELECT c.*, {_few(f"{source} AND ({columns}) = (c.category, c.emissions_class, c.kind)")} AS many FROM combination c
        )
        {" UNION ALL ".join(sums)}
        UNION ALL
        SELECT 'make', make.name, {_few(of_scope)} FROM garage_vehiclemake make WHERE %(make)s::uuid IS NULL OR make.id = %(make)s::uuid
    """
    with connection.cursor() as cursor:
        cursor.execute(sql, {"scope": scope.id, "make": scope.make_id, "currencies": sorted(SMALLEST_PRICE_MINOR)})
        for name, value, count in cursor.fetchall():
            if count:
                empty[name].append({"value": value, "count": min(count, FACET_CAP), "capped": count > FACET_CAP})
    for rows in empty.values():
        rows.sort(key=lambda row: (-row["count"], row["value"]))
    return empty
