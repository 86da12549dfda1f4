"""JSON out, by orjson; and a negotiation that knows only JSON."""

from datetime import UTC, datetime
from typing import Any

import orjson
from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import BaseRenderer


def utc_text(at: datetime) -> str:
    """RFC 3339 in UTC with `Z`, to the microsecond."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _default(value: Any) -> Any:
    if isinstance(value, (dict, list, tuple)):  # lazy and REST framework's own containers
        return dict(value) if isinstance(value, dict) else list(value)
    return str(value)


def dumps(value: Any) -> bytes:
    """JSON bytes; datetimes end in `Z`."""
    return orjson.dumps(value, default=_default, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)


class OrjsonRenderer(BaseRenderer):
    """The API's only renderer."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(self, data, accepted_media_type=None, renderer_context=None):
        return b"" if data is None else dumps(data)


ACCEPTABLE = ("*/*", "application/*", "application/json", "application/problem+json")


class JsonNegotiation(BaseContentNegotiation):
    """406 when the client refuses JSON outright; otherwise JSON, without parsing quality values."""

    def select_parser(self, request, parsers):
        content_type = (request.content_type or "").split(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == content_type), None)

    def select_renderer(self, request, renderers, format_suffix=None):
        accept = request.META.get("HTTP_ACCEPT", "*/*")
        renderer = renderers[0]
        if not accept.strip() or any(wanted in accept for wanted in ACCEPTABLE):
            return renderer, renderer.media_type
        raise NotAcceptable
