"""The storage port: private and public objects over the S3 protocol, the same on SeaweedFS, Supabase and AWS.

What Supabase does otherwise decides the manners here:

- errors carry no code there, so only the HTTP status is judged;
- it ignores checksums, MD5 and conditional headers on PUT, so integrity is ours: `put_file` reads back and re-hashes,
  keys are unguessable or content-addressed, and nothing is ever overwritten with other bytes;
- a stored Content-Disposition is dropped and the presigned override works in ASCII only, so names are made ASCII;
- keys are `A-Za-z0-9/_-.`; a 0-byte object has no Content-Length; an expired link is 400 there and 403 elsewhere;
- `delete_objects` fails, and tagging or ACL calls overwrite the object: objects are deleted one by one, and the
  others are never called.

One client for each process, made at boot. When the store is away every call fails fast as `ServiceUnavailable("storage")`.
"""

import hashlib
import re
import threading
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import boto3
import structlog
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings

from core.exceptions import ServiceUnavailable
from core.outage import Gate, StillAway

log = structlog.get_logger("core.storage")

Bucket = Literal["private", "public"]
PRIVATE: Bucket = "private"
PUBLIC: Bucket = "public"

CHUNK_BYTES = 256 * 1024
CONNECT_SECONDS, READ_SECONDS, QUICK_READ_SECONDS = 2, 15, 2.5  # quick: questions that a request waits for
RETRY_AFTER_SECONDS = 5
TRUSTED_SECONDS, DISTRUSTED_SECONDS = 5.0, 1.0  # how long the last good and the last bad answer count
LONGEST_LINK_SECONDS = 3600
EXPIRED_LINK_STATUSES = frozenset({400, 403})
KEY = re.compile(r"\A(?!/)(?!.*//)(?!.*\.\.)[A-Za-z0-9/_.-]{1,200}(?<!/)\Z")


class ObjectMissing(Exception):
    """There is no object of that key."""


class ObjectTooLarge(Exception):
    """The object is larger than its reader allows."""


class ObjectCorrupt(Exception):
    """What the store gave back is not what was put into it."""


@dataclass(frozen=True)
class ObjectHead:
    """What the store says about an object. `etag` is opaque: it is no hash of ours."""

    size_bytes: int
    content_type: str
    etag: str
    modified_at: datetime


class _Health:
    """What the last answer told, so that an outage is noticed once and not by every request for seconds."""

    def __init__(self) -> None:
        self.good_until = self.bad_until = 0.0
        self.gate = Gate()

    def note(self, *, good: bool) -> None:
        self.good_until = time.monotonic() + TRUSTED_SECONDS if good else 0.0
        self.bad_until = 0.0 if good else time.monotonic() + DISTRUSTED_SECONDS
        self.gate.note(good=good)


_clients: dict[tuple[str, bool], Any] = {}
_session: boto3.session.Session | None = None
client_lock = threading.RLock()
_health = _Health()


def client_config(*, quick: bool = False) -> Config:
    """SigV4 said explicitly (left out, links are signed by version 2), path addressing, no checksums that nobody asked for."""
    return Config(
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        connect_timeout=CONNECT_SECONDS,
        read_timeout=QUICK_READ_SECONDS if quick else READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": 2},
        max_pool_connections=16,
    )


def shared_session() -> boto3.session.Session:
    """The process's one session: what botocore parses for it (12 MB) serves every client. Making clients takes `client_lock`."""
    global _session
    if _session is None:
        _session = boto3.session.Session(
            aws_access_key_id=settings.S3_ACCESS_KEY_ID, aws_secret_access_key=settings.S3_SECRET_ACCESS_KEY, region_name=settings.S3_REGION
        )
    return _session


def _client(endpoint_url: str, *, quick: bool = False) -> Any:
    client = _clients.get((endpoint_url, quick))
    if client is None:
        with client_lock:
            if (endpoint_url, quick) not in _clients:
                made = shared_session().client("s3", endpoint_url=endpoint_url, config=client_config(quick=quick))
                _clients[endpoint_url, quick] = made
            client = _clients[endpoint_url, quick]
    return client


def boot() -> None:
    """Make the clients, which takes a few hundred milliseconds: called when a process starts. No network."""
    _client(settings.S3_ENDPOINT_URL)
    _client(settings.S3_ENDPOINT_URL, quick=True)
    _client(settings.S3_PUBLIC_ENDPOINT_URL)


def reset() -> None:
    """Forget clients and health: for tests that point the settings elsewhere."""
    global _session
    _clients.clear()
    _session = None
    _health.note(good=True)
    _health.good_until = 0.0


