"""Purchases, licenses, payments and the books: read only."""

from typing import Any
from uuid import UUID

from django.contrib import admin

from core.admin_base import Decision, Panel, ReadOnlyAdmin, chosen_from, link_to, mark
from core.admin_site import site
from garage.models import Vehicle
from marketplace.enums import CaseKind, LicenseState, PurchaseStatus
from marketplace.models import LedgerEntry, LedgerSet, License, PaymentAttempt, Purchase
from marketplace.money import amount_text
from marketplace.services import cases, licenses

PURCHASE_KINDS = {
    PurchaseStatus.PAID: "good",
    PurchaseStatus.PENDING: "warn",
    PurchaseStatus.DISPUTED: "bad",
    PurchaseStatus.CHARGED_BACK: "bad",
}
LICENSE_KINDS = {LicenseState.BOUND: "good", LicenseState.RESERVED: "warn", LicenseState.SUSPENDED: "bad", LicenseState.REVOKED: "bad"}


def _vehicle(vehicle_id: UUID | None) -> Any:
    """A link to a vehicle that the garage may not have any more."""
    vehicle = Vehicle.objects.filter(pk=vehicle_id).first() if vehicle_id else None
    return link_to(vehicle) if vehicle is not None else vehicle_id or "–"


@admin.register(Purchase, site=site)
class PurchaseAdmin(ReadOnlyAdmin):
    icon, rank = "shopping_cart", 50
    list_display = ("number", "coloured_status", "tune_title", "seller_name", "buyer_link", "amount", "created_at", "paid_at")
    list_filter = ("status", "currency")
    list_select_related = ("buyer",)
    search_fields = ("number", "tune_title", "seller_name", "buyer__email", "buyer__display_name")
    search_help_text = "A number, an id, a title, a tuner or the buyer."
    ordering = ("-created_at", "-pk")
    concealed = ("vehicle_identity_hashes",)
    linked = {"vehicle_id": "garage.Vehicle", "tune_version_id": "marketplace.TuneVersion"}
    decisions = (
        Decision(
            name="open-case",
            label="Open a case",
            explanation="A conversation with buyer and tuner, in which a refund can be decided.",
            act=lambda row, *, actor, reason, at, kind: cases.open_case(purchase_id=row.pk, kind=kind, text=reason, by=actor, at=at),
            applies=lambda row: row.paid_at is not None,
            fields={"kind": chosen_from(CaseKind.choices)},
            reason_label="First message",
            reason_help="Buyer and tuner read it.",
            done="Opened.",
        ),
    )

    @admin.display(description="Status", ordering="status")
    def coloured_status(self, row: Purchase) -> Any:
        return mark(row.get_status_display(), PURCHASE_KINDS.get(PurchaseStatus(row.status), "neutral"))

    @admin.display(description="Buyer")
    def buyer_link(self, row: Purchase) -> Any:
        return link_to(row.buyer, row.buyer.display_name)

    @admin.display(description="Amount", ordering="amount_minor")
    def amount(self, row: Purchase) -> str:
        return amount_text(row.amount_minor, row.currency)

    def panels(self, request: Any, row: Purchase) -> list[Panel]:
        return [
            Panel(
                "License",
                ("State", "Vehicle", "Reserved until", "Bound"),
                [
                    (link_to(each, each.get_state_display()), _vehicle(each.vehicle_id), each.reserved_until or "–", each.bound_at or "–")
                    for each in License.objects.filter(purchase=row)
                ],
            ),
            Panel(
                "Payments",
                ("Attempt", "State", "Intent", "Last refusal"),
                [
                    (link_to(each, str(each.attempt)), each.get_state_display(), each.intent_id or "–", each.last_error_code or "–")
                    for each in row.attempts.order_by("attempt")
                ],
            ),
            Panel(
                "Refunds, disputes and cases",
                ("What", "State", "Amount", "When"),
                [
                    *(
                        (link_to(each, "Refund"), each.get_status_display(), amount_text(each.amount_minor, each.currency), each.created_at)
                        for each in row.refunds.order_by("-pk")
                    ),
                    *(
                        (link_to(each, "Dispute"), each.get_status_display(), amount_text(each.amount_minor, each.currency), each.opened_at)
                        for each in row.disputes.order_by("-pk")
                    ),
                    *(
                        (link_to(each, "Case"), each.get_status_display(), "–", each.created_at)
                        for each in row.cases.order_by("-pk")
                    ),
                ],
                note="Money is given back by deciding a case; open one here if there is none.",
            ),
            Panel(
                "Downloads",
                ("When", "Kind", "Outcome", "Code"),
                [
                    (
                        link_to(each, f"{each.created_at:%Y-%m-%d %H:%M:%S}"),
                        each.get_kind_display(),
                        each.get_outcome_display(),
                        each.code or "–",
                    )
                    for each in row.downloads.order_by("-pk")[:50]
                ],
            ),
            Panel(
                "Books",
                ("When", "Account", "Amount"),
                [
                    (each.at, each.get_account_display(), amount_text(each.amount_minor, each.currency))
                    for each in row.ledger_entries.order_by("pk")
                ],
            ),
        ]


