"""Listings and versions: the review queue with files, findings and what changed, and staff's decisions."""

import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from core import clock
from core.admin_base import Decision, Panel, ReadOnlyAdmin, chosen_from, link_to, mark, short_hash, size
from core.admin_site import Queue, site
from garage.ecu_images import XRay
from garage.ecu_images import xray as xray_words
from marketplace.enums import ReviewReason, StopSeverity, TuneStatus, TuneSuspensionReason, VersionStatus
from marketplace.exceptions import VersionNotFound
from marketplace.models import Favorite, FileXRay, Fitment, Tune, TuneFile, TuneVersion
from marketplace.money import amount_text
from marketplace.selectors import review_queue, review_sheet
from marketplace.services import evidence, moderation, review, stops
from marketplace.services.releases import release_drafts
from users.services import verify_second_factor

TUNE_KINDS = {TuneStatus.PUBLISHED: "good", TuneStatus.SUSPENDED: "bad", TuneStatus.DRAFT: "warn"}
VERSION_KINDS = {
    VersionStatus.PUBLISHED: "good",
    VersionStatus.IN_REVIEW: "warn",
    VersionStatus.ON_HOLD: "bad",
    VersionStatus.RECALLED: "bad",
    VersionStatus.REJECTED: "bad",
    VersionStatus.INVALID: "bad",
}
XRAY_COLOURS = {
    xray_words.MAPS: "#16a34a",
    xray_words.CODE: "#dc2626",
    xray_words.TEXT: "#2563eb",
    xray_words.CHECKSUM: "#9333ea",
    xray_words.BLANK: "#f59e0b",
    xray_words.OTHER: "#111827",
}
SEVERITY_KINDS = {"error": "bad", "refused": "bad", "warning": "warn"}
AUTHOR_READS = "The author reads this."
RIDERS_READ = "Everybody who has the version reads this."


def _hash_boxes(version: TuneVersion) -> Mapping[str, forms.Field]:
    """One box for each file of the version: whoever publishes says of each hash that they looked at it."""
    choices = [(file.sha256, f"{file.sha256} {file.name}") for file in version.files.order_by("position")]
    fields: dict[str, forms.Field] = {
        "approved_sha256": forms.MultipleChoiceField(
            choices=choices, widget=UnfoldAdminCheckboxSelectMultipleWidget, label="Files that you looked at"
        ),
    }
    return fields | _approval(lambda: release_drafts(version, at=clock.now()))


def _lift_approval(version: TuneVersion) -> dict[str, forms.Field]:
    return _approval(lambda: stops.lift_drafts(version))


def _approval(make_drafts: Callable[[], Mapping[str, Any]]) -> dict[str, forms.Field]:
    """What the reviewer's own key signs, and what it said. Nothing where no signer asks."""
    if not settings.SIGNER_SOCKET:
        return {}
    drafts = json.dumps(make_drafts(), ensure_ascii=False)
    return {
        "drafts": forms.CharField(
            initial=drafts,
            required=False,
            disabled=True,
            widget=UnfoldAdminTextareaWidget,
            label="To be approved",
            help_text="Save this as a file, and have it approved on your own machine: tools/approve_release.py.",
        ),
        "approval": forms.CharField(
            max_length=20_000,
            required=False,
            widget=UnfoldAdminTextareaWidget,
            label="Approval",
            help_text="What the tool printed. Without it the signer of a production system signs neither a release nor a lifting.",
        ),
    }


def _code(version: TuneVersion) -> Mapping[str, forms.Field]:
    return _lift_approval(version) | {
        "code": forms.CharField(
            max_length=20,
            required=False,
            widget=UnfoldAdminTextInputWidget,
            help_text="Of your authenticator: needed when you are the only admin and proposed this yourself a day ago.",
        )
    }


def _unrecall(version: TuneVersion, *, actor: Any, reason: str, at: Any, code: str, approval: str = "", **_: Any) -> object:
    fresh = bool(code) and verify_second_factor(user=actor, code=code, at=at)
    return stops.unrecall_version(actor=actor, version_id=version.pk, mfa_fresh=fresh, reason=reason, approval=approval, at=at)


