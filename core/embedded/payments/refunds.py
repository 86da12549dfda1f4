"""Refunds as of https://docs.stripe.com/refunds: some wait, and some that succeeded fail days later."""

from typing import Any

from core.embedded.payments import balance
from core.embedded.payments.events import tell
from core.embedded.payments.faults import later_seconds
from core.embedded.payments.store import Transaction, timestamp
from core.embedded.payments.wire import ApiError, ApiRequest, integer, metadata, object_id, require_known

REASONS = ("duplicate", "fraudulent", "requested_by_customer")
# https://docs.stripe.com/testing#refunds: what becomes of the refunds of a payment made with these.
METHODS = {"pm_card_refundFail": "fail", "pm_card_pendingRefund": "wait"}


def create(tx: Transaction, request: ApiRequest) -> dict[str, Any]:
    """Give money back, never more than was received (https://docs.stripe.com/api/refunds/create)."""
    require_known(request.params, "payment_intent", "charge", "amount", "reason", "metadata", "expand")
    charge = _charge_of(tx, request.params)
    amount = integer(request.params, "amount")
    reason = request.params.get("reason") or None
    if reason is not None and reason not in REASONS:
        raise ApiError(400, "Invalid reason", param="reason")
    left = charge["amount"] - charge["amount_refunded"]
    if any(dispute["status"] in ("needs_response", "under_review", "lost") for dispute in tx.children("dispute", charge["payment_intent"])):
        raise ApiError(400, "The charge has been charged back; cannot issue a refund.", code="charge_disputed", saved=True)
    if left == 0:
        raise ApiError(400, f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded", saved=True)
    if amount is not None and amount > left:
        raise ApiError(
            400,
            f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})",
            code="amount_too_large",
            param="amount",
            saved=True,
        )
    intent = tx.get("payment_intent", charge["payment_intent"])
    fate = tx.setting(f"refunds:{intent['id']}", METHODS.get(intent["payment_method"] or "", "succeed"))
    refund = {
        "id": object_id("re"),
        "object": "refund",
        "amount": amount or left,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": timestamp(),
        "currency": charge["currency"],
        "failure_balance_transaction": None,
        "failure_reason": None,
        "metadata": metadata(request.params),
        "payment_intent": intent["id"],
        "reason": reason,
        "status": "pending" if fate == "wait" else "succeeded",
    }
    movement = balance.move(tx, "refund", source=refund["id"], amount=-refund["amount"], currency=refund["currency"])
    refund["balance_transaction"] = movement["id"]
    tx.add(refund, parent=intent["id"])
    _count(tx, charge, refund["amount"])
    tell(tx, "refund.created", refund, request)
    tell(tx, "charge.refunded", charge, request)
    if fate in ("wait", "fail"):
        tx.later("refund_succeeds" if fate == "wait" else "refund_fails", refund["id"], seconds=later_seconds(tx))
    return refund


def succeed(tx: Transaction, refund_id: str) -> None:
    """A refund that waited reaches the payer; nothing for one that did not wait."""
    refund = tx.get("refund", refund_id)
    if refund["status"] == "pending":
        refund["status"] = "succeeded"
        tx.save(refund)
        _tell_of_change(tx, refund)


def fail(tx: Transaction, refund_id: str, *, reason: str = "expired_or_canceled_card") -> None:
    """The payer's bank sends it back, a succeeded one too: the money is on the balance again.

    Follows https://docs.stripe.com/refunds#failed-refunds.
    """
    refund = tx.get("refund", refund_id)
    if refund["status"] not in ("pending", "succeeded"):
        return
    movement = balance.move(tx, "refund_failure", source=refund["id"], amount=refund["amount"], currency=refund["currency"])
    refund.update(status="failed", failure_reason=reason, failure_balance_transaction=movement["id"])
    tx.save(refund)
    _count(tx, tx.get("charge", refund["charge"]), -refund["amount"])
    _tell_of_change(tx, refund)
    tell(tx, "refund.failed", refund)


def _charge_of(tx: Transaction, params: dict[str, Any]) -> dict[str, Any]:
    if "charge" in params:
        charge = tx.get("charge", str(params["charge"]), param="charge")
    else:
        intent = tx.get("payment_intent", str(params.get("payment_intent", "")), param="payment_intent")
        charge = tx.find("charge", intent["latest_charge"] or "") or {"paid": False}
    if not charge["paid"]:
        raise ApiError(
            400, "This PaymentIntent does not have a successful charge to refund.", code="payment_intent_unexpected_state", saved=True
        )
    return charge


def _count(tx: Transaction, charge: dict[str, Any], amount: int) -> None:
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    tx.save(charge)


def _tell_of_change(tx: Transaction, refund: dict[str, Any]) -> None:
    tell(tx, "refund.updated", refund)
    tell(tx, "charge.refund.updated", refund)
