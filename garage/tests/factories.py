"""Vehicles for tests: the lowest legal state by default, further states as traits."""

import hashlib
from datetime import UTC, datetime, timedelta

import factory

from core import clock
from core.crypto import keyed_hash
from core.ids import new_id
from garage.enums import (
    CatalogSource,
    ImageFormat,
    Market,
    ModCategory,
    TransferState,
    VehicleKind,
)
from garage.models import (
    EcuReadout,
    MakeAlias,
    ModelAlias,
    NoReadBackConsent,
    RescueLink,
    StockFile,
    UnlistedName,
    Vehicle,
    VehicleGeneration,
    VehicleMake,
    VehicleMod,
    VehicleModel,
    VehicleTransfer,
)

MADE_AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
HARDWARE_NUMBER = "RSH-4711-A"
CALIBRATION_ID = "RSC-210-EU"
IMAGE_SIZE_BYTES = 262_144
TRANSFER_CODE = "K7WQ-M2XD"
RESCUE_TOKEN = "b2Zmc2V0LXBpc3Rvbi1jYW1zaGFm"


def folded(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


class VehicleMakeFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = VehicleMake
        django_get_or_create = ("folded",)

    name = "Yamaha"
    folded = factory.LazyAttribute(lambda make: folded(make.name))
    rank = 1


class MakeAliasFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = MakeAlias

    make = factory.SubFactory(VehicleMakeFactory)
    name = "Yam"
    folded = factory.LazyAttribute(lambda alias: folded(alias.name))


class VehicleModelFactory(factory.django.DjangoModelFactory):
    """The catalogue's "Yamaha MT-09", unless make and name say otherwise; one row however often it is asked for."""

    class Meta:
        model = VehicleModel
        django_get_or_create = ("make", "folded")

    make = factory.SubFactory(VehicleMakeFactory)
    kind = VehicleKind.MOTORCYCLE
    name = "MT-09"
    folded = factory.LazyAttribute(lambda model: folded(model.name))
    year_from = 2013
    year_to = None
    rank = 1
    source = CatalogSource.ADDED
    source_note = "made for a test"


class ModelAliasFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = ModelAlias

    model = factory.SubFactory(VehicleModelFactory)
    make = factory.SelfAttribute("model.make")
    name = "FZ-09"
    folded = factory.LazyAttribute(lambda alias: folded(alias.name))


class VehicleGenerationFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = VehicleGeneration

    model = factory.SubFactory(VehicleModelFactory)
    name = "Gen 3 (RN69)"
    year_from = 2021
    year_to = 2023
    source_note = "made for a test"


class UnlistedNameFactory(factory.django.DjangoModelFactory):
    """A name that waits to be merged; VehicleFactory's unlisted vehicles have none."""

    class Meta:
        model = UnlistedName

    kind = VehicleKind.MOTORCYCLE
    make = "Yamaha"
    model = "MT-09 Prototype"
    folded = factory.LazyAttribute(lambda name: folded(name.make + name.model))
    created_at = MADE_AT


class EcuReadoutFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = EcuReadout

    vehicle = factory.SubFactory("garage.tests.factories.VehicleFactory")
    hardware_number = HARDWARE_NUMBER
    calibration_id = CALIBRATION_ID
    serial = None
    serial_hash = factory.LazyAttribute(lambda readout: readout.serial and keyed_hash("ecu_serial", readout.serial))
    image_size_bytes = IMAGE_SIZE_BYTES
    read_at = MADE_AT
    received_at = MADE_AT


class StockFileFactory(factory.django.DjangoModelFactory):
    """A stock image's row; its bytes are in storage only if the test puts them there."""

    class Meta:
        model = StockFile

    vehicle = factory.SubFactory("garage.tests.factories.VehicleFactory")
    readout = factory.SelfAttribute("vehicle.ecu")
    upload_id = factory.LazyFunction(new_id)
    name = "stock.bin"
    storage_key = factory.LazyAttribute(lambda stock: f"stock/{stock.upload_id}")
    format = ImageFormat.BIN
    sha256 = factory.LazyAttribute(lambda stock: hashlib.sha256(stock.upload_id.bytes).hexdigest())
    size_bytes = IMAGE_SIZE_BYTES
    image_base = 0
    image_sha256 = factory.SelfAttribute("sha256")
    image_size_bytes = IMAGE_SIZE_BYTES
    hardware_number = HARDWARE_NUMBER
    calibration_id = CALIBRATION_ID
    created_at = MADE_AT


class RescueLinkFactory(factory.django.DjangoModelFactory):
    """An open link whose code is `RESCUE_TOKEN`, once."""

    class Meta:
        model = RescueLink

    class Params:
        token = RESCUE_TOKEN

    vehicle = factory.SubFactory("garage.tests.factories.VehicleFactory", with_stock=True)
    made_by = factory.SelfAttribute("vehicle.owner")
    token_sha256 = factory.LazyAttribute(lambda link: hashlib.sha256(link.token.encode()).digest())
    created_at = factory.LazyFunction(clock.now)
    expires_at = factory.LazyAttribute(lambda link: link.created_at + timedelta(days=180))


class VehicleFactory(factory.django.DjangoModelFactory):
    """A 2021 Yamaha MT-09 sold in the EU, in the catalogue, whose ECU was never read.

    Traits: `with_ecu` (a read-out), `with_stock` (and a stock file's row), `unlisted`, `deleted`, `primary`. Overrides
    of the read-out go by `ecu_…`: `VehicleFactory(with_ecu=True, ecu_hardware_number="…")`.
    """

    class Meta:
        model = Vehicle
        skip_postgeneration_save = True

    class Params:
        with_ecu = factory.Trait(ecu_hardware_number=HARDWARE_NUMBER)
        with_stock = factory.Trait(with_ecu=True, stockfile_name="stock.bin")
        unlisted = factory.Trait(catalog_model=None)
        deleted = factory.Trait(deleted_at=MADE_AT + timedelta(days=1))
        primary = factory.Trait(is_primary=True)

    owner = factory.SubFactory("users.tests.factories.UserFactory")
    kind = VehicleKind.MOTORCYCLE
    make = "Yamaha"
    model = "MT-09"
    catalog_model = factory.LazyAttribute(
        lambda vehicle: VehicleModelFactory(make=VehicleMakeFactory(name=vehicle.make), name=vehicle.model, kind=vehicle.kind)
    )
    year = 2021
    market = Market.EU
    vin = None
    vin_hash = factory.LazyAttribute(lambda vehicle: vehicle.vin and keyed_hash("vin", vehicle.vin))
    frame_number = None
    frame_number_hash = factory.LazyAttribute(
        lambda vehicle: vehicle.frame_number and keyed_hash("frame_number", vehicle.frame_number)
    )
    created_at = MADE_AT
    updated_at = MADE_AT

    @classmethod
    def _create(cls, model_class, *args, **kwargs):
        readout = {name.removeprefix("ecu_"): kwargs.pop(name) for name in list(kwargs) if name.startswith("ecu_")}
        stock_file = {name.removeprefix("stockfile_"): kwargs.pop(name) for name in list(kwargs) if name.startswith("stockfile_")}
        vehicle = super()._create(model_class, *args, **kwargs)
        if readout:
            vehicle.ecu = EcuReadoutFactory(vehicle=vehicle, **readout)
            vehicle.stock_calibration_id = vehicle.stock_calibration_id or vehicle.ecu.calibration_id
            vehicle.save(update_fields=["ecu", "stock_calibration_id"])
        if stock_file:
            ecu = vehicle.ecu
            StockFileFactory(
                vehicle=vehicle,
                **{
                    "hardware_number": ecu.hardware_number,
                    "calibration_id": ecu.calibration_id,
                    "image_size_bytes": ecu.image_size_bytes or IMAGE_SIZE_BYTES,
                    **stock_file,
                },
            )
        return vehicle


class VehicleModFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = VehicleMod

    vehicle = factory.SubFactory(VehicleFactory)
    category = ModCategory.EXHAUST
    brand = "Akrapovič"
    part = "Racing Line"
    created_at = MADE_AT
    updated_at = MADE_AT


class NoReadBackConsentFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = NoReadBackConsent

    vehicle = factory.SubFactory(VehicleFactory, with_ecu=True)
    given_by = factory.SelfAttribute("vehicle.owner")
    hardware_number = factory.LazyAttribute(lambda consent: consent.vehicle.ecu.hardware_number)
    text_version = "2026-11-01"
    text_sha256 = "0" * 64
    accepted_at = MADE_AT


class VehicleTransferFactory(factory.django.DjangoModelFactory):
    """An open offer with TRANSFER_CODE; traits `withdrawn`, `expired`, `accepted` (to `accepted_by`)."""

    class Meta:
        model = VehicleTransfer

    class Params:
        withdrawn = factory.Trait(state=TransferState.WITHDRAWN, ended_at=MADE_AT)
        expired = factory.Trait(state=TransferState.EXPIRED, ended_at=MADE_AT)
        accepted = factory.Trait(
            state=TransferState.ACCEPTED,
            ended_at=MADE_AT,
            accepted_by=factory.SubFactory("users.tests.factories.UserFactory"),
            departed={
                "kind": "MOTORCYCLE", "make": "Yamaha", "model": "MT-09", "year": 2021, "market": "EU",
                "catalog_status": "MATCHED", "revision": 1, "created_at": "2026-06-01T12:00:00Z",
            },
        )

    id = factory.LazyFunction(new_id)
    vehicle = factory.SubFactory(VehicleFactory)
    offered_by = factory.SelfAttribute("vehicle.owner")
    code_hash = factory.LazyAttribute(lambda transfer: keyed_hash("transfer_code", f"{transfer.id}:{TRANSFER_CODE.replace('-', '')}"))
    tries_left = 5
    offered_at = MADE_AT
    expires_at = MADE_AT + timedelta(hours=48)
