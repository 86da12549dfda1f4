"""Fills `latest_version_at` of tunes that were there, a few thousand at a time, and builds its index, beside the running system."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

FILL = """
DO $$
DECLARE
    filled bigint;
BEGIN
    LOOP
        WITH due AS (
            SELECT t.id, v.published_at FROM marketplace_tune t JOIN marketplace_tuneversion v ON v.id = t.latest_version_id
             WHERE t.latest_version_at IS NULL AND v.published_at IS NOT NULL LIMIT 5000
        )
        UPDATE marketplace_tune AS tune SET latest_version_at = due.published_at FROM due WHERE tune.id = due.id;
        GET DIAGNOSTICS filled = ROW_COUNT;
        COMMIT;
        EXIT WHEN filled = 0;
    END LOOP;
END $$
"""


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("marketplace", "0027_latest_version_at")]

    operations = [
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        AddIndexConcurrently(
            "tune",
            models.Index(
                fields=["tuner", "-latest_version_at", "-id"], name="tune_followed", condition=models.Q(listed=True)
            ),
        ),
    ]
