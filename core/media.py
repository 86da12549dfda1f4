"""`/media/…`: pictures of the public bucket, for everybody, for ever.

A key holds the hash of its bytes, so an answer never changes: clients and CDNs may keep it for a year. A small cache on
disk keeps pictures coming while the database is down (it is never asked) and, for those seen before, the storage too.
"""

import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import structlog
from django.conf import settings
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase
from django.utils.http import parse_etags
from django.views.decorators.http import require_safe

from core import storage
from core.exceptions import ServiceUnavailable
from core.problems import problem_response

log = structlog.get_logger("core.media")

# What the checked upload wrote, and nothing else of the bucket: folder, hash, tail of the upload's id.
MEDIA_KEY = re.compile(r"\Aimages/[0-9a-f]{2}/([0-9a-f]{64})-[0-9a-f]{12}\.webp\Z")
MAX_OBJECT_BYTES = 32 * 1024 * 1024
CACHE_BYTES = 256 * 1024 * 1024
FRESH_SECONDS = 24 * 3600  # after a day the store is asked again whether the picture still exists


@require_safe
def serve(request: HttpRequest, key: str) -> HttpResponseBase:
    """One picture. 404 for anything else, 503 with Retry-After when it is not cached and the storage is away."""
    match = MEDIA_KEY.match(key)
    if match is None:
        return _not_found(request)
    etag = f'"{match[1]}"'
    try:
        path = _cached(key)
    except storage.ObjectMissing:
        return _not_found(request)
    except ServiceUnavailable as outage:
        response = problem_response(request, "service_unavailable", detail=outage.detail)
        response["Retry-After"] = str(outage.retry_after_seconds)
        return response
    if etag in parse_etags(request.headers.get("If-None-Match", "")):
        answer: HttpResponseBase = HttpResponse(status=304)
    else:
        answer = FileResponse(path.open("rb"), content_type="image/webp")
    answer.headers["ETag"] = etag
    answer.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    answer.headers["Cross-Origin-Resource-Policy"] = "cross-origin"  # the app's web view shows it
    return answer


def _not_found(request: HttpRequest) -> HttpResponse:
    response = problem_response(request, "not_found", detail="There is no such picture.")
    response["Cache-Control"] = "public, max-age=60"
    return response


def cache_directory() -> Path:
    return settings.DATA_DIR / "cache" / "media"


def _cached(key: str) -> Path:
    """The picture's file in the cache, fetched when it is missing. Raises: ObjectMissing, ServiceUnavailable."""
    path = cache_directory() / key.replace("/", "-")
    try:
        age = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        _fetch(key, path)
        return path
    if age > FRESH_SECONDS:
        try:
            if storage.head(key, bucket=storage.PUBLIC) is None:
                path.unlink(missing_ok=True)
                raise storage.ObjectMissing(key)
        except ServiceUnavailable:
            return path
        os.utime(path)
    return path


def _fetch(key: str, path: Path) -> None:
    """Write it beside its place and move it there, so that nobody ever reads half a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    total = 0
    with (
        storage.open_stream(key, bucket=storage.PUBLIC, quick=True) as chunks,
        tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as part,
    ):
        try:
            for chunk in chunks:
                total += len(chunk)
                if total > MAX_OBJECT_BYTES:
                    raise storage.ObjectMissing(key)
                part.write(chunk)
            part.close()
            Path(part.name).replace(path)
        except BaseException:
            Path(part.name).unlink(missing_ok=True)
            raise
    trim_cache(keep=path)


def trim_cache(*, keep: Path | None = None, limit_bytes: int = CACHE_BYTES) -> None:
    """Remove the oldest pictures until the cache fits; other processes may do the same at the same time."""
    files = sorted(_files(), key=lambda item: item[1])
    total = sum(size for _, _, size in files)
    for path, _, size in files:
        if total <= limit_bytes:
            return
        if path != keep:
            path.unlink(missing_ok=True)
            total -= size


def _files() -> Iterator[tuple[Path, float, int]]:
    with os.scandir(cache_directory()) as entries:
        for entry in entries:
            try:
                stat = entry.stat()
            except FileNotFoundError:
                continue
            yield Path(entry.path), stat.st_mtime, stat.st_size
