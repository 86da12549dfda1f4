"""The reconciler: what webhooks lost is found by looking, and what a restored database lost is rebuilt.

Two tables of dotted paths to service functions; whoever keeps rows that follow the provider has a line in each.

`OPEN_WORK`: `(*, at: datetime) -> int` looks at each of its own rows that is not at its end (a pending refund, an open
dispute, a payout on its way), asks the provider and follows what it says; returns how many were looked at. Every ten
minutes. It bounds itself (oldest look first, some hundreds a call), goes on after a row that does not match (alarm)
and lets `ProviderUnavailable` or `ServiceUnavailable` end the round.

`REBUILDERS`: `(*, since: datetime, at: datetime) -> int` walks the provider's own list of what was made since a moment
(`payments.list_refunds(since=…)`) and writes, by the ids in `metadata`, what is missing here; returns how many it
wrote. In this order, after a restore: purchases come first, so a refund finds its purchase. A repeat writes nothing.
It moves no money.

How a restore is noticed, without being told: `ProviderWatch` keeps up to when we looked, once a minute. A backup is always
older than now, so the restored row shows a gap; a gap of more than `LONGEST_GAP` closes the sale of new things until
everything that happened in it was walked. A backup so young that it shows none is noticed by the first payment that names
a purchase which is not there. Both ways lead to the same walk, which is also what catches up after an outage of our own.
"""

from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.module_loading import import_string

from core import audit
from core.exceptions import ServiceUnavailable
from core.ids import new_id
from marketplace import payments
from marketplace.models import ProviderWatch
from marketplace.services.rebuilding import catch_up, find_lost_payments, rebuild_purchase
from marketplace.services.settlement import CLOCKS_DIFFER_BY
from marketplace.services.webhooks import HANDLERS, keep_event

log = structlog.get_logger(__name__)

LONGEST_GAP = timedelta(minutes=5)
WALK_EVERY = timedelta(minutes=10)
NEW = "new"
FIRST_LOOK = timedelta(days=30)  # of a new installation: as far back as the provider keeps events

OPEN_WORK: tuple[str, ...] = (
    "marketplace.services.settlement.reconcile_purchases",
    "marketplace.services.refunds.reconcile_refunds",
    "marketplace.services.disputes.reconcile_disputes",
    "marketplace.services.payout_accounts.reconcile_accounts",
    "marketplace.services.payouts.reconcile_payouts",
    "marketplace.services.provider_fees.reconcile_provider_fees",
    "marketplace.services.parked.reconcile_parked",
)

REBUILDERS: tuple[str, ...] = (
    "marketplace.services.refunds.rebuild_refunds",
    "marketplace.services.disputes.rebuild_disputes",
    "marketplace.services.payout_accounts.rebuild_accounts",
    "marketplace.services.payout_rebuilding.rebuild_payouts",
)


class PartFailed(Exception):
    """A part of the round failed by itself: a defect, whose traceback stands in the log."""


def reconcile_open_work(*, at: datetime) -> int:
    """Look at everything that is open, whoever keeps it; returns how much it was.

    Called by the schedule every ten minutes. Raises: ServiceUnavailable, after which nothing more is tried; and, after all
    parts had their turn, what one of them failed with.
    """
    return _run_all(OPEN_WORK, at=at)


def ensure_nothing_is_missing() -> None:
    """Refuse a new sale while it is not known what was sold before. One query, by the database's clock. Raises: ServiceUnavailable."""
    if ProviderWatch.objects.filter(Q(restoring_since__isnull=False) | Q(watched_at__lt=Now() - LONGEST_GAP)).exists():
        raise ServiceUnavailable("payments", retry_after_seconds=30)


