"""Strict input and the shared fields. Input serializers end in `Input` or `Query`, output ones in `Output`."""

import unicodedata
from datetime import datetime

from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail

from core.renderers import utc_text

# Cc: control, Cf: format (direction overrides, zero-width), Cs: surrogates, Co: private use.
_REFUSED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co"})
_ALLOWED_JOINERS = frozenset({"\u200d", "\ufe0f"})  # they bind emoji


class CleanCharField(serializers.CharField):
    """Text as a person types it: NFC, trimmed, bounded, without control or direction-override characters.

    With `multiline=True` line feeds and tabs are kept.
    """

    default_error_messages = {"control_character": "Control and direction-override characters are not allowed."}

    def __init__(self, *, max_length: int, multiline: bool = False, **kwargs):
        self.multiline = multiline
        super().__init__(max_length=max_length, **kwargs)

    def to_internal_value(self, data):
        if not isinstance(data, str):
            self.fail("invalid")
        text = unicodedata.normalize("NFC", super().to_internal_value(data))
        if self.multiline:
            text = text.replace("\r\n", "\n")
        for character in text:
            if unicodedata.category(character) not in _REFUSED_CATEGORIES or character in _ALLOWED_JOINERS:
                continue
            if not (self.multiline and character in "\n\t"):
                self.fail("control_character")
        return text


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


class Input(serializers.Serializer):
    """What a client may send: an unknown or read-only member is an error at its place."""

    default_error_messages = {"unknown_field": "This field is not known or can't be written."}

    def to_internal_value(self, data):
        if not isinstance(data, dict):
            return super().to_internal_value(data)
        unknown = data.keys() - {name for name, field in self.fields.items() if not field.read_only}
        if unknown:
            message = self.error_messages["unknown_field"]
            raise serializers.ValidationError(
                {str(name)[:100]: [ErrorDetail(message, code="unknown_field")] for name in sorted(unknown)[:20]}
            )
        return super().to_internal_value(data)


class Output(serializers.Serializer):
    """What a client gets."""



class PageQuery(Input):
    """Query parameters of every list."""

    cursor = serializers.CharField(max_length=1000, required=False, help_text="From `next` of the page before.")
    page_size = serializers.IntegerField(min_value=1, max_value=100, default=20, help_text="Rows a page.")
