"""Triggers that note what may make a tune match a saved search; nobody saves a search after they deleted their account."""

from django.db import migrations

TRIGGERS = """
SET LOCAL lock_timeout = '5s';
CREATE FUNCTION marketplace_note_listed_tune() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO marketplace_listingchange (tune_id, newly_listed, price_minor_before, currency_before, changed_at)
    VALUES (NEW.id, NOT OLD.listed, OLD.price_minor, OLD.currency, statement_timestamp());
    RETURN NULL;
END $$;
CREATE TRIGGER tune_note_change AFTER UPDATE OF listed, price_minor, currency ON marketplace_tune FOR EACH ROW
    WHEN (NEW.listed AND (NOT OLD.listed OR (OLD.price_minor, OLD.currency) IS DISTINCT FROM (NEW.price_minor, NEW.currency)))
    EXECUTE FUNCTION marketplace_note_listed_tune();

CREATE FUNCTION marketplace_note_version_on_sale() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO marketplace_listingchange (tune_id, newly_listed, version_id, currency_before, changed_at)
    VALUES (NEW.tune_id, false, NEW.id, '', statement_timestamp());
    RETURN NULL;
END $$;
CREATE TRIGGER tuneversion_note_on_sale AFTER UPDATE OF status ON marketplace_tuneversion FOR EACH ROW
    WHEN (OLD.status <> 'PUBLISHED' AND NEW.status = 'PUBLISHED')
    EXECUTE FUNCTION marketplace_note_version_on_sale();

CREATE TRIGGER savedsearch_refuse_deleted BEFORE INSERT ON marketplace_savedsearch
    FOR EACH ROW EXECUTE FUNCTION users_refuse_deleted('owner_id');
"""
TRIGGERS_BACK = """
DROP TRIGGER savedsearch_refuse_deleted ON marketplace_savedsearch;
DROP TRIGGER tuneversion_note_on_sale ON marketplace_tuneversion;
DROP TRIGGER tune_note_change ON marketplace_tune;
DROP FUNCTION marketplace_note_version_on_sale(), marketplace_note_listed_tune();
"""


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0030_saved_searches"), ("users", "0003_refuse_deleted")]
    operations = [migrations.RunSQL(TRIGGERS, TRIGGERS_BACK)]
