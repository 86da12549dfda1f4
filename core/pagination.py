"""Keyset pagination: signed cursors over (order key, …, id), bound to the ordering and the filters.

REST framework's CursorPagination positions on the first field only and loops on ties; counting and OFFSET grow with
the table. Here a page is one comparison on the index that serves the ordering.
"""

import base64
import hashlib
import hmac
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

import orjson
from django.conf import settings
from django.db.models import F, Q, QuerySet
from django.utils.dateparse import parse_datetime

from core.exceptions import InvalidInput

_TAG_BYTES = 16


@dataclass(frozen=True)
class Key:
    """One column of an ordering. A nullable column sorts its nulls last, whichever the direction."""

    column: str
    desc: bool = False
    nullable: bool = False


class Ordering:
    """A named order whose last key is unique, so that no two rows tie."""

    def __init__(self, name: str, *keys: Key) -> None:
        self.name, self.keys = name, keys

    def order_by(self) -> list:
        """For `QuerySet.order_by`."""
        return [
            (F(key.column).desc if key.desc else F(key.column).asc)(**({"nulls_last": True} if key.nullable else {})) for key in self.keys
        ]

    def after(self, values: Sequence[Any]) -> Q:
        """The rows behind a position."""
        condition, equal = Q(pk__in=[]), Q()
        for key, value in zip(self.keys, values, strict=True):
            if value is None:  # among the nulls, which are last: nothing but further keys comes behind
                equal &= Q(**{f"{key.column}__isnull": True})
                continue
            behind = Q(**{f"{key.column}__{'lt' if key.desc else 'gt'}": value})
            if key.nullable:
                behind |= Q(**{f"{key.column}__isnull": True})
            condition |= equal & behind
            equal &= Q(**{key.column: value})
        return self._bound(values) & condition

    def _bound(self, values: Sequence[Any]) -> Q:
        """A redundant bound on the first key, which lets Postgres start in the middle of the index."""
        key, value = self.keys[0], values[0]
        if value is None or key.nullable:
            return Q()
        return Q(**{f"{key.column}__{'lte' if key.desc else 'gte'}": value})


@dataclass(frozen=True)
class Page:
    """Rows of one page and the cursor of the next, or None at the end."""

    rows: list
    next_cursor: str | None


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return {"t": value.isoformat()}
        case uuid.UUID():
            return {"u": value.hex}
        case Decimal():
            return {"d": str(value)}
    return value


def _rich(value: Any) -> Any:
    match value:
        case {"t": text}:
            return parse_datetime(text)
        case {"u": text}:
            return uuid.UUID(text)
        case {"d": text}:
            return Decimal(text)
    return value


@lru_cache(maxsize=4)
def _key_of(secret: str) -> bytes:
    return hashlib.sha256(b"cursor\0" + secret.encode()).digest()


def _tag(payload: bytes, bound_to: str) -> bytes:
    return hmac.digest(_key_of(settings.CURSOR_KEY), payload + b"\0" + bound_to.encode(), "sha256")[:_TAG_BYTES]


def encode_cursor(values: Iterable[Any], *, bound_to: str) -> str:
    """A signed cursor for a position; `bound_to` names list, ordering and filters."""
    payload = orjson.dumps([_plain(value) for value in values])
    return base64.urlsafe_b64encode(_tag(payload, bound_to) + payload).decode().rstrip("=")


def decode_cursor(cursor: str, *, bound_to: str) -> list:
    """The position in a cursor. Raises: InvalidInput when it is forged or belongs to another list, order or filter."""
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        if not cursor.isascii() or not hmac.compare_digest(raw[:_TAG_BYTES], _tag(raw[_TAG_BYTES:], bound_to)):
            raise ValueError
        return [_rich(value) for value in orjson.loads(raw[_TAG_BYTES:])]
    except ValueError as exc:
        raise InvalidInput.parameter("cursor", "invalid_cursor", "This cursor does not belong to this list, order and filter.") from exc


def column_of(row: Any, column: str) -> Any:
    """A row's value for an ordering column; rows are model instances (relations by `__`) or dicts."""
    if isinstance(row, dict):
        return row[column]
    for step in column.split("__"):
        row = getattr(row, step)
    return row


def paginate(queryset: QuerySet, ordering: Ordering, *, cursor: str | None, page_size: int, bound_to: str) -> Page:
    """One page of `queryset` in `ordering`: one query, no count. Raises: InvalidInput for a cursor that is not ours."""
    bound_to = f"{ordering.name}|{bound_to}"
    if cursor:
        queryset = queryset.filter(ordering.after(decode_cursor(cursor, bound_to=bound_to)))
    rows = list(queryset.order_by(*ordering.order_by())[: page_size + 1])
    if len(rows) <= page_size:
        return Page(rows, None)
    last = rows[page_size - 1]
    return Page(rows[:page_size], encode_cursor([column_of(last, key.column) for key in ordering.keys], bound_to=bound_to))
