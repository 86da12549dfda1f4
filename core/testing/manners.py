"""How every operation behaves, whoever calls it: the checks behind the generated tests, each for the rows it concerns.

A check takes a `Probe` and fails with an AssertionError. `CHECKS` lists them all; `applies` says for which rows.
"""

import copy
import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import OperationalError, connection
from django.test import override_settings

from core import clock
from core.endpoints import Endpoint
from core.models import IdempotencyRecord
from core.parsers import MAX_BODY_BYTES
from core.permissions import Public
from core.problems import problem_type
from core.schema import codes_of
from core.testing.matrix import (
    OTHERS,
    Call,
    Caller,
    Recipe,
    World,
    as_anybody,
    assert_problem,
    assert_success,
    plain_body,
    ready,
    refusal_of,
    send,
    summary,
    traced,
    undone,
    usual_role,
)

FORM = "application/x-www-form-urlencoded"
WRITING = ("POST", "PUT", "PATCH", "DELETE")
# What a refused request may still leave behind: that it was made.
COUNTED = ("core_limitcounter", "users_userdevice", "core_idempotencyrecord")


@dataclass
class Probe:
    """An operation, how it is exercised, and by whom."""

    endpoint: Endpoint
    recipe: Recipe
    world: World
    _prepared: tuple[Caller, Call] | None = None

    def roles(self) -> list[str]:
        """Who is let in, the usual caller first; the recipe says for whom of them it succeeds."""
        if self.endpoint.access is Public:
            return ["anonymous"]
        return [role for role in ("rider", "tuner", "suspended", "admin") if refusal_of(self.endpoint, role) is None]

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Prepare once for several checks that change nothing."""
        with undone():
            self._prepared = None
            self._prepared = self.prepare()
            yield
        self._prepared = None

    def prepare(self, role: str = "") -> tuple[Caller, Call]:
        """The caller and the call that succeeds; inside `undone()`."""
        if self._prepared is not None and not role:
            return self._prepared
        for name in [role] if role else self.roles():
            caller = self.world.caller(name)
            call = self.recipe(self.world.kit(name), self.world)
            if call.refused is None:
                break
        ready(self.endpoint, caller)
        return caller, as_anybody(call) if caller.role == "anonymous" else call

    def send(self, caller: Caller, call: Call, **extra: Any) -> Any:
        return send(caller, self.endpoint, call, **extra)


@dataclass(frozen=True)
class Check:
    name: str
    run: Callable[[Probe], None]
    applies: Callable[[Endpoint], bool]
    harmless: bool


CHECKS: list[Check] = []


def check(
    applies: Callable[[Endpoint], bool] = lambda endpoint: True, *, harmless: bool = False
) -> Callable[[Callable[[Probe], None]], Callable[[Probe], None]]:
    """Put a check into the list, for the rows to which it applies. Harmless ones change nothing and share a preparation."""

    def note(function: Callable[[Probe], None]) -> Callable[[Probe], None]:
        CHECKS.append(Check(function.__name__, function, applies, harmless))
        return function

    return note


def takes_json(endpoint: Endpoint) -> bool:
    """Writing operations read a JSON body, if only to refuse it; webhooks verify raw bytes."""
    return endpoint.method in WRITING and not endpoint.view.reads_raw_body


def takes_a_body(endpoint: Endpoint) -> bool:
    return endpoint.request is not None


def signs_in(endpoint: Endpoint) -> bool:
    return bool(endpoint.view.authentication_classes)


@contextmanager
def nothing_written(*, but: tuple[str, ...] = ()) -> Iterator[None]:
    """Bad input changes nothing, but for the counters of limits, the session's last sign of life and the tables named."""
    with traced() as statements:
        yield
    for sql in statements:
        words = sql.lstrip().split(None, 3)
        if words and words[0] in {"INSERT", "UPDATE", "DELETE"}:
            assert any(table in sql for table in (*COUNTED, *but)), sql


def mangled(call: Call, **member: Any) -> Call:
    """The call with one more member in its body."""
    return replace(call, body={**plain_body(call), **member})


# Bad input


@check(harmless=True)
def unknown_parameter(probe: Probe) -> None:
    caller, call = probe.prepare()
    with nothing_written():
        answer = probe.send(caller, replace(call, query={**call.query, "no_such_parameter": 1}))
    body = assert_problem(answer, 400, "unknown_field")
    assert [error["parameter"] for error in body["errors"]] == ["no_such_parameter"]


