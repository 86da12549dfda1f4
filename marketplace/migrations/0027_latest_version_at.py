"""When a tune's newest version on sale was published, kept by a trigger: what is new of followed tuners is ordered by it."""

from django.db import migrations, models

TRIGGER = """
SET LOCAL lock_timeout = '5s';
CREATE FUNCTION marketplace_note_latest_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.latest_version_at := (SELECT published_at FROM marketplace_tuneversion WHERE id = NEW.latest_version_id);
    RETURN NEW;
END $$;
CREATE TRIGGER tune_latest_version BEFORE UPDATE OF latest_version_id ON marketplace_tune
    FOR EACH ROW EXECUTE FUNCTION marketplace_note_latest_version();
"""
TRIGGER_BACK = """
DROP TRIGGER tune_latest_version ON marketplace_tune;
DROP FUNCTION marketplace_note_latest_version();
"""


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0026_flashes_of_version")]

    operations = [
        migrations.AddField(
            "tune",
            "latest_version_at",
            models.DateTimeField(null=True, blank=True, help_text="When that one was published."),
        ),
        migrations.RunSQL(TRIGGER, TRIGGER_BACK),
    ]
