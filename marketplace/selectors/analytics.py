"""A tuner's figures: views, favourites, purchases and flashes by day, tune, version or model. Numbers only, and nobody in them.

Views are a table of daily numbers; flashes by model are sums of whole `FlashGroup`s, so that no two reports, of whatever days,
differ by a single rider; the rest is counted from the rows themselves, by index, when it is asked for.
"""

from typing import Any
from uuid import UUID

from django.db import connection

from marketplace.exceptions import TuneNotFound
from marketplace.models import Tune
from marketplace.policies.trust import STATISTICAL
from marketplace.selectors.purchasing import Period
from tuners.selectors import get_profile_of

_VIEWS = """
SELECT {key} AS key, sum(v.views) AS views, 0 AS favorites, 0 AS purchases, 0 AS flashes, 0 AS succeeded
  FROM marketplace_tune t JOIN marketplace_tuneviews v ON v.tune_id = t.id
 WHERE t.tuner_id = %(tuner)s AND (%(tune)s::uuid IS NULL OR t.id = %(tune)s) AND v.day >= %(first)s AND v.day <= %(last)s
 GROUP BY 1
"""
_FAVORITES = """
SELECT {key}, 0, count(*), 0, 0, 0
  FROM marketplace_tune t JOIN marketplace_favorite f ON f.tune_id = t.id
 WHERE t.tuner_id = %(tuner)s AND (%(tune)s::uuid IS NULL OR t.id = %(tune)s) AND f.created_at >= %(from)s AND f.created_at < %(to)s
 GROUP BY 1
"""
_PURCHASES = """
SELECT {key}, 0, 0, count(*), 0, 0
  FROM marketplace_purchase p
 WHERE p.tuner_id = %(tuner)s AND (%(tune)s::uuid IS NULL OR p.tune_id = %(tune)s) AND p.paid_at >= %(from)s AND p.paid_at < %(to)s
 GROUP BY 1
"""
# Of what was sold: a tuner's own tests are not counted, and only what a tune's own counters count. By the moment a report came in,
# since phones have clocks of their own.
_REPORTS = """
  FROM marketplace_tune t
  JOIN marketplace_tuneversion version ON version.tune_id = t.id
  JOIN marketplace_flash flash ON flash.version_id = version.id AND flash.received_at >= %(from)s AND flash.received_at < %(to)s
  JOIN marketplace_flashticket ticket ON ticket.id = flash.ticket_id AND ticket.channel = 'public'
"""
_OF_TUNER = " WHERE t.tuner_id = %(tuner)s AND (%(tune)s::uuid IS NULL OR t.id = %(tune)s) AND flash.outcome = ANY(%(outcomes)s)"
_SUCCEEDED = "count(*) FILTER (WHERE flash.outcome = 'SUCCEEDED')"
_FLASHES = f"SELECT {{key}}, 0, 0, 0, count(*), {_SUCCEEDED} {_REPORTS} {_OF_TUNER} GROUP BY 1"

_DAY = "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD')"
_BY_DAY = " UNION ALL ".join(
    [
        _VIEWS.format(key="to_char(v.day, 'YYYY-MM-DD')"),
        _FAVORITES.format(key=_DAY.format("f.created_at")),
        _PURCHASES.format(key=_DAY.format("p.paid_at")),
        _FLASHES.format(key=_DAY.format("flash.received_at")),
    ]
)
_BY_TUNE = " UNION ALL ".join(
    [_VIEWS.format(key="t.id"), _FAVORITES.format(key="t.id"), _PURCHASES.format(key="p.tune_id"), _FLASHES.format(key="t.id")]
)
_SUMS = "sum(x.views)::bigint, sum(x.favorites)::bigint, sum(x.purchases)::bigint, sum(x.flashes)::bigint, sum(x.succeeded)::bigint"
_STATEMENTS = {
    "day": f"SELECT x.key, NULL, {_SUMS} FROM ({_BY_DAY}) AS x GROUP BY x.key ORDER BY x.key",
    "tune": f"""SELECT x.key::text, t.title, {_SUMS} FROM ({_BY_TUNE}) AS x JOIN marketplace_tune t ON t.id = x.key
                 GROUP BY x.key, t.title ORDER BY sum(x.views) DESC, x.key""",
    "version": f"""SELECT version.id::text, t.title || ' ' || version.version, NULL, NULL, NULL, count(*), {_SUCCEEDED}
                     {_REPORTS} {_OF_TUNER} GROUP BY version.id, t.title, version.version ORDER BY 6 DESC, 1""",
    "model": """
        SELECT model.id::text, make.name || ' ' || model.name, NULL, NULL, NULL,
               sum(flashes.flash_count)::bigint, sum(flashes.success_count)::bigint
          FROM marketplace_tune t
          JOIN marketplace_flashgroup flashes ON flashes.tune_id = t.id AND flashes.created_at >= %(from)s AND flashes.created_at < %(to)s
          JOIN garage_vehiclemodel model ON model.id = flashes.vehicle_model_id
          JOIN garage_vehiclemake make ON make.id = model.make_id
         WHERE t.tuner_id = %(tuner)s AND (%(tune)s::uuid IS NULL OR t.id = %(tune)s)
         GROUP BY model.id, make.name ORDER BY 6 DESC, 2""",
}
_OF_FLASHES = ("flashes", "flashes_succeeded")
_COUNTED = ("views", "favorites", "purchases", *_OF_FLASHES)
_OF_PAGES = ("day", "tune")  # what is looked at, marked and bought is a tune, not a version of it


def get_analytics(tuner_user, *, by: str, period: Period, tune_id: UUID | None) -> dict[str, Any]:
    """What became of a tuner's own tunes, or of one, in a period: rows by day, tune, version or model, and their sum.

    Three queries at most. Raises: TuneNotFound (missing, or somebody else's).
    """
    if tune_id is not None and not Tune.objects.of_tuner_user(tuner_user).filter(pk=tune_id).exists():
        raise TuneNotFound
    begin, end = period.bounds
    values: dict[str, Any] = {"tuner": get_profile_of(tuner_user).pk, "tune": tune_id, "outcomes": sorted(STATISTICAL)}
    values |= {"first": period.first, "last": period.last, "from": begin, "to": end}
    with connection.cursor() as cursor:
        cursor.execute(_STATEMENTS[by], values)
        rows = [_row(*row) for row in cursor.fetchall()]
    total = {name: sum(row[name] for row in rows) if by in _OF_PAGES or name in _OF_FLASHES else None for name in _COUNTED}
    return {
        "from": period.first,
        "to": period.last,
        "by": by,
        "rows": rows,
        "total": {**total, "conversion_basis_points": _conversion(total["views"], total["purchases"])},
    }


def _row(key: str, label: str | None, *counts: int | None) -> dict[str, Any]:
    row = dict(zip(_COUNTED, counts, strict=True))
    return {"key": key, "label": label, **row, "conversion_basis_points": _conversion(row["views"], row["purchases"])}


def _conversion(views: int | None, purchases: int | None) -> int | None:
    """Purchases of 10,000 views; nothing without views."""
    return None if not views or purchases is None else purchases * 10_000 // views
