"""The floor: what the same answers cost without a framework. One WSGI function, psycopg2, SQL by hand, orjson.

It answers the measured requests only, with the members that the API answers, from the same rows, and for a download it
does the same durable work: session, exact limit, idempotency, locks, reservation, Download, ticket, audit. It leaves out
what a framework gives: validation beyond the types, problem documents, request ids, logs, metrics, content negotiation,
entity tags, signed cursors, security headers, health checks of the connection. It is not a program to copy.
"""

import base64
import contextlib
import functools
import hashlib
import hmac
import json
import os
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import boto3
import orjson
import psycopg2
import psycopg2.extras
import uuid_utils
from botocore.config import Config
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import serialization

DATABASE_URL = os.environ["DATABASE_URL"]
MEDIA = os.environ["PUBLIC_BASE_URL"] + "/media/"
JWT_KEYS = {kid: key.encode() for kid, _, key in (pair.partition(":") for pair in os.environ["JWT_SIGNING_KEYS"].split(","))}
HASH_KEY = os.environ["HASH_KEY"].encode()
CIPHER = Fernet(os.environ["FIELD_ENCRYPTION_KEYS"])
SIGNING_KEYS = Path(os.environ["SIGNING_KEYS_DIR"])
BUCKET = os.environ["S3_BUCKET_PRIVATE"]
TEXTS = Path(__file__).resolve().parent.parent / "core" / "texts"
OPTIONS = orjson.OPT_UTC_Z
GRANTS_AN_HOUR = 120
PAGE = 20

_local = threading.local()
_scopes: dict[tuple[str, str], str] = {}

psycopg2.extras.register_default_jsonb(globally=True, loads=orjson.loads)


def cursor():
    """A cursor of this thread's connection, which is kept open, in autocommit."""
    connection = getattr(_local, "connection", None)
    if connection is None:
        connection = _local.connection = psycopg2.connect(DATABASE_URL)
        connection.autocommit = True
        with connection.cursor() as db:
            db.execute(FUNCTION)
    return connection.cursor()


def fetch(sql, values):
    with cursor() as db:
        db.execute(sql, values)
        return db.fetchall()


class Refused(Exception):
    """Anything but a success."""


# Who asks: the token's signature, then the session's row

SESSION = """
SELECT person.id, person.role, person.blocked_at, device.app_version, device.generation, device.login_generation
  FROM users_userdevice device JOIN users_user person ON person.id = device.user_id
 WHERE device.id = %s AND device.user_id = %s AND device.revoked_at IS NULL AND device.expires_at > now() AND person.is_active
"""


def authenticate(environ):
    head, payload, signature = environ["HTTP_AUTHORIZATION"][7:].split(".")
    key = JWT_KEYS[orjson.loads(unbase64(head))["kid"]]
    if not hmac.compare_digest(hmac.digest(key, f"{head}.{payload}".encode(), hashlib.sha256), unbase64(signature)):
        raise Refused("401 Unauthorized")
    claims = orjson.loads(unbase64(payload))
    if claims["exp"] <= time.time() or claims["typ"] != "access":
        raise Refused("401 Unauthorized")
    rows = fetch(SESSION, (claims["sid"], claims["sub"]))
    if not rows or not rows[0][5] <= claims["gen"] <= rows[0][4] or rows[0][2] is not None:
        raise Refused("401 Unauthorized")
    return claims["sub"], claims["sid"], rows[0][3]


def unbase64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# Tunes

COLUMNS = """t.id, t.title, t.kind, t.category, t.price_minor, t.currency, t.rating_milli, t.rating_count, t.download_count,
 t.flash_count, t.flash_success_count, t.images -> 0 ->> 'key', t.fitment_summary, t.emissions_class,
 p.id, p.business_name, p.verified, p.rating::float8, p.review_count, v.id, v.version, v.published_at"""
