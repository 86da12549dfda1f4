"""Disputes as of https://docs.stripe.com/disputes: the bank takes the money, hears the seller, and decides."""

from typing import Any

from core.embedded.payments import balance, refunds
from core.embedded.payments.events import tell
from core.embedded.payments.faults import later_seconds
from core.embedded.payments.store import Transaction, timestamp
from core.embedded.payments.wire import ApiError, ApiRequest, metadata, object_id, require_known

NEEDS_RESPONSE = ("needs_response", "warning_needs_response")
OPEN = (*NEEDS_RESPONSE, "under_review", "warning_under_review")
DAYS_TO_RESPOND = 7
# https://docs.stripe.com/api/disputes/evidence_object: texts only, files are not taken here
EVIDENCE = (
    "access_activity_log", "billing_address", "cancellation_policy_disclosure", "cancellation_rebuttal", "customer_email_address",
    "customer_name", "customer_purchase_ip", "duplicate_charge_explanation", "duplicate_charge_id", "product_description",
    "refund_policy_disclosure", "refund_refusal_explanation", "service_date", "shipping_address", "shipping_carrier", "shipping_date",
    "shipping_tracking_number", "uncategorized_text",
)  # fmt: skip
LONGEST_TEXT, LONGEST_TOGETHER = 20_000, 150_000
# https://docs.stripe.com/testing#disputes: what these words in `uncategorized_text` lead to
VERDICTS = {"winning_evidence": "dispute_won", "losing_evidence": "dispute_lost"}


def open_dispute(tx: Transaction, request: ApiRequest | None, intent: dict[str, Any], *, inquiry: bool = False) -> dict[str, Any]:
    """The payer asks their bank: it takes the money back at once, unless it only inquires first.

    Follows https://docs.stripe.com/disputes/how-disputes-work. Refunds that wait fail with it
    (https://docs.stripe.com/api/refunds/object#refund_object-failure_reason).
    """
    charge = tx.get("charge", intent["latest_charge"])
    if charge["disputed"]:
        raise ApiError(409, "This payment is disputed already.", saved=True)
    for refund in tx.children("refund", intent["id"]):
        if refund["status"] == "pending":
            refunds.fail(tx, refund["id"], reason="charge_for_pending_refund_disputed")
    charge = tx.get("charge", intent["latest_charge"])
    now = timestamp()
    dispute = {
        "id": object_id("du"),
        "object": "dispute",
        "amount": charge["amount"] - charge["amount_refunded"] or charge["amount"],
        "balance_transactions": [],
        "charge": charge["id"],
        "created": now,
        "currency": intent["currency"],
        "evidence": {},
        "evidence_details": {"due_by": now + DAYS_TO_RESPOND * 24 * 3600, "has_evidence": False, "past_due": False, "submission_count": 0},
        "is_charge_refundable": inquiry,
        "livemode": False,
        "metadata": {},
        "payment_intent": intent["id"],
        "reason": "fraudulent",
        "status": "warning_needs_response" if inquiry else "needs_response",
    }
    if not inquiry:
        _move(tx, dispute, -dispute["amount"], fee=balance.dispute_fee_of(dispute["currency"]))
    tx.add(dispute, parent=intent["id"])
    charge["disputed"] = True
    tx.save(charge)
    tell(tx, "charge.dispute.created", dispute, request)
    if not inquiry:
        tell(tx, "charge.dispute.funds_withdrawn", dispute, request)
    tx.later("dispute_overdue", dispute["id"], seconds=DAYS_TO_RESPOND * 24 * 3600)
    return dispute


