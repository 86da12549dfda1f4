"""What Postgres itself keeps true of tunes: reviewed bytes never change, and lists show what the tables say.

`marketplace_refresh_tunes(uuid[])` derives, for any number of tunes in a handful of statements, what lists and search
read: the tune's own derived columns, `live` of its fitments, its browse rows, its search row, and the words and phrases
offered to whoever types. Triggers call it for every change that matters, so no writer can forget it; a bulk load
disables them and calls it once.
"""

from django.db import migrations

FROZEN = """
CREATE FUNCTION marketplace_refuse(rule text, message text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%: %', rule, message USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = rule;
END $$;

-- a tune that nobody owns is deleted with all that hangs on it: its service names it here, for its transaction only
CREATE FUNCTION marketplace_is_being_deleted(tune uuid) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT coalesce(current_setting('revsync.deleted_tune', true), '') = tune::text
$$;

CREATE FUNCTION marketplace_guard_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.published_at IS NOT NULL AND NOT marketplace_is_being_deleted(OLD.tune_id) THEN
            PERFORM marketplace_refuse('tuneversion_published_stays', 'a published version is never deleted');
        END IF;
        RETURN OLD;
    END IF;
    IF OLD.published_at IS NOT NULL AND (
        NEW.tune_id, NEW.version, NEW.requirements, NEW.emissions_class, NEW.certification_number,
        NEW.release_counter, NEW.published_at, NEW.approved_sha256
    ) IS DISTINCT FROM (
        OLD.tune_id, OLD.version, OLD.requirements, OLD.emissions_class, OLD.certification_number,
        OLD.release_counter, OLD.published_at, OLD.approved_sha256
    ) THEN
        PERFORM marketplace_refuse('tuneversion_immutable_once_published', 'a change is a new version');
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER tuneversion_guard BEFORE UPDATE OR DELETE ON marketplace_tuneversion
    FOR EACH ROW EXECUTE FUNCTION marketplace_guard_version();

CREATE FUNCTION marketplace_guard_file() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    held marketplace_tuneversion%ROWTYPE;
BEGIN
    SELECT * INTO held FROM marketplace_tuneversion
     WHERE id = CASE WHEN TG_OP = 'DELETE' THEN OLD.version_id ELSE NEW.version_id END;
    IF TG_OP = 'INSERT' AND held.status <> 'VALIDATING' THEN
        PERFORM marketplace_refuse('tunefile_added_only_with_version', 'files come with their version');
    ELSIF TG_OP = 'UPDATE' AND held.status <> 'VALIDATING' AND NEW IS DISTINCT FROM OLD THEN
        PERFORM marketplace_refuse('tunefile_immutable_once_inspected', 'bytes never change: a change is a new version');
    ELSIF TG_OP = 'DELETE' AND (held.status = 'IN_REVIEW' OR held.published_at IS NOT NULL)
          AND NOT marketplace_is_being_deleted(held.tune_id) THEN
        PERFORM marketplace_refuse('tunefile_reviewed_stays', 'what is reviewed or published is never deleted');
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER tunefile_guard BEFORE INSERT OR UPDATE OR DELETE ON marketplace_tunefile
    FOR EACH ROW EXECUTE FUNCTION marketplace_guard_file();

CREATE FUNCTION marketplace_guard_fitment() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    held marketplace_tuneversion%ROWTYPE;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        -- make and model may be merged in the catalogue; what was reviewed about years, markets and ECUs stays
        IF (NEW.file_id, NEW.version_id, NEW.tune_id, NEW.position, NEW.year_from, NEW.year_to, NEW.markets,
            NEW.hardware_numbers, NEW.calibration_ids, NEW.image_size_bytes)
           IS DISTINCT FROM
           (OLD.file_id, OLD.version_id, OLD.tune_id, OLD.position, OLD.year_from, OLD.year_to, OLD.markets,
            OLD.hardware_numbers, OLD.calibration_ids, OLD.image_size_bytes) THEN
            PERFORM marketplace_refuse('fitment_immutable', 'a change is a new version');
        END IF;
        RETURN NEW;
    END IF;
    SELECT * INTO held FROM marketplace_tuneversion
     WHERE id = CASE WHEN TG_OP = 'DELETE' THEN OLD.version_id ELSE NEW.version_id END;
    IF TG_OP = 'INSERT' AND held.status <> 'VALIDATING' THEN
        PERFORM marketplace_refuse('fitment_added_only_with_version', 'fitments come with their version');
    ELSIF TG_OP = 'DELETE' AND (held.status = 'IN_REVIEW' OR held.published_at IS NOT NULL)
          AND NOT marketplace_is_being_deleted(held.tune_id) THEN
        PERFORM marketplace_refuse('fitment_reviewed_stays', 'what is reviewed or published is never deleted');
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER fitment_guard BEFORE INSERT OR UPDATE OR DELETE ON marketplace_fitment
    FOR EACH ROW EXECUTE FUNCTION marketplace_guard_fitment();
"""