JOINS = "JOIN tuners_tunerprofile p ON p.id = t.tuner_id LEFT JOIN marketplace_tuneversion v ON v.id = t.latest_version_id"
# One statement for each shape: the inner part walks one index, the outer one joins what 21 rows show.
PAGE_OF = f"""
SELECT {COLUMNS}, w.key{{mask}} FROM ({{inner}}) w
  JOIN marketplace_tune t ON t.id = w.id {JOINS} ORDER BY w.key {{direction}}, w.id {{direction}}
"""
ORDERS = {
    "newest": ("published_at", "DESC"),
    "price": ("price_minor", "ASC"),
    "-price": ("price_minor", "DESC"),
    "rating": ("rating_score", "DESC"),
    "popular": ("popularity", "DESC"),
}
CONDITIONS = {
    "category": "b.category = %s",
    "currency": "b.currency = %s",
    "max_price_minor": "b.price_minor <= %s",
    "tuner": "b.tuner_id = %s",
}
OF_FITMENT = {
    "year": "%s BETWEEN f.year_from AND f.year_to",
    "market": "%s = ANY(f.markets)",
    "hardware_number": "f.hardware_numbers @> ARRAY[%s]::varchar[]",
}
# The lists of a number, one for each model that has it: their ids begin alike.
OF_NUMBER = """
WITH RECURSIVE ends AS (
  SELECT marketplace_ecu_scope(%s, '00000000-0000-0000-0000-000000000000') AS low,
         marketplace_ecu_scope(%s, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AS high
), list AS (
  SELECT high, (SELECT scope_id FROM marketplace_browserow WHERE scope_id BETWEEN low AND high ORDER BY scope_id LIMIT 1) AS id FROM ends
  UNION ALL
  SELECT high, (SELECT scope_id FROM marketplace_browserow WHERE scope_id > list.id AND scope_id <= high ORDER BY scope_id LIMIT 1)
    FROM list WHERE list.id IS NOT NULL
)
SELECT DISTINCT one.* FROM list CROSS JOIN LATERAL (
  SELECT b.tune_id AS id, b.{column} AS key FROM marketplace_browserow b WHERE b.scope_id = list.id
   ORDER BY b.{column} {direction}, b.tune_id {direction} LIMIT 21) AS one
 ORDER BY key {direction}, id {direction} LIMIT 21
"""
WALKED, MOST = 500, 2000  # tunes for a vehicle: so many are judged on the way, and then so many that may fit
SCOPE = """
SELECT model.id FROM garage_vehiclemodel model JOIN garage_vehiclemake make ON make.id = model.make_id WHERE make.name = %s AND model.name = %s
"""
SCOPE_OF_MAKE = "SELECT id FROM garage_vehiclemake WHERE name = %s"
VEHICLE = """
SELECT m.make_id, v.catalog_model_id, v.year, v.market, e.hardware_number, e.calibration_id, v.stock_calibration_id, e.image_size_bytes,
       v.fuel_octane, v.fuel_scale, v.installed_calibration_id, v.installed_at, e.read_at,
       EXISTS (SELECT 1 FROM garage_stockfile s WHERE s.vehicle_id = v.id AND s.hardware_number = coalesce(e.hardware_number, s.hardware_number))
       OR EXISTS (SELECT 1 FROM garage_noreadbackconsent n WHERE n.vehicle_id = v.id AND n.given_by_id = v.owner_id
                     AND n.hardware_number = e.hardware_number),
       ARRAY(SELECT jsonb_build_object('category', o.category, 'brand', o.brand, 'part', o.part) FROM garage_vehiclemod o WHERE o.vehicle_id = v.id)
  FROM garage_vehicle v LEFT JOIN garage_ecureadout e ON e.id = v.ecu_id LEFT JOIN garage_vehiclemodel m ON m.id = v.catalog_model_id
 WHERE v.owner_id = %s AND v.id = %s AND v.deleted_at IS NULL
"""
DETAIL = f"""
SELECT {COLUMNS}, t.status, t.listed, t.description, t.images, t.requirements, t.dyno, t.created_at, t.updated_at, t.published_at, t.revision,
       v.requirements, v.blocked_regions,
       (SELECT jsonb_agg(DISTINCT jsonb_build_object(
          'make', f.make_name, 'model', f.model_name, 'year_from', f.year_from, 'year_to', f.year_to, 'markets', f.markets,
          'hardware_numbers', f.hardware_numbers, 'calibration_ids', f.calibration_ids, 'image_size_bytes', f.image_size_bytes))
          FROM marketplace_fitment f WHERE f.tune_id = t.id AND f.live)
  FROM marketplace_tune t {JOINS} WHERE t.id = %s AND t.status IN ('PUBLISHED', 'ARCHIVED')
"""
_attestation = max(TEXTS.glob("attestation.*.txt"))
_text = _attestation.read_text(encoding="utf-8").strip()
ATTESTATION = {"text_version": _attestation.name.split(".")[1], "text": _text, "sha256": hashlib.sha256(_text.encode()).hexdigest()}


def tune_of(row):
    return {
        "id": row[0],
        "title": row[1],
        "kind": row[2],
        "category": row[3],
        "tuner": {
            "id": row[14],
            "business_name": row[15],
            "verified": row[16],
            "rating": None if row[17] is None else round(row[17], 1),
            "review_count": row[18],
        },
        "price_minor": row[4],
        "currency": row[5],
        "rating": None if row[6] is None else round(row[6] / 1000, 1),
        "review_count": row[7],
        "download_count": row[8],
        "flash_success_rate": round(row[10] / row[9], 3) if row[9] else None,
        "flash_count": row[9],
        "latest_version": row[19] and {"id": row[19], "version": row[20], "published_at": row[21]},
        "image_url": row[11] and MEDIA + row[11],
        "fitment_summary": row[12],
        "emissions_class": row[13] or None,
    }


def page_of(environ, rows, results, *position):
    following = None
    if len(rows) > PAGE:
        cursor = base64.urlsafe_b64encode(orjson.dumps(position)).decode()
        query = environ["QUERY_STRING"]
        following = f"http://{environ['HTTP_HOST']}{environ['PATH_INFO']}?{query}{'&' if query else ''}cursor={cursor}"
    return {"next": following, "results": results}


def list_tunes(environ):
    query = dict(parse_qsl(environ["QUERY_STRING"]))
    if "q" in query:
        rows = search(query["q"])
    elif "vehicle" in query:
        rows = fitting(environ, query["vehicle"])
    else:
        rows = browse(query)
    results = [tune_of(row) for row in rows[:PAGE]]
    if "vehicle" in query:
        from marketplace.fitment import Verdict

        for result, row in zip(results, rows, strict=False):
            result["fitment"] = Verdict(row[23]).as_dict()
    return page_of(environ, rows, results, *((results[-1]["id"], rows[len(results) - 1][22]) if results else ()))


_shapes = {}


def browse(query):
    ordering = query.pop("ordering", "newest")
    shape = ordering, *query
    if shape not in _shapes:
        _shapes[shape] = shape_of(ordering, query)
    sql, names = _shapes[shape]
    scope = None
    if "make" in query:
        key = query["make"], query.get("model")
        scope = _scopes.get(key)
        if scope is None:
            scope = _scopes[key] = fetch(SCOPE, key)[0][0] if key[1] else fetch(SCOPE_OF_MAKE, key[:1])[0][0]
    return fetch(sql, [scope if name == "scope" else query[name] for name in names])


