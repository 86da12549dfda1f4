"""Lists that offer something: tunes like this one, what is taken up now, what is new from followed tuners."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import connection

from marketplace.fitment import FIRST_MISMATCH, VehicleFacts, tune_mask_sql
from marketplace.models import TrendRow, Tune
from marketplace.selectors.browse import COLUMNS, JOINS, Scope

SIMILAR = 20  # rows shown
SIMILAR_MODELS = 8  # of the tune, those that most of its fitments are for
CANDIDATES = 100  # of each model the most popular and the best rated ones: a popular model has tens of thousands of tunes

_FITS = "FROM marketplace_fitment f WHERE f.tune_id = %s AND (f.live OR f.version_id = %s)"


def list_similar(tune: Tune, *, vehicle: VehicleFacts | None = None) -> list[tuple]:
    """Listed tunes like this one, at most SIMILAR: rows of `browse.COLUMNS`, with the mask last when a vehicle was given.

    Without a vehicle they fit a model that this tune fits. With one they are for that vehicle, mismatches left out, matches
    first. Then: same hardware number, same category, same kind, rating, popularity; the price plays no part. One query,
    whose candidates come from the browse rows' indexes, so that it reads no more of a popular model than of a rare one.
    """
    of_tune: list[Any] = [tune.pk, tune.latest_version_id]
    parameters: list[Any]
    if vehicle is not None and vehicle.model_id is not None and vehicle.hardware_number is not None:
        scope, parameters = "SELECT marketplace_ecu_scope(%s, %s) AS id", [vehicle.hardware_number, vehicle.model_id]
    elif vehicle is not None and vehicle.model_id is not None:
        scope, parameters = "SELECT %s::uuid AS id", [vehicle.model_id]
    else:
        scope = f"SELECT f.model_id AS id {_FITS} GROUP BY f.model_id ORDER BY count(*) DESC, f.model_id LIMIT {SIMILAR_MODELS}"
        parameters = list(of_tune)
    if vehicle is not None and vehicle.hardware_number is not None:
        hardware = "SELECT ARRAY[%s]::varchar[] AS numbers"
        parameters.append(vehicle.hardware_number)
    else:
        every = f"SELECT unnest(f.hardware_numbers) {_FITS}"
        hardware = f"SELECT coalesce(array_agg(DISTINCT number), '{{}}') AS numbers FROM ({every}) AS every (number)"
        parameters += of_tune
    parameters.append(tune.pk)
    judged, kept, first, mask = "", "", "", ""
    if vehicle is not None:
        expression, values = tune_mask_sql(vehicle)
        judged, kept = f" CROSS JOIN LATERAL (SELECT {expression} AS mask) AS fit", f" WHERE fit.mask < {FIRST_MISMATCH}"
        first, mask = "fit.mask = 0 DESC, ", ", fit.mask"
    else:
        values = []
    sql = f"""
WITH scope AS MATERIALIZED ({scope}),
hardware AS MATERIALIZED ({hardware}),
candidate AS MATERIALIZED (
    SELECT DISTINCT pick.tune_id AS id
      FROM scope CROSS JOIN LATERAL (
        (SELECT b.tune_id FROM marketplace_browserow b WHERE b.scope_id = scope.id
          ORDER BY b.popularity DESC, b.tune_id DESC LIMIT {CANDIDATES})
        UNION ALL
        (SELECT b.tune_id FROM marketplace_browserow b WHERE b.scope_id = scope.id
          ORDER BY b.rating_score DESC, b.tune_id DESC LIMIT {CANDIDATES})
      ) AS pick
     WHERE pick.tune_id <> %s
),
ranked AS (
    SELECT t.id{mask}, row_number() OVER (ORDER BY {first}
           EXISTS (SELECT FROM marketplace_fitment f, hardware
                    WHERE f.tune_id = t.id AND f.live AND f.hardware_numbers && hardware.numbers) DESC,
           t.category = %s DESC, t.kind = %s DESC, t.rating_score DESC, t.popularity DESC, t.id DESC) AS place
      FROM candidate JOIN marketplace_tune t ON t.id = candidate.id{judged}{kept}
     ORDER BY place LIMIT {SIMILAR}
)
SELECT {COLUMNS}{", w.mask" if vehicle is not None else ""}
  FROM ranked AS w JOIN marketplace_tune t ON t.id = w.id {JOINS} ORDER BY w.place
"""
    with connection.cursor() as cursor:
        cursor.execute(sql, [*parameters, tune.category, tune.kind, *values])
        return cursor.fetchall()


def list_trending(scope: Scope, *, kind: str | None, after: Sequence[Any] | None, limit: int) -> list[tuple]:
    """What is taken up now, of everything or of one make or model: rows of `browse.COLUMNS` with the score last. One query.

    The scores are those of the last `services.trending.refresh_trends`; a tune that was taken off since is left out.
    """
    where = ["r.scope_id = %s"]
    parameters: list[Any] = [scope.id or TrendRow.EVERYTHING]
    if kind is not None:
        where.append("r.kind = %s")
        parameters.append(kind)
    if after is not None:
        where.append("(r.score, r.tune_id) < (%s, %s)")
        parameters += after
    sql = f"""
SELECT {COLUMNS}, r.score
  FROM marketplace_trendrow r JOIN marketplace_tune t ON t.id = r.tune_id AND t.listed {JOINS}
 WHERE {" AND ".join(where)} ORDER BY r.score DESC, r.tune_id DESC LIMIT %s
"""
    with connection.cursor() as cursor:
        cursor.execute(sql, [*parameters, limit])
        return cursor.fetchall()


def list_followed(user_id: UUID, *, after: Sequence[Any] | None, limit: int) -> list[tuple]:
    """Tunes on sale of the tuners whom somebody follows, the newest version first: rows of `browse.COLUMNS` with its time last.

    One query: the first rows of each tuner by `tune_followed`, of which the first of all are shown.
    """
    beyond = "" if after is None else " AND (b.latest_version_at, b.id) < (%s, %s)"
    sql = f"""
SELECT {COLUMNS}, w.key
  FROM (SELECT newest.id, newest.key
          FROM tuners_tunerfollow follow
          CROSS JOIN LATERAL (
            SELECT b.id, b.latest_version_at AS key FROM marketplace_tune b
             WHERE b.tuner_id = follow.tuner_id AND b.listed{beyond}
             ORDER BY b.latest_version_at DESC, b.id DESC LIMIT %s) AS newest
         WHERE follow.follower_id = %s
         ORDER BY newest.key DESC, newest.id DESC LIMIT %s) AS w
  JOIN marketplace_tune t ON t.id = w.id {JOINS}
 ORDER BY w.key DESC, w.id DESC
"""
    with connection.cursor() as cursor:
        cursor.execute(sql, [*(after or ()), limit, user_id, limit])
        return cursor.fetchall()
