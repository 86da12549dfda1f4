from core.exceptions import DomainError, InvalidTransition, NotFound

__all__ = [
    "AcknowledgementRequired",
    "AlreadyOwned",
    "AttestationRequired",
    "DifferenceEnded",
    "DifferenceNotFound",
    "EventNotFound",
    "EventNotParked",
    "FitmentMismatch",
    "InvalidSignature",
    "LicenseNotBound",
    "LicenseReleaseTooSoon",
    "NotForSale",
    "NothingCaptured",
    "OwnTune",
    "PaymentMismatch",
    "PriceChanged",
    "PurchaseNotFound",
    "PurchaseNotPaid",
    "PurchaseNotPending",
    "RegionBlocked",
]


class PurchaseNotFound(NotFound):
    """Missing, or somebody else's."""

    message = "There is no such purchase."


class AlreadyOwned(DomainError):
    """A license for it is free, or stands on this vehicle; the member `purchase_id` names it."""

    message = "You own this tune already, with a license that you can use for this vehicle."


class PriceChanged(DomainError):
    """`expected_price_minor` or `currency` is not what it costs; the members tell what it does."""

    message = "The price is another one now. Show it again before buying."


class OwnTune(DomainError):
    message = "This is your own tune. Test tickets let you flash it on your vehicle."


class NotForSale(DomainError):
    message = "This tune is not on sale."


class FitmentMismatch(DomainError):
    """Nothing of this tune fits the vehicle; `reasons` tell why."""

    message = "This tune does not fit this vehicle."


class AcknowledgementRequired(DomainError):
    """What is unknown about the fit must be acknowledged; `required_reasons` lists the codes."""

    message = "It is not known whether this tune fits. Acknowledge exactly what is unknown to buy it all the same."


class RegionBlocked(DomainError):
    message = "This tune is not offered in your region."


class AttestationRequired(DomainError):
    """The present attestation must be accepted; `text_version` and `sha256` name it."""

    message = "Read and accept the present attestation first."


class PurchaseNotPaid(DomainError):
    message = "This purchase is not paid."


class PurchaseNotPending(InvalidTransition):
    """It can't be cancelled any more. The code stays `invalid_transition`."""

    code = "invalid_transition"
    message = "This purchase does not wait for payment any more."


class LicenseNotBound(DomainError):
    message = "This license is not bound to a vehicle, so there is nothing to release."


class LicenseReleaseTooSoon(DomainError):
    message = "You can release a license once a year. Open a case if your ECU was replaced."


class InvalidSignature(DomainError):
    message = "The signature of this event does not verify."


class EventNotFound(NotFound):
    message = "There is no such event."


class EventNotParked(InvalidTransition):
    """The code stays `invalid_transition`."""

    code = "invalid_transition"
    message = "Only a parked event is taken up again."


class DifferenceNotFound(NotFound):
    message = "There is no such difference."


class DifferenceEnded(InvalidTransition):
    """The code stays `invalid_transition`."""

    code = "invalid_transition"
    message = "This difference is not open any more."


class NothingCaptured(InvalidTransition):
    """The code stays `invalid_transition`."""

    code = "invalid_transition"
    message = "There is no captured payment in it that could be given back."


class PaymentMismatch(Exception):
    """The provider's payment is not the one that was agreed. Never shown to a client: the event is parked, an alarm raised."""
