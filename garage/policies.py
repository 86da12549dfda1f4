"""Pure rules of the garage."""

from datetime import datetime, timedelta

from core.exceptions import PermissionRefused
from garage.enums import TransferState
from garage.models import StockFile, Vehicle, VehicleTransfer
from users.enums import Role
from users.models import User

MAX_VEHICLES = 200
MAX_MODS = 100
MAX_RESCUE_LINKS = 5  # open ones of a vehicle: a household, not a publication
CLOCK_SKEW = timedelta(minutes=10)  # a phone's clock may be ahead of ours by this


def is_in_future(moment: datetime, *, at: datetime) -> bool:
    """Whether a phone's time can't be true."""
    return moment > at + CLOCK_SKEW


def is_open(transfer: VehicleTransfer, *, at: datetime) -> bool:
    """Whether an offer can still be accepted."""
    return transfer.state == TransferState.OFFERED and transfer.expires_at > at and transfer.tries_left > 0


def is_stock_calibration(vehicle: Vehicle, calibration_id: str) -> bool:
    """Whether an image with this calibration may be the vehicle's original: as read now, or known as its stock one."""
    known = {vehicle.stock_calibration_id, vehicle.ecu.calibration_id if vehicle.ecu and not vehicle.installed_tune_id else None}
    return calibration_id in known


def is_way_back(stock_file: StockFile, vehicle: Vehicle) -> bool:
    """Whether a stock image is of the ECU that is in the vehicle now."""
    return vehicle.ecu is None or stock_file.hardware_number == vehicle.ecu.hardware_number


def ensure_is_staff(actor: User) -> None:
    """Raises: PermissionRefused."""
    if actor.role != Role.ADMIN or not actor.is_active:
        raise PermissionRefused
