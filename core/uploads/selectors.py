"""Reading uploads."""

from uuid import UUID

from core.uploads.exceptions import UploadNotFound
from core.uploads.models import Upload


def get_upload(*, owner_id: UUID, upload_id: UUID) -> Upload:
    """One of the owner's uploads. Raises: UploadNotFound (missing, swept, or somebody else's)."""
    upload = Upload.objects.filter(pk=upload_id, owner_id=owner_id).first()
    if upload is None:
        raise UploadNotFound
    return upload
