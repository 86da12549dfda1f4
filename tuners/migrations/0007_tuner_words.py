"""The index by which a misspelt word of a search for tuners finds its neighbours, built beside the running system."""

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("tuners", "0006_review_appeals")]

    operations = [
        AddIndexConcurrently(
            "tunerprofile",
            GinIndex(models.Func(models.F("search_text"), models.Value(" "), function="string_to_array"), name="tuner_words"),
        ),
    ]
