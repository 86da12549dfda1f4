"""What a release, a ticket, a download, a flash and a stop can be. Clients treat a value that they don't know as unknown."""

from django.db.models import TextChoices

__all__ = [
    "DownloadKind",
    "DownloadOutcome",
    "FlashOutcome",
    "ReleaseChannel",
    "StopKind",
    "StopSeverity",
    "StopSource",
]


class ReleaseChannel(TextChoices):
    PUBLIC = "public", "Reviewed and published"
    TEST = "test", "A tuner's own vehicle, before publication"


class StopKind(TextChoices):
    """A stop in the status document, by its state there."""

    HOLD = "on_hold", "On hold"
    RECALL = "recalled", "Recalled"


class StopSeverity(TextChoices):
    INFO = "info", "For information: the tune may stay on the vehicle"
    STOP_FLASH = "stop_flash", "Don't flash it any more"
    RESTORE_STOCK = "restore_stock", "Restore the stock image before the next ride"


class StopSource(TextChoices):
    AUTHOR = "AUTHOR", "Its tuner"
    STAFF = "STAFF", "Staff"
    SYSTEM = "SYSTEM", "The system"


class DownloadKind(TextChoices):
    GRANT = "GRANT", "Grant"
    LINK = "LINK", "Fresh link for a grant"


class DownloadOutcome(TextChoices):
    GRANTED = "GRANTED", "Granted"
    REFUSED = "REFUSED", "Refused"


class FlashOutcome(TextChoices):
    SUCCEEDED = "SUCCEEDED", "Written and verified"
    FAILED_BEFORE_WRITE = "FAILED_BEFORE_WRITE", "Failed before anything was written"
    FAILED_DURING_WRITE = "FAILED_DURING_WRITE", "Failed while writing"
    VERIFY_FAILED = "VERIFY_FAILED", "Written, but reading back did not agree"
    RESTORED = "RESTORED", "The stock image was restored"
