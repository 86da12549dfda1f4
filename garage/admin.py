"""The garage for staff: found by id, owner or VIN, read with everything personal masked."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminTextInputWidget, UnfoldBooleanWidget

from core.admin_base import Decision, Panel, ReadOnlyAdmin, link_to, mark, short_hash, size
from core.admin_site import Queue, site
from core.crypto import keyed_hash
from garage import catalog, services, vin
from garage.enums import TransferState, UnlistedState
from garage.models import (
    EcuReadout,
    MakeAlias,
    ModelAlias,
    NoReadBackConsent,
    RescueLink,
    StockFile,
    UnlistedName,
    Vehicle,
    VehicleGeneration,
    VehicleMake,
    VehicleMod,
    VehicleModel,
    VehicleTransfer,
)
from garage.services.rescue import url_of as rescue_url_of

TRANSFER_KINDS = {TransferState.OFFERED: "warn", TransferState.ACCEPTED: "good"}


@admin.register(Vehicle, site=site)
class VehicleAdmin(ReadOnlyAdmin):
    icon, rank = "two_wheeler", 10
    list_display = ("make", "model", "year", "market", "kind", "masked_vin", "owner_link", "state", "created_at")
    list_filter = ("kind", "market", ("deleted_at", admin.EmptyFieldListFilter))
    list_select_related = ("owner",)
    search_fields = ("make", "model", "owner__email", "owner__display_name")
    search_help_text = "An id, a whole VIN or frame number, a make, a model or the owner."
    ordering = ("-created_at", "-pk")
    computed = ("masked_vin", "masked_frame_number")
    linked = {"installed_tune_id": "marketplace.Tune", "installed_tune_version_id": "marketplace.TuneVersion"}
    concealed = ("nickname",)
    decisions = (
        Decision(
            name="rescue",
            label="Make a rescue code",
            explanation="For somebody who can't sign in and stands beside a dead bike: whoever has the code gets the stock image of "
            "this vehicle and its restore ticket, ten times at most. Make sure whom you talk to. The owner is told.",
            act=lambda row, *, actor, reason, at: services.issue_rescue_link(actor=actor, vehicle_id=row.pk, reason=reason, at=at),
            applies=lambda row: row.deleted_at is None and row.stock_files.exists(),
            done="Read this to them now, it can't be shown again:",
            tells=lambda made: rescue_url_of(made[1]),
        ),
    )

    @admin.display(description="VIN")
    def masked_vin(self, vehicle: Vehicle) -> str:
        return vin.mask(vehicle.vin) if vehicle.vin else "–"

    @admin.display(description="Frame number")
    def masked_frame_number(self, vehicle: Vehicle) -> str:
        return vin.mask(vehicle.frame_number) if vehicle.frame_number else "–"

    @admin.display(description="Owner")
    def owner_link(self, vehicle: Vehicle) -> Any:
        return link_to(vehicle.owner, vehicle.owner.display_name)

    @admin.display(description="State")
    def state(self, vehicle: Vehicle) -> Any:
        return mark("Deleted") if vehicle.deleted_at else mark("Present", "good")

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        """A whole VIN or frame number is found by its keyed hash, whoever owns the vehicle."""
        number = vin.normalise(search_term)
        by_number = queryset.filter(Q(vin_hash=keyed_hash("vin", number)) | Q(frame_number_hash=keyed_hash("frame_number", number)))
        if number and by_number.exists():
            return by_number, False
        return super().get_search_results(request, queryset, search_term)

    def panels(self, request: HttpRequest, row: Vehicle) -> list[Panel]:
        return [
            Panel(
                "ECU read-outs",
                ("Read", "Hardware number", "Calibration", "Image size"),
                [
                    (
                        link_to(each, f"{each.read_at:%Y-%m-%d %H:%M}"),
                        each.hardware_number,
                        each.calibration_id,
                        size(each.image_size_bytes),
                    )
                    for each in row.readouts.order_by("-read_at", "-pk")[:20]
                ],
            ),
            Panel(
                "Stock files",
                ("Name", "Hardware number", "Calibration", "Image"),
                [
                    (link_to(each, each.name), each.hardware_number, each.calibration_id, short_hash(each.image_sha256))
                    for each in row.stock_files.order_by("-created_at", "-pk")
                ],
            ),
        ]


class _OfVehicleAdmin(ReadOnlyAdmin):
    list_select_related = ("vehicle",)

    @admin.display(description="Vehicle")
    def vehicle_link(self, row: Any) -> Any:
        return link_to(row.vehicle, f"{row.vehicle.make} {row.vehicle.model} {row.vehicle.year}")


@admin.register(VehicleMod, site=site)
class VehicleModAdmin(_OfVehicleAdmin):
    icon, rank = "build", 20
    list_display = ("vehicle_link", "category", "brand", "part", "installed_on")
    list_filter = ("category",)
    search_fields = ("brand", "part")
    ordering = ("-created_at", "-pk")


@admin.register(EcuReadout, site=site)
class EcuReadoutAdmin(_OfVehicleAdmin):
    """The serial is encrypted and not shown."""

    icon, rank = "memory", 30
    list_display = ("read_at", "vehicle_link", "hardware_number", "calibration_id", "image_size")
    search_fields = ("hardware_number", "calibration_id")
    ordering = ("-received_at", "-pk")

    @admin.display(description="Image size", ordering="image_size_bytes")
    def image_size(self, readout: EcuReadout) -> str:
        return size(readout.image_size_bytes)


@admin.register(StockFile, site=site)
class StockFileAdmin(_OfVehicleAdmin):
    icon, rank = "save", 40
    list_display = ("created_at", "vehicle_link", "name", "format", "hardware_number", "calibration_id", "image")
    list_filter = ("format",)
    search_fields = ("name", "hardware_number", "calibration_id")
    ordering = ("-created_at", "-pk")
    concealed = ("storage_key",)

    @admin.display(description="Image")
    def image(self, stock: StockFile) -> Any:
        return short_hash(stock.image_sha256)


@admin.register(NoReadBackConsent, site=site)
class NoReadBackConsentAdmin(_OfVehicleAdmin):
    icon, rank = "gavel", 50
    list_display = ("accepted_at", "vehicle_link", "hardware_number", "text_version", "person")
    list_select_related = ("vehicle", "given_by")
    search_fields = ("hardware_number", "text_version")
    ordering = ("-accepted_at", "-pk")

    @admin.display(description="Given by")
    def person(self, consent: NoReadBackConsent) -> Any:
        return link_to(consent.given_by, consent.given_by.display_name)


@admin.register(VehicleTransfer, site=site)
class VehicleTransferAdmin(_OfVehicleAdmin):
    icon, rank = "swap_horiz", 60
    list_display = ("offered_at", "vehicle_link", "coloured_state", "tries_left", "expires_at", "ended_at")
    list_filter = ("state",)
    search_fields = ("vehicle__make", "vehicle__model")
    ordering = ("-offered_at", "-pk")
    concealed = ("departed",)  # it holds the vehicle as its former owner saw it, VIN and all

    @admin.display(description="State", ordering="state")
    def coloured_state(self, transfer: VehicleTransfer) -> Any:
        return mark(transfer.get_state_display(), TRANSFER_KINDS.get(TransferState(transfer.state), "neutral"))


@admin.register(RescueLink, site=site)
class RescueLinkAdmin(_OfVehicleAdmin):
    icon, rank = "sos", 65
    list_display = ("created_at", "vehicle_link", "uses_left", "last_used_at", "expires_at", "revoked_at")
    search_fields = ("vehicle__make", "vehicle__model")
    ordering = ("-created_at", "-pk")
    concealed = ("token_sha256",)


@admin.register(VehicleMake, site=site)
class VehicleMakeAdmin(ReadOnlyAdmin):
    icon, rank = "factory", 70
    list_display = ("name", "folded", "rank")
    search_fields = ("name", "folded", "aliases__name")
    ordering = ("rank", "folded")


@admin.register(VehicleModel, site=site)
class VehicleModelAdmin(ReadOnlyAdmin):
    icon, rank = "category", 80
    list_display = ("make", "name", "kind", "year_from", "year_to", "source", "merged_into")
    list_filter = ("kind", "source")
    list_select_related = ("make", "merged_into__make")
    search_fields = ("name", "folded", "make__name")
    ordering = ("make__rank", "rank", "pk")


@admin.register(VehicleGeneration, site=site)
class VehicleGenerationAdmin(ReadOnlyAdmin):
    icon, rank = "timeline", 85
    list_display = ("model", "name", "year_from", "year_to", "markets")
    list_select_related = ("model__make",)
    search_fields = ("name", "model__name", "model__folded")
    ordering = ("model__rank", "year_from", "pk")


@admin.register(MakeAlias, site=site)
class MakeAliasAdmin(ReadOnlyAdmin):
    icon, rank = "label", 90
    list_display = ("name", "make")
    list_select_related = ("make",)
    search_fields = ("name", "make__name")
    ordering = ("folded", "pk")


@admin.register(ModelAlias, site=site)
class ModelAliasAdmin(ReadOnlyAdmin):
    icon, rank = "label", 91
    list_display = ("name", "model")
    list_select_related = ("model__make",)
    search_fields = ("name", "model__name")
    ordering = ("folded", "pk")


SUGGESTIONS = 8


def _merge_fields(name: UnlistedName) -> dict[str, forms.Field]:
    like = catalog.list_models(q=f"{name.make} {name.model}", kind=name.kind).order_by("quality", "rank", "pk")[:SUGGESTIONS]
    near = ", ".join(str(model) for model in like)
    return {
        "into": forms.CharField(
            label="Model of the catalogue",
            max_length=150,
            widget=UnfoldAdminTextInputWidget,
            help_text=f"As the catalogue spells it, or its id. {f'Near it: {near}.' if near else ''}",
        ),
        "adds_alias": forms.BooleanField(label="Find it in searches by this name as well", required=False, widget=UnfoldBooleanWidget),
    }


@admin.register(UnlistedName, site=site)
class UnlistedNameAdmin(ReadOnlyAdmin):
    """What riders typed for a model and the catalogue does not have, the most frequent first."""

    icon, rank = "playlist_add", 75
    list_display = ("make", "model", "kind", "vehicle_count", "state", "merged_into", "created_at")
    list_filter = ("state", "kind")
    list_select_related = ("merged_into__make",)
    search_fields = ("make", "model", "folded")
    computed = ("vehicle_count",)
    decisions = (
        Decision(
            name="merge",
            label="Merge into a model",
            explanation="All vehicles of this name become that model, those of today and whoever types it later, and the tunes "
            "for it are offered to them. Be sure that it is the same engine computer: nobody asks the riders. Another merge corrects it.",
            act=lambda row, *, actor, reason, at, into, adds_alias: services.merge_unlisted_name(
                actor=actor, name_id=row.pk, into=into, adds_alias=adds_alias, reason=reason, at=at
            ),
            fields=_merge_fields,
            done="Merged. Vehicles that moved:",
            tells=str,
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[UnlistedName]:
        borne = Count("vehicles", filter=Q(vehicles__deleted_at__isnull=True))
        return UnlistedName.objects.annotate(vehicle_total=borne)

    def get_ordering(self, request: HttpRequest) -> list[str]:
        return ["-vehicle_total", "pk"]

    @admin.display(description="Vehicles", ordering="vehicle_total")
    def vehicle_count(self, name: UnlistedName) -> int:
        return name.vehicle_total  # type: ignore[attr-defined]  # annotated

    def panels(self, request: HttpRequest, row: UnlistedName) -> list[Panel]:
        spelled = row.vehicles.present().values("make", "model", "year", "market").annotate(times=Count("pk")).order_by("-times", "year")
        return [
            Panel(
                "As riders write it",
                ("Make", "Model", "Year", "Market", "Vehicles"),
                [(each["make"], each["model"], each["year"], each["market"], each["times"]) for each in spelled[:20]],
            )
        ]


site.add_queue(
    Queue(
        title="Unlisted models",
        model=UnlistedName,
        icon="playlist_add",
        hint="Riders' words that the catalogue does not have. No tune fits them until they are merged.",
        filters={"state": UnlistedState.OPEN},
        rank=80,
    )
)
