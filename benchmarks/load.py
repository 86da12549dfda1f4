"""Data for a benchmark, set by set: tunes by the thousand in a few statements, and a few hundred riders who buy and flash.

Every row follows from its number, so 100,000 tunes are the first 10,000 and 90,000 more, and the same requests can be
sent to both. Tunes crowd on few models, as in life: the commonest holds about a sixth of them. Foreign keys and triggers
are off while rows go in (the database is ours alone), every other constraint is checked; lists and search rows are then
derived by the project's own function. Of the releases only those that the riders download carry a real signature.

A million tunes take minutes because each core has a connection of its own, because what is only read later (indexes of the
lists and of the search) is made when all rows are there, and because nothing waits for the disk before the end.
"""

import contextlib
import os
import queue
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg2.extras

PURCHASES = 30
OBJECTS = 8  # distinct images in storage
IMAGE_BYTES = 65_536
CHUNK = 10_000
REFRESH_CHUNK = 2_000

FUNCTIONS = """
CREATE FUNCTION pg_temp.bench_id(kind int, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex(1700000000000 + n * 500), 12, '0') || '7' || lpad(to_hex(kind), 3, '0') || '8'
            || substr(md5(kind || ':' || n), 1, 15))::uuid
$$;
CREATE FUNCTION pg_temp.bench_unit(n bigint, salt text) RETURNS double precision LANGUAGE sql IMMUTABLE AS $$
    SELECT ('x' || substr(md5(salt || n), 1, 8))::bit(32)::bigint / 4294967296.0
$$;
CREATE FUNCTION pg_temp.bench_pick(n bigint, salt text, many bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT floor(pg_temp.bench_unit(n, salt) * many)::bigint
$$;
CREATE FUNCTION pg_temp.bench_number(n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT 'RS-' || string_agg(substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', ((n >> (5 * place)) & 31)::int + 1, 1), '' ORDER BY place DESC)
      FROM generate_series(0, 5) AS place
$$;
"""

# Models by how many tunes they get: each make's best ones first.
MODELS = """
CREATE TEMP TABLE bench_model AS
SELECT row_number() OVER (ORDER BY place * make_rank, make_rank)::int AS rank, * FROM (
    SELECT row_number() OVER (PARTITION BY make.id ORDER BY model.rank) AS place, make.rank AS make_rank, make.id AS make_id,
           model.id AS model_id, make.name AS make_name, model.name AS model_name, model.kind,
           greatest(model.year_from, 1990) AS year_from, greatest(coalesce(model.year_to, 2026), 1990) AS year_to
      FROM garage_vehiclemodel model JOIN garage_vehiclemake make ON make.id = model.make_id
     WHERE coalesce(model.year_to, 2026) >= 1990
) AS models;
CREATE UNIQUE INDEX ON bench_model (rank);
CREATE UNIQUE INDEX ON bench_model (make_id, place);
ANALYZE bench_model;
"""

PEOPLE = """
INSERT INTO users_user (password, is_superuser, is_staff, is_active, id, email, display_name, role, blocked_reason, session_epoch,
                        terms_version, terms_accepted_at, revision, created_at, updated_at)
SELECT '!', n = 0, n = 0, true, pg_temp.bench_id(1, n), 'person' || n || '@example.com', 'Person ' || n,
       CASE WHEN n = 0 THEN 'ADMIN' WHEN n < 2000000 THEN 'TUNER' ELSE 'RIDER' END, '', 0, '2026-11-01', %(at)s, 1, %(at)s, %(at)s
  FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n;
INSERT INTO users_userprofile (user_id, bio, location, country, experience_level, avatar_key, revision, updated_at)
SELECT pg_temp.bench_id(1, n), '', '', 'DE', '', '', 1, %(at)s FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n;
"""

TUNERS = """
INSERT INTO tuners_tunerprofile (id, kind, business_name, country, website, about, experience, specialities, makes, make_keys, name_key,
                                 search_text, verified, verified_at, status, suspension_reason, suspension_note, rating_sum, review_count,
                                 follower_count, fee_basis_points, hold_days, minimum_payout_minor, revision, created_at, updated_at, user_id)
SELECT pg_temp.bench_id(2, j), 'TUNER', 'Dyno House ' || j, 'DE', '', '', '', '{}', '{}', '{}', 'dyno house ' || j, 'dyno house ' || j,
       true, %(at)s, 'ACTIVE', '', '', 4 * (j %% 90), j %% 90, j %% 500, 1500, 14, 5000, 1, %(at)s, %(at)s, pg_temp.bench_id(1, 1000000 + j)
  FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS j;
INSERT INTO tuners_tunerword (word, tuner_id)
SELECT word, id FROM tuners_tunerprofile, unnest(string_to_array(search_text, ' ')) AS word;
"""

