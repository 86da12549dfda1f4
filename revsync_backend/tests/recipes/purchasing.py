"""Purchases, sales, the payment provider's events."""

import json
import time

from core import clock
from core.embedded.payments.events import signature_header
from core.testing.matrix import Call
from core.testing.payments import WEBHOOK_SECRET
from garage.tests.factories import VehicleFactory
from marketplace.tests.factories import LicenseFactory, PurchaseFactory
from marketplace.tests.purchasing import wish
from revsync_backend.tests.recipes import recipe, refusal


@recipe("list_purchases")
def _(kit, world):
    return Call()


@recipe("create_purchase")
def _(kit, world):
    bike = VehicleFactory(owner=kit.user, with_stock=True)
    return Call(body=wish(world.free_tune, bike), refs=("/vehicle",), open_refs=("/tune",))


@recipe("get_purchase", "get_purchase_receipt", "list_downloads")
def _(kit, world):
    return Call(path={"purchase": kit.purchase.pk})


@recipe("sync_purchase", "cancel_purchase")
def _(kit, world):
    return Call(path={"purchase": PurchaseFactory(buyer=kit.user, tune=world.free_tune, amount_minor=14900).pk})


@recipe("release_license")
def _(kit, world):
    bought = LicenseFactory(purchase=PurchaseFactory(buyer=kit.user, tune=world.free_tune, paid=True, with_license=False), bound=True)
    return Call(path={"purchase": bought.purchase_id}, body={"reason": "The ECU was replaced."})


@recipe("receive_stripe_event")
def _(kit, world):
    now = int(time.time())
    subject = {"id": "prod_1", "object": "product"}
    event = {"id": "evt_1", "object": "event", "type": "product.created", "livemode": False, "created": now, "data": {"object": subject}}
    payload = json.dumps(event)
    return Call(body=payload, headers={"HTTP_STRIPE_SIGNATURE": signature_header(payload, WEBHOOK_SECRET, at=now)})


@recipe("list_sales")
def _(kit, world):
    return Call(open_refs=("?tune",))


@recipe("get_analytics")
def _(kit, world):
    return Call(query={"tune": kit.tune.pk}, refs=("?tune",))


# Refusals


@refusal("release_license", "license_release_too_soon")
def _(kit, world):
    bought = PurchaseFactory(buyer=kit.user, tune=world.free_tune, paid=True, with_license=False)
    LicenseFactory(purchase=bought, bound=True, released_by_holder_at=clock.now())
    return Call(path={"purchase": bought.pk}, body={"reason": "The ECU was replaced."})
