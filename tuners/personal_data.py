"""What this app holds about a person: as an applicant, as a tuner, as a reviewer, as a follower."""

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from tuners import listeners
from tuners.enums import ReviewAppealState, ReviewState, SuspensionReason, TunerStatus
from tuners.models import ReviewAppeal, TunerCertification, TunerFollow, TunerProfile, TunerReview, TunerReviewEdit
from tuners.names import name_key, search_text
from tuners.services.follows import unfollow_all
from users.models import Notice
from users.privacy import BOOKS_ARE_KEPT_FOR, AtDeletion, Excuse, Holding, Provider, StoredFile

CLOSED_NAME = "Former tuner"


def _stats(user_id: UUID) -> dict[str, int]:
    return {
        "reviews": TunerReview.objects.filter(buyer_id=user_id, state=ReviewState.PUBLISHED).count(),
        "followed_tuners": TunerFollow.objects.filter(follower_id=user_id).count(),
    }


def _files(user_id: UUID) -> Iterator[StoredFile]:
    for row in TunerCertification.objects.filter(owner_id=user_id).order_by("pk"):
        yield StoredFile("certifications", str(row.pk), row.file_name, row.storage_key)


def _needed_keys(keys: set[str]) -> set[str]:
    return set(TunerCertification.objects.filter(storage_key__in=keys).values_list("storage_key", flat=True))


def _prepare(user_id: UUID, *, at: datetime) -> None:
    """Count the person out of what they follow, take their words as a tuner back, and close the profile for good."""
    unfollow_all(follower_id=user_id)
    TunerReviewEdit.objects.filter(review__buyer_id=user_id).delete()
    ReviewAppeal.objects.filter(appellant_id=user_id, state=ReviewAppealState.OPEN).update(state=ReviewAppealState.MOOT, decided_at=at)
    profile = TunerProfile.objects.select_for_update(no_key=True).filter(user_id=user_id).first()
    if profile is None:
        return
    replied = TunerReview.objects.filter(tuner=profile).exclude(reply="")
    Notice.objects.filter(dedupe_key__in=[f"review-reply:{pk}" for pk in replied.values_list("pk", flat=True)]).delete()  # who replied
    replied.update(reply="", replied_at=None)
    if profile.suspension_reason != SuspensionReason.CLOSED:
        TunerProfile.objects.filter(pk=profile.pk).update(
            status=TunerStatus.SUSPENDED, suspension_reason=SuspensionReason.CLOSED, suspended_at=at, verified=False, verified_at=None,
        )  # fmt: skip
        TunerFollow.objects.filter(tuner=profile).delete()
    listeners.tell_standing(tuner_id=profile.pk, active=False, verified=False)


PROVIDER = Provider(
    name="tuners",
    stats=_stats,
    files=_files,
    needed_keys=_needed_keys,
    prepare=_prepare,
    holdings=(
        Holding(
            "tuners.TunerCertification", of="owner_id", section="certifications", why="Documents that vouch for a tuner.",
            at_deletion=AtDeletion.DELETED, withheld="storage_key judged_by_id",
        ),
        Holding(
            "tuners.TunerApplication", of="applicant_id", section="tuner_application", why="Who may publish is decided by it.",
            at_deletion=AtDeletion.DELETED, withheld="decided_by_id",
        ),
        Holding(
            "tuners.TunerFollow", of="follower_id", section="follows", why="Whose news the person wants.", at_deletion=AtDeletion.DELETED,
        ),
        Holding(
            "tuners.TunerFollow", of="tuner__user_id", section="followers", why="Who wants a tuner's news.",
            at_deletion=AtDeletion.DELETED, withheld="follower",
        ),
        Holding(
            "tuners.ReviewReport", of="reporter_id", section="review_reports", why="Somebody's word that a review breaks the rules.",
            at_deletion=AtDeletion.BLANKED, blank={"text": ""}, stays="reporter review decided_by_id decision_reason",
            because="staff's decision must stay explicable", until=BOOKS_ARE_KEPT_FOR, withheld="decided_by_id",
        ),
        Holding(
            "tuners.TunerReview", of="buyer_id", section="reviews", why="What a verified buyer says of a tune.",
            at_deletion=AtDeletion.BLANKED, blank={"hidden_reason": ""},
            stays="buyer tuner tune_id tune_version_id vehicle_model_id vehicle_label hardware_number text reply",
            because='the rating and its text stay for other riders, under the name "Deleted rider"', ends="the tune goes",
        ),
        Holding(
            "tuners.ReviewAppeal", of="appellant_id", section="review_appeals", why="Somebody's word against a decision about a review.",
            at_deletion=AtDeletion.BLANKED, blank={"text": ""}, stays="appellant review report decided_by_id decision_reason",
            because="staff's decision must stay explicable", until=BOOKS_ARE_KEPT_FOR, withheld="decided_by_id",
        ),
        Holding(
            "tuners.TunerReviewEdit", of="review__buyer_id", section="review_edits", why="What a review said before, for staff.",
            at_deletion=AtDeletion.DELETED,
        ),
        Holding(
            "tuners.SuspensionAppeal", of="tuner__user_id", section="appeals", why="A suspended tuner's word against it.",
            at_deletion=AtDeletion.BLANKED, blank={"text": "", "decision_reason": ""}, stays="tuner decided_by_id",
            because="that and when it was decided belongs to the profile's history", until=BOOKS_ARE_KEPT_FOR, withheld="decided_by_id",
        ),
        Holding(
            "tuners.TunerProfile", of="user_id", section="tuner_profile", why="Who sells: riders must be able to judge.",
            at_deletion=AtDeletion.BLANKED,
            blank={
                "business_name": CLOSED_NAME, "website": "", "about": "", "experience": "", "specialities": [], "makes": [],
                "make_keys": [], "name_key": name_key(CLOSED_NAME), "search_text": search_text(CLOSED_NAME, []), "suspension_note": "",
            },
            stays="user country",
            because="sold tunes and the books point to the row; the country is the one that sales were taxed by", until=BOOKS_ARE_KEPT_FOR,
            withheld="document",
        ),
    ),
    excuses=(
        Excuse("tuners.TunerProfile", "document", "Words of the profile's other columns, which the row derives from them by itself."),
        Excuse("tuners.TunerWord", "*", "Single words of active tuners' names and makes; gone when the profile is closed."),
    ),
)  # fmt: skip
