"""What goes over the wire: form bodies in, JSON and errors out."""

import secrets
import string
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

ALPHABET = string.ascii_letters + string.digits
MAX_BODY_BYTES = 1_048_576


def object_id(prefix: str) -> str:
    """An id as Stripe makes them: a prefix that tells the kind and 24 unguessable letters and digits."""
    return f"{prefix}_{random_text(24)}"


def random_text(length: int) -> str:
    """Unguessable letters and digits."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


class ApiError(Exception):
    """An error in the shape of https://docs.stripe.com/api/errors.

    `saved` says whether the idempotency layer keeps it: an error of execution is kept and replayed, a failed
    validation is not (https://docs.stripe.com/api/idempotent_requests).
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        saved: bool = False,
        **members: Any,
    ) -> None:
        super().__init__(message)
        self.status, self.saved = status, saved
        error = {"type": kind, "message": message, "code": code, "param": param, **members}
        self.body: dict[str, Any] = {"error": {name: value for name, value in error.items() if value is not None}}


@dataclass(frozen=True)
class ApiRequest:
    """One call of the API, parsed."""

    method: str
    path: str
    params: dict[str, Any]
    raw: bytes
    key: str | None = None
    api_version: str = ""
    account: str = ""  # the connected account that the call is made for (https://docs.stripe.com/connect/authentication)
    public_url: str = ""  # where people reach this server


@dataclass(frozen=True)
class ApiResponse:
    """What a call answers."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


def parse_form(text: str) -> dict[str, Any]:
    """`a[b]=1&c[0]=2` → `{"a": {"b": "1"}, "c": {"0": "2"}}`: the bracket form of https://docs.stripe.com/api.

    Raises ApiError 400 for brackets that do not close or a name used both as value and as container.
    """
    result: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        head, *rest = name.replace("]", "").split("[") if name.count("[") == name.count("]") else [""]
        if not head or len(rest) > 5:
            raise ApiError(400, f"Invalid parameter name: {name[:100]}", code="parameter_unknown", param=name[:100])
        target = result
        path = [head, *rest]
        for position, part in enumerate(path[:-1]):
            part = part or str(len(target))
            nested = target.setdefault(part, {})
            if not isinstance(nested, dict):
                raise ApiError(400, f"Invalid parameter: {name[:100]}", param="".join(path[: position + 1])[:100])
            target = nested
        last = path[-1] or str(len(target))
        if isinstance(target.get(last), dict):
            raise ApiError(400, f"Invalid parameter: {name[:100]}", param=name[:100])
        target[last] = value
    return result


def require_known(params: dict[str, Any], *known: str) -> None:
    """Refuse a parameter that the operation does not have (https://docs.stripe.com/error-codes#parameter-unknown)."""
    for name in params:
        if name not in known:
            raise ApiError(400, f"Received unknown parameter: {name[:100]}", code="parameter_unknown", param=name[:100])


def integer(params: dict[str, Any], name: str, *, required: bool = False, minimum: int = 1, maximum: int = 99_999_999) -> int | None:
    """A whole number within bounds (https://docs.stripe.com/error-codes#parameter-invalid-integer)."""
    value = params.get(name)
    if value is None or value == "":
        if required:
            raise ApiError(400, f"Missing required param: {name}.", code="parameter_missing", param=name)
        return None
    if not isinstance(value, str) or not value.lstrip("-").isascii() or not value.lstrip("-").isdigit() or len(value) > 12:
        raise ApiError(400, f"Invalid integer: {str(value)[:40]}", code="parameter_invalid_integer", param=name)
    number = int(value)
    if number < minimum:
        raise ApiError(400, f"This value must be greater than or equal to {minimum}.", code="parameter_invalid_integer", param=name)
    if number > maximum:
        raise ApiError(400, f"Amount must be no more than {maximum}.", code="amount_too_large", param=name)
    return number


def expanded(params: dict[str, Any]) -> list[str]:
    """The members that the caller wants as whole objects (https://docs.stripe.com/api/expanding_objects)."""
    wanted = params.get("expand") or {}
    return [str(path) for path in wanted.values()] if isinstance(wanted, dict) else []


def metadata(params: dict[str, Any]) -> dict[str, str]:
    """Up to 50 pairs, names to 40 and values to 500 characters (https://docs.stripe.com/api/metadata)."""
    given = params.get("metadata") or {}
    if not isinstance(given, dict) or any(not isinstance(value, str) for value in given.values()):
        raise ApiError(400, "Invalid object", param="metadata")
    if len(given) > 50 or any(len(name) > 40 or len(value) > 500 for name, value in given.items()):
        raise ApiError(400, "Metadata may have 50 keys of 40 and values of 500 characters.", param="metadata")
    return {name: value for name, value in given.items() if value}
