"""Nobody buys, marks or offers anything after they deleted their account: see the migration of the same name in `users`."""

from django.db import migrations

TRIGGERS = """
SET LOCAL lock_timeout = '5s';
CREATE TRIGGER favorite_refuse_deleted BEFORE INSERT ON marketplace_favorite
    FOR EACH ROW EXECUTE FUNCTION users_refuse_deleted('user_id');
CREATE TRIGGER purchase_refuse_deleted BEFORE INSERT ON marketplace_purchase
    FOR EACH ROW EXECUTE FUNCTION users_refuse_deleted('buyer_id');

CREATE FUNCTION marketplace_refuse_deleted_tuner() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    gone timestamptz;
BEGIN
    SELECT person.deleted_at INTO gone
      FROM tuners_tunerprofile profile JOIN users_user person ON person.id = profile.user_id
     WHERE profile.id = NEW.tuner_id FOR KEY SHARE OF person;
    IF gone IS NOT NULL THEN
        RAISE EXCEPTION 'account_is_deleted: nothing is written for an account that its owner deleted'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'account_is_deleted';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER tune_refuse_deleted BEFORE INSERT OR UPDATE OF title, description ON marketplace_tune
    FOR EACH ROW EXECUTE FUNCTION marketplace_refuse_deleted_tuner();
"""
TRIGGERS_BACK = """
DROP TRIGGER favorite_refuse_deleted ON marketplace_favorite;
DROP TRIGGER purchase_refuse_deleted ON marketplace_purchase;
DROP TRIGGER tune_refuse_deleted ON marketplace_tune;
DROP FUNCTION marketplace_refuse_deleted_tuner();
"""


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0009_grant_facts"), ("users", "0003_refuse_deleted"), ("tuners", "0003_refuse_deleted")]
    operations = [migrations.RunSQL(TRIGGERS, TRIGGERS_BACK)]
