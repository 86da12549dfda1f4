"""The OpenAPI schema, made from the endpoint table.

Examples are what the API really answered: rows bring some, the rest was recorded by `tools/record_examples.py`.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from drf_spectacular.generators import EndpointEnumerator, SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import get_lib_doc_excludes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, inline_serializer
from rest_framework import serializers

from core import problems
from core.endpoints import Endpoint
from core.exceptions import DomainError
from core.permissions import Public
from core.problems import problem_type
from core.serializers import Input, Output, PageQuery, UtcDateTimeField

RECORDED = Path(__file__).with_name("examples.json")
EXAMPLE_HOST = "https://revsync.example"
# What any operation can answer, beyond its own codes.
UNIVERSAL = ("bad_request", "not_acceptable", "rate_limited", "internal_error", "service_unavailable")
WITH_BODY = ("invalid_input", "unknown_field", "malformed_body", "body_too_large", "unsupported_media_type")


def codes_of(endpoint: Endpoint) -> list[str]:
    """Every problem code that an operation can answer: its own and what its row implies."""
    codes = [*endpoint.problems, *UNIVERSAL, "unknown_field"]
    if endpoint.method != "GET" and not endpoint.view.reads_raw_body:
        codes += WITH_BODY
    if endpoint.query is not None:
        codes.append("invalid_input")
    if endpoint.view.authentication_classes:
        codes.append("token_invalid")
    if endpoint.access is not Public:
        codes.append("not_authenticated")
        if endpoint.access.__name__ != "AuthenticatedEvenIfBlocked":
            codes.append("account_blocked")
        if endpoint.access.__name__ not in {"Authenticated", "AuthenticatedEvenIfBlocked"}:
            codes.append("permission_denied")
        if endpoint.access.__name__ == "ActiveTuner":
            codes.append("tuner_suspended")
    if "<" in endpoint.path:
        codes.append("not_found")
    if endpoint.step_up:
        codes.append("reauthentication_required")
    if endpoint.revisioned:
        codes.append("stale_revision")
    if endpoint.idempotency:
        codes += ["idempotency_key_reused", "idempotency_in_progress", "idempotency_key_required"]
    return sorted(set(codes))


@cache
def _recorded() -> dict[str, dict[str, Any]]:
    return json.loads(RECORDED.read_text(encoding="utf-8"))


def examples_of(endpoint: Endpoint) -> list[OpenApiExample]:
    """What was recorded of an operation: a request, and its answer unless it is empty."""
    recorded, examples = _recorded().get(endpoint.name, {}), []
    if "request" in recorded:
        examples.append(OpenApiExample("Request", value=recorded["request"], request_only=True))
    if "response" in recorded:
        status = str(recorded["status"])
        examples.append(OpenApiExample("Answer", value=recorded["response"], response_only=True, status_codes=[status, "200"]))
    return examples


def doc_excludes() -> list[type]:
    """Classes whose docstring is about the code, not about what a client sends or gets: no component inherits it."""
    return [*get_lib_doc_excludes(), Input, Output, PageQuery]


_pages: dict[str, Any] = {}  # one component for each item, however many lists have it


class EndpointSchema(AutoSchema):
    """Reads the row of the endpoint table; views carry no schema decorations."""

    @property
    def endpoint(self) -> Endpoint:
        return self.view.rows[self.method]

    def get_operation(self, path, path_regex, path_prefix, method, registry):
        self.method = method
        if method not in getattr(self.view, "rows", {}):
            return None
        return super().get_operation(path, path_regex, path_prefix, method, registry)

    def get_operation_id(self) -> str:
        return self.endpoint.name

    def get_summary(self) -> str:
        return self.endpoint.summary

    def get_description(self) -> str:
        text = self.endpoint.description or self._method_doc()
        endpoint, facts = self.endpoint, []
        if endpoint.scope:
            facts.append(f"**Whose:** {endpoint.scope.replace('_', ' ')}; somebody else's answers like a missing one.")
        if endpoint.step_up:
            facts.append("**Step-up:** `POST auth/step-up/` on this session within the last 5 minutes.")
        if endpoint.problems:
            facts.append("**Refusals of its own:** " + ", ".join(f"`{code}`" for code in endpoint.problems) + ".")
        return "\n\n".join([text, *facts])

    def _method_doc(self) -> str:
        doc = getattr(self.view, self.method.lower()).__doc__ or self.endpoint.summary + "."
        return "\n".join(line.strip() for line in doc.strip().splitlines())

    def get_tags(self) -> list[str]:
        return [self.endpoint.tag]

    def get_examples(self):
        return list(self.endpoint.examples) or examples_of(self.endpoint)

    def get_auth(self):
        return [{"session": []}, {}] if self.endpoint.access is Public else [{"session": []}]

    def get_filter_backends(self):
        return []

    def _resolve_path_parameters(self, variables: list[str]) -> list[dict[str, Any]]:
        parameters = super()._resolve_path_parameters(variables)
        for parameter in parameters:
            what = "Id" if parameter["schema"].get("format") == "uuid" else "Number"
            parameter.setdefault("description", f"{what} of the {self._thing(parameter['name'])}.")
        return parameters

    def _thing(self, name: str) -> str:
        """What a path's variable names: `stock_file` a stock file, a bare number the segment before it (`root`)."""
        segments = self.path.strip("/").split("/")
        return segments[segments.index("{number}") - 1] if name == "number" else name.replace("_", " ")

    def _map_serializer_field(self, field, direction, bypass_extensions=False):
        """The bounds of a list of objects, which the generator leaves out."""
        schema = super()._map_serializer_field(field, direction, bypass_extensions)
        if isinstance(field, serializers.ListSerializer) and direction == "request":
            bounds = {"minItems": field.min_length or (0 if field.allow_empty else 1), "maxItems": field.max_length}
            schema |= {name: bound for name, bound in bounds.items() if bound}
        return schema

    def get_request_serializer(self) -> Any:
        return self.endpoint.request

    def get_override_parameters(self) -> list:
        endpoint, parameters = self.endpoint, []
        if endpoint.query is not None:
            parameters.append(endpoint.query)
        if endpoint.idempotency:
            parameters.append(
                OpenApiParameter(
                    "Idempotency-Key",
                    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]*$"},
                    OpenApiParameter.HEADER,
                    required=endpoint.idempotency == "required",
                    description="1 to 255 printable characters. The same key and body within 24 h find what the first request made.",
                )
            )
        if endpoint.revisioned:
            parameters.append(
                OpenApiParameter(
                    "If-Match",
                    {"type": "string", "pattern": r'^(\*|"[0-9]{1,9}")?$'},
                    OpenApiParameter.HEADER,
                    description='The `revision` you edited, in quotes: `"3"`.',
                )
            )
        return parameters

    def get_response_serializers(self) -> Any:
        endpoint = self.endpoint
        responses: dict[Any, Any] = {endpoint.status: self._success(endpoint.status)}
        if endpoint.repeat_status or "id_taken" in endpoint.problems:
            responses[200] = self._success(200, "It was there already.")
        if endpoint.cache == "public":
            responses[304] = OpenApiResponse(description="Not modified.")
        by_status: dict[int, list[str]] = {}
        for code in codes_of(endpoint):
            by_status.setdefault(problem_type(code).status, []).append(code)
        for status, codes in sorted(by_status.items()):
            responses[(status, "application/problem+json")] = OpenApiResponse(
                ProblemOutput, description="Problem: " + ", ".join(f"`{code}`" for code in codes) + "."
            )
        return responses

    def _success(self, status: int, description: str = "") -> Any:
        endpoint, description = self.endpoint, description or {201: "Made.", 202: "Taken; the work goes on."}.get(status, "Done.")
        if endpoint.response is None:
            return OpenApiResponse(description="Done; nothing to say.")
        return OpenApiResponse(self._page() if endpoint.paginated else endpoint.response, description=description)

    def _page(self) -> Any:
        endpoint = self.endpoint
        fields: dict[str, Any] = {
            "next": serializers.URLField(allow_null=True, help_text="The next page; null at the end."),
            "results": endpoint.response(many=True),
        }
        if endpoint.synced:
            fields["synced_until"] = UtcDateTimeField(help_text="Send it as `updated_since` next time.")
        name = f"{endpoint.response.__name__.removesuffix('Output')}{'Synced' if endpoint.synced else ''}Page"
        if name not in _pages:
            _pages[name] = inline_serializer(name, fields)
        return _pages[name]


