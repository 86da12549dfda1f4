"""The documentation says what the code does: the committed schema and pages are current, and every operation is explained."""

from pathlib import Path

import pytest
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiYamlRenderer
from drf_spectacular.settings import spectacular_settings

from core.problems import problem_types
from core.schema import codes_of
from revsync_backend import reference
from revsync_backend.openapi_shapes import PROBLEM_MEMBERS
from revsync_backend.urls import all_endpoints

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def schema() -> dict:
    GENERATOR_STATS.reset()
    generator: SchemaGenerator = spectacular_settings.DEFAULT_GENERATOR_CLASS()
    return generator.get_schema(request=None, public=True)


@pytest.fixture(scope="module")
def operations(schema) -> dict[str, dict]:
    return {operation["operationId"]: operation for methods in schema["paths"].values() for operation in methods.values()}


@pytest.fixture(scope="module")
def paths(schema) -> dict[str, str]:
    return {operation["operationId"]: path for path, methods in schema["paths"].items() for operation in methods.values()}


def test_the_schema_is_made_without_a_warning(schema):
    assert not GENERATOR_STATS, f"{GENERATOR_STATS._warn_cache} {GENERATOR_STATS._error_cache}"


def test_the_committed_schema_is_what_the_code_generates(schema):
    committed = (ROOT / "openapi.yaml").read_bytes()
    assert OpenApiYamlRenderer().render(schema, renderer_context={}) == committed, "run `make openapi` and commit openapi.yaml"


