"""Uploads on the wire."""

from datetime import datetime
from typing import Any

from rest_framework import serializers

from core import storage
from core.renderers import utc_text
from core.serializers import CleanCharField, Input, Output, StrictIntegerField, UtcDateTimeField
from core.uploads.enums import UploadPurpose, UploadState
from core.uploads.models import Upload
from core.uploads.rules import LINK_LIFETIME, RULES


class UploadInput(Input):
    purpose = serializers.ChoiceField(
        choices=UploadPurpose.choices, help_text="What the file is for. It decides the limits and who may use it."
    )
    name = CleanCharField(max_length=200, help_text="The file's name as the person knows it.")
    size_bytes = StrictIntegerField(min_value=1, max_value=2**31 - 1, help_text="Exact size. The link accepts no other.")
    sha256 = serializers.RegexField(r"\A[0-9a-f]{64}\Z", help_text="SHA-256 of the bytes, 64 lower-case hex digits.")
    content_type = serializers.CharField(max_length=100, help_text="The file's media type. The link accepts no other.")


class UploadLinkOutput(Output):
    method = serializers.ChoiceField(choices=[("PUT", "PUT")])
    url = serializers.CharField(help_text="Send the bytes here, with exactly these headers and no Authorization.")
    headers = serializers.DictField(child=serializers.CharField())
    expires_at = UtcDateTimeField(help_text="After this ask `renew/` for a new link.")


class UploadReasonOutput(Output):
    code = serializers.CharField()
    detail = serializers.CharField()


class UploadOutput(Output):
    id = serializers.UUIDField()
    purpose = serializers.ChoiceField(choices=UploadPurpose.choices)
    status = serializers.ChoiceField(choices=UploadState.choices)
    name = serializers.CharField()
    size_bytes = serializers.IntegerField()
    sha256 = serializers.CharField()
    content_type = serializers.CharField()
    reasons = UploadReasonOutput(many=True, help_text="Why it was REFUSED; empty otherwise.")
    upload = UploadLinkOutput(allow_null=True, help_text="Where to send the bytes, while PENDING and freshly started or renewed.")
    url = serializers.CharField(allow_null=True, help_text="Where everybody sees the picture, once READY; null for private files.")
    used = serializers.BooleanField(help_text="Whether a resource has taken the file over.")
    created_at = UtcDateTimeField()
    expires_at = UtcDateTimeField(help_text="Removed after this when nothing uses it.")


def render_upload(upload: Upload, *, at: datetime, with_link: bool = False) -> dict[str, Any]:
    """An upload as its owner sees it; `with_link` signs a link when it still waits for its bytes."""
    link = None
    if with_link and upload.state == UploadState.PENDING and upload.expires_at > at:
        url, headers = storage.presign_put(
            upload.storage_key,
            content_type=upload.content_type,
            size_bytes=upload.size_bytes,
            expires_seconds=int(LINK_LIFETIME.total_seconds()),
        )
        link = {"method": "PUT", "url": url, "headers": headers, "expires_at": utc_text(at + LINK_LIFETIME)}
    is_public = upload.state == UploadState.READY and RULES[UploadPurpose(upload.purpose)].bucket == storage.PUBLIC
    return {
        "id": str(upload.id),
        "purpose": upload.purpose,
        "status": upload.state,
        "name": upload.name,
        "size_bytes": upload.size_bytes,
        "sha256": upload.sha256,
        "content_type": upload.content_type,
        "reasons": upload.reasons,
        "upload": link,
        "url": storage.public_url(upload.storage_key) if is_public else None,
        "used": upload.used_at is not None,
        "created_at": utc_text(upload.created_at),
        "expires_at": utc_text(upload.expires_at),
    }
