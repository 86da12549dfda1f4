"""Indexes over when tunes were bought, flashed and marked: the trend reads the last weeks only. Built beside the running system."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("marketplace", "0022_trends")]

    operations = [
        AddIndexConcurrently(
            "purchase", models.Index(fields=["paid_at"], name="purchase_trend", condition=models.Q(status="PAID"))
        ),
        AddIndexConcurrently(
            "flash", models.Index(fields=["received_at"], name="flash_trend", condition=models.Q(outcome="SUCCEEDED"))
        ),
        AddIndexConcurrently("favorite", models.Index(fields=["created_at"], name="favorite_trend")),
    ]
