from django.db import models
from django.db.models import Q

from core.ids import new_id
from marketplace.enums import DisputeStatus, PurchaseStatus, RefundCause, RefundStatus

__all__ = ["Dispute", "Refund"]

DISPUTE_ENDED = (DisputeStatus.WON, DisputeStatus.LOST, DisputeStatus.CLOSED)


class RefundQuerySet(models.QuerySet):
    def owed(self) -> "RefundQuerySet":
        """Promised, come back, and neither paid another way nor taken by the buyer's bank."""
        return self.filter(status=RefundStatus.FAILED, reserved_at__isnull=False, repaid_at=None).exclude(
            purchase__status=PurchaseStatus.CHARGED_BACK
        )


class Refund(models.Model):
    """Money that goes back to the buyer of one purchase, or the wish for it.

    A wish that staff must decide has a `case` and no `reserved_at`. With `reserved_at` the money is promised: counted in
    the purchase's `refunded_minor` and booked, in one transaction, before the provider is called. PENDING → SUCCEEDED |
    FAILED; the provider may fail one that had succeeded. A reserved one that FAILED is money owed to the buyer until
    staff paid it by other means (`repaid_at`). Never deleted.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    purchase = models.ForeignKey("marketplace.Purchase", on_delete=models.PROTECT, related_name="refunds")
    case = models.ForeignKey("marketplace.Case", on_delete=models.PROTECT, null=True, blank=True, related_name="refunds")
    cause = models.CharField(max_length=8, choices=RefundCause)
    status = models.CharField(max_length=9, choices=RefundStatus, default=RefundStatus.PENDING)
    amount_minor = models.PositiveIntegerField()
    currency = models.CharField(max_length=3)
    asked_by_id = models.UUIDField(null=True, blank=True, help_text="The buyer who asked.")
    decided_by_id = models.UUIDField(null=True, blank=True, help_text="The admin who decided.")
    provider_refund_id = models.CharField(max_length=80, null=True, blank=True)
    attempt = models.PositiveSmallIntegerField(default=1)
    failure_code = models.CharField(max_length=80, blank=True, default="")
    created_at = models.DateTimeField()
    reserved_at = models.DateTimeField(null=True, blank=True, help_text="When the money was promised and booked.")
    asked_provider_at = models.DateTimeField(null=True, blank=True, help_text="When the present attempt's first call began.")
    checked_at = models.DateTimeField(null=True, blank=True, help_text="When the provider's truth was last read.")
    ended_at = models.DateTimeField(null=True, blank=True)
    repaid_at = models.DateTimeField(null=True, blank=True, help_text="When staff paid by other means what failed.")
    repaid_by_id = models.UUIDField(null=True, blank=True)

    objects = RefundQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["provider_refund_id"], name="refund_provider_id_once"),  # one of theirs is one of ours
            models.UniqueConstraint(
                name="refund_one_open",  # ten taps, ten phones: one refund
                fields=["purchase"],
                condition=Q(status=RefundStatus.PENDING) & ~Q(cause=RefundCause.PROVIDER),
            ),
            models.CheckConstraint(name="refund_status_known", condition=Q(status__in=RefundStatus.values)),
            models.CheckConstraint(name="refund_cause_known", condition=Q(cause__in=RefundCause.values)),
            models.CheckConstraint(name="refund_moves_something", condition=Q(amount_minor__gte=1)),
            models.CheckConstraint(
                name="refund_ended_iff_not_pending",
                condition=Q(status=RefundStatus.PENDING, ended_at__isnull=True)
                | Q(status__in=[RefundStatus.SUCCEEDED, RefundStatus.FAILED], ended_at__isnull=False),
            ),
            models.CheckConstraint(
                name="refund_given_back_was_reserved",  # money that left without being promised is in no book
                condition=(Q(provider_refund_id__isnull=True) & ~Q(status=RefundStatus.SUCCEEDED)) | Q(reserved_at__isnull=False),
            ),
            models.CheckConstraint(name="refund_failed_iff_code", condition=Q(status=RefundStatus.FAILED) ^ Q(failure_code="")),
            models.CheckConstraint(
                name="refund_undecided_has_case",  # a wish that nobody looks at
                condition=Q(reserved_at__isnull=False) | Q(case__isnull=False),
            ),
            models.CheckConstraint(
                name="refund_repaid_only_what_failed",
                condition=Q(repaid_at__isnull=True, repaid_by_id__isnull=True)
                | Q(repaid_at__isnull=False, repaid_by_id__isnull=False, status=RefundStatus.FAILED, reserved_at__isnull=False),
            ),
        ]
        indexes = [
            models.Index(fields=["purchase", "-id"], name="refund_of_purchase"),
            models.Index(  # the reconciler walks what is on its way
                fields=["created_at"], name="refund_pending", condition=Q(status=RefundStatus.PENDING, reserved_at__isnull=False)
            ),
            models.Index(fields=["case"], name="refund_of_case", condition=Q(case__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"refund of {self.amount_minor} {self.currency} ({self.status})"

    @property
    def idempotency_key(self) -> str:
        """The provider's key, derived so that a repeat after a crash sends the same one."""
        return f"refund-{self.pk}-{self.attempt}"

    @property
    def is_owed(self) -> bool:
        """Promised, come back, and not paid by other means yet."""
        return self.status == RefundStatus.FAILED and self.reserved_at is not None and self.repaid_at is None