def shape_of(ordering, query):
    """The statement for a set of parameters, and the names of its values in their order."""
    tune, table, where, names = "b.id", "marketplace_tune", ["b.listed"], []
    if "make" in query:
        tune, table, where, names = "b.tune_id", "marketplace_browserow", ["b.scope_id = %s"], ["scope"]
    for name in query.keys() & CONDITIONS.keys():
        where.append(CONDITIONS[name])
        names.append(name)
    of_fitment = [name for name in query if name in OF_FITMENT]
    if list(query) == ["hardware_number"]:
        column, direction = ORDERS[ordering]
        inner = OF_NUMBER.format(column=column, direction=direction)
        return PAGE_OF.format(inner=inner, direction=direction, mask=""), ["hardware_number", "hardware_number"]
    if of_fitment == ["year"] and "make" in query:
        where.append("%s::int = ANY(b.years)")
        names.append("year")
    elif of_fitment:
        together = ["f.live", *(OF_FITMENT[name] for name in of_fitment)]
        if "make" in query:
            together.append("f.model_id = %s" if "model" in query else "f.make_id = %s")
        where.append(f"{tune} IN (SELECT f.tune_id FROM marketplace_fitment f WHERE {' AND '.join(together)})")
        names += of_fitment + (["scope"] if "make" in query else [])
    column, direction = ORDERS[ordering]
    inner = (
        f"SELECT {tune} AS id, b.{column} AS key FROM {table} b WHERE {' AND '.join(where)}"
        f" ORDER BY b.{column} {direction}, {tune} {direction} LIMIT 21"
    )
    return PAGE_OF.format(inner=inner, direction=direction, mask=""), names


@functools.cache
def listed():
    """The list that a search is about."""
    from marketplace.selectors.matching import WORDS, Ordered

    return Ordered(WORDS, "b.tune_id", "popularity", descending=True, edge=("true", ()), where=("true", ()), all_marked=True)


def search_page(match, ranking):
    """Which way a search goes, and how far, is as long as how it is read."""
    from marketplace.selectors import matching
    from marketplace.selectors.search import Reading

    found, values = matching.first_matching(listed(), Reading(match, ranking), matching.CANDIDATES, scored=True)
    inner = f"WITH hit AS MATERIALIZED ({found}) SELECT id, score AS key FROM hit ORDER BY score DESC, id DESC LIMIT 21"
    return fetch(PAGE_OF.format(inner=inner, direction="DESC", mask=""), values)


def search(text):
    """How a text is read is long, in one place, and no framework's work: it is taken from there, on our connection."""
    from marketplace.selectors import search as reading

    terms = reading.terms_of(text)
    typed = reading.as_typed(terms)
    rows = search_page(typed, reading.ranking_of(typed, terms))
    if rows:
        return rows
    with lent_to(reading):
        meant = reading.as_meant(terms)
    for match in meant:
        rows = search_page(match, reading.ranking_of(match, terms))
        if rows:
            break
    return rows


class _Connection:
    """As much of a connection as the reading of a search asks for."""

    cursor = staticmethod(cursor)


@contextlib.contextmanager
def lent_to(module):
    """Our connection in place of the application's, which this process does not set up."""
    before, module.connection = module.connection, _Connection
    try:
        yield
    finally:
        module.connection = before


def fitting(environ, vehicle):
    """Tunes for a vehicle with how they fit. The rule is long and in one place, so its SQL is taken from there."""
    from marketplace.fitment import FIRST_MISMATCH, VehicleFacts, may_fit_sql, part_keys_of, tune_mask_sql

    user, _, _ = authenticate(environ)
    (make, model, year, market, hardware, read, stock, size, octane, scale, installed, installed_at, read_at, way_back, parts) = fetch(
        VEHICLE, (user, vehicle)
    )[0]
    facts = VehicleFacts(
        make_id=make, model_id=model, year=year, market=market, hardware_number=hardware,
        calibration_id=installed if installed and (read_at is None or installed_at > read_at) else read,
        stock_calibration_id=stock, image_size_bytes=size, fuel_octane=octane, fuel_scale=scale,
        part_keys=frozenset(key for part in parts for key in part_keys_of(**part)), has_way_back=way_back,
    )  # fmt: skip
    scope, scoped = ("b.scope_id = %s", [model]) if hardware is None else ("b.scope_id = marketplace_ecu_scope(%s, %s)", [hardware, model])
    mask, values = tune_mask_sql(facts)

    def judged(few):
        inner = (
            f"SELECT few.id, few.key, fit.mask FROM ({few}) AS few JOIN marketplace_tune t ON t.id = few.id"
            f" CROSS JOIN LATERAL (SELECT {mask} AS mask) AS fit WHERE fit.mask < {FIRST_MISMATCH} ORDER BY few.key DESC, few.id DESC LIMIT 21"
        )
        return PAGE_OF.format(inner=inner, direction="DESC", mask=", w.mask")

    newest = f"SELECT b.tune_id AS id, b.published_at AS key FROM marketplace_browserow b WHERE {scope}"
    rows = fetch(judged(f"{newest} ORDER BY b.published_at DESC, b.tune_id DESC LIMIT {WALKED}"), [*scoped, *values])
    if len(rows) > PAGE or not fetch(f"SELECT EXISTS (SELECT FROM marketplace_browserow b WHERE {scope} OFFSET {WALKED})", scoped)[0][0]:
        return rows
    few = fetch(*may_fit_sql(facts, most=MOST))
    if len(few) > MOST:
        return fetch(judged(newest), [*scoped, *values])
    return fetch(judged(f"{newest} AND b.tune_id = ANY(%s::uuid[])"), [*scoped, [tune for (tune,) in few], *values]) if few else []


