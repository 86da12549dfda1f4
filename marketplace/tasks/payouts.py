"""Payouts in the worker and on the schedule."""

from uuid import UUID

from core import clock
from core.schedule import every
from core.tasks import task
from marketplace.policies.payouts import PAYOUT_EVERY, PAYOUT_OFFSET
from marketplace.services import payouts
from marketplace.services.settlement import provider_answers


@task(max_attempts=12)
def send_payout(payout_id: str) -> None:
    """Transfer a reserved payout and send it to the bank; what is left is the reconciler's."""
    with provider_answers():
        payouts.continue_payout(payout_id=UUID(payout_id), at=clock.now())


@every(days=PAYOUT_EVERY.days, name="make_payouts", offset_seconds=PAYOUT_OFFSET.total_seconds())
@task(max_attempts=3)
def make_payouts() -> None:
    """Reserve what is due to every tuner, once a week."""
    payouts.make_payouts(at=clock.now())
