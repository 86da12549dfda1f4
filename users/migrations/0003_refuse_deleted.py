"""Whatever is on its way while somebody deletes their account finds nobody: neither a new row of theirs nor a change of one.

A deletion holds the person's row FOR UPDATE. Each of these triggers reads that row FOR KEY SHARE, so that a write either is
committed before (and is erased) or waits and is refused. What is told to people is no refusal: it is dropped.
"""

from django.db import migrations

FUNCTIONS = """
CREATE FUNCTION users_refuse_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    gone timestamptz;
BEGIN
    SELECT deleted_at INTO gone FROM users_user WHERE id = (to_jsonb(NEW) ->> TG_ARGV[0])::uuid FOR KEY SHARE;
    IF gone IS NULL THEN
        RETURN NEW;
    ELSIF TG_ARGV[1] = 'drop' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'account_is_deleted: nothing is written for an account that its owner deleted'
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'account_is_deleted';
END $$;

CREATE FUNCTION users_guard_deleted_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.id, NEW.email, NEW.display_name, NEW.password, NEW.role, NEW.is_active, NEW.blocked_reason, NEW.deleted_at, NEW.mfa_enabled_at)
       IS DISTINCT FROM
       (OLD.id, OLD.email, OLD.display_name, OLD.password, OLD.role, OLD.is_active, OLD.blocked_reason, OLD.deleted_at, OLD.mfa_enabled_at)
    THEN
        RAISE EXCEPTION 'account_is_deleted: what is left of an account never changes'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'account_is_deleted';
    END IF;
    RETURN NEW;
END $$;
"""
FUNCTIONS_BACK = "DROP FUNCTION users_refuse_deleted(); DROP FUNCTION users_guard_deleted_user();"

TRIGGERS = """
SET LOCAL lock_timeout = '5s';
CREATE TRIGGER user_guard_deleted BEFORE UPDATE ON users_user
    FOR EACH ROW WHEN (OLD.deleted_at IS NOT NULL) EXECUTE FUNCTION users_guard_deleted_user();
CREATE TRIGGER userprofile_refuse_deleted BEFORE INSERT OR UPDATE ON users_userprofile
    FOR EACH ROW EXECUTE FUNCTION users_refuse_deleted('user_id');
CREATE TRIGGER challenge_refuse_deleted BEFORE INSERT ON users_challenge
    FOR EACH ROW WHEN (NEW.user_id IS NOT NULL) EXECUTE FUNCTION users_refuse_deleted('user_id');
CREATE TRIGGER totpdevice_refuse_deleted BEFORE INSERT ON users_totpdevice
    FOR EACH ROW EXECUTE FUNCTION users_refuse_deleted('user_id');
CREATE TRIGGER recoverycode_refuse_deleted BEFORE INSERT ON users_recoverycode
    FOR EACH ROW EXECUTE FUNCTION users_refuse_deleted('user_id');
CREATE TRIGGER notificationpreference_refuse_deleted BEFORE INSERT ON users_notificationpreference
    FOR EACH ROW EXECUTE FUNCTION users_refuse_deleted('user_id');
CREATE TRIGGER dataexport_refuse_deleted BEFORE INSERT ON users_dataexport
    FOR EACH ROW EXECUTE FUNCTION users_refuse_deleted('user_id');
CREATE TRIGGER upload_refuse_deleted BEFORE INSERT ON core_upload
    FOR EACH ROW EXECUTE FUNCTION users_refuse_deleted('owner_id');
CREATE TRIGGER notice_drop_deleted BEFORE INSERT ON users_notice
    FOR EACH ROW EXECUTE FUNCTION users_refuse_deleted('user_id', 'drop');
"""
TRIGGERS_BACK = """
DROP TRIGGER user_guard_deleted ON users_user;
DROP TRIGGER userprofile_refuse_deleted ON users_userprofile;
DROP TRIGGER challenge_refuse_deleted ON users_challenge;
DROP TRIGGER totpdevice_refuse_deleted ON users_totpdevice;
DROP TRIGGER recoverycode_refuse_deleted ON users_recoverycode;
DROP TRIGGER notificationpreference_refuse_deleted ON users_notificationpreference;
DROP TRIGGER dataexport_refuse_deleted ON users_dataexport;
DROP TRIGGER upload_refuse_deleted ON core_upload;
DROP TRIGGER notice_drop_deleted ON users_notice;
"""


class Migration(migrations.Migration):
    dependencies = [("users", "0002_account_deletion"), ("core", "0003_uploads")]
    operations = [
        migrations.RunSQL(FUNCTIONS, FUNCTIONS_BACK),
        migrations.RunSQL(TRIGGERS, TRIGGERS_BACK),
    ]
