"""Payout accounts and payouts: read only. What was paid when is decided by the schedule, what arrived by the provider."""

from typing import Any

from django.contrib import admin

from core.admin_base import Panel, ReadOnlyAdmin, link_to, mark
from core.admin_site import site
from marketplace.enums import PayoutAccountState, PayoutStatus
from marketplace.models import Payout, PayoutAccount
from marketplace.money import amount_text

ACCOUNT_KINDS = {PayoutAccountState.ACTIVE: "good", PayoutAccountState.RESTRICTED: "bad"}
PAYOUT_KINDS = {PayoutStatus.PAID: "good", PayoutStatus.PENDING: "warn", PayoutStatus.FAILED: "bad"}


@admin.register(PayoutAccount, site=site)
class PayoutAccountAdmin(ReadOnlyAdmin):
    icon, rank = "account_balance_wallet", 77
    list_display = ("created_at", "tuner_link", "coloured_state", "account_id", "disabled_reason", "checked_at")
    list_filter = ("state",)
    list_select_related = ("tuner",)
    search_fields = ("tuner__business_name", "account_id")
    ordering = ("-created_at", "-pk")

    @admin.display(description="Tuner")
    def tuner_link(self, row: PayoutAccount) -> Any:
        return link_to(row.tuner)

    @admin.display(description="State", ordering="state")
    def coloured_state(self, row: PayoutAccount) -> Any:
        return mark(row.get_state_display(), ACCOUNT_KINDS.get(PayoutAccountState(row.state), "neutral"))


@admin.register(Payout, site=site)
class PayoutAdmin(ReadOnlyAdmin):
    icon, rank = "send_money", 78
    list_display = ("created_at", "tuner_link", "amount", "coloured_status", "failure_code", "note", "arrived_at")
    list_filter = ("status", "currency", "rebuilt")
    list_select_related = ("tuner",)
    search_fields = ("tuner__business_name", "transfer_id", "bank_payout_id", "reversal_id")
    search_help_text = "A tuner, an id, or one of the provider's ids."
    ordering = ("-created_at", "-pk")

    @admin.display(description="Tuner")
    def tuner_link(self, row: Payout) -> Any:
        return link_to(row.tuner)

    @admin.display(description="Amount", ordering="amount_minor")
    def amount(self, row: Payout) -> str:
        return amount_text(row.amount_minor, row.currency)

    @admin.display(description="Status", ordering="status")
    def coloured_status(self, row: Payout) -> Any:
        return mark(row.get_status_display(), PAYOUT_KINDS.get(PayoutStatus(row.status), "neutral"))

    def panels(self, request: Any, row: Payout) -> list[Panel]:
        lines = row.lines.select_related("entry__purchase", "entry__set").order_by("entry__at", "entry_id")[:200]
        return [
            Panel(
                "What it pays",
                ("When", "Cause", "Purchase", "Amount"),
                [
                    (
                        line.entry.at,
                        link_to(line.entry.set, line.entry.set.get_cause_display()),
                        link_to(line.entry.purchase, line.entry.purchase.number) if line.entry.purchase else "–",
                        amount_text(line.entry.amount_minor, line.entry.currency),
                    )
                    for line in lines
                ],
                note="The first 200. They sum up to the payout, unless it was rebuilt after a restore.",
            )
        ]
