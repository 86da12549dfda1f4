"""Holds and recalls: stopping a version at once, and letting it go again.

Every stop commits with its status document and its notices queued, so no grant given after the commit misses it: a grant
locks the version's row and reads its state again. Tune first, version second: the order in which everybody locks.
"""

import json
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, Max, OuterRef

from core import audit, signing
from core.exceptions import InvalidInput
from core.tasks import enqueue
from garage.models import Vehicle
from marketplace.enums import StopKind, StopSeverity, StopSource, VersionStatus
from marketplace.exceptions import (
    FloorNotHigher,
    SecondPersonRequired,
    StopNotFound,
    StopNotOpen,
    VersionIllegalMove,
    VersionNotFound,
)
from marketplace.models import CounterFloor, Download, Flash, StopAcknowledgement, TuneVersion, VersionStop
from marketplace.policies import trust as policies
from marketplace.policies import tunes as tune_policies
from marketplace.selectors import stops as selectors
from marketplace.services.versions import lock_own_version, lock_version
from users.enums import NoticeSeverity, NoticeType, Role
from users.models import User
from users.services import notify

SINGLE_OPERATOR_DELAY = timedelta(hours=24)
STOPPABLE = (VersionStatus.PUBLISHED, VersionStatus.ON_HOLD, VersionStatus.WITHDRAWN)  # what owners get, or might again
WORDS = {
    StopKind.HOLD: ("on hold", "was put on hold"),
    StopKind.RECALL: ("recalled", "was recalled"),
}


def hold_own_version(*, author: User, version_id: UUID, reason: str, at: datetime) -> TuneVersion:
    """Stop new grants and tickets of an own published version at once. Called by its tuner, suspended or not.

    Locks tune and version. Queues the status document and the notices. Raises: VersionNotFound, VersionIllegalMove.
    """
    with transaction.atomic():
        version = lock_own_version(author, version_id)
        _hold(version, source=StopSource.AUTHOR, actor=author, severity=StopSeverity.STOP_FLASH, reason=reason, at=at)
    return version


def hold_version(*, actor: User, version_id: UUID, reason: str, severity: str = StopSeverity.STOP_FLASH, at: datetime) -> TuneVersion:
    """The same by staff. Raises: VersionNotFound, PermissionRefused, VersionIllegalMove."""
    with transaction.atomic():
        version = _lock(version_id)
        policies.ensure_is_staff(actor)
        _hold(version, source=StopSource.STAFF, actor=actor, severity=severity, reason=reason, at=at)
    return version


def hold_version_by_system(*, version_id: UUID, reason: str, severity: str = StopSeverity.STOP_FLASH, at: datetime) -> bool:
    """The same by the system; whether this call did it. A version that is stopped or gone already is left alone."""
    with transaction.atomic():
        try:
            version = _lock(version_id)
        except VersionNotFound:
            return False
        if version.status != VersionStatus.PUBLISHED:
            return False
        _hold(version, source=StopSource.SYSTEM, actor=None, severity=severity, reason=reason, at=at)
    return True


def recall_version(
    *, actor: User, version_id: UUID, severity: str, reason: str, replacement_id: UUID | None = None, at: datetime
) -> VersionStop:
    """Stop a published or held version for good, by staff. A hold becomes the recall.

    Locks tune and version. `replacement_id` is a published version of the same tune. Queues the status document and the
    notices. Raises: VersionNotFound, PermissionRefused, VersionIllegalMove, InvalidInput at /replacement.
    """
    with transaction.atomic():
        version = _lock(version_id)
        policies.ensure_is_staff(actor)
        tune_policies.ensure_may_move(version, VersionStatus.RECALLED)
        if replacement_id is not None:
            replaces = TuneVersion.objects.filter(pk=replacement_id, tune_id=version.tune_id, status=VersionStatus.PUBLISHED)
            if replacement_id == version.pk or not replaces.exists():
                raise InvalidInput.at("/replacement", "not_published", "The replacement is another published version of the same tune.")
        VersionStop.objects.filter(version=version, lifted_at=None, recalled_at=None).update(recalled_at=at)
        return _stop(
            version,
            kind=StopKind.RECALL,
            source=StopSource.STAFF,
            actor=actor,
            severity=severity,
            reason=reason,
            replacement_id=replacement_id,
            at=at,
        )


