"""What a tune is found by: its years and other names for its category too, and its own models before their aliases.

A model's own name weighs more than an alias, or "mt 09" would find the Tracer 900 ("MT-09 Tracer") as well as the MT-09.
Model years are words, because riders type them ("r1 2020"). A category is found by what riders call it. Punctuation in a
description no longer hides words ("MED17.5.5"), and an accent written as a character of its own is no word.

Rows are rebuilt batch by batch, each in a transaction of its own; old code reads old and new rows alike. Going back
leaves the functions: nothing before this migration minds what they add.
"""

from django.db import migrations

BATCH = 500

FUNCTIONS = r"""
CREATE OR REPLACE FUNCTION marketplace_words(raw text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT forms || ' ' || regexp_replace(regexp_replace(forms, '([[:alpha:]])([0-9])', '\1 \2', 'g'), '([0-9])([[:alpha:]])', '\1 \2', 'g')
      FROM (SELECT regexp_replace(plain, '[!-/:-@\[-`{-~]+', ' ', 'g') || ' ' ||
                   regexp_replace(regexp_replace(plain, '[-./_]+', '', 'g'), '[!-/:-@\[-`{-~]+', ' ', 'g') AS forms
              FROM (SELECT regexp_replace(lower(raw), '[\u0300-\u036f]+', '', 'g') AS plain) AS lowered) AS written
$$;

CREATE OR REPLACE FUNCTION marketplace_refresh_search(ids uuid[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM marketplace_searchrow AS held USING marketplace_tune t
     WHERE held.tune_id = ANY(ids) AND t.id = held.tune_id AND NOT t.listed;

    INSERT INTO marketplace_searchrow AS held (tune_id, document, popularity)
    SELECT t.id,
           setweight(to_tsvector('revsync_search', marketplace_words(t.title) || ' ' || marketplace_words(names.own)), 'A')
           || setweight(to_tsvector('revsync_search', marketplace_words(
                  profile.business_name || ' ' || names.other || ' '
                  || CASE t.category
                     WHEN 'ECONOMY' THEN 'economy eco touring'
                     WHEN 'THROTTLE' THEN 'throttle response'
                     WHEN 'QUICKSHIFTER' THEN 'quickshifter quick shifter autoblip auto blip blipper'
                     WHEN 'TRACK' THEN 'track race'
                     WHEN 'FLEX_FUEL' THEN 'flex fuel flexfuel e85 ethanol'
                     WHEN 'LIMITERS' THEN 'limiters limiter rev speed'
                     WHEN 'DRIVABILITY' THEN 'drivability fuelling'
                     ELSE replace(t.category, '_', ' ') || ' ' || replace(t.category, '_', '') END
                  || ' ' || replace(array_to_string(version.tags, ' '), '_', ' ')
              )), 'B')
           || setweight(to_tsvector('revsync_search', marketplace_words(facts.codes) || ' ' || facts.years), 'C')
           || setweight(to_tsvector('revsync_search', regexp_replace(
                  regexp_replace(lower(left(t.description, 4000)), '[\u0300-\u036f]+', '', 'g'), '[!-/:-@\[-`{-~]+', ' ', 'g'
              )), 'D'),
           t.popularity
      FROM marketplace_tune t
      JOIN tuners_tunerprofile profile ON profile.id = t.tuner_id
      JOIN marketplace_tuneversion version ON version.id = t.latest_version_id
      CROSS JOIN LATERAL (
        SELECT coalesce(string_agg(DISTINCT name, ' ') FILTER (WHERE own), '') AS own,
               coalesce(string_agg(DISTINCT name, ' ') FILTER (WHERE NOT own), '') AS other
          FROM (SELECT true, make.name FROM garage_vehiclemake make
                 WHERE make.id IN (SELECT make_id FROM marketplace_fitment f WHERE f.tune_id = t.id AND f.live)
                UNION ALL
                SELECT false, alias.name FROM garage_makealias alias
                 WHERE alias.make_id IN (SELECT make_id FROM marketplace_fitment f WHERE f.tune_id = t.id AND f.live)
                UNION ALL
                SELECT true, model.name || ' ' || model.folded FROM garage_vehiclemodel model
                 WHERE model.id IN (SELECT model_id FROM marketplace_fitment f WHERE f.tune_id = t.id AND f.live)
                UNION ALL
                SELECT false, alias.name || ' ' || alias.folded FROM garage_modelalias alias
                 WHERE alias.model_id IN (SELECT model_id FROM marketplace_fitment f WHERE f.tune_id = t.id AND f.live)
          ) AS every (own, name)
      ) AS names
      CROSS JOIN LATERAL (
        SELECT coalesce((SELECT string_agg(DISTINCT code || ' ' || replace(code, ' ', ''), ' ')  -- "8W0 907 115 B" in one, too
                           FROM marketplace_fitment f CROSS JOIN LATERAL unnest(f.hardware_numbers || f.calibration_ids) AS code
                          WHERE f.tune_id = t.id AND f.live), '') AS codes,
               coalesce((SELECT string_agg(DISTINCT year::text, ' ')
                           FROM marketplace_fitment f CROSS JOIN LATERAL generate_series(f.year_from::int, f.year_to::int) AS year
                          WHERE f.tune_id = t.id AND f.live), '') AS years
      ) AS facts
     WHERE t.id = ANY(ids) AND t.listed
     ORDER BY t.id
    ON CONFLICT (tune_id) DO UPDATE SET document = excluded.document, popularity = excluded.popularity
     WHERE held.document IS DISTINCT FROM excluded.document OR held.popularity <> excluded.popularity;

    -- in order, so that two publications never wait for each other in a circle
    INSERT INTO marketplace_searchword (word)
    SELECT DISTINCT word FROM marketplace_searchrow held, unnest(tsvector_to_array(ts_filter(held.document, '{a,b}'))) AS word
     WHERE held.tune_id = ANY(ids) AND length(word) BETWEEN 3 AND 64
     ORDER BY word
    ON CONFLICT DO NOTHING;

    INSERT INTO marketplace_searchphrase (kind, key, text)
    SELECT DISTINCT kind, key, text FROM (
        SELECT 'MAKE' AS kind, marketplace_key(f.make_name) AS key, f.make_name AS text
          FROM marketplace_fitment f WHERE f.tune_id = ANY(ids) AND f.live
        UNION ALL
        SELECT 'MODEL', marketplace_key(spelling), f.make_name || ' ' || f.model_name
          FROM marketplace_fitment f CROSS JOIN LATERAL (VALUES (f.make_name || f.model_name), (f.model_name)) AS s (spelling)
         WHERE f.tune_id = ANY(ids) AND f.live
        UNION ALL
        SELECT 'MODEL', marketplace_key(alias.name), f.make_name || ' ' || f.model_name
          FROM marketplace_fitment f JOIN garage_modelalias alias ON alias.model_id = f.model_id WHERE f.tune_id = ANY(ids) AND f.live
        UNION ALL
        SELECT 'TUNER', marketplace_key(profile.business_name), profile.business_name
          FROM marketplace_tune t JOIN tuners_tunerprofile profile ON profile.id = t.tuner_id WHERE t.id = ANY(ids) AND t.listed
        UNION ALL
        SELECT 'TUNE', marketplace_key(t.title), t.title FROM marketplace_tune t WHERE t.id = ANY(ids) AND t.listed
      ) AS phrase
     WHERE key <> ''
     ORDER BY kind, key, text
    ON CONFLICT DO NOTHING;
END $$;
"""

NEXT = """
SELECT array_agg(tune_id ORDER BY tune_id)
  FROM (SELECT tune_id FROM marketplace_searchrow WHERE tune_id > %s ORDER BY tune_id LIMIT %s) AS few
"""


def rebuild(apps, schema_editor) -> None:
    """Derive every search row anew. Can be repeated; tunes that are listed meanwhile have the new words already."""
    last = "00000000-0000-0000-0000-000000000000"
    with schema_editor.connection.cursor() as cursor:
        while True:
            cursor.execute(NEXT, [last, BATCH])
            (ids,) = cursor.fetchone()
            if ids is None:
                return
            cursor.execute("SELECT marketplace_refresh_search(%s::uuid[])", [ids])
            last = ids[-1]


class Migration(migrations.Migration):
    atomic = False  # a batch is a transaction: no row stays locked for as long as all of them take

    dependencies = [("marketplace", "0021_provider_fees")]
    operations = [
        migrations.RunSQL(FUNCTIONS, migrations.RunSQL.noop),
        migrations.RunPython(rebuild, migrations.RunPython.noop),
    ]
