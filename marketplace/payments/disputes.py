"""Disputes: a payer's bank takes the money back, for now or for good."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from marketplace.payments.client import ProviderRefused, ProviderUnavailable, ProviderUnsure, UnknownToProvider, call, moment, options, walk

OPEN = ("warning_needs_response", "warning_under_review", "needs_response", "under_review")
NEEDS_RESPONSE = ("warning_needs_response", "needs_response")
WON = ("won", "warning_closed", "prevented")


@dataclass(frozen=True)
class Dispute:
    """A dispute as the provider has it now.

    `status` is needs_response or under_review (the money is gone for now), won, lost, or an inquiry before any money
    moves: warning_needs_response, warning_under_review, warning_closed. `withdrawn_minor` is what is gone at this
    moment; `fee_minor` what the provider took for the dispute.
    """

    id: str
    intent_id: str
    charge_id: str
    status: str
    reason: str
    amount_minor: int
    currency: str
    livemode: bool
    created_at: datetime
    evidence_due_at: datetime | None
    submissions: int
    withdrawn_minor: int
    fee_minor: int

    @property
    def is_open(self) -> bool:
        return self.status in OPEN

    @property
    def is_inquiry(self) -> bool:
        return self.status.startswith("warning_")

    @property
    def needs_response(self) -> bool:
        return self.status in NEEDS_RESPONSE

    @property
    def is_won(self) -> bool:
        """Over, and the money is ours (an inquiry that was closed took none)."""
        return self.status in WON

    @property
    def is_lost(self) -> bool:
        return self.status == "lost"


def get_dispute(dispute_id: str) -> Dispute:
    """The dispute as it is now. Raises: UnknownToProvider, ProviderUnavailable, ProviderRefused."""
    return _dispute(call(lambda client: client.v1.disputes.retrieve(dispute_id)))


def list_disputes(*, intent_id: str = "", since: datetime | None = None) -> Iterator[Dispute]:
    """Disputes, newest first: of one intent, or all since a moment. Raises: ProviderUnavailable, ProviderRefused."""
    params = {"payment_intent": intent_id} if intent_id else {}
    return map(_dispute, walk(lambda client, params: client.v1.disputes.list(params), params, since=since))


def send_evidence(*, key: str, dispute_id: str, evidence: Mapping[str, str], submit: bool) -> Dispute:
    """Keep texts with a dispute under the provider's names (`product_description`, `access_activity_log`, `uncategorized_text` …).

    With `submit` they go to the bank, once and for good. When it is over or was submitted already, what it has become.
    Texts have 20,000 characters at most, 150,000 together.

    Raises: UnknownToProvider, ProviderUnavailable, ProviderRefused.
    """
    params: dict[str, Any] = {"evidence": dict(evidence), "submit": submit}
    try:
        return _ended_or(lambda client: client.v1.disputes.update(dispute_id, params, options(key=key)), dispute_id)
    except ProviderUnsure:  # nothing was sent under this key and nothing ever will: a bank hears a seller once in any case
        return _ended_or(lambda client: client.v1.disputes.update(dispute_id, params), dispute_id)


def accept_dispute(*, dispute_id: str) -> Dispute:
    """Give in: the dispute is lost. When it is over already, what it has become. It needs no key: twice is once by itself.

    Raises: UnknownToProvider, ProviderUnavailable, ProviderRefused.
    """
    try:
        return _ended_or(lambda client: client.v1.disputes.close(dispute_id), dispute_id)
    except ProviderUnsure as trouble:  # the package sent the call twice, and the first one's error was saved
        raise ProviderUnavailable("the call failed") from trouble


def _ended_or(act: Any, dispute_id: str) -> Dispute:
    """What a call made of a dispute; refused because it is over: the dispute as it is."""
    try:
        return _dispute(call(act))
    except UnknownToProvider:
        raise
    except (ProviderRefused, ProviderUnsure):
        dispute = get_dispute(dispute_id)
        if dispute.needs_response:
            raise
        return dispute


def _dispute(row: Any) -> Dispute:
    due = row.evidence_details.due_by if row.evidence_details else None
    movements = row.balance_transactions or []
    return Dispute(
        id=row.id,
        intent_id=row.payment_intent or "",
        charge_id=row.charge if isinstance(row.charge, str) else row.charge.id,
        status=row.status,
        reason=str(row.reason or "")[:80],
        amount_minor=row.amount,
        currency=row.currency.upper(),
        livemode=bool(row.livemode),
        created_at=moment(row.created),
        evidence_due_at=moment(due) if due else None,
        submissions=row.evidence_details.submission_count if row.evidence_details else 0,
        withdrawn_minor=-sum(movement.amount for movement in movements),
        fee_minor=sum(movement.fee for movement in movements),
    )
