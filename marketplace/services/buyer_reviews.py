"""A verified buyer's review: who bought is known here, the review itself belongs to `tuners`."""

from datetime import datetime
from uuid import UUID

from core.exceptions import InvalidInput
from garage.models import Vehicle
from marketplace.enums import DownloadOutcome, PurchaseStatus
from marketplace.exceptions import VerifiedBuyerRequired
from marketplace.models import Download, Purchase, Tune
from tuners.exceptions import TunerNotFound
from tuners.models import TunerProfile, TunerReview
from tuners.services import post_review
from users.models import User

REVIEWING = (PurchaseStatus.PAID, PurchaseStatus.DISPUTED)


def review_tune(*, author: User, tuner_id: UUID, tune_id: UUID, rating: int, text: str, at: datetime) -> TunerReview:
    """Publish what a buyer says of a tune; tuner and tune count it at once.

    Called by any account; only somebody whose purchase is paid gets through. Locks as `tuners.services.post_review`, then
    the tune. One for each buyer and tune. Raises: TunerNotFound, InvalidInput at /tune, VerifiedBuyerRequired, and what
    `post_review` raises.
    """
    if not TunerProfile.objects.filter(pk=tuner_id).exists():
        raise TunerNotFound
    tune = Tune.objects.filter(pk=tune_id, tuner_id=tuner_id).first()
    if tune is None:
        raise InvalidInput.at("/tune", "unknown_tune", "This tuner has no such tune.")
    purchase = Purchase.objects.bought_by(author).filter(tune_id=tune_id, status__in=REVIEWING).order_by("-paid_at").first()
    if purchase is None and not _is_author(tune, author):
        raise VerifiedBuyerRequired
    version_id = tune.latest_version_id or tune.versions.filter(published_at__isnull=False).values_list("pk", flat=True).first()
    model_id, label = None, ""
    if purchase is not None:
        granted = Download.objects.filter(purchase=purchase, outcome=DownloadOutcome.GRANTED).order_by("-id")
        version_id = granted.values_list("version_id", flat=True).first() or purchase.tune_version_id or version_id
        label = purchase.vehicle_name
        model_id = Vehicle.objects.filter(pk=purchase.vehicle_id).values_list("catalog_model_id", flat=True).first()
    if version_id is None:
        raise VerifiedBuyerRequired  # a draft has nothing that anybody could have bought
    return post_review(
        author=author,
        tuner_id=tuner_id,
        tune_id=tune_id,
        tune_version_id=version_id,
        rating=rating,
        text=text,
        at=at,
        vehicle_model_id=model_id,
        vehicle_label=label,
    )


def _is_author(tune: Tune, user: User) -> bool:
    """Its own tuner is refused by `post_review`, with the words for that."""
    return TunerProfile.objects.filter(pk=tune.tuner_id, user=user).exists()
