"""What the garage takes and gives, and how its rows are rendered."""

from datetime import datetime, timedelta
from typing import Any

from rest_framework import serializers

from core import storage
from core.exceptions import ServiceUnavailable
from core.renderers import utc_text
from core.serializers import (
    CleanCharField,
    Input,
    Output,
    PageQuery,
    StrictBooleanField,
    StrictIntegerField,
    UtcDateTimeField,
)
from core.signing.serializers import EnvelopeOutput
from garage import vin as vins
from garage.enums import (
    CatalogSource,
    CatalogStatus,
    FuelScale,
    ImageFormat,
    Market,
    ModCategory,
    VehicleKind,
)
from garage.models import (
    EcuReadout,
    NoReadBackConsent,
    RescueLink,
    StockFile,
    Vehicle,
    VehicleMake,
    VehicleMod,
    VehicleModel,
)
from garage.selectors import Departure, ModShape, VehicleShape, VinReport
from garage.services import Rescue
from garage.services.rescue import url_of as rescue_url_of

LARGEST_IMAGE_BYTES = 64 * 1024 * 1024
LINK_SECONDS = 60


class EcuNumberField(CleanCharField):
    """A hardware number or calibration id, as the ECU writes it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=64, identifier=True, **kwargs)


class FuelInput(Input):
    octane = StrictIntegerField(min_value=60, max_value=130, help_text="The number at the pump.")
    scale = serializers.ChoiceField(choices=FuelScale.choices, help_text="RON in most of the world, AKI in North America.")


class FuelOutput(Output):
    octane = serializers.IntegerField()
    scale = serializers.ChoiceField(choices=FuelScale.choices)


class WarningOutput(Output):
    code = serializers.CharField()
    detail = serializers.CharField()


# Vehicles


class VehicleChangesInput(Input):
    """The fields of a vehicle that its owner writes."""

    kind = serializers.ChoiceField(choices=VehicleKind.choices)
    nickname = CleanCharField(max_length=60, required=False, allow_blank=True)
    make = CleanCharField(max_length=60, help_text="As typed; spelling, case and hyphens do not matter.")
    model = CleanCharField(max_length=80, help_text="As typed. One that is not in the catalogue is kept as text (`UNLISTED`).")
    year = StrictIntegerField(min_value=1885, max_value=2100, help_text="Model year.")
    market = serializers.ChoiceField(choices=Market.choices, help_text="Where it was first sold: it decides the ECU's variant.")
    vin = CleanCharField(
        max_length=40, identifier=True, required=False, allow_null=True, help_text="17 characters; spaces and hyphens are dropped."
    )
    frame_number = CleanCharField(
        max_length=40,
        identifier=True,
        required=False,
        allow_null=True,
        help_text="For vehicles without a VIN: older and off-road ones.",
    )
    odometer_km = StrictIntegerField(min_value=0, max_value=9_999_999, required=False, allow_null=True)
    is_primary = StrictBooleanField(required=False, help_text="Making one primary takes that from the other. The first vehicle is.")
    photo_upload_id = serializers.UUIDField(
        required=False, allow_null=True, help_text="A READY upload with the purpose VEHICLE_PHOTO; null takes the picture away."
    )
    fuel = FuelInput(required=False, allow_null=True, help_text="What it usually runs on.")

    def validate_frame_number(self, value: str | None) -> str | None:
        """Frame numbers are matched, so they are kept in one spelling."""
        if value is None:
            return None
        number = " ".join(value.upper().split())
        if not any(character.isalnum() for character in number):
            raise serializers.ValidationError("A frame number has letters and digits.", code="invalid")
        return number


class VehicleInput(VehicleChangesInput):
    id = serializers.UUIDField(required=False, help_text="Made by the client, for phones that are offline; any UUID version.")


class VehicleListQuery(PageQuery):
    updated_since = UtcDateTimeField(
        required=False, help_text="The `synced_until` of the last time: answers what changed since, deleted vehicles too."
    )


class InstalledOutput(Output):
    tune = serializers.UUIDField()
    tune_version = serializers.UUIDField()
    version = serializers.CharField()
    calibration_id = serializers.CharField(allow_null=True)
    installed_at = UtcDateTimeField()


class EcuOutput(Output):
    hardware_number = serializers.CharField()
    calibration_id = serializers.CharField(help_text="What it reports now.")
    stock_calibration_id = serializers.CharField(allow_null=True, help_text="What it left the factory with, as far as known.")
    serial = serializers.CharField(allow_null=True)
    image_size_bytes = serializers.IntegerField(allow_null=True)
    read_at = UtcDateTimeField()
    installed = InstalledOutput(allow_null=True, help_text="Which of our tunes is in it, as reported; null for none.")


class ModOutput(Output):
    id = serializers.UUIDField()
    category = serializers.ChoiceField(choices=ModCategory.choices)
    brand = serializers.CharField()
    part = serializers.CharField()
    installed_on = serializers.DateField(allow_null=True)
    notes = serializers.CharField()
    revision = serializers.IntegerField()
    created_at = UtcDateTimeField()
    updated_at = UtcDateTimeField()


class VehicleOutput(Output):
    id = serializers.UUIDField()
    kind = serializers.ChoiceField(choices=VehicleKind.choices)
    nickname = serializers.CharField()
    make = serializers.CharField()
    model = serializers.CharField()
    catalog_status = serializers.ChoiceField(choices=CatalogStatus.choices)
    year = serializers.IntegerField()
    market = serializers.ChoiceField(choices=Market.choices)
    vin = serializers.CharField(allow_null=True)
    frame_number = serializers.CharField(allow_null=True)
    photo_url = serializers.CharField(allow_null=True)
    odometer_km = serializers.IntegerField(allow_null=True)
    is_primary = serializers.BooleanField()
    fuel = FuelOutput(allow_null=True)
    ecu = EcuOutput(allow_null=True, help_text="The newest read-out; null before the ECU was read.")
    has_stock_file = serializers.BooleanField()
    mods = ModOutput(many=True)
    vin_warnings = WarningOutput(many=True)
    revision = serializers.IntegerField()
    created_at = UtcDateTimeField()
    updated_at = UtcDateTimeField()
    deleted_at = UtcDateTimeField(allow_null=True, help_text="Set on tombstones: deleted, or handed on to its next owner.")


def _utc(moment: datetime | None) -> str | None:
    return None if moment is None else utc_text(moment)


# These are hot: plain dicts, whose ids and moments the renderer writes.


def render_mod(mod: VehicleMod | ModShape) -> dict[str, Any]:
    """A part as `ModOutput` declares it."""
    return {
        "id": mod.id,
        "category": mod.category,
        "brand": mod.brand,
        "part": mod.part,
        "installed_on": mod.installed_on,
        "notes": mod.notes,
        "revision": mod.revision,
        "created_at": mod.created_at,
        "updated_at": mod.updated_at,
    }


def render_ecu(vehicle: Vehicle | VehicleShape) -> dict[str, Any] | None:
    """The newest read-out as `EcuOutput` declares it."""
    readout = vehicle.ecu
    if readout is None:
        return None
    installed = None
    if vehicle.installed_tune_id is not None:
        installed = {
            "tune": vehicle.installed_tune_id,
            "tune_version": vehicle.installed_tune_version_id,
            "version": vehicle.installed_version,
            "calibration_id": vehicle.installed_calibration_id,
            "installed_at": vehicle.installed_at,
        }
    return {
        "hardware_number": readout.hardware_number,
        "calibration_id": readout.calibration_id,
        "stock_calibration_id": vehicle.stock_calibration_id,
        "serial": readout.serial,
        "image_size_bytes": readout.image_size_bytes,
        "read_at": readout.read_at,
        "installed": installed,
    }


def render_vehicle(vehicle: VehicleShape) -> dict[str, Any]:
    """A vehicle as `VehicleOutput` declares it."""
    return {
        "id": vehicle.id,
        "kind": vehicle.kind,
        "nickname": vehicle.nickname,
        "make": vehicle.make,
        "model": vehicle.model,
        "catalog_status": vehicle.catalog_status.value,
        "year": vehicle.year,
        "market": vehicle.market,
        "vin": vehicle.vin,
        "frame_number": vehicle.frame_number,
        "photo_url": storage.public_url(vehicle.photo_key) if vehicle.photo_key else None,
        "odometer_km": vehicle.odometer_km,
        "is_primary": vehicle.is_primary,
        "fuel": {"octane": vehicle.fuel_octane, "scale": vehicle.fuel_scale} if vehicle.fuel_octane else None,
        "ecu": render_ecu(vehicle),
        "has_stock_file": vehicle.has_stock_file,
        "mods": [render_mod(mod) for mod in vehicle.mods],
        "vin_warnings": vins.warning_texts(vehicle.vin_warnings),
        "revision": vehicle.revision,
        "created_at": vehicle.created_at,
        "updated_at": vehicle.updated_at,
        "deleted_at": vehicle.deleted_at,
    }


def render_change(row: VehicleShape | Departure) -> dict[str, Any]:
    """A row of `updated_since`: a vehicle, or the tombstone of one that was handed on."""
    if isinstance(row, VehicleShape):
        return render_vehicle(row)
    facts = row.departed
    return {
        "id": str(row.id),
        "kind": facts["kind"],
        "nickname": "",
        "make": facts["make"],
        "model": facts["model"],
        "catalog_status": facts["catalog_status"],
        "year": facts["year"],
        "market": facts["market"],
        "vin": None,
        "frame_number": None,
        "photo_url": None,
        "odometer_km": None,
        "is_primary": False,
        "fuel": None,
        "ecu": None,
        "has_stock_file": False,
        "mods": [],
        "vin_warnings": [],
        "revision": facts["revision"] + 1,
        "created_at": facts["created_at"],
        "updated_at": _utc(row.changed_at),
        "deleted_at": _utc(row.changed_at),
    }


# Mods


class ModChangesInput(Input):
    category = serializers.ChoiceField(choices=ModCategory.choices)
    brand = CleanCharField(max_length=60, required=False, allow_blank=True)
    part = CleanCharField(max_length=120, required=False, allow_blank=True)
    installed_on = serializers.DateField(required=False, allow_null=True)
    notes = CleanCharField(max_length=2000, multiline=True, required=False, allow_blank=True)


class ModInput(ModChangesInput):
    id = serializers.UUIDField(required=False, help_text="Made by the client, for phones that are offline; any UUID version.")


# The ECU


class EcuReadoutInput(Input):
    hardware_number = EcuNumberField()
    calibration_id = EcuNumberField()
    serial = EcuNumberField(required=False, allow_null=True)
    image_size_bytes = StrictIntegerField(min_value=1, max_value=LARGEST_IMAGE_BYTES, required=False, allow_null=True)
    read_at = UtcDateTimeField(help_text="When the app read it, by the phone's clock.")


class EcuReadoutOutput(Output):
    id = serializers.UUIDField()
    hardware_number = serializers.CharField()
    calibration_id = serializers.CharField()
    serial = serializers.CharField(allow_null=True)
    image_size_bytes = serializers.IntegerField(allow_null=True)
    read_at = UtcDateTimeField()
    received_at = UtcDateTimeField()


def render_readout(readout: EcuReadout) -> dict[str, Any]:
    """A read-out as `EcuReadoutOutput` declares it."""
    return {
        "id": str(readout.id),
        "hardware_number": readout.hardware_number,
        "calibration_id": readout.calibration_id,
        "serial": readout.serial,
        "image_size_bytes": readout.image_size_bytes,
        "read_at": _utc(readout.read_at),
        "received_at": _utc(readout.received_at),
    }


# Stock files


class StockFileInput(Input):
    upload_id = serializers.UUIDField(help_text="A READY upload with the purpose STOCK_FILE.")


class ImageOutput(Output):
    base = serializers.IntegerField(help_text="Address of the first byte in the ECU.")
    size_bytes = serializers.IntegerField()
    sha256 = serializers.CharField(help_text="Of the decoded bytes: what the restore ticket names.")


class StockFileOutput(Output):
    id = serializers.UUIDField()
    name = serializers.CharField()
    format = serializers.ChoiceField(choices=ImageFormat.choices)
    size_bytes = serializers.IntegerField(help_text="Of the file as it is downloaded.")
    sha256 = serializers.CharField(help_text="Of the file as it is downloaded.")
    image = ImageOutput()
    hardware_number = serializers.CharField()
    calibration_id = serializers.CharField()
    created_at = UtcDateTimeField()
    restore_ticket = EnvelopeOutput(help_text="Valid for 180 days from now: made anew whenever it is read. Keep it on the phone.")
    url = serializers.CharField(allow_null=True, help_text="Fresh link for a minute; send no Authorization. Null while storage is away.")
    url_expires_at = UtcDateTimeField(allow_null=True)


def render_stock_file(stock_file: StockFile, *, ticket: dict[str, Any], at: datetime, link_required: bool = False) -> dict[str, Any]:
    """A stock file as `StockFileOutput` declares it, with its ticket and a fresh link.

    With storage away the link is null, because the ticket alone brings home whoever kept the image; `link_required`
    raises ServiceUnavailable instead.
    """
    url, url_expires_at = None, None
    try:
        storage.ensure_available()
        url = storage.presign_get(stock_file.storage_key, expires_seconds=LINK_SECONDS, filename=stock_file.name)
        url_expires_at = at + timedelta(seconds=LINK_SECONDS)
    except ServiceUnavailable:
        if link_required:
            raise
    return {
        "id": str(stock_file.id),
        "name": stock_file.name,
        "format": stock_file.format,
        "size_bytes": stock_file.size_bytes,
        "sha256": stock_file.sha256,
        "image": {"base": stock_file.image_base, "size_bytes": stock_file.image_size_bytes, "sha256": stock_file.image_sha256},
        "hardware_number": stock_file.hardware_number,
        "calibration_id": stock_file.calibration_id,
        "created_at": _utc(stock_file.created_at),
        "restore_ticket": ticket,
        "url": url,
        "url_expires_at": _utc(url_expires_at),
    }


# Rescue

RESCUE_FILE_NAMES = {ImageFormat.BIN: "stock.bin", ImageFormat.INTEL_HEX: "stock.hex", ImageFormat.S_RECORD: "stock.s19"}


class RescueLinkOutput(Output):
    id = serializers.UUIDField()
    uses_left = serializers.IntegerField()
    created_at = UtcDateTimeField()
    last_used_at = UtcDateTimeField(allow_null=True)
    expires_at = UtcDateTimeField()


class NewRescueLinkOutput(RescueLinkOutput):
    token = serializers.CharField(allow_null=True, help_text="Shown once: null when an idempotent request is repeated.")
    url = serializers.CharField(allow_null=True, help_text="A page with the token in its fragment: a code to scan.")


def render_rescue_link(link: RescueLink) -> dict[str, Any]:
    """A link as `RescueLinkOutput` declares it."""
    return {
        "id": str(link.id),
        "uses_left": link.uses_left,
        "created_at": _utc(link.created_at),
        "last_used_at": _utc(link.last_used_at),
        "expires_at": _utc(link.expires_at),
    }


def render_new_rescue_link(link: RescueLink, *, token: str | None) -> dict[str, Any]:
    """A link just made, as `NewRescueLinkOutput` declares it."""
    url = rescue_url_of(token) if token else None
    return {**render_rescue_link(link), "token": token, "url": url}


class RescueInput(Input):
    token = CleanCharField(max_length=64, identifier=True)


class RescuedVehicleOutput(Output):
    make = serializers.CharField()
    model = serializers.CharField()
    year = serializers.IntegerField()
    hardware_number = serializers.CharField(help_text="Of the ECU that the image is for. Read yours before you write anything.")


class RescueImageOutput(Output):
    format = serializers.ChoiceField(choices=ImageFormat.choices)
    size_bytes = serializers.IntegerField(help_text="Of the file as it is downloaded.")
    sha256 = serializers.CharField(help_text="Of the file as it is downloaded.")
    image = ImageOutput()
    calibration_id = serializers.CharField()
    url = serializers.CharField(help_text="Good for a minute; send no Authorization.")
    url_expires_at = UtcDateTimeField()


class RescueOutput(Output):
    vehicle = RescuedVehicleOutput()
    stock_file = RescueImageOutput()
    restore_ticket = EnvelopeOutput(help_text="Verify it as docs/trust.md says, before the image is written.")
    root = EnvelopeOutput(help_text="The newest root document, for an app that has none. An app that ships with one walks from that.")


def render_rescue(rescue: Rescue, *, root: dict[str, Any], at: datetime) -> dict[str, Any]:
    """What a code opened, as `RescueOutput` declares it. Nothing of the owner's is in it: not even how they called the file."""
    vehicle, stock_file = rescue.vehicle, rescue.stock_file
    name = RESCUE_FILE_NAMES[ImageFormat(stock_file.format)]
    return {
        "vehicle": {
            "make": vehicle.make,
            "model": vehicle.model,
            "year": vehicle.year,
            "hardware_number": stock_file.hardware_number,
        },
        "stock_file": {
            "format": stock_file.format,
            "size_bytes": stock_file.size_bytes,
            "sha256": stock_file.sha256,
            "image": {"base": stock_file.image_base, "size_bytes": stock_file.image_size_bytes, "sha256": stock_file.image_sha256},
            "calibration_id": stock_file.calibration_id,
            "url": storage.presign_get(stock_file.storage_key, expires_seconds=LINK_SECONDS, filename=name),
            "url_expires_at": _utc(at + timedelta(seconds=LINK_SECONDS)),
        },
        "restore_ticket": rescue.restore_ticket,
        "root": root,
    }


