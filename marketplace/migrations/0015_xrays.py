"""X-rays of tune files: what an image changes in its stock image, or in the version before. Evidence, so it never changes."""

import django.db.models.deletion
from django.db import migrations, models

import core.ids

GUARD = """
CREATE FUNCTION marketplace_guard_xray() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    held marketplace_tuneversion%ROWTYPE;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        PERFORM marketplace_refuse('filexray_immutable', 'what the inspection saw is evidence');
    END IF;
    SELECT version.* INTO held FROM marketplace_tunefile file JOIN marketplace_tuneversion version ON version.id = file.version_id
     WHERE file.id = CASE WHEN TG_OP = 'DELETE' THEN OLD.file_id ELSE NEW.file_id END;
    IF TG_OP = 'INSERT' AND held.status <> 'VALIDATING' THEN
        PERFORM marketplace_refuse('filexray_made_by_inspection', 'an X-ray comes with the inspection');
    ELSIF TG_OP = 'DELETE' AND (held.status = 'IN_REVIEW' OR held.published_at IS NOT NULL)
          AND NOT marketplace_is_being_deleted(held.tune_id) THEN
        PERFORM marketplace_refuse('filexray_reviewed_stays', 'what is reviewed or published is never deleted');
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER filexray_guard BEFORE INSERT OR UPDATE OR DELETE ON marketplace_filexray
    FOR EACH ROW EXECUTE FUNCTION marketplace_guard_xray();
"""
GUARD_BACK = """
DROP TRIGGER filexray_guard ON marketplace_filexray;
DROP FUNCTION marketplace_guard_xray();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("marketplace", "0014_ledger_accounts"),
    ]

    operations = [
        migrations.AddField(
            model_name="tunefile",
            name="stock_upload_id",
            field=models.UUIDField(blank=True, help_text="The upload of the stock image that it was made from.", null=True),
        ),
        migrations.CreateModel(
            name="FileXRay",
            fields=[
                ("id", models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                (
                    "against",
                    models.CharField(
                        choices=[("STOCK", "The stock image that its tuner named"), ("PREVIOUS", "The version published before")],
                        max_length=8,
                    ),
                ),
                (
                    "base_label",
                    models.CharField(blank=True, default="", help_text="The number of the earlier version.", max_length=14),
                ),
                ("base_sha256", models.CharField(max_length=64)),
                ("regions", models.PositiveIntegerField()),
                ("share_basis_points", models.PositiveSmallIntegerField()),
                ("changes_code", models.BooleanField()),
                ("report", models.JSONField()),
                ("created_at", models.DateTimeField()),
                (
                    "file",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="xrays", to="marketplace.tunefile"
                    ),
                ),
            ],
            options={
                "verbose_name": "X-ray",
                "constraints": [
                    models.UniqueConstraint(fields=("file", "against"), name="filexray_once_per_base"),
                    models.CheckConstraint(condition=models.Q(("against__in", ["STOCK", "PREVIOUS"])), name="filexray_base_known"),
                    models.CheckConstraint(
                        condition=models.Q(("base_sha256__regex", "^[0-9a-f]{64}$")), name="filexray_base_is_sha256"
                    ),
                    models.CheckConstraint(condition=models.Q(("share_basis_points__lte", 10000)), name="filexray_share_is_one"),
                ],
            },
        ),
        migrations.RunSQL(GUARD, GUARD_BACK),
    ]
