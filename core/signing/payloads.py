"""Canonical payloads: UTF-8 JSON with sorted keys and no blanks, no floats, times in UTC with `Z`."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any
from uuid import UUID

from core.signing.roles import PayloadType

SCHEMA = "1.0"
LARGEST_INTEGER = 2**53 - 1  # what every JSON reader keeps exactly


def utc_text(moment: datetime) -> str:
    """A moment to the second, in UTC, with `Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def base_fields(payload_type: PayloadType, *, env: str, issued_at: datetime, expires_at: datetime | None = None) -> dict[str, Any]:
    """The fields that every document has: `_type, schema, env, issued_at`, and `expires_at` where it expires."""
    fields: dict[str, Any] = {"_type": payload_type.document_type, "schema": SCHEMA, "env": env, "issued_at": utc_text(issued_at)}
    if expires_at is not None:
        fields["expires_at"] = utc_text(expires_at)
    return fields


def encode_payload(payload: Mapping[str, Any]) -> bytes:
    """The canonical bytes. Moments become text, ids too. Raises TypeError or ValueError for what has no canonical form."""
    return json.dumps(_plain(payload), sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def decode_payload(data: bytes) -> dict[str, Any]:
    """The payload of bytes that were verified before. Raises ValueError for anything but a JSON object without floats
    and without repeated keys."""
    payload = json.loads(data, object_pairs_hook=_unique_members, parse_float=_refuse_number, parse_constant=_refuse_number)
    if not isinstance(payload, dict):
        raise ValueError("the payload is no object")
    return payload


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        value = value.value
    match value:
        case None | bool() | str():
            return value
        case int():
            if abs(value) > LARGEST_INTEGER:
                raise ValueError("an integer is too large for a signed document")
            return value
        case datetime():
            return utc_text(value)
        case UUID():
            return str(value)
        case Mapping():
            for key in value:
                if not isinstance(key, str):
                    raise TypeError("the keys of a signed document are text")
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            raise TypeError(f"a signed document can't hold a {type(value).__name__}")


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member occurs twice")
    return members


def _refuse_number(text: str) -> Any:
    raise ValueError(f"{text} is no integer")
