"""The storage port on a real S3 server, and its manners against a server that answers like Supabase."""

import hashlib
import os
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
import requests
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from core import storage
from core.exceptions import ServiceUnavailable

BYTES = bytes(range(256)) * 8
SHA256 = hashlib.sha256(BYTES).hexdigest()


@pytest.fixture
def key():
    return f"tests/{uuid4().hex}"


@pytest.fixture
def stored(key):
    storage.put_bytes(key, BYTES, "application/octet-stream")
    return key


class TestObjects:
    def test_what_was_put_is_read_back(self, stored):
        assert storage.read(stored, max_bytes=len(BYTES)) == BYTES
        assert storage.hash_object(stored) == (SHA256, len(BYTES))

    def test_the_head_tells_size_and_type(self, stored):
        head = storage.head(stored)

        assert (head.size_bytes, head.content_type) == (len(BYTES), "application/octet-stream")
        assert head.modified_at.tzinfo is not None

    def test_a_missing_object_has_no_head_and_can_not_be_read(self, key):
        assert storage.head(key) is None
        with pytest.raises(storage.ObjectMissing):
            storage.read(key, max_bytes=10)

    def test_an_empty_object_has_the_size_zero(self, key):
        storage.put_bytes(key, b"", "text/plain")

        assert storage.head(key).size_bytes == 0
        assert storage.read(key, max_bytes=0) == b""

    def test_reading_stops_at_the_limit(self, stored):
        with pytest.raises(storage.ObjectTooLarge):
            storage.read(stored, max_bytes=len(BYTES) - 1)

    def test_a_copy_has_the_same_bytes(self, stored, key):
        storage.copy(stored, f"{key}-copy")

        assert storage.hash_object(f"{key}-copy") == (SHA256, len(BYTES))

    def test_copying_what_is_missing_says_so(self, key):
        with pytest.raises(storage.ObjectMissing):
            storage.copy(key, f"{key}-copy")

    def test_deleting_twice_is_fine(self, stored):
        storage.delete(stored)
        storage.delete(stored)

        assert storage.head(stored) is None

    def test_a_file_is_stored_and_verified(self, key, tmp_path):
        path = tmp_path / "file"
        path.write_bytes(BYTES)

        storage.put_file(key, path, content_type="application/pdf", sha256=SHA256)

        assert storage.head(key).content_type == "application/pdf"

    def test_a_file_that_the_store_holds_otherwise_is_refused_and_removed(self, key, tmp_path):
        path = tmp_path / "file"
        path.write_bytes(BYTES)

        with pytest.raises(storage.ObjectCorrupt):
            storage.put_file(key, path, content_type="application/pdf", sha256="0" * 64)
        assert storage.head(key) is None

    def test_listing_finds_everything_under_a_prefix(self, key):
        for number in range(3):
            storage.put_bytes(f"{key}/{number}", b"x" * number, "text/plain")

        assert [(name, head.size_bytes) for name, head in storage.list_keys(f"{key}/")] == [
            (f"{key}/{number}", number) for number in range(3)
        ]

    @pytest.mark.parametrize("bad", ["", "/a", "a/", "a//b", "a/../b", "ä", "a b", "a\nb", "a?b", "x" * 201])
    def test_keys_are_plain_ascii_paths(self, bad):
        with pytest.raises(ValueError, match="key"):
            storage.put_bytes(bad, b"", "text/plain")

    def test_public_objects_are_apart_from_private_ones(self, key):
        storage.put_bytes(key, BYTES, "image/webp", bucket=storage.PUBLIC)

        assert storage.head(key) is None
        assert storage.head(key, bucket=storage.PUBLIC) is not None

    def test_djangos_default_storage_is_the_public_bucket(self, key, settings):
        name = default_storage.save(f"{key}.webp", ContentFile(BYTES))

        assert name == f"{key}.webp"
        assert storage.read(name, max_bytes=10_000, bucket=storage.PUBLIC) == BYTES
        assert storage.head(name, bucket=storage.PUBLIC).content_type == "image/webp"
        assert default_storage.url(name) == f"{settings.MEDIA_PUBLIC_BASE_URL}/{name}"


