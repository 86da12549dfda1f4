"""Conversations about a purchase: opened, answered, chased and brought to staff. What staff decide about money is in `refunds`.

The case's row is locked for every move. No purchase and no license is locked here, so a case may be opened wherever one is.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid5

import structlog
from django.db import IntegrityError, transaction
from django.db.models import Q

from core import audit, storage
from core.exceptions import IdTaken, InvalidInput
from core.ids import new_id
from core.renderers import dumps
from core.uploads.enums import UploadPurpose
from core.uploads.services import claim_upload
from marketplace.enums import CaseAuthor, CaseKind, CaseResolution, CaseStatus
from marketplace.exceptions import CaseAlreadyOpen, CaseNotFound, CaseResolved, PurchaseNotFound, PurchaseNotPaid
from marketplace.models import Case, CaseAttachment, CaseMessage, Purchase
from marketplace.policies import cases as policies
from marketplace.policies.trust import ensure_is_staff
from marketplace.services.locks import hold_people
from users.enums import NoticeSeverity, NoticeType, Role
from users.models import User
from users.services import notify

log = structlog.get_logger("marketplace.cases")

CHASED_AT_ONCE = 500
WAITS_FOR = {
    CaseStatus.OPEN: "the tuner or RevSync",
    CaseStatus.WAITING_TUNER: "the tuner",
    CaseStatus.WAITING_RIDER: "the rider",
    CaseStatus.WAITING_STAFF: "RevSync",
}


@dataclass(frozen=True)
class Written:
    """A message, and whether this call stored it."""

    message: CaseMessage
    created: bool

    @property
    def pk(self) -> UUID:
        return self.message.pk


def open_case(
    *,
    purchase_id: UUID,
    kind: str,
    text: str,
    at: datetime,
    by: User | None = None,
    dedupe_key: str = "",
    flash_id: UUID | None = None,
    upload_ids: Sequence[UUID] = (),
    message_id: UUID | None = None,
    status: str = CaseStatus.OPEN,
    title: str = "",
    severity: str = NoticeSeverity.INFO,
    knows: UUID | None = None,
) -> Case:
    """Open a case about a purchase with its first message, and tell the others of it: under `title`, and of the system's message
    all. Who `knows` is told of both by another notice.

    Called by its buyer, its tuner or staff (`by`), or by the system (`by=None`), inside or outside a transaction; takes no
    lock of purchase or license. At most one of a kind is open: the system then writes into that one. With a `dedupe_key`
    the system's call is idempotent, whatever became of the case. `status` WAITING_STAFF brings it to staff at once, and so
    does anybody's call when who would have to answer has deleted the account.

    Raises: PurchaseNotFound (missing, or none of theirs), PurchaseNotPaid, CaseAlreadyOpen (`case`), IdTaken, InvalidInput (uploads).
    """
    purchase = Purchase.objects.select_related("tuner").filter(pk=purchase_id).first()
    if purchase is None or (by is not None and not _is_concerned(purchase, by)):
        raise PurchaseNotFound
    if purchase.paid_at is None:
        raise PurchaseNotPaid
    if by is None and dedupe_key:
        message_id = uuid5(purchase.pk, dedupe_key)
        known = CaseMessage.objects.select_related("case").filter(pk=message_id).first()
        if known is not None:
            return known.case
    author = policies.author_of(purchase, by) if by is not None else CaseAuthor.SYSTEM
    if status == CaseStatus.OPEN and author in (CaseAuthor.TUNER, CaseAuthor.STAFF):
        status = CaseStatus.WAITING_RIDER  # their first word is one that the rider has to answer
    with transaction.atomic():
        hold_people(purchase.pk)
        waits_for = _there(purchase, status)
        case, is_new = _new_or_open(purchase, kind=kind, by=by, flash_id=flash_id, status=waits_for, at=at)
        if not is_new and by is not None:
            raise CaseAlreadyOpen(case=str(case.pk))
        message = _write(case, author=author, by=by, text=text, id=message_id, upload_ids=upload_ids, at=at)
        if not is_new and status == CaseStatus.WAITING_STAFF:
            _escalate(case, at=at)
        if is_new:
            audit.record(
                act="case.opened",
                actor_id=by.pk if by else None,
                subject_id=case.pk,
                at=at,
                reason=text[:2000] if author == CaseAuthor.STAFF else "",
                purchase_id=purchase.pk,
                kind=case.kind,
            )
        _tell_of_message(case, message, is_new=is_new, title=title, severity=severity, knows=knows, at=at)
    return case


def _there(purchase: Purchase, status: str) -> str:
    """`status`, or staff when it waits for somebody who deleted the account: nobody would answer. The people are held."""
    if status == CaseStatus.WAITING_STAFF:
        return status
    awaited = purchase.buyer_id if status == CaseStatus.WAITING_RIDER else purchase.tuner.user_id
    return CaseStatus.WAITING_STAFF if User.objects.filter(pk=awaited).exclude(deleted_at=None).exists() else status


def _is_concerned(purchase: Purchase, user: User) -> bool:
    return (user.is_staff and user.mfa_enabled) or user.pk in (purchase.buyer_id, purchase.tuner.user_id)


def _new_or_open(purchase: Purchase, *, kind: str, by: User | None, flash_id: UUID | None, status: str, at: datetime) -> tuple[Case, bool]:
    """A new case, or the open one of its kind, locked, and whether it is new. The index decides between two at once."""
    for _ in range(3):
        case = Case(
            purchase=purchase,
            kind=kind,
            status=status,
            opened_by_id=by.pk if by else None,
            flash_id=flash_id,
            due_at=policies.due_at(status, at=at),
            created_at=at,
            updated_at=at,
        )
        try:
            with transaction.atomic():
                case.save(force_insert=True)
            return case, True
        except IntegrityError as clash:
            if "case_one_open" not in str(clash):
                raise
        open_one = Case.objects.open().select_for_update(no_key=True).filter(purchase=purchase, kind=kind).first()
        if open_one is not None:
            open_one.purchase = purchase
            return open_one, False
    raise CaseAlreadyOpen  # opened and resolved three times while we looked


def add_message(
    *,
    author: User,
    case_id: UUID,
    text: str,
    at: datetime,
    message_id: UUID | None = None,
    upload_ids: Sequence[UUID] = (),
    wait_for: str = "",
) -> Written:
    """Write in a case, which then waits for somebody else.

    Called by its buyer, its tuner or staff, who may say whom it waits for (`wait_for`). Locks the case. Idempotent by a
    client-made `message_id`: the same body again is answered, even when the case is resolved by then.

    Raises: CaseNotFound (missing, or between others), CaseResolved, IdTaken, InvalidInput (uploads).
    """
    purchase_id = Case.objects.visible_to(author).filter(pk=case_id).values_list("purchase_id", flat=True).first()
    if purchase_id is None:
        raise CaseNotFound
    with transaction.atomic():
        hold_people(purchase_id)
        case = Case.objects.select_for_update(no_key=True, of=("self",)).select_related("purchase__tuner").get(pk=case_id)
        role = policies.author_of(case.purchase, author)
        known = CaseMessage.objects.filter(pk=message_id).first() if message_id else None
        if known is not None:
            if known.case_id != case.pk or known.author_user_id != author.pk or bytes(known.fingerprint) != _fingerprint(text, upload_ids):
                raise IdTaken
            return Written(known, created=False)
        if case.status == CaseStatus.RESOLVED:
            raise CaseResolved
        if case.messages.count() >= policies.MAX_MESSAGES:
            raise InvalidInput.at("/text", "too_many_messages", f"A case has at most {policies.MAX_MESSAGES} messages.")
        message = _write(case, author=role, by=author, text=text, id=message_id, upload_ids=upload_ids, at=at)
        after = policies.status_after(case.status, kind=case.kind, author=role, is_escalated=case.escalated_at is not None)
        if role == CaseAuthor.STAFF:
            after = CaseStatus(wait_for or after)
        after = CaseStatus(_there(case.purchase, after))
        if role == CaseAuthor.STAFF and after != CaseStatus.WAITING_STAFF:
            case.escalated_at = None
        _wait(case, after, at=at)
        audit.record(
            act="case.answered",
            actor_id=author.pk,
            subject_id=case.pk,
            at=at,
            reason=text[:2000] if role == CaseAuthor.STAFF else "",  # as with all that staff do; what others write stays in the case
            author=role,
            message_id=message.pk,
        )
        _tell_of_message(case, message, is_new=False, at=at)
    return Written(message, created=True)


def _fingerprint(text: str, upload_ids: Sequence[UUID]) -> bytes:
    return hashlib.sha256(dumps([text, [str(each) for each in upload_ids]])).digest()


def _write(
    case: Case, *, author: str, by: User | None, text: str, id: UUID | None, upload_ids: Sequence[UUID], at: datetime
) -> CaseMessage:
    message = CaseMessage(
        id=id or new_id(),
        case=case,
        author=author,
        author_user=by,
        text=text,
        fingerprint=_fingerprint(text, upload_ids),
        created_at=at,
    )
    try:
        with transaction.atomic():
            message.save(force_insert=True)
    except IntegrityError as clash:
        if "casemessage_pkey" in str(clash):
            raise IdTaken from clash
        raise
    for position, upload_id in enumerate(upload_ids):
        assert by is not None
        upload = claim_upload(
            upload_id=upload_id, owner_id=by.pk, purpose=UploadPurpose.CASE_FILE, at=at, pointer=f"/attachments/{position}"
        )
        stored = upload.details.get("stored", {})
        CaseAttachment.objects.create(
            message=message,
            upload_id=upload.pk,
            storage_key=upload.storage_key,
            name=upload.name,
            content_type=stored.get("content_type", upload.content_type),
            size_bytes=stored.get("size_bytes", upload.size_bytes),
            sha256=stored.get("sha256", upload.sha256),
            position=position,
        )
    return message


def _wait(case: Case, status: str, *, at: datetime) -> None:
    """Let a locked case wait for somebody, with a new due date and a reminder to come."""
    case.status, case.due_at, case.reminded_at, case.updated_at = status, policies.due_at(status, at=at), None, at
    case.save(update_fields=["status", "due_at", "reminded_at", "escalated_at", "updated_at"])


def _escalate(case: Case, *, at: datetime) -> None:
    case.escalated_at = case.escalated_at or at
    _wait(case, CaseStatus.WAITING_STAFF, at=at)


def resolve_case(case: Case, *, resolution: str, reason: str, actor_id: UUID | None, at: datetime) -> None:
    """End a locked case with what was decided and why, and tell both sides. Called by services that decide, in their transaction."""
    case.status, case.due_at, case.reminded_at = CaseStatus.RESOLVED, None, None
    case.resolution, case.resolution_reason, case.resolved_at, case.resolved_by_id = resolution, reason, at, actor_id
    case.updated_at = at
    case.save(
        update_fields=[
            "status", "due_at", "reminded_at", "resolution", "resolution_reason", "resolved_at", "resolved_by_id", "updated_at",
        ]
    )  # fmt: skip
    audit.record(act="case.resolved", actor_id=actor_id, subject_id=case.pk, at=at, reason=reason, resolution=resolution)
    for user_id in (case.purchase.buyer_id, case.purchase.tuner.user_id):
        _tell(
            user_id,
            case,
            title=f"Case about {case.purchase.number} resolved",
            body=f"“{case.purchase.tune_title}”: {CaseResolution(resolution).label.lower()}. {reason}",
            dedupe_key=f"case-resolved:{case.pk}:{user_id}",
            at=at,
        )


def lock_case(case_id: UUID) -> Case:
    """An open case with its purchase, locked, for who decides about it. Raises: CaseNotFound, CaseResolved."""
    case = Case.objects.select_for_update(no_key=True, of=("self",)).select_related("purchase__tuner").filter(pk=case_id).first()
    if case is None:
        raise CaseNotFound
    if case.status == CaseStatus.RESOLVED:
        raise CaseResolved
    return case


# By schedule


def chase_cases(*, at: datetime) -> int:
    """Remind who must answer within a day, bring to staff what nobody answered, and alarm about what staff let lie.

    Called by the schedule; returns how many were moved or reminded. Locks each case. Each notice goes out once a due date.
    """
    # nothing more can be done about the others: were they counted, they would stand in the way of those behind them
    to_do = Q(reminded_at=None) | Q(due_at__lte=at) & ~Q(status=CaseStatus.WAITING_STAFF)
    due = Case.objects.open().filter(to_do, due_at__lte=at + policies.REMIND_BEFORE).order_by("due_at", "pk")
    chased = 0
    for case_id, purchase_id in list(due.values_list("pk", "purchase_id")[:CHASED_AT_ONCE]):
        with transaction.atomic():
            hold_people(purchase_id)
            case = Case.objects.select_for_update(no_key=True, of=("self",)).select_related("purchase__tuner").get(pk=case_id)
            chased += _chase(case, at=at)
    return chased


def _chase(case: Case, *, at: datetime) -> bool:
    if case.status == CaseStatus.RESOLVED or case.due_at is None or case.due_at > at + policies.REMIND_BEFORE:
        return False
    if case.due_at <= at and case.status != CaseStatus.WAITING_STAFF:
        waited_for = WAITS_FOR[CaseStatus(case.status)]
        _escalate(case, at=at)
        audit.record(act="case.escalated", actor_id=None, subject_id=case.pk, at=at, waited_for=waited_for)
        for user_id in {case.purchase.buyer_id, case.purchase.tuner.user_id, *_staff()}:
            _tell(
                user_id,
                case,
                title=f"RevSync takes the case about {case.purchase.number} over",
                body=f"“{case.purchase.tune_title}”: {waited_for} did not answer in time. Staff look at it now.",
                dedupe_key=f"case-escalated:{case.pk}:{case.due_at:%Y%m%d%H%M}:{user_id}",
                at=at,
            )
        return True
    if case.reminded_at is not None or (case.status == CaseStatus.WAITING_STAFF and case.due_at > at):
        return False
    case.reminded_at = at
    case.save(update_fields=["reminded_at"])
    if case.status == CaseStatus.WAITING_STAFF:
        log.error("case_overdue", case=str(case.pk), due_at=case.due_at.isoformat())
    for user_id in _awaited(case):
        _tell(
            user_id,
            case,
            title=f"The case about {case.purchase.number} waits for you",
            body=f"“{case.purchase.tune_title}”: an answer is due {case.due_at:%Y-%m-%d %H:%M} UTC.",
            severity=NoticeSeverity.WARNING,
            dedupe_key=f"case-reminder:{case.pk}:{case.due_at:%Y%m%d%H%M}:{user_id}",
            at=at,
        )
    return True


def _staff() -> list[UUID]:
    return list(User.objects.filter(role=Role.ADMIN, is_active=True).values_list("pk", flat=True))


def _awaited(case: Case) -> list[UUID]:
    if case.status == CaseStatus.WAITING_STAFF:
        return _staff()
    return [case.purchase.buyer_id if case.status == CaseStatus.WAITING_RIDER else case.purchase.tuner.user_id]


# For staff


def open_case_file(*, attachment_id: UUID, actor: User, at: datetime) -> str:
    """A link to an attachment that is good for a minute; who asked for it is audited.

    Called by an admin. No network. Raises: CaseNotFound, PermissionRefused.
    """
    ensure_is_staff(actor)
    attachment = CaseAttachment.objects.filter(pk=attachment_id).first()
    if attachment is None:
        raise CaseNotFound
    audit.record(act="case_file.opened", actor_id=actor.pk, subject_id=attachment.pk, at=at, sha256=attachment.sha256)
    return storage.presign_get(attachment.storage_key, expires_seconds=60, filename=attachment.name or "file")


# Telling


def _tell_of_message(
    case: Case,
    message: CaseMessage,
    *,
    is_new: bool,
    at: datetime,
    title: str = "",
    severity: str = NoticeSeverity.INFO,
    knows: UUID | None = None,
) -> None:
    """Both sides but the author; staff when it is theirs to answer. What people wrote stays in the case; what the system wrote is told
    whole, so that nobody needs a second notice of the same thing."""
    if is_new:
        usual, body = f"A case about {case.purchase.number}", f"{CaseKind(case.kind).label.lower()}."
    else:
        usual, body = f"Answer in the case about {case.purchase.number}", "somebody wrote in it."
    if message.author == CaseAuthor.SYSTEM:
        body = message.text
    body = f"“{case.purchase.tune_title}”: {body}"[:4000]
    told = [case.purchase.buyer_id, case.purchase.tuner.user_id]
    if case.status == CaseStatus.WAITING_STAFF:
        told += _staff()
    for user_id in dict.fromkeys(told):
        if user_id not in (message.author_user_id, knows):
            key = f"case-message:{message.pk}:{user_id}"
            _tell(user_id, case, title=title or usual, body=body, dedupe_key=key, at=at, severity=severity)


def _tell(user_id: UUID, case: Case, *, title: str, body: str, dedupe_key: str, at: datetime, severity: str = NoticeSeverity.INFO) -> None:
    notify(
        user_id=user_id,
        type=NoticeType.CASE,
        title=title,
        body=body,
        link={"resource": "case", "id": case.pk},
        severity=severity,
        dedupe_key=dedupe_key,
        at=at,
    )