TUNES = """
CREATE TEMP TABLE bench_tune ON COMMIT DROP AS
SELECT n, pg_temp.bench_id(4, n) AS id, 1 + pg_temp.bench_pick(n, 'tuner', 50 + n / 50) AS tuner, model.*,
       (ARRAY['STAGE_1','STAGE_1','STAGE_1','STAGE_2','STAGE_2','THROTTLE','ECONOMY','TRACK','QUICKSHIFTER','DRIVABILITY'])
           [1 + pg_temp.bench_pick(n, 'category', 10)] AS category,
       timestamptz '2024-06-01' + n * interval '9 minutes' AS published,
       1 + (n %% 5 = 0)::int AS versions, 1 + (n %% 4 = 0)::int AS files, 1 + (n %% 3 = 0)::int AS fitments
  FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
  JOIN bench_model model ON model.rank = floor(power((SELECT count(*) FROM bench_model), power(pg_temp.bench_unit(n, 'model'), 1.3)));

INSERT INTO marketplace_tune (id, status, title, description, kind, category, price_minor, currency, requirements, images, rating_sum,
                              rating_count, download_count, flash_count, flash_success_count, popularity, release_counter, revision,
                              created_at, updated_at, published_at, suspended_from, suspension_reason, suspension_note, listed,
                              emissions_class, fuel_scale, fitment_summary, calibration_ids_after, tuner_id)
SELECT id, 'PUBLISHED', make_name || ' ' || model_name || ' ' || initcap(replace(category, '_', ' ')) || ' '
           || (ARRAY['street', 'road', 'daily', 'touring', 'circuit', 'clubman', 'winter', 'summit'])[1 + pg_temp.bench_pick(n, 'title', 8)],
       'Smoother throttle and a fuller middle for the ' || model_name || '. Measured before and after on the same dyno on the same day, with '
           || 'pump fuel and stock intake. Cold start, idle and closed-loop fuelling stay as the maker set them; the limiter moves by '
           || (n %% 9) * 100 || ' rpm.',
       kind, category, (ARRAY[0, 9900, 14900, 19900, 24900, 39900])[1 + pg_temp.bench_pick(n, 'price', 6)],
       CASE WHEN n %% 4 = 0 THEN 'USD' ELSE 'EUR' END, %(requirements)s::jsonb,
       CASE WHEN n %% 3 = 0 THEN '[]'::jsonb ELSE jsonb_build_array(jsonb_build_object(
           'key', 'tune-images/' || id || '.webp', 'width', 1600, 'height', 900, 'upload_id', id)) END,
       4 * (n %% 40), n %% 40, n %% 700, n %% 300, n %% 300 * 9 / 10, pg_temp.bench_pick(n, 'popular', 100000), versions, 1,
       published, published, published, '', '', '', false, '', '', '{}', '{}', pg_temp.bench_id(2, tuner)
  FROM bench_tune;

INSERT INTO marketplace_tuneversion (id, version, status, changelog, change_summary, emissions_class, certification_number, blocked_regions, tags,
                                     requirements, required_part_keys, forbidden_part_keys, inspection_verdict, inspection_findings, inspected_at,
                                     submitted_at, decided_at, review_reason, review_note, approved_sha256, release_counter, published_at,
                                     revision, created_at, updated_at, reviewer_id, tune_id)
SELECT pg_temp.bench_id(5, n * 10 + k), '1.' || k || '.0', 'PUBLISHED', 'First release.', '', 'CLOSED_COURSE_ONLY', '', '{}', '{POWER,THROTTLE_RESPONSE}',
       %(requirements)s::jsonb, '{}', '{}', 'pass', '[]', published, published, published, '', '', '{}', k, published + k * interval '1 minute',
       1, published, published, pg_temp.bench_id(1, 0), id
  FROM bench_tune CROSS JOIN LATERAL generate_series(1, versions) AS k;

INSERT INTO marketplace_tunefile (id, position, upload_id, name, size_bytes, sha256, format, image_base, image_size_bytes, image_sha256,
                                  storage_key, calibration_id_after, detected, inspection_findings, created_at, version_id)
SELECT pg_temp.bench_id(6, n * 100 + k * 10 + slot), slot, NULL, 'tune-' || n || '.bin', %(size)s, sha256, 'BIN', 0, %(size)s, sha256,
       'tunes/' || left(sha256, 2) || '/' || sha256, 'RSC-' || rank || '-T' || k, '{}', '[]', published, pg_temp.bench_id(5, n * 10 + k)
  FROM bench_tune CROSS JOIN LATERAL generate_series(1, versions) AS k CROSS JOIN LATERAL generate_series(0, files - 1) AS slot
 CROSS JOIN LATERAL (SELECT (%(hashes)s::text[])[1 + (n + slot) %% %(objects)s] AS sha256) AS image;

INSERT INTO marketplace_fitment (id, position, make_name, model_name, year_from, year_to, markets, hardware_numbers, calibration_ids,
                                 image_size_bytes, live, make_id, model_id, tune_id, file_id, version_id)
SELECT pg_temp.bench_id(7, n * 1000 + k * 100 + slot * 10 + part), part, t.make_name, other.model_name, years.low,
       least(years.low + 1 + pg_temp.bench_pick(n, 'span', 6), greatest(other.year_to, years.low)),
       CASE slot WHEN 0 THEN '{EU,UK}'::varchar[] ELSE '{US}' END, ARRAY['RSH-' || other.rank || '-' || slot],
       ARRAY['RSC-' || other.rank || '-' || slot, 'RSC-' || other.rank || '-X'], %(size)s, true, t.make_id, other.model_id, t.id,
       pg_temp.bench_id(6, n * 100 + k * 10 + slot), pg_temp.bench_id(5, n * 10 + k)
  FROM bench_tune t CROSS JOIN LATERAL generate_series(1, versions) AS k CROSS JOIN LATERAL generate_series(0, files - 1) AS slot
 CROSS JOIN LATERAL generate_series(0, fitments - 1) AS part
 CROSS JOIN LATERAL (
    SELECT m.* FROM bench_model m WHERE m.make_id = t.make_id AND m.place >= t.place - part ORDER BY m.place LIMIT 1
 ) AS other
 CROSS JOIN LATERAL (SELECT other.year_from + pg_temp.bench_pick(n, 'from', other.year_to - other.year_from + 1) AS low) AS years;

INSERT INTO marketplace_release (id, channel, release_counter, payload_sha256, keyid, envelope, issued_at, file_id, version_id)
SELECT pg_temp.bench_id(14, n * 100 + k * 10 + slot), 'public', k, encode(sha256(id::text::bytea), 'hex'), %(keyid)s,
       jsonb_build_object('payloadType', 'application/vnd.revsync.tune-release.v1+json', 'payload', encode(repeat(id::text, 20)::bytea, 'base64'),
                          'signatures', jsonb_build_array(jsonb_build_object('keyid', %(keyid)s, 'sig', encode(repeat(md5(id::text), 2)::bytea, 'base64')))),
       published, pg_temp.bench_id(6, n * 100 + k * 10 + slot), pg_temp.bench_id(5, n * 10 + k)
  FROM bench_tune CROSS JOIN LATERAL generate_series(1, versions) AS k CROSS JOIN LATERAL generate_series(0, files - 1) AS slot;
"""

