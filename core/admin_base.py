"""What every admin page is made of: rows that are read, and decisions that call a service with a reason.

Nothing here writes. A `Decision` shows a button on the row's page; its own page asks for the reason (and for whatever
else the service takes), calls the service, and shows a refusal as a message. No other way leads to a change.
"""

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from django import forms
from django.apps import apps
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import models
from django.db.models import Model, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from core import clock
from core.admin_site import RevSyncAdminSite, list_url, row_url
from core.card_numbers import contains_card_number
from core.exceptions import DomainError
from core.fields import EncryptedTextField

COUNTED_AT_MOST = 10_000
EMPTY: tuple[Any, ...] = (None, "", [], {})
HOUSEKEEPING = ("created_at", "updated_at", "revision", "id")


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One thing that staff may do to a row. `act(row, actor=, reason=, at=, **fields)` calls one service.

    `fields` are asked beside the reason; a function of the row where they depend on it. `applies` only hides the button:
    the service decides.
    """

    name: str
    label: str
    explanation: str
    act: Callable[..., object]
    applies: Callable[[Any], bool] = lambda _row: True
    fields: Mapping[str, forms.Field] | Callable[[Any], Mapping[str, forms.Field]] = field(default_factory=dict)
    danger: bool = False
    done: str = "Done."
    tells: Callable[[Any], str] | None = None  # what the service answered that staff must read now, after `done`
    reason_label: str = "Reason"
    reason_help: str = "Kept in the audit log."


@dataclass(frozen=True)
class Panel:
    """A table below the row's own fields: related rows, findings, files."""

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""


def chosen_from(choices: Iterable[tuple[str, str]]) -> forms.ChoiceField:
    """A field of a decision for which nothing is chosen beforehand: a default is a decision that nobody made."""
    return forms.ChoiceField(choices=[("", "Choose…"), *choices], widget=UnfoldAdminSelectWidget)


class BoundedPaginator(Paginator):
    """Counts to a bound and no further: staff narrow a list, they don't walk to its end."""

    @cached_property
    def count(self) -> int:
        """The rows, at most COUNTED_AT_MOST."""
        return self.object_list[:COUNTED_AT_MOST].count()


class ReasonForm(forms.Form):
    """The reason that every decision needs."""

    reason = forms.CharField(max_length=2000, widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}), label="Reason")

    def clean_reason(self) -> str:
        """Reasons are kept, and most of them are told to people."""
        reason: str = self.cleaned_data["reason"]
        if contains_card_number(reason):
            raise forms.ValidationError("This looks like the number of a payment card. Take it out.", code="card_number")
        return reason


