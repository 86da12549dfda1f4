"""Refusals of uploads."""

from core.exceptions import DomainError, InvalidTransition, NotFound


class UploadNotFound(NotFound):
    message = "There is no such upload."


class UploadNotPending(InvalidTransition):
    message = "A new link is only given while the upload waits for its bytes."


class UploadNotReceived(DomainError):
    message = "The storage has not received this file. Send it to the link first, then complete."


class UploadExpired(DomainError):
    message = "This upload is older than 24 hours. Start a new one."


class UploadQuotaExceeded(DomainError):
    """`quota` is "waiting" (uploads that nothing uses yet) or "stored" (files kept for this purpose)."""

    message = "Too many uploads of yours wait to be used. Use them or let them expire, then start a new one."