# No read-back


class NoReadBackInput(Input):
    text_version = serializers.CharField(max_length=40, help_text="`texts.no_read_back.version` of `meta/`, as it was shown.")
    accepted = StrictBooleanField(help_text="Must be true.")

    def validate_accepted(self, value: bool) -> bool:
        """Silence and no are no consent."""
        if not value:
            raise serializers.ValidationError("The text must be accepted.", code="must_be_true")
        return value


class NoReadBackOutput(Output):
    text_version = serializers.CharField()
    text_sha256 = serializers.CharField()
    hardware_number = serializers.CharField(allow_null=True, help_text="The ECU it was given for; null if it had not been read.")
    accepted_at = UtcDateTimeField()


def render_consent(consent: NoReadBackConsent) -> dict[str, Any]:
    """A consent as `NoReadBackOutput` declares it."""
    return {
        "text_version": consent.text_version,
        "text_sha256": consent.text_sha256,
        "hardware_number": consent.hardware_number or None,
        "accepted_at": _utc(consent.accepted_at),
    }


# Transfers


class TransferOutput(Output):
    id = serializers.UUIDField()
    code = serializers.CharField(allow_null=True, help_text="Shown once: null when an idempotent request is repeated.")
    expires_at = UtcDateTimeField()


# VINs


