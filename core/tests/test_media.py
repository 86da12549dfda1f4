"""Public pictures under `/media/…`."""

import hashlib
import os
import time
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client

from core import media, storage

BYTES = b"RIFF....WEBP" * 100


@pytest.fixture
def key():
    sha256 = hashlib.sha256(BYTES).hexdigest()
    key = f"images/{sha256[:2]}/{sha256}-{uuid4().hex[:12]}.webp"
    storage.put_bytes(key, BYTES, "image/webp", bucket=storage.PUBLIC)
    return key


@pytest.fixture
def outage(settings):
    def begin():
        settings.S3_ENDPOINT_URL = "http://127.0.0.1:9"
        storage.reset()

    yield begin
    storage.reset()


def get(key, **headers):
    return Client().get(f"/media/{key}", headers=headers)


def body(response):
    return b"".join(response.streaming_content)


def test_a_picture_is_served_without_the_database_and_may_be_kept_for_ever(key):
    with connection.execute_wrapper(lambda *_: pytest.fail("a query")):
        response = get(key)

    assert (response.status_code, body(response)) == (200, BYTES)
    assert response["Content-Type"] == "image/webp"
    assert response["Cache-Control"] == "public, max-age=31536000, immutable"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in response["Content-Security-Policy"]
    assert int(response["Content-Length"]) == len(BYTES)


def test_a_client_that_has_it_gets_304(key):
    etag = get(key)["ETag"]

    response = get(key, if_none_match=etag)

    assert (response.status_code, response.content) == (304, b"")


def test_what_was_seen_before_comes_while_the_storage_is_away(key, outage):
    body(get(key))
    outage()

    assert body(get(key)) == BYTES


def test_what_was_not_seen_before_is_a_503_with_retry_after(key, outage):
    outage()

    response = get(key)

    assert (response.status_code, response["Content-Type"], response["Retry-After"]) == (503, "application/problem+json", "5")


def test_a_missing_picture_is_a_404(key):
    other = "1" if key[-6] == "0" else "0"

    response = get(f"{key[:-6]}{other}.webp")

    assert (response.status_code, response.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", ["x", "../private", "images/aa/x.webp", "uploads/aa/" + "a" * 64 + "-" + "b" * 12, "images/%2e%2e/x"])
def test_nothing_else_of_the_bucket_is_reachable(path):
    assert get(path).status_code == 404


def test_only_reading_is_allowed(key):
    assert Client().post(f"/media/{key}").status_code == 405


def test_a_deleted_picture_disappears_after_a_day(key):
    body(get(key))
    storage.delete(key, bucket=storage.PUBLIC)
    assert get(key).status_code == 200
    cached = media.cache_directory() / key.replace("/", "-")
    os.utime(cached, (time.time() - 90_000, time.time() - 90_000))

    assert get(key).status_code == 404
    assert not cached.exists()


def test_the_cache_forgets_its_oldest_pictures(key):
    directory = media.cache_directory()
    body(get(key))
    for age in range(3):
        path = directory / f"old-{age}"
        path.write_bytes(b"x" * 1000)
        os.utime(path, (1000 - age, 1000 - age))

    media.trim_cache(limit_bytes=sum(file.stat().st_size for file in directory.iterdir()) - 1500)

    assert not (directory / "old-2").exists()
    assert not (directory / "old-1").exists()
    assert (directory / "old-0").exists()
