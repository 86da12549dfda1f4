"""What every row of the endpoint table promises of access, as checks that fail with an AssertionError.

Generated tests run them on every route; others run them on made-up routes that break a promise, to show that they bite.
A *recipe* tells how an operation is exercised: given somebody's things and the world it makes ready what is needed and
answers the `Call` that succeeds. Everything a check does is rolled back.
"""

import json
import re
import urllib.parse
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from django.db import connection, transaction
from rest_framework import serializers
from rest_framework.test import APIClient

from core import clock, tokens
from core.endpoints import Endpoint
from core.renderers import dumps
from core.testing.http import ApiClient

PROBLEM = "application/problem+json"
ROLES = ("anonymous", "rider", "other_rider", "tuner", "other_tuner", "creator", "suspended", "admin", "blocked")

_NOT_SIGNED_IN = {"anonymous": (401, "not_authenticated")}
_SIGNED_IN = {**_NOT_SIGNED_IN, "blocked": (403, "account_blocked")}
_TUNERS = _SIGNED_IN | dict.fromkeys(("rider", "other_rider", "admin"), (403, "permission_denied"))
# Who is refused by an access class, whatever they ask for: said here once more, independently of the classes.
REFUSED: dict[str, dict[str, tuple[int, str]]] = {
    "Public": {},
    "AuthenticatedEvenIfBlocked": _NOT_SIGNED_IN,
    "Authenticated": _SIGNED_IN,
    "TunerOrCreator": _TUNERS,
    "ActiveTuner": {**_TUNERS, "suspended": (403, "tuner_suspended")},
    "AdminOnly": _SIGNED_IN
    | dict.fromkeys((role for role in ROLES if role not in {"anonymous", "blocked", "admin"}), (403, "permission_denied")),
}
TUNER_ROLES = ("tuner", "other_tuner", "creator", "suspended")
OTHERS = {
    "rider": "other_rider",
    "other_rider": "rider",
    "tuner": "other_tuner",
    "other_tuner": "tuner",
    "creator": "tuner",
    "suspended": "tuner",
}


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request that succeeds when its owner sends it.

    `refs` name what points at an own thing: `/vehicle`, `/files/0/upload_id` in the body, `?vehicle` in the query;
    another's is answered there like a missing one. `open_refs` name the ids that anybody may send, or that the client makes.
    `shared`: the path's object is everybody's, though the row has a scope. `refused` is what comes instead of success for
    this owner, `missing` when the path's object is missing (404 else). Of a refusal: `leaves` names the tables in which it
    notes that it happened, `meanwhile` is what goes on during the call.
    """

    path: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    refs: tuple[str, ...] = ()
    open_refs: tuple[str, ...] = ()
    shared: bool = False
    refused: tuple[int, str] | None = None
    missing: int = 404
    key: bool = True  # an Idempotency-Key goes with it where one is required
    leaves: tuple[str, ...] = ()
    meanwhile: Callable[[], AbstractContextManager] = nullcontext


Recipe = Callable[[Any, Any], Call]


@dataclass(frozen=True)
class Caller:
    """Somebody of the world with a live session; nobody is `Caller("anonymous")`."""

    role: str
    user: Any = None
    device: Any = None

    def client(self) -> APIClient:
        client = ApiClient()
        if self.device is not None:
            client.credentials(HTTP_AUTHORIZATION=f"Bearer {tokens.mint_access(self.device, at=clock.now())}")
        return client

    def step_up(self, at: Any) -> None:
        if self.device is not None:
            type(self.device).objects.filter(pk=self.device.pk).update(stepped_up_at=at, stepped_up_with="PASSWORD" if at else "")


class World(Protocol):
    """The people of a run and their things."""

    def caller(self, role: str) -> Caller: ...

    def kit(self, role: str) -> Any: ...


@contextmanager
def undone() -> Iterator[None]:
    """What happens within is rolled back; services may think that they are outside any transaction."""
    block = transaction.atomic()
    block._from_testcase = True  # type: ignore[attr-defined]  # as Django's TestCase does, for `durable=True`
    with block:
        yield
        transaction.set_rollback(True)


@contextmanager
def traced() -> Iterator[list[str]]:
    """The statements that run within, without their values."""
    statements: list[str] = []

    def note(execute, sql, params, many, context):
        statements.append(re.sub(r'"s\d+_x\d+"', "", str(sql)))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield statements


# Paths and answers


def url_of(endpoint: Endpoint, path: Mapping[str, Any]) -> str:
    """The operation's URL; KeyError names a path object that the recipe does not give."""
    return "/api/v1/" + re.sub(r"<\w+:(\w+)>", lambda match: str(path[match[1]]), endpoint.path)


