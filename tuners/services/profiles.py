"""The public profile, its suspension and the appeal."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F

from core import audit
from core.exceptions import StaleRevision
from tuners import listeners, policies
from tuners.enums import AppealState, SuspensionReason, TunerStatus
from tuners.exceptions import (
    AppealAlreadyDecided,
    AppealExists,
    AppealNotFound,
    TunerAlreadySuspended,
    TunerNotFound,
    TunerNotSuspended,
    TunerSuspended,
)
from tuners.models import SuspensionAppeal, TunerProfile
from tuners.names import make_key, search_text
from users.enums import NoticeSeverity, NoticeType
from users.models import User
from users.services import notify

EDITABLE_FIELDS = frozenset({"about", "website", "experience", "specialities"})


def change_profile(*, user: User, at: datetime, revision: int | None = None, **changes: Any) -> TunerProfile:
    """Change what a tuner says about themselves; name, kind and country were verified and change through staff only.

    Called by the tuner. Locks the profile. Idempotent.

    Raises: TunerNotFound, TunerSuspended, StaleRevision (`current`).
    """
    if not changes.keys() <= EDITABLE_FIELDS:
        raise TypeError(f"these fields of a profile can't be changed: {sorted(changes.keys() - EDITABLE_FIELDS)}")
    with transaction.atomic():
        profile = TunerProfile.objects.select_for_update(no_key=True).filter(user=user).first()
        if profile is None:
            raise TunerNotFound
        if not profile.is_active:
            raise TunerSuspended
        if revision is not None and revision != profile.revision:
            raise StaleRevision(current=profile.revision)
        if changes:
            _change(profile, updated_at=at, **changes)
    return profile


def set_makes(*, tuner_id: UUID, makes: Iterable[str], aliases: Iterable[str] = ()) -> None:
    """Set which makes a tuner has published for; the marketplace calls it when a version is published or withdrawn.

    `aliases` are further names by which these makes are looked for. Locks the profile. Idempotent.

    Raises: TunerNotFound.
    """
    with transaction.atomic():
        profile = TunerProfile.objects.select_for_update(no_key=True).filter(pk=tuner_id).first()
        if profile is None:
            raise TunerNotFound
        profile.makes = sorted(set(makes))
        profile.make_keys = sorted({make_key(name) for name in [*profile.makes, *aliases]})
        profile.search_text = search_text(profile.business_name, profile.makes)
        profile.save(update_fields=["makes", "make_keys", "search_text"])


def suspend_tuner(*, tuner_id: UUID, actor: User, reason: str, note: str, at: datetime) -> TunerProfile:
    """Stop a tuner: not discoverable, nothing sold, nothing published; they read their own money, cases and this reason.

    `reason` is a SuspensionReason, `note` what the tuner reads. Called by an admin who is not the tuner. Locks the
    profile. Not idempotent. Tells the tuner and every app that listens.

    Raises: TunerNotFound, PermissionRefused, OwnApplication, TunerAlreadySuspended.
    """
    with transaction.atomic():
        profile = _lock(tuner_id, actor)
        if not profile.is_active:
            raise TunerAlreadySuspended
        _change(
            profile,
            status=TunerStatus.SUSPENDED,
            suspension_reason=reason,
            suspension_note=note,
            suspended_at=at,
            updated_at=at,
        )
        listeners.tell_standing(tuner_id=profile.pk, active=False, verified=profile.verified)
        audit.record(act="tuner.suspended", actor_id=actor.pk, subject_id=profile.pk, at=at, reason=note, code=reason)
        notify(
            user_id=profile.user_id,
            type=NoticeType.SUSPENSION,
            title="Your tuner profile is suspended",
            body=f"{profile.get_suspension_reason_display()}: {note} You can appeal once.",
            link={"resource": "tuner", "id": profile.pk},
            severity=NoticeSeverity.WARNING,
            dedupe_key=f"suspended:{profile.pk}:{at.isoformat()}",
            at=at,
        )
    return profile


def reinstate_tuner(*, tuner_id: UUID, actor: User, reason: str, at: datetime) -> TunerProfile:
    """Lift a suspension; an open appeal against it is thereby accepted.

    Called by an admin who is not the tuner. Locks the profile, then the appeal. Not idempotent. Tells the tuner and
    every app that listens.

    Raises: TunerNotFound, PermissionRefused, OwnApplication, TunerNotSuspended.
    """
    with transaction.atomic():
        profile = _lock(tuner_id, actor)
        if profile.is_active or profile.suspension_reason == SuspensionReason.CLOSED:
            raise TunerNotSuspended
        assert profile.suspended_at is not None  # the constraint says so
        SuspensionAppeal.objects.filter(tuner=profile, suspended_at=profile.suspended_at, state=AppealState.OPEN).update(
            state=AppealState.ACCEPTED, decided_at=at, decided_by_id=actor.pk, decision_reason=reason
        )
        _reinstate(profile, actor, reason, at)
    return profile


def appeal_suspension(*, user: User, text: str, at: datetime) -> SuspensionAppeal:
    """Say one's word against the present suspension, once.

    Called by the suspended tuner. Locks the profile. Not idempotent: a second call is refused.

    Raises: TunerNotFound, TunerNotSuspended, AppealExists.
    """
    with transaction.atomic():
        profile = TunerProfile.objects.select_for_update(no_key=True).filter(user=user).first()
        if profile is None:
            raise TunerNotFound
        if profile.is_active or profile.suspension_reason == SuspensionReason.CLOSED:
            raise TunerNotSuspended
        assert profile.suspended_at is not None  # the constraint says so
        try:
            with transaction.atomic():
                appeal = SuspensionAppeal.objects.create(tuner=profile, suspended_at=profile.suspended_at, text=text, created_at=at)
        except IntegrityError as exc:
            raise AppealExists from exc
        audit.record(act="tuner_appeal.made", actor_id=user.pk, subject_id=appeal.pk, at=at, tuner_id=profile.pk)
    return appeal


def decide_appeal(*, appeal_id: UUID, accepted: bool, actor: User, reason: str, at: datetime) -> SuspensionAppeal:
    """Decide an appeal; accepting it lifts the suspension.

    Called by an admin who is not the tuner. Locks the profile, then the appeal. Not idempotent. Tells the tuner.

    Raises: AppealNotFound, PermissionRefused, OwnApplication, AppealAlreadyDecided.
    """
    with transaction.atomic():
        found = SuspensionAppeal.objects.filter(pk=appeal_id).first()
        if found is None:
            raise AppealNotFound
        profile = _lock(found.tuner_id, actor)
        appeal = SuspensionAppeal.objects.select_for_update(no_key=True).get(pk=appeal_id)
        if appeal.state != AppealState.OPEN:
            raise AppealAlreadyDecided
        appeal.state = AppealState.ACCEPTED if accepted else AppealState.REJECTED
        appeal.decided_at, appeal.decided_by_id, appeal.decision_reason = at, actor.pk, reason
        appeal.save(update_fields=["state", "decided_at", "decided_by_id", "decision_reason"])
        audit.record(
            act=f"tuner_appeal.{appeal.state.lower()}",
            actor_id=actor.pk,
            subject_id=appeal.pk,
            at=at,
            reason=reason,
            tuner_id=profile.pk,
        )
        if accepted and profile.suspended_at == appeal.suspended_at:
            _reinstate(profile, actor, reason, at)
        elif not accepted:
            notify(
                user_id=profile.user_id,
                type=NoticeType.SUSPENSION,
                title="Your appeal was rejected",
                body=reason,
                link={"resource": "tuner", "id": profile.pk},
                dedupe_key=f"appeal-rejected:{appeal.pk}",
                at=at,
            )
    return appeal


def _reinstate(profile: TunerProfile, actor: User, reason: str, at: datetime) -> None:
    _change(profile, status=TunerStatus.ACTIVE, suspension_reason="", suspension_note="", suspended_at=None, updated_at=at)
    listeners.tell_standing(tuner_id=profile.pk, active=True, verified=profile.verified)
    audit.record(act="tuner.reinstated", actor_id=actor.pk, subject_id=profile.pk, at=at, reason=reason)
    notify(
        user_id=profile.user_id,
        type=NoticeType.SUSPENSION,
        title="Your tuner profile is active again",
        body=reason,
        link={"resource": "tuner", "id": profile.pk},
        dedupe_key=f"reinstated:{profile.pk}:{at.isoformat()}",
        at=at,
    )


def _lock(tuner_id: UUID, actor: User) -> TunerProfile:
    profile = TunerProfile.objects.select_for_update(no_key=True).filter(pk=tuner_id).first()
    if profile is None:
        raise TunerNotFound
    policies.ensure_may_decide(actor, about=profile.user_id)
    return profile


def _change(profile: TunerProfile, **values: Any) -> None:
    """Write the values and the next revision. The row is locked."""
    for name, value in values.items():
        setattr(profile, name, value)
    profile.revision += 1
    TunerProfile.objects.filter(pk=profile.pk).update(revision=F("revision") + 1, **values)
