"""A notice remembers that its pushes were queued, so that a mail server which is away repeats none of them."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("users", "0004_refuse_deleted_claims")]
    operations = [migrations.AddField("notice", "pushed_at", models.DateTimeField(blank=True, null=True))]