def update(tx: Transaction, request: ApiRequest, dispute_id: str) -> dict[str, Any]:
    """Keep evidence; `submit` sends it to the bank, once (https://docs.stripe.com/api/disputes/update)."""
    require_known(request.params, "evidence", "submit", "metadata", "expand")
    dispute = tx.get("dispute", dispute_id, param="dispute")
    if dispute["status"] not in NEEDS_RESPONSE:
        raise ApiError(400, "This dispute is already closed or its evidence was submitted.", saved=True)
    evidence = request.params.get("evidence") or {}
    if not isinstance(evidence, dict):
        raise ApiError(400, "Invalid object", param="evidence")
    for name, text in evidence.items():
        if name not in EVIDENCE or not isinstance(text, str):
            member = f"evidence[{name[:60]}]"
            raise ApiError(400, f"Received unknown parameter: {member}", code="parameter_unknown", param=member)
        if len(text) > LONGEST_TEXT:
            raise ApiError(400, f"Invalid string: at most {LONGEST_TEXT} characters", param=f"evidence[{name}]")
    dispute["evidence"] |= evidence
    if sum(map(len, dispute["evidence"].values())) > LONGEST_TOGETHER:
        raise ApiError(400, f"The evidence has more than {LONGEST_TOGETHER} characters.", param="evidence")
    dispute["metadata"] |= metadata(request.params)
    details = dispute["evidence_details"]
    details["has_evidence"] = bool(dispute["evidence"])
    if request.params.get("submit", "true") == "true" and evidence:
        details["submission_count"] += 1
        dispute["status"] = "warning_under_review" if dispute["status"].startswith("warning") else "under_review"
        verdict = VERDICTS.get(dispute["evidence"].get("uncategorized_text", ""))
        if verdict:
            tx.later(verdict, dispute["id"], seconds=later_seconds(tx))
    tx.save(dispute)
    tell(tx, "charge.dispute.updated", dispute, request)
    return dispute


def close(tx: Transaction, request: ApiRequest, dispute_id: str) -> dict[str, Any]:
    """The seller gives in (https://docs.stripe.com/api/disputes/close)."""
    require_known(request.params, "expand")
    dispute = tx.get("dispute", dispute_id, param="dispute")
    if dispute["status"] not in NEEDS_RESPONSE:
        raise ApiError(400, "This dispute is already closed.", saved=True)
    return _end(tx, dispute, won=False, request=request)


def decide(tx: Transaction, dispute_id: str, *, won: bool) -> None:
    """The bank decides (https://docs.stripe.com/api/disputes/object#dispute_object-status); raises 409 when it did before."""
    dispute = tx.get("dispute", dispute_id)
    if dispute["status"] not in OPEN:
        raise ApiError(409, "This dispute is decided.", saved=True)
    _end(tx, dispute, won=won, request=None)


def overdue(tx: Transaction, dispute_id: str) -> None:
    """Nobody answered in time: lost. Nothing for one that was answered."""
    dispute = tx.get("dispute", dispute_id)
    if dispute["status"] in NEEDS_RESPONSE:
        dispute["evidence_details"]["past_due"] = True
        _end(tx, dispute, won=False, request=None)


def find_open(tx: Transaction, intent_id: str) -> dict[str, Any] | None:
    """The dispute of an intent that is not decided yet."""
    return next((dispute for dispute in tx.children("dispute", intent_id) if dispute["status"] in OPEN), None)


def _end(tx: Transaction, dispute: dict[str, Any], *, won: bool, request: ApiRequest | None) -> dict[str, Any]:
    if dispute["status"].startswith("warning"):  # an inquiry took no money, so it gives none back
        dispute["status"] = "warning_closed"
    else:
        dispute["status"] = "won" if won else "lost"
        if won:
            _move(tx, dispute, dispute["amount"])
            tell(tx, "charge.dispute.funds_reinstated", dispute, request)
    tx.save(dispute)
    tell(tx, "charge.dispute.closed", dispute, request)
    return dispute


def _move(tx: Transaction, dispute: dict[str, Any], amount: int, *, fee: int = 0) -> None:
    movement = balance.move(tx, "adjustment", source=dispute["id"], amount=amount, currency=dispute["currency"], fee=fee)
    dispute["balance_transactions"].append(movement)