REFRESH = """
SELECT marketplace_refresh_tunes(ARRAY(SELECT pg_temp.bench_id(4, n) FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n))
"""

# What lists and searches are read by is made after the rows: one by one the entries would take most of the time. What
# leads with a tune or a version stays, because rows are derived by it.
POSTPONED = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid)
  FROM pg_index LEFT JOIN pg_attribute first ON first.attrelid = indrelid AND first.attnum = indkey[0]  -- of an expression: none
 WHERE NOT indisunique AND coalesce(first.attname, '') NOT IN ('tune_id', 'version_id')
   AND indrelid = ANY(%(tables)s::regclass[])
"""
LISTED = [f"marketplace_{name}" for name in ("tune", "tunefile", "fitment", "browserow", "searchrow", "searchword", "searchphrase")]
TABLES = """
SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY pg_relation_size(oid) DESC
"""
# Waiting for the disk at each commit would prove nothing about rows that can be made again.
CARELESS = "ALTER SYSTEM SET fsync = off; ALTER SYSTEM SET full_page_writes = off"
CAREFUL = "ALTER SYSTEM RESET fsync; ALTER SYSTEM RESET full_page_writes"

# One vehicle for each rider, of the model that the rider's first purchase is for.
VEHICLES = """
INSERT INTO garage_vehicle (id, kind, nickname, make, model, year, market, vin_warnings, is_primary, stock_calibration_id, revision,
                            created_at, updated_at, ecu_id, owner_id, catalog_model_id)
