"""What follows when the catalogue finds out that two of its models are one."""

from django.db import connection

from garage.models import VehicleModel
from marketplace.models import FlashGroup, SavedSearch
from tuners.models import TunerReview

# The words of a fitment stay: they were reviewed, and stand in signed releases. Which model they mean is ours to say.
_MOVE_FITMENTS = """
WITH moved AS (UPDATE marketplace_fitment SET model_id = %s, make_id = %s WHERE model_id = %s RETURNING tune_id)
SELECT coalesce(array_agg(DISTINCT tune_id), '{}') FROM moved
"""


def move_to_model(*, model: VehicleModel, into: VehicleModel) -> None:
    """Registered with `garage.listeners.on_model_merged`, inside the import's transaction. Idempotent.

    Fitments move with the lists and the search that show them, saved searches for the model, reviews and the sums of flashes
    that riders of the same bike are told.
    """
    with connection.cursor() as cursor:
        cursor.execute(_MOVE_FITMENTS, [into.pk, into.make_id, model.pk])
        (tune_ids,) = cursor.fetchone()
        if tune_ids:
            cursor.execute("SELECT marketplace_refresh_tunes(%s::uuid[])", [tune_ids])
    SavedSearch.objects.filter(scope_id=model.pk).update(scope_id=into.pk)
    FlashGroup.objects.filter(vehicle_model=model).update(vehicle_model=into)
    TunerReview.objects.filter(vehicle_model_id=model.pk).update(vehicle_model_id=into.pk)
