"""Every table of the garage."""

from garage.models.catalog import MakeAlias, ModelAlias, UnlistedName, VehicleGeneration, VehicleMake, VehicleModel
from garage.models.rescue import RescueLink
from garage.models.stock import NoReadBackConsent, StockFile
from garage.models.transfers import VehicleTransfer
from garage.models.vehicles import EcuReadout, Vehicle, VehicleMod

__all__ = [
    "EcuReadout",
    "MakeAlias",
    "ModelAlias",
    "NoReadBackConsent",
    "RescueLink",
    "StockFile",
    "UnlistedName",
    "Vehicle",
    "VehicleGeneration",
    "VehicleMake",
    "VehicleMod",
    "VehicleModel",
    "VehicleTransfer",
]
