"""What schemathesis is told about RevSync: who calls, what succeeds, and which failures are none (`schemathesis_exclusions.py`).

Sessions are started by the service that a log-in calls, and stepped up: they are renewed before tokens and step-up end, and after
an operation that ends sessions.

No generator draws the id of something that exists, or the code that a mail brought. So half of the ids of paths are given, and one
drawn request of each operation gives its place to a whole one that succeeds, made by the recipe of the generated tests.
"""

import atexit
import os
import re
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tools.schemathesis_settings")

import django

django.setup()

import requests
import schemathesis
from django.db import connection
from factory import Factory
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation.meta import TestPhase, negated_parameters

from core import clock, tokens
from core.testing import matrix
from revsync_backend.tests import recipes
from revsync_backend.tests import world as people
from revsync_backend.urls import all_endpoints
from tools import schemathesis_exclusions as exclusions
from users.enums import StepUpMethod
from users.models import User, UserDevice
from users.services import sessions

ACCOUNT = os.environ.get("SCHEMATHESIS_ACCOUNT", "")  # its address; empty for somebody who is not signed in
RENEW_SECONDS = 120
ENDING = {"log_out", "log_out_everywhere", "change_password", "revoke_my_device", "confirm_password_reset", "refresh_tokens"}


class Caller:
    """The role's session. One at a time, with everything a session may have."""

    def __init__(self) -> None:
        self.token = ""
        self.renew_at = 0.0

    def current(self) -> str:
        if time.monotonic() > self.renew_at:
            self.token = _start_session()
            self.renew_at = time.monotonic() + RENEW_SECONDS
        return self.token

    def forget(self) -> None:
        self.renew_at = 0.0


def _start_session() -> str:
    """An access token; a useless one when the person has deleted the account."""
    at = clock.now()
    user = User.objects.filter(email=ACCOUNT).first()
    if user is None:
        return "nobody"
    session = sessions.start_session(user=user, device=sessions.DeviceInfo(name="schemathesis"), peer="127.0.0.1", at=at)
    UserDevice.objects.filter(pk=session.pk).update(stepped_up_at=at, stepped_up_with=StepUpMethod.PASSWORD)
    connection.close()
    return tokens.mint_access(session, at=at)


caller = Caller()

if ACCOUNT:

    @schemathesis.auth(refresh_interval=None)
    class SignedIn:
        def get(self, case, context):
            return caller.current()

        def set(self, case, data, context):
            if ("Authorization", ParameterLocation.HEADER) in negated_parameters(case.meta):
                return  # it is missing or malformed on purpose
            case.headers = case.headers or {}
            case.headers["Authorization"] = f"Bearer {data}"


class KnownIds:
    """Ids that this caller can read, with the ids of their parents: no generator draws one by chance."""

    LISTS = (
        ("tune", "marketplace/tunes/"),
        ("tune", "tuners/me/tunes/"),
        ("tuner", "tuners/"),
        ("vehicle", "garage/vehicles/"),
        ("purchase", "marketplace/purchases/"),
        ("notice", "users/me/notices/"),
        ("certification", "tuners/certifications/"),
        ("case", "marketplace/cases/"),
        ("payout", "marketplace/payouts/"),
        ("version", "marketplace/tunes/{tune}/versions/"),
        ("review", "tuners/{tuner}/reviews/"),
        ("mod", "garage/vehicles/{vehicle}/mods/"),
        ("stock_file", "garage/vehicles/{vehicle}/stock-files/"),
        ("download", "marketplace/purchases/{purchase}/downloads/"),
    )
    EACH = 4  # of a list

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, str]]] = {}

    def of(self, parameter: str, base_url: str) -> list[dict[str, str]]:
        if not self.rows:
            self._read(base_url.rstrip("/") + "/api/v1/")
        return self.rows.get(parameter, [])

    def _read(self, base_url: str) -> None:
        headers = {"Authorization": f"Bearer {caller.current()}"} if ACCOUNT else {}
        for name, path in self.LISTS:
            parent = re.search(r"{(\w+)}", path)
            for above in self.rows.get(parent[1], []) if parent else [{}]:
                answer = requests.get(base_url + path.format(**above), headers=headers, params={"page_size": self.EACH}, timeout=60)
                found = answer.json()["results"] if answer.status_code == 200 else []
                self.rows.setdefault(name, []).extend({**above, name: row["id"]} for row in found)


known = KnownIds()


