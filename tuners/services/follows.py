"""Following a tuner."""

from datetime import datetime
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F, Q

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


def unfollow_all(*, follower_id: UUID) -> None:
    """Count somebody who deletes the account out of all that they follow, in the transaction of that.

    What was deleted is what is counted: somebody who unfollows at the same moment is not counted out twice. Locks the follows, then
    the profiles in the order of their ids, the person's own among them: two tuners who follow each other may leave at once.
    """
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM tuners_tunerfollow WHERE follower_id = %s RETURNING tuner_id", [follower_id])
        followed = [tuner_id for (tuner_id,) in cursor.fetchall()]
    profiles = TunerProfile.objects.filter(Q(pk__in=followed) | Q(user_id=follower_id))
    list(profiles.select_for_update(no_key=True).order_by("pk").values_list("pk"))
    TunerProfile.objects.filter(pk__in=followed).update(follower_count=F("follower_count") - 1)
