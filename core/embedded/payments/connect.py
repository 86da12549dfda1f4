"""Connected accounts, transfers to them and payouts from them: https://docs.stripe.com/connect."""

import re
from typing import Any

from core.embedded.payments import balance
from core.embedded.payments.currencies import CURRENCIES
from core.embedded.payments.events import tell
from core.embedded.payments.faults import later_seconds
from core.embedded.payments.store import Transaction, timestamp
from core.embedded.payments.wire import ApiError, ApiRequest, integer, metadata, object_id, random_text, require_known

LINK_SECONDS = 300
CURRENCY_OF = {
    "AU": "aud", "BR": "brl", "CA": "cad", "CH": "chf", "CZ": "czk", "DK": "dkk", "GB": "gbp", "HU": "huf", "IN": "inr", "JP": "jpy",
    "MX": "mxn", "NO": "nok", "NZ": "nzd", "PL": "pln", "RO": "ron", "SE": "sek", "SG": "sgd", "TH": "thb", "US": "usd",
}  # fmt: skip
NEEDED = ["business_type", "external_account", "individual.dob.day", "individual.last_name", "tos_acceptance.date"]
ONBOARDING = ("complete", "later", "verify", "more_needed", "reject")


# Accounts


def create_account(tx: Transaction, request: ApiRequest) -> dict[str, Any]:
    """An Express account that can do nothing before its owner was onboarded (https://docs.stripe.com/api/accounts/create)."""
    require_known(request.params, "type", "country", "email", "capabilities", "settings", "metadata", "business_type", "expand")
    if request.params.get("type") != "express":
        raise ApiError(400, "Invalid type: only express accounts are made here.", param="type")
    country = str(request.params.get("country", ""))
    if not re.fullmatch(r"[A-Z]{2}", country):
        raise ApiError(400, f"Country '{country[:10]}' is unknown.", code="country_unsupported", param="country")
    schedule = _inner(request.params, "settings", "payouts", "schedule", "interval")
    if schedule not in (None, "manual"):
        raise ApiError(400, "Only the manual payout schedule is played here.", param="settings[payouts][schedule][interval]")
    account = {
        "id": object_id("acct"),
        "object": "account",
        "business_type": request.params.get("business_type"),
        "capabilities": {"transfers": "inactive"} if _inner(request.params, "capabilities", "transfers", "requested") == "true" else {},
        "charges_enabled": False,
        "country": country,
        "created": timestamp(),
        "default_currency": CURRENCY_OF.get(country, "eur"),
        "details_submitted": False,
        "email": request.params.get("email") or None,
        "metadata": metadata(request.params),
        "payouts_enabled": False,
        "requirements": _requirements(due=NEEDED, reason="requirements.past_due"),
        "settings": {"payouts": {"debit_negative_balances": True, "schedule": {"interval": "manual"}}},
        "type": "express",
    }
    return tx.add(account)


def create_link(tx: Transaction, request: ApiRequest) -> dict[str, Any]:
    """A link to the onboarding page, for one visit within minutes (https://docs.stripe.com/api/account_links/create)."""
    require_known(request.params, "account", "refresh_url", "return_url", "type", "collection_options", "expand")
    account = tx.get("account", str(request.params.get("account", "")), param="account")
    if request.params.get("type") not in ("account_onboarding", "account_update"):
        raise ApiError(400, "Invalid type", param="type")
    for name in ("refresh_url", "return_url"):
        if not re.fullmatch(r"https?://[^\s\"'<>]{1,2000}", str(request.params.get(name, ""))):
            raise ApiError(400, "Not a valid URL", code="url_invalid", param=name)
    now = timestamp()
    link = tx.add(
        {
            "id": random_text(32),
            "object": "account_link",
            "account": account["id"],
            "created": now,
            "expires_at": now + LINK_SECONDS,
            "opened": False,
            "finished": False,
            "refresh_url": request.params["refresh_url"],
            "return_url": request.params["return_url"],
        },
        parent=account["id"],
    )
    return {
        "object": "account_link",
        "created": now,
        "expires_at": link["expires_at"],
        "url": f"{request.public_url}/onboarding/{link['id']}",
    }


