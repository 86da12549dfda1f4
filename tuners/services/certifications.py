"""Documents that vouch for a person, their verdicts, and the badge that stands on them."""

from datetime import date, datetime, timedelta
from uuid import UUID

from django.db import transaction

from core import audit, storage
from core.exceptions import InvalidInput
from core.tasks import enqueue
from core.uploads.enums import UploadPurpose
from core.uploads.services import claim_upload
from tuners import listeners, policies
from tuners.enums import ApplicationStatus, CertificationVerdict, TunerKind
from tuners.exceptions import (
    ApplicationRequired,
    CertificationAlreadyJudged,
    CertificationInUse,
    CertificationNotFound,
    TooManyCertifications,
)
from tuners.models import TunerApplication, TunerCertification, TunerProfile
from users.enums import NoticeSeverity, NoticeType
from users.models import User
from users.services import notify

REMINDER = timedelta(days=30)


def add_certification(
    *, owner: User, upload_id: UUID, type: str, issuer: str, expires_on: date, at: datetime, number: str = ""
) -> TunerCertification:
    """Add a document for staff to judge; its file is an upload of the person's own.

    Called by an applicant or a tuner. Locks the account (so that the number of documents is exact) and the upload.

    Raises: ApplicationRequired, TooManyCertifications, InvalidInput (`/expires_on`, `/upload_id`).
    """
    if expires_on < at.date():
        raise InvalidInput.at("/expires_on", "expired", "This document has expired already.")
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=owner.pk)
        if not (owner.is_tuner or TunerApplication.objects.filter(applicant=owner).exists()):
            raise ApplicationRequired
        if TunerCertification.objects.filter(owner=owner).count() >= policies.MAX_CERTIFICATIONS:
            raise TooManyCertifications
        upload = claim_upload(upload_id=upload_id, owner_id=owner.pk, purpose=UploadPurpose.CERTIFICATION, at=at)
        certification = TunerCertification.objects.create(
            owner=owner,
            upload_id=upload.pk,
            storage_key=upload.storage_key,
            file_name=upload.name,
            content_type=upload.content_type,
            size_bytes=upload.size_bytes,
            sha256=upload.sha256,
            type=type,
            issuer=issuer,
            number=number,
            expires_on=expires_on,
            created_at=at,
        )
        audit.record(act="tuner_certification.added", actor_id=owner.pk, subject_id=certification.pk, at=at, type=type)
    return certification


def remove_certification(*, owner: User, certification_id: UUID, at: datetime) -> None:
    """Remove a document that nothing stands on, and its file.

    Called by its owner. Locks the certification and the application. Queues the removal of the file.

    Raises: CertificationNotFound (missing, or someone else's), CertificationInUse.
    """
    with transaction.atomic():
        application = TunerApplication.objects.select_for_update(no_key=True).filter(applicant=owner).first()
        certification = TunerCertification.objects.select_for_update(no_key=True).filter(owner=owner, pk=certification_id).first()
        if certification is None:
            raise CertificationNotFound
        in_review = application is not None and application.status == ApplicationStatus.SUBMITTED
        if in_review or certification.verdict == CertificationVerdict.ACCEPTED:
            raise CertificationInUse
        storage_key = certification.storage_key
        certification.delete()
        audit.record(act="tuner_certification.removed", actor_id=owner.pk, subject_id=certification_id, at=at)
        enqueue("tuners.tasks.delete_certification_file", storage_key=storage_key)


def accept_certification(*, certification_id: UUID, actor: User, reason: str, at: datetime) -> TunerCertification:
    """Accept a document. A tuner whose badge had lapsed has it again.

    Called by an admin who is not its owner. Locks the certification, then the profile. Tells the owner.

    Raises: CertificationNotFound, PermissionRefused, OwnApplication, CertificationAlreadyJudged.
    """
    with transaction.atomic():
        certification = _judge(certification_id, actor, CertificationVerdict.ACCEPTED, reason, at)
        profile = TunerProfile.objects.select_for_update(no_key=True).filter(user_id=certification.owner_id).first()
        if profile is not None and not profile.verified and policies.deserves_badge(profile, [certification], at=at):
            _set_badge(profile, verified=True, at=at)
            audit.record(act="tuner.verified", actor_id=actor.pk, subject_id=profile.pk, at=at, reason=reason)
        _tell(certification, title="A certification was accepted", body=f"{certification} was accepted.", at=at)
    return certification


