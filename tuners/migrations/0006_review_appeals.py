"""Appeals against decisions about reviews; what was reported of a review that its author deleted is moot."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models import F, Q

import core.ids

TRIGGER = """
CREATE TRIGGER reviewappeal_refuse_deleted BEFORE INSERT ON tuners_reviewappeal
    FOR EACH ROW EXECUTE FUNCTION users_refuse_deleted('appellant_id');
"""
MOOT = """
UPDATE tuners_reviewreport SET state = 'MOOT', decided_at = review.deleted_at FROM tuners_tunerreview review
 WHERE tuners_reviewreport.review_id = review.id AND tuners_reviewreport.state = 'OPEN' AND review.state = 'DELETED'
"""
BACK = "UPDATE tuners_reviewreport SET state = 'OPEN', decided_at = NULL WHERE state = 'MOOT'"


class Migration(migrations.Migration):
    dependencies = [
        ("tuners", "0005_review_same_bike_index"),
        ("users", "0003_refuse_deleted"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunSQL("SET LOCAL lock_timeout = '5s'", migrations.RunSQL.noop),
        migrations.RemoveConstraint(model_name="reviewreport", name="reviewreport_decided_iff_not_open"),
        migrations.AlterField(
            model_name="reviewreport",
            name="state",
            field=models.CharField(
                choices=[
                    ("OPEN", "Open"),
                    ("UPHELD", "Upheld: the review was hidden"),
                    ("DISMISSED", "Dismissed"),
                    ("MOOT", "The review was deleted by its author"),
                ],
                default="OPEN",
                max_length=9,
            ),
        ),
        migrations.RunSQL(MOOT, BACK),
        migrations.AddConstraint(
            model_name="reviewreport",
            constraint=models.CheckConstraint(
                condition=Q(state="OPEN", decided_at__isnull=True, decided_by_id__isnull=True)
                | Q(state="MOOT", decided_at__isnull=False, decided_by_id__isnull=True)
                | Q(state__in=["UPHELD", "DISMISSED"], decided_at__isnull=False, decided_by_id__isnull=False),
                name="reviewreport_decided_iff_not_open",
            ),
        ),
        migrations.AddConstraint(
            model_name="reviewreport",
            constraint=models.CheckConstraint(
                condition=~Q(state__in=["UPHELD", "DISMISSED"], decision_reason=""), name="reviewreport_decision_has_reason"
            ),
        ),
        migrations.CreateModel(
            name="ReviewAppeal",
            fields=[
                ("id", models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ("against_at", models.DateTimeField(help_text="When it was decided what this is against.")),
                ("text", models.TextField(max_length=4000)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("OPEN", "Open"),
                            ("ACCEPTED", "Accepted: the decision was turned around"),
                            ("REJECTED", "Rejected: the decision stands"),
                            ("MOOT", "The review was deleted by its author"),
                        ],
                        default="OPEN",
                        max_length=8,
                    ),
                ),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                ("decided_by_id", models.UUIDField(blank=True, null=True)),
                ("decision_reason", models.TextField(blank=True, default="", max_length=2000)),
                ("created_at", models.DateTimeField()),
                (
                    "appellant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="review_appeals", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "report",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="appeals",
                        to="tuners.reviewreport",
                    ),
                ),
                (
                    "review",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="appeals", to="tuners.tunerreview"),
                ),
            ],
            options={
                "indexes": [models.Index(condition=Q(state="OPEN"), fields=["created_at"], name="reviewappeal_queue")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=Q(report__isnull=True), fields=("review", "against_at"), name="reviewappeal_one_per_hiding"
                    ),
                    models.UniqueConstraint(
                        condition=Q(report__isnull=False), fields=("report",), name="reviewappeal_one_per_report"
                    ),
                    models.CheckConstraint(
                        condition=Q(state="OPEN", decided_at__isnull=True, decided_by_id__isnull=True)
                        | Q(state="MOOT", decided_at__isnull=False, decided_by_id__isnull=True)
                        | Q(state__in=["ACCEPTED", "REJECTED"], decided_at__isnull=False, decided_by_id__isnull=False),
                        name="reviewappeal_decided_iff_not_open",
                    ),
                    models.CheckConstraint(
                        condition=~Q(state__in=["ACCEPTED", "REJECTED"], decision_reason=""), name="reviewappeal_decision_has_reason"
                    ),
                    models.CheckConstraint(
                        condition=Q(decided_by_id__isnull=True) | ~Q(decided_by_id=F("appellant_id")),
                        name="reviewappeal_never_own_decision",
                    ),
                ],
            },
        ),
        migrations.RunSQL(TRIGGER, "DROP TRIGGER reviewappeal_refuse_deleted ON tuners_reviewappeal"),
    ]
