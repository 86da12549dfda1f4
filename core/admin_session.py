"""The admin's cookie in the audit log: each sign-in has an id of its own, which tells nothing of the cookie."""

import uuid

from django.http import HttpRequest

from core import audit
from core.ids import new_id

_KEY = "audit_session"


def keep(request: HttpRequest, session_id: uuid.UUID) -> None:
    """Remember what this sign-in is called in the audit log."""
    request.session[_KEY] = str(session_id)


def act_from_cookie(request: HttpRequest) -> None:
    """What this request of somebody signed in records was done from their sign-in."""
    if _KEY not in request.session:  # signed in before there were such ids
        keep(request, new_id())
    audit.act_from_session(uuid.UUID(request.session[_KEY]))
