"""Uploads for tests: PENDING by default, further states as traits."""

import hashlib
from datetime import timedelta
from uuid import uuid4

import factory

from core import clock, storage
from core.uploads.enums import UploadPurpose, UploadState
from core.uploads.models import Upload


class UploadFactory(factory.django.DjangoModelFactory):
    """A promise that nobody has kept yet; `checking=True`, `ready=True`, `refused=True` and `used=True` go further.

    `content=b"…"` sets size and hash; `stored_upload` puts the object into the store as well.
    """

    class Meta:
        model = Upload
        exclude = ("content",)

    class Params:
        checking = factory.Trait(state=UploadState.CHECKING, completed_at=factory.LazyFunction(clock.now))
        ready = factory.Trait(
            state=UploadState.READY,
            completed_at=factory.LazyFunction(clock.now),
            checked_at=factory.LazyFunction(clock.now),
            storage_key=factory.LazyAttribute(lambda upload: f"uploads/{upload.sha256[:2]}/{upload.sha256}-{uuid4().hex[-12:]}"),
        )
        refused = factory.Trait(
            state=UploadState.REFUSED,
            completed_at=factory.LazyFunction(clock.now),
            checked_at=factory.LazyFunction(clock.now),
            reasons=[{"code": "unreadable", "detail": "This file can't be read."}],
        )
        used = factory.Trait(ready=True, used_at=factory.LazyFunction(clock.now))

    content = factory.LazyFunction(lambda: uuid4().bytes)
    owner_id = factory.LazyFunction(uuid4)
    purpose = UploadPurpose.CERTIFICATION
    name = "certificate.pdf"
    content_type = "application/pdf"
    size_bytes = factory.LazyAttribute(lambda upload: len(upload.content))
    sha256 = factory.LazyAttribute(lambda upload: hashlib.sha256(upload.content).hexdigest())
    storage_key = factory.LazyFunction(lambda: f"quarantine/{uuid4()}")
    created_at = factory.LazyFunction(clock.now)
    expires_at = factory.LazyAttribute(lambda upload: upload.created_at + timedelta(hours=24))


def stored_upload(*, content: bytes, **kwargs) -> Upload:
    """An upload whose bytes lie under its storage key."""
    upload = UploadFactory(content=content, **kwargs)
    storage.put_bytes(upload.storage_key, content, upload.content_type)
    return upload
