"""The audit log: who did what to what, why, and from which session. Opaque ids only; no names, no addresses, no foreign keys.

`record` is all that services need. Rows are sealed into a hash chain by the worker (`sealing`), the chain's head is
copied to storage (`copies`), and `verification` finds what was changed behind the application's back.
"""

import uuid
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from core.models import AuditEvent

_session_id: ContextVar[uuid.UUID | None] = ContextVar("audit_session_id", default=None)


def act_from_session(session_id: uuid.UUID | None) -> None:
    """From here on what this thread records was done from that session. Called where credentials are checked; None forgets it."""
    _session_id.set(session_id)


def acting_session() -> uuid.UUID | None:
    """The session that this thread acts from; None outside a signed-in request."""
    return _session_id.get()


def record(
    *,
    act: str,
    actor_id: uuid.UUID | None,
    subject_id: uuid.UUID | None,
    at: datetime,
    reason: str = "",
    session_id: uuid.UUID | None = None,
    **facts: Any,
) -> AuditEvent:
    """Append one event. Call it inside the transaction of the act, so that neither stands without the other.

    `act` is `noun.past_verb`; `facts` are JSON values or ids, never personal data. `actor_id` None is the system. The
    session is the one that the request was made from; only a log-in, which comes from none yet, names its own.
    """
    plain = {name: str(value) if isinstance(value, (uuid.UUID, datetime)) else value for name, value in facts.items()}
    return AuditEvent.objects.create(
        act=act,
        actor_id=actor_id,
        subject_id=subject_id,
        session_id=session_id or acting_session(),
        at=at,
        reason=reason,
        facts=plain,
    )
