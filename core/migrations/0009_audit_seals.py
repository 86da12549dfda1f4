"""The hash chain over the audit log and the copies of its head. Both are append-only."""

import django.db.models.functions.text
import django.db.models.lookups
from django.db import migrations, models
from django.db.models import F, Q

TRIGGERS = """
CREATE TRIGGER auditseal_append_only BEFORE UPDATE OR DELETE ON core_auditseal FOR EACH ROW EXECUTE FUNCTION core_refuse_change();
CREATE TRIGGER auditseal_no_truncate BEFORE TRUNCATE ON core_auditseal FOR EACH STATEMENT EXECUTE FUNCTION core_refuse_change();
CREATE TRIGGER auditheadcopy_append_only BEFORE UPDATE OR DELETE ON core_auditheadcopy FOR EACH ROW EXECUTE FUNCTION core_refuse_change();
CREATE TRIGGER auditheadcopy_no_truncate BEFORE TRUNCATE ON core_auditheadcopy FOR EACH STATEMENT EXECUTE FUNCTION core_refuse_change();
"""

DROP_TRIGGERS = """
DROP TRIGGER auditseal_append_only ON core_auditseal; DROP TRIGGER auditseal_no_truncate ON core_auditseal;
DROP TRIGGER auditheadcopy_append_only ON core_auditheadcopy; DROP TRIGGER auditheadcopy_no_truncate ON core_auditheadcopy;
"""


class Migration(migrations.Migration):
    dependencies = [("core", "0008_audit_indexes")]

    operations = [
        migrations.CreateModel(
            name="AuditSeal",
            fields=[
                ("number", models.BigIntegerField(primary_key=True, serialize=False)),
                ("previous_hash", models.BinaryField(max_length=32, unique=True)),
                ("hash", models.BinaryField(max_length=32)),
                ("sealed_at", models.DateTimeField()),
                ("row_count", models.PositiveIntegerField()),
                ("entries", models.BinaryField()),
            ],
            options={
                "ordering": ["-number"],
                "constraints": [
                    models.CheckConstraint(condition=Q(("number__gte", 1), ("row_count__gte", 1)), name="seal_counts_from_one"),
                    models.CheckConstraint(
                        condition=django.db.models.lookups.Exact(django.db.models.functions.text.Length("entries"), F("row_count") * 56),
                        name="seal_has_its_entries",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="AuditHeadCopy",
            fields=[
                ("last_number", models.BigIntegerField(primary_key=True, serialize=False)),
                ("first_number", models.BigIntegerField()),
                ("hash", models.BinaryField(max_length=32)),
                ("key", models.CharField(max_length=200)),
                ("copied_at", models.DateTimeField()),
            ],
            options={
                "ordering": ["-last_number"],
                "verbose_name_plural": "audit head copies",
                "constraints": [models.CheckConstraint(condition=Q(last_number__gte=F("first_number")), name="head_copy_runs_forward")],
            },
        ),
        migrations.RunSQL(TRIGGERS, DROP_TRIGGERS),
    ]
