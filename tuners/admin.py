"""Staff's work with tuners: applications with their documents, suspensions and appeals, reviews and reports."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.html import format_html

from core import clock
from core.admin_base import Decision, Panel, ReadOnlyAdmin, chosen_from, link_to, mark, short_hash, size
from core.admin_site import Queue, row_url, site
from tuners import policies, review_checks, selectors, services
from tuners.enums import (
    AppealState,
    ApplicationStatus,
    CertificationVerdict,
    ReportState,
    ReviewAppealState,
    ReviewState,
    SuspensionReason,
    TunerStatus,
)
from tuners.exceptions import CertificationNotFound
from tuners.models import (
    ReviewAppeal,
    ReviewReport,
    SuspensionAppeal,
    TunerApplication,
    TunerCertification,
    TunerFollow,
    TunerProfile,
    TunerReview,
    TunerReviewEdit,
)

APPLICATION_KINDS = {ApplicationStatus.SUBMITTED: "warn", ApplicationStatus.APPROVED: "good", ApplicationStatus.REJECTED: "bad"}
VERDICT_KINDS = {CertificationVerdict.PENDING: "warn", CertificationVerdict.ACCEPTED: "good", CertificationVerdict.REFUSED: "bad"}
REVIEW_KINDS = {ReviewState.PUBLISHED: "good", ReviewState.HIDDEN: "bad"}
BOTH_READ = "The author, and who reported it, read this."
SEEN_INLINE = frozenset({"image/png", "image/jpeg", "image/webp"})


def _verdict(certification: TunerCertification) -> Any:
    return mark(certification.get_verdict_display(), VERDICT_KINDS[CertificationVerdict(certification.verdict)])


def _decisions_of_appeal(decide: Callable[..., object], *, accept: dict[str, str], reject: dict[str, str]) -> tuple[Decision, Decision]:
    """An appeal is accepted or rejected once, and there is none against that."""

    def act(accepted: bool) -> Callable[..., object]:
        return lambda row, *, actor, reason, at: decide(appeal_id=row.pk, accepted=accepted, actor=actor, reason=reason, at=at)

    def is_open(row: SuspensionAppeal | ReviewAppeal) -> bool:
        return row.state == AppealState.OPEN

    reject = {"label": "Reject", "done": "Rejected.", **reject}
    return (
        Decision(name="accept", act=act(True), applies=is_open, **accept),
        Decision(name="reject", act=act(False), applies=is_open, danger=True, **reject),
    )


class _OfTunerAdmin(ReadOnlyAdmin):
    @admin.display(description="Tuner")
    def tuner_link(self, row: Any) -> Any:
        return link_to(row.tuner)


class _OfReviewAdmin(ReadOnlyAdmin):
    @admin.display(description="Review")
    def review_link(self, row: Any) -> Any:
        return link_to(row.review)


@admin.register(TunerApplication, site=site)
class TunerApplicationAdmin(ReadOnlyAdmin):
    icon, rank = "assignment_ind", 10
    list_display = ("business_name", "kind", "coloured_status", "applicant_link", "country", "queued_at", "decided_at")
    linked = {"decided_by_id": "users.User"}
    list_filter = ("status", "kind", "country")
    list_select_related = ("applicant",)
    search_fields = ("business_name", "applicant__email", "applicant__display_name")
    ordering = ("queued_at", "pk")
    decisions = (
        Decision(
            name="approve",
            label="Approve",
            explanation="Makes the applicant a tuner or creator with a public profile; a tuner gets the verified badge. "
            "Every certification needs its verdict first.",
            act=lambda row, *, actor, reason, at: services.approve_application(application_id=row.pk, actor=actor, reason=reason, at=at),
            applies=lambda row: row.status == ApplicationStatus.SUBMITTED,
            done="Approved.",
        ),
        Decision(
            name="request-information",
            label="Ask for more",
            explanation="Sends the application back; it keeps its place in the queue.",
            act=lambda row, *, actor, reason, at: services.request_information(application_id=row.pk, actor=actor, reason=reason, at=at),
            applies=lambda row: row.status == ApplicationStatus.SUBMITTED,
            reason_help="The applicant reads this: say what is missing.",
            done="The applicant was asked for more.",
        ),
        Decision(
            name="reject",
            label="Reject",
            explanation="Refuses the application. The person may start again after 30 days.",
            act=lambda row, *, actor, reason, at: services.reject_application(application_id=row.pk, actor=actor, reason=reason, at=at),
            applies=lambda row: row.status == ApplicationStatus.SUBMITTED,
            reason_help="The applicant reads this.",
            danger=True,
            done="Rejected.",
        ),
    )

    @admin.display(description="Status", ordering="status")
    def coloured_status(self, row: TunerApplication) -> Any:
        return mark(row.get_status_display(), APPLICATION_KINDS.get(ApplicationStatus(row.status), "neutral"))

    @admin.display(description="Applicant")
    def applicant_link(self, row: TunerApplication) -> Any:
        return link_to(row.applicant, row.applicant.display_name)

    def panels(self, request: HttpRequest, row: TunerApplication) -> list[Panel]:
        rows = TunerCertification.objects.filter(owner_id=row.applicant_id).order_by("-created_at", "-pk")
        return [
            Panel(
                "Certifications",
                ("Document", "Number", "Expires", "Verdict", "File", "View"),
                [
                    (
                        link_to(document),
                        document.number or "–",
                        document.expires_on,
                        _verdict(document),
                        format_html("{}, {}, {}", document.file_name, size(document.size_bytes), short_hash(document.sha256)),
                        _view_of(document),
                    )
                    for document in rows
                ],
                note="Links are good for a minute; each opening is in the audit log. Open a document's page to judge it.",
            )
        ]


def _file_url(document: TunerCertification) -> str:
    return reverse("admin:tuners_tunercertification_file", args=[document.pk])


def _view_of(document: TunerCertification) -> Any:
    if document.content_type in SEEN_INLINE:
        return format_html('<a class="revsync-link" href="{0}"><img src="{0}" alt="The document" loading="lazy"></a>', _file_url(document))
    return format_html('<a class="revsync-link" href="{}">Open ({})</a>', _file_url(document), document.content_type)


@admin.register(TunerCertification, site=site)
class TunerCertificationAdmin(ReadOnlyAdmin):
    icon, rank, panels_first = "workspace_premium", 20, True
    list_display = ("type", "issuer", "owner_link", "expires_on", "coloured_verdict", "created_at")
    linked = {"judged_by_id": "users.User"}
    list_filter = ("verdict", "type")
    list_select_related = ("owner",)
    search_fields = ("issuer", "number", "owner__email", "owner__display_name")
    ordering = ("-created_at", "-pk")
    concealed = ("storage_key",)
    decisions = (
        Decision(
            name="accept",
            label="Accept",
            explanation="Counts for the application and for the verified badge until it expires. Final.",
            act=lambda row, *, actor, reason, at: services.accept_certification(certification_id=row.pk, actor=actor, reason=reason, at=at),
            applies=lambda row: row.verdict == CertificationVerdict.PENDING,
            done="Accepted.",
        ),
        Decision(
            name="refuse",
            label="Refuse",
            explanation="Does not count. Final: the owner may add another document.",
            act=lambda row, *, actor, reason, at: services.refuse_certification(certification_id=row.pk, actor=actor, reason=reason, at=at),
            applies=lambda row: row.verdict == CertificationVerdict.PENDING,
            reason_help="The owner reads this.",
            danger=True,
            done="Refused.",
        ),
    )

    @admin.display(description="Verdict", ordering="verdict")
    def coloured_verdict(self, row: TunerCertification) -> Any:
        return _verdict(row)

    @admin.display(description="Owner")
    def owner_link(self, row: TunerCertification) -> Any:
        return link_to(row.owner, row.owner.display_name)

    def panels(self, request: HttpRequest, row: TunerCertification) -> list[Panel]:
        application = TunerApplication.objects.filter(applicant_id=row.owner_id).first()
        about = [("The file", _view_of(row)), ("Application", link_to(application))]
        return [Panel("Look at it", ("What", "Where"), about, note="Links are good for a minute; each opening is in the audit log.")]

    def get_urls(self) -> list:
        open_file = path("<uuid:certification_id>/file/", self.admin_site.admin_view(self.file_view), name="tuners_tunercertification_file")
        return [open_file, *super().get_urls()]

    def file_view(self, request: HttpRequest, certification_id: UUID) -> HttpResponse:
        """Lead to the file by a link that is good for a minute, and note who looked."""
        try:
            link = services.open_certification_file(certification_id=certification_id, actor=request.user, at=clock.now())
        except CertificationNotFound as missing:
            raise Http404 from missing
        return HttpResponseRedirect(link)


@admin.register(TunerProfile, site=site)
class TunerProfileAdmin(ReadOnlyAdmin):
    icon, rank = "storefront", 30
    list_display = ("business_name", "kind", "coloured_status", "verified", "rating", "review_count", "follower_count", "country")
    list_filter = ("status", "kind", "verified", "country")
    search_fields = ("business_name", "user__email", "user__display_name")
    ordering = ("-created_at", "-pk")
    concealed = ("name_key", "search_text", "document", "make_keys", "rating_order")
    decisions = (
        Decision(
            name="suspend",
            label="Suspend",
            explanation="Bites at once: not discoverable, nothing sold, nothing published. The tuner keeps reading their money, "
            "cases and the reason, and may appeal once.",
            act=lambda row, *, actor, reason, at, cause: services.suspend_tuner(
                tuner_id=row.pk, actor=actor, reason=cause, note=reason, at=at
            ),
            applies=lambda row: row.status == TunerStatus.ACTIVE,
            fields={"cause": chosen_from([row for row in SuspensionReason.choices if row[0] != SuspensionReason.CLOSED])},
            reason_help="The tuner reads this.",
            danger=True,
            done="Suspended.",
        ),
        Decision(
            name="reinstate",
            label="Reinstate",
            explanation="Lifts the suspension; an open appeal is thereby accepted.",
            act=lambda row, *, actor, reason, at: services.reinstate_tuner(tuner_id=row.pk, actor=actor, reason=reason, at=at),
            applies=lambda row: row.status == TunerStatus.SUSPENDED,
            reason_help="The tuner reads this.",
            done="Active again.",
        ),
    )

    @admin.display(description="Status", ordering="status")
    def coloured_status(self, row: TunerProfile) -> Any:
        return mark(row.get_status_display(), "good" if row.is_active else "bad")

    def panels(self, request: HttpRequest, row: TunerProfile) -> list[Panel]:
        documents = TunerCertification.objects.filter(owner_id=row.user_id).order_by("-created_at", "-pk")
        appeals = row.appeals.order_by("-created_at", "-pk")
        return [
            Panel(
                "Certifications",
                ("Document", "Expires", "Verdict"),
                [(link_to(each), each.expires_on, _verdict(each)) for each in documents],
            ),
            Panel(
                "Appeals",
                ("When", "State", "Text"),
                [(link_to(each, f"{each.created_at:%Y-%m-%d}"), each.get_state_display(), each.text) for each in appeals],
            ),
        ]


@admin.register(SuspensionAppeal, site=site)
class SuspensionAppealAdmin(_OfTunerAdmin):
    icon, rank, panels_first = "balance", 40, True
    list_display = ("created_at", "tuner_link", "state", "suspended_at", "decided_at")
    linked = {"decided_by_id": "users.User"}
    list_filter = ("state",)
    list_select_related = ("tuner",)
    search_fields = ("tuner__business_name", "text")
    ordering = ("created_at", "pk")
    decisions = _decisions_of_appeal(
        services.decide_appeal,
        accept={
            "label": "Accept and reinstate",
            "explanation": "Lifts the suspension.",
            "reason_help": "The tuner reads this.",
            "done": "Accepted: the tuner is active again.",
        },
        reject={
            "explanation": "The suspension stands. There is no second appeal against it.",
            "reason_help": "The tuner reads this.",
        },
    )

    def panels(self, request: HttpRequest, row: SuspensionAppeal) -> list[Panel]:
        why = [(row.tuner.get_suspension_reason_display() or "–", row.tuner.suspension_note or "–", row.tuner.suspended_at or "–")]
        return [Panel("The suspension", ("Reason", "Note", "Since"), why)]


@admin.register(TunerReview, site=site)
class TunerReviewAdmin(_OfTunerAdmin):
    icon, rank = "reviews", 50
    list_display = ("created_at", "rating", "tuner_link", "author", "coloured_state", "is_refunded", "beginning")
    linked = {"tune_id": "marketplace.Tune", "tune_version_id": "marketplace.TuneVersion"}
    concealed = ("vehicle_model_id",)
    list_filter = ("state", "rating", "is_refunded")
    list_select_related = ("tuner", "buyer")
    search_fields = ("text", "buyer__email", "tuner__business_name")
    ordering = ("-created_at", "-pk")
    decisions = (
        Decision(
            name="hide",
            label="Hide",
            explanation="Takes the review off the public lists and out of the ratings; open reports of it are upheld. The author may "
            "appeal once.",
            act=lambda row, *, actor, reason, at: services.hide_review(review_id=row.pk, actor=actor, reason=reason, at=at),
            applies=lambda row: row.state == ReviewState.PUBLISHED,
            reason_help=BOTH_READ,
            danger=True,
            done="Hidden.",
        ),
        Decision(
            name="restore",
            label="Restore",
            explanation="Publishes the review again and counts it; an open appeal of its author is thereby accepted.",
            act=lambda row, *, actor, reason, at: services.restore_review(review_id=row.pk, actor=actor, reason=reason, at=at),
            applies=lambda row: row.state == ReviewState.HIDDEN,
            reason_help=BOTH_READ,
            done="Public again.",
        ),
    )

    @admin.display(description="State", ordering="state")
    def coloured_state(self, row: TunerReview) -> Any:
        return mark(row.get_state_display(), REVIEW_KINDS.get(ReviewState(row.state), "neutral"))

    @admin.display(description="Author")
    def author(self, row: TunerReview) -> Any:
        return link_to(row.buyer, row.buyer.display_name)

    @admin.display(description="Text")
    def beginning(self, row: TunerReview) -> str:
        return row.text[:80]

    def panels(self, request: HttpRequest, row: TunerReview) -> list[Panel]:
        return [
            Panel(
                "What it said before",
                ("Until", "Rating", "Text"),
                [(e.replaced_at, e.rating, e.text) for e in row.edits.order_by("-replaced_at")],
            ),
            Panel(
                "Reports",
                ("When", "Why", "State", "Text"),
                [
                    (link_to(report, f"{report.created_at:%Y-%m-%d}"), report.get_reason_display(), report.get_state_display(), report.text)
                    for report in row.reports.order_by("-created_at")
                ],
            ),
            Panel(
                "Appeals",
                ("When", "Against", "State", "Text"),
                [
                    (link_to(appeal, f"{appeal.created_at:%Y-%m-%d}"), _against(appeal), appeal.get_state_display(), appeal.text)
                    for appeal in row.appeals.order_by("-created_at")
                ],
            ),
        ]


@admin.register(ReviewReport, site=site)
class ReviewReportAdmin(_OfReviewAdmin):
    icon, rank, panels_first = "flag", 60, True
    list_display = ("due", "created_at", "reason", "state", "review_link", "reporter_link", "text")
    linked = {"decided_by_id": "users.User"}
    list_filter = ("state", "reason")
    list_select_related = ("review", "reporter")
    search_fields = ("text", "review__text", "reporter__email")
    ordering = ("created_at", "pk")  # of the search for one row; lists are ordered by what is due
    decisions = (
        Decision(
            name="uphold",
            label="Uphold and hide the review",
            explanation="Hides the review; every open report of it is upheld with this one.",
            act=lambda row, *, actor, reason, at: services.uphold_report(report_id=row.pk, actor=actor, reason=reason, at=at),
            applies=lambda row: row.state == ReportState.OPEN,
            reason_help=BOTH_READ,
            done="The review is hidden.",
        ),
        Decision(
            name="dismiss",
            label="Dismiss",
            explanation="The review stays. Who reported it may appeal once.",
            act=lambda row, *, actor, reason, at: services.dismiss_report(report_id=row.pk, actor=actor, reason=reason, at=at),
            applies=lambda row: row.state == ReportState.OPEN,
            reason_help="Who reported it reads this.",
            done="Dismissed.",
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return ReviewReport.objects.annotate(due_at=selectors.REPORT_DUE_AT).order_by("due_at", "pk")

    def get_ordering(self, request: HttpRequest) -> Any:
        """What is due first comes first."""
        return ("due_at", "pk")

    @admin.display(description="Due", ordering="due_at")
    def due(self, row: ReviewReport) -> Any:
        if row.state != ReportState.OPEN:
            return "–"
        due_at = policies.due_at(row)
        return mark(f"overdue since {due_at:%Y-%m-%d %H:%M}", "bad") if due_at < clock.now() else f"{due_at:%Y-%m-%d %H:%M}"

    @admin.display(description="Reporter")
    def reporter_link(self, row: ReviewReport) -> Any:
        return link_to(row.reporter, row.reporter.display_name)

    def panels(self, request: HttpRequest, row: ReviewReport) -> list[Panel]:
        return [*_panels_of_former(row.review, row.created_at, "when it was reported"), _panel_of(row.review)]


def _panels_of_former(review: TunerReview, moment: datetime, when: str) -> list[Panel]:
    """What a review said at a moment, if its author has changed it since."""
    changed = review.edits.filter(replaced_at__gt=moment).order_by("replaced_at", "pk")[:1]
    said = [(edit.rating, edit.text, edit.replaced_at) for edit in changed]
    return [Panel(f"What it said {when}", ("Rating", "Text", "Until"), said)] if said else []


def _panel_of(review: TunerReview) -> Panel:
    return Panel(
        "The review",
        ("Rating", "Text", "Reply", "State"),
        [
            (
                format_html('<a class="revsync-link" href="{}">{}</a>', row_url(review), review.rating),
                review.text,
                review.reply or "–",
                review.get_state_display(),
            )
        ],
    )


def _against(appeal: ReviewAppeal) -> str:
    return "a report's dismissal" if appeal.report_id else "the hiding"


@admin.register(ReviewAppeal, site=site)
class ReviewAppealAdmin(_OfReviewAdmin):
    icon, rank, panels_first = "balance", 65, True
    list_display = ("created_at", "state", "against", "review_link", "appellant_link", "text")
    linked = {"decided_by_id": "users.User"}
    list_filter = ("state",)
    list_select_related = ("review", "appellant")
    search_fields = ("text", "review__text", "appellant__email")
    ordering = ("created_at", "pk")
    decisions = _decisions_of_appeal(
        services.decide_review_appeal,
        accept={
            "label": "Accept",
            "explanation": "Turns the decision around: a hidden review is public again, one that stayed is hidden.",
            "reason_help": BOTH_READ,
            "done": "The decision is turned around.",
        },
        reject={
            "explanation": "The decision stands. There is no second appeal against it.",
            "reason_help": "Who appealed reads this.",
        },
    )

    @admin.display(description="Against")
    def against(self, row: ReviewAppeal) -> str:
        return _against(row)

    @admin.display(description="By")
    def appellant_link(self, row: ReviewAppeal) -> Any:
        return link_to(row.appellant, row.appellant.display_name)

    def panels(self, request: HttpRequest, row: ReviewAppeal) -> list[Panel]:
        decided = row.report.decision_reason if row.report else row.review.hidden_reason
        return [
            *_panels_of_former(row.review, row.against_at, "when it was decided"),
            _panel_of(row.review),
            Panel("The decision", ("When", "Reason"), [(row.against_at, decided or "–")]),
        ]


@admin.register(TunerReviewEdit, site=site)
class TunerReviewEditAdmin(_OfReviewAdmin):
    icon, rank = "edit_note", 70
    list_display = ("replaced_at", "review_link", "rating", "text")
    list_select_related = ("review",)
    search_fields = ("text",)
    ordering = ("-replaced_at", "-pk")


@admin.register(TunerFollow, site=site)
class TunerFollowAdmin(_OfTunerAdmin):
    icon, rank = "group_add", 80
    list_display = ("created_at", "tuner_link", "follower_link")
    list_select_related = ("tuner", "follower")
    search_fields = ("tuner__business_name", "follower__email")
    ordering = ("-created_at", "-pk")

    @admin.display(description="Follower")
    def follower_link(self, row: TunerFollow) -> Any:
        return link_to(row.follower, row.follower.display_name)


site.add_warning(review_checks.find_overdue)
site.add_queue(
    Queue(
        title="Applications",
        model=TunerApplication,
        filters={"status": ApplicationStatus.SUBMITTED.value},
        icon="assignment_ind",
        hint="Who wants to be a tuner or creator.",
        rank=10,
    )
)
site.add_queue(
    Queue(
        title="Certifications",
        model=TunerCertification,
        filters={"verdict": CertificationVerdict.PENDING.value},
        icon="workspace_premium",
        hint="Documents without a verdict.",
        rank=20,
    )
)
site.add_queue(
    Queue(
        title="Appeals",
        model=SuspensionAppeal,
        filters={"state": AppealState.OPEN.value},
        icon="balance",
        hint="Suspended tuners who object.",
        rank=50,
    )
)
site.add_queue(
    Queue(
        title="Reported reviews",
        model=ReviewReport,
        filters={"state": ReportState.OPEN.value},
        icon="flag",
        hint="Reviews that somebody objects to.",
        rank=60,
    )
)
site.add_queue(
    Queue(
        title="Appeals about reviews",
        model=ReviewAppeal,
        filters={"state": ReviewAppealState.OPEN.value},
        icon="balance",
        hint="Authors and reporters who object to a decision.",
        rank=61,
    )
)