SELECT pg_temp.bench_id(8, r), m.kind, '', f.make_name, f.model_name, f.year_from, f.markets[1], '{}', true, f.calibration_ids[1], 1,
       %(at)s, %(at)s, pg_temp.bench_id(9, r), pg_temp.bench_id(1, 2000000 + r), f.model_id
  FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS r
  JOIN marketplace_fitment f ON f.id = pg_temp.bench_id(7, (1 + pg_temp.bench_pick(r * 100, 'bought', %(tunes)s)) * 1000 + 100)
  JOIN garage_vehiclemodel m ON m.id = f.model_id;
INSERT INTO garage_ecureadout (id, hardware_number, calibration_id, image_size_bytes, read_at, received_at, vehicle_id)
SELECT v.ecu_id, f.hardware_numbers[1], v.stock_calibration_id, %(size)s, %(at)s, %(at)s, v.id
  FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS r
  JOIN garage_vehicle v ON v.id = pg_temp.bench_id(8, r)
  JOIN marketplace_fitment f ON f.id = pg_temp.bench_id(7, (1 + pg_temp.bench_pick(r * 100, 'bought', %(tunes)s)) * 1000 + 100);
INSERT INTO garage_stockfile (id, upload_id, name, storage_key, format, sha256, size_bytes, image_base, image_sha256, image_size_bytes,
                              hardware_number, calibration_id, created_at, readout_id, vehicle_id)
SELECT pg_temp.bench_id(10, r), pg_temp.bench_id(10, r), 'stock.bin', 'stock/' || e.id, 'BIN', encode(sha256(e.id::text::bytea), 'hex'), %(size)s, 0,
       encode(sha256(e.id::text::bytea), 'hex'), %(size)s, e.hardware_number, e.calibration_id, %(at)s, e.id, e.vehicle_id
  FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS r
  JOIN garage_ecureadout e ON e.id = pg_temp.bench_id(9, r)
 WHERE r <= %(riders)s / 2 OR (r > %(riders)s AND r %% 2 = 0);
"""

PURCHASED = """
CREATE TEMP TABLE bench_purchase ON COMMIT DROP AS
SELECT r * 100 + k AS n, r, k, pg_temp.bench_id(11, r * 100 + k) AS id, pg_temp.bench_id(1, 2000000 + r) AS buyer, t.id AS tune_id, t.latest_version_id,
       t.tuner_id, t.title, t.price_minor, t.currency, p.business_name, c.id AS vehicle_id,
       t.published_at + (1 + pg_temp.bench_pick(r * 100 + k, 'after', 1000)) * interval '1 hour' AS at, pick.tune AS tune
  FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS r
 CROSS JOIN LATERAL generate_series(0, %(each)s::bigint - 1) AS k
 CROSS JOIN LATERAL (SELECT 1 + pg_temp.bench_pick(r * 100 + k, 'bought', %(tunes)s) AS tune) AS pick
  JOIN marketplace_tune t ON t.id = pg_temp.bench_id(4, pick.tune)
  JOIN tuners_tunerprofile p ON p.id = t.tuner_id
  JOIN garage_vehicle c ON c.id = pg_temp.bench_id(8, r);

INSERT INTO marketplace_purchase (id, number, tune_version_id, tune_title, seller_name, vehicle_id, vehicle_identity_hashes, vehicle_name, status,
                                  disputed_from, amount_minor, currency, tax_minor, tax_rate_basis_points, tax_country, fee_basis_points, fee_minor,
                                  captured_minor, refunded_minor, fitment_verdict, acknowledged_reasons, attestation_text_version, attestation_sha256,
                                  attested_at, created_at, paid_at, updated_at, buyer_id, tune_id, tuner_id)