def objects_of(endpoint: Endpoint) -> list[str]:
    """The names of the objects in a path."""
    return re.findall(r"<\w+:(\w+)>", endpoint.path)


def missing_like(value: Any) -> Any:
    """An id of the same kind that nothing has."""
    return 999_999 if isinstance(value, int) else uuid.uuid4()


def send(caller: Caller, endpoint: Endpoint, call: Call, *, method: str = "", raw: str | bytes | None = None, **extra: Any) -> Any:
    """Send it; `raw` instead of the body, `extra` are WSGI variables."""
    extra = {**call.headers, **extra}
    if endpoint.idempotency == "required" and call.key:
        extra.setdefault("HTTP_IDEMPOTENCY_KEY", uuid.uuid4().hex)
    url = url_of(endpoint, call.path)
    if call.query:
        url += "?" + urllib.parse.urlencode(call.query, doseq=True)
    data = raw if raw is not None else encoded(call.body)
    return caller.client().generic(method or endpoint.method, url, data, **extra)


def encoded(body: Any) -> str | bytes:
    """A body as it is sent; text is sent as it stands."""
    return "" if body is None else body if isinstance(body, (str, bytes)) else dumps(body)


def plain_body(call: Call) -> Any:
    """The body as JSON has it, to be changed."""
    return json.loads(encoded(call.body) or "{}")


def as_anybody(call: Call) -> Call:
    """The call without the parameters that point at an own thing."""
    return replace(call, query={name: value for name, value in call.query.items() if f"?{name}" not in call.refs})


def summary(answer: Any) -> str:
    return f"{answer.status_code} {answer.content[:300]!r}"


def assert_problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    """The answer is that problem, as every problem is; returns its body."""
    assert answer.status_code == status, summary(answer)
    assert answer["Content-Type"] == PROBLEM
    body = answer.json()
    assert body["code"] == code, summary(answer)
    assert (body["status"], body["request_id"]) == (status, answer["X-Request-ID"])
    assert {"type", "title", "status", "detail", "instance"} <= body.keys()
    assert body["type"].endswith(f"/problems/{code}")
    assert answer["Cache-Control"] == "no-store"
    return body


def assert_success(answer: Any, endpoint: Endpoint) -> None:
    """The answer has a status that the row declares for a success, and a body exactly when it declares one."""
    assert answer.status_code in {endpoint.status, endpoint.repeat_status}, summary(answer)
    assert bool(answer.content) == (endpoint.response is not None or (answer.status_code == 200 and bool(answer.content))), summary(answer)


def comparable(answer: Any, *ids: Any) -> tuple:
    """What a caller can learn from a refusal, but for its ids: status, members in their order, headers."""
    members = [(name, value) for name, value in answer.json().items() if name not in {"request_id", "instance"}]
    text = json.dumps(members)
    for known in ids:
        text = text.replace(str(known), "…")
    headers = sorted((name, value) for name, value in answer.headers.items() if name not in {"X-Request-ID", "RateLimit"})
    return answer.status_code, text, headers


# Access


def refusal_of(endpoint: Endpoint, role: str) -> tuple[int, str] | None:
    """What the access class answers this role, or None; an access class that nobody described fails."""
    assert endpoint.access.__name__ in REFUSED, f"Say in {__name__} whom {endpoint.access.__name__} refuses."
    return REFUSED[endpoint.access.__name__].get(role)


