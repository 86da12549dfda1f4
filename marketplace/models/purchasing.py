from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from core.fields import EncryptedTextField
from core.ids import new_id
from marketplace.enums import (
    LedgerAccount,
    LedgerCause,
    LicenseState,
    PaymentAttemptState,
    PaymentProvider,
    PurchaseStatus,
    WebhookEventStatus,
)

__all__ = ["LedgerEntry", "LedgerSet", "License", "PaymentAttempt", "Purchase", "WebhookEvent"]

EVER_PAID = (PurchaseStatus.PAID, PurchaseStatus.REFUNDED, PurchaseStatus.DISPUTED, PurchaseStatus.CHARGED_BACK)
NEVER_PAID = (PurchaseStatus.CANCELED, PurchaseStatus.EXPIRED)
LIVE_ATTEMPT = (PaymentAttemptState.OPENING, PaymentAttemptState.OPEN)


class PurchaseQuerySet(models.QuerySet):
    def bought_by(self, user) -> "PurchaseQuerySet":
        """A rider's own, in every state."""
        return self.filter(buyer_id=user.pk)

    def ever_paid(self) -> "PurchaseQuerySet":
        """Paid once, whatever happened since: the sales."""
        return self.filter(paid_at__isnull=False)


class Purchase(models.Model):
    """One rider buys one tune, with a vehicle in mind.

    PENDING until the payment provider says so, then PAID (a free tune at once); CANCELED or EXPIRED only after the
    provider cancelled its intent; REFUNDED, DISPUTED and CHARGED_BACK follow from PAID. Who, what, for which vehicle,
    price, tax, fee and attestation are a snapshot: a trigger refuses their change. Never deleted: the books point to
    it. `updated_at` is the database's time of the last change, which `updated_since` reads. `vehicle_id` is no foreign
    key: the row outlives the garage's, and what counts is the vehicle's identity, kept as keyed hashes.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    number = models.CharField(max_length=9, help_text="RS- and six characters that people can read out.")
    buyer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="purchases")
    tune = models.ForeignKey("marketplace.Tune", on_delete=models.PROTECT, related_name="purchases")
    tune_version_id = models.UUIDField(null=True, blank=True, help_text="The newest version on sale at that moment.")
    tuner = models.ForeignKey("tuners.TunerProfile", on_delete=models.PROTECT, related_name="sales")
    tune_title = models.CharField(max_length=120)
    seller_name = models.CharField(max_length=120)
    vehicle_id = models.UUIDField()
    vehicle_identity_hashes = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    vehicle_name = models.CharField(max_length=160, blank=True, default="", help_text="Make, model and year.")
    status = models.CharField(max_length=12, choices=PurchaseStatus, default=PurchaseStatus.PENDING)
    disputed_from = models.CharField(max_length=12, choices=PurchaseStatus, blank=True, default="")

    amount_minor = models.PositiveIntegerField(help_text="What the buyer pays, tax included, in minor units.")
    currency = models.CharField(max_length=3)
    tax_minor = models.PositiveIntegerField(default=0)
    tax_rate_basis_points = models.PositiveSmallIntegerField(default=0)
    tax_country = models.CharField(max_length=2, blank=True, default="")
    fee_basis_points = models.PositiveSmallIntegerField()
    fee_minor = models.PositiveIntegerField(default=0)
    captured_minor = models.PositiveIntegerField(default=0)
    refunded_minor = models.PositiveIntegerField(default=0)

    fitment_verdict = models.CharField(max_length=8)
    acknowledged_reasons = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    attestation_text_version = models.CharField(max_length=32)
    attestation_sha256 = models.CharField(max_length=64)
    attested_at = models.DateTimeField()

    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    paid_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True, help_text="When it was cancelled or expired.")
    updated_at = models.DateTimeField(db_default=Now())

    objects = PurchaseQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["number"], name="purchase_number_once"),
            models.UniqueConstraint(
                name="purchase_one_pending",  # a double tap, or two phones, would open two payments for one thing
                fields=["buyer", "tune", "vehicle_id"],
                condition=Q(status=PurchaseStatus.PENDING),
            ),
            models.CheckConstraint(name="purchase_number_shape", condition=Q(number__regex=r"^RS-[0-9A-HJKMNP-TV-Z]{6}$")),
            models.CheckConstraint(name="purchase_status_known", condition=Q(status__in=PurchaseStatus.values)),
            models.CheckConstraint(name="purchase_currency_shape", condition=Q(currency__regex=r"^[A-Z]{3}$")),
            models.CheckConstraint(
                name="purchase_times_agree_with_status",  # "paid" without a time, or a time without payment, breaks every report
                condition=(
                    Q(status=PurchaseStatus.PENDING, paid_at__isnull=True, closed_at__isnull=True, expires_at__isnull=False)
                    | Q(status__in=EVER_PAID, paid_at__isnull=False, closed_at__isnull=True)
                    | Q(status__in=NEVER_PAID, paid_at__isnull=True, closed_at__isnull=False)
                ),
            ),
            models.CheckConstraint(
                name="purchase_captured_iff_paid",  # a license for money that never came
                condition=Q(paid_at__isnull=True, captured_minor=0) | Q(paid_at__isnull=False, captured_minor=F("amount_minor")),
            ),
            models.CheckConstraint(
                name="purchase_refunded_within_captured",  # two refunds at once must not give back more than came in
                condition=Q(refunded_minor__lte=F("captured_minor")),
            ),
            models.CheckConstraint(
                name="purchase_refunded_status_means_all",
                condition=~Q(status=PurchaseStatus.REFUNDED) | Q(refunded_minor=F("captured_minor")),
            ),
            models.CheckConstraint(
                name="purchase_all_refunded_means_status",  # all the money back, and the tune still usable
                condition=(
                    Q(captured_minor=0)
                    | Q(refunded_minor__lt=F("captured_minor"))
                    | Q(status__in=[PurchaseStatus.REFUNDED, PurchaseStatus.CHARGED_BACK])
                    | Q(status=PurchaseStatus.DISPUTED, disputed_from=PurchaseStatus.REFUNDED)
                ),
            ),
            models.CheckConstraint(
                name="purchase_disputed_iff_returns_somewhere",  # a dispute that is won goes back to what was before
                condition=(
                    Q(status=PurchaseStatus.DISPUTED, disputed_from__in=[PurchaseStatus.PAID, PurchaseStatus.REFUNDED])
                    | ~Q(status=PurchaseStatus.DISPUTED) & Q(disputed_from="")
                ),
            ),
            models.CheckConstraint(
                name="purchase_tax_and_fee_within_amount",  # the tuner's share can't be negative
                condition=Q(
                    tax_minor__lte=F("amount_minor"),
                    fee_minor__lte=F("amount_minor") - F("tax_minor"),
                    fee_basis_points__lte=10_000,
                    tax_rate_basis_points__lte=10_000,
                ),
            ),
            models.CheckConstraint(name="purchase_attestation_hash_shape", condition=Q(attestation_sha256__regex=r"^[0-9a-f]{64}$")),
            models.CheckConstraint(name="purchase_verdict_allows_buying", condition=Q(fitment_verdict__in=["match", "unknown"])),
        ]
        indexes = [
            models.Index(fields=["buyer", "-created_at", "-id"], name="purchase_own_newest"),  # my purchases
            models.Index(fields=["buyer", "updated_at"], name="purchase_own_changed"),  # `updated_since`
            models.Index(  # a tuner's sales, newest first and by period
                fields=["tuner", "-paid_at", "-id"], name="purchase_sales", condition=Q(paid_at__isnull=False)
            ),
            models.Index(  # the reconciler books the provider's fees
                fields=["paid_at"], name="purchase_paid_newest", condition=Q(paid_at__isnull=False, amount_minor__gt=0)
            ),
            models.Index(fields=["paid_at"], name="purchase_trend", condition=Q(status=PurchaseStatus.PAID)),  # what was bought lately
            models.Index(  # expiry and the reconciler walk what waits
                fields=["created_at"], name="purchase_pending", condition=Q(status=PurchaseStatus.PENDING)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.number} ({self.status})"

    @property
    def is_free(self) -> bool:
        return self.amount_minor == 0

    @property
    def net_minor(self) -> int:
        """The tuner's share before refunds."""
        return self.amount_minor - self.tax_minor - self.fee_minor


