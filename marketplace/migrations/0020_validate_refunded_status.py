"""Look at the purchases that were there before their new rule, without a lock that stops anybody."""

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0019_reconciling")]

    operations = [ValidateConstraint(model_name="purchase", name="purchase_all_refunded_means_status")]