@pytest.mark.parametrize("name", ["problems", "endpoints"])
def test_the_committed_reference_pages_are_what_the_code_says(name):
    page = getattr(reference, f"{name}_page")(all_endpoints())
    assert (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") == page, "run `make openapi` and commit docs/"


def test_every_row_of_the_table_is_an_operation_and_the_reverse(operations):
    assert sorted(operations) == sorted(row.name for row in all_endpoints())


def test_every_operation_has_a_summary_a_description_a_section_and_its_auth(operations, schema):
    assert schema["components"]["securitySchemes"]["session"]["scheme"] == "bearer"
    sections = {tag["name"] for tag in schema["tags"] if tag["description"]}
    for name, operation in operations.items():
        assert operation["summary"], name
        assert len(operation["description"]) > 10, name
        assert set(operation["tags"]) <= sections, name
        assert {"session": []} in operation["security"], name


def test_every_parameter_says_what_it_is(operations):
    mute = [
        f"{name}: {parameter['name']}"
        for name, operation in operations.items()
        for parameter in operation.get("parameters", [])
        if not parameter.get("description") and "enum" not in parameter["schema"] and "$ref" not in parameter["schema"]
    ]
    assert mute == []


def test_every_answer_and_every_body_has_an_example(operations):
    for name, operation in operations.items():
        success = {status: answer for status, answer in operation["responses"].items() if status.startswith("2")}
        assert success, name
        for answer in success.values():
            assert "content" not in answer or any(
                content.get("examples") for row in success.values() for content in row["content"].values()
            ), f"{name} shows no answer: run tools/record_examples.py"
        if "requestBody" in operation:
            assert operation["requestBody"]["content"]["application/json"].get("examples"), f"{name} shows no body"


def test_every_problem_code_is_shown_with_the_operations_that_answer_it(operations, schema):
    for row in all_endpoints():
        shown = set()
        for answer in operations[row.name]["responses"].values():
            answer = schema["components"]["responses"][answer["$ref"].rsplit("/", 1)[1]] if "$ref" in answer else answer
            shown |= set(answer.get("content", {}).get("application/problem+json", {}).get("examples", {}))
        assert shown == set(codes_of(row)), row.name
    table = (ROOT / "docs" / "problems.md").read_text(encoding="utf-8")
    assert all(f"| `{row.code}` | {row.status} |" in table for row in problem_types())


def test_names_of_parts_are_fit_for_a_generated_client(schema):
    for name in schema["components"]["schemas"]:
        assert name.isalnum() and name[0].isupper(), name
        assert not name.startswith("Patched") and not name.endswith(("Output", "Request")), name
        assert not name.endswith("Enum"), f"name {name} in revsync_backend/openapi.py"


def test_what_clients_send_is_closed_and_has_no_default_that_its_type_lacks(schema):
    closed = [name for name, part in schema["components"]["schemas"].items() if part.get("additionalProperties") is False]
    assert closed and all(name.endswith(("Input", "Patch")) for name in closed)
    for name, part in schema["components"]["schemas"].items():
        for member, shape in part.get("properties", {}).items():
            kinds = [choice["$ref"].rsplit("/", 1)[1] for choice in shape.get("allOf", []) if "$ref" in choice]
            for kind in kinds:
                values = schema["components"]["schemas"][kind].get("enum")
                assert "default" not in shape or values is None or shape["default"] in values, f"{name}.{member}"


def test_blank_and_null_choices_are_plain_unions(schema):
    device, version = (schema["components"]["schemas"][name]["properties"] for name in ("Device", "TuneRow"))

    assert device["platform"]["oneOf"] == [{"$ref": "#/components/schemas/Platform"}, {"type": "string", "enum": [""]}]
    assert version["emissions_class"]["nullable"] is True
    assert version["emissions_class"]["allOf"] == [{"$ref": "#/components/schemas/EmissionsClass"}]


def test_members_of_problems_have_a_type_and_belong_to_codes_that_there_are(schema):
    codes = {row.code for row in problem_types()}
    for name, (brought_by, _) in PROBLEM_MEMBERS.items():
        assert set(brought_by.split()) <= codes, name
        assert schema["components"]["schemas"]["Problem"]["properties"][name]["description"], name


def test_links_lead_to_operations_and_give_them_what_they_take(operations, paths):
    for name, operation in operations.items():
        for answer in operation["responses"].values():
            for target, link in answer.get("links", {}).items():
                assert target in operations, f"{name} links to {target}"
                taken = {parameter["name"] for parameter in operations[target].get("parameters", [])}
                given = link.get("parameters", {})
                assert given.keys() <= taken, f"{name} gives {target} {given.keys() - taken}"
                for value in given.values():
                    assert value.startswith("$response.body#/") or value.removeprefix("$request.path.") in paths[name], f"{name}: {value}"


def test_every_operation_that_takes_an_id_is_linked_to(operations):
    answers = [answer for operation in operations.values() for answer in operation["responses"].values()]
    linked = {target for answer in answers for target in answer.get("links", {})}
    takers = {row.name for row in all_endpoints() if "<uuid:" in row.path}

    assert takers - linked == set(), "say in openapi_links.IDENTIFIED where an answer names it"


def test_a_link_is_left_out_where_the_source_does_not_know_the_rest_of_the_path(operations):
    links = operations["add_vehicle"]["responses"]["201"]["links"]

    assert links["add_mod"] == {"operationId": "add_mod", "parameters": {"vehicle": "$response.body#/id"}}
    assert "get_mod" not in links
    assert operations["add_mod"]["responses"]["201"]["links"]["get_mod"]["parameters"] == {
        "vehicle": "$request.path.vehicle",
        "mod": "$response.body#/id",
    }


def test_examples_hold_no_secret_and_no_machines_address():
    committed = (ROOT / "openapi.yaml").read_text(encoding="utf-8")
    assert "127.0.0.1" not in committed and "localhost" not in committed
    assert "X-Amz-Signature=…" in committed and "X-Amz-Credential" not in committed
    for line in committed.splitlines():
        if line.strip().startswith(("access: ", "refresh: ", "client_secret: ")):
            assert "…" in line or "$response.body#/" in line, line


def test_every_reference_of_the_schema_leads_somewhere(schema):
    def walk(node):
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                _hash, _components, kind, name = node["$ref"].split("/")
                assert name in schema["components"][kind], node["$ref"]
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(schema)


def test_the_type_of_a_problem_leads_to_its_explanation(client):
    page = client.get("/problems/price_changed")

    assert page.status_code == 200
    assert b"<code>price_changed</code>" in page.content
    assert client.get("/problems/no_such_code").status_code == 404


def test_redoc_is_let_style_itself_by_hashes_and_nothing_unsafe(client):
    policy = client.get("/api/redoc/")["Content-Security-Policy"]

    assert policy.count("'sha256-") == 2
    assert "worker-src blob:" in policy and "unsafe" not in policy
    assert "sha256-" not in client.get("/api/docs/")["Content-Security-Policy"]


def test_the_lock_of_the_generated_client_names_no_host():
    assert '"resolved"' not in (ROOT / "tools" / "client-ts" / "package-lock.json").read_text(encoding="utf-8")