def watch_provider(*, at: datetime) -> ProviderWatch:
    """Take from the provider what no webhook brought: missed events, payments that we are behind with, lost purchases.

    Called by the schedule every minute. After a gap, or when a payment names a purchase that is
    not here, it rebuilds: purchases, then what `REBUILDERS` rebuild, then the missed events are applied by the worker.
    New sales are closed meanwhile. Safe in parallel and to repeat from anywhere; talks to the provider, so never call it in
    a transaction. Raises: ServiceUnavailable (and stays closed, if it was); what a part failed with, which closes nothing.
    """
    failure: Exception | None = None
    row, _ = ProviderWatch.objects.get_or_create(pk=1, defaults={"watched_at": at - FIRST_LOOK, "walked_at": at - FIRST_LOOK, "note": NEW})
    is_restoring = row.restoring_since is not None
    if not is_restoring and row.note != NEW and at - row.watched_at > LONGEST_GAP:
        is_restoring = True
        _close(row, note=f"nobody looked from {row.watched_at:%Y-%m-%d %H:%M} on", at=at)
    try:
        missing, behind = find_lost_payments(since=row.watched_at - CLOCKS_DIFFER_BY)
        if missing and not is_restoring:
            is_restoring = True
            _close(row, note=f"{len(missing)} payments name a purchase that is not here", at=at)
        for intent in reversed(missing):  # oldest first, as they were sold
            rebuild_purchase(intent=intent, at=at)
        for intent in reversed(behind):
            catch_up(intent=intent, at=at)
        walks = is_restoring or at - row.walked_at >= WALK_EVERY
        if walks:
            try:
                _run_all(REBUILDERS, since=row.walked_at - CLOCKS_DIFFER_BY, at=at)
            except PartFailed as failed:
                failure = failed
        if row.note != NEW:  # what was told before there was an inbox is in the lists that were just walked
            take_missed_events(since=row.watched_at - CLOCKS_DIFFER_BY, at=at)
    except payments.ProviderUnavailable as trouble:
        raise ServiceUnavailable("payments", retry_after_seconds=5) from trouble
    row = _looked(walked=walks, at=at)
    if failure is not None:
        raise failure
    return row


def take_missed_events(*, since: datetime, at: datetime) -> int:
    """Put the provider's events that no webhook brought into the inbox; returns how many were new.

    Follows https://docs.stripe.com/webhooks/process-undelivered-events. Raises: ProviderUnavailable.
    """
    return sum(keep_event(event=event, at=at) for event in payments.list_events(since=since) if event.type in HANDLERS)


def _run_all(parts: tuple[str, ...], **arguments: datetime) -> int:
    """Each part in turn: its outage ends the round, its failure waits until the others had theirs."""
    done, failed = 0, []
    for path in parts:
        try:
            done += import_string(path)(**arguments)
        except (ServiceUnavailable, payments.ProviderUnavailable) as trouble:
            raise ServiceUnavailable("payments", retry_after_seconds=5) from trouble
        except Exception:
            log.exception("reconciler_part_failed", part=path)
            failed.append(path)
    if failed:
        raise PartFailed(", ".join(failed))
    return done


def _close(row: ProviderWatch, *, note: str, at: datetime) -> None:
    """Sell nothing new until everything was walked."""
    log.error("payments_are_being_restored", note=note)
    with transaction.atomic():
        if ProviderWatch.objects.filter(pk=row.pk, restoring_since=None).update(restoring_since=at, note=note):
            audit.record(act="payments.restoring", actor_id=None, subject_id=new_id(), at=at, reason=note)


def _looked(*, walked: bool, at: datetime) -> ProviderWatch:
    """Note up to when everything is known; opens the sale again after a whole walk. Another round may have gone further."""
    with transaction.atomic():
        row = ProviderWatch.objects.select_for_update(no_key=True).get(pk=1)
        row.watched_at = max(row.watched_at, at)
        if walked:
            row.walked_at = max(row.walked_at, at)
            if row.restoring_since is not None and row.restoring_since <= at:
                audit.record(act="payments.restored", actor_id=None, subject_id=new_id(), at=at, reason=row.note)
                row.restoring_since, row.restored_at = None, at
            row.note = "" if row.note == NEW else row.note
        row.save()
    return row
