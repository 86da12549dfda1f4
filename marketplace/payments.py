"""The payment provider, seen from here: Stripe through its official package, or the stand-in that speaks like it.

Every call has time-outs and is made outside any transaction. What goes wrong is classified: `ProviderUnavailable`
(try the same call again later), `ProviderUnsure` (look at the provider's list before anything else),
`ProviderRefused` (it will never work like this). Callers see our own types, never the package's.
"""

import hashlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog
from django.conf import settings

from core.outage import Gate, StillAway

if TYPE_CHECKING:
    import stripe

API_VERSION = "2026-10-28.endive"
CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS = 3.05, 6.0
NETWORK_RETRIES = 1  # by the package, with the same idempotency key; the rest is the client's repeat and the reconciler
SIGNATURE_TOLERANCE_SECONDS = 300
PROVIDER = "stripe"

log = structlog.get_logger(__name__)


class ProviderUnavailable(Exception):
    """No answer, or one that says "later": the same call may be made again with the same key."""


class ProviderUnsure(Exception):
    """The key answers with an old error, or belongs to another request: only the provider's list tells what exists."""


class ProviderRefused(Exception):
    """The provider understood and said no; repeating changes nothing. `code` is the provider's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class IntentNotFound(ProviderRefused):
    """The provider knows no such intent."""


class SignatureWrong(Exception):
    """The bytes are not signed by any of our secrets, or too long ago."""


@dataclass(frozen=True)
class Intent:
    """A payment as the provider has it now."""

    id: str
    status: str
    amount_minor: int
    received_minor: int
    currency: str
    livemode: bool
    created_at: datetime
    client_secret: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    last_error_code: str = ""

    @property
    def is_paid(self) -> bool:
        return self.status == "succeeded"

    @property
    def is_canceled(self) -> bool:
        return self.status == "canceled"

    @property
    def is_live(self) -> bool:
        return not self.is_paid and not self.is_canceled


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


_local = threading.local()
_gate = Gate()  # after a time-out one thread at a time asks


def _client() -> "stripe.StripeClient":
    """One client a thread and configuration: it keeps its connection open."""
    import stripe  # slow to import and not needed by most requests

    key = (settings.STRIPE_SECRET_KEY, settings.STRIPE_API_BASE)
    if getattr(_local, "key", None) != key:
        _local.key = key
        _local.client = stripe.StripeClient(
            settings.STRIPE_SECRET_KEY,
            stripe_version=API_VERSION,
            base_addresses={"api": settings.STRIPE_API_BASE},
            max_network_retries=NETWORK_RETRIES,
            http_client=stripe.RequestsClient(timeout=(CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS)),
        )
    return _local.client


def expects_livemode() -> bool:
    """Whether payments of this installation are real ones."""
    return settings.STRIPE_SECRET_KEY.startswith(("sk_live_", "rk_live_"))


def create_intent(*, key: str, amount_minor: int, currency: str, description: str, metadata: Mapping[str, str]) -> Intent:
    """Ask for an intent. `key` makes a repeat answer with the same one.

    Raises: ProviderUnavailable, ProviderUnsure, ProviderRefused.
    """
    params = {
        "amount": amount_minor,
        "currency": currency.lower(),
        "description": description,
        "metadata": dict(metadata),
        "automatic_payment_methods": {"enabled": True},
    }
    return _intent(_call(lambda client: client.v1.payment_intents.create(params, {"idempotency_key": key})))


def get_intent(intent_id: str) -> Intent:
    """The intent as it is now. Raises: IntentNotFound, ProviderUnavailable, ProviderRefused."""
    return _intent(_call(lambda client: client.v1.payment_intents.retrieve(intent_id)))


def cancel_intent(intent_id: str) -> Intent:
    """Cancel it; when it can't be cancelled any more, what it has become instead (paid, or cancelled already).

    Raises: IntentNotFound, ProviderUnavailable, ProviderRefused.
    """
    key = "cancel-" + intent_id
    try:
        return _intent(
            _call(
                lambda client: client.v1.payment_intents.cancel(intent_id, {"cancellation_reason": "abandoned"}, {"idempotency_key": key})
            )
        )
    except (ProviderRefused, ProviderUnsure) as refusal:
        if isinstance(refusal, IntentNotFound):
            raise
        return get_intent(intent_id)


def find_intents(*, purchase_id: str, since: datetime) -> list[Intent]:
    """Every intent of a purchase, newest first: the list is walked, because the provider's search lags behind.

    Raises: ProviderUnavailable, ProviderRefused.
    """
    return [intent for intent in list_intents(since=since) if intent.metadata.get("purchase") == purchase_id]


def list_intents(*, since: datetime) -> Iterator[Intent]:
    """Every intent made since a moment, newest first. Raises: ProviderUnavailable, ProviderRefused."""
    params: dict[str, Any] = {"limit": 100, "created": {"gte": int(since.timestamp())}}
    while True:
        page = _call(lambda client, params=params: client.v1.payment_intents.list(params))
        yield from map(_intent, page.data)
        if not page.has_more:
            return
        params = {**params, "starting_after": page.data[-1].id}


def read_event(payload: bytes, signature: str) -> ProviderEvent:
    """Verify the raw bytes of an event against each of our secrets, 300 seconds old at most. Raises: SignatureWrong."""
    import stripe

    for secret in settings.STRIPE_WEBHOOK_SECRETS:
        try:
            stripe.WebhookSignature.verify_header(payload, signature, secret, SIGNATURE_TOLERANCE_SECONDS)
        except (stripe.SignatureVerificationError, UnicodeDecodeError):
            continue
        return _event(payload)
    raise SignatureWrong


def _event(payload: bytes) -> ProviderEvent:
    import orjson

    try:
        event = orjson.loads(payload)
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
            created_at=datetime.fromtimestamp(int(event["created"]), UTC),
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, ValueError, OverflowError) as wrong:
        raise SignatureWrong from wrong


def _ask(act: Any) -> Any:
    """Call the provider, and note whether it answered in time; a refusal is an answer."""
    import requests
    import stripe

    in_time = True
    try:
        return act(_client())
    except stripe.APIConnectionError as trouble:
        in_time = not isinstance(trouble.__cause__, requests.Timeout)
        raise
    finally:
        _gate.note(good=in_time)


def _call(act: Any) -> Any:
    import stripe

    try:
        with _gate.passing():
            return _ask(act)
    except StillAway as away:
        raise ProviderUnavailable("no answer the last time") from away
    except stripe.APIConnectionError as trouble:
        raise ProviderUnavailable("no answer") from trouble
    except stripe.RateLimitError as trouble:
        raise ProviderUnavailable("rate limit") from trouble
    except stripe.IdempotencyError as trouble:
        raise ProviderUnsure(str(trouble.code)) from trouble
    except (stripe.AuthenticationError, stripe.PermissionError) as trouble:
        log.error("payment_provider_refuses_our_key", status=trouble.http_status)
        raise ProviderUnavailable("our key is refused") from trouble
    except stripe.InvalidRequestError as refusal:
        kind = IntentNotFound if refusal.code == "resource_missing" else ProviderRefused
        raise kind(refusal.code or "invalid_request", str(refusal.user_message or "")) from refusal
    except stripe.CardError as refusal:
        raise ProviderRefused(refusal.code or "card_error", str(refusal.user_message or "")) from refusal
    except stripe.StripeError as trouble:
        if (trouble.headers or {}).get("Idempotent-Replayed") == "true":
            raise ProviderUnsure("a saved error is replayed") from trouble
        raise ProviderUnavailable(f"status {trouble.http_status}") from trouble


def _intent(row: Any) -> Intent:
    error = row.last_payment_error
    return Intent(
        id=row.id,
        status=row.status,
        amount_minor=row.amount,
        received_minor=row.amount_received or 0,
        currency=row.currency.upper(),
        livemode=bool(row.livemode),
        created_at=datetime.fromtimestamp(row.created, UTC),
        client_secret=row.client_secret or "",
        metadata=row.metadata.to_dict() if row.metadata else {},
        last_error_code=((error.decline_code or error.code or "") if error else "")[:80],
    )


def attestation_hash(*, text_version: str, sha256: str, at: datetime, buyer_id: Any) -> str:
    """One hash over what a buyer attested, as evidence beside the payment."""
    return hashlib.sha256(f"{text_version}\n{sha256}\n{at.isoformat()}\n{buyer_id}".encode()).hexdigest()