class Given:
    """Requests that succeed: for each operation that this role may call, until one did."""

    TRIES = 4

    def __init__(self) -> None:
        self.role = os.environ.get("SCHEMATHESIS_ROLE", "anonymous")
        self.endpoints = {endpoint.name: endpoint for endpoint in all_endpoints()}
        self.tries: Counter[str] = Counter()
        self.done: set[str] = set()
        self.sent = ""  # the operation of the request that is under way, when it is one of these
        self._world: people.World | None = None

    def put_into(self, case) -> bool:
        """Make the case a request that succeeds, unless one did already; answers whether it is one now."""
        name = case.operation.definition.raw["operationId"]
        endpoint = self.endpoints[name]
        if name in self.done or self.tries[name] >= self.TRIES or matrix.refusal_of(endpoint, self.role):
            return False
        self.tries[name] += 1
        call = self._call_of(name)
        if call is None or call.refused is not None:
            self.done.add(name)
            return False
        person = self.world.caller(self.role)
        matrix.ready(endpoint, person)
        call = matrix.as_anybody(call) if self.role == "anonymous" else call
        case.path_parameters = {part: str(value) for part, value in call.path.items()}
        case.query = {part: str(value) for part, value in call.query.items()}
        case.headers = {part.removeprefix("HTTP_").replace("_", "-").title(): value for part, value in call.headers.items()}
        if person.device is not None:
            case.headers["Authorization"] = f"Bearer {tokens.mint_access(person.device, at=clock.now())}"
        if endpoint.idempotency == "required":
            case.headers["Idempotency-Key"] = uuid.uuid4().hex
        if endpoint.request is not None:
            case.body, case.media_type = matrix.plain_body(call), "application/json"
        self.sent = name
        return True

    def _call_of(self, name: str) -> matrix.Call | None:
        """By its recipe: of a new person, when what an earlier request made stands in the way of it."""
        for _ in range(2):
            try:
                return recipes.recipe_for(name)(self.world.kit(self.role), self.world)
            except Exception:  # a run that finds no success at all says so, by operation
                people.add_kit(self.world, "rider" if self.role == "anonymous" else self.role)
        return None

    def hear(self, status_code: int) -> None:
        """What the request under way was answered. Whatever ends a session or takes things away leaves its person without them."""
        if not self.sent:
            return
        endpoint, self.sent = self.endpoints[self.sent], ""
        if status_code < 300:
            self.done.add(endpoint.name)
        if self.role != "anonymous" and (status_code >= 300 or endpoint.method == "DELETE" or endpoint.path.startswith("auth/")):
            people.add_kit(self.world, self.role)

    @property
    def world(self) -> people.World:
        if self._world is None:
            number = (10 * User.objects.count() + list(matrix.ROLES).index(self.role)) * 300  # several processes make people
            for factory in _below(Factory):
                factory.reset_sequence(number, force=True)
            self._world = people.build()
        return self._world


def _below(cls: type) -> Iterator[type]:
    for sub in cls.__subclasses__():
        if sub._meta.model is not None:
            yield sub
        yield from _below(sub)


given = Given()


@schemathesis.hook
def before_call(context, case, kwargs):
    """One request of each operation is made one that succeeds; the ids of the others are given as far as that may be."""
    if case.meta is None or case.meta.phase.name == TestPhase.STATEFUL:
        return
    is_signed_in = not ACCOUNT or (case.headers or {}).get("Authorization") == f"Bearer {caller.token}"  # a check may take that away
    is_meant_well = case.meta.generation.mode.is_positive and case.method.upper() == case.operation.method.upper()
    if not (is_signed_in and is_meant_well and given.put_into(case)):
        _give_ids(case)


def _give_ids(case) -> None:
    """Give half of the drawn ids of a path to something that exists. Links bring their own; a case that is wrong but for its body or
    query stays as wrong as it is."""
    if not case.path_parameters:
        return
    elsewhere = any(case.meta.is_negative_at(location) for location in (ParameterLocation.BODY, ParameterLocation.QUERY))
    if case.meta.is_negative_at(ParameterLocation.PATH) or (case.meta.generation.mode.is_negative and not elsewhere):
        return
    last = re.findall(r"{(\w+)}", case.operation.path)[-1]
    try:
        drawn = uuid.UUID(str(case.path_parameters.get(last)))
    except ValueError:
        return
    rows = known.of(last, case.operation.schema.config.base_url or case.operation.base_url)
    chosen = drawn.int % (2 * len(rows)) if rows else 0
    if chosen < len(rows):
        case.path_parameters.update({name: value for name, value in rows[chosen].items() if name in case.path_parameters})


@schemathesis.hook
def after_call(context, case, response):
    operation = case.operation.definition.raw["operationId"]
    exclusions.answers[f"{operation} {response.status_code}"] += 1
    given.hear(response.status_code)
    if response.status_code == 401 or operation in ENDING:
        caller.forget()


@schemathesis.hook
def filter_failure(context, failure, case, response):
    return not exclusions.is_excused(failure, response)


if counts := os.environ.get("SCHEMATHESIS_COUNTS"):
    atexit.register(exclusions.write, Path(counts))
