"""What the tests of purchases share: a rider with a fitting bike, the body of a wish, events as the provider sends them."""

import json
import time
import uuid
from typing import Any

from core.embedded.payments.events import signature_header
from core.meta import agreed_text
from core.testing.http import ApiClient, client_for
from core.testing.payments import WEBHOOK_SECRET
from garage.tests.factories import VehicleFactory
from users.tests.factories import UserFactory

PURCHASES = "marketplace/purchases/"
WEBHOOK = "marketplace/payments/webhooks/stripe/"


def rider_with_bike(**vehicle: Any) -> tuple[ApiClient, Any]:
    """A signed-in rider and their read-out, stock-saved MT-09, which the factories' tunes match."""
    rider = UserFactory()
    bike = VehicleFactory(**{"owner": rider, "with_stock": True, **vehicle})
    return client_for(rider), bike


def wish(tune: Any, vehicle: Any, /, **changes: Any) -> dict[str, Any]:
    """The body that buys a tune for a vehicle."""
    return {
        "tune": str(tune.pk),
        "vehicle": str(vehicle.pk),
        "expected_price_minor": tune.price_minor,
        "currency": tune.currency,
        "attestation": {"text_version": agreed_text("attestation").version, "accepted": True},
        **changes,
    }


def buy(client: ApiClient, tune: Any, vehicle: Any, /, *, key: str | None = None, **changes: Any) -> Any:
    """POST a wish; with a fresh key unless one is given."""
    return client.post(PURCHASES, wish(tune, vehicle, **changes), HTTP_IDEMPOTENCY_KEY=key or uuid.uuid4().hex)


def intent_of(body: dict[str, Any]) -> str:
    """The intent's id in a purchase's answer."""
    return body["payment"]["client_secret"].split("_secret_")[0]


def send_event(event: dict[str, Any] | str, *, at: int | None = None, secret: str = WEBHOOK_SECRET) -> Any:
    """POST an event to the webhook, signed as the provider signs."""
    payload = event if isinstance(event, str) else json.dumps(event, indent=2)
    signature = signature_header(payload, secret, at=int(time.time()) if at is None else at)
    return ApiClient().generic("POST", WEBHOOK, payload, HTTP_STRIPE_SIGNATURE=signature)