@admin.register(License, site=site)
class LicenseAdmin(ReadOnlyAdmin):
    icon, rank = "key", 55
    list_display = ("created_at", "coloured_state", "holder_link", "tune_link", "vehicle_id", "bound_at")
    linked = {"vehicle_id": "garage.Vehicle"}
    list_filter = ("state",)
    list_select_related = ("holder", "tune")
    search_fields = ("purchase__number", "holder__email", "holder__display_name", "tune__title")
    ordering = ("-created_at", "-pk")
    concealed = ("vehicle_identity_hashes",)
    decisions = (
        Decision(
            name="free",
            label="Free it from its vehicle",
            explanation="The rider may then flash another vehicle. For whom has spent the year's release and sold the bike, "
            "or replaced its ECU.",
            act=lambda row, *, actor, reason, at: licenses.free_license(actor=actor, license_id=row.pk, reason=reason, at=at),
            applies=lambda row: licenses.standing_of(row) == LicenseState.BOUND,
            done="Free for another vehicle.",
        ),
        Decision(
            name="excuse-tickets",
            label="Excuse unreported tickets",
            explanation="After two flash tickets in a year of which nothing was heard none is given. Ask the rider what became of "
            "them first: a flash that was never reported may be on a second vehicle.",
            act=lambda row, *, actor, reason, at: licenses.excuse_unreported_tickets(
                actor=actor, license_id=row.pk, reason=reason, at=at
            ),
            applies=lambda row: row.tickets.filter(expired_unreported_at__isnull=False).exists(),
            done="Tickets are given again.",
        ),
    )

    @admin.display(description="State", ordering="state")
    def coloured_state(self, row: License) -> Any:
        return mark(row.get_state_display(), LICENSE_KINDS.get(LicenseState(row.state), "neutral"))

    @admin.display(description="Holder")
    def holder_link(self, row: License) -> Any:
        return link_to(row.holder, row.holder.display_name)

    @admin.display(description="Tune")
    def tune_link(self, row: License) -> Any:
        return link_to(row.tune, row.tune.title)


@admin.register(PaymentAttempt, site=site)
class PaymentAttemptAdmin(ReadOnlyAdmin):
    icon, rank = "payments", 60
    list_display = ("created_at", "purchase_link", "attempt", "state", "intent_id", "last_error_code", "checked_at")
    list_filter = ("state", "provider")
    list_select_related = ("purchase",)
    search_fields = ("intent_id", "purchase__number")
    ordering = ("-created_at", "-pk")
    concealed = ("client_secret",)

    @admin.display(description="Purchase")
    def purchase_link(self, row: PaymentAttempt) -> Any:
        return link_to(row.purchase, row.purchase.number)


@admin.register(LedgerSet, site=site)
class LedgerSetAdmin(ReadOnlyAdmin):
    icon, rank = "receipt_long", 70
    list_display = ("at", "cause", "purchase_link", "currency", "tax")
    list_filter = ("cause", "currency")
    list_select_related = ("purchase",)
    search_fields = ("purchase__number",)
    ordering = ("-at", "-pk")

    @admin.display(description="Tax in it", ordering="tax_minor")
    def tax(self, row: LedgerSet) -> str:
        return amount_text(row.tax_minor, row.currency)

    @admin.display(description="Purchase")
    def purchase_link(self, row: LedgerSet) -> Any:
        return link_to(row.purchase, row.purchase.number) if row.purchase else "–"

    def panels(self, request: Any, row: LedgerSet) -> list[Panel]:
        entries = row.entries.select_related("tuner").order_by("pk")
        return [
            Panel(
                "Entries",
                ("Account", "Tuner", "Amount", "Available"),
                [
                    (
                        each.get_account_display(),
                        link_to(each.tuner),
                        amount_text(each.amount_minor, each.currency),
                        each.available_at or "–",
                    )
                    for each in entries
                ],
                note="They sum up to zero.",
            )
        ]


@admin.register(LedgerEntry, site=site)
class LedgerEntryAdmin(ReadOnlyAdmin):
    icon, rank = "account_balance", 75
    list_display = ("at", "account", "amount", "tuner_link", "purchase_link", "available_at")
    list_filter = ("account", "currency")
    list_select_related = ("tuner", "purchase")
    search_fields = ("tuner__business_name", "purchase__number")
    ordering = ("-at", "-pk")

    @admin.display(description="Amount", ordering="amount_minor")
    def amount(self, row: LedgerEntry) -> str:
        return amount_text(row.amount_minor, row.currency)

    @admin.display(description="Purchase")
    def purchase_link(self, row: LedgerEntry) -> Any:
        return link_to(row.purchase, row.purchase.number) if row.purchase else "–"

    @admin.display(description="Tuner")
    def tuner_link(self, row: LedgerEntry) -> Any:
        return link_to(row.tuner)