@check(lambda endpoint: endpoint.query is not None, harmless=True)
def repeated_parameter(probe: Probe) -> None:
    caller, call = probe.prepare()
    name = next(iter(probe.endpoint.query().fields))
    value = call.query.get(name, 1)
    body = assert_problem(probe.send(caller, replace(call, query={**call.query, name: [value, value]})), 400, "invalid_input")
    assert body["errors"][0] | {"detail": ""} == {"parameter": name, "code": "repeated", "detail": ""}


@check(lambda endpoint: endpoint.query is not None, harmless=True)
def nul_in_a_parameter(probe: Probe) -> None:
    caller, call = probe.prepare()
    for name in probe.endpoint.query().fields:
        answer = probe.send(caller, replace(call, query={**call.query, name: "a\0b"}))
        body = assert_problem(answer, 400, "invalid_input")
        assert body["errors"][0]["parameter"] == name


@check(takes_json, harmless=True)
def unknown_member(probe: Probe) -> None:
    caller, call = probe.prepare()
    with nothing_written():
        answer = probe.send(caller, mangled(call, no_such_member=1), HTTP_IDEMPOTENCY_KEY="unknown-member")
    body = assert_problem(answer, 400, "unknown_field")
    assert [error["pointer"] for error in body["errors"]] == ["/no_such_member"]
    assert not IdempotencyRecord.objects.filter(key="unknown-member").exists(), "a refusal leaves no claim"


@check(takes_json, harmless=True)
def body_that_is_no_object(probe: Probe) -> None:
    caller, call = probe.prepare()
    for raw in ("[1]", "12"):
        with nothing_written():
            answer = probe.send(caller, call, raw=raw)
        assert_problem(answer, 400, "invalid_input")


@check(takes_json, harmless=True)
def body_that_is_no_json(probe: Probe) -> None:
    caller, call = probe.prepare()
    for raw in ("{", '{"a": 1, "a": 2}'):  # the parser's own tests have the other forms
        with nothing_written():
            answer = probe.send(caller, call, raw=raw)
        assert_problem(answer, 400, "malformed_body")


@check(takes_json, harmless=True)
def body_too_large(probe: Probe) -> None:
    caller, call = probe.prepare()
    assert_problem(probe.send(caller, call, raw=b'"' + b"a" * MAX_BODY_BYTES + b'"'), 413, "body_too_large")


@check(takes_json, harmless=True)
def wrong_media_type(probe: Probe) -> None:
    caller, call = probe.prepare()
    for media_type in (FORM, "application/json; charset=latin-1"):
        with nothing_written():
            answer = probe.send(caller, call, raw=b"a=1", content_type=media_type)
        assert_problem(answer, 415, "unsupported_media_type")


@check(harmless=True)
def only_json_is_answered(probe: Probe) -> None:
    caller, call = probe.prepare()
    with nothing_written():
        answer = probe.send(caller, call, HTTP_ACCEPT="text/html")
    assert_problem(answer, 406, "not_acceptable")


# Who


@check(signs_in, harmless=True)
def forged_token(probe: Probe) -> None:
    _, call = probe.prepare()
    for token in ("Bearer a.b.c", "Basic YTpi"):
        with nothing_written():
            answer = probe.send(Caller("anonymous"), call, HTTP_AUTHORIZATION=token)
        assert_problem(answer, 401, "token_invalid")
        assert answer["WWW-Authenticate"].startswith("Bearer")


@check(signs_in)
def revoked_session(probe: Probe) -> None:
    """A session that ended, and a person who is gone, are refused by the very next request."""
    with undone():
        caller, call = probe.prepare("rider" if probe.endpoint.access is Public else "")
        type(caller.device).objects.filter(pk=caller.device.pk).update(revoked_at=clock.now(), revoked_reason="REVOKED")
        assert_problem(probe.send(caller, call), 401, "token_invalid")


@check(lambda endpoint: endpoint.step_up)
def step_up(probe: Probe) -> None:
    with undone():
        caller, call = probe.prepare()
        for at in (None, clock.now() - settings.STEP_UP_LIFETIME - timedelta(seconds=1)):
            caller.step_up(at)
            with nothing_written():
                answer = probe.send(caller, call)
            assert_problem(answer, 403, "reauthentication_required")
        caller.step_up(clock.now() - settings.STEP_UP_LIFETIME + timedelta(seconds=20))
        assert_success(probe.send(caller, call), probe.endpoint)


# Limits