class VinInput(Input):
    vin = CleanCharField(max_length=40, identifier=True)


class VinErrorOutput(Output):
    code = serializers.CharField()
    detail = serializers.CharField()


class ModelCandidateOutput(Output):
    make = serializers.CharField()
    model = serializers.CharField()
    catalog_status = serializers.ChoiceField(choices=CatalogStatus.choices)


class VinOutput(Output):
    vin = serializers.CharField(help_text="In normal form.")
    valid = serializers.BooleanField()
    errors = VinErrorOutput(many=True, help_text="Why it is not valid.")
    warnings = WarningOutput(many=True)
    make_candidates = serializers.ListField(child=serializers.CharField())
    model_candidates = ModelCandidateOutput(many=True)
    year_candidates = serializers.ListField(child=serializers.IntegerField(), help_text="Likeliest first.")
    market = serializers.ChoiceField(choices=Market.choices, allow_null=True, help_text="Only if there is one candidate.")
    market_candidates = serializers.ListField(child=serializers.ChoiceField(choices=Market.choices))
    source = serializers.CharField(help_text="`vpic`: NHTSA's patterns knew the maker; `wmi`: only the first three characters did.")
    data_month = serializers.CharField(allow_null=True, help_text="Of the vPIC data that was asked.")


def render_vin(report: VinReport) -> dict[str, Any]:
    """A decoded VIN as `VinOutput` declares it."""
    decoded = report.decoded
    return {
        "vin": decoded.vin,
        "valid": decoded.valid,
        "errors": [{"code": fault.code, "detail": fault.detail} for fault in decoded.faults],
        "warnings": vins.warning_texts(decoded.warnings),
        "make_candidates": report.makes,
        "model_candidates": [
            {"make": found.make, "model": found.model, "catalog_status": str(found.catalog_status)} for found in report.models
        ],
        "year_candidates": decoded.years,
        "market": decoded.markets[0] if len(decoded.markets) == 1 else None,
        "market_candidates": decoded.markets,
        "source": decoded.source,
        "data_month": decoded.data_month,
    }


