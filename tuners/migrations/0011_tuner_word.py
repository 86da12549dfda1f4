"""The words of active tuners, for the neighbours of a misspelt one, kept by a trigger on the profile."""

import django.db.models.deletion
from django.db import migrations, models

TRIGGER = """
CREATE FUNCTION tuners_refresh_words() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wanted text[] := ARRAY[]::text[];
BEGIN
    IF NEW.status = 'ACTIVE' THEN
        wanted := array_remove(string_to_array(NEW.search_text, ' ') || NEW.make_keys::text[], '');
    END IF;
    DELETE FROM tuners_tunerword WHERE tuner_id = NEW.id AND word <> ALL (wanted);
    INSERT INTO tuners_tunerword (word, tuner_id) SELECT DISTINCT word, NEW.id FROM unnest(wanted) AS word ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
REVOKE EXECUTE ON FUNCTION tuners_refresh_words() FROM PUBLIC;
CREATE TRIGGER tunerprofile_words AFTER INSERT ON tuners_tunerprofile FOR EACH ROW EXECUTE FUNCTION tuners_refresh_words();
CREATE TRIGGER tunerprofile_words_on_update AFTER UPDATE OF status, search_text, make_keys ON tuners_tunerprofile FOR EACH ROW
    WHEN ((OLD.status, OLD.search_text, OLD.make_keys) IS DISTINCT FROM (NEW.status, NEW.search_text, NEW.make_keys))
    EXECUTE FUNCTION tuners_refresh_words();
"""
NO_TRIGGER = """
DROP TRIGGER tunerprofile_words_on_update ON tuners_tunerprofile;
DROP TRIGGER tunerprofile_words ON tuners_tunerprofile;
DROP FUNCTION tuners_refresh_words();
"""


class Migration(migrations.Migration):
    dependencies = [("tuners", "0010_tuner_indexes")]

    operations = [
        migrations.CreateModel(
            name="TunerWord",
            fields=[
                ("pk", models.CompositePrimaryKey("word", "tuner_id", blank=True, editable=False, primary_key=True, serialize=False)),
                ("word", models.CharField(db_collation="C", max_length=160)),
                (
                    "tuner",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="words", to="tuners.tunerprofile"),
                ),
            ],
        ),
        migrations.RunSQL(TRIGGER, NO_TRIGGER),
    ]