# Facets and suggestions

FEW = "(SELECT count(*) FROM (SELECT 1 FROM marketplace_browserow b WHERE b.scope_id = %(scope)s{condition} LIMIT 1001) AS few)"
OF_COMBINATION = FEW.format(condition=" AND (b.category, b.emissions_class, b.kind) = (c.category, c.emissions_class, c.kind)")
FREE, PAID = (FEW.format(condition=f" AND b.currency = money AND b.price_minor {test} 0 ORDER BY b.price_minor") for test in "=>")
FACETS = f"""
WITH RECURSIVE combination AS (
  (SELECT category, emissions_class, kind FROM marketplace_browserow WHERE scope_id = %(scope)s ORDER BY 1, 2, 3 LIMIT 1)
  UNION ALL
  SELECT following.* FROM combination c CROSS JOIN LATERAL (
    SELECT category, emissions_class, kind FROM marketplace_browserow b
     WHERE scope_id = %(scope)s AND (b.category, b.emissions_class, b.kind) > (c.category, c.emissions_class, c.kind) ORDER BY 1, 2, 3 LIMIT 1
  ) AS following
), counted AS MATERIALIZED (SELECT c.*, {OF_COMBINATION} AS many FROM combination c)
SELECT 'kind', kind, sum(many)::int FROM counted GROUP BY kind
UNION ALL SELECT 'category', category, sum(many)::int FROM counted GROUP BY category
UNION ALL SELECT 'emissions_class', emissions_class, sum(many)::int FROM counted GROUP BY emissions_class
UNION ALL SELECT 'free', 'true', sum({FREE})::int FROM unnest(%(currencies)s::text[]) AS money
UNION ALL SELECT 'free', 'false', sum({PAID})::int FROM unnest(%(currencies)s::text[]) AS money
UNION ALL SELECT 'make', %(make)s, {FEW.format(condition="")}
"""
CURRENCIES = (
    ["AUD", "BHD", "BRL", "CAD", "CHF", "CZK", "DKK", "EUR", "GBP", "HUF", "INR", "JPY", "KRW", "KWD", "MXN", "NOK", "NZD", "PLN", "RON", "SEK", "SGD", "THB", "USD"]
)


def get_facets(environ):
    query = dict(parse_qsl(environ["QUERY_STRING"]))
    scope = fetch(SCOPE, (query["make"], query["model"]))[0][0]
    counts = {"kind": [], "category": [], "emissions_class": [], "make": [], "free": []}
    for name, value, count in fetch(FACETS, {"scope": scope, "make": query["make"], "currencies": CURRENCIES}):
        if count:
            counts[name].append({"value": value, "count": min(count, 1000), "capped": count > 1000})
    for rows in counts.values():
        rows.sort(key=lambda row: (-row["count"], row["value"]))
    return {"counts": counts, "as_of": datetime.now(UTC)}


def suggest(environ):
    """As in a search: the reading is taken from where it is."""
    from marketplace.selectors import suggestions

    with lent_to(suggestions):
        return {"results": suggestions.list_suggestions(dict(parse_qsl(environ["QUERY_STRING"]))["q"])}


# Tuners

TUNERS = """
SELECT id, kind, business_name, country, specialities, makes, verified, rating::float8, review_count, follower_count, rating_order
  FROM tuners_tunerprofile WHERE status = 'ACTIVE' ORDER BY rating_order DESC, id DESC LIMIT 21
"""


TUNERS_FOUND = TUNERS.replace("'ACTIVE'", "'ACTIVE' AND document @@ %s::tsquery")


def list_tuners(environ):
    query = dict(parse_qsl(environ["QUERY_STRING"]))
    rows = find_tuners(query["q"]) if "q" in query else fetch(TUNERS, ())
    names = ("id", "kind", "business_name", "country", "specialities", "makes", "verified", "rating", "review_count", "follower_count")
    results = [dict(zip(names, row, strict=False)) for row in rows[:PAGE]]
    return page_of(environ, rows, results, *((results[-1]["id"], str(rows[len(results) - 1][10])) if results else ()))


def find_tuners(text):
    """As in a search of tunes."""
    from tuners import search as reading

    words = reading.words_of(text)
    rows = fetch(TUNERS_FOUND, (reading.expression(words, reading.as_typed(words)),))
    if not rows:
        with lent_to(reading):
            meant = reading.as_meant(words)
        rows = fetch(TUNERS_FOUND, (reading.expression(words, meant),))
    return rows


def get_tune(environ, tune_id):
    rows = fetch(DETAIL, (tune_id,))
    if not rows:
        raise Refused("404 Not Found")
    row = rows[0]
    (status, listed, description, images, requirements, dyno, created_at, updated_at, published_at, revision, needs, blocked, fitments) = row[22:]
    fitments.sort(key=lambda f: (f["make"], f["model"], f["year_from"], f["markets"]))
    return {
        **tune_of(row),
        "status": status,
        "on_sale": listed,
        "description": description,
        "images": [
            {"upload_id": image["upload_id"], "url": MEDIA + image["key"], "width": image["width"], "height": image["height"]} for image in images
        ],
        "requirements": {**requirements, **needs},
        "dyno": dyno,
        "created_at": created_at,
        "updated_at": updated_at,
        "published_at": published_at,
        "revision": revision,
        "blocked_regions": blocked,
        "fitments": fitments,
        "attestation": ATTESTATION,
    }


