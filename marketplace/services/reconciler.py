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
"""

OPEN_WORK: tuple[str, ...] = (
    "marketplace.services.settlement.reconcile_purchases",
    "marketplace.services.refunds.reconcile_refunds",
    "marketplace.services.disputes.reconcile_disputes",
    "marketplace.services.payout_accounts.reconcile_accounts",
    "marketplace.services.payouts.reconcile_payouts",
)

REBUILDERS: tuple[str, ...] = (
    "marketplace.services.refunds.rebuild_refunds",
    "marketplace.services.disputes.rebuild_disputes",
    "marketplace.services.payout_accounts.rebuild_accounts",
    "marketplace.services.payouts.rebuild_payouts",
)
