"""Downloads, flashes, recalls, trust documents."""

import uuid
from contextlib import contextmanager
from functools import partial

from django.db import connection

from core import clock, storage
from core.testing.matrix import Call
from garage.tests.factories import VehicleFactory
from marketplace.enums import LicenseState, PurchaseStatus, VersionStatus
from marketplace.models import AppVersionBlock, FlashTicket, License, Purchase, TuneVersion
from marketplace.services import stops, stored_files
from marketplace.tests.factories import released_tune, ride_for
from revsync_backend.tests.recipes import recipe, refusal


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


# Refusals of a download, which each leave a row in its trail; and of the fresh link of a grant, once what was right has changed.

TRAIL = ("marketplace_download",)


def _revoked(ride, world):
    License.objects.filter(purchase=ride.purchase).update(
        state=LicenseState.REVOKED, revoked_at=ride.at, vehicle_id=None, vehicle_identity_hashes=[], reserved_until=None, bound_at=None
    )


def _disputed(ride, world):
    Purchase.objects.filter(pk=ride.purchase.pk).update(status=PurchaseStatus.DISPUTED, disputed_from=PurchaseStatus.PAID)


def _held(ride, world):
    stops.hold_version(actor=world.kit("admin").user, version_id=ride.version.pk, reason="It hunts.", at=clock.now())


def _recalled(ride, world):
    stops.recall_version(
        actor=world.kit("admin").user, version_id=ride.version.pk, severity="stop_flash", reason="It hunts.", at=clock.now()
    )


def _app_blocked(ride, world):
    AppVersionBlock.objects.create(app_version=world.kit("rider").device.app_version, reason="Writes too fast.", blocked_at=ride.at)


def _file_gone(ride, world):
    storage.delete(ride.version.files.get().storage_key)
    stored_files.forget()


def _sold_elsewhere(ride, world):
    """The vehicle is now one for another market."""
    type(ride.vehicle).objects.filter(pk=ride.vehicle.pk).update(market="US")


def _bound_elsewhere(ride, world):
    other = VehicleFactory(owner=ride.buyer, with_stock=True)
    License.objects.filter(purchase=ride.purchase).update(
        state=LicenseState.BOUND, bound_at=ride.at, vehicle_id=other.pk, vehicle_identity_hashes=[], reserved_until=None
    )


DOWNLOADS = {
    "license_revoked": _revoked,
    "license_suspended": _disputed,
    "version_on_hold": _held,
    "version_recalled": _recalled,
    "app_version_blocked": _app_blocked,
    "integrity_error": _file_gone,
    "fitment_mismatch": _sold_elsewhere,
    "vehicle_mismatch": _bound_elsewhere,
}
# Bytes that are not the reviewed ones are an alarm: the version is put on hold at once.
ALARM = ("marketplace_tuneversion", "marketplace_tune", "marketplace_versionstop", "core_auditevent", "django_tasks_database")


def _leaves(code):
    return (*TRAIL, *ALARM) if code == "integrity_error" else TRAIL


def _ask(ride, **facts):
    return Call(path={"purchase": ride.purchase.pk}, body={"vehicle": ride.vehicle.pk, "version": ride.version.pk}, **facts)


def _renew(ride, **facts):
    return Call(path={"download": ride.grant().pk}, **facts)


for _code, _change in DOWNLOADS.items():

    @refusal("create_download", _code)
    def _(kit, world, *, code=_code, change=_change):
        ride = ride_for(released_tune(), buyer=kit.user)
        change(ride, world)
        return _ask(ride, leaves=_leaves(code))

    @refusal("renew_download_link", _code)
    def _(kit, world, *, code=_code, change=_change):
        ride = ride_for(released_tune(), buyer=kit.user)
        call = _renew(ride, leaves=_leaves(code))
        change(ride, world)
        return call


@refusal("create_download", "purchase_not_paid")
def _(kit, world):
    return _ask(ride_for(released_tune(), buyer=kit.user, paid=False), leaves=TRAIL)


MOVED = (*TRAIL, "marketplace_tuneversion", "marketplace_storedfilecheck")


@contextmanager
def _always_moving(version):
    """Each time that the decision is about to be committed, somebody puts the version on hold; then they lift it again."""

    def stop_first(execute, sql, params, many, context):
        if "FOR SHARE OF p" in sql:
            TuneVersion.objects.filter(pk=version.pk).update(status=VersionStatus.ON_HOLD, stopped_at=clock.now())
        return execute(sql, params, many, context)  # what is refused here is rolled back, and with it the hold

    with connection.execute_wrapper(stop_first):
        yield


@refusal("create_download", "grant_refused")
def _(kit, world):
    ride = ride_for(released_tune(), buyer=kit.user)
    return _ask(ride, leaves=MOVED, meanwhile=partial(_always_moving, ride.version))


@refusal("renew_download_link", "grant_refused")
def _(kit, world):
    ride = ride_for(released_tune(), buyer=kit.user)
    return _renew(ride, leaves=MOVED, meanwhile=partial(_always_moving, ride.version))
