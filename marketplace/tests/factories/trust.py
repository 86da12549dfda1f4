"""Trust for tests: a rider who can download and flash, with everything really signed and really stored."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from core import clock
from core.idempotency import Claim
from core.ids import new_id
from garage.models import Vehicle
from garage.tests.factories import VehicleFactory
from marketplace.enums import FlashOutcome
from marketplace.models import FlashTicket, License, Purchase, Release, Tune, TuneVersion
from marketplace.services import flashes, grants
from marketplace.services.releases import prepare_release_documents, store_release_documents
from marketplace.tests.factories.purchasing import PurchaseFactory
from marketplace.tests.factories.tunes import TuneFactory, TuneVersionFactory

__all__ = ["VIN", "Ride", "released_tune", "released_version", "ride_for", "sign_release"]

VIN = "JYARN53E1MA000042"


def sign_release(version: TuneVersion, *, at: datetime | None = None) -> Release:
    """Sign and store the release documents of a version that a factory published."""
    at = at or version.published_at
    documents = prepare_release_documents(
        version=version, release_counter=version.release_counter, reviewer_id=version.reviewer_id, decided_at=at, at=at
    )
    return store_release_documents(version=version, documents=documents, at=at)[0]


def released_tune(**facts: Any) -> Tune:
    """A published tune whose only version has its bytes in storage and its release signed."""
    tune = TuneFactory(stored=True, **facts)
    sign_release(tune.versions.get())
    return tune


def released_version(tune: Tune, **facts: Any) -> TuneVersion:
    """One more published version of it, stored and signed. `becomes=` another state than PUBLISHED afterwards."""
    version = TuneVersionFactory(tune=tune, published=True, stored=True, **facts)
    sign_release(version)
    return version


@dataclass
class Ride:
    """A rider with a paid purchase and a vehicle that the tune fits, read out, with a stock file and a VIN."""

    purchase: Purchase
    vehicle: Vehicle
    at: datetime

    @property
    def buyer(self):
        return self.purchase.buyer

    @property
    def tune(self) -> Tune:
        return self.purchase.tune

    @property
    def version(self) -> TuneVersion:
        return self.tune.versions.order_by("-version_order").first()

    @property
    def license(self) -> License:
        return License.objects.get(purchase=self.purchase)

    def grant(self, *, vehicle: Vehicle | None = None, version: TuneVersion | None = None, at: datetime | None = None, **facts: Any):
        request = grants.Request(
            buyer=self.buyer,
            purchase_id=self.purchase.pk,
            vehicle_id=(vehicle or self.vehicle).pk,
            version_id=version.pk if version else None,
            **facts,
        )
        return grants.grant_download(request, claim=Claim(), at=at or self.at)

    def ticket(self, **facts: Any) -> FlashTicket:
        """A granted download's ticket."""
        return FlashTicket.objects.get(grant_id=self.grant(**facts).pk)

    def report(self, ticket: FlashTicket, outcome: str = FlashOutcome.SUCCEEDED, *, at: datetime | None = None, **facts: Any):
        at = at or self.at + timedelta(minutes=10)
        report = {
            "id": new_id(),
            "ecu_before": None,
            "ecu_after": None,
            "app_version": "1.0.0",
            "flashed_at": at - timedelta(minutes=1),
            **facts,
        }
        return flashes.report_flash(reporter=self.buyer, ticket_id=ticket.pk, outcome=outcome, at=at, **report)

    def another_vehicle(self, **facts: Any) -> Vehicle:
        """A second bike of the same rider that the tune fits as well."""
        return VehicleFactory(owner=self.buyer, with_stock=True, vin=facts.pop("vin", "JYARN53E1MA000099"), **facts)


def ride_for(tune: Tune | None = None, *, at: datetime | None = None, vehicle: dict[str, Any] | None = None, **purchase: Any) -> Ride:
    """Somebody who is ready to flash `tune`."""
    at = at or clock.now().replace(microsecond=0)
    bought = PurchaseFactory(tune=tune or released_tune(), **{"paid": True, **purchase})
    bike = VehicleFactory(owner=bought.buyer, **{"with_stock": True, "vin": VIN, **(vehicle or {})})
    return Ride(purchase=bought, vehicle=bike, at=at)
