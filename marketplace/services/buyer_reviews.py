"""A verified buyer's review: who bought, on which bike, and who got the money back is known here, the review itself belongs to
`tuners`."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q

from core.exceptions import InvalidInput
from garage.models import EcuReadout, Vehicle
from marketplace.enums import DownloadOutcome, PurchaseStatus
from marketplace.exceptions import VerifiedBuyerRequired
from marketplace.models import Download, FlashTicket, GrantedPurchase, Purchase, Tune
from marketplace.selectors.fitment import ecu_code
from marketplace.services.locks import hold_people
from tuners.enums import ReviewState
from tuners.exceptions import TunerNotFound
from tuners.models import TunerProfile, TunerReview
from tuners.services import mark_refund, post_review
from users.models import User

STANDS = Q(status=PurchaseStatus.PAID) | Q(status=PurchaseStatus.DISPUTED, disputed_from=PurchaseStatus.PAID)

# A rider's bike that the catalogue did not list when they wrote: the model was added since.
_LISTED_SINCE = """
UPDATE tuners_tunerreview review SET vehicle_model_id = bike.catalog_model_id
  FROM marketplace_purchase bought JOIN garage_vehicle bike ON bike.id = bought.vehicle_id AND bike.catalog_model_id IS NOT NULL
 WHERE review.vehicle_model_id IS NULL AND review.state <> 'DELETED' AND bought.paid_at IS NOT NULL
   AND bought.buyer_id = review.buyer_id AND bought.tune_id = review.tune_id AND bike.year = review.vehicle_year
"""


def review_tune(*, author: User, tuner_id: UUID, tune_id: UUID, rating: int, text: str, at: datetime) -> TunerReview:
    """Publish what a buyer says of a tune; tuner and tune count it at once.

    Called by any account; only somebody whose purchase stands gets through: who got the money back, by refund or by bank,
    does not. Holds buyer and tuner, locks the purchase, so that a refund at the same moment either refuses the review or
    marks it; then as `tuners.services.post_review`, then the tune. One for each buyer and tune.

    Raises: TunerNotFound, InvalidInput at /tune, VerifiedBuyerRequired, and what `post_review` raises.
    """
    if not TunerProfile.objects.filter(pk=tuner_id).exists():
        raise TunerNotFound
    tune = Tune.objects.filter(pk=tune_id, tuner_id=tuner_id).first()
    if tune is None:
        raise InvalidInput.at("/tune", "unknown_tune", "This tuner has no such tune.")
    with transaction.atomic():
        purchase = _lock_standing_purchase(author, tune_id)
        if purchase is None and not _is_author(tune, author):
            raise VerifiedBuyerRequired
        version_id = _version_of(purchase) or tune.latest_version_id
        version_id = version_id or tune.versions.filter(published_at__isnull=False).values_list("pk", flat=True).first()
        if version_id is None:
            raise VerifiedBuyerRequired  # a draft has nothing that anybody could have bought
        bike = _bike_of(purchase) if purchase else Bike()
        return post_review(
            author=author,
            tuner_id=tuner_id,
            tune_id=tune_id,
            tune_version_id=version_id,
            rating=rating,
            text=text,
            at=at,
            vehicle_model_id=bike.model_id,
            vehicle_year=bike.year,
            vehicle_label=bike.label,
            hardware_number=bike.hardware_number,
        )


def follow_purchase(purchase: Purchase, *, at: datetime) -> None:
    """Bring a buyer's review to what became of their purchases of the tune: marked as refunded when none stands any more, and
    then counted only if the tune was ever downloaded.

    Called with the purchase locked, whenever its money came or went. Locks the review before it looks, so that of two
    purchases that end at once the second one sees both. Idempotent; a refund that fails later changes nothing: it is owed.
    """
    review = TunerReview.objects.exclude(state=ReviewState.DELETED).filter(buyer_id=purchase.buyer_id, tune_id=purchase.tune_id)
    if review.select_for_update(no_key=True).first() is None:
        return
    bought = Purchase.objects.ever_paid().filter(buyer_id=purchase.buyer_id, tune_id=purchase.tune_id)
    stands = bought.filter(STANDS).exists()
    was_granted = stands or GrantedPurchase.objects.filter(purchase__in=bought).exists()
    mark_refund(buyer_id=purchase.buyer_id, tune_id=purchase.tune_id, is_refunded=not stands, is_counted=was_granted, at=at)


def adopt_listed_models() -> int:
    """Give reviews of bikes that were not in the catalogue the model that it has by now. Called by the schedule; how many."""
    with connection.cursor() as cursor:
        cursor.execute(_LISTED_SINCE)
        return cursor.rowcount


@dataclass(frozen=True)
class Bike:
    """What a review says of the bike; the hardware number is kept for figures and never shown."""

    model_id: UUID | None = None
    year: int | None = None
    label: str = ""
    hardware_number: str = ""


def _lock_standing_purchase(author: User, tune_id: UUID) -> Purchase | None:
    standing = Purchase.objects.bought_by(author).filter(STANDS, tune_id=tune_id).order_by("-paid_at")
    purchase_id = standing.values_list("pk", flat=True).first()
    if purchase_id is None:
        return None
    hold_people(purchase_id)
    return standing.select_for_update(no_key=True).filter(pk=purchase_id).first()


def _version_of(purchase: Purchase | None) -> UUID | None:
    """The version that was downloaded last, else the one that was bought."""
    if purchase is None:
        return None
    granted = Download.objects.filter(purchase=purchase, outcome=DownloadOutcome.GRANTED).order_by("-id")
    return granted.values_list("version_id", flat=True).first() or purchase.tune_version_id


def _bike_of(purchase: Purchase) -> Bike:
    """The bike that the last flash ticket was for, with its read-out; before one, the bike that the tune was bought for."""
    ticket = FlashTicket.objects.filter(purchase=purchase).order_by("-issued_at").values_list("vehicle_id", "readout_id").first()
    vehicle_id, readout_id = ticket or (purchase.vehicle_id, None)
    vehicle = Vehicle.objects.filter(pk=vehicle_id).first()
    if vehicle is None:
        return Bike(label=purchase.vehicle_name)
    if readout_id is None and vehicle.owner_id == purchase.buyer_id:  # what the next owner reads is theirs
        readout_id = vehicle.ecu_id
    readout = EcuReadout.objects.filter(pk=readout_id).first() if readout_id else None
    label = purchase.vehicle_name if vehicle_id == purchase.vehicle_id else f"{vehicle.make} {vehicle.model} {vehicle.year}"
    return Bike(vehicle.catalog_model_id, vehicle.year, label, ecu_code(readout.hardware_number if readout else None) or "")


def _is_author(tune: Tune, user: User) -> bool:
    """Its own tuner is refused by `post_review`, with the words for that."""
    return TunerProfile.objects.filter(pk=tune.tuner_id, user=user).exists()