class ReadOnlyAdmin(ModelAdmin):
    """Rows that staff read: nothing is added, changed or deleted here.

    Lists name their columns, filters and joined relations; detail pages show every column that has a value but those in
    `concealed` and any that is encrypted or binary. Columns in `linked` are shown as a link with the other row's name, read
    for a whole page at once. A search for an id finds the row by each of its id columns, through the indexes.
    """

    icon: ClassVar[str] = "table_rows"
    rank: ClassVar[int] = 50
    decisions: ClassVar[Sequence[Decision]] = ()
    concealed: ClassVar[Sequence[str]] = ()
    computed: ClassVar[Sequence[str]] = ()  # methods shown on the page, above the columns
    group: ClassVar[str] = ""  # the app under which the sidebar lists it; its own when empty
    plural: ClassVar[str] = ""  # the model's name in the sidebar, where its own does not read well
    panels_first: ClassVar[bool] = False  # for pages that are there to be decided on: what to look at comes first
    search_fields: ClassVar[Sequence[str]] = ("pk",)
    linked: ClassVar[Mapping[str, str]] = {}  # columns that hold the id of a row of another model, without a foreign key
    hash_lookups: ClassVar[Sequence[str]] = ()  # where a SHA-256 is looked for; the row's own columns when empty
    search_help_text: ClassVar[str | None] = "Any id of the row, or words."
    actions = None
    list_per_page = 50
    show_full_result_count = False
    paginator = BoundedPaginator
    list_filter_sheet = True
    compressed_fields = True
    change_form_outer_before_template = "revsync_admin/decisions.html"
    change_form_outer_after_template = "revsync_admin/panels.html"
    admin_site: RevSyncAdminSite

    # Rights: whoever may be here may read everything, and write nothing

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.admin_site.has_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.admin_site.has_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    # Reading

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._link_columns = {column: _link_column(self, column) for column in self.linked}

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        return [self._link_columns.get(name, name) for name in super().get_list_display(request)]

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changelist = super().get_changelist_instance(request)
        if self.linked:
            changelist.result_list = list(changelist.result_list)
            self.find_linked(changelist.result_list)
        return changelist

    def find_linked(self, rows: Sequence[Any]) -> None:
        """Hang on each row what its linked columns point to, by id. One query for each model."""
        ids: dict[str, set[Any]] = defaultdict(set)
        for column, label in self.linked.items():
            ids[label] |= {getattr(row, column) for row in rows} - {None}
        found = {label: apps.get_model(label)._default_manager.in_bulk(wanted) for label, wanted in ids.items()}
        for row in rows:
            row.linked_rows = {column: found[label].get(getattr(row, column)) for column, label in self.linked.items()}

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        """What the row has; columns without a value are left out, housekeeping comes last."""
        columns = self._readable_columns()
        if obj is not None:
            columns = [name for name in columns if getattr(obj, obj._meta.get_field(name).attname) not in EMPTY]
        last = [name for name in columns if name in HOUSEKEEPING]
        columns = [*(name for name in columns if name not in HOUSEKEEPING), *last]
        return [*self.computed, *(self._link_columns.get(name, name) for name in columns)]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        return self.get_fields(request, obj)

    def _readable_columns(self) -> list[str]:
        hidden = (EncryptedTextField, models.BinaryField)
        return [
            column.name
            for column in self.model._meta.concrete_fields
            if not isinstance(column, hidden) and column.name not in self.concealed
        ]

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        """By id or hash where the term is one, else by the search fields."""
        term = search_term.strip()
        try:
            wanted = uuid.UUID(term)
        except ValueError:
            wanted = None
        condition = Q()
        if wanted is not None:
            for column in self.model._meta.concrete_fields:
                target = column.target_field if isinstance(column, models.ForeignKey) else column
                if isinstance(target, models.UUIDField):
                    condition |= Q(**{column.attname: wanted})
        elif len(term) == 64:
            for lookup in self.hash_lookups or [column.name for column in self.model._meta.concrete_fields if _is_hash(column)]:
                condition |= Q(**{lookup: term.lower()})
        if condition:
            return queryset.filter(condition), False
        if list(self.search_fields) == ["pk"] and term:
            return queryset.none(), False
        return super().get_search_results(request, queryset, search_term)

    def panels(self, request: HttpRequest, row: Any) -> Iterable[Panel]:
        """The tables below a row's fields. Override it; escape what people wrote with `format_html`."""
        return ()

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        row = self.get_object(request, object_id) if request.method == "GET" else None
        context = dict(extra_context or {})
        if row is not None and self.has_view_permission(request, row):
            context["decisions"] = [
                {"decision": decision, "url": self._decision_url(row, decision)} for decision in self.decisions if decision.applies(row)
            ]
            context["panels"] = list(self.panels(request, row))
            context["panels_first"] = self.panels_first
        return super().change_view(request, object_id, form_url, context)

    # Deciding

    def get_urls(self) -> list:
        decide = path(
            "<uuid:object_id>/decide/<slug:name>/",
            self.admin_site.admin_view(self.decide_view),
            name=f"{self.model._meta.app_label}_{self.model._meta.model_name}_decide",
        )
        return [decide, *super().get_urls()] if self.decisions else super().get_urls()

    def _decision_url(self, row: Model, decision: Decision) -> str:
        name = f"admin:{self.model._meta.app_label}_{self.model._meta.model_name}_decide"
        return reverse(name, args=[row.pk, decision.name])

    def decide_view(self, request: HttpRequest, object_id: uuid.UUID, name: str) -> HttpResponse:
        """Ask for the reason, then call the service once. A refusal is shown and nothing has changed."""
        decision = next((known for known in self.decisions if known.name == name), None)
        row = self.get_queryset(request).filter(pk=object_id).first()
        if decision is None or row is None:
            raise Http404
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        form = self._decision_form(decision, row, request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            given = dict(form.cleaned_data)
            try:
                result = decision.act(row, actor=request.user, reason=given.pop("reason"), at=clock.now(), **given)
            except DomainError as refusal:
                details = "; ".join(error.detail for error in refusal.errors)
                messages.error(request, f"{refusal.detail} {details}".strip())
            else:
                messages.success(request, f"{decision.done} {decision.tells(result) if decision.tells else ''}".strip())
                return HttpResponseRedirect(row_url(row) if self.get_queryset(request).filter(pk=row.pk).exists() else self._list_url())
        context = {
            **self.admin_site.each_context(request),
            "opts": self.model._meta,
            "title": decision.label,
            "subtitle": str(row),
            "decision": decision,
            "row": row,
            "row_url": row_url(row),
            "list_url": self._list_url(),
            "form": form,
            "is_applicable": decision.applies(row),
        }
        return TemplateResponse(request, "revsync_admin/decide.html", context)

    @staticmethod
    def _decision_form(decision: Decision, row: Any, data: Any) -> forms.Form:
        fields = decision.fields(row) if callable(decision.fields) else decision.fields
        form = type("DecisionForm", (ReasonForm,), dict(fields))(data)
        form.fields["reason"].label, form.fields["reason"].help_text = decision.reason_label, decision.reason_help
        return form

    def _list_url(self) -> str:
        return reverse(f"admin:{self.model._meta.app_label}_{self.model._meta.model_name}_changelist")


def _is_hash(column: models.Field) -> bool:
    return isinstance(column, models.CharField) and column.name.endswith("sha256")


def link_to(row: Model | None, text: str | None = None) -> SafeString | str:
    """A link to a row's page, its text escaped; a dash for nothing."""
    return "–" if row is None else format_html('<a class="revsync-link" href="{}">{}</a>', row_url(row), text or str(row))


def short_hash(value: str) -> SafeString:
    """The first twelve signs of a hash, whole as a tooltip."""
    return format_html('<code title="{}">{}…</code>', value, value[:12])


def mark(text: str, kind: str = "neutral") -> SafeString:
    """A coloured label: `good`, `bad`, `warn` or `neutral`."""
    return format_html('<span class="revsync-mark revsync-mark-{}">{}</span>', kind, text)


def size(number: int | None) -> str:
    """Bytes as people read them."""
    if number is None:
        return "–"
    return f"{number / 1024 / 1024:.1f} MiB" if number >= 1024 * 1024 else f"{number / 1024:.1f} KiB" if number >= 1024 else f"{number} B"


def links_about(row: Model, site: RevSyncAdminSite) -> SafeString:
    """Where else the admin has rows that name this one: links to the lists, searched by its id."""
    found = {}
    for admin in site._registry.values():
        pointers = [column for column in admin.model._meta.concrete_fields if isinstance(column, models.ForeignKey)]
        if any(column.related_model is type(row) for column in pointers) or row._meta.label in admin.linked.values():
            found[capfirst(admin.plural or admin.model._meta.verbose_name_plural)] = f"{list_url(admin.model)}?q={row.pk}"
    return format_html_join(SafeString(" · "), '<a class="revsync-link" href="{1}">{0}</a>', sorted(found.items()))


def _link_column(admin: ReadOnlyAdmin, column: str) -> Callable[[Any], SafeString | str]:
    """What stands in a list or on a page for a column that holds another row's id."""

    def show(row: Any) -> SafeString | str:
        if not hasattr(row, "linked_rows"):
            admin.find_linked([row])
        other, wanted = row.linked_rows[column], getattr(row, column)
        if other is None:
            return "–" if wanted is None else str(wanted)
        return link_to(other)

    show.__name__ = column.removesuffix("_id")
    show.short_description = show.__name__.replace("_", " ").capitalize()  # type: ignore[attr-defined]
    return show
