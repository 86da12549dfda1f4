"""meta/ and uploads/."""

from core.testing.matrix import Call
from core.uploads.tests.factories import UploadFactory, stored_upload
from revsync_backend.tests.recipes import recipe


@recipe("start_upload")
def _(kit, world):
    return Call(
        body={
            "purpose": "CERTIFICATION",
            "name": "registration.pdf",
            "size_bytes": 2048,
            "sha256": "ab" * 32,
            "content_type": "application/pdf",
        }
    )


@recipe("get_upload", "renew_upload")
def _(kit, world):
    return Call(path={"upload": UploadFactory(owner_id=kit.user.pk).pk})


@recipe("complete_upload")
def _(kit, world):
    return Call(path={"upload": stored_upload(content=b"%PDF-1.4", owner_id=kit.user.pk).pk})
