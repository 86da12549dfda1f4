from core.exceptions import DomainError, InvalidTransition, NotFound

__all__ = [
    "AlreadyRefunded",
    "CaseAlreadyOpen",
    "CaseNotFound",
    "CaseResolved",
    "DisputeNotFound",
    "EvidenceNotAwaited",
    "NothingToRefund",
    "OwnCase",
    "PurchaseChargedBack",
    "PurchaseDisputed",
    "RefundNotFound",
    "RefundNotOwed",
    "RefundOpen",
    "RefundTooLarge",
]


class CaseNotFound(NotFound):
    """Missing, or between others."""

    message = "There is no such case."


class RefundNotFound(NotFound):
    """Missing, or somebody else's."""

    message = "There is no such refund."


class DisputeNotFound(NotFound):
    message = "There is no such dispute."


class CaseAlreadyOpen(DomainError):
    """A case of this kind about this purchase is open; the member `case` names it."""

    message = "A case about this is open already. Write there."


class CaseResolved(DomainError):
    message = "This case is resolved."


class OwnCase(DomainError):
    """Staff who bought or sold don't decide; another admin does. The code is that of a refusal by role."""

    code = "permission_denied"
    message = "You bought or sold this yourself. Another admin decides."


class NothingToRefund(DomainError):
    message = "This tune was free, so there is nothing to give back."


class AlreadyRefunded(DomainError):
    """Everything was given back; the member `refund` names the last refund."""

    message = "Everything that was paid has been given back already."


class PurchaseDisputed(DomainError):
    """The payer's bank has the money while a dispute is open."""

    message = "The payment is disputed at the payer's bank. What becomes of the money is decided there."


class PurchaseChargedBack(DomainError):
    message = "The payer's bank took this payment back already."


class RefundTooLarge(DomainError):
    """The member `refundable_minor` tells how much is left."""

    message = "This is more than what is left of the payment."


class RefundNotOwed(InvalidTransition):
    """Only a refund that failed and was not paid otherwise is owed. The code stays `invalid_transition`."""

    code = "invalid_transition"
    message = "Nothing is owed for this refund."


class RefundOpen(InvalidTransition):
    """A refund of the purchase is on its way. The code stays `invalid_transition`."""

    code = "invalid_transition"
    message = "A refund of this purchase is on its way. Decide when it has arrived."


class EvidenceNotAwaited(InvalidTransition):
    """The bank takes evidence once, while it waits for it. The code stays `invalid_transition`."""

    code = "invalid_transition"
    message = "The bank does not wait for evidence: it was submitted, or the dispute is over."
