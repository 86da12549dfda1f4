from django.conf import settings
from django.db import models
from django.db.models import F, Q

from core.ids import new_id
from marketplace.enums import ReleaseChannel, StopKind, StopSeverity, StopSource

__all__ = [
    "AppVersionBlock",
    "CounterFloor",
    "Release",
    "RevokedKey",
    "StatusDocument",
    "StopAcknowledgement",
    "StoredFileCheck",
    "VersionStop",
]

SHA256 = r"^[0-9a-f]{64}$"


class Release(models.Model):
    """The signed release document of one tune file: what a phone checks before it writes a byte.

    Made when its version is published (channel `public`) or for a tuner's own vehicle (`test`). A trigger refuses every
    change but `superseded_at`, which is set when a rotated key signed the same payload again: the newest row counts. A
    release does not expire. Goes only with its version, which goes only while nobody owns the tune.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    version = models.ForeignKey("marketplace.TuneVersion", on_delete=models.CASCADE, related_name="releases")
    file = models.ForeignKey("marketplace.TuneFile", on_delete=models.CASCADE, related_name="releases")
    channel = models.CharField(max_length=6, choices=ReleaseChannel)
    release_counter = models.PositiveIntegerField(null=True)  # none on the test channel: nothing follows from its order
    payload_sha256 = models.CharField(max_length=64)
    keyid = models.CharField(max_length=64)
    envelope = models.JSONField()
    issued_at = models.DateTimeField()
    superseded_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(name="release_channel_known", condition=Q(channel__in=ReleaseChannel.values)),
            models.CheckConstraint(name="release_payload_hash_is_sha256", condition=Q(payload_sha256__regex=SHA256)),
            models.CheckConstraint(
                name="release_public_iff_counter",  # a public release without counter could be rolled back
                condition=(
                    Q(channel=ReleaseChannel.PUBLIC, release_counter__isnull=False)
                    | Q(channel=ReleaseChannel.TEST, release_counter__isnull=True)
                ),
            ),
            models.UniqueConstraint(
                name="release_one_current_per_file",  # two publications at once must not leave two truths
                fields=["file", "channel"],
                condition=Q(superseded_at__isnull=True),
            ),
        ]
        indexes = [models.Index(name="release_by_payload", fields=["payload_sha256"])]

    def __str__(self) -> str:
        return f"{self.channel} release {self.release_counter} of {self.file}"


class VersionStop(models.Model):
    """One hold or recall of a version, from the act to its lifting.

    Made in the transaction that stops the version; at most one is open at a time. A hold that becomes a recall ends
    there. Lifting leaves a signed document, without which the status publisher refuses to let a stop vanish. A recall is
    lifted by two people; with fewer than two active admins by one, a day after proposing it (`single_operator`).
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    version = models.ForeignKey("marketplace.TuneVersion", on_delete=models.PROTECT, related_name="stops")
    kind = models.CharField(max_length=8, choices=StopKind)
    severity = models.CharField(max_length=13, choices=StopSeverity)
    source = models.CharField(max_length=6, choices=StopSource)
    reason = models.CharField(max_length=2000)
    replacement = models.ForeignKey("marketplace.TuneVersion", on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    since = models.DateTimeField()
    told_at = models.DateTimeField(null=True, blank=True)

    lift_proposed_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    lift_proposed_at = models.DateTimeField(null=True, blank=True)
    lift_reason = models.CharField(max_length=2000, blank=True, default="")
    lifted_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    lifted_at = models.DateTimeField(null=True, blank=True)
    lift_envelope = models.JSONField(null=True, blank=True)
    single_operator = models.BooleanField(default=False)
    recalled_at = models.DateTimeField(null=True, blank=True)  # of a hold that became a recall

    class Meta:
        constraints = [
            models.CheckConstraint(name="version_stop_kind_known", condition=Q(kind__in=StopKind.values)),
            models.CheckConstraint(name="version_stop_severity_known", condition=Q(severity__in=StopSeverity.values)),
            models.CheckConstraint(name="version_stop_source_known", condition=Q(source__in=StopSource.values)),
            models.CheckConstraint(name="version_stop_has_reason", condition=~Q(reason="")),  # riders read it
            models.CheckConstraint(
                name="version_stop_made_by_iff_person",
                condition=Q(source=StopSource.SYSTEM, made_by__isnull=True) | (~Q(source=StopSource.SYSTEM) & Q(made_by__isnull=False)),
            ),
            models.CheckConstraint(
                name="version_stop_lift_is_signed",  # an unsigned lifting would let a stop vanish by editing a row
                condition=(
                    Q(lifted_at__isnull=True, lifted_by__isnull=True, lift_envelope__isnull=True)
                    | Q(lifted_at__isnull=False, lifted_by__isnull=False, lift_envelope__isnull=False, recalled_at__isnull=True)
                ),
            ),
            models.CheckConstraint(
                name="version_stop_recall_lifted_by_two",
                condition=(
                    Q(kind=StopKind.HOLD)
                    | Q(lifted_at__isnull=True)
                    | Q(lift_proposed_by__isnull=False, single_operator=True)
                    | (Q(lift_proposed_by__isnull=False) & ~Q(lift_proposed_by=F("lifted_by")))
                ),
            ),
            models.CheckConstraint(
                name="version_stop_proposal_whole",
                condition=(
                    Q(lift_proposed_by__isnull=True, lift_proposed_at__isnull=True)
                    | Q(lift_proposed_by__isnull=False, lift_proposed_at__isnull=False)
                ),
            ),
            models.CheckConstraint(
                name="version_stop_only_holds_become_recalls", condition=Q(recalled_at__isnull=True) | Q(kind=StopKind.HOLD)
            ),
            models.UniqueConstraint(
                name="version_stop_one_open",  # a hold and a recall at once: one of them wins
                fields=["version"],
                condition=Q(lifted_at__isnull=True, recalled_at__isnull=True),
            ),
        ]
        indexes = [
            models.Index(name="version_stop_open", fields=["since"], condition=Q(lifted_at__isnull=True, recalled_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} of {self.version}"

    @property
    def is_open(self) -> bool:
        return self.lifted_at is None and self.recalled_at is None


class StopAcknowledgement(models.Model):
    """One rider has read one stop. Made by that rider, never changed."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    stop = models.ForeignKey(VersionStop, on_delete=models.CASCADE, related_name="acknowledgements")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    acknowledged_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(name="stop_acknowledged_once", fields=["stop", "user"])]

    def __str__(self) -> str:
        return f"acknowledgement of {self.stop_id}"


class StatusDocument(models.Model):
    """One signed status document: which releases are stopped. The newest is served; old ones are kept for a week.

    `version` only rises. `previous_version` is unique, so that two publishers can't both follow the same document.
    `copied_at` tells when storage had its copy, from which a restored database learns how far it had been.
    """

    version = models.BigIntegerField(primary_key=True)
    previous_version = models.BigIntegerField(unique=True)
    envelope = models.JSONField()
    stopped = models.JSONField()  # the `stopped` list of the payload, for comparing without decoding
    payload_sha256 = models.CharField(max_length=64)
    issued_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    copied_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(name="status_document_version_rises", condition=Q(version__gt=F("previous_version"))),
            models.CheckConstraint(name="status_document_expires_after_issue", condition=Q(expires_at__gt=F("issued_at"))),
        ]

    def __str__(self) -> str:
        return f"status {self.version}"


class AppVersionBlock(models.Model):
    """A version of the mobile app that must not flash any more. Made by staff; lifted by deleting it, audited."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    app_version = models.CharField(max_length=32, unique=True)
    reason = models.CharField(max_length=2000)
    blocked_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.app_version


class CounterFloor(models.Model):
    """The least release counter of a tune that phones still flash; the highest of a tune's rows counts.

    Made by staff, together with the recalls of the older versions. Append-only: a floor never sinks. It names its tune by
    id alone, for it outlives the tune: a file that somebody kept must stay refused.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tune_id = models.UUIDField()
    least_counter = models.PositiveIntegerField()
    since = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(name="counter_floor_once", fields=["tune_id", "least_counter"]),
            models.CheckConstraint(name="counter_floor_is_a_counter", condition=Q(least_counter__gte=2)),  # below 1 is nothing
        ]

    def __str__(self) -> str:
        return f"{self.tune_id} from {self.least_counter}"


class RevokedKey(models.Model):
    """The id of a signing key that was stolen or lost: phones count its signatures no more. Append-only."""

    keyid = models.CharField(max_length=64, primary_key=True)
    role = models.CharField(max_length=12)
    reason = models.CharField(max_length=2000)
    revoked_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(name="revoked_key_is_a_keyid", condition=Q(keyid__regex=SHA256)),
            models.CheckConstraint(name="revoked_key_has_reason", condition=~Q(reason="")),
        ]

    def __str__(self) -> str:
        return self.keyid


class StoredFileCheck(models.Model):
    """The stored object of some tune file as it was when its bytes were last hashed and found right.

    As long as the store reports the same tag and time, nobody touched the object; anything else is hashed again before
    a byte is handed out. Replaced by every good check, never by a bad one.
    """

    storage_key = models.CharField(max_length=73, primary_key=True)
    etag = models.CharField(max_length=200)
    modified_at = models.DateTimeField()
    checked_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.storage_key