class RowEnumerator(EndpointEnumerator):
    """Takes a path's methods from its rows, and paths in the order of the table, whatever the order of the urls."""

    def get_api_endpoints(self, patterns=None, prefix=""):
        return sorted(super().get_api_endpoints(patterns, prefix), key=lambda endpoint: endpoint[3].place)

    def get_allowed_methods(self, callback):
        return list(callback.initkwargs.get("rows", {}))


class RowSchemaGenerator(SchemaGenerator):
    """drf-spectacular's generator over the endpoint table."""

    endpoint_inspector_cls = RowEnumerator


class FieldErrorOutput(serializers.Serializer):
    pointer = serializers.CharField(required=False, help_text="JSON pointer into the body.")
    parameter = serializers.CharField(required=False, help_text="The query parameter.")
    code = serializers.CharField()
    detail = serializers.CharField()


class ProblemOutput(serializers.Serializer):
    """RFC 9457. Codes may bring members of their own."""

    type = serializers.URLField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    instance = serializers.CharField()
    code = serializers.CharField(help_text="Stable; treat one that you do not know by its status.")
    request_id = serializers.CharField()
    errors = FieldErrorOutput(many=True, required=False)


def _messages(kind: type[DomainError] = DomainError) -> Iterator[tuple[str, str]]:
    for child in kind.__subclasses__():
        yield child.code, child.message
        yield from _messages(child)