def raise_counter_floor(*, actor: User, version_id: UUID, severity: str, reason: str, at: datetime) -> CounterFloor:
    """From now on no release of the tune that is older than this published version is flashed, wherever somebody kept it.

    Called by staff. For good: a floor never sinks, so what is below it can't be un-recalled. Every older version that
    owners still get is recalled with this one as its replacement, so that the server says the same as the phones. Locks
    the tune, then its versions. Queues the status document and the notices.

    Raises: VersionNotFound, PermissionRefused, VersionIllegalMove (it is not published), FloorNotHigher.
    """
    with transaction.atomic():
        version = _lock(version_id)
        policies.ensure_is_staff(actor)
        if version.status != VersionStatus.PUBLISHED or version.release_counter is None:
            raise VersionIllegalMove(state=version.status)
        if version.release_counter <= max(1, _floor_of(version.tune_id)):
            raise FloorNotHigher
        floor = CounterFloor.objects.create(tune_id=version.tune_id, least_counter=version.release_counter, since=at)
        older = TuneVersion.objects.select_for_update(no_key=True).filter(
            tune_id=version.tune_id, release_counter__lt=version.release_counter, status__in=STOPPABLE
        )
        for each in older.order_by("release_counter"):
            each.tune = version.tune
            VersionStop.objects.filter(version=each, lifted_at=None, recalled_at=None).update(recalled_at=at)
            _stop(
                each,
                kind=StopKind.RECALL,
                source=StopSource.STAFF,
                actor=actor,
                severity=severity,
                reason=reason,
                replacement_id=version.pk,
                at=at,
            )
        audit.record(
            act="tune.floor_raised",
            actor_id=actor.pk,
            subject_id=version.tune_id,
            at=at,
            reason=reason,
            version_id=version.pk,
            least_counter=version.release_counter,
        )
        enqueue("marketplace.tasks.trust.publish_status", priority=90)
    return floor


def release_hold(*, actor: User, version_id: UUID, reason: str, approval: str = "", at: datetime) -> VersionStop:
    """Publish a held version again: one admin, never its author. `approval` is what a reviewer's own key said of
    `lift_drafts`, where the signer asks for it.

    Signs the lifting first, then locks tune and version. Queues the status document. Raises: VersionNotFound,
    PermissionRefused, OwnVersion, StopNotOpen, InvalidInput at /approval, SigningNotReady, ServiceUnavailable("signing").
    """
    stop = _find_open(version_id, StopKind.HOLD)
    tune_policies.ensure_may_review(actor, stop.version.tune)
    envelope = _sign_lift(stop, approval=approval, at=at)
    with transaction.atomic():
        version, stop = _lock_open(version_id, stop)
        _lift(version, stop, actor=actor, reason=reason, envelope=envelope, single_operator=False, at=at)
    return stop


def propose_unrecall(*, actor: User, version_id: UUID, reason: str, at: datetime) -> VersionStop:
    """The first of two people who lift a recall says why; a later proposal replaces it.

    Called by an admin who is not the author. Locks tune and version. Raises: VersionNotFound, PermissionRefused,
    OwnVersion, StopNotOpen.
    """
    stop = _find_open(version_id, StopKind.RECALL)
    tune_policies.ensure_may_review(actor, stop.version.tune)
    with transaction.atomic():
        _, stop = _lock_open(version_id, stop)
        stop.lift_proposed_by, stop.lift_proposed_at, stop.lift_reason = actor, at, reason
        stop.save(update_fields=["lift_proposed_by", "lift_proposed_at", "lift_reason"])
        audit.record(act="tune_version.unrecall_proposed", actor_id=actor.pk, subject_id=version_id, at=at, reason=reason, stop_id=stop.pk)
    return stop


