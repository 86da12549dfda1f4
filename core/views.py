"""The base view. Everything that its row of the endpoint table declares is enforced here, before the method runs."""

import hashlib
import uuid
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.db import transaction
from django.db.models import QuerySet
from rest_framework import exceptions as drf
from rest_framework import serializers
from rest_framework.response import Response
from rest_framework.views import APIView

from core import clock, idempotency, limits
from core.endpoints import Endpoint
from core.exceptions import IdempotencyKeyRequired, InvalidInput, ReauthenticationRequired, UnknownField
from core.pagination import Ordering, paginate
from core.peer import limit_key, peer_address
from core.problems import limit_headers


@cache
def _reader(query: type[serializers.Serializer]) -> serializers.Serializer:
    """A query's serializer, made once. Each that is made copies all of its fields, which costs as much as reading a page.

    Requests share it because validating changes nothing of it: `run_validation` returns or raises, and context is handed
    to validators and defaults, not kept by them. `is_valid()` would keep its findings: never call it on this one.
    """
    reader = query(context={"in_query": True})
    _ = reader.fields  # made now, not by the first two requests at once
    return reader


@cache
def _without_parameters(query: type[serializers.Serializer]) -> dict[str, Any]:
    """What a query makes of no parameters at all, which is how lists are asked most often: its defaults."""
    return _reader(query).run_validation({})


