"""Operations on the garage."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe
from rest_framework.request import Request
from rest_framework.response import Response

from core import signing
from core.pagination import Key, Ordering
from core.views import ApiView
from garage import catalog, selectors, services
from garage import serializers as shapes
from garage.identity import vehicle_identity
from garage.models import NoReadBackConsent, RescueLink, StockFile, Vehicle, VehicleTransfer
from garage.restore_tickets import sign_restore_ticket
from garage.sync import synced_until

NEWEST = Ordering("newest", Key("created_at", desc=True), Key("id", desc=True))
OLDEST = Ordering("oldest", Key("created_at"), Key("id"))
LATEST_READ = Ordering("latest_read", Key("read_at", desc=True), Key("id", desc=True))
BY_RANK = Ordering("rank", Key("rank"), Key("id"))
BY_QUALITY = Ordering("quality", Key("quality"), Key("rank"), Key("id"))


def _status_of(added: services.Added) -> int:
    return 201 if added.created else 200


class VehicleListView(ApiView):
    def get(self, request: Request) -> Response:
        """My vehicles, newest first; with `updated_since` what changed since then, oldest first, with tombstones.

        Keep the `synced_until` of the first page, read the pages to the end, and send it as `updated_since` next time.
        """
        params = self.params()
        until = {"synced_until": synced_until()}  # before the rows: nothing that commits in between may be missed
        if "updated_since" not in params:
            vehicles, following = selectors.list_vehicles(
                request.user, cursor=params.get("cursor"), page_size=params["page_size"], bound_to=f"{NEWEST.name}|{self.bound_to()}"
            )
            return Response({"next": self.next_url(following), "results": [shapes.render_vehicle(row) for row in vehicles], **until})
        page = selectors.list_changes(
            request.user,
            since=params["updated_since"],
            cursor=params.get("cursor"),
            page_size=params["page_size"],
            bound_to=f"changes|{self.bound_to()}",
        )
        return Response({"next": self.next_url(page.next_cursor), "results": [shapes.render_change(row) for row in page.rows], **until})

    def post(self, request: Request) -> Response:
        """Add a vehicle. Sent again with the same client-made `id` and body, it is answered with 200."""
        body = self.body()
        return self.create_once(
            lambda claim: services.add_vehicle(owner=request.user, at=self.at, **body),
            render=lambda added: shapes.render_vehicle(selectors.get_vehicle_shape(request.user, added.pk, deleted_too=True)),
            find=lambda vehicle_id: services.Added(selectors.get_vehicle_shape(request.user, vehicle_id, deleted_too=True), created=True),
            status=_status_of,
        )


class VehicleView(ApiView):
    def get(self, request: Request, vehicle: UUID) -> Response:
        """One of my vehicles."""
        return Response(shapes.render_vehicle(selectors.get_vehicle_shape(request.user, vehicle)))

    def patch(self, request: Request, vehicle: UUID) -> Response:
        """Change a vehicle; what is left out stays. Another make, model, year or VIN is matched and checked anew."""
        services.update_vehicle(owner=request.user, vehicle_id=vehicle, changes=self.body(), revision=self.revision(), at=self.at)
        return Response(shapes.render_vehicle(selectors.get_vehicle_shape(request.user, vehicle)))

    def delete(self, request: Request, vehicle: UUID) -> Response:
        """Delete a vehicle. Licenses stay with you: they are found again when the same vehicle is added anew."""
        services.delete_vehicle(owner=request.user, vehicle_id=vehicle, revision=self.revision(), at=self.at)
        return Response(status=204)


class ModListView(ApiView):
    def get(self, request: Request, vehicle: UUID) -> Response:
        """The parts that were changed on a vehicle, in the order they were added."""
        return self.page(selectors.list_mods(selectors.get_vehicle(request.user, vehicle)), OLDEST, render=shapes.render_mod)

    def post(self, request: Request, vehicle: UUID) -> Response:
        """List a part. Sent again with the same client-made `id` and body, it is answered with 200."""
        body = self.body()
        return self.create_once(
            lambda claim: services.add_mod(owner=request.user, vehicle_id=vehicle, at=self.at, **body),
            render=lambda added: shapes.render_mod(added.resource),
            find=lambda mod_id: services.Added(selectors.get_mod(selectors.get_vehicle(request.user, vehicle), mod_id), created=True),
            status=_status_of,
        )


class ModView(ApiView):
    def get(self, request: Request, vehicle: UUID, mod: UUID) -> Response:
        """One part."""
        return Response(shapes.render_mod(selectors.get_mod(selectors.get_vehicle(request.user, vehicle), mod)))

    def patch(self, request: Request, vehicle: UUID, mod: UUID) -> Response:
        """Change a part; what is left out stays."""
        changed = services.update_mod(
            owner=request.user, vehicle_id=vehicle, mod_id=mod, changes=self.body(), revision=self.revision(), at=self.at
        )
        return Response(shapes.render_mod(changed))

    def delete(self, request: Request, vehicle: UUID, mod: UUID) -> Response:
        """Take a part off the list."""
        services.delete_mod(owner=request.user, vehicle_id=vehicle, mod_id=mod, revision=self.revision(), at=self.at)
        return Response(status=204)


class EcuView(ApiView):
    def put(self, request: Request, vehicle: UUID) -> Response:
        """Send what the app read from the ECU. Answers the newest read-out: one that arrives late goes to the history only."""
        services.record_ecu_readout(owner=request.user, vehicle_id=vehicle, at=self.at, **self.body())
        return Response(shapes.render_ecu(selectors.get_vehicle(request.user, vehicle)))


class EcuReadoutListView(ApiView):
    def get(self, request: Request, vehicle: UUID) -> Response:
        """Every read-out of a vehicle, the latest first."""
        return self.page(selectors.list_readouts(selectors.get_vehicle(request.user, vehicle)), LATEST_READ, render=shapes.render_readout)


def _stock_renderer(vehicle: Vehicle, *, at: datetime, link_required: bool = False) -> Callable[[StockFile], dict[str, Any]]:
    """What renders a vehicle's stock files with their tickets; its identity is asked for once."""
    identity = vehicle_identity(vehicle)

    def render(stock_file: StockFile) -> dict[str, Any]:
        ticket = sign_restore_ticket(vehicle=vehicle, identity=identity, stock_file=stock_file, at=at)
        return shapes.render_stock_file(stock_file, ticket=ticket, at=at, link_required=link_required)

    return render