# Purchases

UNTIL = """
SELECT least(clock_timestamp(), (SELECT min(xact_start) FROM pg_stat_activity
 WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid())) - interval '2 seconds'
"""
PURCHASES = """
SELECT p.id, p.number, p.vehicle_id, p.status, p.amount_minor, p.tax_minor, p.currency, p.refunded_minor, p.captured_minor, p.created_at,
       greatest(p.updated_at, p.license_updated_at), p.paid_at, p.license_state, p.license_vehicle_id, p.reserved_until, p.was_granted,
       t.id, p.tune_title, t.kind, t.category, t.price_minor, t.currency, t.rating_milli, t.rating_count, t.download_count,
       t.images #>> '{0,key}', t.emissions_class, t.fitment_summary, v.id, v.version, v.published_at,
       u.id, u.business_name, u.verified, u.rating::float8, u.review_count, p.intent_id, t.flash_count, t.flash_success_count
  FROM (
    SELECT p.*, l.state AS license_state, l.vehicle_id AS license_vehicle_id, l.reserved_until, l.updated_at AS license_updated_at,
           EXISTS (SELECT FROM marketplace_grantedpurchase g WHERE g.purchase_id = p.id) AS was_granted, a.intent_id
      FROM marketplace_purchase p
      LEFT JOIN marketplace_license l ON l.purchase_id = p.id
      LEFT JOIN marketplace_paymentattempt a ON a.purchase_id = p.id AND a.state = 'OPEN'
     WHERE p.buyer_id = %s ORDER BY p.created_at DESC, p.id DESC LIMIT 21
  ) p
  JOIN marketplace_tune t ON t.id = p.tune_id
  JOIN tuners_tunerprofile u ON u.id = p.tuner_id
  LEFT JOIN marketplace_tuneversion v ON v.id = t.latest_version_id
 ORDER BY p.created_at DESC, p.id DESC
"""
REFUND_WINDOW = timedelta(days=14)


def list_purchases(environ):
    user, _, _ = authenticate(environ)
    until = fetch(UNTIL, ())[0][0]
    rows = fetch(PURCHASES, (user,))
    results = [purchase_of(row) for row in rows[:PAGE]]
    return {**page_of(environ, rows, results, results[-1]["created_at"], results[-1]["id"]), "synced_until": until}


def purchase_of(row):
    status, captured, paid_at, was_granted = row[3], row[8], row[11], row[15]
    refundable = status == "PAID" and captured > 0 and not was_granted
    return {
        "id": row[0],
        "number": row[1],
        "tune": {
            "id": row[16],
            "title": row[17],
            "kind": row[18],
            "category": row[19],
            "tuner": {
                "id": row[31],
                "business_name": row[32],
                "verified": row[33],
                "rating": None if row[34] is None else round(row[34], 1),
                "review_count": row[35],
            },
            "price_minor": row[20],
            "currency": row[21],
            "rating": None if row[22] is None else round(row[22] / 1000, 1),
            "review_count": row[23],
            "download_count": row[24],
            "flash_success_rate": round(row[38] / row[37], 3) if row[37] else None,
            "flash_count": row[37],
            "latest_version": row[28] and {"id": row[28], "version": row[29], "published_at": row[30]},
            "image_url": row[25] and MEDIA + row[25],
            "fitment_summary": row[27],
            "emissions_class": row[26] or None,
        },
        "vehicle": row[2],
        "status": status,
        "amount_minor": row[4],
        "tax_minor": row[5],
        "currency": row[6],
        "refunded_minor": row[7],
        "license": row[12] and {"state": row[12], "vehicle": row[13], "reserved_until": row[14]},
        "payment": None,
        "created_at": row[9],
        "updated_at": row[10],
        "paid_at": paid_at,
        "expires_at": None,
        "refundable_until": paid_at + REFUND_WINDOW if refundable else None,
    }


# The garage

VEHICLES = """
SELECT v.id, v.kind, v.nickname, v.make, v.model, v.catalog_model_id, v.year, v.market, v.vin, v.odometer_km, v.is_primary, v.fuel_octane,
       v.fuel_scale, v.stock_calibration_id, v.installed_tune_id, e.hardware_number, e.calibration_id, e.image_size_bytes, e.read_at,
       EXISTS (SELECT 1 FROM garage_stockfile s WHERE s.vehicle_id = v.id), v.revision, v.created_at, v.updated_at,
       (SELECT jsonb_agg(jsonb_build_object('id', o.id, 'category', o.category, 'brand', o.brand, 'part', o.part, 'installed_on', o.installed_on,
                                            'notes', o.notes, 'revision', o.revision, 'created_at', o.created_at, 'updated_at', o.updated_at)
                         ORDER BY o.created_at, o.id) FROM garage_vehiclemod o WHERE o.vehicle_id = v.id)
  FROM garage_vehicle v LEFT JOIN garage_ecureadout e ON e.id = v.ecu_id
 WHERE v.owner_id = %s AND v.deleted_at IS NULL ORDER BY v.created_at DESC, v.id DESC LIMIT 21
"""


def list_vehicles(environ):
    user, _, _ = authenticate(environ)
    until = fetch(UNTIL, ())[0][0]
    rows = fetch(VEHICLES, (user,))
    results = [vehicle_of(row) for row in rows[:PAGE]]
    return {**page_of(environ, rows, results, results[-1]["created_at"], results[-1]["id"]), "synced_until": until}


