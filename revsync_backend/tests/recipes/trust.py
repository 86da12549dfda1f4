"""Downloads, flashes, recalls, trust documents."""

import uuid

from core import clock
from core.testing.matrix import Call
from marketplace.models import FlashTicket
from marketplace.services import stops
from marketplace.tests.factories import ride_for
from revsync_backend.tests.recipes import recipe


@recipe("create_download")
def _(kit, world):
    return Call(
        path={"purchase": kit.purchase.pk},
        body={"vehicle": kit.vehicle.pk, "version": kit.ride.version.pk},
        refs=("/vehicle",),
        open_refs=("/version",),
    )


@recipe("renew_download_link")
def _(kit, world):
    return Call(path={"download": kit.grant.pk})


@recipe("list_flashes")
def _(kit, world):
    return Call(query={}, open_refs=("?vehicle",))


@recipe("report_flash")
def _(kit, world):
    ticket = FlashTicket.objects.get(grant_id=kit.grant.pk)
    body = {
        "id": uuid.uuid4(),
        "ticket_id": ticket.pk,
        "outcome": "SUCCEEDED",
        "app_version": "1.0.0",
        "flashed_at": clock.now(),
    }
    return Call(body=body, refs=("/ticket_id",), open_refs=("/id",))


@recipe("check_installed")
def _(kit, world):
    return Call(body={"sha256": ["ab" * 32]})


@recipe("acknowledge_recall")
def _(kit, world):
    """Held for everybody who has it: somebody else's recall is one of a tune that the caller never had."""
    ride = ride_for(kit.ride.tune.__class__.objects.get(pk=world.other_tunes[kit.role].pk), buyer=kit.user)
    ride.grant()
    stop = stops.hold_version(actor=world.kit("admin").user, version_id=ride.version.pk, reason="It hunts.", at=clock.now())
    return Call(path={"recall": stop.stops.get().pk})


@recipe("get_root")
def _(kit, world):
    return Call(path={"number": 1})
