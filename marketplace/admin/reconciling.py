"""What the payment provider told us, and what it and the database say differently."""

from typing import Any

from django.contrib import admin

from core.admin_base import Decision, Panel, ReadOnlyAdmin, link_to, mark
from core.admin_site import Queue, site
from marketplace.enums import DifferenceState, WebhookEventStatus
from marketplace.models import ProviderDifference, ProviderWatch, WebhookEvent
from marketplace.money import amount_text
from marketplace.services.differences import dismiss_difference, refund_difference
from marketplace.services.webhooks import retry_event


@admin.register(WebhookEvent, site=site)
class WebhookEventAdmin(ReadOnlyAdmin):
    icon, rank = "webhook", 65
    list_display = ("received_at", "type", "coloured_status", "event_id", "intent_id", "note")
    list_filter = ("status", "livemode", "type")
    decisions = (
        Decision(
            name="retry",
            label="Apply it again",
            explanation="The event is queued again with all its attempts. Find out first why it was parked: the note says it.",
            act=lambda event, *, actor, reason, at: retry_event(event_id=event.pk, actor_id=actor.pk, reason=reason, at=at),
            applies=lambda event: event.status == WebhookEventStatus.PARKED,
            done="The event is queued again.",
        ),
    )
    search_fields = ("event_id", "type", "object_id", "intent_id")
    ordering = ("-received_at", "-pk")

    @admin.display(description="Status", ordering="status")
    def coloured_status(self, row: WebhookEvent) -> Any:
        kinds = {WebhookEventStatus.RECEIVED: "warn", WebhookEventStatus.PARKED: "bad"}
        return mark(row.get_status_display(), kinds.get(WebhookEventStatus(row.status), "neutral"))


@admin.register(ProviderDifference, site=site)
class ProviderDifferenceAdmin(ReadOnlyAdmin):
    """What the provider and the database say differently, and why."""

    icon, rank = "difference", 62
    list_display = ("found_at", "coloured_state", "reason", "amount", "ours", "theirs", "intent_id", "seen_at")
    list_filter = ("state", "reason", "currency")
    search_fields = ("object_id", "intent_id")
    ordering = ("-found_at", "-pk")
    linked = {"purchase_id": "marketplace.Purchase"}
    decisions = (
        Decision(
            name="refund",
            label="Give the payment back",
            explanation="All that is left of this payment goes back to its payer, through the provider. It licenses nobody.",
            act=lambda row, *, actor, reason, at: refund_difference(difference_id=row.pk, actor_id=actor.pk, reason=reason, at=at),
            applies=lambda row: row.state == DifferenceState.OPEN and row.amount_minor > 0,
            done="The payment is on its way back.",
            danger=True,
        ),
        Decision(
            name="dismiss",
            label="Nothing to do",
            explanation="The difference is explained and needs nothing; it is not opened again.",
            act=lambda row, *, actor, reason, at: dismiss_difference(difference_id=row.pk, actor_id=actor.pk, reason=reason, at=at),
            applies=lambda row: row.state == DifferenceState.OPEN,
            done="The difference is dismissed.",
        ),
    )

    @admin.display(description="State", ordering="state")
    def coloured_state(self, row: ProviderDifference) -> Any:
        return mark(row.get_state_display(), "bad" if row.state == DifferenceState.OPEN else "neutral")

    @admin.display(description="Amount", ordering="amount_minor")
    def amount(self, row: ProviderDifference) -> str:
        return amount_text(row.amount_minor, row.currency) if row.currency else "–"

    def panels(self, request: Any, row: ProviderDifference) -> list[Panel]:
        events = WebhookEvent.objects.exclude(intent_id="").filter(intent_id=row.intent_id).order_by("-received_at")[:50]
        return [
            Panel(
                "What went back of this payment",
                ("When", "Amount", "Refund or dispute", "Came back"),
                [
                    (
                        f"{each.created_at:%Y-%m-%d %H:%M}",
                        amount_text(each.amount_minor, row.currency),
                        each.provider_id,
                        f"{each.failed_at:%Y-%m-%d %H:%M}" if each.failed_at else "",
                    )
                    for each in row.returns.order_by("pk")[:50]
                ],
            ),
            Panel(
                "Events of this payment",
                ("Received", "Type", "Status", "Note"),
                [
                    (link_to(each, f"{each.received_at:%Y-%m-%d %H:%M:%S}"), each.type, each.get_status_display(), each.note)
                    for each in events
                ],
            ),
        ]


@admin.register(ProviderWatch, site=site)
class ProviderWatchAdmin(ReadOnlyAdmin):
    icon, rank = "visibility", 63
    list_display = ("watched_at", "walked_at", "restoring_since", "restored_at", "note")


site.add_queue(
    Queue(
        title="Payments that differ",
        model=ProviderDifference,
        filters={"state": DifferenceState.OPEN.value},
        icon="difference",
        hint="The provider and we say different things, or captured money licenses nobody.",
        rank=9,
    )
)
site.add_queue(
    Queue(
        title="Parked events",
        model=WebhookEvent,
        filters={"status": WebhookEventStatus.PARKED.value},
        icon="webhook",
        hint="What the provider told us and could not be applied.",
        rank=14,
    )
)