class StockFileListView(ApiView):
    def get(self, request: Request, vehicle: UUID) -> Response:
        """The stock images kept for a vehicle, newest first, each with a restore ticket signed now and a fresh link.

        Nothing blocks this: no state of a tune, a license or the account. While storage is away the links are null.
        """
        owned = selectors.get_vehicle(request.user, vehicle)
        return self.page(selectors.list_stock_files(owned), NEWEST, render=_stock_renderer(owned, at=self.at))

    def post(self, request: Request, vehicle: UUID) -> Response:
        """Keep an upload as the way back. It is checked against the read-out, and a tune is refused."""
        body = self.body()
        return self.create_once(
            lambda claim: services.save_stock_file(owner=request.user, vehicle_id=vehicle, at=self.at, **body),
            render=lambda stock_file: _stock_renderer(selectors.get_vehicle(request.user, vehicle), at=self.at)(stock_file),
            find=lambda stock_file_id: selectors.get_stock_file(selectors.get_vehicle(request.user, vehicle), stock_file_id),
        )


class StockFileView(ApiView):
    def get(self, request: Request, vehicle: UUID, stock_file: UUID) -> Response:
        """One stock image, with a restore ticket signed now and a fresh link."""
        owned = selectors.get_vehicle(request.user, vehicle)
        found = selectors.get_stock_file(owned, stock_file)
        return Response(_stock_renderer(owned, at=self.at, link_required=True)(found))


class RescueLinkListView(ApiView):
    def get(self, request: Request, vehicle: UUID) -> Response:
        """The rescue links of a vehicle that still open something, newest first."""
        return self.page(
            selectors.list_rescue_links(selectors.get_vehicle(request.user, vehicle), at=self.at), NEWEST, render=shapes.render_rescue_link
        )

    def post(self, request: Request, vehicle: UUID) -> Response:
        """Make a code by which any phone gets this vehicle's stock image and its restore ticket, without an account.

        It works ten times, for 180 days, whatever happens to your account, and you are told of each use. Revoke it when
        it is lost. The token is shown once.
        """
        tokens: dict[UUID, str] = {}

        def act(claim) -> RescueLink:
            link, token = services.make_rescue_link(owner=request.user, vehicle_id=vehicle, at=self.at)
            tokens[link.pk] = token
            return link

        return self.create_once(
            act,
            render=lambda link: shapes.render_new_rescue_link(link, token=tokens.get(link.pk)),
            find=lambda link_id: selectors.get_rescue_link(selectors.get_vehicle(request.user, vehicle), link_id),
        )


