"""Indexes for the quota of stored files, and for finding the upload of a deleted object; built while the table is written."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("core", "0011_upload_gone_at")]

    operations = [
        AddIndexConcurrently(
            "upload",
            models.Index(fields=["owner_id", "purpose"], name="upload_kept_of_owner", condition=models.Q(gone_at__isnull=True)),
        ),
        AddIndexConcurrently("upload", models.Index(fields=["storage_key"], name="upload_by_object")),
    ]
