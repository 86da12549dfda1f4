"""What the worker does for the audit log."""

import structlog

from core import clock
from core.audit import copies, sealing
from core.schedule import every
from core.tasks import task

log = structlog.get_logger("core.audit")


@every(minutes=1, name="seal_audit", offset_seconds=20)
@task(max_attempts=3)
def seal_audit() -> None:
    """Seal what is finished."""
    at = clock.now()
    while sealing.seal_batch(at=at):
        pass


@every(hours=1, name="copy_audit_head", offset_seconds=900)
@task(max_attempts=8)
def copy_audit_head() -> None:
    """Copy the head of the chain to storage; waits while storage is away."""
    try:
        copies.copy_head(at=clock.now())
    except copies.ChainBroken:
        log.error("audit_chain_broken")  # the task dies in the admin's list; nothing is copied until somebody looked
        raise
