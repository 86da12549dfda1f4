"""How each list gets and loses rows, for the walks of `core.testing.lists`."""

from datetime import UTC, datetime
from itertools import count
from typing import Any

from core import clock
from core.ids import new_id
from core.testing.lists import Filling
from garage.models import EcuReadout, RescueLink, StockFile, Vehicle, VehicleMod, VehicleModel
from garage.tests.factories import (
    EcuReadoutFactory,
    RescueLinkFactory,
    StockFileFactory,
    VehicleFactory,
    VehicleMakeFactory,
    VehicleModelFactory,
    VehicleModFactory,
)
from marketplace.enums import TuneStatus
from marketplace.models import Download, Favorite, Flash, SavedSearch, TrendRow, Tune
from marketplace.tests.factories import (
    CaseFactory,
    FavoriteFactory,
    PayoutFactory,
    PurchaseFactory,
    RefundFactory,
    SavedSearchFactory,
    TuneFactory,
    TuneVersionFactory,
)
from revsync_backend.tests.recipes.payouts import account_of
from tuners.enums import ReviewState, SuspensionReason, TunerStatus
from tuners.models import TunerCertification, TunerFollow, TunerProfile, TunerReview
from tuners.tests.factories import TunerCertificationFactory, TunerProfileFactory, TunerReviewFactory
from users.models import Notice, UserDevice
from users.tests.factories import NoticeFactory, UserDeviceFactory

AT = datetime(2026, 6, 1, 12, tzinfo=UTC)  # when all of them were made: they tie
_numbers = count()


def tied(row: Any, **values: Any) -> Any:
    """The row with its key of the order set; returns its id."""
    type(row).objects.filter(pk=row.pk).update(**values)
    return row.pk


def deletes(model: type) -> Any:
    return lambda row_id: model.objects.filter(pk=row_id).delete()


def copied(row: Any) -> Any:
    """One more row like this one."""
    row.pk = new_id()
    row._state.adding = True
    row.save(force_insert=True)
    return row.pk


def _hide(review_id):
    TunerReview.objects.filter(pk=review_id).update(state=ReviewState.HIDDEN, hidden_at=AT, hidden_reason="Insult.")


def _archive(tune_id):
    Tune.objects.filter(pk=tune_id).update(status=TuneStatus.ARCHIVED, archived_at=clock.now())


def _suspend(tuner_id):
    TunerProfile.objects.filter(pk=tuner_id).update(
        status=TunerStatus.SUSPENDED, suspension_reason=SuspensionReason.SAFETY, suspension_note="Under test.", suspended_at=AT
    )


def _trending():
    tune = TuneFactory(published=True)
    TrendRow.objects.create(scope_id=TrendRow.EVERYTHING, tune=tune, kind=tune.kind, score=7)
    return tune.pk


def _of_a_followed_tuner(kit):
    followed = TunerFollow.objects.filter(follower=kit.user).first()
    return TuneFactory(tuner=followed.tuner, published=True, published_at=AT, created_at=AT).pk


