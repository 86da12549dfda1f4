"""Browse rows for each model together with each hardware number: a list by number is then one walk of its order's index.

The id of such a list is made of the number and the model, in this order: what begins with one number are the lists of all
models that have it. Where the function is replaced, old code goes on: it asks for none of the new rows. They are added
batch by batch, each in a transaction that holds its tunes, so that no price changes between reading and writing.

A fitment without any hardware number would be in none of them. The API never took one; now the table refuses it too.
"""

from importlib import import_module

from django.contrib.postgres.operations import AddConstraintNotValid, ValidateConstraint
from django.db import migrations, models

SCOPE = """
CREATE OR REPLACE FUNCTION marketplace_ecu_scope(hardware_number text, model uuid) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (left(encode(sha256(convert_to(hardware_number, 'UTF8')), 'hex'), 16) || right(replace(model::text, '-', ''), 16))::uuid
$$;
REVOKE EXECUTE ON FUNCTION marketplace_ecu_scope(text, uuid) FROM PUBLIC;
"""

REFRESH = r"""
CREATE OR REPLACE FUNCTION marketplace_refresh_tunes(ids uuid[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE marketplace_tune AS tune
       SET latest_version_id = fact.latest_version_id, listed = fact.listed, emissions_class = fact.emissions_class,
           fuel_octane = fact.fuel_octane, fuel_scale = fact.fuel_scale, fitment_summary = fact.fitment_summary,
           calibration_ids_after = fact.calibration_ids_after
      FROM (
        SELECT t.id, latest.id AS latest_version_id,
               t.status = 'PUBLISHED' AND profile.status = 'ACTIVE' AND latest.id IS NOT NULL AS listed,
               coalesce(latest.emissions_class, '') AS emissions_class,
               (latest.requirements #>> '{fuel,octane}')::smallint AS fuel_octane,
               coalesce(latest.requirements #>> '{fuel,scale}', '') AS fuel_scale,
               ARRAY(
                 SELECT make_name || ' ' || model_name || ' ' || min(year_from)
                        || CASE WHEN min(year_from) < max(year_to) THEN '–' || max(year_to) ELSE '' END
                   FROM marketplace_fitment f JOIN marketplace_tuneversion v ON v.id = f.version_id
                  WHERE f.tune_id = t.id AND v.status = 'PUBLISHED'
                  GROUP BY make_name, model_name ORDER BY make_name, model_name LIMIT 12
               ) AS fitment_summary,
               ARRAY(
                 SELECT DISTINCT file.calibration_id_after
                   FROM marketplace_tunefile file JOIN marketplace_tuneversion v ON v.id = file.version_id
                  WHERE v.tune_id = t.id AND v.published_at IS NOT NULL AND file.calibration_id_after <> ''
                  ORDER BY 1
               ) AS calibration_ids_after
          FROM marketplace_tune t
          JOIN tuners_tunerprofile profile ON profile.id = t.tuner_id
          LEFT JOIN LATERAL (
            SELECT v.id, v.emissions_class, v.requirements FROM marketplace_tuneversion v
             WHERE v.tune_id = t.id AND v.status = 'PUBLISHED' ORDER BY v.version_order DESC LIMIT 1
          ) AS latest ON true
         WHERE t.id = ANY(ids)
      ) AS fact
     WHERE tune.id = fact.id
       AND (tune.latest_version_id, tune.listed, tune.emissions_class, tune.fuel_octane, tune.fuel_scale, tune.fitment_summary,
            tune.calibration_ids_after)
           IS DISTINCT FROM
           (fact.latest_version_id, fact.listed, fact.emissions_class, fact.fuel_octane, fact.fuel_scale, fact.fitment_summary::text[],
            fact.calibration_ids_after::varchar[]);

    UPDATE marketplace_fitment AS fitment
       SET live = tune.listed AND version.status = 'PUBLISHED'
      FROM marketplace_tune tune, marketplace_tuneversion version
     WHERE fitment.tune_id = ANY(ids) AND tune.id = fitment.tune_id AND version.id = fitment.version_id
       AND fitment.live <> (tune.listed AND version.status = 'PUBLISHED');

    -- what is to be there, once for both: the rows that go and the rows that stay or come have nothing in common
    WITH wanted AS MATERIALIZED (
        SELECT span.tune_id, span.scope_id, min(span.scope) AS scope, array_agg(DISTINCT year::smallint ORDER BY year::smallint) AS years
          FROM (SELECT DISTINCT f.tune_id, s.scope, s.scope_id, f.year_from, f.year_to
                  FROM marketplace_fitment f
                 CROSS JOIN LATERAL (
                   SELECT 'MODEL' AS scope, f.model_id AS scope_id
                   UNION ALL SELECT 'MAKE', f.make_id
                   UNION ALL SELECT 'ECU', marketplace_ecu_scope(number, f.model_id) FROM unnest(f.hardware_numbers) AS number
                 ) AS s
                 WHERE f.tune_id = ANY(ids) AND f.live) AS span
         CROSS JOIN LATERAL generate_series(span.year_from::int, span.year_to::int) AS year
         GROUP BY span.tune_id, span.scope_id
    ), gone AS (
        DELETE FROM marketplace_browserow AS held
         WHERE held.tune_id = ANY(ids)
           AND NOT EXISTS (SELECT FROM wanted WHERE wanted.tune_id = held.tune_id AND wanted.scope_id = held.scope_id)
    )
    INSERT INTO marketplace_browserow AS held (
        scope_id, scope, tune_id, years, published_at, currency, price_minor, rating_milli, rating_score, popularity, kind, category,
        emissions_class, fuel_octane, fuel_scale, tuner_id)
    SELECT wanted.scope_id, wanted.scope, t.id, wanted.years, t.published_at, t.currency, t.price_minor, t.rating_milli, t.rating_score,
           t.popularity, t.kind, t.category, t.emissions_class, t.fuel_octane, t.fuel_scale, t.tuner_id
      FROM wanted JOIN marketplace_tune t ON t.id = wanted.tune_id
    ON CONFLICT (scope_id, tune_id) DO UPDATE
       SET years = excluded.years, published_at = excluded.published_at, currency = excluded.currency,
           price_minor = excluded.price_minor, rating_milli = excluded.rating_milli, rating_score = excluded.rating_score,
           popularity = excluded.popularity, kind = excluded.kind, category = excluded.category,
           emissions_class = excluded.emissions_class, fuel_octane = excluded.fuel_octane, fuel_scale = excluded.fuel_scale
     WHERE (held.years, held.published_at, held.currency, held.price_minor, held.rating_milli, held.rating_score, held.popularity, held.kind,
            held.category, held.emissions_class, held.fuel_octane, held.fuel_scale)
           IS DISTINCT FROM
           (excluded.years, excluded.published_at, excluded.currency, excluded.price_minor, excluded.rating_milli, excluded.rating_score,
            excluded.popularity, excluded.kind, excluded.category, excluded.emissions_class, excluded.fuel_octane, excluded.fuel_scale);

    PERFORM marketplace_refresh_search(ids);
END $$;
"""

