"""Flashes that are told of together: what "bikes like yours" adds up. Nothing reads it before the schedule has filled it."""

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import F, Q

import core.ids


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0031_listing_changes"), ("garage", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="FlashGroup",
            fields=[
                ("id", models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ("year_from", models.PositiveSmallIntegerField()),
                ("year_to", models.PositiveSmallIntegerField()),
                ("hardware_number", models.CharField(blank=True, default="", max_length=64)),
                ("rider_count", models.PositiveIntegerField()),
                ("flash_count", models.PositiveIntegerField()),
                ("success_count", models.PositiveIntegerField()),
                ("created_at", models.DateTimeField()),
                (
                    "tune",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="+", to="marketplace.tune"),
                ),
                (
                    "vehicle_model",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="garage.vehiclemodel"),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["tune", "vehicle_model"], name="flashgroup_same_bike")],
                "constraints": [
                    models.CheckConstraint(condition=Q(rider_count__gte=5), name="flashgroup_enough_riders"),
                    models.CheckConstraint(
                        condition=Q(flash_count__gte=F("rider_count"), success_count__lte=F("flash_count"), year_from__lte=F("year_to")),
                        name="flashgroup_counts_possible",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="GroupedFlash",
            fields=[
                (
                    "flash",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="marketplace.flash",
                    ),
                ),
                (
                    "group",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="members", to="marketplace.flashgroup"
                    ),
                ),
            ],
        ),
    ]
