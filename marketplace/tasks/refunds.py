"""Refunds, disputes and cases in the worker and on the schedule."""

from uuid import UUID

from core import clock
from core.schedule import every
from core.tasks import task
from marketplace.services import cases, disputes, refunds


@task(max_attempts=30, first_delay_seconds=2, longest_delay_seconds=600)
def send_refund(refund_id: str) -> None:
    """Give promised money back."""
    refunds.send_refund(refund_id=UUID(refund_id), at=clock.now())


@task(max_attempts=20)
def assemble_evidence(dispute_id: str) -> None:
    """Put together what we know about a disputed payment."""
    disputes.assemble_evidence(dispute_id=UUID(dispute_id), at=clock.now())


@task(max_attempts=30, first_delay_seconds=2, longest_delay_seconds=600)
def send_evidence(dispute_id: str) -> None:
    """Send the evidence that staff submitted."""
    disputes.send_evidence(dispute_id=UUID(dispute_id), at=clock.now())


@every(minutes=10, name="chase_cases")
@task(max_attempts=3)
def chase_cases() -> None:
    """Remind who must answer in a case, and bring to staff what nobody answered."""
    cases.chase_cases(at=clock.now())


@every(hours=1, name="chase_disputes")
@task(max_attempts=3)
def chase_disputes() -> None:
    """Remind staff of evidence that a bank waits for."""
    disputes.chase_disputes(at=clock.now())