class RescueLinkView(ApiView):
    def delete(self, request: Request, vehicle: UUID, link: UUID) -> Response:
        """Revoke a rescue link."""
        services.revoke_rescue_link(owner=request.user, vehicle_id=vehicle, link_id=link, at=self.at)
        return Response(status=204)


class RescueView(ApiView):
    authentication_classes: ClassVar[list[type]] = []  # no account is needed, and none is looked at

    def post(self, request: Request) -> Response:
        """Open a rescue code: the stock image of one vehicle, its restore ticket and the root that both are verified by.

        Each call counts as one of the code's ten uses. Unknown, used up, expired and revoked codes are answered alike.
        """
        rescue = services.use_rescue_link(token=self.body()["token"], at=self.at)
        root = signing.root_envelope(signing.current_root().version)
        return Response(shapes.render_rescue(rescue, root=root, at=self.at))


class NoReadBackView(ApiView):
    def post(self, request: Request, vehicle: UUID) -> Response:
        """Accept that this ECU can't be read, so that there is no way back. Counts for files that can't be read back only."""
        body = self.body()

        def find(consent_id: UUID) -> NoReadBackConsent:
            return selectors.get_consent(selectors.get_vehicle(request.user, vehicle), consent_id)

        return self.create_once(
            lambda claim: services.accept_no_read_back(
                owner=request.user, vehicle_id=vehicle, text_version=body["text_version"], at=self.at
            ),
            render=shapes.render_consent,
            find=find,
        )


class TransferView(ApiView):
    def post(self, request: Request, vehicle: UUID) -> Response:
        """Offer a vehicle to its next owner. Give them `id` and `code`; the code is shown once and works for 48 hours.

        A new offer ends the one before.
        """
        codes: dict[UUID, str] = {}

        def act(claim) -> VehicleTransfer:
            transfer, code = services.offer_transfer(owner=request.user, vehicle_id=vehicle, at=self.at)
            codes[transfer.pk] = code
            return transfer

        return self.create_once(
            act,
            render=lambda transfer: {
                "id": str(transfer.id),
                "code": codes.get(transfer.pk),
                "expires_at": shapes.utc_text(transfer.expires_at),
            },
            find=lambda transfer_id: selectors.get_transfer(selectors.get_vehicle(request.user, vehicle), transfer_id),
        )

    def delete(self, request: Request, vehicle: UUID) -> Response:
        """Take back the open offer of a vehicle."""
        services.withdraw_transfer(owner=request.user, vehicle_id=vehicle, at=self.at)
        return Response(status=204)


class VinDecodeView(ApiView):
    def post(self, request: Request) -> Response:
        """What a VIN tells: a suggestion for the rider to confirm, never a fact.

        The check digit is compulsory for North America and China only; elsewhere it is a warning.
        """
        return Response(shapes.render_vin(selectors.decode_vin(self.body()["vin"], at=self.at)))


class MakeListView(ApiView):
    def get(self, request: Request) -> Response:
        """Makes of the catalogue, the most common first."""
        params = self.params()
        makes = catalog.list_makes(kind=params.get("kind"), q=params.get("q"))
        return self.page(makes, BY_RANK, params=params, render=shapes.render_make)


class ModelListView(ApiView):
    def get(self, request: Request) -> Response:
        """Models of the catalogue: the best match of `q` first, then the most common.

        Spelling does not matter: "MT-09", "MT09" and "mt 09" find the same model.
        """
        params = self.params()
        models = catalog.list_models(make=params.get("make"), q=params.get("q"), kind=params.get("kind"), year=params.get("year"))
        return self.page(models, BY_QUALITY, params=params, render=shapes.render_model)


@require_safe
@cache_control(public=True, max_age=300)
def rescue_page(request: HttpRequest) -> HttpResponse:
    """What a rescue code leads to in a browser. The token stands in the fragment, which no server sees; a press opens it."""
    return render(request, "garage/rescue.html")