@check()
def success(probe: Probe) -> None:
    """What stands in every good answer, and in the log: limits, caching, no cookie, the request's id."""
    with undone(), logged() as lines:
        caller, call = probe.prepare()
        lines.clear()
        name = f"matrix-{uuid.uuid4().hex}"
        answer = probe.send(caller, call, HTTP_X_REQUEST_ID=name)
        assert_success(answer, probe.endpoint)
        shown = probe.endpoint.limit or "default"
        count, window = (settings.LIMITS | settings.APPROXIMATE_LIMITS)[shown]
        assert answer.headers.get("RateLimit-Policy") == f'"{shown}";q={count};w={window}'
        assert answer["RateLimit"].startswith(f'"{shown}";r=')
        assert "Set-Cookie" not in answer.headers and not answer.cookies
        if probe.endpoint.cache == "private":
            assert answer["Cache-Control"] == "no-store"
            assert "ETag" not in answer.headers
        assert answer["X-Request-ID"] == name
        assert {line.get("request_id") for line in lines} == {name}, "a line of the log does not tell its request"
        told = [line for line in lines if line["event"] == "request"]
        assert [(line["method"], line["route"], line["status_code"]) for line in told] == [
            (probe.endpoint.method, f"api/v1/{probe.endpoint.path}", answer.status_code)
        ]


@check(harmless=True)
def limit_of_every_route(probe: Probe) -> None:
    caller, call = probe.prepare()
    with override_settings(APPROXIMATE_LIMITS={"default": (0, 60)}):
        refused = probe.send(caller, call)
    assert_problem(refused, 429, "rate_limited")
    assert 1 <= int(refused["Retry-After"]) <= 60
    assert refused["RateLimit"].startswith('"default";r=0;')


@check(lambda endpoint: bool(endpoint.limit))
def limit_of_its_own(probe: Probe) -> None:
    """Counted exactly, for each caller apart, before anything else is done."""
    limit = probe.endpoint.limit
    with undone(), override_settings(LIMITS={**settings.LIMITS, limit: (1, 60)}):
        caller, call = probe.prepare()
        first = probe.send(caller, call)
        assert first.status_code != 429, summary(first)
        with nothing_written():
            second = probe.send(caller, call)
        assert_problem(second, 429, "rate_limited")
        assert second["RateLimit-Policy"] == f'"{limit}";q=1;w=60'
        if caller.role != "anonymous":
            other, call = probe.prepare(OTHERS[caller.role])
            third = probe.send(other, call)
        else:
            third = probe.send(caller, call, REMOTE_ADDR="192.0.2.77")
        assert third.status_code != 429, "one caller's limit is another's"


# Caching and tracing


@check(lambda endpoint: endpoint.cache == "public")
def caching(probe: Probe) -> None:
    """Kept for anybody who is not signed in, 304 while it is the same, and never for who is signed in."""
    anybody = Caller("anonymous")
    with undone():
        signed_in = probe.world.caller("rider")
        call = probe.recipe(probe.world.kit("rider"), probe.world)
        private = probe.send(signed_in, call)
        assert_success(private, probe.endpoint)
        if "max-age" not in private["Cache-Control"]:  # documents that are the same for everybody say so themselves
            assert private["Cache-Control"] == "no-store"
        call = as_anybody(call)
        public = probe.send(anybody, call)
        assert_success(public, probe.endpoint)
        assert public["Cache-Control"].startswith("public, max-age=")
        assert public["Vary"] == "Authorization"
        for tag in (public["ETag"], f"W/{public['ETag']}", f'"other", {public["ETag"]}', "*"):
            again = probe.send(anybody, call, HTTP_IF_NONE_MATCH=tag)
            assert (again.status_code, again.content, again["ETag"]) == (304, b"", public["ETag"])
            assert again["Cache-Control"] == public["Cache-Control"]
        assert probe.send(anybody, call, HTTP_IF_NONE_MATCH='"another"').status_code == 200


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.msg, dict):
            self.lines.append(copy.copy(record.msg))


@contextmanager
def logged() -> Iterator[list[dict[str, Any]]]:
    """The lines that are logged within."""
    handler, logger = _Lines(), logging.getLogger()
    logger.addHandler(handler)
    try:
        yield handler.lines
    finally:
        logger.removeHandler(handler)


@check(lambda endpoint: endpoint.method == "GET", harmless=True)
def head(probe: Probe) -> None:
    caller, call = probe.prepare()
    answer = probe.send(caller, call, method="HEAD")
    assert (answer.status_code, answer.content) == (200, b"")


# Breakdowns