def vehicle_of(row):
    return {
        "id": row[0],
        "kind": row[1],
        "nickname": row[2],
        "make": row[3],
        "model": row[4],
        "catalog_status": "MATCHED" if row[5] else "UNLISTED",
        "year": row[6],
        "market": row[7],
        "vin": row[8] and CIPHER.decrypt(bytes(row[8])).decode(),
        "frame_number": None,
        "photo_url": None,
        "odometer_km": row[9],
        "is_primary": row[10],
        "fuel": {"octane": row[11], "scale": row[12]} if row[11] else None,
        "ecu": row[15]
        and {
            "hardware_number": row[15],
            "calibration_id": row[16],
            "stock_calibration_id": row[13],
            "serial": None,
            "image_size_bytes": row[17],
            "read_at": row[18],
            "installed": row[14],
        },
        "has_stock_file": row[19],
        "mods": row[23] or [],
        "vin_warnings": [],
        "revision": row[20],
        "created_at": row[21],
        "updated_at": row[22],
        "deleted_at": None,
    }


# Downloads

LIMIT = """
INSERT INTO core_limitcounter AS counter (name, key_hash, window_ends_at, count) VALUES ('grants_account', %s, now() + interval '1 hour', 1)
ON CONFLICT (name, key_hash) DO UPDATE
   SET count = CASE WHEN counter.window_ends_at <= now() THEN 1 ELSE counter.count + 1 END,
       window_ends_at = CASE WHEN counter.window_ends_at <= now() THEN excluded.window_ends_at ELSE counter.window_ends_at END
RETURNING count
"""
CLAIM = """
INSERT INTO core_idempotencyrecord AS record (id, actor_id, operation, key, fingerprint, lease_id, lease_expires_at, expires_at)
VALUES (%s, %s, 'create_download', %s, %s, %s, now() + interval '1 minute', now() + interval '1 day')
ON CONFLICT (actor_id, operation, key) DO UPDATE SET lease_id = excluded.lease_id, resource_id = NULL
 WHERE record.expires_at <= now() OR (record.resource_id IS NULL AND record.lease_expires_at <= now() AND record.fingerprint = excluded.fingerprint)
RETURNING id
"""
COMPLETE = "UPDATE core_idempotencyrecord SET resource_id = %s WHERE id = %s AND lease_id = %s AND resource_id IS NULL"
# As one function, whose plans each connection keeps: planning alone would cost several times the execution.
FUNCTION = """
CREATE FUNCTION pg_temp.grant_facts(
  asked_purchase uuid, asked_buyer uuid, asked_vehicle uuid, stated_app_version text,
  OUT purchase_status text, OUT license uuid, OUT license_state text, OUT vin bytea, OUT vin_hash bytea, OUT readout uuid,
  OUT hardware text, OUT calibration text, OUT image_size int, OUT has_stock bool, OUT consents bool, OUT unreported bigint,
  OUT status_version bigint, OUT blocked bool, OUT version uuid, OUT read_back text, OUT file uuid, OUT file_name text, OUT format text,
  OUT size_bytes int, OUT sha256 text, OUT storage_key text, OUT release jsonb, OUT release_hash text
) LANGUAGE plpgsql STABLE AS $$
DECLARE
  bought uuid; its_model uuid; its_year int; its_market text; parts text[];
BEGIN
  SELECT p.status, p.tune_id, l.id, l.state, c.vin, c.vin_hash, e.id, e.hardware_number, e.calibration_id, e.image_size_bytes,
         c.catalog_model_id, c.year, c.market,
         EXISTS (SELECT 1 FROM garage_stockfile s WHERE s.vehicle_id = c.id),
         EXISTS (SELECT 1 FROM garage_noreadbackconsent n
                  WHERE n.vehicle_id = c.id AND n.given_by_id = c.owner_id AND n.hardware_number = e.hardware_number),
         coalesce((SELECT array_agg(o.category || ' ' || o.part) FROM garage_vehiclemod o WHERE o.vehicle_id = c.id), '{}'),
         (SELECT count(*) FROM marketplace_flashticket k WHERE k.license_id = l.id AND k.expired_unreported_at > now() - interval '1 year'),
         (SELECT max(d.version) FROM marketplace_statusdocument d),
         EXISTS (SELECT 1 FROM marketplace_appversionblock a WHERE a.app_version = stated_app_version)
    INTO purchase_status, bought, license, license_state, vin, vin_hash, readout, hardware, calibration, image_size,
         its_model, its_year, its_market, has_stock, consents, parts, unreported, status_version, blocked
    FROM marketplace_purchase p JOIN marketplace_license l ON l.purchase_id = p.id
    JOIN garage_vehicle c ON c.id = asked_vehicle AND c.owner_id = p.buyer_id AND c.deleted_at IS NULL
    JOIN garage_ecureadout e ON e.id = c.ecu_id
   WHERE p.id = asked_purchase AND p.buyer_id = asked_buyer;
  SELECT v.id, v.requirements ->> 'read_back', i.id, i.name, i.format, i.size_bytes, i.sha256, i.storage_key, r.envelope, r.payload_sha256
    INTO version, read_back, file, file_name, format, size_bytes, sha256, storage_key, release, release_hash
    FROM marketplace_fitment f
    JOIN marketplace_tuneversion v ON v.id = f.version_id
    JOIN marketplace_tunefile i ON i.id = f.file_id
    JOIN marketplace_release r ON r.file_id = i.id AND r.channel = 'public' AND r.superseded_at IS NULL
   WHERE f.tune_id = bought AND v.status IN ('PUBLISHED', 'WITHDRAWN') AND f.model_id = its_model
     AND its_year BETWEEN f.year_from AND f.year_to AND its_market = ANY(f.markets) AND hardware = ANY(f.hardware_numbers)
     AND calibration = ANY(f.calibration_ids) AND f.image_size_bytes = image_size
     AND v.required_part_keys <@ parts::varchar[] AND NOT v.forbidden_part_keys && parts::varchar[]
   ORDER BY v.status, v.version_order DESC, i.position LIMIT 1;
END $$
"""
FACTS = "SELECT * FROM pg_temp.grant_facts(%s, %s, %s, %s)"
LOCK = """
SELECT p.status, v.status FROM users_user u, marketplace_purchase p, marketplace_tuneversion v, garage_vehicle b
 WHERE u.id = p.buyer_id AND p.id = %s AND v.id = %s AND b.id = %s AND b.owner_id = p.buyer_id AND b.deleted_at IS NULL
   FOR KEY SHARE OF u FOR SHARE OF p, v, b
"""
DOWNLOAD = """
download AS (
  INSERT INTO marketplace_download (id, purchase_id, buyer_id, kind, outcome, code, vehicle_id, version_id, file_id, ticket_blockers, device_key,
                                    app_version, session_id, created_at)
  SELECT %(download)s, %(purchase)s, %(buyer)s, 'GRANT', 'GRANTED', '', %(vehicle)s, %(version)s, %(file)s, %(blockers)s, '', %(app_version)s,
         %(session)s, %(at)s FROM license RETURNING id),
first AS (
  INSERT INTO marketplace_grantedpurchase (purchase_id, granted_at) SELECT %(purchase)s, %(at)s FROM download ON CONFLICT DO NOTHING RETURNING 1),
audit AS (
  INSERT INTO core_auditevent (id, at, act, actor_id, subject_id, session_id, reason, facts)
  SELECT %(audit)s, %(at)s, 'download.granted', %(buyer)s, %(download)s, %(session)s, '', %(facts)s FROM download)
"""
WITHOUT_TICKET = f"""
WITH license AS (SELECT id FROM marketplace_license WHERE id = %(license)s AND state = %(license_state)s), {DOWNLOAD}
SELECT (SELECT count(*) FROM download)
"""
WITH_TICKET = f"""
WITH license AS (
  UPDATE marketplace_license SET state = 'RESERVED', vehicle_id = %(vehicle)s, vehicle_identity_hashes = %(hashes)s::varchar[], reserved_until = %(until)s
   WHERE id = %(license)s AND (state = 'UNBOUND' OR state = 'RESERVED' AND (vehicle_id = %(vehicle)s OR reserved_until <= %(at)s)) RETURNING id),
{DOWNLOAD},
ticket AS (
  INSERT INTO marketplace_flashticket (id, grant_id, purchase_id, license_id, holder_id, vehicle_id, readout_id, version_id, file_id, channel,
                                       device_key, status_version_min, payload_sha256, keyid, reserves, issued_at, expires_at)
  SELECT %(ticket)s, %(download)s, %(purchase)s, %(license)s, %(buyer)s, %(vehicle)s, %(readout)s, %(version)s, %(file)s, 'public', '', %(status)s,
         %(sha256)s, %(keyid)s, true, %(at)s, %(until)s FROM download)
SELECT (SELECT count(*) FROM download)
"""
TICKET_TYPE = "application/vnd.revsync.flash-ticket.v1+json"


