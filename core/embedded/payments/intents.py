"""PaymentIntents: their life cycle as of https://docs.stripe.com/payments/paymentintents/lifecycle."""

from typing import Any

from core.embedded.payments import balance, disputes
from core.embedded.payments.currencies import CURRENCIES
from core.embedded.payments.events import tell
from core.embedded.payments.store import Transaction, timestamp
from core.embedded.payments.wire import ApiError, ApiRequest, expanded, integer, metadata, object_id, random_text, require_known

CANCELABLE = ("requires_payment_method", "requires_confirmation", "requires_action", "requires_capture", "processing")
CANCELLATION_REASONS = ("duplicate", "fraudulent", "requested_by_customer", "abandoned")

# https://docs.stripe.com/testing: what the test payment methods do.
TEST_METHODS = {
    "pm_card_visa": "succeed",
    "pm_card_mastercard": "succeed",
    "pm_card_authenticationRequired": "require_action",
    "pm_card_threeDSecure2Required": "require_action",
    "pm_card_chargeDeclined": "generic_decline",
    "pm_card_visa_chargeDeclined": "generic_decline",
    "pm_card_chargeDeclinedInsufficientFunds": "insufficient_funds",
    "pm_card_visa_chargeDeclinedInsufficientFunds": "insufficient_funds",
    "pm_card_chargeDeclinedExpiredCard": "expired_card",
    "pm_card_createDispute": "dispute",
    "pm_card_createDisputeInquiry": "inquiry",
    "pm_card_refundFail": "succeed",
    "pm_card_pendingRefund": "succeed",
}
DECLINES = {
    "generic_decline": ("card_declined", "generic_decline", "Your card was declined."),
    "insufficient_funds": ("card_declined", "insufficient_funds", "Your card has insufficient funds."),
    "expired_card": ("expired_card", "expired_card", "Your card has expired."),
    "authentication": (
        "payment_intent_authentication_failure",
        None,
        "The provided PaymentMethod has failed authentication. You can provide a new PaymentMethod to attempt this PaymentIntent again.",
    ),
}


def create(tx: Transaction, request: ApiRequest) -> dict[str, Any]:
    """Make an intent; it waits for a payment method (https://docs.stripe.com/api/payment_intents/create)."""
    params = request.params
    require_known(
        params, "amount", "currency", "metadata", "description", "automatic_payment_methods", "payment_method_types", "receipt_email",
        "payment_method", "confirm", "customer", "statement_descriptor_suffix", "transfer_group", "capture_method", "expand",
    )  # fmt: skip
    amount = integer(params, "amount", required=True)
    currency = params.get("currency")
    if not isinstance(currency, str) or not currency:
        raise ApiError(400, "Missing required param: currency.", code="parameter_missing", param="currency")
    currency = currency.lower()
    if currency not in CURRENCIES:
        raise ApiError(400, f"Invalid currency: {currency[:20]}.", param="currency")
    if amount is None or amount < CURRENCIES[currency][1]:
        raise ApiError(400, f"Amount must be at least {CURRENCIES[currency][1]} {currency}", code="amount_too_small", param="amount")
    intent_id = object_id("pi")
    intent = {
        "id": intent_id,
        "object": "payment_intent",
        "amount": amount,
        "amount_capturable": 0,
        "amount_received": 0,
        "automatic_payment_methods": {"enabled": True, "allow_redirects": "always"} if "payment_method_types" not in params else None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic_async",
        "client_secret": f"{intent_id}_secret_{random_text(25)}",
        "confirmation_method": "automatic",
        "created": timestamp(),
        "currency": currency,
        "customer": None,
        "description": params.get("description") or None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": metadata(params),
        "next_action": None,
        "payment_method": None,
        "payment_method_types": ["card"],
        "receipt_email": params.get("receipt_email") or None,
        "statement_descriptor_suffix": params.get("statement_descriptor_suffix") or None,
        "status": "requires_payment_method",
        "transfer_group": params.get("transfer_group") or None,
    }
    tx.add(intent)
    tell(tx, "payment_intent.created", intent, request)
    if params.get("confirm") == "true":
        return confirm(tx, request, intent_id)
    return intent


def retrieve(tx: Transaction, request: ApiRequest, intent_id: str) -> dict[str, Any]:
    """The intent as it is now, with its charge and the charge's movement when they are to be expanded.

    Follows https://docs.stripe.com/api/payment_intents/retrieve.
    """
    require_known(request.params, "expand", "client_secret")
    intent = tx.get("payment_intent", intent_id, param="intent")
    wanted = expanded(request.params)
    if any(path.startswith("latest_charge") for path in wanted) and intent["latest_charge"]:
        charge = tx.get("charge", intent["latest_charge"])
        if "latest_charge.balance_transaction" in wanted and charge["balance_transaction"]:
            charge["balance_transaction"] = tx.get("balance_transaction", charge["balance_transaction"])
        intent = {**intent, "latest_charge": charge}
    return intent


def update(tx: Transaction, request: ApiRequest, intent_id: str) -> dict[str, Any]:
    """Change description or metadata; the rest is fixed here (https://docs.stripe.com/api/payment_intents/update)."""
    require_known(request.params, "metadata", "description", "expand")
    intent = tx.get("payment_intent", intent_id, param="intent")
    given = request.params.get("metadata") or {}
    merged = {**intent["metadata"], **metadata(request.params)}
    intent["metadata"] = {name: value for name, value in merged.items() if given.get(name, value) != ""}
    intent["description"] = request.params.get("description", intent["description"])
    return tx.save(intent)


