"""The stock image that a tuner names beside a tune: only one of their own, so that a comparison tells nobody anything new."""

from uuid import UUID

from core.exceptions import InvalidInput
from core.models import Upload
from core.uploads.enums import UploadPurpose, UploadState
from garage.models import StockFile
from users.models import User


def find_stock_upload(
    author: User, *, stock_upload_id: UUID | None, stock_file_id: UUID | None, pointer: str = ""
) -> Upload | None:
    """The upload of the stock image that somebody names: an own one, or the one behind a stock file of an own vehicle.

    Raises: InvalidInput at `pointer`/stock_upload_id or /stock_file (missing, or somebody else's).
    """
    if stock_file_id is not None:
        kept = StockFile.objects.filter(pk=stock_file_id, vehicle__owner_id=author.pk, vehicle__deleted_at__isnull=True).first()
        if kept is None:
            raise InvalidInput.at(f"{pointer}/stock_file", "unknown_stock_file", "There is no such stock file in your garage.")
        stock_upload_id = kept.upload_id
        found = Upload.objects.filter(pk=stock_upload_id).first()  # who sold the bike uploaded it, perhaps
    elif stock_upload_id is not None:
        found = Upload.objects.filter(
            pk=stock_upload_id, owner_id=author.pk, purpose=UploadPurpose.STOCK_FILE, state=UploadState.READY
        ).first()
    else:
        return None
    if found is None:
        raise InvalidInput.at(f"{pointer}/stock_upload_id", "unknown_upload", "There is no such checked upload of a stock file of yours.")
    return found