class Store:
    """The S3 client and the ticket's key, made once, on first use: the keys may be made after this process started."""

    def __init__(self):
        config = Config(signature_version="s3v4", s3={"addressing_style": "path"})
        self.client = boto3.client(
            "s3",
            endpoint_url=os.environ["S3_PUBLIC_ENDPOINT_URL"],
            region_name=os.environ["S3_REGION"],
            aws_access_key_id=os.environ["S3_ACCESS_KEY_ID"],
            aws_secret_access_key=os.environ["S3_SECRET_ACCESS_KEY"],
            config=config,
        )
        root = json.loads((SIGNING_KEYS / "roots" / "1.json").read_bytes())
        self.keyid = json.loads(base64.b64decode(root["payload"]))["roles"]["ticket"]["keyids"][0]
        self.key = serialization.load_pem_private_key((SIGNING_KEYS / "keys" / f"{self.keyid}.pem").read_bytes(), password=None)

    def link(self, key, name):
        return self.client.generate_presigned_url(
            "get_object",
            Params={
                "Bucket": BUCKET,
                "Key": key,
                "ResponseContentDisposition": f'attachment; filename="{name}"',
                "ResponseContentType": "application/octet-stream",
            },
            ExpiresIn=60,
        )

    def sign(self, payload):
        data = json.dumps(payload, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
        signature = self.key.sign(b"DSSEv1 %d %s %d %s" % (len(TICKET_TYPE), TICKET_TYPE.encode(), len(data), data))
        return hashlib.sha256(data).hexdigest(), {
            "payloadType": TICKET_TYPE,
            "payload": base64.b64encode(data).decode(),
            "signatures": [{"keyid": self.keyid, "sig": base64.b64encode(signature).decode()}],
        }


_store = None
_store_lock = threading.Lock()


def store():
    global _store
    with _store_lock:
        if _store is None:
            _store = Store()
    return _store


def keyed_hash(purpose, value):
    return hmac.digest(HASH_KEY, f"{purpose}\0{value}".encode(), hashlib.sha256)


def create_download(environ, purchase):
    user, session, app_version = authenticate(environ)
    if fetch(LIMIT, (keyed_hash("limit:grants_account", f"u{user}"),))[0][0] > GRANTS_AN_HOUR:
        raise Refused("429 Too Many Requests")
    raw = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    vehicle = str(uuid.UUID(orjson.loads(raw)["vehicle"]))
    record, lease = new_id(), new_id()
    fingerprint = hashlib.sha256(environ["PATH_INFO"].encode() + raw).digest()
    if not fetch(CLAIM, (record, user, environ["HTTP_IDEMPOTENCY_KEY"], fingerprint, lease)):
        raise Refused("409 Conflict")
    (status, license_id, license_state, vin, vin_hash, readout, hardware, calibration, size, has_stock, consents, unreported,
     status_version, blocked, version, read_back, file, name, format_, size_bytes, sha256, storage_key, release, release_hash,
    ) = fetch(FACTS, (purchase, user, vehicle, app_version))[0]  # fmt: skip
    if status is None:
        raise Refused("404 Not Found")
    if status != "PAID" or license_state not in ("UNBOUND", "RESERVED") or blocked or file is None:
        raise Refused("403 Forbidden")
    at = datetime.now(UTC)
    blockers = [] if has_stock or (consents and read_back != "YES") else ["stock_backup_required"]
    if unreported >= 2:
        blockers.append("unreported_tickets")
    download, ticket_id = new_id(), new_id()
    values = {
        "download": download, "purchase": purchase, "buyer": user, "vehicle": vehicle, "version": version, "file": file, "license": license_id,
        "license_state": license_state, "blockers": orjson.dumps(blockers).decode(), "app_version": app_version, "session": session, "at": at,
        "audit": new_id(),
        "facts": orjson.dumps({"purchase_id": purchase, "version_id": version, "ticket_id": None if blockers else ticket_id}).decode(),
    }  # fmt: skip
    ticket = None
    if not blockers:
        until = at + timedelta(hours=72)
        identity = CIPHER.decrypt(bytes(vin)).decode()
        salt = keyed_hash("ticket_salt", ticket_id).hex()[:32]
        payload_hash, ticket = store().sign(
            {
                "_type": "flash-ticket", "schema": "1.0.0", "env": "dev", "issued_at": stamp(at), "expires_at": stamp(until),
                "ticket_id": ticket_id, "purchase_id": purchase, "buyer": keyed_hash("document_pseudonym", user).hex()[:32],
                "vehicle_id": vehicle, "channel": "public",
                "identity": {"kind": "VIN", "salt": salt, "tag": hashlib.sha256((salt + identity).encode()).hexdigest()},
                "ecu": {"hardware_number": hardware, "calibration_id": calibration, "image_size_bytes": size},
                "release_payload_sha256": release_hash, "file_sha256": sha256, "file_size_bytes": size_bytes, "device_key": None,
                "status_version_min": status_version,
            }
        )  # fmt: skip
        values |= {"ticket": ticket_id, "readout": readout, "status": status_version, "sha256": payload_hash, "keyid": store().keyid, "until": until}
        values["hashes"] = [bytes(vin_hash).hex()]
    with cursor() as db:
        db.execute("BEGIN")
        try:
            db.execute(LOCK, (purchase, version, vehicle))
            states = db.fetchone()
            if states[0] != "PAID" or states[1] not in ("PUBLISHED", "WITHDRAWN"):
                raise Refused("409 Conflict")
            db.execute(WITH_TICKET if ticket else WITHOUT_TICKET, values)
            if not db.fetchone()[0]:
                raise Refused("409 Conflict")
            db.execute(COMPLETE, (download, record, lease))
            if db.rowcount != 1:
                raise Refused("409 Conflict")
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise
    payload = orjson.loads(base64.b64decode(release["payload"]))
    return {
        "id": download,
        "version": version,
        "file": {
            "id": file, "name": name, "format": format_, "size_bytes": size_bytes, "sha256": sha256,
            "calibration_id_after": payload["calibration_id_after"], "fitments": payload["fitments"],
        },
        "url": store().link(storage_key, name),
        "url_expires_at": at + timedelta(seconds=60),
        "size_bytes": size_bytes,
        "sha256": sha256,
        "release": release,
        "ticket": ticket,
        "ticket_blockers": blockers,
    }  # fmt: skip


def new_id():
    return str(uuid_utils.uuid7())


def stamp(at):
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def application(environ, start_response):
    """The whole program."""
    path = environ["PATH_INFO"]
    parts = path.split("/")
    status = "200 OK"
    try:
        match (environ["REQUEST_METHOD"], parts[3:-1]):
            case ("GET", ["marketplace", "tunes"]):
                body = list_tunes(environ)
            case ("GET", ["marketplace", "tunes", "facets"]):
                body = get_facets(environ)
            case ("GET", ["marketplace", "tunes", "suggest"]):
                body = suggest(environ)
            case ("GET", ["tuners"]):
                body = list_tuners(environ)
            case ("GET", ["garage", "vehicles"]):
                body = list_vehicles(environ)
            case ("GET", ["marketplace", "tunes", tune_id]):
                body = get_tune(environ, tune_id)
            case ("GET", ["marketplace", "purchases"]):
                body = list_purchases(environ)
            case ("POST", ["marketplace", "purchases", purchase, "downloads"]):
                body, status = create_download(environ, purchase), "201 Created"
            case _:
                status, body = ("200 OK", {}) if urlsplit(path).path == "/livez" else ("404 Not Found", {})
    except Refused as refusal:
        status, body = str(refusal), {}
    data = orjson.dumps(body, option=OPTIONS)
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(data)))])
    return [data]
