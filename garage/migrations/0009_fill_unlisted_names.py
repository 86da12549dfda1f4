"""Names for the vehicles that were entered as text before names were kept.

A vehicle that old code adds meanwhile has none until its owner renames it, and is not offered for merging.
"""

from django.db import migrations

from core.ids import new_id
from garage.folding import fold

BATCH = 500


def fill(apps, schema_editor):
    vehicle_model, name_model = apps.get_model("garage", "Vehicle"), apps.get_model("garage", "UnlistedName")
    nameless = vehicle_model.objects.filter(catalog_model=None, unlisted_name=None, deleted_at=None).order_by("pk")
    while vehicles := list(nameless[:BATCH]):
        for vehicle in vehicles:
            text = f"{vehicle.make} {vehicle.model}"
            name, _ = name_model.objects.get_or_create(
                kind=vehicle.kind,
                folded=(fold(text) or text.casefold())[:150],
                defaults={"id": new_id(), "make": vehicle.make, "model": vehicle.model, "created_at": vehicle.created_at},
            )
            vehicle_model.objects.filter(pk=vehicle.pk).update(unlisted_name=name)


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("garage", "0008_unlisted_index")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
