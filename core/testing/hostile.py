"""Hostile input, generated from the serializers that take it: every field, however deep, with what it must refuse.

A case is a body or query with one thing wrong in it and the place where the answer must say so. Whoever adds a field gets
its cases by its class; a class that nobody described is an error here.
"""

import copy
import json
import uuid
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from rest_framework import serializers
from rest_framework.fields import empty

from core.renderers import dumps
from core.serializers import MAX_CHOICE_CHARACTERS, CleanCharField

A_UUID = str(uuid.UUID(int=0xABCDEF0123456789ABCDEF0123456789))
ARABIC_DIGITS = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
DEEP: Any = [[[[[[[[1]]]]]]]]
# Seen by nobody, or turning what is seen: each of them once in the middle of a word.
UNSEEN = [
    "\x07", "\x1b[31m", "\x7f", "\x85", "\u00ad", "\u034f", "\u061c", "\u115f", "\u180e", "\u200b", "\u200c", "\u200d", "\u200e",
    "\u2028", "\u202e", "\u2060", "\u2066", "\u2800", "\u3164", "\ue000", "\ufe00", "\ufe0f", "\ufeff",
    "\ufffc", "\ufffe", "\U000e0041", "\U000e0100", "\U0010ffff",
]  # fmt: skip
MANY_MARKS = "a" + "\u0301\u0316" * 4
SLOW_TO_COMPOSE = "\u0316\u0301" * 60_000  # sorting these is quadratic
LONG = "x" * 70_000

# What is not text, whatever the text is of.
NOT_TEXT: list[Any] = [0, 1.5, True, 10**20, [], {"a": 1}, DEEP]
NOT_UUIDS = [
    *("", "x", A_UUID.replace("-", ""), f"urn:uuid:{A_UUID}", f"{{{A_UUID}}}", A_UUID + "\n", A_UUID[:-1], f" {A_UUID}"),
    *(A_UUID.translate(ARABIC_DIGITS), "1_" + A_UUID[2:], LONG),
]
NOT_TIMES = [
    *("", "now", "2026-06-01", "2026-06-01T12:00:00", "2026-02-30T12:00:00Z", "2026-W23-1T12:00:00Z", "20260601T120000Z"),
    *("2026-06-01T24:61:00Z", "2026-06-01T12:00:00Z\n", "2026-06-01T12:00:00Z".translate(ARABIC_DIGITS), "1780000000", LONG),
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-06-01T12:00:00+99:00"),
]
NOT_DATES = [
    *("", "today", "2026-02-30", "2026-6-1", "2026-W23-1", "20260601", "2026-06-01T00:00:00Z", "2026-06-01".translate(ARABIC_DIGITS), LONG),
]
NOT_INTEGERS: list[Any] = ["", "1", "٣", "1e3", "0x10", 1.5, 1e300, True, False, [], {}, [1], DEEP, 10**25, -(10**25)]
NOT_INTEGERS_IN_A_QUERY = ["", "x", "1.5", "1.0", "1_0", "+1", " 1", "1 ", "٣", "1e3", "0x1", "9" * 20, "9" * 5_000, "NaN", "1\n"]
NOT_NUMBERS_IN_A_QUERY = ["", "x", "NaN", "Infinity", "1e400", "1_0", "+1", " 1", "٣", "9" * 5_000, "1,5"]
BOUND_BY_THEIR_CODEC = {"refresh", "mfa_token"}  # a token that is too long is answered as one that is forged


@dataclass(frozen=True)
class Case:
    """`value` at `place` (a JSON pointer, or a parameter's name) is refused there. `body` is the whole of it."""

    place: str
    value: Any
    body: Any

    def __str__(self) -> str:
        return f"{self.place} = {str(self.value)[:60]!r}"


def cases_of_body(serializer: serializers.BaseSerializer, valid: Any) -> Iterator[Case]:
    """Every refused value at every place of a body; `valid` is a body that is accepted."""
    for pointer, field, put in _places(serializer, json.loads(dumps(valid or {})), ""):
        for value in refused_by(field):
            yield Case(pointer, value, put(value))


def cases_of_query(serializer: serializers.BaseSerializer) -> Iterator[Case]:
    """Every refused value of every parameter, by itself."""
    for name, field in serializer.fields.items():
        for value in refused_in_query(field):
            yield Case(name, value, {name: value})


# Places


def _places(serializer: Any, body: dict, pointer: str) -> Iterator[tuple[str, Any, Callable[[Any], Any]]]:
    """Each writable field with its pointer and a function that puts a value there in a copy of the whole body."""
    for name, field in serializer.fields.items():
        if not field.read_only:
            yield from _places_of(field, f"{pointer}/{name}", _setter(body, name), body.get(name, empty))


def _setter(container: Any, key: Any) -> Callable[[Any], Any]:
    def put(value: Any) -> Any:
        changed = copy.deepcopy(container)
        changed[key] = value
        return changed

    return put


