"""Which transaction wrote an audit row: what is sealed in order, and only once nobody can still commit before it.

Rows of before get 0. New ones get the transaction's number from the default, those that old code writes too. The first
number in both functions is raised when the database was restored into a server that counts from the beginning.
"""

import django.db.models.expressions
from django.db import migrations, models

FUNCTIONS = """
CREATE FUNCTION core_audit_position() RETURNS bigint LANGUAGE sql VOLATILE AS
    $$ SELECT 0::bigint + pg_catalog.pg_current_xact_id()::text::bigint $$;
CREATE FUNCTION core_audit_horizon() RETURNS bigint LANGUAGE sql STABLE AS
    $$ SELECT 0::bigint + pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text::bigint $$;
"""

COLUMN = """
SET LOCAL lock_timeout = '5s';
ALTER TABLE core_auditevent ADD COLUMN position bigint NOT NULL DEFAULT 0;
ALTER TABLE core_auditevent ALTER COLUMN position SET DEFAULT core_audit_position();
"""


class Migration(migrations.Migration):
    dependencies = [("core", "0006_limits_count_from_zero")]

    operations = [
        migrations.RunSQL(FUNCTIONS, "DROP FUNCTION core_audit_position(), core_audit_horizon()"),
        migrations.RunSQL(
            COLUMN,
            "ALTER TABLE core_auditevent DROP COLUMN position",
            state_operations=[
                migrations.AddField(
                    model_name="auditevent",
                    name="position",
                    field=models.BigIntegerField(
                        db_default=django.db.models.expressions.Func(
                            function="core_audit_position", output_field=models.BigIntegerField()
                        ),
                        editable=False,
                    ),
                )
            ],
        ),
    ]
