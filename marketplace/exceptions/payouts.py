from core.exceptions import DomainError, NotFound

__all__ = ["PayoutCountryUnsupported", "PayoutNotFound", "StatementNotFound"]


class PayoutNotFound(NotFound):
    """Missing, or somebody else's."""

    message = "There is no such payout."


class StatementNotFound(NotFound):
    """Nothing moved then, or the month is none."""

    message = "There is no such statement."


class PayoutCountryUnsupported(DomainError):
    """The provider opens no account there; `provider_code` says what it refused."""

    message = "The payment provider can't open an account for your country. Ask support."
