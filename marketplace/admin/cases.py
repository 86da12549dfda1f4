"""Staff's work with money that people argue about: cases, refunds and disputes."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.html import format_html, format_html_join
from unfold.widgets import UnfoldAdminIntegerFieldWidget

from core import clock
from core.admin_base import Decision, Panel, ReadOnlyAdmin, chosen_from, link_to, mark, short_hash, size
from core.admin_site import Queue, site
from marketplace.enums import CaseAuthor, CaseResolution, CaseStatus, DisputeStatus, RefundStatus
from marketplace.exceptions import CaseNotFound
from marketplace.models import Case, CaseAttachment, CaseMessage, Dispute, Refund
from marketplace.money import amount_text
from marketplace.policies.refunds import left_minor
from marketplace.services import cases, disputes, refunds

CASE_KINDS = {CaseStatus.WAITING_STAFF: "bad", CaseStatus.OPEN: "warn", CaseStatus.RESOLVED: "good"}
REFUND_KINDS = {RefundStatus.SUCCEEDED: "good", RefundStatus.PENDING: "warn", RefundStatus.FAILED: "bad"}
DISPUTE_KINDS = {DisputeStatus.NEEDS_RESPONSE: "bad", DisputeStatus.LOST: "bad", DisputeStatus.WON: "good"}
WAITS_FOR = ((CaseStatus.WAITING_RIDER, "the rider"), (CaseStatus.WAITING_TUNER, "the tuner"), (CaseStatus.WAITING_STAFF, "us"))
OUTCOMES = tuple(
    (each.value, each.label)
    for each in (CaseResolution.FULL_REFUND, CaseResolution.PARTIAL_REFUND, CaseResolution.NO_REFUND, CaseResolution.SOLVED)
)
SEEN_INLINE = frozenset({"image/png", "image/jpeg", "image/webp"})


def _answer(row: Case, *, actor: Any, reason: str, at: Any, wait_for: str) -> object:
    return cases.add_message(author=actor, case_id=row.pk, text=reason, wait_for=wait_for, at=at)


def _decide(row: Case, *, actor: Any, reason: str, at: Any, outcome: str, amount_minor: int | None = None) -> object:
    return refunds.decide_refund(case_id=row.pk, actor=actor, resolution=outcome, reason=reason, amount_minor=amount_minor, at=at)


def _outcome_fields(row: Case) -> dict[str, forms.Field]:
    left = left_minor(row.purchase)
    return {
        "outcome": chosen_from(OUTCOMES),
        "amount_minor": forms.IntegerField(
            required=False,
            min_value=1,
            max_value=max(1, left - 1),
            label=f"Amount in minor units of {row.purchase.currency}",
            help_text=f"Of a partial refund only. {amount_text(left, row.purchase.currency)} ({left}) is left of the payment.",
            widget=UnfoldAdminIntegerFieldWidget,
        ),
    }


def _file_of(attachment: CaseAttachment) -> Any:
    url = reverse("admin:marketplace_case_file", args=[attachment.pk])
    label = format_html("{}, {}, {}", attachment.name or "a file", size(attachment.size_bytes), short_hash(attachment.sha256))
    if attachment.content_type in SEEN_INLINE:
        return format_html('<a class="revsync-link" href="{0}"><img src="{0}" alt="The file" loading="lazy"></a> {1}', url, label)
    return format_html('<a class="revsync-link" href="{}">Open ({})</a> {}', url, attachment.content_type, label)


def _files_of(message: CaseMessage) -> Any:
    files = [(_file_of(each),) for each in message.attachments.all()]
    return format_html_join(" ", "{}", files) if files else "–"


@admin.register(Case, site=site)
class CaseAdmin(ReadOnlyAdmin):
    icon, rank, panels_first = "forum", 40, True
    list_display = ("purchase_link", "kind", "coloured_status", "due_at", "escalated_at", "resolution", "created_at")
    list_filter = ("status", "kind", "resolution")
    list_select_related = ("purchase",)
    search_fields = ("purchase__number", "purchase__tune_title", "purchase__seller_name")
    ordering = ("due_at", "-pk")
    linked = {"opened_by_id": "users.User", "resolved_by_id": "users.User", "flash_id": "marketplace.Flash"}
    decisions = (
        Decision(
            name="answer",
            label="Answer",
            explanation="Buyer and tuner read it, and are told. Say whom the case waits for then.",
            act=_answer,
            applies=lambda row: row.status != CaseStatus.RESOLVED,
            fields={"wait_for": chosen_from(WAITS_FOR)},
            reason_label="Message",
            reason_help="Buyer and tuner read it.",
            done="Answered.",
        ),
        Decision(
            name="decide",
            label="Decide",
            explanation="Ends the case. A full refund ends the license; a partial one keeps it. Money goes back the way it came.",
            act=_decide,
            applies=lambda row: row.status != CaseStatus.RESOLVED,
            fields=_outcome_fields,
            reason_help="Buyer and tuner read it.",
            danger=True,
            done="Decided.",
        ),
    )

    @admin.display(description="Status", ordering="status")
    def coloured_status(self, row: Case) -> Any:
        return mark(row.get_status_display(), CASE_KINDS.get(CaseStatus(row.status), "neutral"))

    @admin.display(description="Purchase")
    def purchase_link(self, row: Case) -> Any:
        return link_to(row.purchase, row.purchase.number)

    def panels(self, request: HttpRequest, row: Case) -> list[Panel]:
        messages = row.messages.select_related("author_user").prefetch_related("attachments").order_by("created_at", "pk")
        given = row.purchase.refunds.order_by("-pk")
        disputed = row.purchase.disputes.order_by("-pk")
        return [
            Panel(
                "Messages",
                ("When", "Who", "Text", "Files"),
                [(each.created_at, _author(each), each.text or "(blanked)", _files_of(each)) for each in messages],
                note="Links to files are good for a minute; each opening is in the audit log.",
            ),
            Panel(
                "Money",
                ("What", "Status", "Amount", "When"),
                [
                    *((link_to(each, "Refund"), _refund_mark(each), amount_text(each.amount_minor, each.currency), each.created_at)
                      for each in given),
                    *((link_to(each, "Dispute"), _dispute_mark(each), amount_text(each.amount_minor, each.currency), each.opened_at)
                      for each in disputed),
                ],
            ),
        ]  # fmt: skip

    def get_urls(self) -> list:
        open_file = path("<uuid:attachment_id>/file/", self.admin_site.admin_view(self.file_view), name="marketplace_case_file")
        return [open_file, *super().get_urls()]

    def file_view(self, request: HttpRequest, attachment_id: UUID) -> HttpResponse:
        """Lead to the file by a link that is good for a minute, and note who looked."""
        try:
            link = cases.open_case_file(attachment_id=attachment_id, actor=request.user, at=clock.now())
        except CaseNotFound as missing:
            raise Http404 from missing
        return HttpResponseRedirect(link)


def _author(message: CaseMessage) -> Any:
    if message.author == CaseAuthor.SYSTEM or message.author_user is None:
        return message.get_author_display()
    return format_html("{} ({})", link_to(message.author_user, message.author_user.display_name), message.get_author_display())


def _refund_mark(row: Refund) -> Any:
    return mark("Owed" if row.is_owed else row.get_status_display(), REFUND_KINDS[RefundStatus(row.status)])


def _dispute_mark(row: Dispute) -> Any:
    return mark(row.get_status_display(), DISPUTE_KINDS.get(DisputeStatus(row.status), "neutral"))


@admin.register(Refund, site=site)
class RefundAdmin(ReadOnlyAdmin):
    icon, rank = "undo", 51
    list_display = ("created_at", "purchase_link", "coloured_status", "cause", "amount", "failure_code", "reserved_at", "ended_at")
    list_filter = ("status", "cause", "currency")
    list_select_related = ("purchase",)
    search_fields = ("purchase__number", "provider_refund_id")
    ordering = ("-created_at", "-pk")
    linked = {"asked_by_id": "users.User", "decided_by_id": "users.User", "repaid_by_id": "users.User"}
    decisions = (
        Decision(
            name="note-repayment",
            label="Note repayment",
            explanation="This refund came back, so its buyer is owed the money. Pay it another way first, then note here how.",
            act=lambda row, *, actor, reason, at: refunds.note_repayment(refund_id=row.pk, actor=actor, reason=reason, at=at),
            applies=lambda row: row.is_owed,
            reason_label="How it was paid",
            reason_help="The buyer reads it. No account numbers.",
            done="Noted.",
        ),
    )

    @admin.display(description="Status", ordering="status")
    def coloured_status(self, row: Refund) -> Any:
        return _refund_mark(row)

    @admin.display(description="Purchase")
    def purchase_link(self, row: Refund) -> Any:
        return link_to(row.purchase, row.purchase.number)

    @admin.display(description="Amount", ordering="amount_minor")
    def amount(self, row: Refund) -> str:
        return amount_text(row.amount_minor, row.currency)


@admin.register(Dispute, site=site)
class DisputeAdmin(ReadOnlyAdmin):
    icon, rank, panels_first = "gavel", 52, True
    list_display = ("opened_at", "purchase_link", "coloured_status", "reason", "amount", "evidence_due_at", "submitted_at", "ended_at")
    list_filter = ("status", "reason", "currency")
    list_select_related = ("purchase",)
    search_fields = ("purchase__number", "provider_dispute_id", "intent_id")
    ordering = ("-opened_at", "-pk")
    linked = {"submitted_by_id": "users.User"}
    decisions = (
        Decision(
            name="submit-evidence",
            label="Send the evidence",
            explanation="Assembles what we know once more and sends it to the bank. It takes evidence once: read it below first.",
            act=lambda row, *, actor, reason, at: disputes.submit_evidence(dispute_id=row.pk, actor=actor, reason=reason, at=at),
            applies=lambda row: row.submitted_at is None and row.status in (DisputeStatus.NEEDS_RESPONSE, DisputeStatus.INQUIRY),
            danger=True,
            done="On its way to the bank.",
        ),
    )

    @admin.display(description="Status", ordering="status")
    def coloured_status(self, row: Dispute) -> Any:
        return _dispute_mark(row)

    @admin.display(description="Purchase")
    def purchase_link(self, row: Dispute) -> Any:
        return link_to(row.purchase, row.purchase.number)

    @admin.display(description="Amount", ordering="amount_minor")
    def amount(self, row: Dispute) -> str:
        return amount_text(row.amount_minor, row.currency)


site.add_queue(
    Queue(
        title="Cases for us",
        model=Case,
        filters={"status": CaseStatus.WAITING_STAFF.value},
        icon="forum",
        hint="Buyer and tuner wait for an answer or a decision.",
        rank=12,
    )
)
site.add_queue(
    Queue(
        title="Disputes to answer",
        model=Dispute,
        filters={"status": DisputeStatus.NEEDS_RESPONSE.value},
        icon="gavel",
        hint="A bank waits for evidence, until a date.",
        rank=8,
    )
)
site.add_queue(
    Queue(
        title="Refunds that came back",
        model=Refund,
        filters={"status": RefundStatus.FAILED.value},
        icon="undo",
        hint="Declined ones, and those that their buyers are owed.",
        rank=13,
    )
)
