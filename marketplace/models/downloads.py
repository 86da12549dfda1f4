from django.conf import settings
from django.db import models
from django.db.models import F, Q

from core.ids import new_id
from marketplace.enums import DownloadKind, DownloadOutcome, FlashOutcome, ReleaseChannel

__all__ = ["Download", "Flash", "FlashTicket", "GrantedPurchase"]

SHA256 = r"^[0-9a-f]{64}$"


class Download(models.Model):
    """The audit log of downloads: one row for every grant, every fresh link and every refusal of either.

    Append-only, by trigger. A refusal has its `code` and names the version and file as far as they were known. A LINK row
    points to the grant that it renews. Vehicles are named by id only: these rows outlive the garage's.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    purchase = models.ForeignKey("marketplace.Purchase", on_delete=models.PROTECT, related_name="downloads")
    buyer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=5, choices=DownloadKind, default=DownloadKind.GRANT)
    outcome = models.CharField(max_length=7, choices=DownloadOutcome)
    code = models.CharField(max_length=40, blank=True, default="")
    grant = models.ForeignKey("self", on_delete=models.PROTECT, null=True, related_name="renewals")
    vehicle_id = models.UUIDField(null=True)
    version = models.ForeignKey("marketplace.TuneVersion", on_delete=models.PROTECT, null=True, related_name="downloads")
    file = models.ForeignKey("marketplace.TuneFile", on_delete=models.PROTECT, null=True, related_name="+")
    ticket_blockers = models.JSONField(default=list)
    device_key = models.CharField(max_length=64, blank=True, default="")
    app_version = models.CharField(max_length=32, blank=True, default="")
    session_id = models.UUIDField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(name="download_kind_known", condition=Q(kind__in=DownloadKind.values)),
            models.CheckConstraint(
                name="download_refused_iff_code",  # nobody is refused without a word
                condition=(
                    Q(outcome=DownloadOutcome.GRANTED, code="", version__isnull=False, file__isnull=False, vehicle_id__isnull=False)
                    | (Q(outcome=DownloadOutcome.REFUSED) & ~Q(code=""))
                ),
            ),
            models.CheckConstraint(
                name="download_link_iff_grant",
                condition=Q(kind=DownloadKind.GRANT, grant__isnull=True) | Q(kind=DownloadKind.LINK, grant__isnull=False),
            ),
        ]
        indexes = [
            models.Index(name="download_trail", fields=["purchase", "-id"]),  # the rider's trail
            models.Index(name="download_of_version", fields=["version", "buyer"], condition=Q(outcome="GRANTED")),  # who must be told
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.get_outcome_display().lower()} {self.code}".strip()


class GrantedPurchase(models.Model):
    """A purchase of which bytes were ever handed out: no refund at once any more, and one more download of its tune.

    Made with the first grant, by whichever of twenty parallel ones comes first; never changed.
    """

    purchase = models.OneToOneField("marketplace.Purchase", on_delete=models.PROTECT, primary_key=True, related_name="first_grant")
    granted_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"first grant of {self.purchase}"


class FlashTicket(models.Model):
    """One signed permission to flash one file on one vehicle, good for 72 hours.

    The body is not stored, because its identity tag could be guessed: only its hash, and everything else it is made of.
    `reserves` tells that the license was free and is kept for this vehicle until the ticket is reported or expires.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    grant = models.OneToOneField(Download, on_delete=models.PROTECT, null=True, related_name="flash_ticket")
    purchase = models.ForeignKey("marketplace.Purchase", on_delete=models.PROTECT, null=True, related_name="tickets")
    license = models.ForeignKey("marketplace.License", on_delete=models.PROTECT, null=True, related_name="tickets")
    holder = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    vehicle_id = models.UUIDField()
    readout_id = models.UUIDField()
    version = models.ForeignKey("marketplace.TuneVersion", on_delete=models.PROTECT, related_name="tickets")
    file = models.ForeignKey("marketplace.TuneFile", on_delete=models.PROTECT, related_name="+")
    channel = models.CharField(max_length=6, choices=ReleaseChannel)
    device_key = models.CharField(max_length=64, blank=True, default="")
    status_version_min = models.BigIntegerField()
    payload_sha256 = models.CharField(max_length=64)
    keyid = models.CharField(max_length=64)
    reserves = models.BooleanField(default=False)
    issued_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    reported_at = models.DateTimeField(null=True, blank=True)
    expired_unreported_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(name="flash_ticket_channel_known", condition=Q(channel__in=ReleaseChannel.values)),
            models.CheckConstraint(name="flash_ticket_expires_after_issue", condition=Q(expires_at__gt=F("issued_at"))),
            models.CheckConstraint(name="flash_ticket_hash_is_sha256", condition=Q(payload_sha256__regex=SHA256)),
            models.CheckConstraint(
                name="flash_ticket_public_iff_license",  # a sale without a license, or a test that spends one
                condition=(
                    Q(channel=ReleaseChannel.PUBLIC, purchase__isnull=False, license__isnull=False, grant__isnull=False)
                    | Q(channel=ReleaseChannel.TEST, purchase__isnull=True, license__isnull=True, grant__isnull=True, reserves=False)
                ),
            ),
        ]
        indexes = [
            models.Index(name="flash_ticket_of_license", fields=["license", "-issued_at"]),
            models.Index(  # the schedule's search for reservations that ran out
                name="flash_ticket_unreported",
                fields=["expires_at"],
                condition=Q(reserves=True, reported_at__isnull=True, expired_unreported_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"ticket of {self.issued_at:%Y-%m-%d %H:%M}"


class Flash(models.Model):
    """One attempt to flash, as the rider's phone reported it, perhaps days later. Append-only, by trigger.

    `license_state` is what the license was after this report; `bound_elsewhere` marks a success on a vehicle while the
    license belonged to another one. `counts_as_hard_failure` decides automatic holds.
    """

    id = models.UUIDField(primary_key=True, editable=False)  # client-made
    ticket = models.ForeignKey(FlashTicket, on_delete=models.PROTECT, related_name="flashes")
    reporter = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    vehicle_id = models.UUIDField()
    version = models.ForeignKey("marketplace.TuneVersion", on_delete=models.PROTECT, related_name="flashes")
    outcome = models.CharField(max_length=19, choices=FlashOutcome)
    ecu_before = models.JSONField(null=True)
    ecu_after = models.JSONField(null=True)
    app_version = models.CharField(max_length=32)
    flashed_at = models.DateTimeField()
    received_at = models.DateTimeField()
    license_state = models.CharField(max_length=9, blank=True, default="")
    bound_elsewhere = models.BooleanField(default=False)
    counts_as_hard_failure = models.BooleanField(default=False)
    fingerprint = models.BinaryField(max_length=32)  # of the body: the same one again is answered, another is refused

    class Meta:
        verbose_name_plural = "flashes"
        constraints = [
            models.CheckConstraint(name="flash_outcome_known", condition=Q(outcome__in=FlashOutcome.values)),
            models.CheckConstraint(
                name="flash_hard_failure_is_a_failure",
                condition=Q(counts_as_hard_failure=False) | Q(outcome__in=[FlashOutcome.FAILED_DURING_WRITE, FlashOutcome.VERIFY_FAILED]),
            ),
        ]
        indexes = [
            models.Index(name="flash_own_newest", fields=["reporter", "-received_at", "-id"]),
            models.Index(name="flash_of_vehicle", fields=["vehicle_id", "-flashed_at"]),  # what is installed now
            models.Index(  # what was flashed lately
                name="flash_trend", fields=["received_at"], condition=Q(outcome=FlashOutcome.SUCCEEDED)
            ),
            models.Index(name="flash_of_version", fields=["version", "received_at"]),  # a tuner's report of some days
            models.Index(  # two by different buyers within a day stop the version
                name="flash_hard_failures", fields=["version", "received_at"], condition=Q(counts_as_hard_failure=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_outcome_display()} at {self.flashed_at:%Y-%m-%d %H:%M}"
