"""The stand-in's pages for people, through the web server: the stand-in's own port stays on loopback."""

import urllib.error
import urllib.request

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_http_methods

TIMEOUT_SECONDS = 5
PATH = "stand-in"
PASSED_ON = ("Content-Type", "Content-Security-Policy", "Cache-Control", "Location")
UNAVAILABLE = (
    '<!doctype html><html lang="en"><title>Try again</title><p>The payment page does not answer. Try again in a moment.</p></html>'
)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args, **kwargs):
        return None


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())


@require_http_methods(["GET", "POST"])
def page(request: HttpRequest, kind: str, name: str) -> HttpResponse:
    """Pass one request on and its answer back. Only where the sandbox's address is this path; never in production."""
    if settings.IS_PRODUCTION or not settings.PAYMENTS_SANDBOX_URL.endswith(f"/{PATH}"):
        raise Http404
    passed = urllib.request.Request(
        f"{settings.STRIPE_API_BASE}/{kind}/{name}",
        data=request.body if request.method == "POST" else None,
        headers={"Content-Type": request.headers.get("Content-Type", "application/x-www-form-urlencoded")},
    )
    try:
        with _opener.open(passed, timeout=TIMEOUT_SECONDS) as answer:
            return _response(answer.status, answer.read(), answer.headers)
    except urllib.error.HTTPError as answer:
        with answer:
            return _response(answer.code, answer.read(), answer.headers)
    except OSError:
        return HttpResponse(UNAVAILABLE, status=503, headers={"Retry-After": "5", "Cache-Control": "no-store"})


def _response(status: int, body: bytes, headers) -> HttpResponse:
    response = HttpResponse(body, status=status)
    for name in PASSED_ON:
        if name in headers:
            response.headers[name] = headers[name]
    response._csp_exempt = True  # it brings its own policy, without any script
    return response
