"""When an upload's object was deleted. Old code leaves it empty: such an object counts for the quota, which errs on the safe side."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("core", "0010_plain_names")]

    operations = [migrations.AddField("upload", "gone_at", models.DateTimeField(null=True))]
