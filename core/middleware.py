"""Request ids and log lines, problems outside REST framework, and cookies for the admin only."""

import re
import time

import structlog
from csp.middleware import CSPMiddleware
from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.exceptions import DisallowedHost
from django.http import HttpResponseNotAllowed
from django.middleware.csrf import CsrfViewMiddleware

from core import audit, metrics
from core.ids import new_id
from core.problems import problem_response

_REQUEST_ID = re.compile(r"\A[A-Za-z0-9._-]{8,64}\Z")
_ENCODED_SEPARATOR = re.compile(r"%(?:2f|5c|00)", re.IGNORECASE)
log = structlog.get_logger("revsync.request")


class RequestIdMiddleware:
    """Takes a well-formed `X-Request-ID` or makes one; binds it to every log line; writes one line and one measurement a request.

    The line has the route, never the path's query: links and tokens must not reach a log.
    """

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        request.request_id = given if _REQUEST_ID.match(given) else new_id().hex
        structlog.contextvars.bind_contextvars(request_id=request.request_id)
        started = time.perf_counter()
        try:
            response = self.get_response(request)
            response["X-Request-ID"] = request.request_id
            if not (response.streaming or response.status_code in {204, 304} or response.has_header("Content-Length")):
                response["Content-Length"] = str(len(response.content))  # without it the server would answer in chunks
            match = request.resolver_match
            route = match.route if match else None
            seconds = time.perf_counter() - started
            metrics.observe_request(method=request.method, route=route, status_code=response.status_code, seconds=seconds)
            log.info(
                "request", method=request.method, route=route, status_code=response.status_code, duration_ms=round(seconds * 1000, 1)
            )
            return response
        finally:
            structlog.contextvars.clear_contextvars()
            audit.act_from_session(None)


class ApiProblemMiddleware:
    """Refuses a host that is not ours, and the API in the clear, before anything else looks at the request.

    A wrong method is a problem everywhere.
    """

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        try:
            request.get_host()
        except DisallowedHost:
            return problem_response(request, "bad_request", detail="This host is not served here.")
        if settings.SECURE_SSL_REDIRECT and request.path.startswith("/api/v1/") and not request.is_secure():
            # a redirect would hide that the client has just sent its token in the clear
            return problem_response(request, "bad_request", detail="The API is served over https only.")
        if _ENCODED_SEPARATOR.search(request.META.get("RAW_URI", "").partition("?")[0]):
            # a proxy in front may have judged another path than the decoded one that would be served
            return problem_response(request, "bad_request", detail="The path has an encoded slash.")
        response = self.get_response(request)
        if isinstance(response, HttpResponseNotAllowed) and not request.path.startswith("/admin/"):
            allowed = response.headers["Allow"]
            response = problem_response(request, "method_not_allowed")
            response.headers["Allow"] = allowed
        return response


class _AdminPathOnly:
    """The wrapped middleware runs for the admin's paths; the API never touches a cookie."""

    def __call__(self, request):
        if request.path.startswith("/admin/"):
            return super().__call__(request)
        return self.get_response(request)


class AdminSessionMiddleware(_AdminPathOnly, SessionMiddleware):
    """Sessions, for the admin."""


class AdminCsrfMiddleware(_AdminPathOnly, CsrfViewMiddleware):
    """CSRF protection, for the admin: only it authenticates by cookie."""

    def process_view(self, request, callback, callback_args, callback_kwargs):
        if request.path.startswith("/admin/"):
            return super().process_view(request, callback, callback_args, callback_kwargs)
        return None


class AdminAuthenticationMiddleware(_AdminPathOnly, AuthenticationMiddleware):
    """The signed-in person, for the admin."""


class AdminMessageMiddleware(_AdminPathOnly, MessageMiddleware):
    """One-time messages, for the admin."""

    def process_response(self, request, response):
        return super().process_response(request, response) if hasattr(request, "_messages") else response


class ContentSecurityMiddleware(CSPMiddleware):
    """The content security policy of the admin and of pages that ask for their own; the others' is `core.headers`'.

    The admin theme's Alpine needs `'unsafe-eval'` and inline styles: there and nowhere else (see the ADR).
    """

    def process_request(self, request):
        """Nothing: no page of ours has a nonce, and django-csp's would tie a knot that only the garbage collector undoes."""

    def process_response(self, request, response):
        if request.path.startswith("/admin/"):
            response._csp_replace = settings.ADMIN_CONTENT_SECURITY_POLICY
        elif not any(hasattr(response, name) for name in ("_csp_update", "_csp_replace", "_csp_config")):
            return response
        return super().process_response(request, response)
