"""marketplace/tunes/, versions, favourites, reviews of tunes."""

from core.models import Upload
from core.testing.matrix import Call
from core.uploads.enums import UploadPurpose
from core.uploads.tests.factories import UploadFactory
from garage.tests.factories import CALIBRATION_ID, HARDWARE_NUMBER, IMAGE_SIZE_BYTES, VehicleFactory, VehicleModelFactory
from marketplace.models import Tune
from marketplace.policies.tunes import MAX_UNPUBLISHED_VERSIONS
from marketplace.tests.factories import PurchaseFactory, TuneFactory, TuneVersionFactory, image_bytes
from marketplace.tests.test_versions import ready_upload
from revsync_backend.tests.recipes import recipe, refusal

LISTING = {
    "title": "MT-09 Stage 1",
    "kind": "MOTORCYCLE",
    "category": "STAGE_1",
    "currency": "EUR",
}
FITMENT = {
    "make": "Yamaha",
    "model": "MT-09",
    "year_from": 2021,
    "year_to": 2023,
    "markets": ["EU"],
    "hardware_numbers": [HARDWARE_NUMBER],
    "calibration_ids": [CALIBRATION_ID],
    "image_size_bytes": IMAGE_SIZE_BYTES,
}


@recipe("list_tunes")
def _(kit, world):
    return Call(query={"vehicle": kit.vehicle.pk}, refs=("?vehicle",), open_refs=("?tuner",))


@recipe("suggest_tunes")
def _(kit, world):
    return Call(query={"q": "yam"})


@recipe("get_tune", "list_tune_versions", "add_favorite")
def _(kit, world):
    return Call(path={"tune": world.tune.pk})


@recipe("list_tune_reviews")
def _(kit, world):
    return Call(path={"tune": world.tune.pk}, query={"vehicle": kit.vehicle.pk}, refs=("?vehicle",))


@recipe("get_tune_same_bike")
def _(kit, world):
    # by its names, as anybody may ask; that another's vehicle is a missing one is tried in `test_same_bike`
    return Call(path={"tune": world.tune.pk}, query={"make": "Yamaha", "model": "MT-09"}, open_refs=("?vehicle",))


@recipe("remove_favorite")
def _(kit, world):
    return Call(path={"tune": world.tune.pk}, missing=204)


@recipe("get_tune_fitment")
def _(kit, world):
    return Call(path={"tune": world.tune.pk}, query={"vehicle": kit.vehicle.pk}, refs=("?vehicle",), shared=True)


@recipe("create_tune_review")
def _(kit, world):
    bought = PurchaseFactory(buyer=kit.user, tune=world.free_tune, paid=True)
    return Call(path={"tuner": bought.tuner_id}, body={"tune": world.free_tune.pk, "rating": 4}, open_refs=("/tune",), shared=True)


def _picture(kit):
    return UploadFactory(owner_id=kit.user.pk, purpose="TUNE_IMAGE", ready=True, content_type="image/jpeg")


@recipe("create_tune")
def _(kit, world):
    price = 0 if kit.role == "creator" else 14900
    return Call(body={**LISTING, "price_minor": price, "image_upload_ids": [_picture(kit).pk]}, refs=("/image_upload_ids/0",))


@recipe("update_tune")
def _(kit, world):
    return Call(
        path={"tune": kit.tune.pk},
        body={"title": "MT-09 Stage 1, smoother", "image_upload_ids": [_picture(kit).pk]},
        refs=("/image_upload_ids/0",),
    )


@recipe("delete_tune")
def _(kit, world):
    return Call(path={"tune": TuneFactory(tuner=kit.profile).pk})


@recipe("archive_tune")
def _(kit, world):
    return Call(path={"tune": kit.tune.pk})


@recipe("unarchive_tune")
def _(kit, world):
    return Call(path={"tune": TuneFactory(tuner=kit.profile, archived=True).pk})


def _file(kit):
    VehicleModelFactory()
    return ready_upload(kit.user, image_bytes(f"upload of {kit.role}"))


def _stock_image(kit):
    upload = ready_upload(kit.user, image_bytes(f"stock of {kit.role}"), name="stock.bin")
    Upload.objects.filter(pk=upload.pk).update(purpose=UploadPurpose.STOCK_FILE)
    return upload


@recipe("inspect_upload")
def _(kit, world):
    body = {"upload_id": _file(kit).pk, "stock_image": _stock_image(kit).pk}
    return Call(body=body, refs=("/upload_id", "/stock_image"))


def _new_version(kit, tune):
    file = {"upload_id": _file(kit).pk, "fitments": [FITMENT], "stock_image": _stock_image(kit).pk}
    body = {"version": "9.0.0", "emissions_class": "CLOSED_COURSE_ONLY", "changelog": "More torque.", "files": [file]}
    return Call(path={"tune": tune.pk}, body=body, refs=("/files/0/upload_id", "/files/0/stock_image"))


@recipe("create_tune_version")
def _(kit, world):
    return _new_version(kit, kit.tune)


@recipe("get_tune_version")
def _(kit, world):
    return Call(path={"version": world.tune.latest_version_id})


def _version(kit, **state):
    """Of a tune read anew: the factory refreshes the object it gets, and the world's must stay as it was built."""
    return TuneVersionFactory(tune=Tune.objects.get(pk=kit.draft.pk), **state)


@recipe("update_tune_version")
def _(kit, world):
    return Call(path={"version": _version(kit, validated=True).pk}, body={"changelog": "More torque."})


@recipe("delete_tune_version", "submit_tune_version")
def _(kit, world):
    return Call(path={"version": _version(kit, validated=True).pk})


@recipe("create_test_ticket")
def _(kit, world):
    vehicle = VehicleFactory(owner=kit.user, with_stock=True)  # the kit's own has been flashed with something else
    return Call(path={"version": _version(kit, validated=True, stored=True).pk}, body={"vehicle": vehicle.pk}, refs=("/vehicle",))


@recipe("cancel_version_review")
def _(kit, world):
    return Call(path={"version": _version(kit, in_review=True).pk})


@recipe("withdraw_tune_version")
def _(kit, world):
    return Call(path={"version": _version(kit, published=True).pk})


@recipe("hold_tune_version")
def _(kit, world):
    return Call(path={"version": _version(kit, published=True).pk}, body={"reason": "The idle hunts."})


# Refusals


def _suspended(kit):
    return TuneFactory(tuner=kit.profile, suspended=True)


@refusal("delete_tune", "tune_suspended")
@refusal("unarchive_tune", "tune_suspended")
def _(kit, world):
    return Call(path={"tune": _suspended(kit).pk})


@refusal("unarchive_tune", "invalid_transition")
def _(kit, world):
    return Call(path={"tune": kit.tune.pk})


@refusal("create_tune_version", "tune_suspended")
def _(kit, world):
    return _new_version(kit, _suspended(kit))


@refusal("create_tune_version", "too_many_unpublished_versions")
def _(kit, world):
    tune = TuneFactory(tuner=kit.profile)
    TuneVersionFactory.create_batch(MAX_UNPUBLISHED_VERSIONS, tune=tune, files=0)
    return _new_version(kit, tune)


@refusal("update_tune_version", "tune_suspended")
def _(kit, world):
    return Call(path={"version": TuneVersionFactory(tune=_suspended(kit), validated=True).pk}, body={"changelog": "More torque."})


@refusal("submit_tune_version", "tune_suspended")
def _(kit, world):
    return Call(path={"version": TuneVersionFactory(tune=_suspended(kit), validated=True).pk})
