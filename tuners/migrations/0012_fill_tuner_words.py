"""The words of the tuners that were there before their trigger.

Batch by batch, each in a transaction of its own that locks its profiles: a name that changes meanwhile is written by the
trigger, before or after, and never stands in both forms. Can be repeated.
"""

from django.db import migrations

FILL = """
WITH few AS MATERIALIZED (
    SELECT id, status, search_text, make_keys FROM tuners_tunerprofile WHERE id > %s ORDER BY id LIMIT 500 FOR NO KEY UPDATE
), words AS (
    INSERT INTO tuners_tunerword (word, tuner_id)
    SELECT DISTINCT word, id FROM few, unnest(string_to_array(search_text, ' ') || make_keys::text[]) AS word
     WHERE status = 'ACTIVE' AND word <> ''
    ON CONFLICT DO NOTHING
)
SELECT max(id::text) FROM few
"""


def fill(apps, schema_editor) -> None:
    last = "00000000-0000-0000-0000-000000000000"
    while last is not None:
        with schema_editor.connection.cursor() as cursor:
            cursor.execute(FILL, [last])
            (last,) = cursor.fetchone()


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("tuners", "0011_tuner_word")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
