"""One open report for each reporter of a review, where it was one for ever: what its author changed may be reported again."""

from django.db import migrations, models

ADD = """
CREATE UNIQUE INDEX CONCURRENTLY reviewreport_one_open_per_reporter ON tuners_reviewreport (review_id, reporter_id) WHERE state = 'OPEN'
"""


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("tuners", "0007_tuner_words")]

    operations = [
        migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS reviewreport_one_open_per_reporter", migrations.RunSQL.noop),  # of a broken run
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(ADD, "DROP INDEX reviewreport_one_open_per_reporter")],
            state_operations=[
                migrations.AddConstraint(
                    model_name="reviewreport",
                    constraint=models.UniqueConstraint(
                        condition=models.Q(state="OPEN"), fields=("review", "reporter"), name="reviewreport_one_open_per_reporter"
                    ),
                ),
            ],
        ),
        migrations.RemoveConstraint(model_name="reviewreport", name="reviewreport_one_per_reporter"),
    ]
