"""Saved searches, what came to match them, and what changed on the lists since they were last compared."""

import django.db.models.deletion
import django.db.models.functions.text
from django.conf import settings
from django.db import migrations, models

import core.ids


class Migration(migrations.Migration):
    dependencies = [
        ("marketplace", "0029_suspense"),
        ("garage", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ListingChange",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("tune_id", models.UUIDField()),
                ("newly_listed", models.BooleanField()),
                ("version_id", models.UUIDField(null=True)),
                ("price_minor_before", models.PositiveIntegerField(null=True)),
                ("currency_before", models.CharField(blank=True, max_length=3)),
                ("changed_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="SavedSearch",
            fields=[
                ("id", models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=80)),
                ("query", models.JSONField(default=dict)),
                (
                    "scope_id",
                    models.UUIDField(blank=True, help_text="Make or model; empty without names, or with unknown ones.", null=True),
                ),
                ("reading", models.TextField(blank=True, default="", help_text="Its words as a tsquery.")),
                ("notify", models.BooleanField(default=True)),
                ("told_at", models.DateTimeField(blank=True, null=True)),
                ("revision", models.PositiveIntegerField(default=1)),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
                (
                    "owner",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="saved_searches",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "vehicle",
                    models.ForeignKey(
                        blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="garage.vehicle"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "saved searches",
                "indexes": [
                    models.Index(fields=["owner", "-created_at", "-id"], name="savedsearch_own_newest"),
                    models.Index(condition=models.Q(("notify", True)), fields=["scope_id"], name="savedsearch_scope"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        models.F("owner"), django.db.models.functions.text.Lower("name"), name="savedsearch_name_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("name", ""), _negated=True), name="savedsearch_name_not_empty"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="SavedSearchMatch",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey("search_id", "tune_id", blank=True, editable=False, primary_key=True, serialize=False),
                ),
                ("matched_at", models.DateTimeField()),
                ("told_at", models.DateTimeField(blank=True, null=True)),
                (
                    "search",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="matches",
                        to="marketplace.savedsearch",
                    ),
                ),
                (
                    "tune",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="+", to="marketplace.tune"),
                ),
            ],
            options={
                "verbose_name_plural": "saved search matches",
                "indexes": [
                    models.Index(condition=models.Q(("told_at", None)), fields=["search"], name="savedsearchmatch_untold")
                ],
            },
        ),
    ]
