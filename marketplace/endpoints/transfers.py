from core.endpoints import Endpoint
from core.permissions import Authenticated
from garage.serializers import VehicleOutput
from marketplace.serializers.transfers import TransferAcceptInput
from marketplace.views import transfers as views

ENDPOINTS: list[Endpoint] = [
    Endpoint(
        "POST",
        "garage/transfers/<uuid:transfer>/accept/",
        views.TransferAcceptView,
        "accept_transfer",
        "Take a vehicle over",
        access=Authenticated,
        scope="holder_of_code",
        request=TransferAcceptInput,
        response=VehicleOutput,
        problems=("transfer_code_wrong", "transfer_closed", "transfer_to_oneself", "garage_full", "vin_in_garage"),
        limit="transfer_tries",
        audit="vehicle_transfer.accepted",
    ),
]
