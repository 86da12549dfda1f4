import io
import time

import pytest
from rest_framework.exceptions import ParseError, UnsupportedMediaType

from core.parsers import StrictJSONParser, parse_strict_json
from core.problems import BodyTooLarge


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 33 + b"]" * 33,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"a": 1e400}',
        b'{"a": -1e400}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 1}}',
        b'{"a": "\\u0000"}',
        b'{"a": "\x00"}',
        b'{"a": "\\ud800"}',
        b"\xef\xbb\xbf{}",
        b'{"a": "\xff"}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": 0.' + b"1" * 5000 + b"}",
        b"{'a': 1}",
        b'{"a": 1,}',
        b"",
        b"{",
    ],
)
def test_what_is_not_plain_json_is_refused_in_well_under_a_second(raw):
    started = time.perf_counter()

    with pytest.raises(ParseError):
        parse_strict_json(raw)

    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'{"a": [1, 2.5, "\\u00e4", null, true]}', {"a": [1, 2.5, "ä", None, True]}),
        (b"[" * 32 + b"]" * 32, None),
        (b'{"text": "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["}', {"text": "[" * 42}),
        (b'"\\ud83c\\udfcd"', "🏍"),
    ],
)
def test_plain_json_is_read(raw, value):
    parsed = parse_strict_json(raw)

    assert value is None or parsed == value


def test_a_body_over_one_mebibyte_is_too_large():
    with pytest.raises(BodyTooLarge):
        StrictJSONParser().parse(io.BytesIO(b'"' + b"a" * 1_048_576 + b'"'), "application/json")


def test_another_charset_is_an_unsupported_media_type():
    with pytest.raises(UnsupportedMediaType):
        StrictJSONParser().parse(io.BytesIO(b"{}"), "application/json; charset=latin-1")
