"""The admin site: who gets in, what the first page shows, how the sidebar is built.

Each app registers its models and its queues on `site` in its own `admin.py`; `admin_urls()` loads them. Getting in takes
e-mail, password and a code of the second factor: the form is named in settings, because accounts live above this app.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.apps import apps
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, reverse
from django.utils.module_loading import autodiscover_modules
from django.utils.text import capfirst
from unfold.sites import UnfoldAdminSite

from core import admin_session

COUNTED_AT_MOST = 1_000
APP_ORDER = ("marketplace", "tuners", "garage", "users", "core")
DROPPED_URLS = frozenset({"password_change", "password_change_done", "view_on_site"})


@dataclass(frozen=True, kw_only=True)
class Queue:
    """Work that waits for staff: a card of the first page. `filters` name what waits, as columns and their values."""

    title: str
    model: type[Model]
    icon: str
    hint: str
    filters: Mapping[str, str] = field(default_factory=dict)
    rank: int = 50

    def count(self) -> int:
        """How many wait, at most one more than is worth telling apart."""
        return self.model._default_manager.filter(**self.filters)[: COUNTED_AT_MOST + 1].count()

    def url(self) -> str:
        """The list, narrowed to what waits."""
        query = urlencode({f"{column}__exact": value for column, value in self.filters.items()})
        return f"{list_url(self.model)}?{query}" if query else list_url(self.model)


def list_url(model: type[Model]) -> str:
    """The list of a model."""
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def row_url(row: Model) -> str:
    """The page of a row."""
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


class RevSyncAdminSite(UnfoldAdminSite):
    """The one admin site. Admins only, with their second factor on; nobody's password is changed here."""

    site_header = site_title = "RevSync"
    index_title = "What waits"
    login_template = "revsync_admin/login.html"
    index_template = "revsync_admin/index.html"
    enable_nav_sidebar = True
    final_catch_all_view = True

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        self._queues: list[Queue] = []
        self._warnings: list[Callable[[], str | None]] = []

    def add_queue(self, queue: Queue) -> None:
        """Put a card on the first page."""
        self._queues.append(queue)

    def add_warning(self, find: Callable[[], str | None]) -> None:
        """Put a sentence on the first page while `find` answers one."""
        self._warnings.append(find)

    def queues(self) -> list[Queue]:
        """All cards, the most urgent first."""
        return sorted(self._queues, key=lambda queue: (queue.rank, queue.title))

    def has_permission(self, request: HttpRequest) -> bool:
        """Asked on every request, of the row as it is now: a role taken away bites at once."""
        user = request.user
        return bool(user.is_authenticated and user.is_active and user.is_staff and user.mfa_enabled and not user.is_blocked)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        return [url for url in super().get_urls() if getattr(url, "name", None) not in DROPPED_URLS]

    def admin_view(self, view: Callable[..., HttpResponse], cacheable: bool = False) -> Callable[..., HttpResponse]:
        """Every page but the sign-in; what it does is audited as done from this sign-in's cookie."""
        checked = super().admin_view(view, cacheable)

        @wraps(view)
        def from_session(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if self.has_permission(request):
                admin_session.act_from_cookie(request)
            return checked(request, *args, **kwargs)

        return from_session

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Refused log-ins are told by their status as well: 403, or 429 with `Retry-After`."""
        response = super().login(request, extra_context)
        form = getattr(response, "context_data", {}).get("form") if isinstance(response, TemplateResponse) else None
        if form is not None and form.is_bound and form.errors:
            retry_after = getattr(form, "retry_after_seconds", None)
            response.status_code = 403 if retry_after is None else 429
            if retry_after is not None:
                response["Retry-After"] = str(retry_after)
        return response

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """The cards, and what is wrong."""
        cards = []
        for queue in self.queues():
            count = queue.count()
            shown = f"{COUNTED_AT_MOST}+" if count > COUNTED_AT_MOST else str(count)
            cards.append({"queue": queue, "is_waiting": count > 0, "count": shown, "url": queue.url()})
        warnings = [sentence for find in self._warnings if (sentence := find())]
        return super().index(request, {"cards": cards, "warnings": warnings, **(extra_context or {})})

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        return {**super().each_context(request), "environment": self._environment()}

    @staticmethod
    def _environment() -> list[str] | None:
        return None if settings.IS_PRODUCTION else [settings.ENVIRONMENT.capitalize(), "warning"]

    def get_sidebar_list(self, request: HttpRequest) -> list[dict[str, Any]]:
        """The queues, then every registered model by app, in the order of its admin's `rank`."""
        groups = [
            {"title": None, "items": [self._item(request, "Overview", reverse("admin:index"), "dashboard", exact=True)]},
            {
                "title": "Queues",
                "separator": True,
                "items": [self._item(request, queue.title, queue.url(), queue.icon, exact=True) for queue in self.queues()],
            },
        ]
        by_group: dict[str, list[Any]] = {}
        for admin in self._registry.values():
            by_group.setdefault(admin.group or admin.model._meta.app_label, []).append(admin)
        for label in sorted(by_group, key=APP_ORDER.index):
            items = [self._item(request, _title(admin), list_url(admin.model), admin.icon) for admin in sorted(by_group[label], key=_rank)]
            groups.append({"title": apps.get_app_config(label).verbose_name, "separator": True, "collapsible": True, "items": items})
        return groups

    @staticmethod
    def _item(request: HttpRequest, title: str, link: str, icon: str, *, exact: bool = False) -> dict[str, Any]:
        here = request.get_full_path() if "?" in link else request.path
        active = here == link if exact else here.startswith(link)
        return {"title": title, "link": link, "icon": icon, "active": active, "has_permission": True}

    def app_index(self, request: HttpRequest, app_label: str, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Pages of one app alone say nothing that the sidebar does not."""
        raise PermissionDenied


def _title(admin: Any) -> str:
    return admin.plural or capfirst(admin.model._meta.verbose_name_plural)


def _rank(admin: Any) -> tuple[int, str]:
    return (getattr(admin, "rank", 50), str(admin.model._meta.verbose_name_plural))


site: RevSyncAdminSite = RevSyncAdminSite()


def admin_urls() -> tuple[Any, str, str]:
    """What `urls.py` mounts, with every app's admin loaded."""
    autodiscover_modules("admin", register_to=site)
    return site.urls


__all__ = ["Queue", "RevSyncAdminSite", "admin_urls", "list_url", "row_url", "site"]
