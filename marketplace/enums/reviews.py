"""How near a bike is to another, and why a figure about such bikes is not told."""

from django.db.models import TextChoices

__all__ = ["SameBike", "Withheld"]


class SameBike(TextChoices):
    MODEL = "MODEL", "Same model"
    GENERATION = "GENERATION", "Same generation of the model"
    HARDWARE_NUMBER = "HARDWARE_NUMBER", "Same model with the same ECU hardware number"


class Withheld(TextChoices):
    TOO_FEW = "TOO_FEW", "Too few riders: a figure would tell of single ones"
    UNKNOWN = "UNKNOWN", "Not known of this bike: read its ECU, or choose its model from the catalogue"
