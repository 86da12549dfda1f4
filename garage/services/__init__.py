"""Every change of the garage's rows."""

from garage.services.catalogue import ImportReport, import_catalogue
from garage.services.consents import accept_no_read_back
from garage.services.ecu import (
    forget_installed_tune,
    record_ecu_readout,
    record_installed_tune,
)
from garage.services.mods import add_mod, delete_mod, update_mod
from garage.services.rescue import Rescue, issue_rescue_link, make_rescue_link, revoke_rescue_link, use_rescue_link
from garage.services.stock import check_stock_files, save_stock_file
from garage.services.transfers import (
    accept_transfer,
    check_transfer_code,
    expire_transfers,
    offer_transfer,
    withdraw_transfer,
)
from garage.services.unlisted import merge_names_now_listed, merge_unlisted_name, tidy_unlisted_names
from garage.services.vehicles import (
    Added,
    add_vehicle,
    delete_vehicle,
    erase_garage,
    lock_garages,
    update_vehicle,
)

__all__ = [
    "Added",
    "ImportReport",
    "Rescue",
    "accept_no_read_back",
    "accept_transfer",
    "add_mod",
    "add_vehicle",
    "check_stock_files",
    "check_transfer_code",
    "delete_mod",
    "delete_vehicle",
    "erase_garage",
    "expire_transfers",
    "forget_installed_tune",
    "import_catalogue",
    "issue_rescue_link",
    "lock_garages",
    "make_rescue_link",
    "merge_names_now_listed",
    "merge_unlisted_name",
    "offer_transfer",
    "record_ecu_readout",
    "record_installed_tune",
    "revoke_rescue_link",
    "save_stock_file",
    "tidy_unlisted_names",
    "update_mod",
    "update_vehicle",
    "use_rescue_link",
    "withdraw_transfer",
]