def _within(put: Callable[[Any], Any], inner: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: put(inner(value))


def _places_of(field: Any, pointer: str, put: Callable[[Any], Any], present: Any) -> Iterator[tuple[str, Any, Callable[[Any], Any]]]:
    yield pointer, field, put
    if isinstance(field, serializers.ListSerializer | serializers.ListField):
        item = present[0] if isinstance(present, list) and present else sample(field.child)
        yield from _places_of(field.child, f"{pointer}/0", _within(put, lambda value: [value]), item)
    elif isinstance(field, serializers.BaseSerializer):
        whole = present if isinstance(present, dict) else sample(field)
        for name, child in field.fields.items():
            yield from _places_of(child, f"{pointer}/{name}", _within(put, _setter(whole, name)), whole.get(name, empty))


def sample(field: Any) -> Any:
    """Something of the right type for a place beside the one that is tried."""
    match field:
        case serializers.ListSerializer() | serializers.ListField():
            return [sample(field.child)]
        case serializers.BaseSerializer():
            return {name: sample(child) for name, child in field.fields.items() if not child.read_only}
        case serializers.BooleanField():
            return True
        case serializers.IntegerField():
            return field.min_value or 0
        case serializers.UUIDField():
            return A_UUID
        case serializers.DateTimeField():
            return "2026-06-01T12:00:00Z"
        case serializers.DateField():
            return "2026-06-01"
        case serializers.ChoiceField():
            return next(iter(field.choices))
        case serializers.CharField():
            return "text"
    return 1


# Values


def refused_by(field: Any) -> Iterator[Any]:
    """What this field of a body must refuse."""
    if not field.allow_null:
        yield None
    match field:
        case serializers.ListSerializer() | serializers.ListField():
            yield from ("", "a", 1, True, {}, {"0": 1}, [None], [[]] if not isinstance(field.child, serializers.ListField) else [1])
            limit = getattr(field, "max_length", None)
            assert limit, f"{field.field_name}: a list without a limit"
            yield [sample(field.child)] * (limit + 1)
            yield [1] * 50_000
            if getattr(field, "min_length", None) or not field.allow_empty:
                yield []
        case serializers.BaseSerializer():
            yield from ("", "a", 1, True, [], [{}], {"no_such_member": 1})
        case serializers.BooleanField():
            yield from ("", "true", "false", 0, 1, 1.0, [], {}, DEEP)
        case serializers.IntegerField():
            yield from NOT_INTEGERS
            yield from _beyond(field)
        case serializers.UUIDField():
            yield from (*NOT_TEXT, *NOT_UUIDS)
        case serializers.DateTimeField():
            yield from (*NOT_TEXT, *NOT_TIMES)
        case serializers.DateField():
            yield from (*NOT_TEXT, *NOT_DATES)
        case serializers.ChoiceField():
            yield from (*NOT_TEXT, "no such choice", "\u202e", "x" * (MAX_CHOICE_CHARACTERS + 1), LONG)
            if not field.allow_blank:
                yield ""
        case CleanCharField():
            yield from (*NOT_TEXT, *_some_unclean(field))
        case serializers.CharField():
            yield from (*NOT_TEXT, *_too_long(field))
            if isinstance(field, serializers.RegexField):
                yield from ("\u202e", "١٢٣٤٥٦", "a\nb", LONG)
            if not field.allow_blank:
                yield ""
        case serializers.FloatField():
            yield from ("", "1", "٣", True, [], {}, -1, 1e300, 10**25, DEEP)
        case _:
            raise TypeError(f"Say in {__name__} what {type(field).__name__} refuses.")


def refused_in_query(field: Any) -> Iterator[str]:
    """What this parameter must refuse."""
    match field:
        case serializers.BooleanField():
            yield from ("maybe", "2", "٣", "[]", LONG[:5_000])
        case serializers.IntegerField():
            yield from NOT_INTEGERS_IN_A_QUERY
            yield from (str(value) for value in _beyond(field))
        case serializers.FloatField() | serializers.DecimalField():
            yield from NOT_NUMBERS_IN_A_QUERY
        case serializers.UUIDField():
            yield from (value[:5_000] for value in NOT_UUIDS)
        case serializers.DateTimeField():
            yield from (value[:5_000] for value in NOT_TIMES)
        case serializers.DateField():
            yield from (value[:5_000] for value in NOT_DATES)
        case serializers.ChoiceField():
            yield from ("no such choice", "\u202e", "", LONG[:5_000], "[]")
        case CleanCharField():
            yield from (value for value in _some_unclean(field) if len(value) < 5_000)
        case serializers.CharField():
            yield from _too_long(field)
        case _:
            raise TypeError(f"Say in {__name__} what {type(field).__name__} refuses in a query.")


def _some_unclean(field: CleanCharField) -> Iterator[str]:
    """What no text may be. The unseen characters take turns: all of them on each field would show the same code again."""
    turn = zlib.crc32(f"{field.parent.__class__.__name__}.{field.field_name}".encode())
    yield from (f"a{UNSEEN[(turn + step) % len(UNSEEN)]}b" for step in range(2))
    yield from (SLOW_TO_COMPOSE, LONG * 10)
    yield from _too_long(field)
    if not field.multiline:
        yield "a\nb"
    if not field.allow_blank:
        yield from ("", "\u00a0\u3000")


def _too_long(field: serializers.CharField) -> Iterator[str]:
    if field.field_name in BOUND_BY_THEIR_CODEC:
        return
    if field.max_length is not None:
        yield from ("x" * (field.max_length + 1), "🏍" * (field.max_length + 1))
    else:
        assert isinstance(field, serializers.RegexField), f"{field.field_name}: text without a limit"


def _beyond(field: Any) -> Iterator[int]:
    assert field.max_value is not None, f"{field.field_name}: a number without a limit"
    yield field.max_value + 1
    if field.min_value is not None:
        yield field.min_value - 1
