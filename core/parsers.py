"""A JSON parser that answers 400 where the standard one answers 500, infinity or the last of two values."""

import json
import math
import re
from typing import Any

from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.parsers import BaseParser

from core.problems import BodyTooLarge

MAX_BODY_BYTES = 1_048_576
MAX_DEPTH = 32
MAX_NUMBER_CHARACTERS = 32
# A string to its end or that of the body, or one bracket; possessive, so that no body is read twice.
_TOKENS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_SURROGATES = re.compile("[\ud800-\udfff]")


def _nests_too_deep(raw: bytes) -> bool:
    """Whether the brackets of a JSON text nest deeper than allowed, without building anything."""
    depth = 0
    for token in _TOKENS.finditer(raw):
        match token.group():
            case b"[" | b"{":
                depth += 1
                if depth > MAX_DEPTH:
                    return True
            case b"]" | b"}":
                depth -= 1
    return False


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ParseError("The body has a duplicate key.")
    return members


def _finite(text: str) -> float:
    if len(text) <= MAX_NUMBER_CHARACTERS and math.isfinite(value := float(text)):
        return value
    raise ParseError("The body has a number that is out of range.")


def _bounded(text: str) -> int:
    if len(text) > MAX_NUMBER_CHARACTERS:
        raise ParseError("The body has a number that is out of range.")
    return int(text)


def _refuse_constant(text: str) -> None:
    raise ParseError(f"{text} is not JSON.")


def parse_strict_json(raw: bytes) -> Any:
    """Parse UTF-8 JSON: depth ≤ 32, finite numbers, no duplicate keys, no NUL, no lone surrogates.

    Raises: ParseError with a sentence that says what is wrong.
    """
    if raw.startswith(b"\xef\xbb\xbf"):
        raise ParseError("The body starts with a byte order mark.")
    if b"\x00" in raw or b"\\u0000" in raw:
        raise ParseError("The body has a NUL character.")
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _nests_too_deep(raw):
        raise ParseError(f"The body is nested deeper than {MAX_DEPTH} levels.")
    try:
        text = raw.decode("utf-8")
        value = json.loads(
            text, object_pairs_hook=_unique, parse_float=_finite, parse_int=_bounded, parse_constant=_refuse_constant
        )
    except UnicodeDecodeError as exc:
        raise ParseError("The body is not UTF-8.") from exc
    except (ValueError, RecursionError) as exc:
        raise ParseError("The body is not JSON.") from exc
    if b"\\u" in raw and _SURROGATES.search(json.dumps(value, ensure_ascii=False)):
        raise ParseError("The body has half of a surrogate pair.")
    return value


class StrictJSONParser(BaseParser):
    """The API's only parser."""

    media_type = "application/json"

    def parse(self, stream, media_type=None, parser_context=None):
        """Raises: UnsupportedMediaType (another charset, a compressed body), BodyTooLarge, ParseError."""
        charset = re.search(r"charset\s*=\s*\"?([^\s;\"]+)", media_type or "", re.IGNORECASE)
        if charset and charset.group(1).lower().replace("_", "-") not in {"utf-8", "utf8"}:
            raise UnsupportedMediaType(media_type)
        request = (parser_context or {}).get("request")
        if request is not None and request.META.get("HTTP_CONTENT_ENCODING", "identity").strip().lower() not in {"", "identity"}:
            raise UnsupportedMediaType(media_type)
        try:
            raw = stream.read(MAX_BODY_BYTES + 1)
        except OSError as exc:  # the client went away, or sent no more in time
            raise ParseError("The body ended before its length.") from exc
        if len(raw) > MAX_BODY_BYTES:
            raise BodyTooLarge
        return parse_strict_json(raw)
