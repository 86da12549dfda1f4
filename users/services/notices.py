"""Telling a person something: in the app, and by mail and push where they want it.

How often: in the app exactly once for a `dedupe_key`. A mail at most once: it is noted before it is handed over, so a worker that
is killed in between loses it, and it stands in the app. What warns (security, safety) is mailed at least once instead: noted
afterwards, and one that leaves twice has the same Message-ID. Pushes are queued once for each phone; one that is sent again
has the same key, and a phone shows it once.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import structlog
from django.db import connection, transaction

from core import limits
from core.exceptions import FieldError, InvalidInput, RateLimited
from core.tasks import enqueue
from users import mail as mails
from users import push, selectors
from users.enums import BATCHED, CATEGORY_OF_TYPE, MAIL_NOT_OPTIONAL, NoticeCategory, NoticeSeverity
from users.models import Notice, NotificationPreference, User, UserDevice

log = structlog.get_logger("users.notices")

PUSHED_WITHIN = timedelta(days=1)
BATCH_WINDOW = timedelta(minutes=30)
COLLECTED_AT_ONCE = 500
TOLD_AT_ONCE = 1000
MOST_OF_A_BATCH = 200  # read for its mail and push; a person who was told more finds it in the app
TITLES_IN_A_PUSH = 5

# What waits for somebody in a category leaves together, once the oldest of it has waited for the whole window.
_COLLECT = """
WITH due AS (
    SELECT user_id, category FROM users_notice WHERE batch_due_at <= %(at)s
     GROUP BY user_id, category ORDER BY min(batch_due_at) LIMIT %(limit)s
), batches AS MATERIALIZED (
    SELECT user_id, category, gen_random_uuid() AS id FROM due
), taken AS (
    UPDATE users_notice n SET batch_id = b.id, batch_due_at = NULL FROM batches b
     WHERE n.user_id = b.user_id AND n.category = b.category AND n.batch_due_at IS NOT NULL
    RETURNING n.batch_id
)
SELECT DISTINCT batch_id FROM taken
"""


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
    `send=False` nothing at all: it stands in the app. Queues users.tasks.deliver_notice, but for what is batched (see
    `collect_batches`). Types and their categories stand in `users.enums`.
    """
    notice = Notice(
        user_id=user_id, dedupe_key=dedupe_key, **_content(type, title, body, link, severity=severity, at=at, mail=mail, send=send)
    )
    with transaction.atomic():
        Notice.objects.bulk_create([notice], ignore_conflicts=True)  # not `save`: nothing comes back when its person is being erased
        if dedupe_key is not None and not Notice.objects.filter(pk=notice.pk).exists():
            return None
        if send and notice.batch_due_at is None:
            enqueue("users.tasks.deliver_notice", notice_id=notice.pk, mail=mail)
    return notice


def notify_many(
    people: Iterable[tuple[uuid.UUID, str]], *, type: str, title: str, body: str, link: Mapping[str, Any] | None = None, at: datetime
) -> None:
    """Tell many people one thing that is not urgent; `people` are their ids, each with a dedupe key.

    One INSERT for a thousand of them; each at most once, however often this is called. Raises: ValueError for a type that is
    not batched, since nothing is queued here.
    """
    content = _content(type, title, body, link, severity=NoticeSeverity.INFO, at=at, mail=True, send=True)
    if content["batch_due_at"] is None:
        raise ValueError(f"{type} is told one by one")
    rest = iter(people)
    while some := list(islice(rest, TOLD_AT_ONCE)):
        Notice.objects.bulk_create([Notice(user_id=who, dedupe_key=key, **content) for who, key in some], ignore_conflicts=True)


def _content(
    type: str, title: str, body: str, link: Mapping[str, Any] | None, *, severity: str, at: datetime, mail: bool, send: bool
) -> dict[str, Any]:
    category = CATEGORY_OF_TYPE[type]
    waits = send and category in BATCHED and severity == NoticeSeverity.INFO
    return {
        "type": type,
        "category": category,
        "severity": severity,
        "title": title,
        "body": body,
        "link_resource": link["resource"] if link else "",
        "link_id": link["id"] if link else None,
        "created_at": at,
        "by_mail": mail and send,
        "batch_due_at": at + BATCH_WINDOW if waits else None,
    }


# Delivering


def deliver_notice(*, notice_id: uuid.UUID, mail: bool, at: datetime) -> None:
    """Mail one notice, and queue its pushes, as its person's preferences say. Called by the worker; talks to the network, so not in a
    transaction. A person's mails are limited (see `_mail_limit`). Queues users.tasks.push_notice.
    """
    notice = Notice.objects.select_related("user").filter(pk=notice_id).first()
    if notice is not None:
        _deliver([notice], mailed=[notice] if mail else [], at=at)


def collect_batches(*, at: datetime) -> int:
    """Make a batch of what waits for each person and category that has waited long enough; returns how many.

    Called by the schedule. One statement for 500 of them, and only one caller at a time. Queues users.tasks.deliver_batch.
    """
    made = 0
    while True:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended('users.notice_batches', 0))")
            if not cursor.fetchone()[0]:
                return made
            cursor.execute(_COLLECT, {"at": at, "limit": COLLECTED_AT_ONCE})
            batches = [batch_id for (batch_id,) in cursor.fetchall()]
            for batch_id in batches:
                enqueue("users.tasks.deliver_batch", batch_id=batch_id)
        made += len(batches)
        if len(batches) < COLLECTED_AT_ONCE:
            return made


def deliver_batch(*, batch_id: uuid.UUID, at: datetime) -> None:
    """One mail and one push of what was collected for a person, without what they read in the app meanwhile. One notice alone
    looks as if it had never waited. Called as `deliver_notice` is. Queues users.tasks.push_batch.
    """
    notices = _unread_of(batch_id)
    if notices:
        _deliver(notices, mailed=[notice for notice in notices if notice.by_mail], at=at)


