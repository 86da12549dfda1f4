from django.db import models
from django.db.models import F, Q

from core.ids import new_id

__all__ = ["MINIMUM_RIDERS", "FlashGroup", "GroupedFlash"]

# How many riders of the same bike are told of together at least. Two or three accounts are what one person makes in an
# evening (the automatic hold reckons with two), and whoever knows all members but one could read that one from the sum.
MINIMUM_RIDERS = 5


class FlashGroup(models.Model):
    """Flashes of one tune by several riders of one model, told only together: what "bikes like yours" and a tuner's figures by
    model add up.

    Made once by the schedule and never changed; a later flash waits for a later group. Every figure that is told is a sum
    of whole groups, so no two answers differ by less than a group. With a `hardware_number` all of them had that ECU;
    `year_from` and `year_to` span their bikes. See docs/adr/0026.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tune = models.ForeignKey("marketplace.Tune", on_delete=models.CASCADE, related_name="+")
    vehicle_model = models.ForeignKey("garage.VehicleModel", on_delete=models.PROTECT, related_name="+")
    year_from = models.PositiveSmallIntegerField()
    year_to = models.PositiveSmallIntegerField()
    hardware_number = models.CharField(max_length=64, blank=True, default="")
    rider_count = models.PositiveIntegerField()
    flash_count = models.PositiveIntegerField()
    success_count = models.PositiveIntegerField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="flashgroup_enough_riders",  # a smaller one would tell what a single rider reported
                condition=Q(rider_count__gte=MINIMUM_RIDERS),
            ),
            models.CheckConstraint(
                name="flashgroup_counts_possible",
                condition=Q(flash_count__gte=F("rider_count"), success_count__lte=F("flash_count"), year_from__lte=F("year_to")),
            ),
        ]
        indexes = [models.Index(fields=["tune", "vehicle_model"], name="flashgroup_same_bike")]  # bikes like yours

    def __str__(self) -> str:
        return f"{self.success_count} of {self.flash_count} flashes"


class GroupedFlash(models.Model):
    """A flash that is told of in a group. Once, for good."""

    flash = models.OneToOneField("marketplace.Flash", on_delete=models.PROTECT, primary_key=True, related_name="+")
    group = models.ForeignKey(FlashGroup, on_delete=models.CASCADE, related_name="members")

    def __str__(self) -> str:
        return f"flash of {self.group}"