WORDS = r"""
-- "GSX-R1000" as "gsx r1000", "gsxr1000", and both with letters and digits apart: riders write all of them
CREATE FUNCTION marketplace_words(raw text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT forms || ' ' || regexp_replace(regexp_replace(forms, '([[:alpha:]])([0-9])', '\1 \2', 'g'), '([0-9])([[:alpha:]])', '\1 \2', 'g')
      FROM (SELECT regexp_replace(lower(raw), '[!-/:-@\[-`{-~]+', ' ', 'g') || ' ' ||
                   regexp_replace(regexp_replace(lower(raw), '[-./_]+', '', 'g'), '[!-/:-@\[-`{-~]+', ' ', 'g') AS forms) AS written
$$;

-- the key of a phrase: what is left without case, accents, spaces and punctuation
CREATE FUNCTION marketplace_key(raw text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT left(regexp_replace(lower(unaccent(raw)), '[^[:alnum:]]+', '', 'g'), 160)
$$;
"""

REFRESH = r"""
CREATE FUNCTION marketplace_refresh_tunes(ids uuid[]) RETURNS void LANGUAGE plpgsql AS $$
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

    DELETE FROM marketplace_browserow AS held
     WHERE held.tune_id = ANY(ids)
       AND NOT EXISTS (SELECT 1 FROM marketplace_fitment f
                        WHERE f.tune_id = held.tune_id AND f.live AND held.scope_id IN (f.make_id, f.model_id));
    INSERT INTO marketplace_browserow AS held (
        scope_id, scope, tune_id, years, published_at, currency, price_minor, rating_milli, rating_score, popularity, kind, category,
        emissions_class, fuel_octane, fuel_scale, tuner_id)
    SELECT span.scope_id, span.scope, t.id, span.years, t.published_at, t.currency, t.price_minor, t.rating_milli, t.rating_score,
           t.popularity, t.kind, t.category, t.emissions_class, t.fuel_octane, t.fuel_scale, t.tuner_id
      FROM (SELECT f.tune_id, s.scope, s.scope_id, array_agg(DISTINCT year::smallint ORDER BY year::smallint) AS years
              FROM marketplace_fitment f
             CROSS JOIN LATERAL (VALUES ('MODEL', f.model_id), ('MAKE', f.make_id)) AS s (scope, scope_id)
             CROSS JOIN LATERAL generate_series(f.year_from::int, f.year_to::int) AS year
             WHERE f.tune_id = ANY(ids) AND f.live
             GROUP BY f.tune_id, s.scope, s.scope_id) AS span
      JOIN marketplace_tune t ON t.id = span.tune_id
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

CREATE FUNCTION marketplace_refresh_search(ids uuid[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM marketplace_searchrow AS held USING marketplace_tune t
     WHERE held.tune_id = ANY(ids) AND t.id = held.tune_id AND NOT t.listed;

    INSERT INTO marketplace_searchrow AS held (tune_id, document, popularity)
    SELECT t.id,
           setweight(to_tsvector('revsync_search', marketplace_words(t.title) || ' ' || marketplace_words(names.text)), 'A')
           || setweight(to_tsvector('revsync_search', marketplace_words(
                  profile.business_name || ' ' || replace(t.category || ' ' || array_to_string(version.tags, ' '), '_', ' ')
              )), 'B')
           || setweight(to_tsvector('revsync_search', marketplace_words(codes.text)), 'C')
           || setweight(to_tsvector('revsync_search', left(t.description, 4000)), 'D'),
           t.popularity
      FROM marketplace_tune t
      JOIN tuners_tunerprofile profile ON profile.id = t.tuner_id
      JOIN marketplace_tuneversion version ON version.id = t.latest_version_id
      CROSS JOIN LATERAL (
        SELECT coalesce(string_agg(DISTINCT name, ' '), '') AS text
          FROM (SELECT make.name FROM garage_vehiclemake make
                 WHERE make.id IN (SELECT make_id FROM marketplace_fitment f WHERE f.tune_id = t.id AND f.live)
                UNION ALL
                SELECT alias.name FROM garage_makealias alias
                 WHERE alias.make_id IN (SELECT make_id FROM marketplace_fitment f WHERE f.tune_id = t.id AND f.live)
                UNION ALL
                SELECT model.name || ' ' || model.folded FROM garage_vehiclemodel model
                 WHERE model.id IN (SELECT model_id FROM marketplace_fitment f WHERE f.tune_id = t.id AND f.live)
                UNION ALL
                SELECT alias.name || ' ' || alias.folded FROM garage_modelalias alias
                 WHERE alias.model_id IN (SELECT model_id FROM marketplace_fitment f WHERE f.tune_id = t.id AND f.live)
          ) AS every (name)
      ) AS names
      CROSS JOIN LATERAL (
        SELECT coalesce(string_agg(DISTINCT code, ' '), '') AS text
          FROM marketplace_fitment f CROSS JOIN LATERAL unnest(f.hardware_numbers || f.calibration_ids) AS code
         WHERE f.tune_id = t.id AND f.live
      ) AS codes
     WHERE t.id = ANY(ids) AND t.listed
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

TRIGGERS = """
CREATE FUNCTION marketplace_after_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM marketplace_refresh_tunes(ARRAY[NEW.tune_id]);
    RETURN NULL;