def unrecall_version(
    *, actor: User, version_id: UUID, mfa_fresh: bool, at: datetime, reason: str = "", approval: str = ""
) -> VersionStop:
    """The second of two people lifts a recall that another one proposed to lift; the version is PUBLISHED again.

    With fewer than two active admins the one who proposed may do it alone, 24 hours later and with fresh MFA: recorded
    as `single_operator`. `approval` as for `release_hold`. Signs the lifting first, then locks tune and version. Queues the
    status document.

    Raises: VersionNotFound, PermissionRefused, OwnVersion, StopNotOpen (also without a proposal), SecondPersonRequired,
    SigningNotReady, ServiceUnavailable("signing").
    """
    stop = _find_open(version_id, StopKind.RECALL)
    tune_policies.ensure_may_review(actor, stop.version.tune)
    envelope = _sign_lift(stop, approval=approval, at=at)
    with transaction.atomic():
        version, stop = _lock_open(version_id, stop)
        if stop.lift_proposed_by_id is None or stop.lift_proposed_at is None:
            raise StopNotOpen("Nobody has proposed to lift this recall yet.")
        alone = stop.lift_proposed_by_id == actor.pk
        if alone:
            possible_at = stop.lift_proposed_at + SINGLE_OPERATOR_DELAY
            if User.objects.filter(role=Role.ADMIN, is_active=True).count() >= 2:
                raise SecondPersonRequired(possible_at=None)
            if at < possible_at or not mfa_fresh:
                raise SecondPersonRequired(
                    "Wait a day after proposing, and confirm your second factor: you are the only admin.", possible_at=possible_at
                )
        _lift(version, stop, actor=actor, reason=reason or stop.lift_reason, envelope=envelope, single_operator=alone, at=at)
    return stop


def acknowledge_stop(*, rider: User, stop_id: UUID, at: datetime) -> StopAcknowledgement:
    """Note that a rider who downloaded or flashed the version, or has it on a vehicle, has read its stop. Idempotent.

    Raises: StopNotFound.
    """
    # one query: a stop of a version that the rider never had takes no longer to miss than one that does not exist
    downloaded = Exists(Download.objects.filter(version_id=OuterRef("version_id"), buyer=rider, outcome="GRANTED"))
    flashed = Exists(Flash.objects.filter(version_id=OuterRef("version_id"), reporter=rider))
    installed = Exists(Vehicle.objects.present().filter(owner=rider, installed_tune_version_id=OuterRef("version_id")))
    stop = VersionStop.objects.filter(downloaded | flashed | installed, pk=stop_id).first()
    if stop is None:
        raise StopNotFound
    StopAcknowledgement.objects.bulk_create([StopAcknowledgement(stop=stop, user=rider, acknowledged_at=at)], ignore_conflicts=True)
    return StopAcknowledgement.objects.select_related("stop").get(stop=stop, user=rider)


def tell_stop(*, stop_id: UUID, at: datetime) -> int:
    """Tell everyone who downloaded or flashed the version or has it on a vehicle, and its tuner; returns how many.

    Each is told once, however often this runs. Called by the worker.
    """
    stop = VersionStop.objects.select_related("version__tune__tuner").get(pk=stop_id)
    version = stop.version
    people = {*selectors.list_holders(version.pk).values_list("pk", flat=True), version.tune.tuner.user_id}
    _, happened = WORDS[StopKind(stop.kind)]
    for user_id in sorted(people):
        notify(
            user_id=user_id,
            type=NoticeType.RECALL if stop.kind == StopKind.RECALL else NoticeType.HOLD,
            severity=NoticeSeverity(stop.severity),
            title=f"{version.tune.title} {version.version} {happened}"[:160],
            body=f"{stop.reason}\n\n{StopSeverity(stop.severity).label}.",
            link={"resource": "tune_version", "id": version.pk},
            dedupe_key=selectors.dedupe_key_of(stop.pk),
            at=at,
        )
    VersionStop.objects.filter(pk=stop.pk, told_at=None).update(told_at=at)
    return len(people)


def _lock(version_id: UUID) -> TuneVersion:
    tune_id = TuneVersion.objects.filter(pk=version_id).values_list("tune_id", flat=True).first()
    if tune_id is None:
        raise VersionNotFound
    return lock_version(version_id=version_id, tune_id=tune_id)


def _hold(version: TuneVersion, *, source: StopSource, actor: User | None, severity: str, reason: str, at: datetime) -> VersionStop:
    tune_policies.ensure_may_move(version, VersionStatus.ON_HOLD)
    return _stop(version, kind=StopKind.HOLD, source=source, actor=actor, severity=severity, reason=reason, replacement_id=None, at=at)


