"""Refusals of the garage, each named after the fact."""

from core.exceptions import DomainError, NotFound


class VehicleNotFound(NotFound):
    message = "There is no such vehicle in your garage."


class VehicleModNotFound(NotFound):
    message = "There is no such part on this vehicle."


class StockFileNotFound(NotFound):
    message = "There is no such stock file."


class TransferNotFound(NotFound):
    message = "There is no such transfer."


class RescueLinkNotFound(NotFound):
    message = "There is no such rescue link."


class RescueLinkInvalid(NotFound):
    """Unknown, used up, expired and revoked are one answer: a code must tell nothing about itself."""

    message = "This rescue code opens nothing. Ask for a new one."


class StockFileRequired(DomainError):
    message = "Save the stock image first: without it there is nothing to come back to."


class TooManyRescueLinks(DomainError):
    message = "This vehicle has as many open rescue links as it can have. Revoke one first."


class VinInGarage(DomainError):
    message = "A vehicle with this VIN is in your garage already."


class GarageFull(DomainError):
    message = "Your garage is full. Delete a vehicle that you no longer own first."


class TooManyMods(DomainError):
    message = "This vehicle has as many parts listed as it can have."


class EcuReadoutRequired(DomainError):
    message = "Read the vehicle's ECU first: a stock file is checked against it."


class StockFileMismatch(DomainError):
    message = "This image does not belong to the ECU that was read from the vehicle."


class StockFileIsTune(DomainError):
    message = "This image is a tune, not a stock image, so it can't be kept as the way back."


class StockFileExists(DomainError):
    message = "This image is saved for this vehicle already."


class TextVersionOutdated(DomainError):
    message = "The text has changed since you read it. Show the new one and ask again."


class TransferCodeWrong(DomainError):
    message = "The code is not right."


class TransferClosed(DomainError):
    message = "This offer has ended. Ask the owner for a new one."


class TransferToOneself(DomainError):
    message = "You own this vehicle already."
