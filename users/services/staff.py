"""What staff do: the way into the admin site, and what they do to an account's sessions."""

import uuid
from datetime import datetime

from django.db import transaction

from core import audit, limits
from core.exceptions import PermissionRefused
from core.peer import limit_key
from users import passwords, selectors
from users.enums import NoticeType, SessionEnd
from users.exceptions import InvalidCredentials
from users.models import User
from users.services.mfa import verify_second_factor
from users.services.notices import notify
from users.services.sessions import end_all_sessions


def log_in_staff(*, email: str, password: str, code: str, peer: str, at: datetime) -> User:
    """Check an admin's address, password and second factor, all at once. Anyone may call.

    Counted like every log-in, before anything is looked at and taken back when all was right; wrong codes are counted on
    their own as well. Which of the three was wrong is not told, and an account without access takes the same steps.
    Never call it inside a transaction. Uses the code up.

    Raises: RateLimited, InvalidCredentials.
    """
    limits.hit("login_failures_peer", limit_key(peer), at=at)
    limits.hit("login_failures_account", email, at=at)
    user = selectors.find_user(email)
    is_right = passwords.verify(password, user.password if user is not None else None)
    if user is None or not is_right or not user.is_active or user.is_blocked or not user.is_staff or not user.mfa_enabled:
        raise InvalidCredentials
    if not verify_second_factor(user=user, code=code, at=at):
        raise InvalidCredentials
    limits.release("login_failures_peer", limit_key(peer))
    limits.release("login_failures_account", email)
    with transaction.atomic():
        audit.record(act="admin.signed_in", actor_id=user.pk, subject_id=user.pk, at=at)
        notify(
            user_id=user.pk,
            type=NoticeType.SECURITY,
            title="You signed in to the admin",
            body="Somebody signed in to the admin site with your password and a code. "
            "If this was not you, end all sessions and change your password now.",
            at=at,
        )
    return user


def end_sessions_by_staff(*, user: User, actor: User, reason: str, at: datetime) -> int:
    """End every session of a person, admin cookies too, because staff thinks somebody else uses the account.

    Called by admins. Audited with the reason and told to the person. Answers how many ended.

    Raises: PermissionRefused.
    """
    if not actor.is_staff or not actor.is_active:
        raise PermissionRefused
    with transaction.atomic():
        ended = end_all_sessions(user=user, reason=SessionEnd.ENDED_BY_STAFF, actor_id=actor.pk, at=at)
        audit.record(act="user.sessions_ended", actor_id=actor.pk, subject_id=user.pk, at=at, reason=reason, ended=ended)
        notify(
            user_id=user.pk,
            type=NoticeType.SECURITY,
            title="Staff ended your sessions",
            body=f"You were signed out everywhere: {reason} Sign in again, and change your password if you did not expect this.",
            at=at,
        )
    return ended


def lock_admins() -> set[uuid.UUID]:
    """The admins who may act, all locked in the order of their ids, so that one of them is left whoever goes at the same time.

    For services that take an admin away, before they lock that row itself; inside their transaction.
    """
    return set(User.objects.admins().select_for_update(no_key=True).order_by("pk").values_list("pk", flat=True))