# The catalogue


class MakeListQuery(PageQuery):
    kind = serializers.ChoiceField(choices=VehicleKind.choices, required=False)
    q = CleanCharField(max_length=60, required=False, help_text="The beginning of a name.")


class MakeOutput(Output):
    id = serializers.UUIDField()
    name = serializers.CharField()
    kinds = serializers.ListField(child=serializers.ChoiceField(choices=VehicleKind.choices))


def render_make(make: VehicleMake) -> dict[str, Any]:
    """A make of `catalog.list_makes` as `MakeOutput` declares it."""
    return {"id": str(make.id), "name": make.name, "kinds": make.kinds}  # type: ignore[attr-defined]  # annotated


class ModelListQuery(PageQuery):
    make = CleanCharField(max_length=60, required=False, help_text="A name or alias; an unknown one has no models.")
    q = CleanCharField(max_length=80, required=False, help_text="Part of a name or alias, however it is spelled.")
    kind = serializers.ChoiceField(choices=VehicleKind.choices, required=False)
    year = serializers.IntegerField(min_value=1885, max_value=2100, required=False, help_text="Sold in this model year.")


class GenerationOutput(Output):
    name = serializers.CharField(help_text="As its maker or the trade calls it.")
    year_from = serializers.IntegerField()
    year_to = serializers.IntegerField(allow_null=True, help_text="Null: still sold.")
    markets = serializers.ListField(
        child=serializers.ChoiceField(choices=Market.choices), help_text="Where it was sold; empty: wherever the model was."
    )


class ModelOutput(Output):
    id = serializers.UUIDField()
    make = serializers.CharField()
    model = serializers.CharField()
    kind = serializers.ChoiceField(choices=VehicleKind.choices)
    year_from = serializers.IntegerField()
    year_to = serializers.IntegerField(allow_null=True, help_text="Null: still sold.")
    aliases = serializers.ListField(child=serializers.CharField())
    generations = GenerationOutput(many=True, help_text="Oldest first; empty where the catalogue tells none apart.")
    source = serializers.ChoiceField(choices=CatalogSource.choices)


def render_model(model: VehicleModel) -> dict[str, Any]:
    """A model of `catalog.list_models` as `ModelOutput` declares it."""
    return {
        "id": str(model.id),
        "make": model.make.name,
        "model": model.name,
        "kind": model.kind,
        "year_from": model.year_from,
        "year_to": model.year_to,
        "aliases": model.alias_names,  # type: ignore[attr-defined]  # annotated
        "generations": model.generation_rows,  # type: ignore[attr-defined]  # annotated
        "source": model.source,
    }
