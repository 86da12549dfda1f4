"""What people call these rows. Changes nothing in the database."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("core", "0009_audit_seals"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="scheduleentry",
            options={"verbose_name_plural": "schedule entries"},
        ),
    ]
