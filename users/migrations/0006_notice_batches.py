"""What is not urgent waits for a while and leaves with what else waits for the same person."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("users", "0005_notice_pushed_at")]
    operations = [
        migrations.AddField("notice", "by_mail", models.BooleanField(default=True, db_default=True)),
        migrations.AddField("notice", "batch_due_at", models.DateTimeField(blank=True, null=True)),
        migrations.AddField("notice", "batch_id", models.UUIDField(blank=True, null=True)),
    ]
