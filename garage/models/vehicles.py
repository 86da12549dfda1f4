"""A rider's vehicles, what was changed on them, and what their engine computers reported."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from core.fields import EncryptedTextField
from core.ids import new_id
from garage.enums import CatalogStatus, FuelScale, Market, ModCategory, VehicleKind


class VehicleQuerySet(models.QuerySet):
    def owned_by(self, owner) -> "VehicleQuerySet":
        """Every vehicle of an owner, deleted ones too."""
        return self.filter(owner_id=owner.pk)

    def present(self) -> "VehicleQuerySet":
        """Those that were not deleted."""
        return self.filter(deleted_at__isnull=True)


class Vehicle(models.Model):
    """One motorcycle or car in somebody's garage, with the state of its engine computer.

    Made by its owner, with a client-made id if the phone was offline. `make` and `model` are text; `catalog_model` is
    the catalogue's row that they matched, or nothing (UNLISTED). `unlisted_name` is the name that was not found in the
    catalogue: what it is merged into is the vehicle's model then. `ecu` is the newest read-out. The `installed_…` fields
    tell which of our tunes was last flashed, as reported. Deleting is soft: `deleted_at` is set once and never cleared,
    the row stays as a tombstone for phones that were offline and for licenses bound to it. An accepted transfer changes
    `owner` and nothing else. `revision` counts edits of the owner's fields; `changed_at` is the database's time of the
    last change of anything shown, which `updated_since` reads.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="vehicles")
    kind = models.CharField(max_length=10, choices=VehicleKind)
    nickname = models.CharField(max_length=60, blank=True)
    make = models.CharField(max_length=60)
    model = models.CharField(max_length=80)
    catalog_model = models.ForeignKey("garage.VehicleModel", on_delete=models.PROTECT, null=True, related_name="vehicles")
    unlisted_name = models.ForeignKey(
        "garage.UnlistedName", on_delete=models.PROTECT, null=True, related_name="vehicles", db_index=False
    )
    year = models.PositiveSmallIntegerField()
    market = models.CharField(max_length=5, choices=Market)
    vin = EncryptedTextField(null=True)
    vin_hash = models.BinaryField(max_length=32, null=True)
    vin_warnings = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    frame_number = EncryptedTextField(null=True)
    frame_number_hash = models.BinaryField(max_length=32, null=True)
    photo_key = models.CharField(max_length=200, blank=True, default="", db_default="")
    odometer_km = models.PositiveIntegerField(null=True)
    is_primary = models.BooleanField(default=False)
    fuel_octane = models.PositiveSmallIntegerField(null=True)
    fuel_scale = models.CharField(max_length=3, choices=FuelScale, null=True)
    ecu = models.ForeignKey("garage.EcuReadout", on_delete=models.SET_NULL, null=True, related_name="+")
    stock_calibration_id = models.CharField(max_length=64, null=True)
    installed_tune_id = models.UUIDField(null=True)
    installed_tune_version_id = models.UUIDField(null=True)
    installed_version = models.CharField(max_length=40, null=True)
    installed_calibration_id = models.CharField(max_length=64, null=True)
    installed_at = models.DateTimeField(null=True)
    creation_fingerprint = models.BinaryField(max_length=32, null=True)  # of the creating body: a repeated one is answered, not refused
    revision = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True)
    changed_at = models.DateTimeField(db_default=Now())

    objects = VehicleQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(name="vehicle_kind_known", condition=Q(kind__in=VehicleKind.values)),
            models.CheckConstraint(name="vehicle_market_known", condition=Q(market__in=Market.values)),
            models.CheckConstraint(name="vehicle_year_plausible", condition=Q(year__gte=1885, year__lte=2100)),
            models.CheckConstraint(
                name="vehicle_fuel_octane_iff_scale",  # 91 AKI read as 91 RON is a knocking engine
                condition=(
                    Q(fuel_octane__isnull=True, fuel_scale__isnull=True)
                    | Q(fuel_octane__gte=60, fuel_octane__lte=130, fuel_scale__in=FuelScale.values, fuel_scale__isnull=False)
                ),
            ),
            models.CheckConstraint(
                name="vehicle_vin_iff_hash",  # an encrypted VIN without its hash would slip past the uniqueness
                condition=Q(vin__isnull=True, vin_hash__isnull=True) | Q(vin__isnull=False, vin_hash__isnull=False),
            ),
            models.CheckConstraint(
                name="vehicle_frame_number_iff_hash",
                condition=(
                    Q(frame_number__isnull=True, frame_number_hash__isnull=True)
                    | Q(frame_number__isnull=False, frame_number_hash__isnull=False)
                ),
            ),
            models.CheckConstraint(
                name="vehicle_installed_all_or_nothing",  # a tune without its version would be judged as stock
                condition=(
                    Q(
                        installed_tune_id__isnull=True,
                        installed_tune_version_id__isnull=True,
                        installed_version__isnull=True,
                        installed_calibration_id__isnull=True,
                        installed_at__isnull=True,
                    )
                    | Q(
                        installed_tune_id__isnull=False,
                        installed_tune_version_id__isnull=False,
                        installed_version__isnull=False,
                        installed_at__isnull=False,
                    )
                ),
            ),
            models.CheckConstraint(
                name="vehicle_deleted_is_not_primary",  # a tombstone would keep the owner from choosing another
                condition=Q(deleted_at__isnull=True) | Q(is_primary=False),
            ),
            models.UniqueConstraint(
                name="vehicle_one_primary_per_owner",  # two phones that each make another vehicle the primary one
                fields=["owner"],
                condition=Q(is_primary=True, deleted_at__isnull=True),
            ),
            models.UniqueConstraint(
                name="vehicle_vin_once_per_owner",  # per owner only: a global rule would let anybody squat or probe a VIN
                fields=["owner", "vin_hash"],
                condition=Q(deleted_at__isnull=True, vin_hash__isnull=False),
            ),
        ]
        indexes = [
            models.Index(  # the garage's list, newest first
                name="vehicle_garage",
                fields=["owner", "-created_at", "-id"],
                condition=Q(deleted_at__isnull=True),
            ),
            models.Index(  # the vehicles that follow when a name is merged, and how many they are
                name="vehicle_unlisted", fields=["unlisted_name", "id"], condition=Q(unlisted_name__isnull=False)
            ),
            models.Index(name="vehicle_changes", fields=["owner", "changed_at", "id"]),  # `updated_since`, tombstones too
        ]

    def __str__(self) -> str:
        return f"{self.make} {self.model} {self.year}"

    @property
    def catalog_status(self) -> str:
        """MATCHED when the make and model are the catalogue's, else UNLISTED."""
        return CatalogStatus.MATCHED if self.catalog_model_id else CatalogStatus.UNLISTED