def bucket_name(bucket: Bucket) -> str:
    return settings.S3_BUCKET_PUBLIC if bucket == PUBLIC else settings.S3_BUCKET_PRIVATE


def _place(key: str, bucket: Bucket) -> dict[str, str]:
    if not KEY.match(key):
        raise ValueError("An object's key has 1 to 200 characters of A-Z a-z 0-9 / _ - . and no empty or double-dot part.")
    return {"Bucket": bucket_name(bucket), "Key": key}


@contextmanager
def talking_to_store(*, quick: bool = False) -> Iterator[Any]:
    """The client, with every error of the store as one of ours: `ObjectMissing` or `ServiceUnavailable("storage")`.

    `quick` waits a sixth of the time: for what is answered at once, or not at all.
    """
    if time.monotonic() < _health.bad_until:
        raise ServiceUnavailable("storage", retry_after_seconds=RETRY_AFTER_SECONDS)
    try:
        with _health.gate.passing():
            yield _client(settings.S3_ENDPOINT_URL, quick=quick)
    except StillAway as error:
        raise ServiceUnavailable("storage", retry_after_seconds=RETRY_AFTER_SECONDS) from error
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)  # the only part that all stores agree on
        if status == 404:
            _health.note(good=True)
            raise ObjectMissing from error
        log.warning("storage_refused", status=status, operation=error.operation_name)
        _health.note(good=False)
        raise ServiceUnavailable("storage", retry_after_seconds=RETRY_AFTER_SECONDS) from error
    except (BotoCoreError, Boto3Error, ConnectionError, TimeoutError) as error:
        log.warning("storage_unreachable", error=type(error).__name__)
        _health.note(good=False)
        raise ServiceUnavailable("storage", retry_after_seconds=RETRY_AFTER_SECONDS) from error
    else:
        _health.note(good=True)


def ensure_available() -> None:
    """Refuse early when the store is away, before anything is promised: asks it unless it answered within 5 seconds.

    Signing a link needs no network, so only this tells a client that the link would lead nowhere.
    Raises: ServiceUnavailable("storage").
    """
    if time.monotonic() < _health.good_until:
        return
    with talking_to_store(quick=True) as client:
        client.head_bucket(Bucket=settings.S3_BUCKET_PRIVATE)


# Links


def presign_put(
    key: str, *, content_type: str, size_bytes: int, expires_seconds: int = 900, bucket: Bucket = PRIVATE
) -> tuple[str, dict[str, str]]:
    """A link that takes one PUT of exactly that type and size, and the headers the client must send with it.

    Both headers are signed, so the store enforces them. No network. Measure and hash what arrived all the same.
    """
    url = _client(settings.S3_PUBLIC_ENDPOINT_URL).generate_presigned_url(
        "put_object",
        Params={**_place(key, bucket), "ContentType": content_type, "ContentLength": size_bytes},
        ExpiresIn=min(expires_seconds, LONGEST_LINK_SECONDS),
        HttpMethod="PUT",
    )
    return url, {"Content-Type": content_type, "Content-Length": str(size_bytes)}


def presign_get(
    key: str,
    *,
    expires_seconds: int = 60,
    filename: str | None = None,
    content_type: str = "application/octet-stream",
    bucket: Bucket = PRIVATE,
) -> str:
    """A link to read one object, as a download under an ASCII `filename`. No network.

    The reader must send no Authorization header beside it.
    """
    return _client(settings.S3_PUBLIC_ENDPOINT_URL).generate_presigned_url(
        "get_object",
        Params={
            **_place(key, bucket),
            "ResponseContentDisposition": content_disposition(filename),
            "ResponseContentType": content_type,
        },
        ExpiresIn=min(expires_seconds, LONGEST_LINK_SECONDS),
        HttpMethod="GET",
    )


def content_disposition(filename: str | None) -> str:
    """`attachment`, with the name in plain ASCII: anything else makes the header disappear on Supabase."""
    if not filename:
        return "attachment"
    plain = unicodedata.normalize("NFKD", filename).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", plain).strip("._")[:100]
    return f'attachment; filename="{plain}"' if plain else "attachment"


def public_url(key: str) -> str:
    """Where everybody reads an object of the public bucket: a CDN's address, or our own `/media/…`."""
    if not KEY.match(key):
        raise ValueError("Not a key.")
    return f"{settings.MEDIA_PUBLIC_BASE_URL}/{key}"


# Objects. Each raises ServiceUnavailable("storage") when the store is away.