SELECT id, pg_temp.bench_number(n), latest_version_id, title, business_name, vehicle_id, '{}', '', 'PAID', '', price_minor, currency, 0, 0, '', 1500,
       price_minor * 15 / 100, price_minor, 0, 'match', '{}', '2026-11-01', repeat('0', 64), at, at, at, at, buyer, tune_id, tuner_id
  FROM bench_purchase;
INSERT INTO marketplace_license (id, state, vehicle_identity_hashes, suspended_from, created_at, updated_at, holder_id, tune_id, purchase_id)
SELECT pg_temp.bench_id(12, n), 'UNBOUND', '{}', '', at, at, buyer, tune_id, id FROM bench_purchase;
INSERT INTO marketplace_grantedpurchase (purchase_id, granted_at) SELECT id, at FROM bench_purchase;
INSERT INTO marketplace_download (id, kind, outcome, code, vehicle_id, ticket_blockers, device_key, app_version, created_at, buyer_id, file_id,
                                  purchase_id, version_id)
SELECT pg_temp.bench_id(13, n), 'GRANT', 'GRANTED', '', vehicle_id, '[]', '', '1.0.0', at, buyer, pg_temp.bench_id(6, tune * 100 + 10), id,
       pg_temp.bench_id(5, tune * 10 + 1)
  FROM bench_purchase;
"""

# What others said and marked: a quarter of the purchases of those who send no requests.
SOCIAL = """
INSERT INTO tuners_tunerreview (id, tuner_id, buyer_id, tune_id, tune_version_id, vehicle_model_id, vehicle_label, rating, text, state, hidden_reason,
                                reply, revision, created_at, updated_at)
SELECT pg_temp.bench_id(16, r * 100 + k), p.tuner_id, p.buyer_id, p.tune_id, p.tune_version_id, NULL, '', 3 + (r + k) %% 3, 'As described.',
       'PUBLISHED', '', '', 1, p.created_at, p.created_at
  FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS r CROSS JOIN generate_series(0, 1) AS k
  JOIN marketplace_purchase p ON p.id = pg_temp.bench_id(11, r * 100 + k)
    ON CONFLICT DO NOTHING;
INSERT INTO marketplace_favorite (id, user_id, tune_id, created_at)
SELECT pg_temp.bench_id(17, r * 100 + k), p.buyer_id, p.tune_id, p.created_at
  FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS r CROSS JOIN generate_series(2, 3) AS k
  JOIN marketplace_purchase p ON p.id = pg_temp.bench_id(11, r * 100 + k)
    ON CONFLICT DO NOTHING;
"""

# Those who send requests have two more vehicles each, and parts on the first. The third is of the commonest model and was read:
# no tune is for the calibration in it.
GARAGES = """
INSERT INTO garage_vehicle (id, kind, nickname, make, model, year, market, vin_warnings, is_primary, revision, created_at, updated_at, owner_id,
                            catalog_model_id, ecu_id)
SELECT pg_temp.bench_id(15, r * 10 + k), m.kind, '', m.make_name, m.model_name, m.year_to, 'EU', '{}', false, 1, %(at)s - k * interval '1 day',
       %(at)s, pg_temp.bench_id(1, 2000000 + r), m.model_id, CASE k WHEN 2 THEN pg_temp.bench_id(19, r) END
  FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS r CROSS JOIN generate_series(1, 2) AS k
  JOIN bench_model m ON m.rank = CASE k WHEN 2 THEN 1 ELSE 1 + (r * 7 + k) %% 100 END;
INSERT INTO garage_ecureadout (id, hardware_number, calibration_id, image_size_bytes, read_at, received_at, vehicle_id)
SELECT pg_temp.bench_id(19, r), 'RSH-1-0', 'RSC-1-NONE', %(size)s, %(at)s, %(at)s, pg_temp.bench_id(15, r * 10 + 2)
  FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS r;
