"""Append-only tables: one function for all apps, and the trigger on the audit log."""

from django.db import migrations

FUNCTION = """
CREATE FUNCTION core_refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'integrity_constraint_violation';
END
$$
"""

TRIGGERS = """
CREATE TRIGGER auditevent_append_only BEFORE UPDATE OR DELETE ON core_auditevent FOR EACH ROW EXECUTE FUNCTION core_refuse_change();
CREATE TRIGGER auditevent_no_truncate BEFORE TRUNCATE ON core_auditevent FOR EACH STATEMENT EXECUTE FUNCTION core_refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [("core", "0001_initial")]

    operations = [
        migrations.RunSQL(FUNCTION, "DROP FUNCTION core_refuse_change()"),
        migrations.RunSQL(
            TRIGGERS,
            "DROP TRIGGER auditevent_append_only ON core_auditevent; DROP TRIGGER auditevent_no_truncate ON core_auditevent",
        ),
    ]
