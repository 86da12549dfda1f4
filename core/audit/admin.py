"""The audit log for staff: found by act, actor, subject and session; read and never changed; how far it is sealed."""

import uuid
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.contrib.filters.admin import TextFilter

from core import clock
from core.admin_base import ReadOnlyAdmin, mark, short_hash
from core.admin_site import site
from core.audit.acts import list_acts
from core.audit.sealing import find_last_seal, get_chain_state, last_place
from core.models import AuditEvent, AuditHeadCopy, AuditSeal


class ActFilter(admin.SimpleListFilter):
    """One act of those that the log has."""

    title = parameter_name = "act"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(act, act) for act in list_acts()]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(act=self.value()) if self.value() else queryset


class _IdFilter(TextFilter):
    """Rows whose column has that id; what is no id finds nothing."""

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        given = (self.value() or "").strip()
        if not given:
            return queryset
        try:
            return queryset.filter(**{self.parameter_name: uuid.UUID(given)})
        except ValueError:
            return queryset.none()


class ActorFilter(_IdFilter):
    title, parameter_name = "actor's id", "actor_id"


class SubjectFilter(_IdFilter):
    title, parameter_name = "subject's id", "subject_id"


class SessionFilter(_IdFilter):
    title, parameter_name = "session's id", "session_id"


@admin.register(AuditEvent, site=site)
class AuditEventAdmin(ReadOnlyAdmin):
    icon, rank = "history", 10
    list_display = ("at", "act", "actor_id", "subject_id", "session_id", "reason")
    linked = {"actor_id": settings.AUTH_USER_MODEL}
    list_filter = (ActFilter, ActorFilter, SubjectFilter, SessionFilter)
    search_fields = ("act", "reason")
    search_help_text = "An actor's, subject's or session's id, an act, or words of a reason."
    list_before_template = "revsync_admin/audit_chain.html"
    computed = ("sealed",)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"chain": get_chain_state(), **(extra_context or {})})

    @admin.display(description="Sealed")
    def sealed(self, event: AuditEvent) -> Any:
        is_sealed = (event.position, event.pk) <= last_place(find_last_seal())
        return mark("Yes", "good") if is_sealed else mark("Not yet", "warn")


@admin.register(AuditSeal, site=site)
class AuditSealAdmin(ReadOnlyAdmin):
    icon, rank = "link", 11
    list_display = ("number", "sealed_at", "row_count", "shortened")
    ordering = ("-number",)
    search_help_text = None
    computed = ("whole_hash", "whole_previous_hash")

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).defer("entries")

    @admin.display(description="Hash")
    def shortened(self, seal: AuditSeal) -> Any:
        return short_hash(bytes(seal.hash).hex())

    @admin.display(description="Hash")
    def whole_hash(self, seal: AuditSeal) -> str:
        return bytes(seal.hash).hex()

    @admin.display(description="Hash of the one before")
    def whole_previous_hash(self, seal: AuditSeal) -> str:
        return bytes(seal.previous_hash).hex()


@admin.register(AuditHeadCopy, site=site)
class AuditHeadCopyAdmin(ReadOnlyAdmin):
    icon, rank = "content_copy", 12
    list_display = ("copied_at", "first_number", "last_number", "shortened")
    ordering = ("-last_number",)
    search_help_text = None

    @admin.display(description="Hash")
    def shortened(self, copy: AuditHeadCopy) -> Any:
        return short_hash(bytes(copy.hash).hex())


def _chain_stands_still() -> str | None:
    complaints = get_chain_state().complaints(at=clock.now())
    return "; ".join(f"{what}: {remedy}" for what, remedy in complaints) or None


site.add_warning(_chain_stands_still)
