"""Signed documents, stops, downloads, tickets and flashes: read only. Versions are stopped on their own pages."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html

from core import clock
from core.admin_base import Panel, ReadOnlyAdmin, link_to, mark, short_hash
from core.admin_site import site
from marketplace.enums import DownloadOutcome, FlashOutcome
from marketplace.models import (
    AppVersionBlock,
    CounterFloor,
    Download,
    Flash,
    FlashTicket,
    GrantedPurchase,
    Release,
    RevokedKey,
    StatusDocument,
    StopAcknowledgement,
    StoredFileCheck,
    VersionStop,
)
from marketplace.selectors import stops

FLASH_KINDS = {FlashOutcome.SUCCEEDED: "good", FlashOutcome.FAILED_DURING_WRITE: "bad", FlashOutcome.VERIFY_FAILED: "bad"}


SILENT_PAGE = 100


def _uuid_or_none(text: str | None) -> UUID | None:
    try:
        return UUID(text or "")
    except ValueError:
        return None


class _OfVersionAdmin(ReadOnlyAdmin):
    list_select_related = ("version__tune",)

    @admin.display(description="Version")
    def of_version(self, row: Any) -> Any:
        return link_to(row.version, f"{row.version.tune.title} {row.version.version}") if row.version else "–"


@admin.register(VersionStop, site=site)
class VersionStopAdmin(_OfVersionAdmin):
    icon, rank = "front_hand", 25
    list_display = ("since", "of_version", "kind", "severity", "source", "standing", "reason")
    list_filter = (
        "kind",
        "severity",
        "source",
        ("lift_proposed_at", admin.EmptyFieldListFilter),
        ("lifted_at", admin.EmptyFieldListFilter),
    )
    search_fields = ("reason", "version__tune__title")
    ordering = ("-since", "-pk")
    concealed = ("lift_envelope",)

    def panels(self, request: HttpRequest, row: VersionStop) -> list[Panel]:
        reached = stops.count_reached(row)
        silent = list(stops.list_silent(row, after=_uuid_or_none(request.GET.get("after")))[: SILENT_PAGE + 1])
        more = silent[:SILENT_PAGE][-1].pk if len(silent) > SILENT_PAGE else None
        return [
            Panel(
                "Who knows",
                ("Who downloaded, flashed or has it", "People"),
                [
                    ("In all", reached.holders),
                    ("Told in the app", reached.told),
                    ("Mailed", reached.mailed),
                    ("Pushed to", reached.pushed),
                    ("Acknowledged in the app", reached.acknowledged),
                    ("Not acknowledged", mark(str(reached.silent), "bad" if reached.silent else "good")),
                ],
                note="Its tuner is told too and is not counted here." if row.told_at else "The worker is still telling them.",
            ),
            Panel(
                "Has not acknowledged",
                ("Person", "Told", "Mailed", "Pushed to"),
                [
                    (link_to(person, person.display_name), person.told_at or "–", person.mailed_at or "–", person.pushed_at or "–")
                    for person in silent[:SILENT_PAGE]
                ],
                note=format_html('<a class="revsync-link" href="?after={}">The next ones</a>', more) if more else "",
            ),
        ]

    @admin.display(description="Standing")
    def standing(self, row: VersionStop) -> Any:
        if not row.is_open:
            return mark("Over")
        return mark("Lifting proposed", "warn") if row.lift_proposed_at else mark("In force", "bad")


@admin.register(Release, site=site)
class ReleaseAdmin(_OfVersionAdmin):
    icon, rank = "verified", 100
    list_display = ("issued_at", "of_version", "channel", "release_counter", "payload", "superseded_at")
    list_filter = ("channel", ("superseded_at", admin.EmptyFieldListFilter))
    search_fields = ("version__tune__title", "keyid")
    ordering = ("-issued_at", "-pk")

    @admin.display(description="Payload")
    def payload(self, row: Release) -> Any:
        return short_hash(row.payload_sha256)


@admin.register(Download, site=site)
class DownloadAdmin(_OfVersionAdmin):
    icon, rank = "download", 80
    list_display = ("created_at", "kind", "coloured_outcome", "code", "of_version", "purchase_link", "person")
    list_filter = ("outcome", "kind", "code")
    list_select_related = ("version__tune", "purchase", "buyer")
    linked = {"vehicle_id": "garage.Vehicle"}
    search_fields = ("purchase__number", "code")
    ordering = ("-pk",)

    @admin.display(description="Outcome", ordering="outcome")
    def coloured_outcome(self, row: Download) -> Any:
        return mark(row.get_outcome_display(), "good" if row.outcome == DownloadOutcome.GRANTED else "bad")

    @admin.display(description="Purchase")
    def purchase_link(self, row: Download) -> Any:
        return link_to(row.purchase, row.purchase.number)

    @admin.display(description="Buyer")
    def person(self, row: Download) -> Any:
        return link_to(row.buyer, row.buyer.display_name)


@admin.register(FlashTicket, site=site)
class FlashTicketAdmin(_OfVersionAdmin):
    icon, rank = "confirmation_number", 85
    list_display = ("issued_at", "of_version", "holder_link", "vehicle_id", "state", "expires_at", "reported_at")
    list_select_related = ("version__tune", "holder")
    linked = {"vehicle_id": "garage.Vehicle"}
    list_filter = ("channel", "reserves", ("expired_unreported_at", admin.EmptyFieldListFilter))
    search_fields = ("version__tune__title", "purchase__number")
    ordering = ("-issued_at", "-pk")

    @admin.display(description="Holder")
    def holder_link(self, row: FlashTicket) -> Any:
        return link_to(row.holder, row.holder.display_name)

    @admin.display(description="State")
    def state(self, row: FlashTicket) -> Any:
        if row.reported_at:
            return mark("Reported", "good")
        return mark("Unreported", "bad") if row.expires_at <= clock.now() else mark("Open", "warn")


@admin.register(Flash, site=site)
class FlashAdmin(_OfVersionAdmin):
    icon, rank = "bolt", 90
    list_display = ("received_at", "coloured_outcome", "of_version", "vehicle_id", "license_state", "hard", "person")
    list_select_related = ("version__tune", "reporter")
    linked = {"vehicle_id": "garage.Vehicle"}
    list_filter = ("outcome", "counts_as_hard_failure", "bound_elsewhere")
    search_fields = ("version__tune__title", "app_version")
    ordering = ("-received_at", "-pk")

    @admin.display(description="Outcome", ordering="outcome")
    def coloured_outcome(self, row: Flash) -> Any:
        return mark(row.get_outcome_display(), FLASH_KINDS.get(FlashOutcome(row.outcome), "neutral"))

    @admin.display(description="Hard failure", ordering="counts_as_hard_failure")
    def hard(self, row: Flash) -> Any:
        return mark("Counts", "bad") if row.counts_as_hard_failure else "–"

    @admin.display(description="Reporter")
    def person(self, row: Flash) -> Any:
        return link_to(row.reporter, row.reporter.display_name)


@admin.register(GrantedPurchase, site=site)
class GrantedPurchaseAdmin(ReadOnlyAdmin):
    icon, rank = "download_done", 82
    list_display = ("granted_at", "purchase_link")
    list_select_related = ("purchase",)
    search_fields = ("purchase__number",)
    ordering = ("-granted_at", "-pk")

    @admin.display(description="Purchase")
    def purchase_link(self, row: GrantedPurchase) -> Any:
        return link_to(row.purchase, row.purchase.number)


@admin.register(StatusDocument, site=site)
class StatusDocumentAdmin(ReadOnlyAdmin):
    icon, rank = "fact_check", 110
    list_display = ("version", "issued_at", "expires_at", "stopped_count", "copied_at")
    search_fields = ("payload_sha256",)
    ordering = ("-version",)

    @admin.display(description="Stopped releases")
    def stopped_count(self, row: StatusDocument) -> int:
        return len(row.stopped)


@admin.register(StoredFileCheck, site=site)
class StoredFileCheckAdmin(ReadOnlyAdmin):
    icon, rank = "fingerprint", 105
    list_display = ("short_key", "etag", "modified_at", "checked_at")
    search_fields = ("storage_key",)
    ordering = ("-checked_at", "-pk")

    @admin.display(description="Stored file", ordering="storage_key")
    def short_key(self, row: StoredFileCheck) -> Any:
        return short_hash(row.storage_key.rsplit("/", 1)[-1])


@admin.register(StopAcknowledgement, site=site)
class StopAcknowledgementAdmin(ReadOnlyAdmin):
    icon, rank = "done_all", 26
    list_display = ("acknowledged_at", "stop_link", "person")
    list_select_related = ("stop__version__tune", "user")
    search_fields = ("stop__reason",)
    ordering = ("-acknowledged_at", "-pk")

    @admin.display(description="Stop")
    def stop_link(self, row: StopAcknowledgement) -> Any:
        return link_to(row.stop)

    @admin.display(description="Person")
    def person(self, row: StopAcknowledgement) -> Any:
        return link_to(row.user, row.user.display_name)


@admin.register(CounterFloor, site=site)
class CounterFloorAdmin(ReadOnlyAdmin):
    icon, rank = "vertical_align_bottom", 122
    list_display = ("tune_id", "least_counter", "since")
    search_fields = ("tune_id",)
    ordering = ("-since", "-pk")


@admin.register(RevokedKey, site=site)
class RevokedKeyAdmin(ReadOnlyAdmin):
    icon, rank = "key_off", 124
    list_display = ("keyid", "role", "revoked_at", "reason")
    search_fields = ("keyid", "role", "reason")
    ordering = ("-revoked_at", "-pk")


@admin.register(AppVersionBlock, site=site)
class AppVersionBlockAdmin(ReadOnlyAdmin):
    icon, rank = "phonelink_erase", 120
    list_display = ("app_version", "blocked_at", "reason")
    search_fields = ("app_version", "reason")
    ordering = ("-blocked_at", "-pk")
