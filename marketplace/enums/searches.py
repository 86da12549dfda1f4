"""Why a saved search tells nothing."""

from django.db.models import TextChoices

__all__ = ["SavedSearchPause"]


class SavedSearchPause(TextChoices):
    VEHICLE_GONE = "VEHICLE_GONE", "Its vehicle is in your garage no more"
    MODEL_UNLISTED = "MODEL_UNLISTED", "Its vehicle's model is not in the catalogue, so nothing can be compared"
    NAME_UNKNOWN = "NAME_UNKNOWN", "The catalogue knows no such make or model"