class LicenseQuerySet(models.QuerySet):
    def held_by(self, user) -> "LicenseQuerySet":
        """A rider's own, in every state."""
        return self.filter(holder_id=user.pk)

    def valid(self) -> "LicenseQuerySet":
        """All but revoked ones."""
        return self.exclude(state=LicenseState.REVOKED)


class License(models.Model):
    """One buyer's right to flash one tune on one vehicle at a time.

    Made when its purchase is paid; never deleted, because the books point to it. UNBOUND, RESERVED while a flash ticket
    is out, BOUND from the first confirmed flash; SUSPENDED (remembering from what) and REVOKED stop it. `vehicle_id`,
    `vehicle_identity_hashes`, `reserved_until` and `bound_at` change only together with `state`. A license that a rider
    released remembers when, for the once-a-year rule. `updated_at` is the database's time of the last change.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    purchase = models.OneToOneField(Purchase, on_delete=models.PROTECT, related_name="license")
    holder = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="licenses")
    tune = models.ForeignKey("marketplace.Tune", on_delete=models.PROTECT, related_name="licenses")
    state = models.CharField(max_length=9, choices=LicenseState, default=LicenseState.UNBOUND)
    vehicle_id = models.UUIDField(null=True, blank=True)
    vehicle_identity_hashes = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    reserved_until = models.DateTimeField(null=True, blank=True)
    bound_at = models.DateTimeField(null=True, blank=True)
    released_by_holder_at = models.DateTimeField(null=True, blank=True)
    suspended_from = models.CharField(max_length=9, choices=LicenseState, blank=True, default="")
    suspended_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField(db_default=Now())

    objects = LicenseQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(name="license_state_known", condition=Q(state__in=LicenseState.values)),
            models.CheckConstraint(
                name="license_bound_iff_vehicle_and_time",  # a half-bound license would block both vehicles
                condition=(
                    Q(state=LicenseState.BOUND, vehicle_id__isnull=False, bound_at__isnull=False, reserved_until__isnull=True)
                    | Q(state=LicenseState.RESERVED, vehicle_id__isnull=False, bound_at__isnull=True, reserved_until__isnull=False)
                    | Q(state=LicenseState.UNBOUND, vehicle_id__isnull=True, bound_at__isnull=True, reserved_until__isnull=True)
                    | Q(state__in=[LicenseState.SUSPENDED, LicenseState.REVOKED])
                ),
            ),
            models.CheckConstraint(
                name="license_identity_only_with_vehicle",
                condition=Q(vehicle_id__isnull=False) | Q(vehicle_identity_hashes=[]),
            ),
            models.CheckConstraint(
                name="license_suspended_iff_returns_somewhere",  # lifting a suspension must know what to restore
                condition=(
                    Q(
                        state=LicenseState.SUSPENDED,
                        suspended_at__isnull=False,
                        suspended_from__in=[LicenseState.UNBOUND, LicenseState.RESERVED, LicenseState.BOUND],
                    )
                    | ~Q(state=LicenseState.SUSPENDED) & Q(suspended_at__isnull=True, suspended_from="")
                ),
            ),
            models.CheckConstraint(
                name="license_revoked_iff_time",
                condition=Q(state=LicenseState.REVOKED, revoked_at__isnull=False)
                | ~Q(state=LicenseState.REVOKED) & Q(revoked_at__isnull=True),
            ),
        ]
        indexes = [
            models.Index(fields=["holder", "tune"], name="license_of_tune", condition=~Q(state=LicenseState.REVOKED)),  # owned already?
            models.Index(fields=["holder", "updated_at"], name="license_own_changed"),  # `updated_since` of purchases
            models.Index(fields=["vehicle_id"], name="license_on_vehicle", condition=Q(vehicle_id__isnull=False)),  # transfer of a vehicle
            models.Index(  # the sweep that frees reservations
                fields=["reserved_until"], name="license_reserved", condition=Q(state=LicenseState.RESERVED)
            ),
        ]

    def __str__(self) -> str:
        return f"license of {self.purchase.number} ({self.state})"


class PaymentAttempt(models.Model):
    """One payment intent at the provider for one purchase, or the wish for one.

    OPENING is committed before the provider is called, so that a call whose answer was lost is found again: its
    idempotency key follows from purchase and `attempt`. OPEN once the intent's id is known. A further attempt is made
    only after the provider's list showed no live intent of the purchase. Never deleted.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    purchase = models.ForeignKey(Purchase, on_delete=models.PROTECT, related_name="attempts")
    attempt = models.PositiveSmallIntegerField(default=1)
    provider = models.CharField(max_length=10, choices=PaymentProvider, default=PaymentProvider.STRIPE)
    state = models.CharField(max_length=9, choices=PaymentAttemptState, default=PaymentAttemptState.OPENING)
    intent_id = models.CharField(max_length=80, null=True, blank=True)
    client_secret = EncryptedTextField(null=True)
    last_error_code = models.CharField(max_length=80, blank=True, default="", help_text="Why the payer's bank declined last.")
    created_at = models.DateTimeField()
    checked_at = models.DateTimeField(null=True, blank=True, help_text="When the provider's truth was last read.")
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["purchase", "attempt"], name="paymentattempt_number_once"),
            models.UniqueConstraint(fields=["provider", "intent_id"], name="paymentattempt_intent_once"),  # one intent pays one purchase
            models.UniqueConstraint(
                name="paymentattempt_one_live",  # two open intents could both be paid
                fields=["purchase"],
                condition=Q(state__in=LIVE_ATTEMPT),
            ),
            models.UniqueConstraint(
                name="paymentattempt_one_success",  # nothing is charged twice
                fields=["purchase"],
                condition=Q(state=PaymentAttemptState.SUCCEEDED),
            ),
            models.CheckConstraint(name="paymentattempt_state_known", condition=Q(state__in=PaymentAttemptState.values)),
            models.CheckConstraint(name="paymentattempt_from_one", condition=Q(attempt__gte=1)),
            models.CheckConstraint(
                name="paymentattempt_intent_agrees_with_state",  # an open attempt whose intent nobody knows can't be cancelled
                condition=(
                    Q(state__in=[PaymentAttemptState.OPENING, PaymentAttemptState.ABANDONED], intent_id__isnull=True)
                    | Q(
                        state__in=[PaymentAttemptState.OPEN, PaymentAttemptState.SUCCEEDED, PaymentAttemptState.CANCELED],
                        intent_id__isnull=False,
                    )
                ),
            ),
            models.CheckConstraint(
                name="paymentattempt_ended_iff_not_live",
                condition=Q(state__in=LIVE_ATTEMPT, ended_at__isnull=True) | ~Q(state__in=LIVE_ATTEMPT) & Q(ended_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"attempt {self.attempt} of {self.purchase_id} ({self.state})"

    @property
    def idempotency_key(self) -> str:
        """The provider's key, derived so that a repeat after a crash sends the same one."""
        return f"purchase-{self.purchase_id}-{self.attempt}"


class WebhookEvent(models.Model):
    """One event that a payment provider told us of, verified. The inbox: a repeat finds its row and changes nothing.

    Written with its task in one transaction before the provider gets its 2xx. Only names and ids are kept: what
    happened is read from the provider again when it is applied. RECEIVED → APPLIED | IGNORED | PARKED.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    provider = models.CharField(max_length=10, choices=PaymentProvider, default=PaymentProvider.STRIPE)
    event_id = models.CharField(max_length=80)
    type = models.CharField(max_length=80)
    object_id = models.CharField(max_length=80, blank=True, default="")
    intent_id = models.CharField(max_length=80, blank=True, default="")
    livemode = models.BooleanField()
    account = models.CharField(max_length=80, blank=True, default="")
    api_version = models.CharField(max_length=40, blank=True, default="")
    amount_minor = models.BigIntegerField(null=True, blank=True, help_text="What it says; compared, never believed.")
    currency = models.CharField(max_length=3, blank=True, default="", db_default="")
    attempts = models.PositiveSmallIntegerField(default=0, db_default=0, help_text="How often applying it failed.")
    created_at_provider = models.DateTimeField()
    received_at = models.DateTimeField()
    status = models.CharField(max_length=8, choices=WebhookEventStatus, default=WebhookEventStatus.RECEIVED)
    finished_at = models.DateTimeField(null=True, blank=True)
    note = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["provider", "event_id"], name="webhookevent_once"),  # providers repeat themselves
            models.CheckConstraint(name="webhookevent_status_known", condition=Q(status__in=WebhookEventStatus.values)),
            models.CheckConstraint(
                name="webhookevent_finished_iff_not_received",
                condition=Q(status=WebhookEventStatus.RECEIVED, finished_at__isnull=True)
                | ~Q(status=WebhookEventStatus.RECEIVED) & Q(finished_at__isnull=False),
            ),
        ]
        indexes = [
            models.Index(fields=["-received_at", "-id"], name="webhookevent_newest"),  # admin
            models.Index(fields=["intent_id"], name="webhookevent_of_intent", condition=~Q(intent_id="")),
            models.Index(
                fields=["received_at"],
                name="webhookevent_open",
                condition=Q(status__in=[WebhookEventStatus.RECEIVED, WebhookEventStatus.PARKED]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.event_id} ({self.status})"


class LedgerSet(models.Model):
    """Why money moved: one cause, booked once, with the tax facts of that moment. Append-only, as its entries are."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    cause = models.CharField(max_length=14, choices=LedgerCause)
    cause_id = models.UUIDField(help_text="The purchase, refund, dispute, payout, or parked payment.")
    purchase = models.ForeignKey(Purchase, on_delete=models.PROTECT, null=True, blank=True, related_name="ledger_sets")
    currency = models.CharField(max_length=3)
    tax_minor = models.IntegerField(default=0)
    tax_rate_basis_points = models.PositiveSmallIntegerField(default=0)
    tax_country = models.CharField(max_length=2, blank=True, default="")
    at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["cause", "cause_id"], name="ledgerset_cause_once"),  # a repeated event books nothing twice
            models.CheckConstraint(name="ledgerset_cause_known", condition=Q(cause__in=LedgerCause.values)),
        ]

    def __str__(self) -> str:
        return f"{self.cause} {self.cause_id}"


