"""The reference pages under `docs/`, written from the code: the table of problem codes and the table of endpoints.

`make openapi` writes them by `tools/write_reference.py`; a test compares them with what this module says now.
"""

from collections import defaultdict
from collections.abc import Iterable

from core.endpoints import Endpoint
from core.problems import problem_types
from core.schema import UNIVERSAL, WITH_BODY, codes_of
from revsync_backend.openapi import TAGS

WRITTEN_BY = "<!-- Written by `make openapi` from the code. -->"
WHO = {
    "Public": "anyone",
    "Authenticated": "signed in",
    "AuthenticatedEvenIfBlocked": "signed in, blocked too",
    "TunerOrCreator": "tuner, creator (suspended too)",
    "ActiveTuner": "tuner, creator (active)",
    "AdminOnly": "admin",
}
EVERYWHERE = {*UNIVERSAL, *WITH_BODY, "not_authenticated", "token_invalid", "account_blocked", "method_not_allowed"}


def problems_page(endpoints: Iterable[Endpoint]) -> str:
    """Every code with its status, what it means and where it can come from."""
    callers: dict[str, list[str]] = defaultdict(list)
    for endpoint in endpoints:
        for code in codes_of(endpoint):
            callers[code].append(endpoint.name)
    lines = [
        "# Problem codes",
        "",
        WRITTEN_BY,
        "",
        "Every answer from 400 up is `application/problem+json` (RFC 9457). `code` is stable: decide by it, and by `status` for a code",
        "that you do not know. `detail` is for people and may change. `errors` points at fields: `pointer` into the body, or `parameter`.",
        "`request_id` is the same as the header `X-Request-ID`: name it when you report something.",
        "",
        "| code | status | means | answered by |",
        "| --- | --- | --- | --- |",
    ]
    for row in sorted(problem_types(), key=lambda row: (row.status, row.code)):
        names = callers[row.code]
        if row.code in EVERYWHERE:
            where = "any call"
        elif not names:
            where = "staff's actions in the admin" if row.code != "not_ready" else "`/readyz`"
        elif len(names) > 6:
            where = f"{len(names)} operations, `{names[0]}` for one"
        else:
            where = ", ".join(f"`{name}`" for name in names)
        means = f"{row.title}. {row.description}".strip()
        lines.append(f"| `{row.code}` | {row.status} | {means} | {where} |")
    return "\n".join(lines) + "\n"


def endpoints_page(endpoints: Iterable[Endpoint]) -> str:
    """Who may call what, by section, in the order of the paths."""
    sections: dict[str, list[Endpoint]] = defaultdict(list)
    for endpoint in endpoints:
        sections[endpoint.tag].append(endpoint)
    lines = [
        "# Endpoints: who may call what",
        "",
        WRITTEN_BY,
        "",
        "Paths stand below `/api/v1/`. *Whose* is the rule for one object: somebody else's answers 404, exactly like a missing one.",
        "The notes: **key** `Idempotency-Key` is honoured or required · **If-Match** is honoured · **step-up** needs a recent",
        "`POST auth/step-up/` · **public cache** anonymous answers carry `ETag` and may be kept 30 s",
        "· **limit** counts exactly, its figures stand in `meta/`.",
    ]
    for tag in TAGS:
        lines += [
            "",
            f"## {tag['name']}",
            "",
            tag["description"],
            "",
            "| call | operation | who | whose | notes |",
            "| --- | --- | --- | --- | --- |",
        ]
        for endpoint in sections.pop(tag["name"]):
            lines.append(
                f"| {endpoint.method} `{_plain(endpoint.path)}` | `{endpoint.name}`: {endpoint.summary} | {WHO[endpoint.access.__name__]} "
                f"| {endpoint.scope.replace('_', ' ')} | {_notes(endpoint)} |"
            )
    if sections:
        raise ValueError(f"Describe these sections in revsync_backend/openapi.py: {', '.join(sections)}")
    return "\n".join(lines) + "\n"


def _plain(route: str) -> str:
    """`garage/vehicles/<uuid:vehicle>/` as `garage/vehicles/{vehicle}/`."""
    return route.replace("<uuid:", "{").replace("<int:", "{").replace("<slug:", "{").replace(">", "}")


def _notes(endpoint: Endpoint) -> str:
    notes = [f"key {endpoint.idempotency}"] if endpoint.idempotency else []
    notes += ["If-Match"] if endpoint.revisioned else []
    notes += ["step-up"] if endpoint.step_up else []
    notes += ["public cache"] if endpoint.cache == "public" else []
    notes += [f"limit `{endpoint.limit}`"] if endpoint.limit else []
    return ", ".join(notes)