def owner_for(endpoint: Endpoint, role: str) -> str:
    """Whose things a role uses: its own, or somebody's who has such things."""
    if "Tuner" in endpoint.access.__name__:
        return role if role in TUNER_ROLES else "tuner"
    return "rider" if role == "anonymous" else role


def usual_role(endpoint: Endpoint) -> str:
    """Somebody who may call it."""
    return next(role for role in ("rider", "tuner", "admin") if refusal_of(endpoint, role) is None)


def ready(endpoint: Endpoint, caller: Caller) -> None:
    """Before a call: a session seen just now, which no request has to note, and stepped up where the row asks for it."""
    if caller.device is not None:
        type(caller.device).objects.filter(pk=caller.device.pk).update(last_seen_at=clock.now())
    if endpoint.step_up:
        caller.step_up(clock.now())


def check_access(endpoint: Endpoint, role: str, recipe: Recipe, world: World) -> int:
    """One role at one operation, with its own thing, another's and none; returns how many calls that took.

    Refused by role: the same answer for all three. Else success with one's own, and 404 for another's exactly as for a
    missing one: status, body, headers, and the statements that ran (so that time tells nothing either).
    """
    caller, owner = world.caller(role), owner_for(endpoint, role)
    refusal, names = refusal_of(endpoint, role), objects_of(endpoint)
    told: dict[str, Any] = {}
    statements: dict[str, list[str]] = {}
    with undone():
        own = recipe(world.kit(owner), world)
        own = as_anybody(own) if role == "anonymous" else own
        paths = {"own": own.path}
        if names:
            paths = {"missing": {name: missing_like(value) for name, value in own.path.items()}, **paths}
        if names and endpoint.scope and not own.shared:
            paths = {"another": recipe(world.kit(OTHERS.get(owner, "rider")), world).path, **paths}
        ready(endpoint, caller)
        for whose, path in paths.items():  # one's own is last: it alone changes something
            with traced() as statements[whose]:
                answer = send(caller, endpoint, replace(own, path=path))
            if refusal is not None:
                assert_problem(answer, *refusal)
            elif whose == "own" and own.refused is not None:
                assert_problem(answer, *own.refused)
            elif whose == "own":
                assert_success(answer, endpoint)
            elif own.missing != 404:
                assert answer.status_code == own.missing, summary(answer)
            else:
                assert_problem(answer, 404, "not_found")
            told[whose] = None if answer.status_code < 400 else comparable(answer, *path.values())
    if refusal is not None:
        assert len({str(answer) for answer in told.values()}) == 1, "a role that may not call is told what there is"
    elif "another" in told:
        assert told["another"] == told["missing"], "another's is told apart from a missing one"
        assert statements["another"] == statements["missing"], "another's takes other statements than a missing one, so other time"
    return len(paths)


def check_mixed_path(endpoint: Endpoint, recipe: Recipe, world: World) -> None:
    """An own thing whose part is somebody else's: like a missing part."""
    names = objects_of(endpoint)
    role = usual_role(endpoint)
    caller, told = world.caller(role), []
    with undone():
        own, another = recipe(world.kit(role), world), recipe(world.kit(OTHERS[role]), world)
        ready(endpoint, caller)
        for part in (another.path[names[-1]], missing_like(another.path[names[-1]])):
            answer = send(caller, endpoint, replace(own, path={**own.path, names[-1]: part}))
            assert_problem(answer, 404, "not_found")
            told.append(comparable(answer, part))
    assert told[0] == told[1]


# References in bodies and queries


def _steps(pointer: str) -> list[int | str]:
    return [int(step) if step.isdigit() else step for step in pointer.strip("/").split("/")]


def value_at(call: Call, ref: str) -> Any:
    if ref.startswith("?"):
        return call.query[ref[1:]]
    value = call.body
    for step in _steps(ref):
        value = value[step]
    return value