class ApiView(APIView):
    """A view of the endpoint table.

    `rows` are its endpoints by method. A method reads `self.body()` and `self.params()`, makes one domain call and
    answers; refusals are raised and become problems.

    Django and REST framework let view, request and answer hold each other. Here they do not: then they, and every row of the
    answer, are gone when it is sent, instead of waiting for the garbage collector, whose search took a tenth of a list's time.
    """

    rows: ClassVar[Mapping[str, Endpoint]] = {}
    reads_raw_body: ClassVar[bool] = False  # webhooks verify the bytes themselves
    format_kwarg = None
    metadata_class = None  # OPTIONS is the CORS middleware's affair
    http_method_names = ["get", "post", "put", "patch", "delete", "head"]

    def setup(self, request, *args, **kwargs):
        super().setup(request, *args, **kwargs)
        self._row = self.rows.get("GET" if request.method == "HEAD" else request.method)

    def head(self, request, *args, **kwargs):
        """As GET. Django would keep the method on the view, and so the view on itself."""
        return self.get(request, *args, **kwargs)

    @property
    def endpoint(self) -> Endpoint:
        """The row of the method that runs."""
        assert self._row is not None, "refused before anybody asks"
        return self._row

    @property
    def allowed_methods(self) -> list[str]:
        return [*self.rows, *(["HEAD"] if "GET" in self.rows else [])]

    def get_permissions(self):
        return [self.endpoint.access()]

    def initial(self, request, *args, **kwargs):
        """Negotiate, then method, credentials, access, limits, step-up: in this order."""
        self.at = clock.now()
        self._limit_headers: dict[str, str] = {}
        if self._row is None:
            raise drf.MethodNotAllowed(request.method)
        request.accepted_renderer, request.accepted_media_type = self.perform_content_negotiation(request)
        self.perform_authentication(request)
        self.check_permissions(request)
        self.check_limits(request)
        if self.endpoint.step_up and not request.auth.is_stepped_up(self.at):
            raise ReauthenticationRequired
        if self.endpoint.query is None:
            self._refuse_parameters()
        if self.endpoint.request is None and not self.reads_raw_body and request.method != "GET":
            self._refuse_members()

    def check_limits(self, request) -> None:
        """The approximate limit of every route and, where declared, the exact one of this."""
        key = f"u{request.user.pk}" if request.user is not None else f"p{limit_key(peer_address(request))}"
        standing = limits.hit_approximate("default", key)
        if self.endpoint.limit:
            standing = limits.hit(self.endpoint.limit, key, at=self.at)
        self._limit_headers = limit_headers(
            standing.name, standing.limit, standing.window_seconds, standing.remaining, standing.reset_seconds
        )

    def finalize_response(self, request, response, *args, **kwargs):
        response = super().finalize_response(request, response, *args, **kwargs)
        for name, value in getattr(self, "_limit_headers", {}).items():
            response.headers.setdefault(name, value)
        if isinstance(response, Response):
            response.render()
            response.renderer_context = None  # holds all three, as the next does
        request.parser_context.clear()
        row = self._row
        if response.status_code == 200 and row is not None and row.cache == "public" and request.user is None:
            self._make_cacheable(request, response)
        else:
            response.headers.setdefault("Cache-Control", "no-store")
        return response

    @staticmethod
    def _make_cacheable(request, response) -> None:
        """`ETag` over the rendered bytes; 304 when the client has them."""
        etag = '"' + hashlib.blake2b(response.content, digest_size=12).hexdigest() + '"'
        response.headers.setdefault("Cache-Control", "public, max-age=30")
        response["ETag"] = etag
        response["Vary"] = "Authorization"
        candidates = [part.strip().removeprefix("W/") for part in request.META.get("HTTP_IF_NONE_MATCH", "").split(",")]
        if etag in candidates or "*" in candidates:
            response.status_code = 304
            response.content = b""
            response.headers.pop("Content-Type", None)

    # What methods use

    def body(self) -> dict[str, Any]:
        """The validated body. Raises: ValidationError with a pointer for each thing that is wrong."""
        assert self.endpoint.request is not None, f"{self.endpoint.name} declares no request serializer"
        partial = self.request.method == "PATCH"
        serializer = self.endpoint.request(data=self.request.data, partial=partial)
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data

    def params(self) -> dict[str, Any]:
        """The validated query parameters; repeated and unknown ones are refused."""
        given = self.request.query_params
        for name in given:
            if len(given.getlist(name)) > 1:
                raise InvalidInput.parameter(name, "repeated", "This parameter is given more than once.")
            if "\0" in given[name]:
                raise InvalidInput.parameter(name, "invalid", "A NUL character is not allowed.")
        query = self.endpoint.query
        assert query is not None, f"{self.endpoint.name} declares no query serializer"
        try:
            return _reader(query).run_validation(given.dict()) if given else dict(_without_parameters(query))
        except drf.ValidationError as exc:
            exc.in_query = True
            raise

    def _refuse_parameters(self) -> None:
        for name in self.request.query_params:
            raise UnknownField.parameter(name[:100], "unknown_field", "This parameter is not known.")

    def _refuse_members(self) -> None:
        data = self.request.data
        if not isinstance(data, dict):
            raise InvalidInput.at("", "invalid", "This operation takes no body.")
        for name in data:
            raise UnknownField.at(f"/{str(name)[:100]}", "unknown_field", "This operation takes no body.")

    def revision(self) -> int | None:
        """The revision in `If-Match`, or None without the header. Raises: InvalidInput for anything but one strong tag."""
        header = self.request.headers.get("If-Match", "").strip()
        if header in {"", "*"}:
            return None
        digits = header[1:-1]
        if not (header[0] == header[-1] == '"' and digits.isascii() and digits.isdigit() and len(digits) < 10):
            raise InvalidInput('If-Match takes the revision in quotes, as in "3".')
        return int(digits)

    def page(
        self,
        queryset: QuerySet,
        ordering: Ordering,
        *,
        params: Mapping[str, Any] | None = None,
        extra: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        render: Callable[[Any], Any] | None = None,
    ) -> Response:
        """`{"next", "results"}` of one page, its rows by `render` or by the endpoint's response serializer."""
        params = self.params() if params is None else params
        page = paginate(
            queryset, ordering, cursor=params.get("cursor"), page_size=params["page_size"], bound_to=self.bound_to()
        )
        if render is not None:
            results = [render(row) for row in page.rows]
        else:
            results = self.endpoint.response(page.rows, many=True, context={"request": self.request, **(context or {})}).data
        return Response({"next": self.next_url(page.next_cursor), "results": results, **(extra or {})})

    def bound_to(self) -> str:
        """What a cursor of this list is bound to: path, caller where the list is private, and filters."""
        filters = sorted((name, value) for name, value in self.request.query_params.items() if name not in {"cursor", "page_size"})
        caller = self.request.user.pk if self.request.user is not None and self.endpoint.cache == "private" else ""
        return f"{self.request.path}|{caller}|{urlencode(filters)}"

    def next_url(self, cursor: str | None) -> str | None:
        """The absolute URL of the next page."""
        if cursor is None:
            return None
        query = {**self.request.query_params.dict(), "cursor": cursor}
        return self.request.build_absolute_uri(f"{self.request.path}?{urlencode(query)}")

    def create_once(
        self,
        act: Callable[[idempotency.Claim], Any],
        *,
        render: Callable[[Any], Any],
        find: Callable[[uuid.UUID], Any],
        atomic: bool = True,
        status: Callable[[Any], int] | None = None,
    ) -> Response:
        """Create with `Idempotency-Key`: `act(claim)` makes the resource, `find(id)` reads it again for a repeat.

        With `atomic`, effect and key are committed together here. A service that talks to the network in between gets
        the claim (`atomic=False`) and completes it in its own deciding transaction.
        """
        key = self._idempotency_key()
        endpoint = self.endpoint
        claim = idempotency.begin(
            actor_id=self.request.user.pk if self.request.user is not None else uuid.UUID(int=0),
            operation=endpoint.name,
            key=key,
            fingerprint=idempotency.fingerprint(self.request.path, self.request.data) if key else b"",
            at=self.at,
        )
        status_of = status or (lambda _resource: endpoint.status)
        if claim.replayed_resource_id is not None:
            resource = find(claim.replayed_resource_id)
            return Response(render(resource), status=status_of(resource), headers={"Idempotency-Replayed": "true"})
        try:
            if atomic:
                with transaction.atomic():
                    resource = act(claim)
                    claim.complete(resource.pk)
            else:
                resource = act(claim)
        except BaseException:
            claim.abandon()
            raise
        return Response(render(resource), status=status_of(resource))

    def _idempotency_key(self) -> str | None:
        key = self.request.headers.get("Idempotency-Key")
        if key is None:
            if self.endpoint.idempotency == "required":
                raise IdempotencyKeyRequired
            return None
        if not (1 <= len(key) <= 255 and key.isascii() and key.isprintable()):
            raise IdempotencyKeyRequired
        return key
