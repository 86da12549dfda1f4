"""A counter may stand at zero, so that taking a hit back is one statement. Wider than before: old code may run on."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("core", "0005_task_indexes")]

    operations = [
        migrations.RemoveConstraint(model_name="limitcounter", name="limit_counts_from_one"),
        migrations.AddConstraint(
            model_name="limitcounter",
            constraint=models.CheckConstraint(condition=models.Q(("count__gte", 0)), name="limit_counts_from_zero"),
        ),
    ]
