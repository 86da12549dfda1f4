"""What staff may do with a listing as a whole."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from core import audit
from core.exceptions import InvalidTransition
from marketplace.enums import TuneStatus
from marketplace.exceptions import TuneNotFound
from marketplace.models import Tune
from marketplace.policies import tunes as policies
from users.enums import NoticeType
from users.models import User
from users.services import notify

SUSPENSION_FIELDS = ["suspended_from", "status", "suspended_at", "suspension_reason", "suspension_note", "updated_at", "revision"]


def suspend_tune(*, tune_id: UUID, actor: User, reason_code: str, note: str, at: datetime) -> Tune:
    """Take a tune off the lists and off sale by staff. Who owns it keeps it: stopping a version is a hold or a recall.

    Called by an admin who is not its author. Locks the tune. Tells its tuner. Raises: TuneNotFound, PermissionRefused,
    OwnVersion, InvalidTransition (suspended already).
    """
    with transaction.atomic():
        tune = _lock(tune_id)
        policies.ensure_may_review(actor, tune)
        if tune.status == TuneStatus.SUSPENDED:
            raise InvalidTransition("The tune is suspended already.", state=tune.status)
        tune.suspended_from, tune.status, tune.suspended_at = tune.status, TuneStatus.SUSPENDED, at
        tune.suspension_reason, tune.suspension_note = reason_code, note
        tune.updated_at, tune.revision = at, tune.revision + 1
        tune.save(update_fields=SUSPENSION_FIELDS)
        audit.record(act="tune.suspended", actor_id=actor.pk, subject_id=tune.pk, at=at, reason=note, reason_code=reason_code)
        _tell(tune, title=f"“{tune.title}” was suspended", body=note or tune.get_suspension_reason_display(), at=at)
    return tune


def unsuspend_tune(*, tune_id: UUID, actor: User, note: str, at: datetime) -> Tune:
    """Lift a suspension; the tune returns to the state it had.

    Called by an admin who is not its author. Locks the tune. Tells its tuner. Raises: TuneNotFound, PermissionRefused,
    OwnVersion, InvalidTransition (not suspended).
    """
    with transaction.atomic():
        tune = _lock(tune_id)
        policies.ensure_may_review(actor, tune)
        if tune.status != TuneStatus.SUSPENDED:
            raise InvalidTransition("The tune is not suspended.", state=tune.status)
        tune.status, tune.suspended_from, tune.suspended_at = tune.suspended_from, "", None
        tune.suspension_reason, tune.suspension_note = "", ""
        tune.updated_at, tune.revision = at, tune.revision + 1
        tune.save(update_fields=SUSPENSION_FIELDS)
        audit.record(act="tune.unsuspended", actor_id=actor.pk, subject_id=tune.pk, at=at, reason=note)
        _tell(tune, title=f"“{tune.title}” is no longer suspended", body=note, at=at)
    return tune


def _lock(tune_id: UUID) -> Tune:
    tune = Tune.objects.select_for_update(no_key=True, of=("self",)).select_related("tuner").filter(pk=tune_id).first()
    if tune is None:
        raise TuneNotFound
    return tune


def _tell(tune: Tune, *, title: str, body: str, at: datetime) -> None:
    notify(
        user_id=tune.tuner.user_id, type=NoticeType.SUSPENSION, title=title, body=body, link={"resource": "tune", "id": tune.pk}, at=at
    )
