"""How often a tune was looked at on one day: numbers, and nobody in them."""

import django.db.models.deletion
from django.db import migrations, models

import core.ids


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0024_known_prices")]

    operations = [
        migrations.CreateModel(
            name="TuneViews",
            fields=[
                ("id", models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ("day", models.DateField()),
                ("views", models.PositiveIntegerField()),
                (
                    "tune",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="marketplace.tune"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "tune views",
                "indexes": [models.Index(fields=["day"], name="tune_views_to_forget")],
                "constraints": [models.UniqueConstraint(fields=("tune", "day"), name="tune_views_once_a_day")],
            },
        ),
    ]
