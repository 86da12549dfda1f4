"""One index for words and filters of the list of tuners in place of four, built beside the running system.

Old code that still runs finds the same without the four, by reading all profiles.
"""

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("tuners", "0009_tuner_document")]

    operations = [
        AddIndexConcurrently(
            "tunerprofile",
            GinIndex(fields=["document"], name="tuner_document", fastupdate=False, condition=models.Q(status="ACTIVE")),
        ),
        RemoveIndexConcurrently("tunerprofile", "tuner_specialities"),
        RemoveIndexConcurrently("tunerprofile", "tuner_make_keys"),
        RemoveIndexConcurrently("tunerprofile", "tuner_search"),
        RemoveIndexConcurrently("tunerprofile", "tuner_words"),
    ]
