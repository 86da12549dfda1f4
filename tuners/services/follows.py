"""Following a tuner."""

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import F

from tuners.exceptions import OwnTuner, TunerNotFound
from tuners.models import TunerFollow, TunerProfile
from users.models import User


def follow_tuner(*, follower: User, tuner_id: UUID, at: datetime) -> TunerFollow:
    """Follow an active tuner. Idempotent: the row's uniqueness decides who counts. Locks the profile while it counts.

    Raises: TunerNotFound (missing or suspended), OwnTuner.
    """
    tuner = TunerProfile.objects.active().filter(pk=tuner_id).first()
    if tuner is None:
        raise TunerNotFound
    if tuner.user_id == follower.pk:
        raise OwnTuner
    with transaction.atomic():
        follow, is_new = TunerFollow.objects.get_or_create(tuner=tuner, follower=follower, defaults={"created_at": at})
        if is_new:
            TunerProfile.objects.filter(pk=tuner_id).update(follower_count=F("follower_count") + 1)
    return follow


def unfollow_tuner(*, follower: User, tuner_id: UUID) -> None:
    """Stop following, also a suspended tuner. Idempotent. Locks the profile while it counts.

    Raises: TunerNotFound.
    """
    if not TunerProfile.objects.filter(pk=tuner_id).exists():
        raise TunerNotFound
    with transaction.atomic():
        removed, _by_model = TunerFollow.objects.filter(tuner_id=tuner_id, follower=follower).delete()
        if removed:
            TunerProfile.objects.filter(pk=tuner_id).update(follower_count=F("follower_count") - 1)