def put_bytes(key: str, data: bytes, content_type: str, *, bucket: Bucket = PRIVATE) -> None:
    """Store bytes under a key that no other bytes ever had."""
    with talking_to_store() as client:
        client.put_object(**_place(key, bucket), Body=data, ContentType=content_type)


def put_file(key: str, path: Path, *, content_type: str, sha256: str, bucket: Bucket = PRIVATE) -> None:
    """Store a file, then read it back and hash it, because the store's own checks can't be relied on.

    Raises: ObjectCorrupt when the store holds something else (the object is deleted again).
    """
    if bucket == PUBLIC:
        _save_public(key, path)
    else:
        with path.open("rb") as body, talking_to_store() as client:
            client.put_object(**_place(key, bucket), Body=body, ContentType=content_type)
    found = hash_object(key, bucket=bucket)
    if found != (sha256, path.stat().st_size):
        delete(key, bucket=bucket)
        raise ObjectCorrupt(key)


def _save_public(key: str, path: Path) -> None:
    from django.core.files import File
    from django.core.files.storage import default_storage

    _place(key, PUBLIC)
    with path.open("rb") as body, talking_to_store():
        default_storage.save(key, File(body))


def head(key: str, *, bucket: Bucket = PRIVATE) -> ObjectHead | None:
    """What the store says about the object, or None when there is none."""
    try:
        with talking_to_store(quick=True) as client:
            answer = client.head_object(**_place(key, bucket))
    except ObjectMissing:
        return None
    return ObjectHead(
        size_bytes=answer.get("ContentLength") or 0,  # an empty object comes without
        content_type=answer.get("ContentType", ""),
        etag=answer.get("ETag", "").strip('"'),
        modified_at=answer["LastModified"],
    )


@contextmanager
def open_stream(key: str, *, bucket: Bucket = PRIVATE, quick: bool = False) -> Iterator[Iterator[bytes]]:
    """The object's bytes in chunks, read once: `with open_stream(key) as chunks:`. `quick` while a request waits for them.

    Raises: ObjectMissing. ServiceUnavailable may come in the middle.
    """
    with talking_to_store(quick=quick) as client:
        body = client.get_object(**_place(key, bucket))["Body"]
    try:
        yield _chunks(body)
    finally:
        body.close()


def _chunks(body: Any) -> Iterator[bytes]:
    while True:
        with talking_to_store():
            chunk = body.read(CHUNK_BYTES)
        if not chunk:
            return
        yield chunk


def read(key: str, *, max_bytes: int, bucket: Bucket = PRIVATE) -> bytes:
    """The whole object. Raises: ObjectMissing, ObjectTooLarge when it has more than `max_bytes`."""
    parts: list[bytes] = []
    total = 0
    with open_stream(key, bucket=bucket) as chunks:
        for chunk in chunks:
            total += len(chunk)
            if total > max_bytes:
                raise ObjectTooLarge(key)
            parts.append(chunk)
    return b"".join(parts)


def hash_object(key: str, *, bucket: Bucket = PRIVATE) -> tuple[str, int]:
    """SHA-256 and size of what the store really gives. Raises: ObjectMissing."""
    digest, total = hashlib.sha256(), 0
    with open_stream(key, bucket=bucket) as chunks:
        for chunk in chunks:
            digest.update(chunk)
            total += len(chunk)
    return digest.hexdigest(), total


def copy(source: str, target: str, *, bucket: Bucket = PRIVATE) -> None:
    """Copy inside one bucket, in the store. Raises: ObjectMissing. Hash the copy before anything depends on it."""
    with talking_to_store() as client:
        client.copy_object(**_place(target, bucket), CopySource=_place(source, bucket))


def delete(key: str, *, bucket: Bucket = PRIVATE) -> None:
    """Delete one object; one that is gone already is fine."""
    try:
        with talking_to_store() as client:
            client.delete_object(**_place(key, bucket))
    except ObjectMissing:
        return


def list_keys(prefix: str, *, bucket: Bucket = PRIVATE) -> Iterator[tuple[str, ObjectHead]]:
    """Every object under a prefix, a thousand a request."""
    token: dict[str, str] = {}
    while True:
        with talking_to_store() as client:
            page = client.list_objects_v2(Bucket=bucket_name(bucket), Prefix=prefix, **token)
        for item in page.get("Contents", []):
            yield item["Key"], ObjectHead(item["Size"], "", item.get("ETag", "").strip('"'), item["LastModified"])
        if not page.get("IsTruncated"):
            return
        token = {"ContinuationToken": page["NextContinuationToken"]}
