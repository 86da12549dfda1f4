"""From which release on a tune is still flashed, and which signing keys count no more. Both only ever grow."""

from django.db import migrations, models

import core.ids

FORWARD = """
CREATE TRIGGER counter_floor_append_only BEFORE UPDATE OR DELETE ON marketplace_counterfloor
    FOR EACH ROW EXECUTE FUNCTION core_refuse_change();
CREATE TRIGGER counter_floor_no_truncate BEFORE TRUNCATE ON marketplace_counterfloor
    FOR EACH STATEMENT EXECUTE FUNCTION core_refuse_change();
CREATE TRIGGER revoked_key_append_only BEFORE UPDATE OR DELETE ON marketplace_revokedkey
    FOR EACH ROW EXECUTE FUNCTION core_refuse_change();
CREATE TRIGGER revoked_key_no_truncate BEFORE TRUNCATE ON marketplace_revokedkey
    FOR EACH STATEMENT EXECUTE FUNCTION core_refuse_change();
"""

BACK = """
DROP TRIGGER counter_floor_append_only ON marketplace_counterfloor;
DROP TRIGGER counter_floor_no_truncate ON marketplace_counterfloor;
DROP TRIGGER revoked_key_append_only ON marketplace_revokedkey;
DROP TRIGGER revoked_key_no_truncate ON marketplace_revokedkey;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("marketplace", "0012_cases"),
    ]

    operations = [
        migrations.CreateModel(
            name="CounterFloor",
            fields=[
                ("id", models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ("tune_id", models.UUIDField()),
                ("least_counter", models.PositiveIntegerField()),
                ("since", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="RevokedKey",
            fields=[
                ("keyid", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("role", models.CharField(max_length=12)),
                ("reason", models.CharField(max_length=2000)),
                ("revoked_at", models.DateTimeField()),
            ],
        ),
        migrations.AddConstraint(
            model_name="counterfloor",
            constraint=models.UniqueConstraint(fields=("tune_id", "least_counter"), name="counter_floor_once"),
        ),
        migrations.AddConstraint(
            model_name="counterfloor",
            constraint=models.CheckConstraint(condition=models.Q(("least_counter__gte", 2)), name="counter_floor_is_a_counter"),
        ),
        migrations.AddConstraint(
            model_name="revokedkey",
            constraint=models.CheckConstraint(condition=models.Q(("keyid__regex", "^[0-9a-f]{64}$")), name="revoked_key_is_a_keyid"),
        ),
        migrations.AddConstraint(
            model_name="revokedkey",
            constraint=models.CheckConstraint(condition=models.Q(("reason", ""), _negated=True), name="revoked_key_has_reason"),
        ),
        migrations.RunSQL(FORWARD, BACK),
    ]
