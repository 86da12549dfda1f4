"""A favourite remembers the lowest price that its person knows, so that a lower one is told once.

Rows that are there already know today's price; those that old code writes meanwhile know none, and their person is told of none.
"""

from django.db import migrations, models

BACKFILL = """
UPDATE marketplace_favorite AS favorite SET known_price_minor = tune.price_minor, known_currency = tune.currency
  FROM marketplace_tune AS tune WHERE tune.id = favorite.tune_id AND favorite.known_price_minor IS NULL
"""


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0022_search_document"), ("marketplace", "0023_times_of_acts")]

    operations = [
        migrations.AddField("favorite", "known_price_minor", models.PositiveIntegerField(blank=True, null=True)),
        migrations.AddField("favorite", "known_currency", models.CharField(blank=True, db_default="", default="", max_length=3)),
        migrations.RunSQL(BACKFILL, migrations.RunSQL.noop),
    ]
