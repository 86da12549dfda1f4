"""Refunds: money given back to the payer. One that succeeded may still fail days later."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from marketplace.payments.client import call, moment, options, walk

REASON = "requested_by_customer"


@dataclass(frozen=True)
class Refund:
    """A refund as the provider has it now. `status` is pending, requires_action, succeeded, failed or canceled."""

    id: str
    intent_id: str
    charge_id: str
    status: str
    amount_minor: int
    currency: str
    created_at: datetime
    failure_reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_succeeded(self) -> bool:
        return self.status == "succeeded"

    @property
    def is_failed(self) -> bool:
        """The money did not reach the payer and is with us again."""
        return self.status in ("failed", "canceled")

    @property
    def is_pending(self) -> bool:
        return not self.is_succeeded and not self.is_failed


def create_refund(*, key: str, intent_id: str, amount_minor: int, metadata: Mapping[str, str]) -> Refund:
    """Give an amount of a paid intent back. `key` makes a repeat answer with the same refund; put our row's id into `metadata`.

    Refused codes worth knowing: charge_already_refunded, charge_disputed, amount_too_large (more than what is left).
    After ProviderUnsure find it with `list_refunds(intent_id=…)` by its metadata before a new key is used.

    Raises: UnknownToProvider, ProviderUnavailable, ProviderUnsure, ProviderRefused.
    """
    params = {"payment_intent": intent_id, "amount": amount_minor, "reason": REASON, "metadata": dict(metadata)}
    return _refund(call(lambda client: client.v1.refunds.create(params, options(key=key))))


def get_refund(refund_id: str) -> Refund:
    """The refund as it is now. Raises: UnknownToProvider, ProviderUnavailable, ProviderRefused."""
    return _refund(call(lambda client: client.v1.refunds.retrieve(refund_id)))


def list_refunds(*, intent_id: str = "", since: datetime | None = None) -> Iterator[Refund]:
    """Refunds, newest first: of one intent, or all since a moment. Raises: ProviderUnavailable, ProviderRefused."""
    params = {"payment_intent": intent_id} if intent_id else {}
    return map(_refund, walk(lambda client, params: client.v1.refunds.list(params), params, since=since))


def _refund(row: Any) -> Refund:
    return Refund(
        id=row.id,
        intent_id=row.payment_intent or "",
        charge_id=row.charge or "",
        status=row.status,
        amount_minor=row.amount,
        currency=row.currency.upper(),
        created_at=moment(row.created),
        failure_reason=str(getattr(row, "failure_reason", None) or "")[:80],
        metadata=row.metadata.to_dict() if row.metadata else {},
    )
