"""What a block by staff leaves a person: their sessions, their data, and the way back to stock. Nothing else."""

import pytest

from core import clock
from core.permissions import Authenticated, AuthenticatedEvenIfBlocked
from core.testing.http import client_for
from garage.tests.factories import VehicleFactory
from revsync_backend.urls import all_endpoints
from users.models import User
from users.tests.factories import UserFactory

SESSIONS = "who can't end a session or change a stolen password is left unsafe by the block"
TOLD = "they learn why, and by when to object"
DATA = "their right, whatever they did"
RESCUE = "a machine with a tune in it must find back to stock: which vehicle, its files and tickets, the read-out, the report"
SAFETY = "a recall concerns what is in their ECU already"
LEFT = {
    "step_up": SESSIONS,
    "log_out": SESSIONS,
    "log_out_everywhere": SESSIONS,
    "change_password": SESSIONS,
    "list_my_devices": SESSIONS,
    "revoke_my_device": SESSIONS,
    "get_me": TOLD,
    "list_my_notices": TOLD,
    "read_my_notice": TOLD,
    "plan_my_deletion": DATA,
    "delete_me": DATA,
    "request_my_export": DATA,
    "get_my_export": DATA,
    "list_vehicles": RESCUE,
    "get_vehicle": RESCUE,
    "record_ecu_readout": RESCUE,
    "list_stock_files": RESCUE,
    "get_stock_file": RESCUE,
    "list_rescue_links": RESCUE,
    "make_rescue_link": RESCUE,
    "revoke_rescue_link": RESCUE,
    "report_flash": RESCUE,
    "check_installed": SAFETY,
    "acknowledge_recall": SAFETY,
}


def test_the_table_opens_exactly_these_to_a_blocked_account():
    """That all others answer 403 `account_blocked` is tried on each route by `test_access`, with the role `blocked`."""
    assert {row.name for row in all_endpoints() if row.access is AuthenticatedEvenIfBlocked} == LEFT.keys()
    assert Authenticated.__mro__[1] is AuthenticatedEvenIfBlocked  # every other class for the signed-in adds to it, so refuses too


@pytest.mark.django_db
def test_a_block_bites_on_the_next_request_and_leaves_the_way_back():
    rider = client_for(UserFactory())
    vehicle = VehicleFactory(owner=rider.user, with_stock=True)
    assert rider.get("users/me/profile/").status_code == 200

    User.objects.filter(pk=rider.user.pk).update(blocked_at=clock.now(), blocked_reason="Sold stolen files")

    refused = rider.get("users/me/profile/")
    assert (refused.status_code, refused.json()["code"]) == (403, "account_blocked")
    for path in ("garage/vehicles/", f"garage/vehicles/{vehicle.pk}/", f"garage/vehicles/{vehicle.pk}/stock-files/"):
        assert rider.get(path).status_code == 200
    readout = {"hardware_number": "HW-1", "calibration_id": "CAL-1", "read_at": "2026-11-01T12:00:00Z"}
    assert rider.put(f"garage/vehicles/{vehicle.pk}/ecu/", readout).status_code == 200
