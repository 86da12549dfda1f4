"""OpenAPI links: which part of an answer is the id that another operation takes.

A path parameter bears the name of its resource (`{vehicle}`), and `IDENTIFIED` says where an answer names one. So an operation
that makes or lists something links to every operation that takes it; the other parameters come from its own path.
Documentation shows links, and the schema's stateful test walks along them.
"""

from collections.abc import Iterator
from typing import Any

# Component → path parameter → where an answer of that shape names it.
IDENTIFIED: dict[str, dict[str, str]] = {
    "Case": {"case": "/id", "purchase": "/purchase"},
    "CaseRow": {"case": "/id", "purchase": "/purchase"},
    "Certification": {"certification": "/id"},
    "Challenge": {"challenge": "/challenge_id"},
    "Device": {"device": "/id"},
    "Export": {"export": "/id"},
    "Favorite": {"tune": "/tune/id"},
    "Grant": {"download": "/id"},
    "InstalledCheck": {"recall": "/results/0/recall/id"},
    "Mod": {"mod": "/id"},
    "NewRescueLink": {"link": "/id"},
    "Notice": {"notice": "/id"},
    "OwnTune": {"tune": "/id"},
    "OwnVersion": {"version": "/id"},
    "Payout": {"payout": "/id"},
    "Purchase": {"purchase": "/id", "tune": "/tune/id"},
    "RescueLink": {"link": "/id"},
    "Review": {"review": "/id"},
    "ReviewDetail": {"review": "/id"},
    "SavedSearch": {"saved_search": "/id"},
    "StockFile": {"stock_file": "/id"},
    "Transfer": {"transfer": "/id"},
    "TuneReview": {"review": "/id"},
    "TuneRow": {"tune": "/id", "tuner": "/tuner/id"},
    "Tuner": {"tuner": "/id"},
    "Upload": {"upload": "/id"},
    "User": {"user": "/id"},
    "Vehicle": {"vehicle": "/id"},
    "Version": {"version": "/id"},
    "VersionDetail": {"version": "/id"},
}
# What goes into another operation's query or body: (from, to) → parameter or member → where the answer has it.
CARRIED: dict[tuple[str, str], dict[str, str]] = {
    ("register", "verify_email"): {"challenge_id": "/challenge_id"},
    ("request_password_reset", "confirm_password_reset"): {"challenge_id": "/challenge_id"},
    ("request_email_change", "confirm_email_change"): {"challenge_id": "/challenge_id"},
    ("log_in", "verify_mfa"): {"mfa_token": "/mfa_token"},
    ("verify_email", "refresh_tokens"): {"refresh": "/refresh"},
    ("add_vehicle", "list_tunes"): {"vehicle": "/id"},
    ("get_tune", "create_purchase"): {"tune": "/id", "expected_price_minor": "/price_minor", "currency": "/currency"},
}


def add_links(result: dict, generator, request, public) -> dict:
    """drf-spectacular's hook: give each answer that names something its links. Last in the list: components have their names."""
    operations = {
        operation["operationId"]: (path, operation)
        for path, methods in result["paths"].items()
        for operation in methods.values()
        if isinstance(operation, dict) and "operationId" in operation
    }
    takers: dict[str, list[str]] = {}
    for name, (path, _) in operations.items():
        for parameter in _parameters(path):
            takers.setdefault(parameter, []).append(name)
    for name, (path, operation) in operations.items():
        for response in _successes(operation):
            links = {}
            for parameter, pointer in _identified(result, response).items():
                if parameter in _parameters(path):  # it came from here
                    continue
                for taker in takers.get(parameter, ()):
                    others = _parameters(operations[taker][0]) - {parameter}
                    if others <= _parameters(path):
                        links[taker] = {
                            "operationId": taker,
                            "parameters": {other: f"$request.path.{other}" for other in sorted(others)}
                            | {parameter: f"$response.body#{pointer}"},
                        }
            for (source, target), members in CARRIED.items():
                if source == name:
                    links[target] = _carrying(operations[target][1], members)
            if links:
                response["links"] = links
    return result


def _parameters(path: str) -> set[str]:
    return {part[1:-1] for part in path.split("/") if part.startswith("{")}


def _successes(operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (response for status, response in operation["responses"].items() if status.startswith("2"))


def _identified(result: dict, response: dict[str, Any]) -> dict[str, str]:
    """What an answer names: itself, or the first row of a page."""
    name = _component(response.get("content", {}).get("application/json", {}).get("schema", {}))
    if name in IDENTIFIED:
        return IDENTIFIED[name]
    rows = result["components"]["schemas"].get(name, {}).get("properties", {}).get("results", {})
    return {parameter: f"/results/0{pointer}" for parameter, pointer in IDENTIFIED.get(_component(rows.get("items", {})), {}).items()}


def _component(schema: dict[str, Any]) -> str:
    return schema.get("$ref", "").rsplit("/", 1)[-1]


def _carrying(target: dict[str, Any], members: dict[str, str]) -> dict[str, Any]:
    values = {name: f"$response.body#{pointer}" for name, pointer in members.items()}
    part = "requestBody" if "requestBody" in target else "parameters"
    return {"operationId": target["operationId"], part: values}
