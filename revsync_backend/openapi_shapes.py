"""Shapes that a generated client is pleasant with: hooks of drf-spectacular that run once components have their names."""

from collections.abc import Iterator
from typing import Any

UUID = {"type": "string", "format": "uuid"}
TEXT = {"type": "string"}
WHOLE = {"type": "integer"}
MOMENT = {"type": "string", "format": "date-time"}
# Members that some codes add to a problem: name → the codes that bring it, and its shape.
PROBLEM_MEMBERS: dict[str, tuple[str, dict[str, Any]]] = {
    "available_at": ("license_release_too_soon", MOMENT),
    "bound_vehicle": ("vehicle_mismatch", UUID),
    "currency": ("price_changed", TEXT),
    "export_id": ("export_in_progress", UUID),
    "may_reapply_at": ("application_cooling_down", MOMENT),
    "minimum_app_version": ("app_version_blocked", TEXT),
    "price_minor": ("price_changed", WHOLE),
    "purchase_id": ("already_owned", UUID),
    "required_reasons": ("acknowledgement_required", {"type": "array", "items": TEXT}),
    "review_id": ("already_reviewed", UUID),
    "service": ("service_unavailable", TEXT),
    "sha256": ("attestation_required", TEXT),
    "state": ("invalid_transition version_not_editable", TEXT),
    "stock_file_id": ("stock_file_exists", UUID),
    "text_version": ("attestation_required", TEXT),
    "tries_left": ("challenge_code_wrong transfer_code_wrong", WHOLE),
    "vehicle_id": ("vin_in_garage", UUID),
}


def add_problem_members(result: dict, generator, request, public) -> dict:
    """Name the members that codes add, so that a client reads them with a type; others may come."""
    problem = result["components"]["schemas"]["Problem"]
    for name, (codes, shape) in PROBLEM_MEMBERS.items():
        with_codes = " and ".join(f"`{code}`" for code in codes.split())
        problem["properties"][name] = {**shape, "description": f"With {with_codes}."}
    problem["additionalProperties"] = {}
    return result


def join_choices(result: dict, generator, request, public) -> dict:
    """`Platform | ""` and `Market | null`, without a component for the blank and for null."""
    schemas = result["components"]["schemas"]
    for node in _dicts(result):
        choices = node.get("oneOf", [])
        names = [choice.get("$ref", "").rsplit("/", 1)[-1] for choice in choices]
        if "BlankEnum" in names:
            choices[names.index("BlankEnum")] = {"type": "string", "enum": [""]}
        if "NullEnum" in names:
            del choices[names.index("NullEnum")]
            node["nullable"] = True
            if len(choices) == 1:
                node["allOf"] = node.pop("oneOf")
    for name in ("BlankEnum", "NullEnum"):
        schemas.pop(name, None)
    return result


def _dicts(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, list):
        for value in node:
            yield from _dicts(value)