INSERT INTO garage_vehiclemod (id, vehicle_id, category, brand, part, notes, revision, created_at, updated_at)
SELECT pg_temp.bench_id(18, r * 10 + k), pg_temp.bench_id(8, r), 'EXHAUST', 'Brand ' || k, 'Part ' || k, '', 1, %(at)s, %(at)s
  FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS r CROSS JOIN generate_series(1, 3) AS k;
"""

SESSIONS = """
INSERT INTO users_userdevice (id, installation_id, name, platform, app_version, push_token, generation, login_generation, signed_in_at, rotated_at,
                              current_used_at, expires_at, last_seen_at, stepped_up_with, revoked_reason, created_at, user_id)
SELECT pg_temp.bench_id(3, r), 'installation-' || r, 'Phone', 'android', '1.0.0', '', 1, 1, %(at)s, %(at)s, %(at)s, %(at)s + interval '30 days', %(at)s,
       '', '', %(at)s, pg_temp.bench_id(1, 2000000 + r)
  FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS r;
"""

# What is browsed: the commonest model and year pairs that fill a page at the smallest size already.
BROWSED = """
SELECT make.name, model.name, y.year FROM (
    SELECT b.scope_id, year, count(*) AS tunes, row_number() OVER (PARTITION BY b.scope_id ORDER BY count(*) DESC, year) AS place
      FROM marketplace_browserow b CROSS JOIN LATERAL unnest(b.years) AS year WHERE b.scope = 'MODEL' GROUP BY 1, 2
) AS y JOIN garage_vehiclemodel model ON model.id = y.scope_id JOIN garage_vehiclemake make ON make.id = model.make_id
 WHERE y.place <= 3 ORDER BY y.tunes DESC, 1, 2, 3 LIMIT 32
"""
RIDES = """
SELECT r, p.id, p.vehicle_id, d.id, p.buyer_id, pg_temp.bench_id(15, r * 10 + 2) FROM generate_series(1, %(riders)s::bigint) AS r
  JOIN marketplace_purchase p ON p.id = pg_temp.bench_id(11, r * 100) JOIN users_userdevice d ON d.id = pg_temp.bench_id(3, r) ORDER BY r