class VehicleMod(models.Model):
    """A part that was changed on a vehicle, as its owner tells it. Edited and deleted freely; moves with the vehicle."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    vehicle = models.ForeignKey(Vehicle, on_delete=models.CASCADE, related_name="mods")
    category = models.CharField(max_length=16, choices=ModCategory)
    brand = models.CharField(max_length=60, blank=True)
    part = models.CharField(max_length=120, blank=True)
    installed_on = models.DateField(null=True)
    notes = models.TextField(max_length=2000, blank=True)
    creation_fingerprint = models.BinaryField(max_length=32, null=True)
    revision = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(name="vehicle_mod_category_known", condition=Q(category__in=ModCategory.values)),
        ]
        indexes = [models.Index(name="vehicle_mod_list", fields=["vehicle", "created_at", "id"])]

    def __str__(self) -> str:
        return f"{self.category}: {self.brand} {self.part}"


class EcuReadout(models.Model):
    """What the app read from a vehicle's ECU at one moment. Append-only; the vehicle's `ecu` points to the newest.

    `read_at` is the phone's time, `received_at` ours. The serial identifies the vehicle, so it is kept like a VIN.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    vehicle = models.ForeignKey(Vehicle, on_delete=models.CASCADE, related_name="readouts")
    hardware_number = models.CharField(max_length=64)
    calibration_id = models.CharField(max_length=64)
    serial = EncryptedTextField(null=True)
    serial_hash = models.BinaryField(max_length=32, null=True)
    image_size_bytes = models.PositiveIntegerField(null=True)
    read_at = models.DateTimeField()
    received_at = models.DateTimeField()

    class Meta:
        verbose_name = "ECU read-out"
        constraints = [
            models.CheckConstraint(
                name="ecu_readout_serial_iff_hash",
                condition=Q(serial__isnull=True, serial_hash__isnull=True) | Q(serial__isnull=False, serial_hash__isnull=False),
            ),
            models.CheckConstraint(
                name="ecu_readout_image_size_positive",
                condition=Q(image_size_bytes__isnull=True) | Q(image_size_bytes__gt=0),
            ),
            models.UniqueConstraint(
                name="ecu_readout_once_per_time",  # a PUT sent twice by a phone that lost the answer is one read-out
                fields=["vehicle", "read_at", "hardware_number", "calibration_id"],
            ),
        ]
        indexes = [models.Index(name="ecu_readout_history", fields=["vehicle", "-read_at", "-id"])]

    def __str__(self) -> str:
        return f"{self.hardware_number} {self.calibration_id} at {self.read_at:%Y-%m-%d}"
