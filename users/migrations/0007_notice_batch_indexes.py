"""The indexes by which waiting notices are collected and read. Notices are many, so they are built beside the running system."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("users", "0006_notice_batches")]

    operations = [
        AddIndexConcurrently(
            "notice", models.Index(name="notice_waiting", fields=["batch_due_at"], condition=models.Q(batch_due_at__isnull=False))
        ),
        AddIndexConcurrently(
            "notice", models.Index(name="notice_of_batch", fields=["batch_id"], condition=models.Q(batch_id__isnull=False))
        ),
    ]
