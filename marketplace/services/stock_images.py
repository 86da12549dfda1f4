"""The stock image that a tuner names beside a tune: only one of their own, so that a comparison tells nobody anything new."""

from uuid import UUID

from core.exceptions import InvalidInput
from core.models import Upload
from core.uploads.enums import UploadPurpose, UploadState
from garage.models import StockFile
from users.models import User


def find_stock_upload(author: User, stock_image_id: UUID | None, *, pointer: str) -> Upload | None:
    """The upload behind the stock image that somebody names: an own one, or that of a stock file of an own vehicle.

    Whoever sold the bike may have uploaded it: its present owner has it all the same. Two queries.
    Raises: InvalidInput at `pointer` (missing, or somebody else's).
    """
    if stock_image_id is None:
        return None
    kept = StockFile.objects.filter(pk=stock_image_id, vehicle__owner_id=author.pk, vehicle__deleted_at__isnull=True)
    upload_id = kept.values_list("upload_id", flat=True).first()
    if upload_id is not None:
        found = Upload.objects.filter(pk=upload_id).first()
    else:
        found = Upload.objects.filter(
            pk=stock_image_id, owner_id=author.pk, purpose=UploadPurpose.STOCK_FILE, state=UploadState.READY
        ).first()
    if found is None:
        raise InvalidInput.at(pointer, "unknown_stock_image", "There is no such stock image of yours.")
    return found
