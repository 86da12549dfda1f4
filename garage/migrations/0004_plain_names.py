"""What people call these rows. Changes nothing in the database."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("garage", "0003_refuse_deleted"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="ecureadout",
            options={"verbose_name": "ECU read-out"},
        ),
        migrations.AlterModelOptions(
            name="noreadbackconsent",
            options={"verbose_name": "no-read-back consent"},
        ),
    ]
