"""RFC 9457 problem details: the one place where a refusal meets HTTP.

Each app lists its codes in its own `problems` module and registers them when it is ready. `problem_types()` is the
table that the documentation shows.
"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import structlog
from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import IntegrityError, InterfaceError, OperationalError
from django.http import Http404, HttpResponse
from django.views import defaults
from rest_framework import exceptions as drf
from rest_framework.response import Response
from rest_framework.utils.serializer_helpers import ReturnDict

from core.exceptions import DomainError, FieldError, RateLimited, ServiceUnavailable

CONTENT_TYPE = "application/problem+json"
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ProblemType:
    """A row of the table of codes. `description` tells a client's developer what to do about it."""

    code: str
    status: int
    title: str
    description: str = ""


_types: dict[str, ProblemType] = {}


def register(types: Iterable[ProblemType]) -> None:
    """Add an app's codes. Two apps that mean different things by one code are a programming error."""
    for problem_type in types:
        if _types.setdefault(problem_type.code, problem_type) != problem_type:
            raise ValueError(f"Problem code {problem_type.code} is registered twice")


def problem_types() -> list[ProblemType]:
    """All codes, sorted."""
    return sorted(_types.values(), key=lambda row: row.code)


def problem_type(code: str) -> ProblemType:
    """The row of a code; KeyError names a code that nobody registered."""
    return _types[code]


register(
    [
        ProblemType(
            "invalid_input",
            400,
            "The input is not valid",
            "`errors` names each place by JSON pointer or parameter, with a code of its own.",
        ),
        ProblemType("unknown_field", 400, "A field is not known", "The member is unknown or read-only here. `errors` names it."),
        ProblemType(
            "malformed_body",
            400,
            "The body can't be read",
            "It is not JSON as RFC 8259 has it, or nested too deep, or has a duplicate key or a number that is not finite.",
        ),
        ProblemType("bad_request", 400, "The request can't be understood", "The host, a header or the path is malformed."),
        ProblemType("not_authenticated", 401, "Sign in first"),
        ProblemType("token_invalid", 401, "The token is not valid", "Refresh it; when that fails too, sign in again."),
        ProblemType("permission_denied", 403, "Your account may not do this"),
        ProblemType(
            "reauthentication_required",
            403,
            "Confirm that it is you",
            "Call `POST auth/step-up/`, then repeat within five minutes.",
        ),
        ProblemType("not_found", 404, "There is no such resource", "It does not exist, or it is not yours: the two are answered alike."),
        ProblemType("method_not_allowed", 405, "The method is not allowed here"),
        ProblemType("not_acceptable", 406, "Only JSON can be answered"),
        ProblemType("invalid_transition", 409, "Not possible in this state"),
        ProblemType("id_taken", 409, "The id is taken", "Make another id on the client."),
        ProblemType("stale_revision", 412, "The resource has changed", "`current` is its revision now: read it again, then repeat."),
        ProblemType("request_timeout", 408, "The request did not arrive in time", "All of it must be there in 20 seconds. Send it again."),
        ProblemType("uri_too_long", 414, "The URL is too long", "At most 4,094 bytes with method and version, as it is sent."),
        ProblemType("headers_too_large", 431, "The headers are too large", "At most 100 of them, and 8,190 bytes each."),
        ProblemType("body_too_large", 413, "The body is too large", "At most 1 MiB of JSON. Files go through uploads."),
        ProblemType("unsupported_media_type", 415, "Send application/json"),
        ProblemType("idempotency_key_required", 400, "An Idempotency-Key is required"),
        ProblemType("idempotency_key_reused", 422, "The Idempotency-Key was used for another request"),
        ProblemType(
            "idempotency_in_progress",
            409,
            "The first request is still running",
            "Wait a few seconds, then repeat the same request.",
        ),
        ProblemType("rate_limited", 429, "Too many requests", "Wait as many seconds as `Retry-After` says."),
        ProblemType("internal_error", 500, "Something went wrong on our side", "Report it with the `request_id`."),
        ProblemType(
            "service_unavailable",
            503,
            "A part of the service does not answer",
            "`service` names it. Nothing was changed; repeat after `Retry-After` seconds.",
        ),
    ]
)


def problem_body(code: str, *, detail: str, instance: str, request_id: str, errors: Iterable[FieldError] = (), **members: Any) -> dict:
    """The JSON object of a problem, its members in the order of the contract; `members` add to them and replace none."""
    row = problem_type(code)
    body = {
        "type": f"{settings.PUBLIC_BASE_URL}/problems/{code}",
        "title": row.title,
        "status": row.status,
        "detail": detail,
        "instance": instance,
        "code": code,
        "request_id": request_id,
    }
    body = {**body, **members, **body}
    listed = [{key: value for key, value in vars(error).items() if value is not None} for error in errors]
    if listed:
        body["errors"] = listed
    return body


def problem_response(request, code: str, *, detail: str | None = None, **members: Any) -> HttpResponse:
    """A problem outside REST framework: unknown path, bad host, unhandled exception."""
    row = problem_type(code)
    body = problem_body(code, detail=detail or row.title, instance=request.path, request_id=getattr(request, "request_id", ""), **members)
    return HttpResponse(orjson.dumps(body), status=row.status, content_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})


def _is_admin(request) -> bool:
    return request.path.startswith("/admin/")


def bad_request(request, exception=None) -> HttpResponse:
    """Django's handler400: HTML for the admin, a problem for everybody else."""
    if _is_admin(request):
        return defaults.bad_request(request, exception)
    if isinstance(exception, RequestDataTooBig):
        return problem_response(request, "body_too_large")
    return problem_response(request, "bad_request", detail="The request can't be understood.")