@check(harmless=True)
def outage_of_the_database(probe: Probe) -> None:
    def down(*_: Any) -> None:
        raise OperationalError("connection refused")

    caller, call = probe.prepare()
    with connection.execute_wrapper(down):
        answer = probe.send(caller, call)
    if answer.status_code < 400:  # it asks nothing of the database
        with traced() as statements:
            probe.send(caller, call)
        assert not statements
        return
    assert assert_problem(answer, 503, "service_unavailable")["service"] == "database"
    assert answer["Retry-After"] == "5"


@check(harmless=True)
def bug(probe: Probe) -> None:
    """An unforeseen exception is a problem without a word of what it was."""
    words = "secret words of a stack"

    def broken(*_: Any) -> None:
        raise RuntimeError(words)

    caller, call = probe.prepare()
    view, method = probe.endpoint.view, probe.endpoint.method.lower()
    kept = getattr(view, method)
    logging.disable(logging.CRITICAL)
    setattr(view, method, lambda self, request, *args, **kwargs: broken())
    try:
        client = caller.client()
        client.raise_request_exception = False
        answer = send(_Fixed(client), probe.endpoint, call)
    finally:
        setattr(view, method, kept)
        logging.disable(logging.NOTSET)
    assert_problem(answer, 500, "internal_error")
    assert words.encode() not in answer.content


@dataclass
class _Fixed:
    """A caller with a client that was prepared."""

    ready_client: Any

    def client(self) -> Any:
        return self.ready_client


# Repeating


@check(lambda endpoint: bool(endpoint.idempotency))
def idempotency(probe: Probe) -> None:
    key = {"HTTP_IDEMPOTENCY_KEY": "matrix key ~"}
    endpoint = probe.endpoint
    with undone():
        caller, call = probe.prepare()
        first = probe.send(caller, call, **key)
        assert_success(first, endpoint)
        assert "Idempotency-Replayed" not in first.headers
        again = probe.send(caller, call, **key)
        assert (again.status_code, again.headers.get("Idempotency-Replayed")) == (first.status_code, "true"), summary(again)
        assert again.json().get("id") == first.json().get("id")
        claims = IdempotencyRecord.objects.filter(actor_id=caller.user.pk, operation=endpoint.name, key=key["HTTP_IDEMPOTENCY_KEY"])
        record = claims.first()
        assert record is not None, "the key is not the caller's own"
        assert record.expires_at - clock.now() > timedelta(hours=23, minutes=59)

        other, others_call = probe.prepare(OTHERS[caller.role])
        theirs = probe.send(other, others_call, **key)
        assert "Idempotency-Replayed" not in theirs.headers and theirs.status_code != 422, "one person's key is another's"

        IdempotencyRecord.objects.filter(pk=record.pk).update(resource_id=None, lease_expires_at=clock.now() + timedelta(seconds=30))
        assert_problem(probe.send(caller, call, **key), 409, "idempotency_in_progress")

        IdempotencyRecord.objects.filter(pk=record.pk).update(resource_id=uuid.uuid4(), expires_at=clock.now() - timedelta(seconds=1))
        anew = probe.send(caller, call, **key)
        assert "Idempotency-Replayed" not in anew.headers
        assert anew.status_code not in {404, 422}, f"after 24 hours the key is free: {summary(anew)}"


@check(lambda endpoint: bool(endpoint.idempotency))
def idempotency_key_for_another_request(probe: Probe) -> None:
    """The same key with another body, or at another thing of the same kind."""
    key = {"HTTP_IDEMPOTENCY_KEY": "matrix-reused"}
    with undone():
        caller, call = probe.prepare()
        assert_success(probe.send(caller, call, **key), probe.endpoint)
        changed = _another_valid_body(probe.endpoint, call)
        if changed is not None:
            assert_problem(probe.send(caller, changed, **key), 422, "idempotency_key_reused")
        else:
            IdempotencyRecord.objects.filter(key=key["HTTP_IDEMPOTENCY_KEY"]).update(fingerprint=b"another request")
            assert_problem(probe.send(caller, call, **key), 422, "idempotency_key_reused")


def _another_valid_body(endpoint: Endpoint, call: Call) -> Call | None:
    """The body with another text or order of magnitude in one member, still valid; None when there is no body."""
    if endpoint.request is None:
        return None
    body = plain_body(call)
    for name, field in endpoint.request().fields.items():
        if type(field).__name__ in {"CleanCharField", "CharField"} and not getattr(field, "choices", None):
            return replace(call, body={**body, name: "Another text"})
        if type(field).__name__ in {"StrictIntegerField", "MinorField"}:
            return replace(call, body={**body, name: body.get(name, 1) + 1 if body.get(name, 1) < 5 else body[name] - 1})
    return None