def onboard(tx: Transaction, account_id: str, outcome: str) -> None:
    """What the owner does on the page, and what the provider makes of it (https://docs.stripe.com/connect/handling-api-verification).

    complete: all is known and verified. verify: all is known, checked later. more_needed: a document is missing.
    reject: the provider does not want the account. later: the owner left.
    """
    account = tx.get("account", account_id)
    if outcome == "later":
        return
    account["details_submitted"] = True
    if outcome == "complete":
        state = ("active", True, _requirements())
    elif outcome == "verify":
        verifying = ["individual.verification.document"]
        state = ("pending", False, _requirements(verifying=verifying, reason="requirements.pending_verification"))
        tx.later("account_verified", account_id, seconds=later_seconds(tx))
    elif outcome == "more_needed":
        missing = ["individual.verification.document"]
        state = ("inactive", False, _requirements(due=missing, past_due=missing, reason="requirements.past_due"))
    else:
        state = ("inactive", False, _requirements(reason="rejected.other"))
    if account["capabilities"]:
        account["capabilities"]["transfers"] = state[0]
    account["charges_enabled"] = account["payouts_enabled"] = state[1]
    account["requirements"] = state[2]
    tx.save(account)
    tell(tx, "account.updated", account, account=account_id)


def _requirements(
    *, due: list[str] | None = None, past_due: list[str] | None = None, verifying: list[str] | None = None, reason: str | None = None
) -> dict[str, Any]:
    return {
        "current_deadline": None,
        "currently_due": due or [],
        "disabled_reason": reason,
        "errors": [],
        "eventually_due": due or [],
        "past_due": past_due or [],
        "pending_verification": verifying or [],
    }


# Transfers


def create_transfer(tx: Transaction, request: ApiRequest) -> dict[str, Any]:
    """Move money to an account (https://docs.stripe.com/connect/separate-charges-and-transfers).

    Without `source_transaction` it must be available; with it, all transfers of the charge stay within its amount.
    """
    params = request.params
    require_known(
        params, "amount", "currency", "destination", "transfer_group", "source_transaction", "metadata", "description", "expand"
    )
    amount, currency = _money(params)
    account = tx.find("account", str(params.get("destination", "")))
    if account is None:
        raise ApiError(400, f"No such destination: '{str(params.get('destination'))[:60]}'", code="resource_missing", param="destination")
    if account["capabilities"].get("transfers") != "active":
        raise ApiError(
            400,
            "Your destination account needs to have at least one of the following capabilities enabled: transfers",
            code="insufficient_capabilities_for_transfer",
            saved=True,
        )
    group, source = params.get("transfer_group") or None, params.get("source_transaction") or None
    if source is None:
        balance.require_available(tx, amount, currency)
    else:
        charge = tx.get("charge", source, param="source_transaction")
        if charge["currency"] != currency:
            raise ApiError(400, "The currency of source_transaction's balance transaction is another one.", param="currency", saved=True)
        moved = sum(transfer["amount"] for transfer in tx.children("transfer", source))
        if not charge["paid"] or moved + amount > charge["amount"]:
            raise ApiError(400, "Transfers using this transaction as a source must not exceed its amount.", param="amount", saved=True)
        group = group or charge["transfer_group"] or f"group_{charge['payment_intent']}"
    payment_id = object_id("py")
    transfer = {
        "id": object_id("tr"),
        "object": "transfer",
        "amount": amount,
        "amount_reversed": 0,
        "balance_transaction": None,
        "created": timestamp(),
        "currency": currency,
        "description": params.get("description") or None,
        "destination": account["id"],
        "destination_payment": payment_id,
        "livemode": False,
        "metadata": metadata(params),
        "reversed": False,
        "source_transaction": source,
        "source_type": "card",
        "transfer_group": group,
    }
    movement = balance.move(tx, "transfer", source=transfer["id"], amount=-amount, currency=currency)
    transfer["balance_transaction"] = movement["id"]
    balance.move(tx, "payment", source=payment_id, amount=amount, currency=currency, account=account["id"])
    tx.add(transfer, parent=source)
    tell(tx, "transfer.created", transfer, request)
    return transfer


