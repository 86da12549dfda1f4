"""Indexes of the audit log for sealing and for staff who look something up; built while the log is written."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("core", "0007_audit_position")]

    operations = [
        AddIndexConcurrently("auditevent", models.Index(fields=["position", "id"], name="audit_order")),
        AddIndexConcurrently("auditevent", models.Index(fields=["session_id", "-id"], name="audit_of_session")),
        AddIndexConcurrently("auditevent", models.Index(fields=["act", "-id"], name="audit_of_act")),
    ]
