"""What can go wrong with signed documents. A signature that does not hold is never the caller's fault."""

from core.exceptions import NotFound, ServiceUnavailable


class SignatureRefused(Exception):
    """An envelope does not verify: wrong role, wrong key, too few signatures, or a payload that is not canonical."""


class SigningNotReady(ServiceUnavailable):
    """This installation has no usable keys or root document; `advice` tells an operator what to do. To a client it is
    an outage like any other."""

    code = "service_unavailable"

    def __init__(self, advice: str) -> None:
        super().__init__("signing", retry_after_seconds=60)
        self.advice = advice

    def __str__(self) -> str:
        return self.advice


class RootMissing(NotFound):
    message = "There is no such root document."