def problem_examples(result: dict, generator, request, public) -> dict:
    """Give each refusal of each operation the body that its code comes with."""
    details: dict[str, str] = {}
    for code, message in _messages():
        details.setdefault(code, message)
    shown = result["components"].setdefault("examples", {})
    for row in problems.problem_types():
        body = problems.problem_body(
            row.code, detail=details.get(row.code) or f"{row.title}.", instance="/api/v1/…", request_id="01a204a96d01715c885eb9cda948ecf9"
        )
        errors = {
            "invalid_input": {"pointer": "/year", "code": "min_value", "detail": "Ensure this value is greater than or equal to 1885."},
            "unknown_field": {"pointer": "/colour", "code": "unknown_field", "detail": "This field is not known or can't be written."},
        }
        if row.code in errors:
            body["errors"] = [errors[row.code]]
        shown[f"problem_{row.code}"] = {"summary": row.title, "value": {**body, "type": f"{EXAMPLE_HOST}/problems/{row.code}"}}
    shared: dict[str, Any] = {}
    for responses in _responses(result):
        for status, response in responses.items():
            content = response.get("content", {}).get(problems.CONTENT_TYPE)
            if content is None:
                continue
            codes = re.findall(r"`([a-z_]+)`", response["description"])
            content["examples"] = {code: {"$ref": f"#/components/examples/problem_{code}"} for code in codes}
            if len(codes) == 1:  # the same everywhere
                name = "".join(word.capitalize() for word in codes[0].split("_"))
                shared[name] = response
                responses[status] = {"$ref": f"#/components/responses/{name}"}
    result["components"]["responses"] = dict(sorted(shared.items()))
    used = set(re.findall(r"problem_[a-z_]+", json.dumps([result["paths"], shared])))
    result["components"]["examples"] = {name: example for name, example in shown.items() if name in used}
    return result


def _responses(result: dict) -> Iterator[dict[str, Any]]:
    for methods in result["paths"].values():
        for operation in methods.values():
            if isinstance(operation, dict) and "responses" in operation:
                yield operation["responses"]


def _component_name(name: str) -> str:
    """`VehicleOutput` → `Vehicle`, `PatchedVehicleChangesInputRequest` → `VehiclePatch`."""
    name = name.removesuffix("Request") if name.endswith("InputRequest") else name
    patch = re.fullmatch(r"Patched(\w+?)(?:Changes|Change|Edit|Patch)?Input", name)
    return f"{patch[1]}Patch" if patch else re.sub(r"Output(?=$|[A-Z]\w*Enum$)", "", name)


def tidy_components(result: dict, generator, request, public) -> dict:
    """Name components after the thing, not after its serializer."""
    renames = {}
    schemas = result.get("components", {}).get("schemas", {})
    for name in list(schemas):
        short = _component_name(name)
        if short != name and short not in schemas and short not in renames.values():
            renames[name] = short
    result["components"]["schemas"] = dict(sorted((renames.get(name, name), schema) for name, schema in schemas.items()))
    for name, schema in result["components"]["schemas"].items():
        if name.endswith(("Input", "Patch")):  # `core.serializers.Input` refuses what it does not know
            schema["additionalProperties"] = False
    prefix = "#/components/schemas/"

    def walk(node):
        if isinstance(node, dict):
            reference = node.get("$ref")
            if isinstance(reference, str) and reference.removeprefix(prefix) in renames:
                node["$ref"] = prefix + renames[reference.removeprefix(prefix)]
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(result)
    return result
