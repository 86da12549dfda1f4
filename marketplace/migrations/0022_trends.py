"""The list of trending tunes: small, written by the schedule, read by its index."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0021_provider_fees")]

    operations = [
        migrations.CreateModel(
            name="TrendRow",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "scope_id", "tune_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("scope_id", models.UUIDField(help_text="Id of the make or the model; zeros for everything.")),
                ("kind", models.CharField(max_length=10)),
                ("score", models.IntegerField()),
                (
                    "tune",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="trend_rows", to="marketplace.tune"
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["scope_id", "-score", "-tune"], name="trendrow_trending", include=["kind"])],
            },
        ),
    ]