class TestLinks:
    def put(self, key, data, *, content_type="application/octet-stream", promised=None, **headers):
        url, signed = storage.presign_put(key, content_type="application/octet-stream", size_bytes=promised or len(data))
        return requests.put(
            url, data=data, headers={**signed, "Content-Length": str(len(data)), "Content-Type": content_type, **headers}, timeout=10
        )

    def test_a_put_link_takes_what_was_promised(self, key):
        assert self.put(key, BYTES).status_code == 200
        assert storage.read(key, max_bytes=10_000) == BYTES

    def test_type_and_length_are_signed(self, key):
        url, headers = storage.presign_put(key, content_type="image/png", size_bytes=7)

        assert parse_qs(urlsplit(url).query)["X-Amz-SignedHeaders"] == ["content-length;content-type;host"]
        assert headers == {"Content-Type": "image/png", "Content-Length": "7"}

    def test_another_length_is_refused(self, key):
        assert self.put(key, BYTES, promised=5).status_code == 403
        assert storage.head(key) is None

    def test_another_type_is_refused(self, key):
        assert self.put(key, BYTES, content_type="text/html").status_code == 403
        assert storage.head(key) is None

    def test_a_put_link_is_for_its_key_only(self, key):
        url, headers = storage.presign_put(key, content_type="text/plain", size_bytes=3)

        assert requests.put(url.replace(key, f"{key}x"), data=b"abc", headers=headers, timeout=10).status_code == 403

    def test_a_get_link_downloads_with_ranges(self, stored):
        url = storage.presign_get(stored, filename="Stage 1 – Größe.bin")

        whole, part = requests.get(url, timeout=10), requests.get(url, headers={"Range": "bytes=10-19"}, timeout=10)

        assert whole.content == BYTES
        assert whole.headers["Content-Disposition"] == 'attachment; filename="Stage_1_Groe.bin"'
        assert whole.headers["Content-Type"] == "application/octet-stream"
        assert (part.status_code, part.content) == (206, BYTES[10:20])

    def test_an_expired_link_is_refused_with_one_of_the_two_known_statuses(self, stored):
        url = storage.presign_get(stored, expires_seconds=1)
        time.sleep(2.1)

        assert requests.get(url, timeout=10).status_code in storage.EXPIRED_LINK_STATUSES

    def test_a_tampered_link_is_refused(self, stored):
        url = storage.presign_get(stored).replace("X-Amz-Expires=60", "X-Amz-Expires=600000")

        assert requests.get(url, timeout=10).status_code == 403

    def test_links_are_signed_by_version_four(self, stored):
        assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in storage.presign_get(stored)

    def test_links_lead_to_the_address_that_phones_reach(self, settings, key):
        settings.S3_PUBLIC_ENDPOINT_URL = "http://192.0.2.7:9000"

        assert storage.presign_get(key).startswith(f"http://192.0.2.7:9000/{settings.S3_BUCKET_PRIVATE}/{key}?")

    @pytest.mark.parametrize(
        ("name", "header"),
        [
            (None, "attachment"),
            ("plain.bin", 'attachment; filename="plain.bin"'),
            ('a"b\r\nX: y', 'attachment; filename="a_b_X_y"'),
            ("日本", "attachment"),
            ("../../etc/passwd", 'attachment; filename="etc_passwd"'),
            ("x" * 300, f'attachment; filename="{"x" * 100}"'),
        ],
    )
    def test_file_names_become_ascii(self, name, header):
        assert storage.content_disposition(name) == header
        assert header.isascii()


# A server that answers like Supabase Storage


