"""Rescue links: the way back from any phone, for whoever was given the code."""

from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import Q

from core.ids import new_id
from garage.models.vehicles import Vehicle

USES = 10


class RescueLinkQuerySet(models.QuerySet["RescueLink"]):
    def of(self, vehicle: Vehicle) -> "RescueLinkQuerySet":
        return self.filter(vehicle_id=vehicle.pk)

    def open(self, *, at: datetime) -> "RescueLinkQuerySet":
        """Those that still open something."""
        return self.filter(revoked_at=None, expires_at__gt=at, uses_left__gt=0)


class RescueLink(models.Model):
    """One code that an owner made for a vehicle, by which anybody gets its stock image and restore ticket, ten times at most.

    The code itself is shown once and kept as its hash. It ends when it is used up, runs out, is revoked, or the vehicle
    is handed on or deleted. No state of an account, a license or a tune ends it.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    vehicle = models.ForeignKey(Vehicle, on_delete=models.PROTECT, related_name="rescue_links")
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    token_sha256 = models.BinaryField(max_length=32)  # of 24 random bytes: nothing to guess, so it needs no key
    uses_left = models.PositiveSmallIntegerField(default=USES)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    objects = RescueLinkQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(name="rescue_link_by_token", fields=["token_sha256"]),  # the screen of who scans it
            models.CheckConstraint(name="rescue_link_uses_at_most_ten", condition=Q(uses_left__lte=USES)),
            models.CheckConstraint(name="rescue_link_expires_later", condition=Q(expires_at__gt=models.F("created_at"))),
        ]
        indexes = [models.Index(name="rescue_link_of_vehicle", fields=["vehicle", "-created_at", "-id"])]

    def __str__(self) -> str:
        return f"rescue link {self.id}"
