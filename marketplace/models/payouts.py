from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from core.ids import new_id
from marketplace.enums import PayoutAccountState, PayoutStatus

__all__ = ["Payout", "PayoutAccount", "PayoutLine"]


class PayoutAccount(models.Model):
    """Where a tuner is paid: their account at the payment provider, by its opaque id. Bank details never reach us.

    OPENING is committed before the provider is called: the call's key follows from tuner and `attempt`, so that a lost
    answer is found again. Then it follows the provider: ONBOARDING, RESTRICTED or ACTIVE. Never deleted: payouts point to it.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tuner = models.OneToOneField("tuners.TunerProfile", on_delete=models.PROTECT, related_name="payout_account")
    account_id = models.CharField(max_length=80, null=True, blank=True)
    attempt = models.PositiveSmallIntegerField(default=1)
    state = models.CharField(max_length=10, choices=PayoutAccountState, default=PayoutAccountState.OPENING)
    requirements_due = ArrayField(models.CharField(max_length=120), default=list, blank=True)
    disabled_reason = models.CharField(max_length=80, blank=True, default="")
    created_at = models.DateTimeField()
    checked_at = models.DateTimeField(null=True, blank=True, help_text="When the provider's truth was last read.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account_id"], name="payoutaccount_id_once"),  # two tuners' money in one pocket
            models.CheckConstraint(name="payoutaccount_state_known", condition=Q(state__in=PayoutAccountState.values)),
            models.CheckConstraint(
                name="payoutaccount_opening_iff_unknown",
                condition=Q(state=PayoutAccountState.OPENING, account_id__isnull=True)
                | ~Q(state=PayoutAccountState.OPENING) & Q(account_id__isnull=False),
            ),
        ]
        indexes = [
            models.Index(  # the reconciler walks what is not finished, least recently looked at first
                fields=["checked_at"], name="payoutaccount_unfinished", condition=~Q(state=PayoutAccountState.ACTIVE)
            ),
        ]

    def __str__(self) -> str:
        return f"payout account of {self.tuner_id} ({self.state})"

    @property
    def idempotency_key(self) -> str:
        """The provider's key, derived so that a repeat after a crash sends the same one."""
        return f"account-{self.pk}-{self.attempt}"


class PayoutQuerySet(models.QuerySet):
    def under_way(self) -> "PayoutQuerySet":
        """On its way, or on its way back."""
        return self.filter(Q(status=PayoutStatus.PENDING) | Q(status=PayoutStatus.PAID) & ~Q(failure_code=""))


class Payout(models.Model):
    """One sum of money that goes to one tuner: the ledger entries in its lines, no more and no less.

    PENDING is committed, with its lines and its booking, before the provider is called. Then the money is transferred
    (`transfer_id`), sent to the bank (`bank_payout_id`) and PAID when it arrived. What fails at any step, and even after
    it had arrived, has a `failure_code`; once the transfer was taken back (`reversal_id`) it is FAILED and its lines are
    available again. What it is for never changes; never deleted.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tuner = models.ForeignKey("tuners.TunerProfile", on_delete=models.PROTECT, related_name="payouts")
    account = models.ForeignKey(PayoutAccount, on_delete=models.PROTECT, related_name="payouts")
    currency = models.CharField(max_length=3)
    amount_minor = models.BigIntegerField()
    status = models.CharField(max_length=7, choices=PayoutStatus, default=PayoutStatus.PENDING)
    attempt = models.PositiveSmallIntegerField(default=1)
    asked_at = models.DateTimeField(null=True, blank=True, help_text="When the present attempt's first call began.")
    transfer_id = models.CharField(max_length=80, null=True, blank=True)
    bank_payout_id = models.CharField(max_length=80, null=True, blank=True)
    reversal_id = models.CharField(max_length=80, null=True, blank=True)
    failure_code = models.CharField(max_length=80, blank=True, default="")
    note = models.CharField(max_length=80, blank=True, default="", help_text="Why the provider refused last, while it is tried again.")
    rebuilt = models.BooleanField(default=False, help_text="Found at the provider after a restore: its lines are a best guess.")
    created_at = models.DateTimeField()
    checked_at = models.DateTimeField(null=True, blank=True, help_text="When the provider's truth was last read.")
    arrived_at = models.DateTimeField(null=True, blank=True)
    failed_at = models.DateTimeField(null=True, blank=True)

    objects = PayoutQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="payout_one_pending",  # two schedules at once
                fields=["tuner", "currency"],
                condition=Q(status=PayoutStatus.PENDING),
            ),
            models.UniqueConstraint(fields=["transfer_id"], name="payout_transfer_once"),
            models.UniqueConstraint(fields=["bank_payout_id"], name="payout_bank_payout_once"),
            models.CheckConstraint(name="payout_status_known", condition=Q(status__in=PayoutStatus.values)),
            models.CheckConstraint(name="payout_pays_something", condition=Q(amount_minor__gte=1)),
            models.CheckConstraint(name="payout_currency_shape", condition=Q(currency__regex=r"^[A-Z]{3}$")),
            models.CheckConstraint(
                name="payout_sent_was_transferred",
                condition=Q(bank_payout_id__isnull=True, reversal_id__isnull=True) | Q(transfer_id__isnull=False),
            ),
            models.CheckConstraint(
                name="payout_times_agree_with_status",
                condition=(
                    Q(status=PayoutStatus.PENDING, arrived_at__isnull=True, failed_at__isnull=True)
                    | Q(status=PayoutStatus.PAID, arrived_at__isnull=False, failed_at__isnull=True, bank_payout_id__isnull=False)
                    | Q(status=PayoutStatus.FAILED, failed_at__isnull=False) & ~Q(failure_code="")
                ),
            ),
            models.CheckConstraint(
                name="payout_failed_iff_money_is_back",  # available again here and still on the tuner's account: paid twice
                condition=~Q(status=PayoutStatus.FAILED) | Q(transfer_id__isnull=True) | Q(reversal_id__isnull=False),
            ),
        ]
        indexes = [
            models.Index(fields=["tuner", "-created_at", "-id"], name="payout_own_newest"),  # my payouts
            models.Index(  # the reconciler walks what is on its way, or on its way back
                fields=["created_at"],
                name="payout_open",
                condition=Q(status=PayoutStatus.PENDING) | (Q(status=PayoutStatus.PAID) & ~Q(failure_code="")),
            ),
        ]

    def __str__(self) -> str:
        return f"payout of {self.amount_minor} {self.currency} ({self.status})"

    @property
    def group(self) -> str:
        """What the provider's list of transfers finds this payout by."""
        return f"payout-{self.pk}"

    def key(self, step: str) -> str:
        """The provider's key of a step (transfer, bank, reversal), derived so that a repeat after a crash sends the same one."""
        return f"{step}-{self.pk}-{self.attempt}"


class PayoutLine(models.Model):
    """One ledger entry of a tuner that a payout pays (or sets off). Released when the payout failed; else it is for ever."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    payout = models.ForeignKey(Payout, on_delete=models.PROTECT, related_name="lines")
    entry = models.ForeignKey("marketplace.LedgerEntry", on_delete=models.PROTECT, related_name="payout_lines")
    released_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["entry"], name="payoutline_entry_once", condition=Q(released_at__isnull=True)),  # no cent twice
        ]

    def __str__(self) -> str:
        return f"{self.entry_id} in {self.payout_id}"
