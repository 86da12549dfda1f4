"""garage/, with the taking over of a vehicle."""

from datetime import timedelta
from functools import cache

from core import clock
from core.testing.matrix import Call
from core.uploads.tests.factories import stored_upload
from garage.ecu_images import generator, inspect_bytes
from garage.tests.factories import (
    CALIBRATION_ID,
    HARDWARE_NUMBER,
    IMAGE_SIZE_BYTES,
    RESCUE_TOKEN,
    TRANSFER_CODE,
    RescueLinkFactory,
    VehicleFactory,
    VehicleTransferFactory,
)
from revsync_backend.tests.recipes import recipe
from revsync_backend.tests.world import agreed

VEHICLE = {"kind": "MOTORCYCLE", "make": "Yamaha", "model": "MT-09", "year": 2021, "market": "EU"}


@recipe("add_vehicle")
def _(kit, world):
    photo = _photo(kit)
    return Call(body={**VEHICLE, "photo_upload_id": photo.pk}, refs=("/photo_upload_id",), open_refs=("/id",))


def _photo(kit):
    return stored_upload(content=b"a picture", owner_id=kit.user.pk, purpose="VEHICLE_PHOTO", ready=True, content_type="image/jpeg")


@recipe("get_vehicle", "delete_vehicle", "list_mods", "list_ecu_readouts", "list_stock_files", "offer_transfer")
def _(kit, world):
    return Call(path={"vehicle": kit.vehicle.pk})


@recipe("update_vehicle")
def _(kit, world):
    return Call(path={"vehicle": kit.vehicle.pk}, body={"nickname": "Blue", "photo_upload_id": _photo(kit).pk}, refs=("/photo_upload_id",))


@recipe("add_mod")
def _(kit, world):
    return Call(path={"vehicle": kit.vehicle.pk}, body={"category": "EXHAUST", "part": "Slip-on"}, open_refs=("/id",))


@recipe("get_mod", "delete_mod")
def _(kit, world):
    return Call(path={"vehicle": kit.vehicle.pk, "mod": kit.mod.pk})


@recipe("update_mod")
def _(kit, world):
    return Call(path={"vehicle": kit.vehicle.pk, "mod": kit.mod.pk}, body={"notes": "With its own mapping."})


@recipe("record_ecu_readout")
def _(kit, world):
    body = {"hardware_number": HARDWARE_NUMBER, "calibration_id": CALIBRATION_ID, "read_at": clock.now()}
    return Call(path={"vehicle": kit.vehicle.pk}, body=body)


@cache
def _stock_image():
    image = generator.make_stock(seed="kept", hardware_number=HARDWARE_NUMBER, calibration_id=CALIBRATION_ID, size=IMAGE_SIZE_BYTES)
    return image, inspect_bytes(image).to_dict()


@recipe("save_stock_file")
def _(kit, world):
    vehicle = VehicleFactory(owner=kit.user, with_ecu=True)
    image, details = _stock_image()
    facts = {"purpose": "STOCK_FILE", "ready": True, "content_type": "application/octet-stream", "name": "stock.bin"}
    upload = stored_upload(content=image, owner_id=kit.user.pk, details=details, **facts)
    return Call(path={"vehicle": vehicle.pk}, body={"upload_id": upload.pk}, refs=("/upload_id",))


@recipe("get_stock_file")
def _(kit, world):
    return Call(path={"vehicle": kit.vehicle.pk, "stock_file": kit.stock_file.pk})


@recipe("list_rescue_links", "make_rescue_link")
def _(kit, world):
    return Call(path={"vehicle": kit.vehicle.pk})


@recipe("revoke_rescue_link")
def _(kit, world):
    return Call(path={"vehicle": kit.vehicle.pk, "link": RescueLinkFactory(vehicle=kit.vehicle, token=f"token of {kit.role}").pk})


@recipe("open_rescue_link")
def _(kit, world):
    """A code is whoever's who has it."""
    RescueLinkFactory(vehicle=VehicleFactory(owner=world.tuner.user, with_stock=True))
    return Call(body={"token": RESCUE_TOKEN}, shared=True)


@recipe("accept_no_read_back")
def _(kit, world):
    return Call(path={"vehicle": kit.vehicle.pk}, body={"text_version": agreed("no_read_back"), "accepted": True})


@recipe("withdraw_transfer")
def _(kit, world):
    VehicleTransferFactory(vehicle=kit.vehicle, expires_at=_soon())
    return Call(path={"vehicle": kit.vehicle.pk})


def _soon():
    return clock.now() + timedelta(hours=1)


@recipe("accept_transfer")
def _(kit, world):
    """The offer is a third person's: whoever has its code takes it."""
    vehicle = VehicleFactory(owner=world.tuner.user)
    transfer = VehicleTransferFactory(vehicle=vehicle, expires_at=_soon())
    return Call(path={"transfer": transfer.pk}, body={"code": TRANSFER_CODE}, shared=True)


@recipe("decode_vin")
def _(kit, world):
    return Call(body={"vin": "JYARN53E1MA000042"})