"""


@dataclass(frozen=True)
class Rider:
    """Who sends requests, with the purchase to download, the vehicle to flash, and one that no tune is for."""

    user_id: UUID
    session_id: UUID
    purchase_id: UUID
    vehicle_id: UUID
    odd_vehicle_id: UUID


class Loader:
    """Fills an empty, migrated database to a size."""

    functions = FUNCTIONS

    def __init__(self, connect: Callable[[], Any], *, tunes: int, first_size: int, riders: int, say: Callable[[str], None]) -> None:
        from core import clock

        self.connect, self.tunes, self.first_size, self.say = connect, tunes, min(first_size, tunes), say
        self.at = clock.now()
        self.active = riders  # who send requests: the first half can flash, the second half has no stock file
        self.tuners = 50 + tunes // 50
        self.riders = riders + tunes // 20
        self.connection = self._connection()

    def load(self) -> None:
        """Everything that the requests need; says how far it is."""
        began = time.monotonic()
        self._import()
        self._run(f"{CARELESS}; SELECT pg_reload_conf()")
        self._transaction(PEOPLE, first=0, last=0, at=self.at)
        self._transaction(PEOPLE, first=1_000_001, last=1_000_000 + self.tuners, at=self.at)
        self._transaction(TUNERS, first=1, last=self.tuners, at=self.at)
        postponed = self.rows(POSTPONED, tables=LISTED)
        for name, _ in postponed:
            self._run(f"DROP INDEX {name}")
        for last in self._spread(self._load_tunes, self.tunes):
            self.say(f"{last:,} tunes, {time.monotonic() - began:.0f} s")
        for name, definition in postponed:
            self._run(definition)
            self.say(f"index {name}, {time.monotonic() - began:.0f} s")
        self._load_riders(1, self.active, purchases=PURCHASES, tunes=self.first_size)
        self._transaction(GARAGES, first=1, last=self.active, at=self.at, size=IMAGE_BYTES)
        self._transaction(SESSIONS, first=1, last=self.active, at=self.at)
        self._identify_and_sign()
        for _ in self._spread(lambda connection, first, last: self._load_riders(first, last, connection=connection), self.riders, done=self.active):
            pass
        self.say(f"{self.riders:,} riders with their vehicles and purchases, {time.monotonic() - began:.0f} s")
        tables = [name for (name,) in self.rows(TABLES)]
        for _ in self._each(tables, lambda connection, name: _execute(connection, f"VACUUM (ANALYZE) {name}")):
            pass
        self._run(f"{CAREFUL}; SELECT pg_reload_conf()")
        self._run("CHECKPOINT")
        self.say(f"loaded in {time.monotonic() - began:.0f} s")

    def close(self) -> None:
        self.connection.close()

    def browsed(self) -> list[tuple[str, str, int]]:
        """Makes, models and years to browse for."""
        return self.rows(BROWSED)

    def models(self, count: int) -> list[tuple[str, str]]:
        """Names of makes and models, those with most tunes first."""
        return self.rows("SELECT make_name, model_name FROM bench_model ORDER BY rank LIMIT %(count)s", count=count)

    def hardware_numbers(self) -> list[str]:
        """Hardware numbers of models that neither everybody nor nobody has."""
        return [f"RSH-{rank}-0" for (rank,) in self.rows("SELECT rank FROM bench_model WHERE rank BETWEEN 20 AND 51 ORDER BY rank")]

    def rare_words(self) -> list[str]:
        """Numbers that are part of one tuner's name and of nothing longer."""
        largest = self.tuners - self.tuners // 20
        return [str(number) for number in range(largest - 8, largest)]

    def tune_ids(self, count: int) -> list[UUID]:
        """Tunes to read, spread over the smallest size."""
        return [row[0] for row in self.rows(
            "SELECT pg_temp.bench_id(4, 1 + pg_temp.bench_pick(n, 'detail', %(tunes)s)) FROM generate_series(1, %(count)s::bigint) AS n",
            tunes=self.first_size, count=count,
        )]  # fmt: skip

    def rides(self) -> list[Rider]:
        """Everybody who sends requests."""
        return [
            Rider(user_id=user, session_id=session, purchase_id=purchase, vehicle_id=vehicle, odd_vehicle_id=odd)
            for _, purchase, vehicle, session, user, odd in self.rows(RIDES, riders=self.active)
        ]

    def touch_sessions(self) -> None:
        """As if each session had just been seen: no request writes it then, as most don't."""
        from core import clock

        self._transaction("UPDATE users_userdevice SET last_seen_at = %(at)s, current_used_at = %(at)s", at=clock.now())

    def database_bytes(self) -> int:
        """What the database takes on disk."""
        return self.rows("SELECT pg_database_size(current_database())")[0][0]

    def _connection(self) -> Any:
        connection = self.connect()
        psycopg2.extras.register_uuid(conn_or_curs=connection)
        _execute(connection, "SET session_replication_role = replica; SET synchronous_commit = off; SET work_mem = '64MB'; SET jit = off")
        _execute(connection, FUNCTIONS + MODELS)
        return connection

    def _import(self) -> None:
        """Catalogue, images in storage, signing keys."""
        import hashlib
        import random

        from core import signing, storage
        from garage.services import import_catalogue
        from marketplace.services import status

        import_catalogue()
        _execute(self.connection, "DROP TABLE bench_model; " + MODELS)
        self.say("catalogue imported")
        images = [random.Random(number).randbytes(IMAGE_BYTES) for number in range(OBJECTS)]  # seeded
        self.hashes = [hashlib.sha256(image).hexdigest() for image in images]
        for sha256, image in zip(self.hashes, images, strict=True):
            storage.put_bytes(f"tunes/{sha256[:2]}/{sha256}", image, "application/octet-stream")
        self.keyid = signing.current_root().keyids_of(signing.Role.RELEASE)[0]
        status.get_status(at=self.at)

    def _load_tunes(self, connection: Any, first: int, last: int) -> None:
        self._transaction(TUNES, connection, first=first, last=last)
        if first == 1 or last >= self.tunes // 4 > first:  # enough for the plans of what derives from them
            _execute(connection, "ANALYZE marketplace_tune, marketplace_tuneversion, marketplace_tunefile, marketplace_fitment")
        for start in range(first, last + 1, REFRESH_CHUNK):
            self._transaction(REFRESH, connection, first=start, last=min(start + REFRESH_CHUNK - 1, last))

    def _load_riders(self, first: int, last: int, *, connection: Any = None, purchases: int = 8, tunes: int | None = None) -> None:
        span = {"first": first, "last": last}
        bought_of = tunes or self.tunes
        self._transaction(PEOPLE, connection, first=2_000_000 + first, last=2_000_000 + last, at=self.at)
        self._transaction(VEHICLES, connection, **span, at=self.at, tunes=bought_of, size=IMAGE_BYTES, riders=self.active)
        self._transaction(PURCHASED, connection, **span, each=purchases, tunes=bought_of)
        if first > self.active:
            self._transaction(SOCIAL, connection, **span)

    def _spread(self, act: Callable[[Any, int, int], None], until: int, *, done: int = 0) -> Iterator[int]:
        """`act` on chunks up to a number, on all cores; yields the end of each chunk once it is loaded."""
        chunks = [(first, min(first + CHUNK - 1, until)) for first in range(done + 1, until + 1, CHUNK)]
        if chunks:  # the first one alone: what it leaves is what the plans of the others are made for
            act(self.connection, *chunks[0])
            yield chunks[0][1]
        yield from (last for _, last in self._each(chunks[1:], lambda connection, chunk: act(connection, *chunk)))

    def _each(self, things: Iterable[Any], act: Callable[[Any, Any], None]) -> Iterator[Any]:
        """`act` on each thing, as many at once as there are cores, each with a connection; yields it when it is done."""
        idle: queue.SimpleQueue = queue.SimpleQueue()
        with contextlib.ExitStack() as stack:
            for _ in range(os.cpu_count() or 1):
                idle.put(stack.enter_context(contextlib.closing(self._connection())))

            def work(thing: Any) -> Any:
                connection = idle.get()
                try:
                    act(connection, thing)
                finally:
                    idle.put(connection)
                return thing

            with ThreadPoolExecutor(os.cpu_count()) as pool:
                yield from pool.map(work, things)

    def _identify_and_sign(self) -> None:
        """VINs for those who send requests, and real signatures under what they download."""
        from core import crypto
        from garage.models import Vehicle
        from marketplace.models import Purchase, Release, TuneVersion
        from marketplace.services.releases import prepare_release_documents, store_release_documents

        rides = self.rides()
        vehicles = list(Vehicle.objects.filter(pk__in=[ride.vehicle_id for ride in rides]).order_by("pk"))
        for number, vehicle in enumerate(vehicles):
            vehicle.vin = f"JYARN53E1MA{number:06d}"
            vehicle.vin_hash = crypto.keyed_hash("vin", vehicle.vin)
        Vehicle.objects.bulk_update(vehicles, ["vin", "vin_hash"])
        tunes = Purchase.objects.filter(pk__in=[ride.purchase_id for ride in rides]).values("tune_id")
        versions = list(TuneVersion.objects.filter(tune_id__in=tunes).select_related("tune"))
        Release.objects.filter(version__in=versions).delete()
        for version in versions:
            documents = prepare_release_documents(
                version=version, release_counter=version.release_counter, reviewer_id=version.reviewer_id, decided_at=version.decided_at, at=self.at
            )
            store_release_documents(version=version, documents=documents, at=self.at)
        self.say(f"{len(rides)} riders who send requests, {len(versions)} versions signed")

    def execute(self, sql: str, **values: Any) -> None:
        """Statements on the loader's connection, where foreign keys and triggers are off."""
        self._transaction(sql, **values)

    def _transaction(self, sql: str, connection: Any = None, **values: Any) -> None:
        values |= {"requirements": REQUIREMENTS, "objects": OBJECTS}
        if "bench_tune" in sql:
            values |= {"hashes": self.hashes, "size": IMAGE_BYTES, "keyid": self.keyid}
        _execute(connection or self.connection, f"BEGIN; {sql}; COMMIT", values)

    def _run(self, sql: str) -> None:
        for statement in sql.split("; "):  # one by one: some can't be part of a transaction
            _execute(self.connection, statement)

    def rows(self, sql: str, **values: Any) -> list[tuple]:
        """What a query finds, with the functions that make ids from numbers."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall()


def _execute(connection: Any, sql: str, values: Any = None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


REQUIREMENTS = (
    '{"fuel": null, "required_parts": [], "forbidden_parts": [], "flash_methods": ["OBD"], "read_back": "YES", "min_battery_mv": 12400}'
)