# the function as it was is the first one of two in one text
REFRESH_BACK = (
    import_module("marketplace.migrations.0003_tune_triggers")
    .REFRESH.partition("CREATE FUNCTION marketplace_refresh_search")[0]
    .replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
)

FILL = """
DO $$
DECLARE
    last uuid := '00000000-0000-0000-0000-000000000000';
    few uuid[];
BEGIN
    LOOP
        few := ARRAY(SELECT id FROM marketplace_tune WHERE id > last AND listed ORDER BY id LIMIT 500 FOR NO KEY UPDATE);
        EXIT WHEN few = '{}';
        INSERT INTO marketplace_browserow (
            scope_id, scope, tune_id, years, published_at, currency, price_minor, rating_milli, rating_score, popularity, kind, category,
            emissions_class, fuel_octane, fuel_scale, tuner_id)
        SELECT wanted.scope_id, 'ECU', t.id, wanted.years, t.published_at, t.currency, t.price_minor, t.rating_milli, t.rating_score,
               t.popularity, t.kind, t.category, t.emissions_class, t.fuel_octane, t.fuel_scale, t.tuner_id
          FROM (SELECT f.tune_id, marketplace_ecu_scope(number, f.model_id) AS scope_id,
                       array_agg(DISTINCT year::smallint ORDER BY year::smallint) AS years
                  FROM marketplace_fitment f CROSS JOIN LATERAL unnest(f.hardware_numbers) AS number
                 CROSS JOIN LATERAL generate_series(f.year_from::int, f.year_to::int) AS year
                 WHERE f.tune_id = ANY(few) AND f.live GROUP BY 1, 2) AS wanted
          JOIN marketplace_tune t ON t.id = wanted.tune_id
            ON CONFLICT DO NOTHING;
        last := few[array_upper(few, 1)];
        COMMIT;
    END LOOP;
END $$
"""

EMPTY = """
DO $$
DECLARE
    gone bigint;
BEGIN
    LOOP
        DELETE FROM marketplace_browserow WHERE ctid = ANY(ARRAY(SELECT ctid FROM marketplace_browserow WHERE scope = 'ECU' LIMIT 5000));
        GET DIAGNOSTICS gone = ROW_COUNT;
        COMMIT;
        EXIT WHEN gone = 0;
    END LOOP;
END $$
"""


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("marketplace", "0034_facet_indexes")]

    operations = [
        migrations.AlterField(
            "browserow",
            "scope_id",
            models.UUIDField(
                help_text="Id of the make or the model, or `marketplace_ecu_scope` of a hardware number and a model."
            ),
        ),
        migrations.AlterField(
            "browserow",
            "scope",
            models.CharField(
                max_length=5,
                choices=[("MAKE", "Make"), ("MODEL", "Model"), ("ECU", "Model and hardware number")],
            ),
        ),
        migrations.RunSQL(SCOPE, "DROP FUNCTION marketplace_ecu_scope(text, uuid)"),
        migrations.RunSQL(migrations.RunSQL.noop, EMPTY),  # going back: no row is left once the old function runs
        migrations.RunSQL(REFRESH, REFRESH_BACK),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        # last, because what stands before them can be repeated
        AddConstraintNotValid(
            "fitment",
            models.CheckConstraint(
                name="fitment_hardware_number_stated", condition=models.Q(hardware_numbers__len__gte=1)
            ),
        ),
        ValidateConstraint("fitment", "fitment_hardware_number_stated"),
    ]
