"""Balances: every movement of money on the platform's account and on each connected one (https://docs.stripe.com/api/balance)."""

import time
from typing import Any

from core.embedded.payments.currencies import CURRENCIES
from core.embedded.payments.store import Transaction, timestamp
from core.embedded.payments.wire import ApiError, ApiRequest, object_id, require_known

FEE_PERMILLE = 15
FIXED_FEE = {0: 30, 2: 25, 3: 100}  # by the currency's decimals
DISPUTE_FEE = {0: 2000, 2: 2000, 3: 6000}


def fee_of(charge: dict[str, Any]) -> int:
    """What the provider takes of a charge: 1.5 % and a little (https://docs.stripe.com/api/balance_transactions/object)."""
    return (charge["amount"] * FEE_PERMILLE + 500) // 1000 + FIXED_FEE[CURRENCIES[charge["currency"]][0]]


def dispute_fee_of(currency: str) -> int:
    """What the provider takes for a dispute, won or lost (https://docs.stripe.com/disputes/how-disputes-work)."""
    return DISPUTE_FEE[CURRENCIES[currency][0]]


def move(
    tx: Transaction, kind: str, *, source: str, amount: int, currency: str, account: str = "", fee: int = 0, waits: bool = False
) -> dict[str, Any]:
    """Book one movement; `waits` when the money becomes available only after a while."""
    now = timestamp()
    available_on = now + int(tx.setting("later", {}).get("available_after", 0) if waits else 0)
    movement = {
        "id": object_id("txn"),
        "object": "balance_transaction",
        "amount": amount,
        "available_on": available_on,
        "created": now,
        "currency": currency,
        "description": None,
        "exchange_rate": None,
        "fee": fee,
        "fee_details": [{"amount": fee, "currency": currency, "type": "stripe_fee"}] if fee else [],
        "net": amount - fee,
        "reporting_category": kind,
        "source": source,
        "status": "available" if available_on <= now else "pending",
        "type": kind,
    }
    tx.db.execute(
        "INSERT INTO movements (id, account, currency, net, available_on) VALUES (?, ?, ?, ?, ?)",
        (movement["id"], account, currency, movement["net"], available_on),
    )
    return tx.add(movement, parent=source, account=account)


def available(tx: Transaction, currency: str, *, account: str = "") -> int:
    """What may be transferred or paid out now. Money that came but waits does not count; what went out does at once."""
    row = tx.db.execute(
        "SELECT coalesce(sum(net), 0) FROM movements WHERE account = ? AND currency = ? AND (available_on <= ? OR net < 0)",
        (account, currency, time.time()),
    ).fetchone()
    return int(row[0])


def require_available(tx: Transaction, amount: int, currency: str, *, account: str = "") -> None:
    """Raises the 400 of https://docs.stripe.com/error-codes#balance-insufficient."""
    if available(tx, currency, account=account) < amount:
        raise ApiError(400, "You have insufficient available funds in your Stripe account.", code="balance_insufficient", saved=True)


def retrieve(tx: Transaction, request: ApiRequest) -> dict[str, Any]:
    """What the account has, by currency (https://docs.stripe.com/api/balance/balance_retrieve)."""
    require_known(request.params, "expand")
    query = "SELECT currency, sum(net) FROM movements WHERE account = ? GROUP BY currency ORDER BY currency"
    rows = tx.db.execute(query, (request.account,)).fetchall()
    parts = [(currency, total, available(tx, currency, account=request.account)) for currency, total in rows]
    return {
        "object": "balance",
        "available": [_part(currency, free) for currency, _, free in parts],
        "livemode": False,
        "pending": [_part(currency, total - free) for currency, total, free in parts],
    }


def _part(currency: str, amount: int) -> dict[str, Any]:
    return {"amount": amount, "currency": currency, "source_types": {"card": amount}}