def _unread_of(batch_id: uuid.UUID) -> list[Notice]:
    rows = Notice.objects.select_related("user").filter(batch_id=batch_id, read_at=None)
    return list(rows.order_by("created_at", "pk")[:MOST_OF_A_BATCH])


def _deliver(notices: Sequence[Notice], *, mailed: Sequence[Notice], at: datetime) -> None:
    first = notices[0]
    if not first.user.is_active:
        return
    wanted = selectors.get_notification_preferences(first.user_id)[first.category.lower()]
    if wanted["push"]:
        _queue_pushes(notices, at=at)  # first: a mail server that is away must not keep a phone asleep
    if mailed and wanted["mail"] and mailed[0].mailed_at is None:
        _mail(mailed, at=at)


def _claim(notices: Sequence[Notice], field: str, *, at: datetime) -> bool:
    """Note in all of them that they leave now, unless one has left already. Locks them in the order of their ids."""
    ids = [notice.pk for notice in notices]
    with transaction.atomic():
        rows = Notice.objects.filter(pk__in=ids, **{field: None})
        if len(rows.select_for_update(no_key=True).order_by("pk").values_list("pk")) < len(ids):
            return False
        return rows.update(**{field: at}) > 0


def _queue_pushes(notices: Sequence[Notice], *, at: datetime) -> None:
    """One task for each phone: what fails for one is not repeated for another. Once, however often they are delivered."""
    first = notices[0]
    name, what = "push_notice", dict[str, Any](notice_id=first.pk)
    if len(notices) > 1:
        name, what = "push_batch", dict[str, Any](batch_id=first.batch_id)
    with transaction.atomic():
        if not _claim(notices, "pushed_at", at=at):
            return
        devices = UserDevice.objects.live(at).filter(user_id=first.user_id).exclude(push_token="")
        for device_id in devices.values_list("pk", flat=True):
            enqueue(f"users.tasks.{name}", priority=50 if _is_urgent(first) else 0, device_id=device_id, **what)


def _is_urgent(notice: Notice) -> bool:
    return notice.category == NoticeCategory.SAFETY


def push_notice(*, notice_id: uuid.UUID, device_id: uuid.UUID, at: datetime) -> None:
    """Push one notice to one phone. Called by the worker; talks to the network, so not in a transaction.

    A push token of which the service says that nobody has it any more is forgotten. A message that could not be sent for a
    day is given up: it stands in the app. Raises: ServiceUnavailable("push"), PushRefused.
    """
    _push(list(Notice.objects.select_related("user").filter(pk=notice_id)), device_id=device_id, at=at)


def push_batch(*, batch_id: uuid.UUID, device_id: uuid.UUID, at: datetime) -> None:
    """Push what was collected for a person, and not read meanwhile, to one phone as one message. As `push_notice`."""
    _push(_unread_of(batch_id), device_id=device_id, at=at)


def _push(notices: Sequence[Notice], *, device_id: uuid.UUID, at: datetime) -> None:
    device = UserDevice.objects.live(at).filter(pk=device_id).first()
    if not notices or device is None:
        return
    newest = notices[-1]
    if not device.push_token or device.user_id != newest.user_id or not newest.user.is_active:
        return
    if at - newest.created_at > PUSHED_WITHIN:
        log.warning("push_too_late", notice=str(newest.pk))
        return
    message = _message_of(newest) if len(notices) == 1 else _message_of_batch(notices)
    if push.port().send(push_token=device.push_token, message=message) is push.Outcome.GONE:
        UserDevice.objects.filter(pk=device.pk, push_token=device.push_token).update(push_token="")  # not one that came meanwhile


def _message_of(notice: Notice) -> push.Message:
    link = {"link_resource": notice.link_resource, "link_id": str(notice.link_id)} if notice.link_id else {}
    return push.Message(
        title=notice.title,
        body=notice.body,
        key=str(notice.pk),
        urgent=_is_urgent(notice),
        data={"notice": str(notice.pk), "type": notice.type, "severity": notice.severity, **link},
    )


def _message_of_batch(notices: Sequence[Notice]) -> push.Message:
    newest = notices[-1]
    return push.Message(
        title=f"{len(notices)} news",
        body="\n".join(notice.title for notice in notices[: -TITLES_IN_A_PUSH - 1 : -1]),
        key=str(newest.batch_id),
        data={"notice": str(newest.pk), "type": newest.type, "severity": newest.severity, "count": str(len(notices))},
    )


def _mail(notices: Sequence[Notice], *, at: datetime) -> None:
    """Send one mail unless its person had enough of the kind within the hour. Noted before or after, as said at the top."""
    first, rows = notices[0], Notice.objects.filter(pk__in=[notice.pk for notice in notices])
    is_repeated = first.category in MAIL_NOT_OPTIONAL
    limit, key = _mail_limit(first)
    if limit:
        try:
            limits.hit(limit, key, at=at)
        except RateLimited:
            log.info("notice_not_mailed", notice=str(first.pk), limit=limit)
            return
    if not is_repeated and not _claim(notices, "mailed_at", at=at):
        if limit:
            limits.release(limit, key)
        return
    try:
        mails.send_notices(notices)
    except Exception as failure:
        if isinstance(failure, mails.MailUnsure) and not is_repeated:
            log.warning("notice_mail_unsure", notice=str(first.pk))
            return
        if limit:
            limits.release(limit, key)  # it is tried again, and counted then
        if not is_repeated:
            rows.update(mailed_at=None)
        raise
    if is_repeated:
        rows.update(mailed_at=at)


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
