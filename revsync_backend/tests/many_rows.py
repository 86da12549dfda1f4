"""A hundred thousand tunes for the tests of plans, in seconds: sets, with triggers and foreign keys off.

Ids follow from a kind and a number. A few models hold most tunes and one tuner and one rider have many rows, as in life:
a plan that is good for the rare value only would not be noticed otherwise. What the application's own function would
derive (lists, search rows) is written here in a shorter form: statistics and indexes are what counts.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from django.db import connection

TUNES, TUNERS, RIDERS, MODELS, MAKES = 100_000, 5_000, 15_000, 400, 40
TABLES = (
    *("users_user", "users_userprofile", "users_notice", "garage_vehiclemake", "garage_vehiclemodel", "garage_vehicle"),
    *("garage_ecureadout", "garage_stockfile", "tuners_tunerprofile", "tuners_tunerword", "tuners_tunerreview", "marketplace_tune"),
    *("marketplace_tuneversion", "marketplace_tunefile", "marketplace_fitment", "marketplace_browserow", "marketplace_searchrow"),
    *("marketplace_searchword", "marketplace_searchphrase", "marketplace_purchase", "marketplace_license", "marketplace_grantedpurchase"),
    *("marketplace_download", "marketplace_favorite", "marketplace_flash"),
)

FUNCTIONS = """
CREATE FUNCTION pg_temp.id(kind text, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex(n), 8, '0') || substr(md5(kind || n), 9))::uuid  -- rising, as real ones are
$$;
-- an even number from 0 to many - 1 that follows from n
CREATE FUNCTION pg_temp.pick(n bigint, salt int, many int) RETURNS int LANGUAGE sql IMMUTABLE AS $$
    SELECT ((hashint8extended(n, salt) & 1073741823) % many)::int
