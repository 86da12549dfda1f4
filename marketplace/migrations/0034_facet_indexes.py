"""Facets are counted from one combination of values to the next: one index for each table that they are counted in."""

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("marketplace", "0033_fill_review_bikes")]

    operations = [
        AddIndexConcurrently(
            "browserow", models.Index(fields=["scope_id", "category", "emissions_class", "kind"], name="browserow_facets")
        ),
        AddIndexConcurrently(
            "tune",
            models.Index(fields=["category", "emissions_class", "kind"], name="tune_facets", condition=models.Q(listed=True)),
        ),
        RemoveIndexConcurrently("tune", "tune_category_listed"),
        RemoveIndexConcurrently("tune", "tune_emissions_listed"),
    ]
