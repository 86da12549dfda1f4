from django.db import models
from django.db.models import F, Q

from core.ids import new_id
from marketplace.enums import DifferenceReason, DifferenceState, PaymentProvider

__all__ = ["ParkedReturn", "ProviderDifference", "ProviderWatch"]


class ProviderWatch(models.Model):
    """Up to when we have looked at everything that the provider tells: one row, written by the reconciler.

    What a backup holds is always older than now, so a restored database shows a gap here. While it does, or while
    `restoring_since` is set, nothing new is sold: a purchase that was lost with the newer rows would be paid twice.
    No row: a new installation, whose first look walks everything.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    watched_at = models.DateTimeField(help_text="Payments and events are known up to here.")
    walked_at = models.DateTimeField(help_text="Refunds, disputes, accounts and payouts are known up to here.")
    restoring_since = models.DateTimeField(null=True, blank=True)
    restored_at = models.DateTimeField(null=True, blank=True, help_text="When the last rebuilding ended.")
    note = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        verbose_name_plural = "provider watch"
        constraints = [models.CheckConstraint(name="providerwatch_one_row", condition=Q(id=1))]

    def __str__(self) -> str:
        return f"watched until {self.watched_at:%Y-%m-%d %H:%M:%S}"


class ProviderDifference(models.Model):
    """Something that the provider and we do not agree about, with the reason: parked until a person or the truth ends it.

    OPEN → REFUNDED | DISMISSED (staff, with a reason in the audit log) | GONE (a later look finds agreement; OPEN again
    when it comes back). A payment in it was captured and licenses nobody. Holds no name: the provider's object does.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    provider = models.CharField(max_length=10, choices=PaymentProvider, default=PaymentProvider.STRIPE)
    object_id = models.CharField(max_length=80, help_text="The provider's intent, refund, dispute, transfer or payout.")
    intent_id = models.CharField(max_length=80, blank=True, default="")
    purchase_id = models.UUIDField(null=True, blank=True, help_text="The purchase that it names; it may not exist.")
    reason = models.CharField(max_length=14, choices=DifferenceReason)
    state = models.CharField(max_length=9, choices=DifferenceState, default=DifferenceState.OPEN)
    ours = models.CharField(max_length=300, blank=True, default="")
    theirs = models.CharField(max_length=300, blank=True, default="")
    amount_minor = models.BigIntegerField(default=0)
    currency = models.CharField(max_length=3, blank=True, default="")
    refund_id = models.CharField(max_length=80, blank=True, default="")
    found_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["provider", "object_id", "reason"], name="providerdifference_once"),  # each look finds it again
            models.CheckConstraint(name="providerdifference_reason_known", condition=Q(reason__in=DifferenceReason.values)),
            models.CheckConstraint(name="providerdifference_state_known", condition=Q(state__in=DifferenceState.values)),
            models.CheckConstraint(
                name="providerdifference_ended_iff_not_open",
                condition=Q(state=DifferenceState.OPEN, ended_at__isnull=True) | ~Q(state=DifferenceState.OPEN) & Q(ended_at__isnull=False),
            ),
            models.CheckConstraint(
                name="providerdifference_refunded_iff_refund",  # "given back" must name what gave it back
                condition=Q(state=DifferenceState.REFUNDED) & ~Q(refund_id="") | ~Q(state=DifferenceState.REFUNDED) & Q(refund_id=""),
            ),
        ]
        indexes = [
            models.Index(fields=["-found_at", "-id"], name="providerdifference_newest"),  # admin
        ]

    def __str__(self) -> str:
        return f"{self.reason} {self.object_id} ({self.state})"


class ParkedReturn(models.Model):
    """Money that went back to the payer of a payment without a purchase; the books name it as their cause.

    By a refund, made here or at the provider, or by the payer's bank in a dispute (with the provider's fee for that). What a
    bank did not take or decided for us (`failed_at`) is with us again. Never deleted: the books point to it. Holds no name.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    difference = models.ForeignKey(ProviderDifference, on_delete=models.PROTECT, related_name="returns")
    provider_id = models.CharField(max_length=80, help_text="The provider's refund or dispute.")
    amount_minor = models.BigIntegerField()
    fee_minor = models.BigIntegerField(default=0)
    fee_returned_minor = models.BigIntegerField(default=0)
    created_at = models.DateTimeField()
    failed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["provider_id"], name="parkedreturn_provider_id_once"),  # webhook and reconciler
            models.CheckConstraint(
                name="parkedreturn_amounts_possible",
                condition=Q(amount_minor__gte=1, fee_minor__gte=0, fee_returned_minor__gte=0, fee_returned_minor__lte=F("fee_minor")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider_id} ({self.amount_minor})"