$$;
CREATE FUNCTION pg_temp.letters(n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT translate(left(md5('word' || n), 8), '0123456789', 'ghijklmnop')
$$;
"""

ROWS = f"""
INSERT INTO users_user (password, is_superuser, is_staff, is_active, id, email, display_name, role, blocked_reason, session_epoch,
                        terms_version, terms_accepted_at, revision, created_at, updated_at)
SELECT '!', false, false, true, pg_temp.id('user', n), 'row' || n || '@example.com', 'Person ' || n,
       CASE WHEN n <= {TUNERS} THEN 'TUNER' ELSE 'RIDER' END, '', 0, '2026-11-01', now(), 1, now(), now()
  FROM generate_series(1, {TUNERS} + {RIDERS}) AS n;
INSERT INTO users_userprofile (user_id, bio, location, country, experience_level, avatar_key, revision, updated_at)
SELECT id, '', '', 'DE', '', '', 1, now() FROM users_user;

INSERT INTO garage_vehiclemake (id, name, folded, rank)
SELECT pg_temp.id('make', n), 'Make' || n, 'make' || n, n FROM generate_series(1, {MAKES}) AS n;
INSERT INTO garage_vehiclemodel (id, make_id, kind, name, folded, year_from, year_to, rank, source, source_note)
SELECT pg_temp.id('model', n), pg_temp.id('make', 1 + n % {MAKES}), 'MOTORCYCLE', 'Model ' || n, 'model' || n, 2000, 2026, n, 'ADDED', ''
  FROM generate_series(1, {MODELS}) AS n;

INSERT INTO tuners_tunerprofile (id, kind, business_name, country, website, about, experience, specialities, makes, make_keys, name_key,
                                 search_text, verified, verified_at, status, suspension_reason, suspension_note, rating_sum, review_count,
                                 follower_count, fee_basis_points, hold_days, minimum_payout_minor, revision, created_at, updated_at, user_id)
SELECT pg_temp.id('tuner', n), 'TUNER', initcap(name), CASE WHEN n % 600 = 0 THEN 'KZ' ELSE 'DE' END, '', '', '', ARRAY[(ARRAY['STREET', 'TRACK'])[1 + n % 2]], '{{}}',
       ARRAY['make' || 1 + n % {MAKES}], name, name, true, now(), 'ACTIVE', '', '',
       CASE WHEN n % 700 = 0 THEN 5 ELSE 4 END * (n % 90), n % 90, n % 500, 1500, 14, 5000, 1, timestamptz '2024-01-01' + n * interval '1 hour', now(), pg_temp.id('user', n)
  FROM generate_series(1, {TUNERS}) AS n
 CROSS JOIN LATERAL (SELECT concat_ws(' ', 'house', pg_temp.letters(n), CASE WHEN n % 2 = 0 THEN 'tuning' ELSE 'racing' END) AS name) AS named;
INSERT INTO tuners_tunerword (word, tuner_id) SELECT word, id FROM tuners_tunerprofile, unnest(string_to_array(search_text, ' ') || make_keys) AS word;

CREATE TEMP TABLE one ON COMMIT DROP AS
SELECT n, pg_temp.id('tune', n) AS id, pg_temp.id('version', n) AS version_id, pg_temp.id('file', n) AS file_id,
       CASE WHEN n % 50 = 0 THEN 1 ELSE 1 + pg_temp.pick(n, 1, {TUNERS}) END AS tuner,
       floor(power({MODELS}::float, (n % 997) / 997.0::float))::int AS model,
       timestamptz '2024-06-01' + n * interval '9 minutes' AS at,
       (ARRAY['STAGE_1', 'STAGE_1', 'STAGE_2', 'THROTTLE', 'ECONOMY', 'TRACK'])[1 + pg_temp.pick(n, 2, 6)] AS category,
       (ARRAY[0, 9900, 14900, 24900])[1 + pg_temp.pick(n, 3, 4)] AS price, pg_temp.pick(n, 4, 100000) AS popularity,
       2000 + pg_temp.pick(n, 5, 20) AS year
  FROM generate_series(1, {TUNES}) AS n;
ANALYZE one;

INSERT INTO marketplace_tune (id, status, title, description, kind, category, price_minor, currency, requirements, images, rating_sum,
                              rating_count, download_count, flash_count, flash_success_count, popularity, release_counter, revision,
                              created_at, updated_at, published_at, suspended_from, suspension_reason, suspension_note, listed,
                              emissions_class, fuel_scale, fitment_summary, calibration_ids_after, tuner_id, latest_version_id)
SELECT id, 'PUBLISHED', 'Model ' || model || ' ' || pg_temp.letters(n % 30000), '', 'MOTORCYCLE', category, price, 'EUR', '{{}}', '[]',
       4 * (n % 40), n % 40, 0, 0, 0, popularity, 1, 1, at, at, at, '', '', '', true, 'CLOSED_COURSE_ONLY', '', '{{}}', '{{}}',
       pg_temp.id('tuner', tuner), version_id
  FROM one;
INSERT INTO marketplace_tuneversion (id, version, status, changelog, change_summary, emissions_class, certification_number, blocked_regions, tags,
                                     requirements, required_part_keys, forbidden_part_keys, inspection_verdict, inspection_findings, inspected_at,
                                     submitted_at, decided_at, review_reason, review_note, approved_sha256, release_counter, published_at,
                                     revision, created_at, updated_at, reviewer_id, tune_id)
SELECT version_id, '1.0.0', 'PUBLISHED', '', '', 'CLOSED_COURSE_ONLY', '', '{{}}', '{{}}', '{{"read_back": "YES", "flash_methods": ["OBD"]}}',
       '{{}}', '{{}}', 'pass', '[]', at, at, at, '', '', '{{}}', 1, at, 1, at, at, pg_temp.id('user', 1), id
  FROM one;
INSERT INTO marketplace_tunefile (id, position, upload_id, name, size_bytes, sha256, format, image_base, image_size_bytes, image_sha256,
                                  storage_key, calibration_id_after, detected, inspection_findings, created_at, version_id)
SELECT file_id, 0, NULL, 'tune.bin', 65536, md5(id::text) || md5(file_id::text), 'BIN', NULL, NULL, '', '', '', '{{}}', '[]', at, version_id FROM one;
INSERT INTO marketplace_fitment (id, position, make_name, model_name, year_from, year_to, markets, hardware_numbers, calibration_ids,
                                 image_size_bytes, live, make_id, model_id, tune_id, file_id, version_id)
SELECT pg_temp.id('fitment', n), 0, 'Make' || 1 + model % {MAKES}, 'Model ' || model, year, year + 4, ARRAY[(ARRAY['EU', 'US'])[1 + n % 2]],
       ARRAY['RSH-' || model || '-' || n / 2 % 2], ARRAY['RSC-' || model || '-' || n / 4 % 2], 65536, true, pg_temp.id('make', 1 + model % {MAKES}),
       pg_temp.id('model', model), id, file_id, version_id
  FROM one;
INSERT INTO marketplace_browserow (scope_id, scope, tune_id, years, published_at, currency, price_minor, rating_milli, rating_score, popularity, kind,
                                   category, emissions_class, fuel_octane, fuel_scale, tuner_id)
SELECT scope.id, scope.name, t.id, ARRAY[year, year + 1, year + 2, year + 3, year + 4], t.published_at, t.currency, t.price_minor, t.rating_milli,
       t.rating_score, t.popularity, t.kind, t.category, t.emissions_class, t.fuel_octane, t.fuel_scale, t.tuner_id
  FROM one JOIN marketplace_tune t USING (id)
 CROSS JOIN LATERAL (VALUES ('MODEL', pg_temp.id('model', model)), ('MAKE', pg_temp.id('make', 1 + model % {MAKES})),
                            ('ECU', marketplace_ecu_scope('RSH-' || model || '-' || n / 2 % 2, pg_temp.id('model', model)))) AS scope (name, id);
INSERT INTO marketplace_searchrow (tune_id, document, popularity, marks)
SELECT t.id, setweight(to_tsvector('revsync_search', t.title || ' make' || 1 + model % {MAKES}), 'A')
             || setweight(to_tsvector('revsync_search', replace(t.category, '_', ' ')), 'B'), t.popularity,
       ARRAY['category:' || t.category, 'tuner:' || t.tuner_id, 'currency:' || t.currency,
             'scope:' || pg_temp.id('model', model), 'scope:' || pg_temp.id('make', 1 + model % {MAKES})]
  FROM one JOIN marketplace_tune t USING (id);
INSERT INTO marketplace_searchword (word)
SELECT DISTINCT pg_temp.letters(n) FROM generate_series(0, 29999) AS n UNION SELECT 'make' || n FROM generate_series(1, {MAKES}) AS n
UNION SELECT 'stage' UNION SELECT 'model';
INSERT INTO marketplace_searchphrase (kind, key, text)
SELECT 'TUNE', pg_temp.letters(n) || 'tune', 'Tune ' || pg_temp.letters(n) FROM generate_series(1, 30000) AS n
UNION SELECT 'MODEL', 'make' || 1 + n % {MAKES} || 'model' || n, 'Model ' || n FROM generate_series(1, {MODELS}) AS n
UNION SELECT 'MAKE', 'make' || n, 'Make' || n FROM generate_series(1, {MAKES}) AS n
UNION SELECT 'TUNER', 'house' || pg_temp.letters(n), 'House ' || pg_temp.letters(n) FROM generate_series(1, {TUNERS}) AS n;

INSERT INTO garage_vehicle (id, kind, nickname, make, model, year, market, vin_warnings, is_primary, stock_calibration_id, revision,
                            created_at, updated_at, ecu_id, owner_id, catalog_model_id)
SELECT pg_temp.id('vehicle', n), 'MOTORCYCLE', '', 'Make' || 1 + (1 + n % 20) % {MAKES}, 'Model ' || 1 + n % 20, 2010, 'EU', '{{}}', n = 1 OR n > 60, NULL, 1,
       now() - n * interval '1 day', now(), pg_temp.id('readout', n), pg_temp.id('user', {TUNERS} + CASE WHEN n <= 60 THEN 1 ELSE n END), pg_temp.id('model', 1 + n % 20)
  FROM generate_series(1, {RIDERS}) AS n;
INSERT INTO garage_ecureadout (id, hardware_number, calibration_id, image_size_bytes, read_at, received_at, vehicle_id)
SELECT pg_temp.id('readout', n), CASE n WHEN 20 THEN 'RSH-NONE' ELSE 'RSH-' || 1 + n % 20 || '-1' END,
       CASE n WHEN 40 THEN 'RSC-NONE' ELSE 'RSC-' || 1 + n % 20 || '-1' END, 65536, now() - n * interval '1 hour', now(), pg_temp.id('vehicle', CASE WHEN n <= 200 THEN 1 ELSE n END)
  FROM generate_series(1, {RIDERS}) AS n;
INSERT INTO garage_stockfile (id, upload_id, name, storage_key, format, sha256, size_bytes, image_base, image_sha256, image_size_bytes,
                              hardware_number, calibration_id, created_at, readout_id, vehicle_id)
SELECT pg_temp.id('stock', n), pg_temp.id('stock', n), 'stock.bin', 'stock/' || n, 'BIN', md5('a' || n) || md5('b' || n), 65536, 0,
       md5('a' || n) || md5('b' || n), 65536, 'RSH-' || 1 + n % 20 || '-1', 'RSC-1-1', now() - n * interval '1 hour', pg_temp.id('readout', n), pg_temp.id('vehicle', CASE WHEN n <= 200 THEN 1 ELSE n END)
  FROM generate_series(1, {RIDERS}) AS n;

CREATE TEMP TABLE sale ON COMMIT DROP AS
SELECT one.*, CASE WHEN n % 1000 = 0 THEN 1 ELSE 1 + pg_temp.pick(n, 7, {RIDERS}) END AS rider, pg_temp.id('purchase', n) AS purchase_id
  FROM one WHERE n % 4 = 0;
INSERT INTO marketplace_purchase (id, number, tune_version_id, tune_title, seller_name, vehicle_id, vehicle_identity_hashes, vehicle_name, status,
                                  disputed_from, amount_minor, currency, tax_minor, tax_rate_basis_points, tax_country, fee_basis_points, fee_minor,
                                  captured_minor, refunded_minor, fitment_verdict, acknowledged_reasons, attestation_text_version, attestation_sha256,
                                  attested_at, created_at, paid_at, updated_at, buyer_id, tune_id, tuner_id)
SELECT purchase_id, 'RS-' || lpad(upper(to_hex(n)), 6, '0'), version_id, 'Tune', 'House', pg_temp.id('vehicle', rider), '{{}}', '', 'PAID', '', price, 'EUR', 0, 0, '', 1500,
       price * 15 / 100, price, 0, 'match', '{{}}', '2026-11-01', repeat('0', 64), at, at, at, at, pg_temp.id('user', {TUNERS} + rider), id,
       pg_temp.id('tuner', tuner)
  FROM sale;
INSERT INTO marketplace_license (id, state, vehicle_identity_hashes, suspended_from, created_at, updated_at, holder_id, tune_id, purchase_id)
SELECT pg_temp.id('license', n), 'UNBOUND', '{{}}', '', at, at, pg_temp.id('user', {TUNERS} + rider), id, purchase_id FROM sale;
INSERT INTO marketplace_grantedpurchase (purchase_id, granted_at) SELECT purchase_id, at FROM sale;
INSERT INTO marketplace_download (id, kind, outcome, code, vehicle_id, ticket_blockers, device_key, app_version, created_at, buyer_id, file_id,
                                  purchase_id, version_id)
SELECT pg_temp.id('download', n), 'GRANT', 'GRANTED', '', pg_temp.id('vehicle', rider), '[]', '', '1.0.0', at, pg_temp.id('user', {TUNERS} + rider),
       file_id, purchase_id, version_id
  FROM sale;
INSERT INTO marketplace_flash (id, ticket_id, reporter_id, vehicle_id, version_id, outcome, app_version, flashed_at, received_at, license_state,
                               bound_elsewhere, counts_as_hard_failure, fingerprint)
SELECT pg_temp.id('flash', n), pg_temp.id('ticket', n), pg_temp.id('user', {TUNERS} + rider), pg_temp.id('vehicle', rider), version_id, 'SUCCEEDED', '1.0.0',
       at, at, 'BOUND', false, false, decode(md5('a' || n) || md5('b' || n), 'hex')
  FROM sale;
INSERT INTO tuners_tunerreview (id, tuner_id, buyer_id, tune_id, tune_version_id, vehicle_model_id, vehicle_label, rating, text, state, hidden_reason,
                                reply, revision, created_at, updated_at)
SELECT pg_temp.id('review', n), pg_temp.id('tuner', tuner), pg_temp.id('user', {TUNERS} + rider), id, version_id, pg_temp.id('model', model), '', 4, '',
       'PUBLISHED', '', '', 1, at, at
  FROM sale;
INSERT INTO marketplace_favorite (id, user_id, tune_id, created_at)
SELECT pg_temp.id('favorite', n), pg_temp.id('user', {TUNERS} + rider), id, at FROM sale;
INSERT INTO users_notice (id, user_id, type, category, severity, title, body, link_resource, created_at)
SELECT pg_temp.id('notice', n), pg_temp.id('user', {TUNERS} + rider), 'NEW_VERSION', 'PURCHASES', 'info', 'Notice', 'Text', '', at FROM sale;
"""


@dataclass(frozen=True)
class ManyRows:
    """Who and what stands out in the rows: much is theirs."""

    rider_id: UUID
    vehicle_id: UUID
    other_ecu_id: UUID  # the rider's, of the most popular model: no tune lists its hardware number
    other_calibration_id: UUID  # likewise, and no tune lists its calibration
    tuner_user_id: UUID
    tuner_id: UUID
    tune_id: UUID
    purchase_id: UUID
    large_tables: frozenset[str]


@contextlib.contextmanager
def loaded() -> Iterator[ManyRows]:
    """Fill the empty tables and let Postgres count what is in them; leave them as empty as they were."""
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        try:
            # no trigger fires: foreign keys aren't asked, nothing is derived, and append-only tables can be emptied again
            cursor.execute("SET session_replication_role = replica")
            cursor.execute(f"BEGIN; {FUNCTIONS} {ROWS} COMMIT")
            cursor.execute("SET session_replication_role = DEFAULT")
            cursor.execute(f"ANALYZE {', '.join(TABLES)}")
            cursor.execute("SELECT relname FROM pg_class WHERE relname = ANY(%s) AND reltuples >= 5000", [list(TABLES)])
            large = frozenset(name for (name,) in cursor.fetchall())
            wanted = [("user", TUNERS + 1), ("vehicle", 1), ("vehicle", 20), ("vehicle", 40), ("user", 1), ("tuner", 1), ("tune", 1000), ("purchase", 1000)]
            cursor.execute("SELECT " + ", ".join(["pg_temp.id(%s, %s)"] * len(wanted)), [value for pair in wanted for value in pair])
            yield ManyRows(*cursor.fetchone(), large_tables=large)
        finally:
            cursor.execute("SET session_replication_role = replica")
            cursor.execute(f"TRUNCATE {', '.join(TABLES)} CASCADE")
            cursor.execute("SET session_replication_role = DEFAULT; RESET statement_timeout")