def with_value(call: Call, ref: str, value: Any) -> Call:
    """The same call with another value at a place of its body or query."""
    if ref.startswith("?"):
        return replace(call, query={**call.query, ref[1:]: str(value)})
    body = plain_body(call)
    *way, last = _steps(ref)
    place = body
    for step in way:
        place = place[step]
    place[last] = str(value)
    return replace(call, body=body)


def check_references(endpoint: Endpoint, recipe: Recipe, world: World) -> int:
    """Every id that a body or query takes is named by the recipe; another's thing there is refused exactly like a missing one."""
    role = usual_role(endpoint)
    caller = world.caller(role)
    with undone():
        own = recipe(world.kit(role), world)
        check_references_are_named(endpoint, own)
        another = recipe(world.kit(OTHERS[role]), world) if own.refs else own
        ready(endpoint, caller)
        for ref in own.refs:
            assert str(value_at(another, ref)) != str(value_at(own, ref)), f"{ref} is no own thing: it is the same for everybody"
            told, statements = [], []
            for value in (value_at(another, ref), uuid.uuid4()):
                with undone(), traced() as trace:
                    answer = send(caller, endpoint, with_value(own, ref, value))
                assert 400 <= answer.status_code < 500, summary(answer)
                told.append(comparable(answer, value))
                statements.append(trace)
            assert told[0] == told[1], f"another's {ref} is told apart from a missing one"
            assert statements[0] == statements[1], f"another's {ref} takes other statements than a missing one, so other time"
    return 2 * len(own.refs)


def ids_in(serializer: Any, pointer: str = "") -> Iterator[str]:
    """Where a client may send the id of something: pointers into the body."""
    for name, child in serializer.fields.items():
        yield from _ids_in_field(child, f"{pointer}/{name}")


def _ids_in_field(child: Any, pointer: str) -> Iterator[str]:
    if isinstance(child, serializers.UUIDField) and not child.read_only:
        yield pointer
    elif isinstance(child, (serializers.ListSerializer, serializers.ListField)):
        yield from _ids_in_field(child.child, f"{pointer}/0")
    elif isinstance(child, serializers.BaseSerializer):
        yield from ids_in(child, pointer)


def check_references_are_named(endpoint: Endpoint, call: Call) -> None:
    """Every id that a body or query takes is named by the recipe: as an own thing, or as one that anybody may name."""
    taken = set(ids_in(endpoint.request())) if endpoint.request else set()
    if endpoint.query:
        taken |= {f"?{pointer.strip('/')}" for pointer in ids_in(endpoint.query())}
    named = {*call.refs, *call.open_refs}
    assert taken == named, f"{endpoint.name} takes ids at {sorted(taken)}, its recipe names {sorted(named)}"
    for ref in call.refs:
        value_at(call, ref)  # an own thing stands there


def check_recipe(endpoint: Endpoint, recipes: Mapping[str, Recipe]) -> None:
    """Whoever adds a route says how it is exercised, unless there is nothing to say."""
    needs = bool(objects_of(endpoint) or endpoint.request or (endpoint.query and any(f.required for f in endpoint.query().fields.values())))
    assert endpoint.name in recipes or not needs, (
        f"{endpoint.method} {endpoint.path} has no recipe: say in revsync_backend/tests/recipes/ how {endpoint.name} is called"
    )


def check_list_is_own(endpoint: Endpoint, recipe: Recipe, world: World) -> None:
    """Nobody finds another's things in a list of their own."""
    role = usual_role(endpoint)
    seen = []
    for who in (role, OTHERS[role]):
        with undone():
            caller = world.caller(who)
            ready(endpoint, caller)
            answer = send(caller, endpoint, recipe(world.kit(who), world))
            assert_success(answer, endpoint)
            seen.append({row["id"] if "id" in row else json.dumps(row) for row in answer.json()["results"]})
    assert seen[0] and seen[1], "the list is empty, so this shows nothing: give everybody of the world one"
    assert not seen[0] & seen[1]
