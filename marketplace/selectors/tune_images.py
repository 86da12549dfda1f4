"""What the garage asks before it keeps an image as stock."""

from marketplace.models import TuneFile


def is_published_image(image_sha256: str) -> bool:
    """Whether a decoded image was ever published as a tune's. One query.

    Unpublished ones do not count: whoever uploaded a stock image as a draft could else keep every owner of that ECU from
    saving their way back.
    """
    return TuneFile.objects.filter(image_sha256=image_sha256, version__published_at__isnull=False).exists()
