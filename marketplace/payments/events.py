"""Events: verified bytes become names and ids; what happened is always read from the provider again."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings

from marketplace.payments.client import moment, walk

SIGNATURE_TOLERANCE_SECONDS = 300
NO_AMOUNT = -1


class SignatureWrong(Exception):
    """The bytes are not signed by any of our secrets, too long ago, or in the future."""


@dataclass(frozen=True)
class ProviderEvent:
    """The names and ids in a verified event; what happened is read from the provider again."""

    id: str
    type: str
    object_id: str
    intent_id: str
    livemode: bool
    account: str
    api_version: str
    created_at: datetime
    amount_minor: int | None = None
    currency: str = ""


def read_event(payload: bytes, signature: str) -> ProviderEvent:
    """Verify the raw bytes of an event against each of our secrets, signed at most 300 seconds ago. Raises: SignatureWrong.

    The package refuses old signatures only; one from the future would stay good for as long as it lies ahead.
    """
    import stripe

    for secret in settings.STRIPE_WEBHOOK_SECRETS:
        try:
            stripe.WebhookSignature.verify_header(payload, signature, secret, SIGNATURE_TOLERANCE_SECONDS)
        except (stripe.SignatureVerificationError, UnicodeDecodeError):
            continue
        if _signed_at(signature) > time.time() + SIGNATURE_TOLERANCE_SECONDS:
            break
        return _event_in(payload)
    raise SignatureWrong


def _signed_at(signature: str) -> int:
    """The time in a header that was verified: `t=1700000000,v1=…`; the first one, as the package takes it."""
    return next(int(part.removeprefix("t=")) for part in signature.split(",") if part.startswith("t="))


def list_events(*, since: datetime) -> Iterator[ProviderEvent]:
    """Every event of the platform's own account since a moment, newest first; the provider keeps them for 30 days.

    Raises: ProviderUnavailable, ProviderRefused.
    """
    return (_event(row.to_dict()) for row in walk(lambda client, params: client.v1.events.list(params), {}, since=since))


def _event_in(payload: bytes) -> ProviderEvent:
    import orjson

    try:
        return _event(orjson.loads(payload))
    except orjson.JSONDecodeError as wrong:
        raise SignatureWrong from wrong


def _amount_in(subject: dict[str, Any]) -> int | None:
    """What the event claims; None when it claims nothing, and an amount that nothing agrees with for what is none."""
    amount = subject.get("amount")
    if amount is None or (type(amount) is int and abs(amount) < 2**62):
        return amount
    return NO_AMOUNT


def _event(event: Any) -> ProviderEvent:
    try:
        subject = event["data"]["object"]
        intent_id = subject["id"] if subject.get("object") == "payment_intent" else subject.get("payment_intent")
        return ProviderEvent(
            id=str(event["id"])[:80],
            type=str(event["type"])[:80],
            object_id=str(subject.get("id") or "")[:80],
            intent_id=str(intent_id or "")[:80],
            livemode=bool(event["livemode"]),
            account=str(event.get("account") or "")[:80],
            api_version=str(event.get("api_version") or "")[:40],
            created_at=moment(int(event["created"])),
            amount_minor=_amount_in(subject),
            currency=str(subject.get("currency") or "")[:3].upper(),
        )
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as wrong:
        raise SignatureWrong from wrong