LISTS: dict[str, Filling] = {
    "list_my_devices": Filling(
        add=lambda kit, world: tied(UserDeviceFactory(user=kit.user), created_at=AT),
        remove=lambda row_id: UserDevice.objects.filter(pk=row_id).update(revoked_at=AT, revoked_reason="REVOKED"),
    ),
    "list_my_notices": Filling(
        add=lambda kit, world: tied(NoticeFactory(user=kit.user), created_at=AT), remove=deletes(Notice), filters={"unread": "true"}
    ),
    "list_vehicles": Filling(
        add=lambda kit, world: VehicleFactory(owner=kit.user).pk,
        remove=lambda row_id: Vehicle.objects.filter(pk=row_id).update(deleted_at=clock.now(), is_primary=False),
        filters={"updated_since": "2026-01-01T00:00:00Z"},
    ),
    "list_mods": Filling(add=lambda kit, world: VehicleModFactory(vehicle=kit.vehicle).pk, remove=deletes(VehicleMod)),
    "list_ecu_readouts": Filling(
        add=lambda kit, world: EcuReadoutFactory(vehicle=kit.vehicle, calibration_id=f"RSC-{next(_numbers)}").pk, remove=deletes(EcuReadout)
    ),
    "list_stock_files": Filling(
        add=lambda kit, world: StockFileFactory(vehicle=kit.vehicle, readout=kit.vehicle.ecu).pk, remove=deletes(StockFile)
    ),
    "list_rescue_links": Filling(
        add=lambda kit, world: RescueLinkFactory(vehicle=kit.vehicle, token=f"token {next(_numbers)}").pk, remove=deletes(RescueLink)
    ),
    "list_makes": Filling(
        add=lambda kit, world: VehicleModelFactory(make=VehicleMakeFactory(name=f"Make {next(_numbers)}")).make_id,
        remove=lambda make_id: VehicleModel.objects.filter(make=make_id).delete(),  # one without models is not shown
        filters={"q": "make"},
    ),
    "list_models": Filling(
        add=lambda kit, world: VehicleModelFactory(name=f"Model {next(_numbers)}").pk, remove=deletes(VehicleModel), filters={"q": "model"}
    ),
    "list_tuners": Filling(
        add=lambda kit, world: TunerProfileFactory(business_name="Alpine Flash", created_at=AT).pk,
        remove=_suspend,
        orderings={"rating": {}, "popular": {}, "name": {}, "newest": {}},
        filters={"country": "DE"},
    ),
    "list_certifications": Filling(
        add=lambda kit, world: TunerCertificationFactory(owner=kit.user, created_at=AT).pk, remove=deletes(TunerCertification)
    ),
    "list_tuner_reviews": Filling(add=lambda kit, world: TunerReviewFactory(tuner=world.tuner, created_at=AT).pk, remove=_hide),
    "list_purchases": Filling(
        add=lambda kit, world: PurchaseFactory(buyer=kit.user, tune=world.free_tune, canceled=True, created_at=AT).pk,
        filters={"status": "CANCELED"},
    ),
    "list_refunds": Filling(
        add=lambda kit, world: RefundFactory(purchase=kit.purchase, succeeded=True, amount_minor=1, created_at=AT).pk,
    ),
    "list_cases": Filling(
        add=lambda kit, world: CaseFactory(purchase=kit.purchase, resolved=True, created_at=AT).pk, filters={"status": "RESOLVED"}
    ),
    "list_payouts": Filling(
        add=lambda kit, world: PayoutFactory(account=account_of(kit), paid=True, created_at=AT).pk, filters={"currency": "EUR"}
    ),
    "list_sales": Filling(
        add=lambda kit, world: PurchaseFactory(tune=kit.tune, paid=True, created_at=AT).pk,
        id_of=lambda row: row["purchase"],
        filters={"currency": "EUR"},
    ),
    "list_downloads": Filling(add=lambda kit, world: copied(Download.objects.get(pk=kit.grant.pk))),
    "list_flashes": Filling(add=lambda kit, world: copied(Flash.objects.get(pk=kit.flash.pk))),
    "list_tunes": Filling(
        add=lambda kit, world: TuneFactory(published=True, title="MT-09 Stage 1", published_at=AT, created_at=AT).pk,
        remove=_archive,
        orderings={
            "newest": {},
            "price": {"currency": "EUR"},
            "-price": {"currency": "EUR"},
            "rating": {},
            "popular": {},
            "relevance": {"q": "stage"},
        },
        filters={"kind": "MOTORCYCLE"},
    ),
    "list_tune_versions": Filling(add=lambda kit, world: TuneVersionFactory(tune=Tune.objects.get(pk=world.tune.pk), published=True).pk),
    "list_tune_reviews": Filling(
        add=lambda kit, world: TunerReviewFactory(tuner=world.tuner, tune_id=world.tune.pk, created_at=AT).pk, remove=_hide
    ),
    "list_tunes_of_tuner": Filling(
        add=lambda kit, world: TuneFactory(tuner=world.tuner, published=True, published_at=AT, created_at=AT).pk, remove=_archive
    ),
    "list_favorites": Filling(
        add=lambda kit, world: FavoriteFactory(user=kit.user, tune=TuneFactory(published=True), created_at=AT).tune_id,
        remove=lambda tune_id: Favorite.objects.filter(tune_id=tune_id).delete(),
        id_of=lambda row: row["tune"]["id"],
    ),
    "list_trending_tunes": Filling(add=lambda kit, world: _trending(), remove=_archive, filters={"kind": "MOTORCYCLE"}),
    "list_followed_tunes": Filling(add=lambda kit, world: _of_a_followed_tuner(kit), remove=_archive),
    "list_saved_searches": Filling(
        add=lambda kit, world: SavedSearchFactory(owner=kit.user, created_at=AT).pk, remove=deletes(SavedSearch)
    ),
    "list_own_tunes": Filling(
        add=lambda kit, world: TuneFactory(tuner=kit.profile, created_at=AT).pk, remove=deletes(Tune), filters={"status": "DRAFT"}
    ),
}