def refuse_certification(*, certification_id: UUID, actor: User, reason: str, at: datetime) -> TunerCertification:
    """Refuse a document, with the reason that its owner reads.

    Called by an admin who is not its owner. Locks the certification. Tells the owner.

    Raises: CertificationNotFound, PermissionRefused, OwnApplication, CertificationAlreadyJudged.
    """
    with transaction.atomic():
        certification = _judge(certification_id, actor, CertificationVerdict.REFUSED, reason, at)
        _tell(certification, title="A certification was refused", body=f"{certification} was refused: {reason}", at=at)
    return certification


def open_certification_file(*, certification_id: UUID, actor: User, at: datetime) -> str:
    """A link to a document's file that is good for a minute; who asked for it is audited.

    Called by an admin. No network. Raises: CertificationNotFound, PermissionRefused, OwnApplication.
    """
    certification = TunerCertification.objects.filter(pk=certification_id).first()
    if certification is None:
        raise CertificationNotFound
    policies.ensure_may_decide(actor, about=certification.owner_id)
    audit.record(act="tuner_certification.opened", actor_id=actor.pk, subject_id=certification.pk, at=at)
    return storage.presign_get(
        certification.storage_key, expires_seconds=60, filename=certification.file_name, content_type=certification.content_type
    )


def renew_badges(*, at: datetime) -> int:
    """Take the badge from tuners whose last accepted document has expired, and remind those who are within 30 days of it.

    Called daily by the schedule. Locks each profile on its own. Idempotent. Returns how many lost the badge.
    """
    lost = 0
    today = at.date()
    for profile_id in TunerProfile.objects.filter(verified=True).order_by("pk").values_list("pk", flat=True):
        with transaction.atomic():
            profile = TunerProfile.objects.select_for_update(no_key=True).get(pk=profile_id)
            accepted = TunerCertification.objects.filter(owner_id=profile.user_id, verdict=CertificationVerdict.ACCEPTED)
            last_day = accepted.order_by("-expires_on").values_list("expires_on", flat=True).first()
            if not profile.verified or profile.kind != TunerKind.TUNER or last_day is None:
                continue
            if last_day < today:
                _set_badge(profile, verified=False, at=at)
                audit.record(act="tuner.badge_expired", actor_id=None, subject_id=profile.pk, at=at)
                title, severity = "Your verified badge has lapsed", NoticeSeverity.WARNING
                body = "Your last accepted certification has expired. Add a current one to publish again and have the badge back."
                lost += 1
            elif last_day - today <= REMINDER:
                title, severity = "A certification expires soon", NoticeSeverity.INFO
                body = f"Your last accepted certification ends on {last_day:%Y-%m-%d}. Add its renewal to keep the verified badge."
            else:
                continue
            notify(
                user_id=profile.user_id,
                type=NoticeType.CERTIFICATION,
                title=title,
                body=body,
                link={"resource": "tuner", "id": profile.pk},
                severity=severity,
                dedupe_key=f"badge:{severity}:{profile.pk}:{last_day:%Y-%m-%d}",
                at=at,
            )
    return lost


def _judge(certification_id: UUID, actor: User, verdict: str, reason: str, at: datetime) -> TunerCertification:
    certification = TunerCertification.objects.select_for_update(no_key=True).filter(pk=certification_id).first()
    if certification is None:
        raise CertificationNotFound
    policies.ensure_may_decide(actor, about=certification.owner_id)
    if certification.verdict != CertificationVerdict.PENDING:
        raise CertificationAlreadyJudged
    certification.verdict, certification.verdict_reason = verdict, reason
    certification.judged_at, certification.judged_by_id = at, actor.pk
    certification.save(update_fields=["verdict", "verdict_reason", "judged_at", "judged_by_id"])
    audit.record(act=f"tuner_certification.{verdict.lower()}", actor_id=actor.pk, subject_id=certification.pk, at=at, reason=reason)
    return certification


def _set_badge(profile: TunerProfile, *, verified: bool, at: datetime) -> None:
    profile.verified, profile.verified_at, profile.updated_at = verified, at if verified else None, at
    profile.save(update_fields=["verified", "verified_at", "updated_at"])
    listeners.tell_standing(tuner_id=profile.pk, active=profile.is_active, verified=verified)


def _tell(certification: TunerCertification, *, title: str, body: str, at: datetime) -> None:
    notify(
        user_id=certification.owner_id,
        type=NoticeType.CERTIFICATION,
        title=title,
        body=body,
        link={"resource": "tuner_certification", "id": certification.pk},
        dedupe_key=f"certification:{certification.pk}:{certification.verdict}",
        at=at,
    )
