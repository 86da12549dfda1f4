"""The audit log: who did what to what, and why. Opaque ids only; no names, no addresses, no foreign keys."""

import uuid
from datetime import datetime
from typing import Any

from core.models import AuditEvent


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

    `act` is `noun.past_verb`; `facts` are JSON values or ids, never personal data. `actor_id` None is the system.
    """
    plain = {name: str(value) if isinstance(value, (uuid.UUID, datetime)) else value for name, value in facts.items()}
    return AuditEvent.objects.create(
        act=act, actor_id=actor_id, subject_id=subject_id, session_id=session_id, at=at, reason=reason, facts=plain
    )
