"""Handing a vehicle to its next owner."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from core.ids import new_id
from garage.enums import TransferState
from garage.models.vehicles import Vehicle


class VehicleTransfer(models.Model):
    """An offer of a vehicle to whoever holds its one-time code: OFFERED → ACCEPTED | WITHDRAWN | EXPIRED.

    Made by the owner; never deleted. The code is stored hashed and shown once; `tries_left` falls with every wrong one and
    the offer ends at zero. When it is accepted, `departed` keeps what the former owner's phone may still show of the
    vehicle: the row doubles as their tombstone, by `changed_at`.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    vehicle = models.ForeignKey(Vehicle, on_delete=models.PROTECT, related_name="transfers")
    offered_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    accepted_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    state = models.CharField(max_length=9, choices=TransferState, default=TransferState.OFFERED)
    code_hash = models.BinaryField(max_length=32)
    tries_left = models.PositiveSmallIntegerField()
    offered_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    departed = models.JSONField(null=True)
    changed_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(name="vehicle_transfer_state_known", condition=Q(state__in=TransferState.values)),
            models.CheckConstraint(
                name="vehicle_transfer_ended_iff_not_offered",
                condition=(
                    Q(state=TransferState.OFFERED, ended_at__isnull=True, accepted_by__isnull=True, departed__isnull=True)
                    | Q(state=TransferState.ACCEPTED, ended_at__isnull=False, accepted_by__isnull=False, departed__isnull=False)
                    | Q(
                        state__in=[TransferState.WITHDRAWN, TransferState.EXPIRED],
                        ended_at__isnull=False,
                        accepted_by__isnull=True,
                        departed__isnull=True,
                    )
                ),
            ),
            models.CheckConstraint(
                name="vehicle_transfer_goes_to_another",  # an owner accepting their own offer would spend a license's release
                condition=Q(accepted_by__isnull=True) | ~Q(accepted_by=F("offered_by")),
            ),
            models.UniqueConstraint(
                name="vehicle_transfer_one_open_per_vehicle",  # two open codes would sell one bike twice
                fields=["vehicle"],
                condition=Q(state=TransferState.OFFERED),
            ),
        ]
        indexes = [
            models.Index(  # tombstones of the former owner's garage
                name="vehicle_transfer_departures",
                fields=["offered_by", "changed_at", "id"],
                condition=Q(state=TransferState.ACCEPTED),
            ),
            models.Index(  # the schedule's search for offers that ran out
                name="vehicle_transfer_open",
                fields=["expires_at"],
                condition=Q(state=TransferState.OFFERED),
            ),
        ]

    def __str__(self) -> str:
        return f"transfer of {self.vehicle_id} ({self.state})"
