"""The index of a tuner's report of some days. Flashes are many, so it is built beside the running system."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("marketplace", "0025_tune_views")]

    operations = [
        AddIndexConcurrently("flash", models.Index(fields=["version", "received_at"], name="flash_of_version")),
    ]
