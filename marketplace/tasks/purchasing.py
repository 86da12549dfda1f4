"""Payments in the worker and on the schedule."""

from datetime import timedelta
from uuid import UUID

from core import clock
from core.schedule import every
from core.tasks import task
from marketplace.services import reconciler, settlement, webhooks


@task(max_attempts=12)
def apply_payment_event(event_id: str) -> None:
    """Apply one event of the inbox."""
    webhooks.apply_event(event_id=UUID(event_id), at=clock.now())


@every(minutes=1, name="reconcile_recent_purchases")
@task(max_attempts=1)
def reconcile_recent_purchases() -> None:
    """Look at pending purchases younger than an hour: a lost webhook is found within a minute."""
    settlement.reconcile_purchases(at=clock.now(), younger_than=timedelta(hours=1))


@every(minutes=1, name="watch_provider", offset_seconds=15)
@task(max_attempts=1, priority=70)  # what keeps the sale open waits behind no batch of mails
def watch_provider() -> None:
    """Take from the provider what no webhook brought, and rebuild what a restored database lost."""
    reconciler.watch_provider(at=clock.now())


@every(minutes=10, name="reconcile_open_work")
@task(max_attempts=1)
def reconcile_open_work() -> None:
    """Look at everything that is open: purchases, refunds, disputes, payouts."""
    reconciler.reconcile_open_work(at=clock.now())


@every(minutes=1, name="expire_purchases", offset_seconds=30)
@task(max_attempts=1)
def expire_purchases() -> None:
    """End purchases that nobody paid within their hour."""
    settlement.expire_purchases(at=clock.now())