def _recall_fields(version: TuneVersion) -> Mapping[str, forms.Field]:
    others = version.tune.versions.filter(status=VersionStatus.PUBLISHED).exclude(pk=version.pk).order_by("-version_order")
    return {
        "severity": chosen_from(StopSeverity.choices),
        "replacement": forms.TypedChoiceField(
            choices=[("", "None"), *((str(other.pk), other.version) for other in others)],
            coerce=UUID,
            empty_value=None,
            required=False,
            widget=UnfoldAdminSelectWidget,
            help_text="Another published version of the tune, which riders are told to take.",
        ),
    }


def _in_review(version: TuneVersion) -> bool:
    return version.status == VersionStatus.IN_REVIEW


@admin.register(TuneVersion, site=site)
class TuneVersionAdmin(ReadOnlyAdmin):
    icon, rank, panels_first = "rate_review", 10, True
    list_display = ("tune_title", "version", "coloured_status", "tuner", "risks", "emissions_class", "submitted_at", "published_at")
    list_filter = ("status", "emissions_class", "inspection_verdict")
    list_select_related = ("tune__tuner",)
    search_fields = ("version", "tune__title", "tune__tuner__business_name")
    hash_lookups = ("files__sha256",)
    search_help_text = "An id, a file's SHA-256, a title or a tuner."
    ordering = ("submitted_at", "-created_at", "pk")
    concealed = ("version_order", "required_part_keys", "forbidden_part_keys", "inspection_findings", "requirements")
    decisions = (
        Decision(
            name="publish",
            label="Publish",
            explanation="Signs a release for each file and puts the version on sale. Look at every file, finding and fitment first: "
            "what you approve are the hashes below.",
            act=lambda row, *, actor, reason, at, approved_sha256, approval="", **_: review.publish_tune_version(
                version_id=row.pk, reviewer=actor, approved_sha256=approved_sha256, note=reason, approval=approval, at=at
            ),
            applies=_in_review,
            fields=_hash_boxes,
            reason_label="Note",
            reason_help="What you checked. Kept with the decision.",
            done="Published.",
        ),
        Decision(
            name="request-changes",
            label="Request changes",
            explanation="Sends the version back. Its author may correct words and claims and submit again; other files are a new version.",
            act=lambda row, *, actor, reason, at, cause: review.request_changes(
                version_id=row.pk, reviewer=actor, reason_code=cause, note=reason, at=at
            ),
            applies=_in_review,
            fields={"cause": chosen_from(ReviewReason.choices)},
            reason_help=AUTHOR_READS,
            done="Changes were requested.",
        ),
        Decision(
            name="reject",
            label="Reject",
            explanation="Refuses this version for good.",
            act=lambda row, *, actor, reason, at, cause: review.reject_tune_version(
                version_id=row.pk, reviewer=actor, reason_code=cause, note=reason, at=at
            ),
            applies=_in_review,
            fields={"cause": chosen_from(ReviewReason.choices)},
            reason_help=AUTHOR_READS,
            danger=True,
            done="Rejected.",
        ),
        Decision(
            name="hold",
            label="Put on hold",
            explanation="Stops new downloads and tickets at once. One admin can release it again.",
            act=lambda row, *, actor, reason, at, severity: stops.hold_version(
                actor=actor, version_id=row.pk, reason=reason, severity=severity, at=at
            ),
            applies=lambda row: row.status == VersionStatus.PUBLISHED,
            fields={"severity": chosen_from(StopSeverity.choices)},
            reason_help=RIDERS_READ,
            done="On hold.",
        ),
        Decision(
            name="release",
            label="Release the hold",
            explanation="Puts the version on sale again.",
            act=lambda row, *, actor, reason, at, approval="", **_: stops.release_hold(
                actor=actor, version_id=row.pk, reason=reason, approval=approval, at=at
            ),
            applies=lambda row: row.status == VersionStatus.ON_HOLD,
            fields=_lift_approval,
            done="On sale again.",
        ),
        Decision(
            name="recall",
            label="Recall",
            explanation="Stops the version for good and tells everybody who has it. Lifting a recall takes two people.",
            act=lambda row, *, actor, reason, at, severity, replacement: stops.recall_version(
                actor=actor, version_id=row.pk, severity=severity, reason=reason, replacement_id=replacement, at=at
            ),
            applies=lambda row: row.status in stops.STOPPABLE,
            fields=_recall_fields,
            reason_help=RIDERS_READ,
            danger=True,
            done="Recalled.",
        ),
        Decision(
            name="floor",
            label="Flash nothing older",
            explanation="Recalls every older version of the tune, for good: phones refuse what is below this one, wherever it was kept.",
            act=lambda row, *, actor, reason, at, severity: stops.raise_counter_floor(
                actor=actor, version_id=row.pk, severity=severity, reason=reason, at=at
            ),
            applies=lambda row: row.status == VersionStatus.PUBLISHED and (row.release_counter or 0) > 1,
            fields={"severity": chosen_from(StopSeverity.choices)},
            reason_help=RIDERS_READ,
            danger=True,
            done="Older versions are not flashed any more.",
        ),
        Decision(
            name="propose-unrecall",
            label="Propose to lift the recall",
            explanation="The first of two people says why the recall was wrong or is over.",
            act=lambda row, *, actor, reason, at: stops.propose_unrecall(actor=actor, version_id=row.pk, reason=reason, at=at),
            applies=lambda row: row.status == VersionStatus.RECALLED,
            done="Proposed. Another admin lifts it.",
        ),
        Decision(
            name="unrecall",
            label="Lift the recall",
            explanation="The second of two people puts the version on sale again.",
            act=_unrecall,
            applies=lambda row: row.status == VersionStatus.RECALLED,
            fields=_code,
            danger=True,
            done="The recall is lifted.",
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        if self._is_queue(request):
            return review_queue.with_risks(self.model._default_manager.all(), at=clock.now()).order_by(*review_queue.ORDER)
        return super().get_queryset(request)

    def get_ordering(self, request: HttpRequest) -> Any:
        """The queue is worked through by risk, then age; every other list by time."""
        return review_queue.ORDER if self._is_queue(request) else super().get_ordering(request)

    @staticmethod
    def _is_queue(request: HttpRequest) -> bool:
        return request.GET.get("status__exact") == VersionStatus.IN_REVIEW

    @admin.display(description="Why early")
    def risks(self, row: TuneVersion) -> Any:
        late = [mark("overdue", "bad")] if getattr(row, "is_overdue", False) else []
        return format_html_join(" ", "{}", ((each,) for each in [*late, *(mark(why, "warn") for why in _risks(row))])) or "–"

    @admin.display(description="Tune", ordering="tune__title")
    def tune_title(self, row: TuneVersion) -> str:
        return row.tune.title

    @admin.display(description="Tuner", ordering="tune__tuner__business_name")
    def tuner(self, row: TuneVersion) -> Any:
        return link_to(row.tune.tuner)

    @admin.display(description="Status", ordering="status")
    def coloured_status(self, row: TuneVersion) -> Any:
        return mark(row.get_status_display(), VERSION_KINDS.get(VersionStatus(row.status), "neutral"))

    def panels(self, request: HttpRequest, row: TuneVersion) -> list[Panel]:
        seen = review_sheet.of_version(row, at=clock.now())
        return [
            Panel(
                "The version",
                ("What", "Stated"),
                [
                    ("Tune", link_to(row.tune, row.tune.title)),
                    ("Tuner", link_to(row.tune.tuner)),
                    ("Version", row.version),
                    ("Changelog", row.changelog or "–"),
                    ("Tags", ", ".join(row.tags) or "–"),
                    ("Blocked regions", ", ".join(row.blocked_regions) or "–"),
                    ("Submitted", row.submitted_at or "–"),
                    ("Place in the queue", seen.position or "–"),
                    ("Why early", format_html_join(" ", "{}", ((mark(why, "warn"),) for why in seen.risks)) or "–"),
                ],
            ),
            Panel(
                "Files",
                ("File", "Format", "Bytes", "Image", "SHA-256", "Detected", "Reports after"),
                [
                    (
                        format_html('<a class="revsync-link" href="{}">{}</a>', _file_url(file), file.name),
                        file.format,
                        size(file.size_bytes),
                        size(file.image_size_bytes),
                        format_html("<code>{}</code>", file.sha256),
                        _pairs(file.detected),
                        file.calibration_id_after or "–",
                    )
                    for file in seen.files
                ],
                note="A file's link is good for a minute; each opening is in the audit log.",
            ),
            Panel(
                "Findings of the inspection",
                ("File", "Rule", "Severity", "Message", "Offset"),
                [
                    (each.where, each.rule, mark(each.severity, SEVERITY_KINDS.get(each.severity, "neutral")), each.message, each.offset)
                    for each in seen.findings
                ],
            ),
            Panel(
                "Fitments",
                ("File", "Vehicle", "Years", "Markets", "Hardware numbers", "Calibrations", "Image"),
                [
                    (
                        fitment.file.name,
                        f"{fitment.make_name} {fitment.model_name}",
                        f"{fitment.year_from}–{fitment.year_to}",
                        ", ".join(fitment.markets),
                        ", ".join(fitment.hardware_numbers),
                        ", ".join(fitment.calibration_ids) or "any",
                        size(fitment.image_size_bytes),
                    )
                    for fitment in seen.fitments
                ],
            ),
            Panel(
                f"Against {seen.previous.version}" if seen.previous else "Against an earlier version",
                ("", "Fitment"),
                [(mark("+ new", "good"), line) for line in seen.added] + [(mark("− gone", "bad"), line) for line in seen.removed],
                note="Fitments that differ from the newest version published before." if seen.previous else "Nothing was published before.",
            ),
            Panel(
                f"Else changed since {seen.previous.version}" if seen.previous else "Else changed",
                ("What", "Before", "Now"),
                [(what, _lines(before), _lines(now)) for what, before, now in seen.changed],
            ),
            Panel(
                "X-ray",
                ("File", "Against", "Summary", "Where", "Counts", "Checksums", "Largest places (KiB, size, what)"),
                [_xray_row(row) for row in seen.xrays],
                note="What the image changes, coarsely. The picture is the whole image from left to right; point at a mark for its kind. "
                "What lies around a change is a guess by its bytes.",
            ),
            Panel(
                "Copies",
                ("Same bytes or image as", "Of", "Status"),
                [
                    (link_to(file.version, file.version.version), file.version.tune.title, file.version.get_status_display())
                    for file in seen.copies
                ],
                note="Files of other tuners with the same hash, or the same decoded image.",
            ),
            Panel(
                "Evidence",
                ("What", "Stated"),
                [
                    ("Changes against stock", row.change_summary or "–"),
                    ("Emissions", f"{row.get_emissions_class_display()} {row.certification_number}".strip()),
                    ("Requirements", _pairs(row.requirements)),
                    ("Dyno", _pairs(row.tune.dyno or {})),
                    ("Test flashes by the author", seen.test_flashes),
                ],
            ),
            Panel(
                "Holds and recalls",
                ("Since", "Kind", "Why", "Lifted"),
                [
                    (link_to(stop, f"{stop.since:%Y-%m-%d %H:%M}"), stop.get_kind_display(), stop.reason, stop.lifted_at or "–")
                    for stop in seen.stops
                ],
            ),
        ]

    def get_urls(self) -> list:
        open_file = path("files/<uuid:file_id>/open/", self.admin_site.admin_view(self.file_view), name="marketplace_tunefile_open")
        return [open_file, *super().get_urls()]

    def file_view(self, request: HttpRequest, file_id: UUID) -> HttpResponse:
        """Lead to a tune's file by a link that is good for a minute, and note who looked."""
        try:
            link = evidence.open_tune_file(file_id=file_id, actor=request.user, at=clock.now())
        except VersionNotFound as missing:
            raise Http404 from missing
        return HttpResponseRedirect(link)


def _risks(row: TuneVersion) -> list[str]:
    return [why.split(":")[0] for why in review_queue.risks_of(row)]


def _lines(text: str) -> Any:
    return format_html_join(SafeString("<br>"), "{}", ((line,) for line in text.splitlines())) or "–"


def _xray_row(row: FileXRay) -> tuple[Any, ...]:
    seen = XRay.from_dict(row.report)
    return (
        row.file.name,
        f"{row.get_against_display()} {row.base_label}".strip(),
        xray_words.summary(seen),
        xray_picture(seen),
        f"{seen.regions} places, {seen.share:.2%}: " + ", ".join(f"{count} {name}" for name, count in seen.kinds.items()),
        ", ".join(f"{count} {name}" for name, count in seen.checksums.items()) or "none found",
        _lines("\n".join(f"{place.kilobyte}, {place.size}, {place.kind}" for place in seen.listed[:16])),
    )


def xray_picture(seen: XRay) -> SafeString:
    """A strip of the whole image with what was changed: plain SVG in the page, no script and no style, as its policy wants."""
    kinds = {letter: kind for kind, letter in xray_words.LETTERS.items()}
    marks, at = [], 0
    for letter, run in itertools.groupby(seen.picture):
        width = len(list(run))
        if letter in kinds:
            marks.append((at, width, XRAY_COLOURS[kinds[letter]], kinds[letter]))
        at += width
    drawn = format_html_join("", '<rect x="{}" y="0" width="{}" height="24" fill="{}"><title>{}</title></rect>', marks)
    return format_html(
        '<svg viewBox="0 0 256 24" width="384" height="36" role="img" aria-label="Where the image was changed">'
        '<rect x="0" y="0" width="256" height="24" fill="#d1d5db"></rect>{}</svg>',
        drawn,
    )


def _file_url(file: TuneFile) -> str:
    return reverse("admin:marketplace_tunefile_open", args=[file.pk])


def _pairs(facts: Mapping[str, Any]) -> Any:
    """One line for each fact; the names are ours, the values are escaped."""
    lines = ((name.replace("_", " "), _plain(value)) for name, value in facts.items() if value not in (None, "", [], {}))
    return format_html_join(SafeString("<br>"), "{}: {}", lines) or "–"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {_plain(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(_plain(each) for each in value)
    return str(value)


@admin.register(Tune, site=site)
class TuneAdmin(ReadOnlyAdmin):
    icon, rank = "tune", 20
    list_display = ("title", "coloured_status", "tuner", "category", "price", "download_count", "rating_count", "listed", "created_at")
    list_filter = ("status", "listed", "kind", "category", "emissions_class", "currency")
    list_select_related = ("tuner",)
    search_fields = ("title", "tuner__business_name")
    ordering = ("-created_at", "-pk")
    concealed = ("rating_score",)
    decisions = (
        Decision(
            name="suspend",
            label="Suspend",
            explanation="Takes the tune off the lists and off sale. Who owns it keeps it: to stop flashing, hold or recall a version.",
            act=lambda row, *, actor, reason, at, cause: moderation.suspend_tune(
                tune_id=row.pk, actor=actor, reason_code=cause, note=reason, at=at
            ),
            applies=lambda row: row.status != TuneStatus.SUSPENDED,
            fields={"cause": chosen_from(TuneSuspensionReason.choices)},
            reason_help=AUTHOR_READS,
            danger=True,
            done="Suspended.",
        ),
        Decision(
            name="unsuspend",
            label="Lift the suspension",
            explanation="The tune returns to the state that it had.",
            act=lambda row, *, actor, reason, at: moderation.unsuspend_tune(tune_id=row.pk, actor=actor, note=reason, at=at),
            applies=lambda row: row.status == TuneStatus.SUSPENDED,
            reason_help=AUTHOR_READS,
            done="No longer suspended.",
        ),
    )

    @admin.display(description="Status", ordering="status")
    def coloured_status(self, row: Tune) -> Any:
        return mark(row.get_status_display(), TUNE_KINDS.get(TuneStatus(row.status), "neutral"))

    @admin.display(description="Price", ordering="price_minor")
    def price(self, row: Tune) -> str:
        return "free" if row.is_free else amount_text(row.price_minor, row.currency)

    def panels(self, request: HttpRequest, row: Tune) -> list[Panel]:
        versions = row.versions.order_by("-version_order")
        return [
            Panel(
                "Versions",
                ("Version", "Status", "Submitted", "Published"),
                [
                    (
                        link_to(each, each.version),
                        mark(each.get_status_display(), VERSION_KINDS.get(VersionStatus(each.status), "neutral")),
                        each.submitted_at or "–",
                        each.published_at or "–",
                    )
                    for each in versions
                ],
            )
        ]


@admin.register(TuneFile, site=site)
class TuneFileAdmin(ReadOnlyAdmin):
    icon, rank = "draft", 30
    list_display = ("created_at", "name", "of_version", "format", "readable_size", "hash")
    list_filter = ("format",)
    list_select_related = ("version__tune",)
    search_fields = ("name", "version__tune__title")
    search_help_text = "An id, a SHA-256, a file's name or a title."
    ordering = ("-created_at", "-pk")
    concealed = ("storage_key",)

    @admin.display(description="Version")
    def of_version(self, row: TuneFile) -> Any:
        return link_to(row.version, f"{row.version.tune.title} {row.version.version}")

    @admin.display(description="Size", ordering="size_bytes")
    def readable_size(self, row: TuneFile) -> str:
        return size(row.size_bytes)

    @admin.display(description="SHA-256")
    def hash(self, row: TuneFile) -> Any:
        return short_hash(row.sha256)


@admin.register(FileXRay, site=site)
class FileXRayAdmin(ReadOnlyAdmin):
    icon, rank = "radiology", 35
    list_display = ("created_at", "file", "against", "base_label", "regions", "share", "changes_code")
    list_filter = ("against", "changes_code")
    list_select_related = ("file",)
    ordering = ("-created_at", "-pk")
    concealed = ("report", "share_basis_points")
    computed = ("share", "picture")

    @admin.display(description="Share", ordering="share_basis_points")
    def share(self, row: FileXRay) -> str:
        return f"{row.share_basis_points / 100:.2f} %"

    @admin.display(description="Where")
    def picture(self, row: FileXRay) -> Any:
        return xray_picture(XRay.from_dict(row.report))


@admin.register(Fitment, site=site)
class FitmentAdmin(ReadOnlyAdmin):
    icon, rank = "rule", 40
    list_display = ("make_name", "model_name", "year_from", "year_to", "markets", "hardware_numbers", "live", "of_tune")
    list_filter = ("live",)
    list_select_related = ("tune",)
    search_fields = ("make_name", "model_name", "tune__title")
    ordering = ("-pk",)

    @admin.display(description="Tune")
    def of_tune(self, row: Fitment) -> Any:
        return link_to(row.tune, row.tune.title)


@admin.register(Favorite, site=site)
class FavoriteAdmin(ReadOnlyAdmin):
    icon, rank = "favorite", 90
    list_display = ("created_at", "of_tune", "person")
    list_select_related = ("tune", "user")
    search_fields = ("tune__title",)
    ordering = ("-created_at", "-pk")

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).defer("tune__description")

    @admin.display(description="Tune")
    def of_tune(self, row: Favorite) -> Any:
        return link_to(row.tune, row.tune.title)

    @admin.display(description="Person")
    def person(self, row: Favorite) -> Any:
        return link_to(row.user, row.user.display_name)


site.add_queue(
    Queue(
        title="Versions in review",
        model=TuneVersion,
        filters={"status": VersionStatus.IN_REVIEW.value},
        icon="rate_review",
        hint="Inspected, and waiting for a person.",
        rank=15,
    )
)
site.add_queue(
    Queue(
        title="Versions on hold",
        model=TuneVersion,
        filters={"status": VersionStatus.ON_HOLD.value},
        icon="pause_circle",
        hint="Stopped for the moment: release or recall them.",
        rank=5,
    )
)
