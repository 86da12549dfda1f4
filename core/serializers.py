"""Strict input and the shared fields. Input serializers end in `Input` or `Query`, output ones in `Output`."""

import copy
import re
import unicodedata
from datetime import datetime
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail

from core.card_numbers import contains_card_number
from core.renderers import utc_text

# Cc: control, Cf: format (direction overrides, zero-width), Cs: surrogates, Co: private use, Zl and Zp: separators of lines.
_REFUSED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
# Seen as nothing, though they count as letters or marks: fillers, variation selectors, the grapheme joiner, an empty Braille cell.
_NOT_CHARACTERS = "\ufdd0-\ufdef" + "".join(f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000))
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0e\uffa0\ufffc\U000e0100-\U000e01ef" + _NOT_CHARACTERS + "]"
)
_JOINER, _EMOJI_STYLE = "\u200d", "\ufe0f"  # they make one emoji of several; between letters nobody would see them
MAX_MARKS = 6  # combining ones in a row: no script needs more, and a heap of them hides its neighbours


def _is_seen(text: str, *, multiline: bool) -> bool:
    """Whether a reader sees every character of it. One pass, before anything slower looks at the text."""
    marks, before, category_before = 0, "", ""
    for character in text:
        category = unicodedata.category(character)
        if before == _JOINER and category != "So":
            return False
        if character == _JOINER:
            if not (category_before in {"So", "Sk"} or before == _EMOJI_STYLE):
                return False
        elif character == _EMOJI_STYLE:
            if category_before not in {"So", "Po", "Nd", "Sm"}:  # "#", "*" and digits become key caps
                return False
        elif category in _REFUSED_CATEGORIES and not (multiline and character in "\n\t"):
            return False
        marks = marks + 1 if category in {"Mn", "Me"} else 0
        if marks > MAX_MARKS:
            return False
        before, category_before = character, category
    return before != _JOINER and not _INVISIBLE.search(text)


class CleanCharField(serializers.CharField):
    """Text as a person types it: NFC, trimmed, bounded, without characters that nobody sees or that turn its direction.

    On one line every run of spaces is one space; with `multiline=True` line feeds and tabs are kept. A payment card number is
    refused: nobody here must ever see one. Only an `identifier`, whose digits somebody else has given, may look like one.
    """

    default_error_messages = {
        "control_character": "Control, invisible and direction-override characters are not allowed.",
        "card_number": "This looks like the number of a payment card. Never send one to anybody: take it out.",
    }

    def __init__(self, *, max_length: int, multiline: bool = False, identifier: bool = False, **kwargs):
        self.multiline = multiline
        self.identifier = identifier
        super().__init__(max_length=max_length, **kwargs)

    def to_internal_value(self, data):
        if not isinstance(data, str):
            self.fail("invalid")
        if len(data) > 4 * self.max_length:  # what no trimming or composing makes short enough is not looked at
            self.fail("max_length", max_length=self.max_length)
        if self.multiline:
            data = data.replace("\r\n", "\n")
        if not _is_seen(data, multiline=self.multiline):
            self.fail("control_character")
        text = unicodedata.normalize("NFC", super().to_internal_value(data))
        if not self.identifier and contains_card_number(text):
            self.fail("card_number")
        return text if self.multiline else " ".join(text.split())


class CountryField(serializers.RegexField):
    """ISO 3166-1 alpha-2, upper case."""

    def __init__(self, **kwargs):
        super().__init__(r"\A[A-Z]{2}\Z", **kwargs)


class CurrencyField(serializers.RegexField):
    """ISO 4217, upper case."""

    def __init__(self, **kwargs):
        super().__init__(r"\A[A-Z]{3}\Z", **kwargs)


class MinorField(serializers.IntegerField):
    """An amount in the currency's minor unit."""

    def __init__(self, **kwargs):
        kwargs.setdefault("min_value", 0)
        kwargs.setdefault("max_value", 100_000_000)
        super().__init__(**kwargs)


class StrictIntegerField(serializers.IntegerField):
    """A JSON integer: no strings, floats or booleans. 64-bit at most unless bounded further."""

    def __init__(self, **kwargs):
        kwargs.setdefault("max_value", 2**63 - 1)
        kwargs.setdefault("min_value", -(2**63))
        super().__init__(**kwargs)

    def to_internal_value(self, data):
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictBooleanField(serializers.BooleanField):
    """A JSON boolean and nothing that looks like one."""

    def to_internal_value(self, data):
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class UtcDateTimeField(serializers.DateTimeField):
    """RFC 3339 in and out; out in UTC with `Z`."""

    def to_representation(self, value):
        return utc_text(value) if isinstance(value, datetime) else value


