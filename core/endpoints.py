"""The endpoint table: urls, access, limits, idempotency, caching, step-up and the OpenAPI schema come from its rows."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from django.urls import URLPattern, URLResolver, include, path

# Whose object an operation is about. Somebody else's answers like a missing one, but where the words say otherwise.
SCOPES = {
    "owner": "what is the caller's own",
    "buyer": "what the caller bought",
    "tuner_of": "what the caller sells",
    "party": "what the caller bought or sells",
    "holder_of_code": "whoever has the code that its owner was shown once",
}


@dataclass(frozen=True, kw_only=True)
class _Options:
    access: type  # a class of core.permissions: who may call at all
    scope: str = ""  # whose object: one of SCOPES, or everybody's
    request: type | None = None  # Input serializer of the body
    response: Any = None  # Output serializer; with `paginated` that of one item; None is an empty answer
    status: int = 200
    repeat_status: int = 0  # of an answer that found what an earlier call made; client-made ids imply 200
    query: type | None = None  # Query serializer of the parameters
    paginated: bool = False
    synced: bool = False  # the list adds `synced_until` (offline clients)
    problems: tuple[str, ...] = ()  # codes beyond those that every endpoint can answer
    limit: str | None = None  # a name in settings.LIMITS, counted per account, or per peer when anonymous
    idempotency: str = ""  # "", "honoured" or "required"
    revisioned: bool = False  # honours If-Match
    cache: str = "private"  # "private": no-store; "public": ETag and max-age=30 for anonymous reads
    step_up: bool = False
    audit: str = ""  # the act that a success leaves in the audit log
    description: str = ""  # the view's method docstring when empty
    examples: tuple = ()  # drf_spectacular OpenApiExample
    tags: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class _Route:
    method: str
    path: str  # a Django route below /api/v1/
    view: type
    name: str  # the operation id, snake_case, verb first
    summary: str


@dataclass(frozen=True)
class Endpoint(_Options, _Route):
    """One operation of the API.

    `Endpoint("GET", "garage/vehicles/", views.VehicleListView, "list_vehicles", "List my vehicles", access=Authenticated)`
    """

    @property
    def tag(self) -> str:
        return self.tags[0] if self.tags else self.path.split("/", 1)[0]


FEW = 3  # routes that are compared one by one: another step costs as much


def urlpatterns_of(endpoints: Iterable[Endpoint]) -> list[URLPattern | URLResolver]:
    """One url for each path of the table. The view gets its rows by method, and its `place` in the table for the documentation."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    names: set[str] = set()
    for endpoint in endpoints:
        rows = by_path.setdefault(endpoint.path, {})
        if endpoint.method in rows or endpoint.name in names:
            raise ValueError(f"Endpoint {endpoint.method} {endpoint.path} ({endpoint.name}) is declared twice")
        if not hasattr(endpoint.view, endpoint.method.lower()):
            raise ValueError(f"{endpoint.view.__name__} has no method for {endpoint.method} {endpoint.path}")
        rows[endpoint.method] = endpoint
        names.add(endpoint.name)
    targets: dict[str, tuple[Callable, str]] = {}
    segments = list(dict.fromkeys(route.split("/", 1)[0] for route in by_path))
    for route, rows in by_path.items():
        view = _view_of(route, rows).as_view(rows=rows)
        view.place = segments.index(route.split("/", 1)[0]), len(targets)
        targets[route] = view, next(iter(rows.values())).name
    return _grouped(targets)


def _grouped(targets: dict[str, tuple[Callable, str]]) -> list[URLPattern | URLResolver]:
    """Urls grouped by their first segment, large groups by their next one again: a path is compared with a few prefixes at
    each step, not with every route there is. The largest group comes first, segments that are variables come last.
    """
    groups: dict[str, dict[str, tuple[Callable, str]]] = {}
    for route, target in targets.items():
        segment, slash, rest = route.partition("/")
        groups.setdefault(segment + slash, {})[rest] = target
    urls: list[URLPattern | URLResolver] = []
    for prefix, group in sorted(groups.items(), key=lambda item: ("<" in item[0], item[0] != "", -len(item[1]))):
        if prefix and len(group) > FEW:
            urls.append(path(prefix, include(_grouped(group))))
        else:
            urls += [path(prefix + rest, view, name=name) for rest, (view, name) in group.items()]
    return urls


def _view_of(route: str, rows: dict[str, Endpoint]) -> type:
    """The view of a path. Two apps may share one, each with its own methods (reading a tuner's reviews, posting one)."""
    views = list(dict.fromkeys(endpoint.view for endpoint in rows.values()))
    if len(views) == 1:
        return views[0]
    shared = type("And".join(view.__name__ for view in views), tuple(views), {})
    for endpoint in rows.values():
        method = endpoint.method.lower()
        if getattr(shared, method) is not getattr(endpoint.view, method):
            raise ValueError(f"{endpoint.method} {route} is served by several views: {views}")
    return shared
