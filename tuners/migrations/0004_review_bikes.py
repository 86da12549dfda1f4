"""What bike a review is about, whether its buyer got the money back, and whether the ratings count it.

Old code writes none of it: the database's defaults say "not refunded, counted". Which bike earlier reviews are about is
filled in by the marketplace, which knows who bought what for which vehicle.
"""

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("tuners", "0003_refuse_deleted")]

    operations = [
        migrations.RunSQL("SET LOCAL lock_timeout = '5s'", migrations.RunSQL.noop),
        migrations.AddField(
            model_name="tunerreview",
            name="hardware_number",
            field=models.CharField(blank=True, db_default="", default="", help_text="Of the ECU; never shown.", max_length=64),
        ),
        migrations.AddField(
            model_name="tunerreview",
            name="is_counted",
            field=models.BooleanField(db_default=True, default=True, help_text="The ratings count it while it is published."),
        ),
        migrations.AddField(
            model_name="tunerreview",
            name="is_refunded",
            field=models.BooleanField(db_default=False, default=False, help_text="The buyer got the money back."),
        ),
        migrations.AddField(
            model_name="tunerreview",
            name="vehicle_year",
            field=models.PositiveSmallIntegerField(blank=True, null=True),
        ),
        AddConstraintNotValid(
            model_name="tunerreview",
            constraint=models.CheckConstraint(
                condition=Q(is_counted=True) | Q(is_refunded=True), name="tunerreview_uncounted_only_when_refunded"
            ),
        ),
    ]
