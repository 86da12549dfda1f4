"""The headers that every answer carries, in one table, whoever made it: a view, WhiteNoise, a refused host, a bug.

Caching, the content security policy and the kind of embedding may be said by the view itself; the rest may not. HSTS is
`SecurityMiddleware`'s (https in production only), CORS `corsheaders`' (only where origins are listed).
"""

from csp.utils import build_policy
from django.conf import settings
from django.utils.functional import SimpleLazyObject

ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",  # for browsers that don't know frame-ancestors
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
# Without a referrer browsers send `Origin: null` with a form, which the admin's CSRF check refuses.
ADMIN = {**ALWAYS, "Referrer-Policy": "same-origin"}

UNLESS_SAID = {"Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "same-origin"}
MEDIA_UNLESS_SAID = {**UNLESS_SAID, "Cross-Origin-Resource-Policy": "cross-origin"}  # an app's web view shows pictures
PERMISSIONS = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"

# What is not a page loads nothing and runs nothing, should a browser ever show it as one.
DATA_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
PAGE_POLICY = SimpleLazyObject(lambda: build_policy(settings.CONTENT_SECURITY_POLICY["DIRECTIVES"]))


class HeadersMiddleware:
    """Puts the table's headers on every answer."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        response = self.get_response(request)
        headers, path = response.headers, request.path
        for name, value in (ADMIN if path.startswith("/admin/") else ALWAYS).items():
            headers[name] = value
        for name, value in (MEDIA_UNLESS_SAID if path.startswith("/media/") else UNLESS_SAID).items():
            headers.setdefault(name, value)
        if headers.get("Content-Type", "").startswith("text/html"):
            headers.setdefault("Content-Security-Policy", str(PAGE_POLICY))
            headers["Permissions-Policy"] = PERMISSIONS
        else:
            headers.setdefault("Content-Security-Policy", DATA_POLICY)
        return response