class LedgerEntry(models.Model):
    """One line of a set, in minor units: positive is what the account gains. Append-only.

    A deferred trigger proves at commit that each set, and each purchase, sums to zero in each currency. What a tuner
    is owed becomes available at `available_at`; a balance is a sum of entries, never a column.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    set = models.ForeignKey(LedgerSet, on_delete=models.PROTECT, related_name="entries")
    account = models.CharField(max_length=14, choices=LedgerAccount)
    tuner = models.ForeignKey("tuners.TunerProfile", on_delete=models.PROTECT, null=True, blank=True, related_name="ledger_entries")
    purchase = models.ForeignKey(Purchase, on_delete=models.PROTECT, null=True, blank=True, related_name="ledger_entries")
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    at = models.DateTimeField()
    available_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "ledger entries"
        constraints = [
            models.CheckConstraint(name="ledgerentry_account_known", condition=Q(account__in=LedgerAccount.values)),
            models.CheckConstraint(name="ledgerentry_moves_something", condition=~Q(amount_minor=0)),
            models.CheckConstraint(
                name="ledgerentry_tuner_iff_owed",  # a share that belongs to nobody could never be paid out
                condition=(
                    Q(account=LedgerAccount.TUNER, tuner__isnull=False, available_at__isnull=False)
                    | ~Q(account=LedgerAccount.TUNER) & Q(available_at__isnull=True)
                ),
            ),
        ]
        indexes = [
            models.Index(  # balance: held and available
                fields=["tuner", "currency", "available_at"], name="ledgerentry_balance", condition=Q(account=LedgerAccount.TUNER)
            ),
            models.Index(  # the balance's entries, newest first, and a month's statement
                fields=["tuner", "currency", "-at", "-id"], name="ledgerentry_own_newest", condition=Q(account=LedgerAccount.TUNER)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account} {self.amount_minor} {self.currency}"
