"""The documentation pages, from our own static files: no CDN, no inline script."""

from csp.decorators import csp_update
from django.http import Http404
from django.shortcuts import render
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe
from drf_spectacular.views import SpectacularAPIView

from core.problems import problem_type

# ReDoc makes empty <style> elements and fills them by script, adds one fixed sheet, and searches in a worker made of a blob.
REDOC_STYLES = ["'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='", "'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='"]

schema = cache_control(public=True, max_age=300)(SpectacularAPIView.as_view(http_method_names=["get", "head"]))


@require_safe
@cache_control(public=True, max_age=300)
def swagger_ui(request):
    """Swagger UI over the schema, with Authorize and Try it out."""
    return render(request, "core/swagger_ui.html")


@require_safe
@cache_control(public=True, max_age=300)
@csp_update({"style-src": REDOC_STYLES, "worker-src": ["blob:"]})
def redoc(request):
    """ReDoc over the schema."""
    return render(request, "core/redoc.html")


@require_safe
@cache_control(public=True, max_age=300)
def problem(request, code: str):
    """What a problem's `type` points to: its row of the table, for people."""
    try:
        return render(request, "core/problem.html", {"row": problem_type(code)})
    except KeyError:
        raise Http404 from None
