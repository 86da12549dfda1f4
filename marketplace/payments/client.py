"""The connection to the provider: one client a thread, its time-outs, and what its errors mean to us."""

import threading
from collections.abc import Callable, Iterator
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
PROVIDER = "stripe"
PAGE_SIZE = 100

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


class UnknownToProvider(ProviderRefused):
    """The provider knows no object of this id."""


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


def moment(seconds: int) -> datetime:
    """The provider counts seconds."""
    return datetime.fromtimestamp(seconds, UTC)


def options(*, key: str = "", account: str = "") -> dict[str, Any]:
    """What goes into a call's headers: its idempotency key, and the connected account that it is made for."""
    return {**({"idempotency_key": key} if key else {}), **({"stripe_account": account} if account else {})}


def walk(fetch: Callable[[Any, dict[str, Any]], Any], params: dict[str, Any], *, since: datetime | None = None) -> Iterator[Any]:
    """Every row of a list, newest first, page by page. Raises: ProviderUnavailable, ProviderRefused."""
    params = {**params, "limit": PAGE_SIZE, **({"created": {"gte": int(since.timestamp())}} if since else {})}
    while True:
        page = call(lambda client, params=params: fetch(client, params))
        yield from page.data
        if not page.has_more:
            return
        params = {**params, "starting_after": page.data[-1].id}


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


def call(act: Any) -> Any:
    """Make one call; `act` gets the client. Raises: ProviderUnavailable, ProviderUnsure, ProviderRefused, UnknownToProvider."""
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
        if trouble.code == "idempotency_key_in_use":  # the first call still runs: the same call again will tell how it ended
            raise ProviderUnavailable("the same call is being made") from trouble
        raise ProviderUnsure(str(trouble.code)) from trouble
    except (stripe.AuthenticationError, stripe.PermissionError) as trouble:
        log.error("payment_provider_refuses_our_key", status=trouble.http_status)
        raise ProviderUnavailable("our key is refused") from trouble
    except stripe.InvalidRequestError as refusal:
        kind = UnknownToProvider if refusal.code == "resource_missing" else ProviderRefused
        raise kind(refusal.code or "invalid_request", str(refusal.user_message or "")) from refusal
    except stripe.CardError as refusal:
        raise ProviderRefused(refusal.code or "card_error", str(refusal.user_message or "")) from refusal
    except stripe.StripeError as trouble:
        if (trouble.headers or {}).get("Idempotent-Replayed") == "true":
            raise ProviderUnsure("a saved error is replayed") from trouble
        raise ProviderUnavailable(f"status {trouble.http_status}") from trouble
