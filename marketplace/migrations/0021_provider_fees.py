"""The index by which the reconciler finds payments whose fee is not booked. Purchases are many, so it is built beside the running system."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("marketplace", "0020_validate_refunded_status")]

    operations = [
        AddIndexConcurrently(
            "purchase",
            models.Index(fields=["paid_at"], name="purchase_paid_newest", condition=models.Q(paid_at__isnull=False, amount_minor__gt=0)),
        ),
    ]
