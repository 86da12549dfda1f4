"""The reference pages under `docs/`, written from the code: the table of problem codes and the table of endpoints.

`make openapi` writes them by `tools/write_reference.py`; a test compares them with what this module says now.
"""

import re
from collections import defaultdict
from collections.abc import Iterable

from django.conf import settings

from core.endpoints import SCOPES, Endpoint
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
WHO_IS = {
    "Public": "signed in or not",
    "Authenticated": "a live session and an account in good standing",
    "AuthenticatedEvenIfBlocked": "a live session; what a block must not take away",
    "TunerOrCreator": "to read what is one's own, and to appeal",
    "ActiveTuner": "with a profile that is not suspended",
    "AdminOnly": "staff with a second factor",
}
# Where a code comes from that no operation answers
STAFF = "staff's actions in the admin"
WEB_SERVER = "the web server, before any operation"
ELSEWHERE = {
    "not_ready": "`/readyz`",
    **dict.fromkeys(("headers_too_large", "request_timeout", "uri_too_long"), WEB_SERVER),
    **dict.fromkeys(
        (
            *("account_is_deleted", "account_state_unchanged", "admin_not_blockable", "appeal_already_decided"),
            *("application_not_in_review", "certification_already_judged", "certifications_undecided", "hashes_differ"),
            *("last_active_admin", "own_application", "own_version", "refund_too_large"),
            *("release_outdated", "report_already_decided", "review_appeal_already_decided", "review_not_hidden"),
            *("review_not_published", "role_unchanged"),
            *("second_person_required", "tune_file_missing", "tuner_already_suspended", "version_files_required"),
        ),
        STAFF,
    ),
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
            where = ELSEWHERE[row.code]
        elif len(names) > 6:
            where = f"{len(names)} operations, `{names[0]}` for one"
        else:
            where = ", ".join(f"`{name}`" for name in names)
        means = f"{row.title}. {row.description}".strip()
        lines.append(f"| `{row.code}` | {row.status} | {means} | {where} |")
    return "\n".join(lines) + "\n"


def endpoints_page(endpoints: Iterable[Endpoint]) -> str:
    """Who may call what, by section, in the order of the paths."""
    endpoints = list(endpoints)
    sections: dict[str, list[Endpoint]] = defaultdict(list)
    for endpoint in endpoints:
        sections[endpoint.tag].append(endpoint)
    lines = [
        "# Endpoints: who may call what",
        "",
        WRITTEN_BY,
        "",
        f"{len(endpoints)} operations on {len({endpoint.path for endpoint in endpoints})} paths below `/api/v1/`: {_counted(endpoints)}.",
        "",
        "| who | operations | |",
        "| --- | --- | --- |",
        *(
            f"| {words} | {count} | {WHO_IS[name]} |"
            for name, words in WHO.items()
            if (count := sum(endpoint.access.__name__ == name for endpoint in endpoints))
        ),
        "",
        "*Whose* is the rule for one object: somebody else's answers 404, exactly like a missing one.",
        "",
        "| whose | means |",
        "| --- | --- |",
        *(f"| {scope.replace('_', ' ')} | {words} |" for scope, words in SCOPES.items()),
        "",
        "The other columns: *limit*, counted exactly, for each account or, signed out, for each peer address; every call counts towards",
        "the approximate limit `default` besides. *Key*: whether an `Idempotency-Key` is honoured or required. *Kept*: `public` answers",
        "carry an `ETag` and may be kept 30 s by who is not signed in; all others are `no-store`. *Step-up*: needs a recent",
        "`POST auth/step-up/`. *If-Match*: takes the `revision`. *Audit*: the act that a success leaves in the audit log.",
    ]
    for tag in TAGS:
        lines += [
            "",
            f"## {tag['name']}",
            "",
            tag["description"],
            "",
            "| call | operation | who | whose | limit | key | kept | step-up | If-Match | audit |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
        for endpoint in sections.pop(tag["name"]):
            cells = [
                f"{endpoint.method} `{_plain(endpoint.path)}`",
                f"`{endpoint.name}`: {endpoint.summary}",
                WHO[endpoint.access.__name__],
                endpoint.scope.replace("_", " "),
                _limit(endpoint),
                endpoint.idempotency,
                "public" if endpoint.cache == "public" else "",
                "yes" if endpoint.step_up else "",
                "yes" if endpoint.revisioned else "",
                f"`{endpoint.audit}`" if endpoint.audit else "",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    if sections:
        raise ValueError(f"Describe these sections in revsync_backend/openapi.py: {', '.join(sections)}")
    return "\n".join(lines) + "\n"


def _counted(endpoints: list[Endpoint]) -> str:
    counts = {
        "about one's own things": sum(bool(endpoint.scope) for endpoint in endpoints),
        "with an exact limit of their own": sum(bool(endpoint.limit) for endpoint in endpoints),
        "with an `Idempotency-Key`": sum(bool(endpoint.idempotency) for endpoint in endpoints),
        "with `If-Match`": sum(endpoint.revisioned for endpoint in endpoints),
        "kept publicly": sum(endpoint.cache == "public" for endpoint in endpoints),
        "stepped up": sum(endpoint.step_up for endpoint in endpoints),
        "paginated": sum(endpoint.paginated for endpoint in endpoints),
        "audited": sum(bool(endpoint.audit) for endpoint in endpoints),
    }
    return ", ".join(f"{count} {words}" for words, count in counts.items())


def _plain(route: str) -> str:
    """`garage/vehicles/<uuid:vehicle>/` as `garage/vehicles/{vehicle}/`."""
    return re.sub(r"<\w+:(\w+)>", r"{\1}", route)


def _limit(endpoint: Endpoint) -> str:
    if not endpoint.limit:
        return ""
    count, seconds = settings.LIMITS[endpoint.limit]
    return f"`{endpoint.limit}`, {count} in {seconds // 60} min"
