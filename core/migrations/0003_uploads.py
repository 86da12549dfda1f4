import core.ids
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("core", "0002_append_only"),
    ]

    operations = [
        migrations.CreateModel(
            name="Upload",
            fields=[
                ("id", models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ("owner_id", models.UUIDField()),
                (
                    "purpose",
                    models.CharField(
                        choices=[
                            ("AVATAR", "Profile picture"),
                            ("VEHICLE_PHOTO", "Photo of a vehicle"),
                            ("TUNE_IMAGE", "Picture of a tune"),
                            ("CERTIFICATION", "Certificate of a tuner"),
                            ("STOCK_FILE", "Stock file of an ECU"),
                            ("TUNE_FILE", "Tune file"),
                            ("CASE_FILE", "Attachment of a case"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("PENDING", "Waiting for the bytes"),
                            ("CHECKING", "Being checked"),
                            ("READY", "Checked, may be used"),
                            ("REFUSED", "Refused, see the reasons"),
                        ],
                        default="PENDING",
                        max_length=8,
                    ),
                ),
                ("name", models.CharField(max_length=200)),
                ("size_bytes", models.PositiveIntegerField()),
                ("sha256", models.CharField(max_length=64)),
                ("content_type", models.CharField(max_length=100)),
                ("storage_key", models.CharField(max_length=200)),
                ("reasons", models.JSONField(default=list)),
                ("details", models.JSONField(default=dict)),
                ("created_at", models.DateTimeField()),
                ("completed_at", models.DateTimeField(null=True)),
                ("checked_at", models.DateTimeField(null=True)),
                ("used_at", models.DateTimeField(null=True)),
                ("expires_at", models.DateTimeField()),
            ],
            options={
                "indexes": [
                    models.Index(condition=models.Q(("used_at__isnull", True)), fields=["owner_id"], name="upload_unused_of_owner"),
                    models.Index(condition=models.Q(("used_at__isnull", True)), fields=["expires_at"], name="upload_sweep"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "purpose__in",
                                ["AVATAR", "VEHICLE_PHOTO", "TUNE_IMAGE", "CERTIFICATION", "STOCK_FILE", "TUNE_FILE", "CASE_FILE"],
                            )
                        ),
                        name="upload_purpose_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["PENDING", "CHECKING", "READY", "REFUSED"])), name="upload_state_known"
                    ),
                    models.CheckConstraint(condition=models.Q(("size_bytes__gte", 1)), name="upload_not_empty"),
                    models.CheckConstraint(condition=models.Q(("sha256__regex", "^[0-9a-f]{64}$")), name="upload_sha256_is_lowercase_hex"),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("checked_at__isnull", True), ("completed_at__isnull", True), ("state", "PENDING")),
                            models.Q(("checked_at__isnull", True), ("completed_at__isnull", False), ("state", "CHECKING")),
                            models.Q(("checked_at__isnull", False), ("completed_at__isnull", False), ("state__in", ["READY", "REFUSED"])),
                            _connector="OR",
                        ),
                        name="upload_times_agree_with_state",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("used_at__isnull", True), ("state", "READY"), _connector="OR"), name="upload_only_ready_is_used"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("state", "REFUSED"), models.Q(("reasons", []), _negated=True)),
                            models.Q(models.Q(("state", "REFUSED"), _negated=True), ("reasons", [])),
                            _connector="OR",
                        ),
                        name="upload_refused_iff_reasons",
                    ),
                ],
            },
        ),
    ]