@check(lambda endpoint: bool(endpoint.idempotency), harmless=True)
def idempotency_key_out_of_shape(probe: Probe) -> None:
    caller, call = probe.prepare()
    for key in ("", "k" * 256, "schlüssel", "tab\tkey"):
        with nothing_written():
            answer = probe.send(caller, call, HTTP_IDEMPOTENCY_KEY=key)
        assert_problem(answer, 400, "idempotency_key_required")
    if probe.endpoint.idempotency == "required":
        with nothing_written():
            answer = probe.send(caller, replace(call, key=False))
        assert_problem(answer, 400, "idempotency_key_required")


# Edits


@check(lambda endpoint: endpoint.revisioned)
def if_match(probe: Probe) -> None:
    with undone():
        caller, call = probe.prepare()
        with nothing_written():
            stale = probe.send(caller, call, HTTP_IF_MATCH='"999999"')
        current = assert_problem(stale, 412, "stale_revision")["current"]
        assert type(current) is int and current >= 1
        for header in ("3", 'W/"3"', '"x"', '"-1"', '"1", "2"', '"' + "9" * 30 + '"', '"', '"٣"'):
            with nothing_written():
                answer = probe.send(caller, call, HTTP_IF_MATCH=header)
            assert_problem(answer, 400, "invalid_input")
        fresh = probe.send(caller, call, HTTP_IF_MATCH=f'"{current}"')
        assert_success(fresh, probe.endpoint)
        if probe.endpoint.response is not None:
            assert fresh.json()["revision"] == current + 1
            assert_problem(probe.send(caller, call, HTTP_IF_MATCH=f'"{current}"'), 412, "stale_revision")


def check_refusal(endpoint: Endpoint, code: str, recipe: Recipe, world: World) -> None:
    """A refusal of its own: the recipe makes the state in which the call meets it, and the call changes nothing."""
    assert code in codes_of(endpoint), f"{endpoint.name} does not declare {code}: there is nothing to show"
    role = usual_role(endpoint)
    caller = world.caller(role)
    with undone():
        call = recipe(world.kit(role), world)
        ready(endpoint, caller)
        with call.meanwhile(), nothing_written(but=call.leaves):
            answer = send(caller, endpoint, call)
        assert_problem(answer, problem_type(code).status, code)


def run_harmless(probe: Probe) -> int:
    """All checks that change nothing, on one preparation; tells of every one that fails. Returns how many there were."""
    failures, checks = [], [each for each in CHECKS if each.harmless and each.applies(probe.endpoint)]
    roomy = {**settings.LIMITS, probe.endpoint.limit: (1000, 60)} if probe.endpoint.limit else settings.LIMITS
    with probe.standing(), override_settings(LIMITS=roomy):  # that a refusal counts is shown by `limit_of_its_own`
        for each in checks:
            try:
                each.run(probe)
            except AssertionError as failure:
                failures.append(f"{each.name}: {failure}")
    assert not failures, "\n".join(failures)
    return len(checks)


# What a table must hold, row by row


def check_row(endpoint: Endpoint) -> None:
    """Rules of the contract that the row itself can break."""
    fields = getattr(endpoint.response, "_declared_fields", {}) if endpoint.response else {}
    auth = endpoint.path.startswith("auth/")
    if endpoint.method == "POST" and endpoint.status == 201 and not auth:
        assert endpoint.idempotency, "every creating POST honours an Idempotency-Key"
    if endpoint.method == "PATCH" and "revision" in fields:
        assert endpoint.revisioned, "what has a revision is edited with If-Match"
    if endpoint.cache == "public":
        assert endpoint.method == "GET" and endpoint.access is Public and not endpoint.scope
    if endpoint.step_up or endpoint.revisioned or endpoint.idempotency:
        assert (endpoint.access is not Public and endpoint.method != "GET") or endpoint.step_up
    if endpoint.method == "DELETE":
        assert endpoint.request is None, "no DELETE has a body"
    if endpoint.paginated:
        assert endpoint.method == "GET" and {"cursor", "page_size"} <= endpoint.query().fields.keys()
    if endpoint.limit:
        assert endpoint.limit in settings.LIMITS
    if endpoint.status == 204:
        assert endpoint.response is None
    if not signs_in(endpoint):
        assert endpoint.access is Public, "who is not asked for a token can only be anybody"
