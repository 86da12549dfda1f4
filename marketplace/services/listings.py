"""A tuner's listing: made, edited, archived, deleted."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import ProtectedError

from core import audit
from core.exceptions import InvalidInput, InvalidTransition, StaleRevision
from core.tasks import enqueue
from core.uploads.enums import UploadPurpose
from core.uploads.services import claim_upload
from marketplace.enums import TuneStatus
from marketplace.exceptions import TuneInUse, TuneNotFound
from marketplace.models import Tune
from marketplace.policies import tunes as policies
from tuners.models import TunerProfile
from users.models import User

MAX_IMAGES = 8
EDITABLE_FIELDS = ("title", "description", "kind", "category", "price_minor", "currency", "requirements", "dyno")


def create_tune(*, author: User, facts: Mapping[str, Any], image_upload_ids: Iterable[UUID] = (), at: datetime) -> Tune:
    """Make a draft listing. Called by an active tuner; `facts` are EDITABLE_FIELDS, validated. Locks the uploads it takes.

    Raises: InvalidInput (a price or currency that can't be, an upload that can't be used).
    """
    profile = TunerProfile.objects.get(user=author)
    policies.ensure_price_allowed(profile, facts["price_minor"], facts["currency"])
    with transaction.atomic():
        images = _claim_images([], image_upload_ids, author=author, at=at)
        tune = Tune.objects.create(tuner=profile, images=images, created_at=at, updated_at=at, **facts)
        audit.record(act="tune.created", actor_id=author.pk, subject_id=tune.pk, at=at)
    return tune


def update_tune(
    *,
    author: User,
    tune_id: UUID,
    changes: Mapping[str, Any],
    image_upload_ids: Iterable[UUID] | None = None,
    revision: int | None = None,
    at: datetime,
) -> Tune:
    """Change words, price or pictures of an own listing. `image_upload_ids` is the whole list; ids it has already stay.

    Called by its tuner. Locks the tune. Queues marketplace.tasks.news.tell_of_lower_price. Raises: TuneNotFound, TuneSuspended,
    StaleRevision, InvalidInput.
    """
    with transaction.atomic():
        tune = lock_own_tune(author, tune_id)
        policies.ensure_not_suspended(tune)
        if revision is not None and revision != tune.revision:
            raise StaleRevision(current=tune.revision)
        if changes.keys() & {"price_minor", "currency"}:
            policies.ensure_price_allowed(tune.tuner, changes.get("price_minor", tune.price_minor), changes.get("currency", tune.currency))
        price_before = (tune.price_minor, tune.currency)
        for name in EDITABLE_FIELDS:
            if name in changes:
                setattr(tune, name, changes[name])
        fields = [name for name in EDITABLE_FIELDS if name in changes]
        if image_upload_ids is not None:
            tune.images = _claim_images(tune.images, image_upload_ids, author=author, at=at)
            fields.append("images")
        if fields:
            tune.revision, tune.updated_at = tune.revision + 1, at
            tune.save(update_fields=[*fields, "revision", "updated_at"])
        if price_before != (tune.price_minor, tune.currency):
            audit.record(
                act="tune.price_changed",
                actor_id=author.pk,
                subject_id=tune.pk,
                at=at,
                price_minor=tune.price_minor,
                currency=tune.currency,
                price_minor_before=price_before[0],
                currency_before=price_before[1],
            )
            if tune.currency == price_before[1] and tune.price_minor < price_before[0]:
                enqueue("marketplace.tasks.news.tell_of_lower_price", tune_id=tune.pk)
    return tune


def archive_tune(*, author: User, tune_id: UUID, at: datetime) -> Tune:
    """Take an own published tune off the lists; who owns it keeps it. Locks the tune.

    Raises: TuneNotFound, TuneSuspended, InvalidTransition (not PUBLISHED).
    """
    return _move(author, tune_id, source=TuneStatus.PUBLISHED, target=TuneStatus.ARCHIVED, act="tune.archived", at=at)


def unarchive_tune(*, author: User, tune_id: UUID, at: datetime) -> Tune:
    """Put an own archived tune back on the lists. Locks the tune.

    Raises: TuneNotFound, TuneSuspended, InvalidTransition (not ARCHIVED).
    """
    return _move(author, tune_id, source=TuneStatus.ARCHIVED, target=TuneStatus.PUBLISHED, act="tune.unarchived", at=at)


def delete_tune(*, author: User, tune_id: UUID, at: datetime) -> None:
    """Delete an own tune that nobody ever bought and staff never stopped, with its versions.

    Called by its tuner. Locks the tune, which a purchase's foreign key waits for. Raises: TuneNotFound, TuneSuspended,
    TuneInUse.
    """
    with transaction.atomic():
        tune = lock_own_tune(author, tune_id, no_key=False)
        policies.ensure_not_suspended(tune)
        with connection.cursor() as cursor:  # the triggers that keep reviewed bytes let this tune's go, in this transaction
            cursor.execute("SELECT set_config('revsync.deleted_tune', %s, true)", [str(tune.pk)])
        Tune.objects.filter(pk=tune.pk).update(listed=False, latest_version=None)
        try:
            tune.delete()
        except ProtectedError as exc:
            raise TuneInUse from exc
        audit.record(act="tune.deleted", actor_id=author.pk, subject_id=tune_id, at=at)


def lock_own_tune(author: User, tune_id: UUID, *, no_key: bool = True) -> Tune:
    """The author's tune, locked, with its profile. Raises: TuneNotFound (missing, or somebody else's)."""
    tune = (
        Tune.objects.of_tuner_user(author).select_for_update(no_key=no_key, of=("self",)).select_related("tuner").filter(pk=tune_id).first()
    )
    if tune is None:
        raise TuneNotFound
    return tune


def _move(author: User, tune_id: UUID, *, source: str, target: str, act: str, at: datetime) -> Tune:
    with transaction.atomic():
        tune = lock_own_tune(author, tune_id)
        policies.ensure_not_suspended(tune)
        if tune.status != source:
            raise InvalidTransition(state=tune.status)
        tune.status, tune.updated_at = target, at
        tune.archived_at = at if target == TuneStatus.ARCHIVED else None
        tune.revision += 1
        tune.save(update_fields=["status", "archived_at", "updated_at", "revision"])
        audit.record(act=act, actor_id=author.pk, subject_id=tune.pk, at=at)
    return tune


def _claim_images(present: list[dict], upload_ids: Iterable[UUID], *, author: User, at: datetime) -> list[dict]:
    kept = {image["upload_id"]: image for image in present}
    images: list[dict] = []
    for position, upload_id in enumerate(upload_ids):
        if str(upload_id) in {image["upload_id"] for image in images}:
            raise InvalidInput.at(f"/image_upload_ids/{position}", "repeated", "This picture is given twice.")
        if str(upload_id) in kept:
            images.append(kept[str(upload_id)])
            continue
        pointer = f"/image_upload_ids/{position}"
        upload = claim_upload(upload_id=upload_id, owner_id=author.pk, purpose=UploadPurpose.TUNE_IMAGE, at=at, pointer=pointer)
        images.append(
            {
                "upload_id": str(upload.pk),
                "key": upload.storage_key,
                "width": upload.details.get("width"),
                "height": upload.details.get("height"),
            }
        )
    return images