_INTEGER = re.compile(r"-?[0-9]{1,19}")
_NUMBER = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,20})?")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(_DATE.pattern + r"[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})")
MAX_CHOICE_CHARACTERS = 100  # a refused choice is repeated in its sentence


def _expected(field: serializers.Field, value: Any, *, in_query: bool) -> str | None:
    """What was expected where a value has another type or notation, or None.

    REST framework's own fields are generous: they take 123 for "123", a number for a UUID, "٣" for 3, a week for a date.
    """
    text = value if isinstance(value, str) else None
    match field:
        case serializers.BooleanField():
            return None if in_query or isinstance(value, bool) else "A boolean is expected."
        case serializers.IntegerField() if in_query:
            return None if text and _INTEGER.fullmatch(text) else "An integer is expected."
        case serializers.IntegerField():
            return None if isinstance(value, int) and not isinstance(value, bool) else "An integer is expected."
        case serializers.FloatField() | serializers.DecimalField() if in_query:
            return None if text and _NUMBER.fullmatch(text) else "A number is expected."
        case serializers.FloatField() | serializers.DecimalField():
            return None if isinstance(value, int | float) and not isinstance(value, bool) else "A number is expected."
        case serializers.UUIDField():
            return None if text and _UUID.fullmatch(text) else "A UUID is expected."
        case serializers.DateTimeField():
            return None if text and _TIME.fullmatch(text) else "A date and time of RFC 3339 is expected, as in 2026-06-01T12:00:00Z."
        case serializers.DateField():
            return None if text and _DATE.fullmatch(text) else "A date is expected, as in 2026-06-01."
        case serializers.ChoiceField():
            return None if text is not None and len(text) <= MAX_CHOICE_CHARACTERS else "One of the choices is expected."
        case serializers.CharField():
            return None if text is not None else "A string is expected."
        case serializers.ListField() if not isinstance(value, list):
            return "A list is expected."
    return None


def _confusion(field: serializers.Field, value: Any, *, in_query: bool) -> Any:
    """What is wrong with the type of a value, as REST framework's error detail, or None. Objects look at themselves."""
    if value is None:
        return None  # whether it may be null is the field's own affair
    expected = _expected(field, value, in_query=in_query)
    if expected is not None:
        return [ErrorDetail(expected, code="invalid")]
    if isinstance(field, serializers.ListField):
        if field.max_length is not None and len(value) > field.max_length:  # before each of them is looked at
            return [ErrorDetail(f"At most {field.max_length} are allowed.", code="max_length")]
        found = {index: wrong for index, item in enumerate(value) if (wrong := _confusion(field.child, item, in_query=in_query))}
        return found or None
    return None


def ensure_type(field: serializers.Field, value: Any, *, in_query: bool) -> None:
    """The look that `Input` takes at each member, for who validates fields one by one. Raises: ValidationError."""
    wrong = _confusion(field, value, in_query=in_query)
    if wrong is not None:
        raise serializers.ValidationError(wrong)


class Input(serializers.Serializer):
    """What a client may send: an unknown or read-only member is an error at its place, and so is another type.

    Types are those of JSON: no number in a string, no string in a number, digits in ASCII. In a query (the view says so in
    `context["in_query"]`) everything is a string, in the same notation.
    """

    default_error_messages = {"unknown_field": "This field is not known or can't be written."}

    def to_internal_value(self, data):
        if not isinstance(data, dict):
            return super().to_internal_value(data)
        if self.parent is not None and getattr(self.root, "partial", False):
            return self._apart().to_internal_value(data)
        writable = {name: field for name, field in self.fields.items() if not field.read_only}
        unknown = data.keys() - writable.keys()
        if unknown:
            message = self.error_messages["unknown_field"]
            raise serializers.ValidationError(
                {str(name)[:100]: [ErrorDetail(message, code="unknown_field")] for name in sorted(unknown)[:20]}
            )
        in_query = self.context.get("in_query", False)
        confused = {
            name: wrong for name, value in data.items() if (wrong := _confusion(writable[name], value, in_query=in_query)) is not None
        }
        if confused:
            raise serializers.ValidationError(confused)
        return super().to_internal_value(data)

    def _apart(self) -> "Input":
        """Itself without its parent: a PATCH leaves members of the resource out, but what it sends of an object is the whole object."""
        whole = copy.deepcopy(self)
        whole._context = self.context
        return whole


class Output(serializers.Serializer):
    """What a client gets."""


class PageQuery(Input):
    """Query parameters of every list."""

    cursor = serializers.CharField(max_length=1000, required=False, help_text="From `next` of the page before.")
    page_size = serializers.IntegerField(min_value=1, max_value=100, default=20, help_text="Rows a page.")