class SupabaseLike(BaseHTTPRequestHandler):
    """Errors without a code, empty objects without a length, checksums and conditions ignored."""

    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers and not self.server.without_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_any(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        self.server.seen.append((self.command, self.path, dict(self.headers), body))
        if self.server.status != 200:
            self.answer(
                self.server.status, b"<?xml version='1.0'?><Error><Code></Code><Message>x</Message></Error>", Content_Type="application/xml"
            )
        else:
            self.answer(
                200, self.server.body if self.command in {"GET", "HEAD"} else b"", Last_Modified="Sun, 22 Nov 2026 12:00:00 GMT", ETag='"x"'
            )

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = handle_any

    def log_message(self, *args):
        """Be quiet."""


@pytest.fixture
def supabase(settings):
    server = ThreadingHTTPServer(("127.0.0.1", 0), SupabaseLike)
    server.status, server.body, server.seen, server.without_length = 200, b"", [], False
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    settings.S3_ENDPOINT_URL = settings.S3_PUBLIC_ENDPOINT_URL = f"http://127.0.0.1:{server.server_port}/storage/v1/s3"
    settings.S3_REGION = "eu-central-1"
    storage.reset()
    yield server
    server.shutdown()
    storage.reset()


class TestSupabase:
    def test_a_404_without_a_code_is_a_missing_object(self, supabase):
        supabase.status = 404

        assert storage.head("a/b") is None
        with pytest.raises(storage.ObjectMissing):
            storage.read("a/b", max_bytes=1)

    @pytest.mark.parametrize("status", [400, 403, 429, 500, 503])
    def test_any_other_status_is_an_outage_and_never_an_exception_of_the_library(self, supabase, status):
        supabase.status = status

        with pytest.raises(ServiceUnavailable) as refusal:
            storage.put_bytes("a/b", b"x", "text/plain")
        assert (refusal.value.members, refusal.value.retry_after_seconds) == ({"service": "storage"}, 5)

    def test_addresses_are_by_path_below_the_endpoint(self, supabase):
        storage.put_bytes("a/b", b"x", "text/plain")

        assert supabase.seen[-1][1] == f"/storage/v1/s3/{settings.S3_BUCKET_PRIVATE}/a/b"

    def test_nothing_is_sent_that_it_ignores(self, supabase):
        storage.put_bytes("a/b", b"x" * 100, "text/plain")

        headers = {name.lower() for name in supabase.seen[-1][2]}
        assert not [name for name in headers if name.startswith(("x-amz-checksum", "x-amz-sdk-checksum", "x-amz-tagging", "x-amz-acl"))]
        assert "content-md5" not in headers
        assert supabase.seen[-1][3] == b"x" * 100  # not in the framing of a trailing checksum

    def test_an_empty_object_without_a_length_is_empty(self, supabase):
        supabase.without_length = True

        assert storage.head("a/b").size_bytes == 0

    def test_bytes_that_changed_in_the_store_are_noticed(self, supabase, tmp_path):
        supabase.body = b"other bytes"
        path = tmp_path / "file"
        path.write_bytes(BYTES)

        with pytest.raises(storage.ObjectCorrupt):
            storage.put_file("a/b", path, content_type="text/plain", sha256=SHA256)
        assert supabase.seen[-1][0] == "DELETE"

    def test_objects_are_deleted_one_by_one(self, supabase):
        storage.delete("a/b")

        assert [(method, path) for method, path, *_ in supabase.seen] == [("DELETE", f"/storage/v1/s3/{settings.S3_BUCKET_PRIVATE}/a/b")]

    def test_links_carry_the_region_and_no_checksum(self, supabase):
        url, _ = storage.presign_put("a/b", content_type="text/plain", size_bytes=1)

        assert "eu-central-1" in url
        assert "checksum" not in url.lower()


class TestOutage:
    @pytest.fixture(autouse=True)
    def nobody_listens(self, settings):
        settings.S3_ENDPOINT_URL = settings.S3_PUBLIC_ENDPOINT_URL = "http://127.0.0.1:9"
        storage.reset()
        yield
        storage.reset()

    def test_every_call_fails_fast_as_unavailable(self):
        begun = time.monotonic()
        for call in (
            storage.ensure_available,
            lambda: storage.head("a"),
            lambda: storage.put_bytes("a", b"", "text/plain"),
            lambda: storage.read("a", max_bytes=1),
            lambda: storage.delete("a"),
            lambda: list(storage.list_keys("a")),
            lambda: default_storage_save("a"),
        ):
            with pytest.raises(ServiceUnavailable):
                call()
        assert time.monotonic() - begun < 10

    def test_links_can_still_be_signed(self):
        assert storage.presign_get("a").startswith("http://127.0.0.1:9/")

    def test_the_second_caller_does_not_wait_for_the_first_ones_time_out(self, settings):
        with pytest.raises(ServiceUnavailable):
            storage.ensure_available()
        begun = time.monotonic()

        with pytest.raises(ServiceUnavailable):
            storage.ensure_available()
        assert time.monotonic() - begun < 0.3

    def test_it_recovers_by_itself(self, settings):
        with pytest.raises(ServiceUnavailable):
            storage.ensure_available()
        settings.S3_ENDPOINT_URL = os.environ["S3_ENDPOINT_URL"]
        time.sleep(storage.DISTRUSTED_SECONDS + 0.05)

        storage.ensure_available()


class TestHangingStore:
    """A store that takes connections and never answers: a frozen process, a network that swallows."""

    @pytest.fixture(autouse=True)
    def nobody_answers(self, settings, monkeypatch):
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        settings.S3_ENDPOINT_URL = settings.S3_PUBLIC_ENDPOINT_URL = f"http://127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setattr(storage, "QUICK_READ_SECONDS", 1.0)
        storage.reset()
        yield
        storage.reset()
        listener.close()

    @pytest.mark.parametrize("ask", [storage.ensure_available, lambda: storage.head("a")])
    def test_who_asks_in_a_request_is_told_soon(self, ask):
        begun = time.monotonic()

        with pytest.raises(ServiceUnavailable):
            ask()
        assert time.monotonic() - begun < storage.READ_SECONDS

    def test_afterwards_one_at_a_time_waits_for_it_and_the_others_are_refused_at_once(self, monkeypatch):
        monkeypatch.setattr(storage, "DISTRUSTED_SECONDS", 0.0)
        with pytest.raises(ServiceUnavailable):
            storage.ensure_available()

        waits = sorted(race_for_seconds(storage.ensure_available, times=8))

        assert waits[6] < storage.QUICK_READ_SECONDS <= waits[7]


def race_for_seconds(ask, *, times):
    """How long each of several threads, which start together, was kept until it was refused."""
    start, waits = threading.Barrier(times), []

    def contend():
        start.wait(timeout=30)
        begun = time.monotonic()
        with pytest.raises(ServiceUnavailable):
            ask()
        waits.append(time.monotonic() - begun)

    threads = [threading.Thread(target=contend) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return waits


def default_storage_save(key):
    import tempfile
    from pathlib import Path

    with tempfile.NamedTemporaryFile() as file:
        storage.put_file(key, Path(file.name), content_type="image/webp", sha256="", bucket=storage.PUBLIC)


def test_health_is_asked_for_only_now_and_then(settings):
    storage.reset()
    storage.ensure_available()
    settings.S3_ENDPOINT_URL = "http://127.0.0.1:9"

    storage.ensure_available()  # answered from memory: five seconds have not passed
    storage.reset()
