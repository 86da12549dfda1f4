"""Refusals, named after the fact. Nothing here knows of HTTP: `core.problems` maps codes to statuses."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class FieldError:
    """One thing that is wrong: `pointer` into the body (RFC 6901) or the name of a query `parameter`."""

    code: str
    detail: str
    pointer: str | None = None
    parameter: str | None = None


class DomainError(Exception):
    """A refusal with a stable `code` (the class's name in snake_case) and a sentence for the person.

    `errors` point at what is wrong; further keyword `members` become members of the problem (`purchase_id`, …).
    """

    message: ClassVar[str] = "The request was refused."
    code: ClassVar[str] = "domain_error"
    code_is_inherited: ClassVar[bool] = False  # subclasses then share the code of their base

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "code" not in cls.__dict__ and not cls.code_is_inherited:
            cls.code = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def __init__(self, message: str | None = None, *, errors: Iterable[FieldError] = (), **members: Any) -> None:
        self.detail = message or self.message
        self.errors = tuple(errors)
        self.members = members
        super().__init__(self.detail)


class InvalidInput(DomainError):
    """The input is wrong; `errors` say where."""

    message = "Some of what was sent is not valid."

    @classmethod
    def at(cls, pointer: str, code: str, detail: str) -> "InvalidInput":
        """The same for one place of the body, named by its JSON pointer."""
        return cls(errors=[FieldError(code=code, detail=detail, pointer=pointer)])

    @classmethod
    def parameter(cls, name: str, code: str, detail: str) -> "InvalidInput":
        """The same for one query parameter."""
        return cls(errors=[FieldError(code=code, detail=detail, parameter=name)])


class UnknownField(InvalidInput):
    """The body or the query has a member that nobody may send."""

    code = "unknown_field"
    message = "The request has a field that is not known or can't be written."


class NotFound(DomainError):
    """Missing, or somebody else's: subclasses keep the code `not_found`, so that the two can't be told apart."""

    code = "not_found"
    code_is_inherited = True
    message = "There is no such resource."


class PermissionRefused(DomainError):
    """The caller's role or account does not allow it."""

    code = "permission_denied"
    message = "Your account may not do this."


class NotAuthenticated(DomainError):
    """No valid credentials came with the request."""

    message = "Sign in to do this."


class ReauthenticationRequired(DomainError):
    """The call is sensitive and the session has not been stepped up in the last five minutes."""

    message = "Confirm your password or code first (auth/step-up/), then repeat this within five minutes."


class StaleRevision(DomainError):
    """`If-Match` names an older revision; the member `current` is the present one."""

    message = "The resource has changed since you read it."


class InvalidTransition(DomainError):
    """The object's state does not allow this move."""

    message = "This is not possible in the present state."


class IdTaken(DomainError):
    """A client-made id belongs to something else already."""

    message = "This id is taken."


class ServiceUnavailable(DomainError):
    """A part that we depend on does not answer: `service` names it. Nothing was changed."""

    message = "A service that this needs does not answer. Nothing was changed; try again shortly."

    def __init__(self, service: str, *, retry_after_seconds: int = 5) -> None:
        super().__init__(service=service)
        self.retry_after_seconds = retry_after_seconds


class RateLimited(DomainError):
    """More than the limit allows; `limit` and `window_seconds` say which."""

    message = "Too many requests. Wait before you try again."

    def __init__(self, *, limit: int, window_seconds: int, retry_after_seconds: int, name: str = "default") -> None:
        super().__init__()
        self.limit, self.window_seconds, self.name = limit, window_seconds, name
        self.retry_after_seconds = max(1, retry_after_seconds)


class IdempotencyKeyRequired(DomainError):
    """The operation must carry an `Idempotency-Key`."""

    message = "Send an Idempotency-Key header with 1 to 255 printable characters."


class IdempotencyKeyReused(DomainError):
    """The key was used for another body."""

    message = "This Idempotency-Key was used for another request."


class IdempotencyInProgress(DomainError):
    """The first request with this key is still running."""

    message = "The first request with this Idempotency-Key is still running."