def reverse_transfer(tx: Transaction, request: ApiRequest, transfer_id: str) -> dict[str, Any]:
    """Take a part back, if the account still has it (https://docs.stripe.com/api/transfer_reversals/create)."""
    require_known(request.params, "amount", "metadata", "description", "expand")
    transfer = tx.get("transfer", transfer_id, param="transfer")
    left = transfer["amount"] - transfer["amount_reversed"]
    amount = integer(request.params, "amount") or left
    if left == 0 or amount > left:
        raise ApiError(400, f"The transfer has {left} left to reverse.", code="amount_too_large", param="amount", saved=True)
    balance.require_available(tx, amount, transfer["currency"], account=transfer["destination"])
    reversal = {
        "id": object_id("trr"),
        "object": "transfer_reversal",
        "amount": amount,
        "balance_transaction": None,
        "created": timestamp(),
        "currency": transfer["currency"],
        "destination_payment_refund": object_id("pyr"),
        "metadata": metadata(request.params),
        "transfer": transfer["id"],
    }
    movement = balance.move(tx, "transfer_refund", source=reversal["id"], amount=amount, currency=transfer["currency"])
    reversal["balance_transaction"] = movement["id"]
    balance.move(
        tx, "payment_refund", source=reversal["destination_payment_refund"], amount=-amount, currency=transfer["currency"],
        account=transfer["destination"],
    )  # fmt: skip
    tx.add(reversal, parent=transfer["id"])
    transfer["amount_reversed"] += amount
    transfer["reversed"] = transfer["amount_reversed"] == transfer["amount"]
    tx.save(transfer)
    tell(tx, "transfer.reversed", transfer, request)
    return reversal


def list_reversals(tx: Transaction, request: ApiRequest, transfer_id: str) -> dict[str, Any]:
    """What was taken back (https://docs.stripe.com/api/transfer_reversals/list)."""
    require_known(request.params, "limit", "starting_after", "ending_before", "expand")
    tx.get("transfer", transfer_id, param="transfer")
    rows, has_more = tx.page("transfer_reversal", request.params, parent=transfer_id)
    return {"object": "list", "url": request.path, "has_more": has_more, "data": rows}


# Payouts


def create_payout(tx: Transaction, request: ApiRequest) -> dict[str, Any]:
    """Send money to the account's bank (https://docs.stripe.com/api/payouts/create): it leaves the balance at once, and arrives later."""
    require_known(request.params, "amount", "currency", "metadata", "description", "statement_descriptor", "method", "expand")
    amount, currency = _money(request.params)
    if request.account and not tx.get("account", request.account)["payouts_enabled"]:
        raise ApiError(400, "Payouts are not enabled for this account.", code="payouts_not_allowed", saved=True)
    balance.require_available(tx, amount, currency, account=request.account)
    payout: dict[str, Any] = {
        "id": object_id("po"),
        "object": "payout",
        "amount": amount,
        "arrival_date": timestamp() + int(later_seconds(tx)),
        "automatic": False,
        "balance_transaction": None,
        "created": timestamp(),
        "currency": currency,
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "livemode": False,
        "metadata": metadata(request.params),
        "method": "standard",
        "status": "pending",
        "type": "bank_account",
    }
    movement = balance.move(tx, "payout", source=payout["id"], amount=-amount, currency=currency, account=request.account)
    payout["balance_transaction"] = movement["id"]
    tx.add(payout, account=request.account)
    tell(tx, "payout.created", payout, request, account=request.account)
    fails = tx.setting("later", {}).get("payouts_fail")
    tx.later("payout_fails" if fails else "payout_arrives", payout["id"], seconds=later_seconds(tx))
    return payout


def arrive(tx: Transaction, payout_id: str) -> None:
    """A payout reaches the bank; nothing for one that ended before."""
    account = tx.owner(payout_id)
    payout = tx.get("payout", payout_id, account=account)
    if payout["status"] in ("pending", "in_transit"):
        payout.update(status="paid", arrival_date=timestamp())
        tx.save(payout)
        tell(tx, "payout.paid", payout, account=account)


def fail_payout(tx: Transaction, payout_id: str, *, code: str = "account_closed") -> None:
    """The bank sends it back, a paid one too (https://docs.stripe.com/payouts#payout-failures)."""
    account = tx.owner(payout_id)
    payout = tx.get("payout", payout_id, account=account)
    if payout["status"] in ("failed", "canceled"):
        return
    movement = balance.move(
        tx, "payout_failure", source=payout_id, amount=payout["amount"], currency=payout["currency"], account=account
    )
    payout.update(
        status="failed", failure_code=code, failure_message="The bank account has been closed.", failure_balance_transaction=movement["id"]
    )
    tx.save(payout)
    tell(tx, "payout.failed", payout, account=account)


def _money(params: dict[str, Any]) -> tuple[int, str]:
    amount = integer(params, "amount", required=True, maximum=99_999_999_999)
    currency = str(params.get("currency", "")).lower()
    if currency not in CURRENCIES:
        raise ApiError(400, f"Invalid currency: {currency[:20]}.", param="currency")
    assert amount is not None
    return amount, currency


def _inner(params: dict[str, Any], *path: str) -> Any:
    """A member deep in the parameters, or None."""
    found: Any = params
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found
