"""The application: a person fills it in, staff decide on it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F

from core import audit
from core.exceptions import FieldError, StaleRevision
from tuners import policies
from tuners.enums import ApplicationStatus, TunerKind
from tuners.exceptions import (
    ApplicationCoolingDown,
    ApplicationExists,
    ApplicationIncomplete,
    ApplicationNotEditable,
    ApplicationNotFound,
    ApplicationNotInReview,
    ApplicationNotSubmittable,
    CertificationsUndecided,
)
from tuners.models import TunerApplication, TunerCertification, TunerProfile
from tuners.names import name_key, search_text
from users.enums import NoticeType, Role
from users.models import User
from users.services import notify, set_role

EDITABLE_FIELDS = frozenset({"kind", "business_name", "country", "website", "experience", "specialities"})


def start_application(
    *,
    applicant: User,
    kind: str,
    business_name: str,
    country: str,
    experience: str,
    specialities: Sequence[str],
    at: datetime,
    website: str = "",
) -> TunerApplication:
    """Begin an application as a draft, or take a rejected one up again after it has rested.

    Called by a rider. Locks the person's application, if there is one. Not idempotent: a second call is refused.

    Raises: StaffMayNotApply, AlreadyTuner, ApplicationExists, ApplicationCoolingDown (`may_reapply_at`).
    """
    policies.ensure_may_apply(applicant)
    fields: dict[str, Any] = {
        "kind": kind,
        "business_name": business_name,
        "country": country,
        "website": website,
        "experience": experience,
        "specialities": list(specialities),
        "updated_at": at,
    }
    with transaction.atomic():
        application = TunerApplication.objects.select_for_update(no_key=True).filter(applicant=applicant).first()
        if application is None:
            try:
                with transaction.atomic():
                    application = TunerApplication.objects.create(applicant=applicant, created_at=at, **fields)
            except IntegrityError as exc:  # the other tap of a double tap was first
                raise ApplicationExists from exc
        else:
            if application.status != ApplicationStatus.REJECTED:
                raise ApplicationExists
            if application.may_reapply_at is not None and at < application.may_reapply_at:
                raise ApplicationCoolingDown(may_reapply_at=application.may_reapply_at)
            _change(
                application,
                status=ApplicationStatus.DRAFT,
                queued_at=None,
                submitted_at=None,
                decided_at=None,
                decided_by_id=None,
                decision_reason="",
                may_reapply_at=None,
                **fields,
            )
        audit.record(act="tuner_application.started", actor_id=applicant.pk, subject_id=application.pk, at=at)
    return application


def change_application(*, applicant: User, at: datetime, revision: int | None = None, **changes: Any) -> TunerApplication:
    """Change fields of one's own draft, or of an application that more was asked for.

    Called by the applicant. Locks the application. Idempotent.

    Raises: ApplicationNotFound, StaleRevision (`current`), ApplicationNotEditable.
    """
    if not changes.keys() <= EDITABLE_FIELDS:
        raise TypeError(f"these fields of an application can't be changed: {sorted(changes.keys() - EDITABLE_FIELDS)}")
    with transaction.atomic():
        application = _lock_own(applicant)
        if revision is not None and revision != application.revision:
            raise StaleRevision(current=application.revision)
        if application.status not in policies.EDITABLE:
            raise ApplicationNotEditable
        if changes:
            _change(application, updated_at=at, **changes)
    return application


def submit_application(*, applicant: User, at: datetime) -> TunerApplication:
    """Put one's application into the queue; after more was asked for, it comes back to its old place.

    Called by the applicant. Locks the application. Not idempotent: a submitted one is refused.

    Raises: ApplicationNotFound, StaffMayNotApply, AlreadyTuner, ApplicationNotSubmittable, ApplicationIncomplete.
    """
    policies.ensure_may_apply(applicant)
    with transaction.atomic():
        application = _lock_own(applicant)
        if application.status not in policies.SUBMITTABLE:
            raise ApplicationNotSubmittable
        certifications = TunerCertification.objects.filter(owner=applicant)
        if policies.is_missing_certification(application, certifications, at=at):
            raise ApplicationIncomplete(
                errors=[
                    FieldError(
                        code="certification_required",
                        detail="Add at least one certification that has not expired and was not refused.",
                        pointer="/certifications",
                    )
                ]
            )
        _change(
            application,
            status=ApplicationStatus.SUBMITTED,
            queued_at=application.queued_at or at,
            submitted_at=at,
            decided_at=None,
            decided_by_id=None,
            updated_at=at,
        )
        audit.record(act="tuner_application.submitted", actor_id=applicant.pk, subject_id=application.pk, at=at)
    return application


def approve_application(*, application_id: UUID, actor: User, reason: str, at: datetime) -> TunerProfile:
    """Make the applicant a tuner or creator: role, profile and, for a tuner, the verified badge.

    Called by an admin who is not the applicant. Locks the application, then the applicant's account. Not idempotent: a
    decided one is refused. Tells the applicant, whose other sessions `users` ends with the change of role.

    Raises: ApplicationNotFound, PermissionRefused, OwnApplication, ApplicationNotInReview, AlreadyTuner,
    CertificationsUndecided.
    """
    with transaction.atomic():
        application = _lock_submitted(application_id, actor)
        applicant = application.applicant
        policies.ensure_may_apply(applicant)
        certifications = list(TunerCertification.objects.select_for_update(no_key=True).filter(owner=applicant).order_by("pk"))
        if not policies.may_approve(application, certifications, at=at):
            raise CertificationsUndecided
        is_tuner = application.kind == TunerKind.TUNER
        set_role(user=applicant, role=Role.TUNER if is_tuner else Role.CREATOR, actor=actor, reason=reason, at=at)
        verified = {
            "kind": application.kind,
            "business_name": application.business_name,
            "country": application.country,
            "website": application.website,
            "experience": application.experience,
            "specialities": application.specialities,
            "name_key": name_key(application.business_name),
            "search_text": search_text(application.business_name, []),
            "verified": is_tuner,
            "verified_at": at if is_tuner else None,
            "updated_at": at,
        }
        profile, _created = TunerProfile.objects.update_or_create(
            user=applicant, defaults=verified, create_defaults={**verified, "created_at": at}
        )
        _change(
            application,
            status=ApplicationStatus.APPROVED,
            decided_at=at,
            decided_by_id=actor.pk,
            decision_reason=reason,
            updated_at=at,
        )
        audit.record(
            act="tuner_application.approved",
            actor_id=actor.pk,
            subject_id=application.pk,
            at=at,
            reason=reason,
            tuner_id=profile.pk,
            kind=application.kind,
        )
        notify(
            user_id=applicant.pk,
            type=NoticeType.APPLICATION,
            title="Your application was approved",
            body=f"You can publish tunes as {profile.business_name} now. Turn on two-factor sign-in first: publishing needs it.",
            link={"resource": "tuner", "id": profile.pk},
            dedupe_key=f"application-approved:{application.pk}:{application.revision}",
            at=at,
        )
    return profile


def request_information(*, application_id: UUID, actor: User, reason: str, at: datetime) -> TunerApplication:
    """Send an application back with what is missing; its place in the queue is kept.

    Called by an admin who is not the applicant. Locks the application. Tells the applicant.

    Raises: ApplicationNotFound, PermissionRefused, OwnApplication, ApplicationNotInReview.
    """
    return _refuse(
        application_id,
        actor,
        reason,
        at,
        status=ApplicationStatus.INFO_REQUESTED,
        act="tuner_application.information_requested",
        title="Your application needs more information",
        may_reapply_at=None,
    )


def reject_application(*, application_id: UUID, actor: User, reason: str, at: datetime) -> TunerApplication:
    """Refuse an application; the person may start again after the cool-down.

    Called by an admin who is not the applicant. Locks the application. Tells the applicant.

    Raises: ApplicationNotFound, PermissionRefused, OwnApplication, ApplicationNotInReview.
    """
    return _refuse(
        application_id,
        actor,
        reason,
        at,
        status=ApplicationStatus.REJECTED,
        act="tuner_application.rejected",
        title="Your application was not approved",
        may_reapply_at=at + policies.COOL_DOWN,
    )


def _refuse(
    application_id: UUID, actor: User, reason: str, at: datetime, *, status: str, act: str, title: str, may_reapply_at: datetime | None
) -> TunerApplication:
    with transaction.atomic():
        application = _lock_submitted(application_id, actor)
        _change(
            application,
            status=status,
            decided_at=at,
            decided_by_id=actor.pk,
            decision_reason=reason,
            may_reapply_at=may_reapply_at,
            updated_at=at,
        )
        audit.record(act=act, actor_id=actor.pk, subject_id=application.pk, at=at, reason=reason)
        notify(
            user_id=application.applicant_id,
            type=NoticeType.APPLICATION,
            title=title,
            body=reason,
            link={"resource": "tuner_application", "id": application.pk},
            dedupe_key=f"{act}:{application.pk}:{application.revision}",
            at=at,
        )
    return application


def _lock_own(applicant: User) -> TunerApplication:
    application = TunerApplication.objects.select_for_update(no_key=True).filter(applicant=applicant).first()
    if application is None:
        raise ApplicationNotFound
    return application


def _lock_submitted(application_id: UUID, actor: User) -> TunerApplication:
    application = (
        TunerApplication.objects.select_for_update(no_key=True, of=("self",)).select_related("applicant").filter(pk=application_id).first()
    )
    if application is None:
        raise ApplicationNotFound
    policies.ensure_may_decide(actor, about=application.applicant_id)
    if application.status != ApplicationStatus.SUBMITTED:
        raise ApplicationNotInReview
    return application


def _change(application: TunerApplication, **values: Any) -> None:
    """Write the values and the next revision. The row is locked."""
    for name, value in values.items():
        setattr(application, name, value)
    application.revision += 1
    TunerApplication.objects.filter(pk=application.pk).update(revision=F("revision") + 1, **values)