def forbidden(request, exception=None) -> HttpResponse:
    """Django's handler403."""
    return defaults.permission_denied(request, exception) if _is_admin(request) else problem_response(request, "permission_denied")


def path_not_found(request, exception=None) -> HttpResponse:
    """Django's handler404: the path is not one of ours. Every path of the API ends with a slash."""
    if _is_admin(request):
        return defaults.page_not_found(request, exception)
    return problem_response(request, "not_found", detail="There is no such path. Paths of the API end with a slash.")


def server_error(request) -> HttpResponse:
    """Django's handler500, after the exception was logged. A dependency's outage outside REST framework is a 503."""
    exception = sys.exc_info()[1]
    if isinstance(exception, (OperationalError, InterfaceError)):
        response = problem_response(request, "service_unavailable", detail="The database does not answer.")
        response["Retry-After"] = "5"
        return response
    return defaults.server_error(request) if _is_admin(request) else problem_response(request, "internal_error")


def flatten_errors(detail: Any, path: str = "", *, in_query: bool = False) -> Iterator[FieldError]:
    """REST framework's nested error detail as a flat list with JSON pointers or parameter names."""
    if isinstance(detail, (dict, ReturnDict)):
        for key, value in detail.items():
            step = "" if key == "non_field_errors" else "/" + str(key).replace("~", "~0").replace("/", "~1")
            yield from flatten_errors(value, path + step, in_query=in_query)
    elif isinstance(detail, (list, tuple)):
        for index, value in enumerate(detail):
            nested = isinstance(value, (dict, list))
            if not (nested and not value):
                yield from flatten_errors(value, f"{path}/{index}" if nested else path, in_query=in_query)
    else:
        code = getattr(detail, "code", "invalid")
        if in_query:
            yield FieldError(code=code, detail=str(detail), parameter=path.strip("/").split("/")[0])
        else:
            yield FieldError(code=code, detail=str(detail), pointer=path)


def _constraint_of(exc: Exception) -> str | None:
    """The name of the constraint, or of the trigger that stands for one, which refused a statement."""
    return getattr(getattr(exc.__cause__, "diag", None), "constraint_name", None)


def _translate(exc: Exception) -> DomainError | tuple[str, str, tuple[FieldError, ...]] | None:
    match exc:
        case DomainError():
            return exc
        case Http404():
            return "not_found", "There is no such resource.", ()
        case drf.ValidationError():
            errors = tuple(flatten_errors(exc.detail, in_query=getattr(exc, "in_query", False)))
            unknown = any(error.code == "unknown_field" for error in errors)
            return ("unknown_field" if unknown else "invalid_input"), "Some of what was sent is not valid.", errors
        case drf.ParseError():
            return "malformed_body", str(exc.detail), ()
        case drf.NotAuthenticated() | drf.AuthenticationFailed():
            return "not_authenticated", "Sign in to do this.", ()
        case drf.PermissionDenied() | PermissionDenied():
            return "permission_denied", "Your account may not do this.", ()
        case drf.MethodNotAllowed():
            return "method_not_allowed", "This method is not allowed here.", ()
        case drf.NotAcceptable():
            return "not_acceptable", "Only application/json can be answered.", ()
        case drf.UnsupportedMediaType():
            return "unsupported_media_type", "Send the body as application/json in UTF-8.", ()
        case OperationalError() | InterfaceError():
            return ServiceUnavailable("database")
        case IntegrityError() if _constraint_of(exc) == "account_is_deleted":
            return "token_invalid", "This account was deleted.", ()
    return None


class BodyTooLarge(DomainError):
    """The request's body is over the limit."""

    message = "The body is larger than 1 MiB."


def exception_handler(exc: Exception, context: dict) -> Response | None:
    """REST framework's handler: a problem for every refusal; None for a bug, which then becomes a logged 500."""
    translated = _translate(exc)
    if translated is None:
        return None
    request = context["request"]
    headers: dict[str, str] = {}
    if isinstance(translated, DomainError):
        code, detail, errors, members = translated.code, translated.detail, translated.errors, translated.members
        if isinstance(translated, (RateLimited, ServiceUnavailable)):
            headers["Retry-After"] = str(translated.retry_after_seconds)
        if isinstance(translated, RateLimited):
            headers |= limit_headers(translated.name, translated.limit, translated.window_seconds, 0, translated.retry_after_seconds)
    else:
        (code, detail, errors), members = translated, {}
    row = problem_type(code)
    if row.status == 503:
        log.warning("dependency_unavailable", service=members.get("service"), exc_info=exc)
    if row.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="revsync"'
    if isinstance(exc, drf.MethodNotAllowed):
        headers["Allow"] = ", ".join(context["view"].allowed_methods)
    body = problem_body(
        code,
        detail=detail,
        instance=request.path,
        request_id=getattr(request._request, "request_id", ""),
        errors=errors,
        **members,
    )
    return Response(body, status=row.status, headers=headers, content_type=CONTENT_TYPE)


def limit_headers(name: str, limit: int, window_seconds: int, remaining: int, reset_seconds: int) -> dict[str, str]:
    """The `RateLimit` and `RateLimit-Policy` fields (draft-ietf-httpapi-ratelimit-headers)."""
    return {"RateLimit-Policy": f'"{name}";q={limit};w={window_seconds}', "RateLimit": f'"{name}";r={remaining};t={reset_seconds}'}
