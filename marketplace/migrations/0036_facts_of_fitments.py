"""What a fitment says, as words of one index: who may fit a vehicle is found by all of its facts at once.

A word is the model, a letter for the fact, and one value of it; a fact that lists nothing has the word without a value.
And what a tune leaves in an ECU, for the vehicles that have had it. Both indexes are made beside the running system.
"""

import django.contrib.postgres.indexes
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

FUNCTION = """
CREATE OR REPLACE FUNCTION marketplace_fitment_facts(
    model uuid, year_from integer, year_to integer, markets varchar[], hardware_numbers varchar[], calibration_ids varchar[], image_size integer
) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ARRAY(
        SELECT model::text || 'Y' || year FROM generate_series(year_from, year_to) AS year
        UNION ALL SELECT model::text || 'S' || image_size
        UNION ALL SELECT model::text || 'M' || market FROM unnest(CASE WHEN markets = '{}' THEN '{""}' ELSE markets END) AS market
        UNION ALL SELECT model::text || 'H' || number
                    FROM unnest(CASE WHEN hardware_numbers = '{}' THEN '{""}' ELSE hardware_numbers END) AS number
        UNION ALL SELECT model::text || 'C' || calibration
                    FROM unnest(CASE WHEN calibration_ids = '{}' THEN '{""}' ELSE calibration_ids END) AS calibration
    )
$$;
REVOKE EXECUTE ON FUNCTION marketplace_fitment_facts(uuid, integer, integer, varchar[], varchar[], varchar[], integer) FROM PUBLIC;
"""
BACK = "DROP FUNCTION marketplace_fitment_facts(uuid, integer, integer, varchar[], varchar[], varchar[], integer)"


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("marketplace", "0035_rows_by_hardware_number")]

    operations = [
        migrations.RunSQL(FUNCTION, BACK),
        AddIndexConcurrently(
            "fitment",
            django.contrib.postgres.indexes.GinIndex(
                models.Func(
                    "model_id",
                    "year_from",
                    "year_to",
                    "markets",
                    "hardware_numbers",
                    "calibration_ids",
                    "image_size_bytes",
                    function="marketplace_fitment_facts",
                    output_field=ArrayField(models.TextField()),
                ),
                name="fitment_facts",
                condition=models.Q(live=True),
                fastupdate=False,
            ),
        ),
        AddIndexConcurrently(
            "tune",
            django.contrib.postgres.indexes.GinIndex(
                fields=["calibration_ids_after"],
                name="tune_calibration_after",
                condition=models.Q(listed=True),
                fastupdate=False,
            ),
        ),
    ]