class Dispute(models.Model):
    """A payment that its payer's bank called into question, as the provider has it.

    Follows the provider's truth: INQUIRY (no money has moved), NEEDS_RESPONSE → UNDER_REVIEW → WON | LOST; an inquiry may
    end CLOSED. `evidence` is what we know, assembled when it opened and again when staff ask; `submitted_at` tells that
    it was sent to the bank, once. Never deleted.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    purchase = models.ForeignKey("marketplace.Purchase", on_delete=models.PROTECT, related_name="disputes")
    provider_dispute_id = models.CharField(max_length=80)
    intent_id = models.CharField(max_length=80)
    status = models.CharField(max_length=14, choices=DisputeStatus)
    reason = models.CharField(max_length=80, blank=True, default="")
    amount_minor = models.PositiveIntegerField()
    currency = models.CharField(max_length=3)
    evidence_due_at = models.DateTimeField(null=True, blank=True)
    evidence = models.JSONField(default=dict, blank=True)
    evidence_text = models.TextField(blank=True, default="")
    evidence_built_at = models.DateTimeField(null=True, blank=True)
    submitted_at = models.DateTimeField(null=True, blank=True)
    submitted_by_id = models.UUIDField(null=True, blank=True)
    opened_at = models.DateTimeField()
    applied_at = models.DateTimeField(null=True, blank=True, help_text="When purchase, license and books followed; never for an inquiry.")
    reminded_at = models.DateTimeField(null=True, blank=True)
    checked_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["provider_dispute_id"], name="dispute_provider_id_once"),
            models.UniqueConstraint(
                name="dispute_one_open",  # a second one could not tell to what the purchase returns
                fields=["purchase"],
                condition=Q(applied_at__isnull=False, ended_at__isnull=True),
            ),
            models.CheckConstraint(name="dispute_status_known", condition=Q(status__in=DisputeStatus.values)),
            models.CheckConstraint(
                name="dispute_ended_iff_final",
                condition=Q(status__in=DISPUTE_ENDED, ended_at__isnull=False) | (~Q(status__in=DISPUTE_ENDED) & Q(ended_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="dispute_applied_iff_money_moved",
                condition=Q(status__in=[DisputeStatus.INQUIRY, DisputeStatus.CLOSED], applied_at__isnull=True)
                | Q(
                    status__in=[DisputeStatus.NEEDS_RESPONSE, DisputeStatus.UNDER_REVIEW, DisputeStatus.WON, DisputeStatus.LOST],
                    applied_at__isnull=False,
                ),
            ),
            models.CheckConstraint(
                name="dispute_submitted_iff_by_somebody",
                condition=Q(submitted_at__isnull=True, submitted_by_id__isnull=True)
                | Q(submitted_at__isnull=False, submitted_by_id__isnull=False),
            ),
        ]
        indexes = [
            models.Index(fields=["purchase", "-id"], name="dispute_of_purchase"),
            models.Index(fields=["opened_at"], name="dispute_open", condition=Q(ended_at__isnull=True)),  # reconciler, reminders, admin
        ]

    def __str__(self) -> str:
        return f"dispute of {self.amount_minor} {self.currency} ({self.status})"
