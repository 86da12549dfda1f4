"""The index of the vehicles that follow when a name is merged."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("garage", "0007_unlisted_names")]

    operations = [
        AddIndexConcurrently(
            model_name="vehicle",
            index=models.Index(
                condition=models.Q(("unlisted_name__isnull", False)), fields=["unlisted_name", "id"], name="vehicle_unlisted"
            ),
        ),
    ]
