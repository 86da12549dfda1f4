"""The index of "bikes like yours", built beside the running system, and a look at the rows that were there before the new rule."""

from django.contrib.postgres.operations import AddIndexConcurrently, ValidateConstraint
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("tuners", "0004_review_bikes")]

    operations = [
        AddIndexConcurrently(
            "tunerreview",
            models.Index(
                fields=["tune_id", "vehicle_model_id", "-created_at", "-id"],
                include=["vehicle_year", "hardware_number", "rating", "is_counted"],
                name="review_same_bike",
                condition=Q(state="PUBLISHED", vehicle_model_id__isnull=False),
            ),
        ),
        ValidateConstraint(model_name="tunerreview", name="tunerreview_uncounted_only_when_refunded"),
    ]
