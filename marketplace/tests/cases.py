"""What the tests of refunds, disputes and cases share."""

import uuid
from typing import Any

from core.testing.http import ApiClient
from core.testing.tasks import run_all
from marketplace.models import Purchase
from marketplace.tests.factories import TuneFactory
from marketplace.tests.purchasing import buy, intent_of, rider_with_bike, send_event


def bought(payments: Any, **tune: Any) -> tuple[ApiClient, Purchase, str]:
    """A tune bought and paid over HTTP, with nothing left to do: (its buyer, the purchase, the intent's id)."""
    client, bike = rider_with_bike()
    body = buy(client, TuneFactory(published=True, **tune), bike).json()
    intent_id = intent_of(body)
    payments.choose(intent_id, "succeed")
    assert client.post(f"marketplace/purchases/{body['id']}/sync/").json()["status"] == "PAID"
    run_all()
    return client, Purchase.objects.get(pk=body["id"]), intent_id


def ask(client: ApiClient, purchase: Purchase, *, key: str | None = None, **body: Any) -> Any:
    """POST a refund request; with a fresh key unless one is given."""
    return client.post(f"marketplace/purchases/{purchase.pk}/refunds/", body, HTTP_IDEMPOTENCY_KEY=key or uuid.uuid4().hex)


def deliver(payments: Any, intent_id: str, *, types: str = "", order: int = 1, times: int = 1) -> int:
    """Send a payment's events to the webhook in or against their order, and let the worker apply them; how many."""
    events = [event for event in payments.events_of(intent_id) if event["type"].startswith(types)][::order]
    for event in events:
        for _ in range(times):
            assert send_event(event).status_code == 200
        run_all()
    return len(events)
