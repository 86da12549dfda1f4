"""What Postgres itself keeps true of the trust documents.

The download log and the flash reports are append-only. A release's signed document never changes: only the time at which
a newer signature replaced it is set, once. Of a ticket only its end is written, and of an open stop only its lifting.
"""

from django.db import migrations

APPEND_ONLY = """
CREATE TRIGGER download_append_only BEFORE UPDATE OR DELETE ON marketplace_download
    FOR EACH ROW EXECUTE FUNCTION core_refuse_change();
CREATE TRIGGER download_no_truncate BEFORE TRUNCATE ON marketplace_download
    FOR EACH STATEMENT EXECUTE FUNCTION core_refuse_change();
CREATE TRIGGER flash_append_only BEFORE UPDATE OR DELETE ON marketplace_flash
    FOR EACH ROW EXECUTE FUNCTION core_refuse_change();
CREATE TRIGGER flash_no_truncate BEFORE TRUNCATE ON marketplace_flash
    FOR EACH STATEMENT EXECUTE FUNCTION core_refuse_change();
"""

APPEND_ONLY_BACK = """
DROP TRIGGER download_append_only ON marketplace_download;
DROP TRIGGER download_no_truncate ON marketplace_download;
DROP TRIGGER flash_append_only ON marketplace_flash;
DROP TRIGGER flash_no_truncate ON marketplace_flash;
"""

GUARDS = """
CREATE FUNCTION marketplace_guard_release() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.superseded_at IS NOT NULL OR (
        NEW.id, NEW.version_id, NEW.file_id, NEW.channel, NEW.release_counter, NEW.payload_sha256, NEW.keyid, NEW.envelope, NEW.issued_at
    ) IS DISTINCT FROM (
        OLD.id, OLD.version_id, OLD.file_id, OLD.channel, OLD.release_counter, OLD.payload_sha256, OLD.keyid, OLD.envelope, OLD.issued_at
    ) THEN
        RAISE EXCEPTION 'release_is_final: a signed document never changes'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'release_is_final';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER release_guard BEFORE UPDATE ON marketplace_release FOR EACH ROW EXECUTE FUNCTION marketplace_guard_release();

CREATE FUNCTION marketplace_guard_ticket() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR (to_jsonb(NEW) - ARRAY['reported_at', 'expired_unreported_at'])
        IS DISTINCT FROM (to_jsonb(OLD) - ARRAY['reported_at', 'expired_unreported_at']) THEN
        RAISE EXCEPTION 'flash_ticket_is_final: what was signed never changes'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'flash_ticket_is_final';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER flash_ticket_guard BEFORE UPDATE OR DELETE ON marketplace_flashticket
    FOR EACH ROW EXECUTE FUNCTION marketplace_guard_ticket();

CREATE FUNCTION marketplace_guard_stop() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.lifted_at IS NOT NULL OR OLD.recalled_at IS NOT NULL OR (
        NEW.id, NEW.version_id, NEW.kind, NEW.severity, NEW.source, NEW.reason, NEW.replacement_id, NEW.made_by_id, NEW.since
    ) IS DISTINCT FROM (
        OLD.id, OLD.version_id, OLD.kind, OLD.severity, OLD.source, OLD.reason, OLD.replacement_id, OLD.made_by_id, OLD.since
    ) THEN
        IF TG_OP = 'UPDATE' AND (to_jsonb(NEW) - 'told_at') = (to_jsonb(OLD) - 'told_at') THEN
            RETURN NEW;
        END IF;
        RAISE EXCEPTION 'version_stop_is_final: a stop ends by being lifted, not by being edited'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'version_stop_is_final';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER version_stop_guard BEFORE UPDATE OR DELETE ON marketplace_versionstop
    FOR EACH ROW EXECUTE FUNCTION marketplace_guard_stop();
"""

GUARDS_BACK = """
DROP TRIGGER release_guard ON marketplace_release;
DROP TRIGGER flash_ticket_guard ON marketplace_flashticket;
DROP TRIGGER version_stop_guard ON marketplace_versionstop;
DROP FUNCTION marketplace_guard_release();
DROP FUNCTION marketplace_guard_ticket();
DROP FUNCTION marketplace_guard_stop();
"""


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0006_trust"), ("core", "0002_append_only")]

    operations = [
        migrations.RunSQL(APPEND_ONLY, APPEND_ONLY_BACK),
        migrations.RunSQL(GUARDS, GUARDS_BACK),
    ]
