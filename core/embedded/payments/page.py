"""The page where a person pays, declines, approves, abandons or disputes: plain HTML, no script, no asset."""

from html import escape
from typing import Any
from urllib.parse import urlsplit

from core.embedded.payments.currencies import CURRENCIES

DECLINES = {"decline": "generic_decline", "decline_insufficient_funds": "insufficient_funds", "decline_expired_card": "expired_card"}
OF_REFUNDS = ("refunds_wait", "refunds_fail", "refund_done", "refund_failed")
OUTCOMES = (
    "succeed", "require_action", *DECLINES, "abandon", "dispute", "inquiry", "dispute_won", "dispute_lost", *OF_REFUNDS,
)  # fmt: skip

STYLE = """
:root { color-scheme: light dark; font: 1.05rem/1.5 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 34rem; padding: 1.5rem; }
.note { border-left: .3rem solid #8a6d00; padding: .2rem .9rem; }
.state { border: 1px solid; border-radius: .5rem; padding: .6rem .9rem; }
button { font: inherit; display: block; width: 100%; margin: .6rem 0; padding: .7rem 1rem; border-radius: .5rem; border: 2px solid #1f4fa3;
  background: transparent; color: inherit; cursor: pointer; text-align: left; }
button.main { background: #1f4fa3; color: #fff; }
button:focus-visible { outline: .25rem solid #e8a300; outline-offset: .15rem; }
button small { display: block; opacity: .85; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; } dd { margin: 0; overflow-wrap: anywhere; }
"""

STATES = {
    "requires_payment_method": "Waiting for payment.",
    "requires_confirmation": "Waiting for confirmation.",
    "requires_action": "Your bank asks you to approve this payment.",
    "processing": "The payment is being processed.",
    "succeeded": "Paid. You can go back to the app.",
    "canceled": "Canceled. Nothing was charged and this payment can no longer be made.",
}


def amount_text(amount: int, currency: str) -> str:
    """14900 and eur → "149.00 EUR"; currencies have 0, 2 or 3 decimals (https://docs.stripe.com/currencies)."""
    decimals = CURRENCIES[currency][0]
    if decimals == 0:
        return f"{amount:,} {currency.upper()}"
    whole, part = divmod(amount, 10**decimals)
    return f"{whole:,}.{part:0{decimals}d} {currency.upper()}"


def policy_for_leaving_to(url: str) -> str:
    """The page's own policy: its form's answer leads to another place."""
    place = urlsplit(url)
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; form-action 'self' {place.scheme}://{place.netloc.replace(';', '')}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )


def pay_page(intent: dict[str, Any], *, dispute: dict[str, Any] | None, refunds: list[dict[str, Any]], notice: str = "") -> str:
    """The page for an intent in its present state, with the moves that this state allows."""
    waiting = intent["status"] in ("requires_payment_method", "requires_confirmation")
    disputed = dispute is not None
    buttons: list[tuple[str, str, str, bool]] = []
    if waiting:
        buttons = [
            ("succeed", "Pay", "The card is accepted.", True),
            ("require_action", "Pay, and the bank asks for approval", "You then approve or refuse on this page.", False),
            ("decline", "Let the card be declined", "Nothing is charged; you can try again.", False),
            ("decline_insufficient_funds", "Let the card be declined: not enough money", "Nothing is charged; you can try again.", False),
            ("decline_expired_card", "Let the card be declined: expired", "Nothing is charged; you can try again.", False),
            ("dispute", "Pay, then dispute the payment", "The bank takes the money back until the dispute is decided.", False),
            ("abandon", "Leave without paying", "Nothing is charged; the purchase runs out by itself.", False),
        ]
    elif intent["status"] == "requires_action":
        buttons = [
            ("succeed", "Approve the payment", "The bank accepts it.", True),
            ("decline", "Refuse the payment", "Nothing is charged; you can try again.", False),
        ]
    elif intent["status"] == "succeeded" and not disputed:
        alive = [refund["status"] for refund in refunds if refund["status"] in ("pending", "succeeded")]
        buttons = [
            ("dispute", "Dispute this payment", "The bank takes the money back until the dispute is decided.", False),
            ("inquiry", "Let the bank inquire", "It asks the seller before it takes any money.", False),
            ("refunds_wait", "Let refunds wait", "The next refunds of this payment are pending for a while.", False),
            ("refunds_fail", "Let refunds fail later", "The next refunds of this payment succeed, and come back after a while.", False),
        ]
        if "pending" in alive[-1:]:
            buttons.append(("refund_done", "The refund arrives", "The newest refund of this payment.", False))
        if alive:
            buttons.append(("refund_failed", "The refund comes back", "The payer's bank does not take the newest refund.", False))
    elif intent["status"] == "succeeded":
        buttons = [
            ("dispute_won", "The seller wins the dispute", "The money returns to the seller.", False),
            ("dispute_lost", "The seller loses the dispute", "The payer keeps the money.", False),
        ]
    error = intent.get("last_payment_error") or {}
    facts = [("For", intent["description"] or "a purchase"), ("Payment", intent["id"])]
    facts += [(f"Refund ({refund['status']})", amount_text(refund["amount"], refund["currency"])) for refund in refunds]
    facts += [(f"Dispute ({dispute['status']})", amount_text(dispute["amount"], dispute["currency"]))] if dispute else []
    return _document(
        f"Pay {amount_text(intent['amount'], intent['currency'])}",
        "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts) + "</dl>"
        + (f'<p class="state" role="alert">{escape(error["message"])}</p>' if error and waiting else "")
        + (f'<p class="state" role="status">{escape(notice)}</p>' if notice else "")
        + f'<p class="state" role="status">{escape("This payment is disputed." if disputed else STATES[intent["status"]])}</p>'
        + _form(buttons),
    )  # fmt: skip


def onboarding_page(account: dict[str, Any]) -> str:
    """Where the owner of a connected account tells who they are."""
    facts = [("Account", account["id"]), ("E-mail", account["email"] or "–"), ("Country", account["country"])]
    return _document(
        "Get paid",
        "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts) + "</dl>"
        + _form(
            [
                ("complete", "Give all details", "They are verified at once: transfers and payouts are on.", True),
                ("verify", "Give all details, verified later", "Payouts are off until then.", False),
                ("more_needed", "Give details, and a document is missing", "Payouts stay off until it is given.", False),
                ("reject", "Give details, and be rejected", "The account is never paid out.", False),
                ("later", "Leave, and go on another time", "Nothing is kept.", False),
            ]
        ),
    )  # fmt: skip


def _form(buttons: list[tuple[str, str, str, bool]]) -> str:
    return (
        '<form method="post">'
        + "".join(
            f'<button name="outcome" value="{value}"{" class=main" if main else ""}>{escape(label)}<small>{escape(hint)}</small></button>'
            for value, label, hint, main in buttons
        )
        + "</form>"
    )


def error_page(title: str, text: str) -> str:
    """A refusal for people."""
    return _document(title, f'<p class="state" role="alert">{escape(text)}</p>')


def _document(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} – RevSync test payments</title><style>{STYLE}</style></head><body><main><h1>{escape(title)}</h1>{body}"
        '<p class="note">This is a stand-in for a payment provider. No real money moves, and no card number is asked for.</p>'
        "</main></body></html>"
    )
