"""What a refund, a dispute and a case can be. Clients treat a value that they don't know as unknown."""

from django.db.models import TextChoices

__all__ = ["CaseAuthor", "CaseKind", "CaseResolution", "CaseStatus", "DisputeStatus", "RefundCause", "RefundStatus"]


class RefundStatus(TextChoices):
    PENDING = "PENDING", "On its way, or waiting for a decision"
    SUCCEEDED = "SUCCEEDED", "Given back"
    FAILED = "FAILED", "Not given back"


class RefundCause(TextChoices):
    REQUEST = "REQUEST", "The buyer asked, at once"
    CASE = "CASE", "Decided in a case"
    PROVIDER = "PROVIDER", "Made at the payment provider"


class DisputeStatus(TextChoices):
    INQUIRY = "INQUIRY", "The bank asks, no money has moved"
    NEEDS_RESPONSE = "NEEDS_RESPONSE", "Evidence is awaited"
    UNDER_REVIEW = "UNDER_REVIEW", "The bank looks at the evidence"
    WON = "WON", "Won"
    LOST = "LOST", "Lost"
    CLOSED = "CLOSED", "The inquiry ended without a dispute"


class CaseKind(TextChoices):
    REFUND = "REFUND", "Refund"
    FLASH_FAILURE = "FLASH_FAILURE", "Failed flash"
    OTHER = "OTHER", "Something else"


class CaseStatus(TextChoices):
    OPEN = "OPEN", "Opened, nobody has answered yet"
    WAITING_RIDER = "WAITING_RIDER", "Waiting for the rider"
    WAITING_TUNER = "WAITING_TUNER", "Waiting for the tuner"
    WAITING_STAFF = "WAITING_STAFF", "Waiting for RevSync"
    RESOLVED = "RESOLVED", "Resolved"


class CaseResolution(TextChoices):
    FULL_REFUND = "FULL_REFUND", "Everything is given back"
    PARTIAL_REFUND = "PARTIAL_REFUND", "A part is given back"
    NO_REFUND = "NO_REFUND", "Nothing is given back"
    SOLVED = "SOLVED", "Solved without money"
    WITHDRAWN = "WITHDRAWN", "The rider left"


class CaseAuthor(TextChoices):
    RIDER = "RIDER", "Rider"
    TUNER = "TUNER", "Tuner"
    STAFF = "STAFF", "RevSync"
    SYSTEM = "SYSTEM", "Written by the system"