END $$;
CREATE TRIGGER tuneversion_refresh_on_update AFTER UPDATE OF status ON marketplace_tuneversion FOR EACH ROW
    WHEN (OLD.status <> NEW.status AND (OLD.status = 'PUBLISHED' OR NEW.status = 'PUBLISHED'))
    EXECUTE FUNCTION marketplace_after_version();
CREATE TRIGGER tuneversion_refresh_on_insert AFTER INSERT ON marketplace_tuneversion FOR EACH ROW
    WHEN (NEW.status = 'PUBLISHED') EXECUTE FUNCTION marketplace_after_version();

CREATE FUNCTION marketplace_before_tune() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status <> 'PUBLISHED' THEN
        NEW.listed := false;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER tune_unlist BEFORE INSERT OR UPDATE OF status, listed ON marketplace_tune
    FOR EACH ROW EXECUTE FUNCTION marketplace_before_tune();

CREATE FUNCTION marketplace_after_tune() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM marketplace_refresh_tunes(ARRAY[NEW.id]);
    RETURN NULL;
END $$;
CREATE TRIGGER tune_refresh AFTER UPDATE OF status, title, description, category, tuner_id ON marketplace_tune FOR EACH ROW
    WHEN ((OLD.status, OLD.title, OLD.description, OLD.category, OLD.tuner_id)
          IS DISTINCT FROM (NEW.status, NEW.title, NEW.description, NEW.category, NEW.tuner_id))
    EXECUTE FUNCTION marketplace_after_tune();

-- what only lists show is written through without deriving the rest again
CREATE FUNCTION marketplace_after_tune_figures() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE marketplace_browserow
       SET price_minor = NEW.price_minor, currency = NEW.currency, kind = NEW.kind, rating_milli = NEW.rating_milli,
           rating_score = NEW.rating_score, popularity = NEW.popularity
     WHERE tune_id = NEW.id;
    IF OLD.popularity <> NEW.popularity THEN
        UPDATE marketplace_searchrow SET popularity = NEW.popularity WHERE tune_id = NEW.id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER tune_figures AFTER UPDATE OF price_minor, currency, kind, rating_sum, rating_count, popularity ON marketplace_tune
    FOR EACH ROW
    WHEN ((OLD.price_minor, OLD.currency, OLD.kind, OLD.rating_sum, OLD.rating_count, OLD.popularity)
          IS DISTINCT FROM (NEW.price_minor, NEW.currency, NEW.kind, NEW.rating_sum, NEW.rating_count, NEW.popularity))
    EXECUTE FUNCTION marketplace_after_tune_figures();

-- hosted Postgres offers public functions over REST: none of these is anybody's but ours
REVOKE EXECUTE ON FUNCTION marketplace_refuse(text, text), marketplace_is_being_deleted(uuid), marketplace_words(text),
    marketplace_key(text), marketplace_refresh_tunes(uuid[]), marketplace_refresh_search(uuid[]) FROM PUBLIC;
"""

BACKWARD = """
DROP TRIGGER tune_figures ON marketplace_tune;
DROP TRIGGER tune_refresh ON marketplace_tune;
DROP TRIGGER tune_unlist ON marketplace_tune;
DROP TRIGGER tuneversion_refresh_on_insert ON marketplace_tuneversion;
DROP TRIGGER tuneversion_refresh_on_update ON marketplace_tuneversion;
DROP TRIGGER tuneversion_guard ON marketplace_tuneversion;
DROP TRIGGER tunefile_guard ON marketplace_tunefile;
DROP TRIGGER fitment_guard ON marketplace_fitment;
DROP FUNCTION marketplace_after_tune_figures(), marketplace_after_tune(), marketplace_before_tune(), marketplace_after_version(),
    marketplace_refresh_tunes(uuid[]), marketplace_refresh_search(uuid[]), marketplace_key(text), marketplace_words(text),
    marketplace_guard_fitment(), marketplace_guard_file(), marketplace_guard_version(), marketplace_is_being_deleted(uuid),
    marketplace_refuse(text, text);
"""


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0002_search_configuration"), ("garage", "0001_initial"), ("tuners", "0001_initial")]
    operations = [migrations.RunSQL([FROZEN, WORDS, REFRESH, TRIGGERS], BACKWARD)]
