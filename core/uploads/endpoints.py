"""The endpoint table of uploads."""

from drf_spectacular.utils import OpenApiExample

from core.endpoints import Endpoint
from core.permissions import Authenticated
from core.uploads import views
from core.uploads.serializers import UploadInput, UploadOutput

PROMISE = {
    "purpose": "TUNE_FILE",
    "name": "mt09-stage1.bin",
    "size_bytes": 1048576,
    "sha256": "5d41402abc4b2a76b9719d911017c592ae2d9a1d6b8e7f0c3a4b5c6d7e8f9a0b",
    "content_type": "application/octet-stream",
}
UPLOAD = {
    "id": "0193a6f2-7c1e-7b3a-9a41-5f0c2d8e6b11",
    **PROMISE,
    "status": "PENDING",
    "reasons": [],
    "upload": {
        "method": "PUT",
        "url": "https://files.example/private/quarantine/6f1c…?X-Amz-Signature=…",
        "headers": {"Content-Type": "application/octet-stream", "Content-Length": "1048576"},
        "expires_at": "2026-06-01T12:15:00Z",
    },
    "url": None,
    "used": False,
    "created_at": "2026-06-01T12:00:00Z",
    "expires_at": "2026-06-02T12:00:00Z",
}
REFUSED = {
    **UPLOAD,
    "status": "REFUSED",
    "upload": None,
    "reasons": [{"code": "sha256_mismatch", "detail": "The file's SHA-256 is not the one that was promised."}],
}


def _answer(name: str, value: dict, status: str) -> OpenApiExample:
    return OpenApiExample(name, value=value, response_only=True, status_codes=[status])


ENDPOINTS = [
    Endpoint(
        "POST",
        "uploads/",
        views.UploadListView,
        "start_upload",
        "Start an upload",
        access=Authenticated,
        request=UploadInput,
        response=UploadOutput,
        status=201,
        limit="uploads_account",
        idempotency="honoured",
        problems=("upload_quota_exceeded", "service_unavailable"),
        examples=(OpenApiExample("A tune file", value=PROMISE, request_only=True), _answer("A link to send it to", UPLOAD, "201")),
    ),
    Endpoint(
        "GET",
        "uploads/<uuid:upload>/",
        views.UploadView,
        "get_upload",
        "Read an upload",
        access=Authenticated,
        scope="owner",
        response=UploadOutput,
        examples=(_answer("Ready", {**UPLOAD, "status": "READY", "upload": None}, "200"), _answer("Refused", REFUSED, "200")),
    ),
    Endpoint(
        "POST",
        "uploads/<uuid:upload>/renew/",
        views.UploadRenewView,
        "renew_upload",
        "Renew an upload's link",
        access=Authenticated,
        scope="owner",
        response=UploadOutput,
        problems=("upload_not_pending", "upload_expired", "service_unavailable"),
        examples=(_answer("A new link", UPLOAD, "200"),),
    ),
    Endpoint(
        "POST",
        "uploads/<uuid:upload>/complete/",
        views.UploadCompleteView,
        "complete_upload",
        "Complete an upload",
        access=Authenticated,
        scope="owner",
        response=UploadOutput,
        status=202,
        problems=("upload_not_received", "upload_expired", "service_unavailable"),
        examples=(_answer("Being checked", {**UPLOAD, "status": "CHECKING", "upload": None}, "202"),),
    ),
]
