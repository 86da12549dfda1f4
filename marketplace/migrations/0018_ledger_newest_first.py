"""The index of a tuner's balance and statements. The ledger grows with every sale, so it is built beside the running system."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("marketplace", "0017_payouts")]

    operations = [
        AddIndexConcurrently(
            "ledgerentry",
            models.Index(
                fields=["tuner", "currency", "-at", "-id"], name="ledgerentry_own_newest", condition=models.Q(account="TUNER")
            ),
        ),
    ]
