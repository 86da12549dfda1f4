from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from core.views import ApiView
from garage.selectors import get_vehicle_shape
from garage.serializers import render_vehicle
from marketplace.services.transfers import accept_transfer


class TransferAcceptView(ApiView):
    def post(self, request: Request, transfer: UUID) -> Response:
        """Take a vehicle over with the code of its owner. Answers the vehicle, which is in your garage now.

        Five wrong codes end the offer. The former owner's licenses do not come with it.
        """
        vehicle_id = accept_transfer(receiver=request.user, transfer_id=transfer, code=self.body()["code"], at=self.at)
        return Response(render_vehicle(get_vehicle_shape(request.user, vehicle_id)))
