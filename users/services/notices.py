"""Telling a person something: in the app, and by mail and push where they want it."""

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import transaction

from core import limits
from core.exceptions import FieldError, InvalidInput, RateLimited
from core.tasks import enqueue
from users import mail as mails
from users import push, selectors
from users.enums import CATEGORY_OF_TYPE, MAIL_NOT_OPTIONAL, NoticeCategory, NoticeSeverity
from users.models import Notice, NotificationPreference, User, UserDevice

log = structlog.get_logger("users.notices")

PUSHED_WITHIN = timedelta(days=1)


def notify(
    *,
    user_id: uuid.UUID,
    type: str,
    title: str,
    body: str,
    link: Mapping[str, Any] | None = None,
    severity: str = NoticeSeverity.INFO,
    dedupe_key: str | None = None,
    at: datetime,
    mail: bool = True,
    send: bool = True,
) -> Notice | None:
    """Tell one person, inside the transaction of what they are told of. `link` is `{"resource", "id"}`.

    With a `dedupe_key` at most once: a second call answers None and queues nothing. `mail=False` sends no mail,
    `send=False` nothing at all: it stands in the app. Queues users.tasks.deliver_notice. Types and their categories stand in `users.enums`.
    """
    notice = Notice(
        user_id=user_id,
        type=type,
        category=CATEGORY_OF_TYPE[type],
        severity=severity,
        title=title,
        body=body,
        link_resource=link["resource"] if link else "",
        link_id=link["id"] if link else None,
        dedupe_key=dedupe_key,
        created_at=at,
    )
    with transaction.atomic():
        if dedupe_key is None:
            notice.save(force_insert=True)
        else:
            Notice.objects.bulk_create([notice], ignore_conflicts=True)
            if not Notice.objects.filter(pk=notice.pk).exists():
                return None
        if send:
            enqueue("users.tasks.deliver_notice", notice_id=notice.pk, mail=mail)
    return notice


def deliver_notice(*, notice_id: uuid.UUID, mail: bool, at: datetime) -> None:
    """Mail one notice, and queue its pushes, as its person's preferences say. Called by the worker; talks to the network, so not in a
    transaction.

    The mail leaves once: `mailed_at` is set after it left, and a notice that has it is not mailed again. A person's mails
    are limited (see `_mail_limit`); what is not mailed stands in the app all the same. Queues users.tasks.push_notice.
    """
    notice = Notice.objects.select_related("user").filter(pk=notice_id).first()
    if notice is None or not notice.user.is_active:
        return
    wanted = selectors.get_notification_preferences(notice.user_id)[notice.category.lower()]
    if wanted["push"]:
        _queue_pushes(notice, at=at)  # first: a mail server that is away must not keep a phone asleep
    if mail and wanted["mail"] and notice.mailed_at is None:
        _mail(notice, at=at)


def _queue_pushes(notice: Notice, *, at: datetime) -> None:
    """One task for each phone: what fails for one is not repeated for another. Once, however often the notice is delivered."""
    with transaction.atomic():
        if not Notice.objects.filter(pk=notice.pk, pushed_at=None).update(pushed_at=at):
            return
        devices = UserDevice.objects.live(at).filter(user_id=notice.user_id).exclude(push_token="")
        for device_id in devices.values_list("pk", flat=True):
            enqueue("users.tasks.push_notice", priority=50 if _is_urgent(notice) else 0, notice_id=notice.pk, device_id=device_id)


def _is_urgent(notice: Notice) -> bool:
    return notice.category == NoticeCategory.SAFETY


def push_notice(*, notice_id: uuid.UUID, device_id: uuid.UUID, at: datetime) -> None:
    """Push one notice to one phone. Called by the worker; talks to the network, so not in a transaction.

    A push token of which the service says that nobody has it any more is forgotten. A message that could not be sent for a
    day is given up: it stands in the app. Raises: ServiceUnavailable("push"), PushRefused.
    """
    notice = Notice.objects.select_related("user").filter(pk=notice_id).first()
    device = UserDevice.objects.live(at).filter(pk=device_id).first()
    if notice is None or device is None or not device.push_token or device.user_id != notice.user_id or not notice.user.is_active:
        return
    if at - notice.created_at > PUSHED_WITHIN:
        log.warning("push_too_late", notice=str(notice.pk))
        return
    link = {"link_resource": notice.link_resource, "link_id": str(notice.link_id)} if notice.link_id else {}
    message = push.Message(
        title=notice.title,
        body=notice.body,
        key=str(notice.pk),
        urgent=_is_urgent(notice),
        data={"notice": str(notice.pk), "type": notice.type, "severity": notice.severity, **link},
    )
    if push.port().send(push_token=device.push_token, message=message) is push.Outcome.GONE:
        UserDevice.objects.filter(pk=device.pk, push_token=device.push_token).update(push_token="")  # not one that came meanwhile


def _mail(notice: Notice, *, at: datetime) -> None:
    """Send one mail unless its person had enough of the kind within the hour."""
    limit, key = _mail_limit(notice)
    if limit:
        try:
            limits.hit(limit, key, at=at)
        except RateLimited:
            log.info("notice_not_mailed", notice=str(notice.pk), limit=limit)
            return
    try:
        mails.send_notice(notice)
    except Exception:
        if limit:
            limits.release(limit, key)  # it is tried again, and counted then
        raise
    Notice.objects.filter(pk=notice.pk).update(mailed_at=at)


def _mail_limit(notice: Notice) -> tuple[str, str]:
    """Which limit a notice's mail counts for, and its key; no limit for safety.

    Somebody who signs in again and again floods nobody's mailbox, and can't use up the mails that warn of what they do
    next: a warning has its own count, and the mails with codes have theirs.
    """
    if notice.category == NoticeCategory.SAFETY:
        return "", ""
    is_news = notice.category == NoticeCategory.SECURITY and notice.severity == NoticeSeverity.INFO
    name = "security_mails_account" if is_news else "notice_mails_account"
    return name, f"{notice.user_id}|{notice.category}|{notice.severity}"


def mark_notice_read(*, user: User, notice_id: uuid.UUID, at: datetime) -> Notice:
    """Note when its person first read it. Idempotent. Raises: NoticeNotFound."""
    notice = selectors.get_notice(user, notice_id)
    if notice.read_at is None:
        Notice.objects.filter(pk=notice.pk, read_at=None).update(read_at=at)
        notice.read_at = at
    return notice


def update_notification_preferences(*, user: User, changes: Mapping[str, Mapping[str, bool]]) -> dict[str, dict[str, bool]]:
    """Turn mail and push on and off by category; what is not named stays. Called by the person. Locks the user row. Idempotent.

    Raises: InvalidInput when mail of a category that can't do without it is turned off.
    """
    fixed = [name for name, change in changes.items() if change.get("mail") is False and NoticeCategory(name.upper()) in MAIL_NOT_OPTIONAL]
    if fixed:
        raise InvalidInput(
            errors=[FieldError(code="not_optional", detail="These mails can't be turned off.", pointer=f"/{name}/mail") for name in fixed]
        )
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        for name, change in changes.items():
            if change:
                NotificationPreference.objects.update_or_create(user=user, category=name.upper(), defaults=dict(change))
    return selectors.get_notification_preferences(user.pk)
