"""Pure predicates about accounts and sessions."""

from datetime import datetime, timedelta

from django.conf import settings

from users.enums import Role
from users.models import User, UserDevice

PARENT_ANSWERED_FOR = timedelta(hours=24)


def may_answer_parent(session: UserDevice, *, generation: int, at: datetime) -> bool:
    """Whether a token of `generation` is the parent of a live token that nobody has used yet: then the answer was lost."""
    return (
        generation == session.generation - 1
        and generation >= session.login_generation
        and session.current_used_at is None
        and at < session.rotated_at + PARENT_ANSWERED_FOR
    )


def session_end(signed_in_at: datetime, *, at: datetime) -> datetime:
    """When a session used at `at` ends by itself: idle and absolute lifetime, whichever is first."""
    return min(at + settings.SESSION_IDLE_LIFETIME, signed_in_at + settings.SESSION_ABSOLUTE_LIFETIME)


def must_keep_second_factor(user: User) -> bool:
    """Whether the role forbids to turn the second factor off."""
    return user.role == Role.ADMIN
