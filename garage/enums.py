"""Values that the garage stores and the API shows. New ones may be added; none is renamed."""

from django.db import models


class VehicleKind(models.TextChoices):
    MOTORCYCLE = "MOTORCYCLE", "Motorcycle"
    CAR = "CAR", "Car"
    OTHER = "OTHER", "Other"


class Market(models.TextChoices):
    """Where the vehicle was first sold: it decides the ECU's variant, and US and Canadian ones differ."""

    US = "US", "United States"
    CA = "CA", "Canada"
    MX = "MX", "Mexico"
    BR = "BR", "Brazil"
    EU = "EU", "European Union and EFTA"
    UK = "UK", "United Kingdom"
    JP = "JP", "Japan"
    KR = "KR", "South Korea"
    CN = "CN", "China"
    TW = "TW", "Taiwan"
    IN = "IN", "India"
    TH = "TH", "Thailand"
    ID = "ID", "Indonesia"
    AU = "AU", "Australia"
    NZ = "NZ", "New Zealand"
    ZA = "ZA", "South Africa"
    OTHER = "OTHER", "Another market"


class FuelScale(models.TextChoices):
    """An octane number means nothing without its scale: 91 AKI is about 95 RON."""

    RON = "RON", "RON (research octane number)"
    AKI = "AKI", "AKI ((R+M)/2)"


class CatalogStatus(models.TextChoices):
    MATCHED = "MATCHED", "In the catalogue"
    UNLISTED = "UNLISTED", "Entered as text"


class UnlistedState(models.TextChoices):
    """What became of a name that the catalogue does not have."""

    OPEN = "OPEN", "To be looked at"
    MERGED = "MERGED", "Merged into a model"


class CatalogSource(models.TextChoices):
    VPIC = "VPIC", "NHTSA vPIC (public domain)"
    ADDED = "ADDED", "Added by hand, with its source"


class ModCategory(models.TextChoices):
    EXHAUST = "EXHAUST", "Exhaust"
    AIR_FILTER = "AIR_FILTER", "Air filter"
    INTAKE = "INTAKE", "Intake"
    ECU = "ECU", "Engine computer"
    FUEL = "FUEL", "Fuel system"
    IGNITION = "IGNITION", "Ignition"
    FORCED_INDUCTION = "FORCED_INDUCTION", "Turbo or supercharger"
    INTERCOOLER = "INTERCOOLER", "Intercooler"
    ENGINE = "ENGINE", "Engine internals"
    CAMSHAFT = "CAMSHAFT", "Camshaft"
    CLUTCH = "CLUTCH", "Clutch"
    GEARING = "GEARING", "Gearing and sprockets"
    QUICKSHIFTER = "QUICKSHIFTER", "Quickshifter"
    SENSOR = "SENSOR", "Sensors"
    COOLING = "COOLING", "Cooling"
    BRAKES = "BRAKES", "Brakes"
    SUSPENSION = "SUSPENSION", "Suspension"
    WHEELS = "WHEELS", "Wheels and tyres"
    BODY = "BODY", "Body and ergonomics"
    OTHER = "OTHER", "Other"


class ImageFormat(models.TextChoices):
    """How an ECU image is written down."""

    BIN = "BIN", "Raw binary"
    INTEL_HEX = "INTEL_HEX", "Intel HEX"
    S_RECORD = "S_RECORD", "Motorola S-record"


class TransferState(models.TextChoices):
    OFFERED = "OFFERED", "Offered"
    ACCEPTED = "ACCEPTED", "Accepted"
    WITHDRAWN = "WITHDRAWN", "Withdrawn"
    EXPIRED = "EXPIRED", "Expired"


class IdentityKind(models.TextChoices):
    """What tells one vehicle from all others, best first."""

    VIN = "VIN", "VIN"
    FRAME_NUMBER = "FRAME_NUMBER", "Frame number"
    ECU_SERIAL = "ECU_SERIAL", "Serial number of the ECU"
    STOCK_IMAGE = "STOCK_IMAGE", "Hash of its own stock image"
