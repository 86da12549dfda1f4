"""Hostile bodies and paths: a clear refusal, at once, and nothing left behind."""

import gc
import gzip
import json
import time
import tracemalloc

import pytest
from rest_framework.exceptions import ParseError

from core.parsers import MAX_BODY_BYTES, parse_strict_json
from core.serializers import CleanCharField
from core.testing.hostile import MANY_MARKS, SLOW_TO_COMPOSE, UNSEEN
from core.testing.http import ApiClient, client_for
from users.tests.factories import UserFactory

FULL = MAX_BODY_BYTES
HOSTILE_JSON = {
    "deep arrays": b"[" * FULL,
    "deep objects": b'{"a":' * (FULL // 5),
    "deep, closed": b"[" * 500_000 + b"]" * 500_000,
    "brackets before a string without end": b"[" * 33 + b'"' + b'\\"' * 500_000,
    "brackets in strings without end": (b'["[' * 300_000)[:FULL],
    "quotes and backslashes": b"[" * 33 + b'"\\' * 500_000,
    "a long number": b"9" * FULL,
    "a number of 5,000 digits": b'{"a": ' + b"9" * 5_000 + b"}",
    "a long fraction": b'{"a": 0.' + b"1" * 1_000_000 + b"}",
    "a long exponent": b"1e" + b"9" * 1_000_000,
    "infinity by exponent": b'{"a": 1e400}',
    "not a number": b'{"a": NaN}',
    "NUL": b'{"a": "\\u0000"}',
    "raw NUL": b'{"a": "\0"}',
    "half a surrogate pair": b'{"a": "\\ud83c"}',
    "pairs the wrong way round": b'{"a": "\\udf00\\ud83c"}',
    "many halves": b'["' + b"\\ud800" * 170_000 + b'"]',
    "byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "UTF-32": '{"a": 1}'.encode("utf-32-be"),
    "overlong UTF-8": b'{"a": "\xc0\xaf"}',
    "surrogates in UTF-8": b'{"a": "\xed\xa0\x80"}',
    "duplicate keys": b'{"a": 1, "\\u0061": 2}',
    "duplicates far apart": b"{" + b",".join(b'"k%d": 1' % (number % 60_000) for number in range(60_001)) + b"}",
    "garbage behind": b'{"a": 1} x',
    "two documents": b'{"a": 1}{"a": 2}',
    "a comment": b'{"a": 1} // no',
    "single quotes": b"{'a': 1}",
    "hexadecimal": b'{"a": 0x10}',
    "a leading zero": b'{"a": 01}',
    "a plus sign": b'{"a": +1}',
    "a raw line feed in a string": b'{"a": "b\nc"}',
    "compressed": gzip.compress(b"{}" * 100_000),
    "nothing": b"",
    "spaces": b" " * FULL,
}
# Valid, and as much as fits: read, or refused, but never dear.
WIDE_JSON = {
    "wide array": b"[" + b"0," * (FULL // 2 - 2) + b"0]",
    "many arrays": b"[" + b"[]," * (FULL // 3 - 2) + b"[]]",
    "many objects": b"[" + b'{"a":0},' * (FULL // 8 - 2) + b"{}]",
    "many keys": b"{" + b",".join(b'"%d":0' % number for number in range(100_000)) + b"}",
    "many strings": b"[" + b'"",' * (FULL // 3 - 2) + b'""]',
    "one string": b'"' + b"a" * (FULL - 2) + b'"',
    "escapes": b'"' + b"\\u00e4" * (FULL // 6 - 1) + b'"',
}


def cost(act):
    """Seconds of computing, and the peak of memory in MiB."""
    tracemalloc.start()
    try:
        act()
        peak = tracemalloc.get_traced_memory()[1]
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    gc.freeze()  # what the suite has left is not looked through again and again
    try:
        started = time.process_time()
        act()
        return time.process_time() - started, peak / 2**20, kept / 2**20
    finally:
        gc.unfreeze()


@pytest.mark.parametrize("what", HOSTILE_JSON)
def test_hostile_json_is_refused_at_once(what):
    def act():
        with pytest.raises(ParseError):
            parse_strict_json(HOSTILE_JSON[what])

    seconds, peak, kept = cost(act)

    assert seconds < 1 and peak < 64 and kept < 1, (seconds, peak, kept)


@pytest.mark.parametrize("what", WIDE_JSON)
def test_wide_json_costs_little(what):
    assert len(WIDE_JSON[what]) <= FULL

    seconds, peak, kept = cost(lambda: parse_strict_json(WIDE_JSON[what]))

    assert seconds < 1 and peak < 96 and kept < 1, (seconds, peak, kept)


@pytest.mark.django_db
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, identity", "x"])
def test_a_compressed_body_is_an_unsupported_type(encoding):
    answer = ApiClient().post("auth/login/", gzip.compress(b"{}"), content_type="application/json", HTTP_CONTENT_ENCODING=encoding)

    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.django_db
@pytest.mark.parametrize("raw", ["null", "0", "false", '""', "[]", "[1]", "1.5"])
def test_where_no_body_is_taken_only_an_empty_object_passes(raw):
    rider = client_for(UserFactory())

    answer = rider.post("tuners/application/submit/", raw, content_type="application/json")

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")


@pytest.mark.parametrize("character", UNSEEN)
def test_text_refuses_what_nobody_sees(character):
    for text in (f"a{character}b", f"{character}ab", f"ab{character}c d"):
        with pytest.raises(Exception, match="not allowed"):
            CleanCharField(max_length=100).run_validation(text)


@pytest.mark.parametrize("text", [MANY_MARKS, "a\u200d", "👩\u200dx", "x\u200d👩", "é\u200db"])
def test_text_refuses_heaps_of_marks_and_loose_joiners(text):
    with pytest.raises(Exception, match="not allowed"):
        CleanCharField(max_length=100).run_validation(text)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("  Anna \u00a0 Berg\u3000", "Anna Berg"),
        ("Cafe\u0301", "Café"),
        ("👩🏽‍🔧 🏍️ 🇩🇪 #️⃣", "👩🏽‍🔧 🏍️ 🇩🇪 #️⃣"),
        ("שָׁלוֹם नमस्ते ไทย Việt", "שָׁלוֹם नमस्ते ไทย Việt"),
        ("<b>&amp;'\"", "<b>&amp;'\""),
    ],
)
def test_text_keeps_what_people_write(given, kept):
    assert CleanCharField(max_length=100).run_validation(given) == kept


def test_composing_hostile_text_takes_no_time():
    started = time.process_time()
    with pytest.raises(Exception, match=r"not allowed|no more than"):
        CleanCharField(max_length=100_000).run_validation(SLOW_TO_COMPOSE)

    assert time.process_time() - started < 0.5


ODD_PATHS = [
    *("//api/v1/meta/", "/api//v1/meta/", "/api/v1//meta/", "/api/v1/meta//", "/api/v1/meta", "/API/V1/META/", "/api/v1/Meta/"),
    *("/api/v1/./meta/", "/api/v1/x/../meta/", "/api/v1/%2e/meta/", "/api/v1/x/%2e%2e/meta/", "/api/v1/meta/;a=1", "/api/v1/meta;/"),
    *("/api/v1\\meta/", "/api/v1/meta/%00", "/api/v1/meta%00/", "/api/v1/%c0%ae/", "/api/v1/%ff/"),
    *("/api/v1/meta/%0a", "/api/v1/meta%20/", "/api/v1/meta/.json", "/api/v1/meta.json", "/api/v2/meta/", "/api/v1/\u202emeta/"),
    *("/api/v1/users/ABC/", "/api/v1/users/00000000000000000000000000000000/", "/api/v1/users/%d9%a1/", "/api/v1/" + "a/" * 1_500),
    *(
        f"/api/v1/trust/root/{'9' * 5_000}/",
        "/api/v1/trust/root/-1/",
        "/api/v1/trust/root/%d9%a1/",
        "/media/../settings.py",
        "/media/%2e%2e/x",
    ),
    *("/media//etc/passwd", "/media/x%00.webp", "/static/../revsync_backend/settings.py", "/static/%2e%2e/manage.py", "/problems/%2e%2e"),
    *("/ADMIN/", "//admin/", "/%61dmin", "/stand-in/pay/..%2f", "/.git/config", "/.env"),
]


@pytest.mark.django_db
@pytest.mark.parametrize("path", ODD_PATHS, ids=lambda path: path[:50])
def test_an_odd_path_is_a_problem(path):
    answer = ApiClient().get(path)

    assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")
    assert answer.json()["code"] == "not_found"


@pytest.mark.parametrize("raw", ["/api/v1/meta%2f", "/api/v1%2Fmeta/", "/api%5Cv1/meta/", "http://127.0.0.1/api/v1/meta%2f"])
def test_an_encoded_separator_is_no_separator(raw):
    """WSGI hands on the decoded path; the web server says in RAW_URI what was asked for."""
    answer = ApiClient().get("/api/v1/meta/", RAW_URI=raw)

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert ApiClient().get("/api/v1/meta/", RAW_URI="/api/v1/meta/?x=%2f").status_code == 200  # in the query it is a character


@pytest.mark.django_db
@pytest.mark.parametrize(
    "query", ["?a=%00", "?%00=1", "?a=1&a=2", "?a[]=1", "?_method=DELETE", "?a=%ff", "?;", "?" + "a&" * 3_000, "?=", "?" + "a" * 5_000]
)
def test_an_odd_query_is_a_problem(query):
    answer = ApiClient().get(f"/api/v1/meta/{query}")

    if query in {"?;", "?="}:
        assert answer.status_code in {200, 400}
    else:
        assert answer.status_code == 400
    assert answer.status_code == 200 or answer["Content-Type"] == "application/problem+json"


@pytest.mark.django_db
@pytest.mark.parametrize("header", ["HTTP_X_HTTP_METHOD_OVERRIDE", "HTTP_X_METHOD_OVERRIDE", "HTTP_X_HTTP_METHOD"])
def test_a_method_is_what_the_request_line_says(header):
    rider = client_for(UserFactory(), step_up=True)

    assert rider.get("users/me/", **{header: "DELETE"}).status_code == 200
    assert rider.post("users/me/", {}, **{header: "DELETE"}).status_code == 405
    assert rider.post("users/me/", json.dumps({"_method": "DELETE"}), content_type="application/json").status_code == 405
    assert rider.get("users/me/").status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "OPTIONS", "get", "X"])
def test_other_methods_are_refused(method):
    answer = ApiClient().generic(method, "/api/v1/meta/")

    assert answer.status_code in ({200, 405} if method == "get" else {405})
