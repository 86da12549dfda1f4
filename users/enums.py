"""The words that accounts are described with. New members are not a breaking change: clients treat unknown ones as unknown."""

from django.db.models import TextChoices


class Role(TextChoices):
    """What a person is on RevSync. Only a service changes it, with a reason; no client ever does."""

    RIDER = "RIDER", "Rider"
    TUNER = "TUNER", "Tuner"
    CREATOR = "CREATOR", "Creator"
    ADMIN = "ADMIN", "Admin"


class ExperienceLevel(TextChoices):
    """How much somebody has done with engines, in their own words."""

    BEGINNER = "BEGINNER", "Beginner"
    INTERMEDIATE = "INTERMEDIATE", "Intermediate"
    ADVANCED = "ADVANCED", "Advanced"
    PROFESSIONAL = "PROFESSIONAL", "Professional"


class Platform(TextChoices):
    """What the client runs on. Lower case, as clients send it."""

    IOS = "ios", "iOS"
    ANDROID = "android", "Android"
    WEB = "web", "Web"


class SessionEnd(TextChoices):
    """Why a session ended."""

    LOGGED_OUT = "LOGGED_OUT", "Logged out"
    LOGGED_OUT_EVERYWHERE = "LOGGED_OUT_EVERYWHERE", "Logged out everywhere"
    REVOKED = "REVOKED", "Revoked from the device list"
    PASSWORD_CHANGED = "PASSWORD_CHANGED", "Password changed"
    PASSWORD_RESET = "PASSWORD_RESET", "Password reset"
    TOKEN_REUSED = "TOKEN_REUSED", "A used refresh token came back"
    ENDED_BY_STAFF = "ENDED_BY_STAFF", "Ended by staff"


class StepUpMethod(TextChoices):
    """With what a session was confirmed last: acts that ask for a fresh second factor look at it."""

    PASSWORD = "PASSWORD", "Password"
    CODE = "CODE", "Second factor"


class ExportState(TextChoices):
    """How far a copy of a person's data is."""

    QUEUED = "QUEUED", "Waits for the worker"
    RUNNING = "RUNNING", "Being made"
    READY = "READY", "Ready to fetch"
    EXPIRED = "EXPIRED", "Its file was deleted"
    FAILED = "FAILED", "Could not be made"


class ChallengeKind(TextChoices):
    """What a challenge leads to once its code is given."""

    REGISTER = "REGISTER", "Registration"
    PASSWORD_RESET = "PASSWORD_RESET", "Password reset"
    EMAIL_CHANGE = "EMAIL_CHANGE", "E-mail change"
    MFA_LOGIN = "MFA_LOGIN", "Log-in with a second factor"


class NoticeSeverity(TextChoices):
    """How loud a notice is. The last two are a recall's own severities. Lower case, as clients see it."""

    INFO = "info", "Information"
    WARNING = "warning", "Warning"
    STOP_FLASH = "stop_flash", "Do not flash"
    RESTORE_STOCK = "restore_stock", "Restore the stock file"


class NoticeCategory(TextChoices):
    """What a person switches mail and push on and off by."""

    SECURITY = "SECURITY", "Sign-ins and changes of the account"
    SAFETY = "SAFETY", "Holds, recalls and everything about a safe flash"
    PURCHASES = "PURCHASES", "Purchases, refunds and cases"
    TUNER = "TUNER", "Application, reviews of versions, sales and payouts"
    SOCIAL = "SOCIAL", "Reviews, replies and followed tuners"


class NoticeType(TextChoices):
    """What a notice is about. Clients choose an icon and a screen by it."""

    SECURITY = "SECURITY", "Security of the account"
    ACCOUNT = "ACCOUNT", "Account"
    ROLE = "ROLE", "Role"
    RECALL = "RECALL", "Recall"
    HOLD = "HOLD", "Hold"
    FLASH = "FLASH", "Flash"
    TRANSFER = "TRANSFER", "Vehicle transfer"
    PURCHASE = "PURCHASE", "Purchase"
    LICENSE = "LICENSE", "License"
    REFUND = "REFUND", "Refund"
    DISPUTE = "DISPUTE", "Dispute"
    CASE = "CASE", "Case"
    APPLICATION = "APPLICATION", "Tuner application"
    CERTIFICATION = "CERTIFICATION", "Certification"
    SUSPENSION = "SUSPENSION", "Suspension"
    INSPECTION = "INSPECTION", "Inspection of a version"
    VERSION_REVIEW = "VERSION_REVIEW", "Review of a version"
    SALE = "SALE", "Sale"
    PAYOUT = "PAYOUT", "Payout"
    REVIEW = "REVIEW", "Review"
    NEW_VERSION = "NEW_VERSION", "New version"
    NEW_TUNE = "NEW_TUNE", "New tune"
    PRICE_DROP = "PRICE_DROP", "Lower price"
    SAVED_SEARCH = "SAVED_SEARCH", "Saved search"


CATEGORY_OF_TYPE: dict[str, NoticeCategory] = {
    **dict.fromkeys([NoticeType.SECURITY, NoticeType.ACCOUNT, NoticeType.ROLE], NoticeCategory.SECURITY),
    **dict.fromkeys([NoticeType.RECALL, NoticeType.HOLD, NoticeType.FLASH, NoticeType.TRANSFER], NoticeCategory.SAFETY),
    **dict.fromkeys(
        [NoticeType.PURCHASE, NoticeType.LICENSE, NoticeType.REFUND, NoticeType.DISPUTE, NoticeType.CASE], NoticeCategory.PURCHASES
    ),
    **dict.fromkeys(
        [
            NoticeType.APPLICATION,
            NoticeType.CERTIFICATION,
            NoticeType.SUSPENSION,
            NoticeType.INSPECTION,
            NoticeType.VERSION_REVIEW,
            NoticeType.SALE,
            NoticeType.PAYOUT,
        ],
        NoticeCategory.TUNER,
    ),
    **dict.fromkeys(
        [NoticeType.REVIEW, NoticeType.NEW_VERSION, NoticeType.NEW_TUNE, NoticeType.PRICE_DROP, NoticeType.SAVED_SEARCH],
        NoticeCategory.SOCIAL,
    ),
}

MAIL_NOT_OPTIONAL = frozenset({NoticeCategory.SECURITY, NoticeCategory.SAFETY})

# Nobody is hurt or loses money when these are read half an hour later: one mail and one push for all of them. Warnings never wait.
BATCHED = frozenset({NoticeCategory.SOCIAL})