def _stop(
    version: TuneVersion,
    *,
    kind: StopKind,
    source: StopSource,
    actor: User | None,
    severity: str,
    reason: str,
    replacement_id: UUID | None,
    at: datetime,
) -> VersionStop:
    version.status = VersionStatus.RECALLED if kind == StopKind.RECALL else VersionStatus.ON_HOLD
    version.stopped_at, version.updated_at, version.revision = at, at, version.revision + 1
    version.withdrawn_at = None  # one that was withdrawn can still be recalled: its owners have it
    version.save(update_fields=["status", "stopped_at", "withdrawn_at", "updated_at", "revision"])
    stop = VersionStop.objects.create(
        version=version,
        kind=kind,
        severity=severity,
        source=source,
        reason=reason,
        replacement_id=replacement_id,
        made_by=actor,
        since=at,
    )
    _record(f"tune_version.{'recalled' if kind == StopKind.RECALL else 'held'}", version, stop, actor=actor, reason=reason, at=at)
    enqueue("marketplace.tasks.trust.tell_stop", priority=50, stop_id=stop.pk)
    return stop


def _lift(
    version: TuneVersion, stop: VersionStop, *, actor: User, reason: str, envelope: dict[str, Any], single_operator: bool, at: datetime
) -> None:
    tune_policies.ensure_may_move(version, VersionStatus.PUBLISHED)
    if (version.release_counter or 0) < _floor_of(version.tune_id):
        raise StopNotOpen("The version is below its tune's counter floor: phones refuse it for good.")
    version.status, version.stopped_at, version.updated_at = VersionStatus.PUBLISHED, None, at
    version.revision += 1
    version.save(update_fields=["status", "stopped_at", "updated_at", "revision"])
    stop.lifted_by, stop.lifted_at, stop.lift_reason, stop.lift_envelope = actor, at, reason, envelope
    stop.single_operator = single_operator
    stop.save(update_fields=["lifted_by", "lifted_at", "lift_reason", "lift_envelope", "single_operator"])
    act = "tune_version.unrecalled" if stop.kind == StopKind.RECALL else "tune_version.hold_released"
    _record(act, version, stop, actor=actor, reason=reason, at=at, single_operator=single_operator)


def _record(act: str, version: TuneVersion, stop: VersionStop, *, actor: User | None, reason: str, at: datetime, **facts: Any) -> None:
    audit.record(
        act=act,
        actor_id=actor.pk if actor else None,
        subject_id=version.pk,
        at=at,
        reason=reason,
        stop_id=stop.pk,
        severity=stop.severity,
        **facts,
    )
    enqueue("marketplace.tasks.trust.publish_status", priority=90)


def _floor_of(tune_id: UUID) -> int:
    return CounterFloor.objects.filter(tune_id=tune_id).aggregate(highest=Max("least_counter"))["highest"] or 0


def _find_open(version_id: UUID, kind: StopKind) -> VersionStop:
    stop = (
        VersionStop.objects.select_related("version__tune__tuner")
        .filter(version_id=version_id, kind=kind, lifted_at=None, recalled_at=None)
        .first()
    )
    if stop is None:
        if not TuneVersion.objects.filter(pk=version_id).exists():
            raise VersionNotFound
        raise StopNotOpen
    return stop


def _lock_open(version_id: UUID, stop: VersionStop) -> tuple[TuneVersion, VersionStop]:
    """The version and its stop, locked, if it is still the one that was looked at."""
    version = _lock(version_id)
    locked = VersionStop.objects.select_for_update(no_key=True).filter(pk=stop.pk, lifted_at=None, recalled_at=None).first()
    if locked is None:
        raise StopNotOpen
    return version, locked


def lift_drafts(version: TuneVersion) -> dict[str, Any]:
    """What a reviewer approves with a key of their own (`tools/approve_release.py`): the lifting of the open stop."""
    stops = VersionStop.objects.filter(version=version, lifted_at=None, recalled_at=None)
    drafts = [{name: value for name, value in _lifting(stop, at=stop.since).items() if name != "issued_at"} for stop in stops]
    return {"env": signing.environment_name(), "lifts": [json.loads(signing.encode_payload(draft)) for draft in drafts]}


def _sign_lift(stop: VersionStop, *, approval: str, at: datetime) -> dict[str, Any]:
    return signing.sign(signing.Role.STATUS, signing.PayloadType.STOP_LIFT, _lifting(stop, at=at), approval=approval)


def _lifting(stop: VersionStop, *, at: datetime) -> dict[str, Any]:
    return {
        **signing.base_fields(signing.PayloadType.STOP_LIFT, env=signing.environment_name(), issued_at=at),
        "stop_id": stop.pk,
        "tune_version_id": stop.version_id,
    }