def confirm(tx: Transaction, request: ApiRequest, intent_id: str) -> dict[str, Any]:
    """Try to pay with a test payment method (https://docs.stripe.com/api/payment_intents/confirm)."""
    if not request.path.endswith("/payment_intents"):
        require_known(request.params, "payment_method", "return_url", "expand")
    method = request.params.get("payment_method")
    if not method:
        raise ApiError(
            400,
            "You cannot confirm this PaymentIntent because it's missing a payment method.",
            code="payment_intent_unexpected_state",
            saved=True,
        )
    if method not in TEST_METHODS:
        raise ApiError(404, f"No such PaymentMethod: '{str(method)[:60]}'", code="resource_missing", param="payment_method")
    return act(tx, request, intent_id, TEST_METHODS[method], method=method)


def cancel(tx: Transaction, request: ApiRequest, intent_id: str) -> dict[str, Any]:
    """End an intent that has not been paid (https://docs.stripe.com/api/payment_intents/cancel); a second time is an error."""
    require_known(request.params, "cancellation_reason", "expand")
    reason = request.params.get("cancellation_reason")
    if reason is not None and reason not in CANCELLATION_REASONS:
        raise ApiError(400, "Invalid cancellation_reason", param="cancellation_reason")
    intent = tx.get("payment_intent", intent_id, param="intent")
    if intent["status"] not in CANCELABLE:
        raise unexpected_state(intent, f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}.")
    intent.update(status="canceled", canceled_at=timestamp(), cancellation_reason=reason, next_action=None)
    tx.save(intent)
    tell(tx, "payment_intent.canceled", intent, request)
    return intent


def act(tx: Transaction, request: ApiRequest, intent_id: str, outcome: str, *, method: str = "pm_card_visa") -> dict[str, Any]:
    """What the payer (or the bank) does: succeed, require_action, dispute, inquiry, or a decline by its reason.

    A decline sets the intent back to `requires_payment_method` with `last_payment_error` and raises 402 `card_error`
    (https://docs.stripe.com/declines); the payer may try again.
    """
    intent = tx.get("payment_intent", intent_id, param="intent")
    if intent["status"] not in ("requires_payment_method", "requires_confirmation", "requires_action"):
        raise unexpected_state(
            intent, f"You cannot confirm this PaymentIntent because it has a status of {intent['status']}; only one that waits can be paid."
        )
    intent["payment_method"] = method
    if outcome == "require_action":
        intent.update(
            status="requires_action",
            next_action={"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "three_d_secure_redirect"}},
        )
        tx.save(intent)
        tell(tx, "payment_intent.requires_action", intent, request)
        return intent
    if outcome in DECLINES:
        return _decline(tx, request, intent, outcome)
    charge = _charge(intent, status="succeeded")
    movement = balance.move(
        tx, "charge", source=charge["id"], amount=charge["amount"], currency=charge["currency"], fee=balance.fee_of(charge), waits=True
    )
    charge["balance_transaction"] = movement["id"]
    tx.add(charge, parent=intent["id"])
    intent.update(
        status="succeeded", amount_received=intent["amount"], latest_charge=charge["id"], next_action=None, last_payment_error=None
    )
    tx.save(intent)
    tell(tx, "charge.succeeded", charge, request)
    tell(tx, "payment_intent.succeeded", intent, request)
    if outcome in ("dispute", "inquiry"):
        disputes.open_dispute(tx, request, intent, inquiry=outcome == "inquiry")
    return intent


def _decline(tx: Transaction, request: ApiRequest, intent: dict[str, Any], outcome: str) -> dict[str, Any]:
    code, decline_code, message = DECLINES[outcome]
    charge = tx.add(_charge(intent, status="failed", failure_code=code, failure_message=message), parent=intent["id"])
    error = {"type": "card_error", "code": code, "decline_code": decline_code, "message": message, "charge": charge["id"]}
    intent.update(
        status="requires_payment_method",
        latest_charge=charge["id"],
        next_action=None,
        payment_method=None,
        last_payment_error={name: value for name, value in error.items() if value is not None},
    )
    tx.save(intent)
    tell(tx, "charge.failed", charge, request)
    tell(tx, "payment_intent.payment_failed", intent, request)
    raise ApiError(
        402, message, kind="card_error", code=code, decline_code=decline_code, charge=charge["id"], payment_intent=intent, saved=True
    )


def unexpected_state(intent: dict[str, Any], message: str) -> ApiError:
    """https://docs.stripe.com/error-codes#payment-intent-unexpected-state: it carries the intent as it is."""
    return ApiError(400, message, code="payment_intent_unexpected_state", payment_intent=intent, saved=True)


def _charge(intent: dict[str, Any], *, status: str, failure_code: str | None = None, failure_message: str | None = None) -> dict[str, Any]:
    return {
        "id": object_id("ch"),
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": intent["amount"] if status == "succeeded" else 0,
        "amount_refunded": 0,
        "balance_transaction": None,
        "captured": status == "succeeded",
        "created": timestamp(),
        "currency": intent["currency"],
        "disputed": False,
        "failure_code": failure_code,
        "failure_message": failure_message,
        "livemode": False,
        "metadata": intent["metadata"],
        "paid": status == "succeeded",
        "payment_intent": intent["id"],
        "refunded": False,
        "status": status,
        "transfer_group": intent["transfer_group"],
    }

