"""Type confusion, odd notations, unseen characters and over-long values at every place of every body and query.

Generated from the serializers by `core.testing.hostile`, on the routes of the endpoint table with the recipes of the
access tests: each case is otherwise a call that succeeds.
"""

import json
import time
from dataclasses import replace

import pytest
from django.conf import settings
from django.test import override_settings

from core.problems import flatten_errors
from core.testing.hostile import Case, cases_of_body, cases_of_query
from core.testing.manners import Probe, nothing_written
from core.testing.matrix import assert_problem, undone
from revsync_backend.tests import recipes
from revsync_backend.urls import all_endpoints

pytestmark = pytest.mark.django_db
MAX_SECONDS = 1.0  # of computing: the machine may be busy
MAX_ANSWER_BYTES = 40_000  # nothing long is sent back
bodies = [pytest.param(endpoint, id=endpoint.name) for endpoint in all_endpoints() if endpoint.request is not None]
queries = [pytest.param(endpoint, id=endpoint.name) for endpoint in all_endpoints() if endpoint.query is not None]


@pytest.fixture
def probe_of(world):
    """How an operation is exercised, with no limit that so many tries would reach."""
    wide = {name: (10**6, window) for name, (_, window) in settings.LIMITS.items()}

    def probe(endpoint):
        return Probe(endpoint, recipes.recipe_for(endpoint.name), world)

    with override_settings(LIMITS=wide, APPROXIMATE_LIMITS={"default": (10**6, 60)}):
        yield probe


def is_refused(serializer, case: Case, *, partial: bool = False, in_query: bool = False, again: bool = True) -> bool:
    """Whether validation refuses it at its place, in time. One that seems slow is judged once more, as in `refuse`."""
    started = time.process_time()
    looked_at = serializer(data=case.body, partial=partial, context={"in_query": in_query})
    named = (
        [] if looked_at.is_valid() else [f"{error.pointer}".lstrip("/" if in_query else "") for error in flatten_errors(looked_at.errors)]
    )
    if time.process_time() - started >= MAX_SECONDS:
        return again and is_refused(serializer, case, partial=partial, in_query=in_query, again=False)
    return any(name.startswith(case.place) for name in named)


def some_of(cases: list[Case]) -> list[Case]:
    """Two values of each place, another two on each route: over HTTP, where a 500 would show itself."""
    places: dict[str, list[Case]] = {}
    for case in cases:
        places.setdefault(case.place, []).append(case)
    return [values[(step + len(cases)) % len(values)] for values in places.values() for step in (0, len(values) // 2)]


def refuse(probe, caller, call, case: Case, *, in_query: bool = False, again: bool = True) -> str:
    """Send the case; the reason why the answer is not what it must be, or nothing. One that seems slow is sent once more:
    the process has other work as well (a collection of garbage after thousands of tests)."""
    started = time.process_time()
    try:
        with nothing_written():
            if in_query:
                answer = probe.send(caller, replace(call, query={**call.query, **case.body}))
            else:
                answer = probe.send(caller, call, raw=json.dumps(case.body))
    except AssertionError as written:
        return f"{case}: {str(written)[:60]}"
    seconds = time.process_time() - started
    if answer.status_code != 400:
        return f"{case}: {answer.status_code}"
    body = assert_problem(answer, 400, answer.json()["code"])
    place = "parameter" if in_query else "pointer"
    named = [error.get(place, "") for error in body.get("errors", [])]
    if body["code"] not in {"invalid_input", "unknown_field"} or not any(name.startswith(case.place) for name in named):
        return f"{case}: {body['code']} at {named[:3]}"
    if len(answer.content) > MAX_ANSWER_BYTES:
        return f"{case}: an answer of {len(answer.content)} bytes"
    if seconds <= MAX_SECONDS:
        return ""
    return refuse(probe, caller, call, case, in_query=in_query, again=False) if again else f"{case}: {seconds:.1f} s"


@pytest.mark.parametrize("endpoint", bodies)
def test_every_place_of_a_body_refuses_what_it_must(endpoint, probe_of, record_property):
    probe = probe_of(endpoint)
    with undone():
        caller, call = probe.prepare()
        cases = list(cases_of_body(endpoint.request(), call.body))
        wrong = [str(case) for case in cases if not is_refused(endpoint.request, case, partial=endpoint.method == "PATCH")]
        wrong += [found for case in some_of(cases) if (found := refuse(probe, caller, call, case))]
    record_property("cases", len(cases))
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("endpoint", queries)
def test_every_parameter_refuses_what_it_must(endpoint, probe_of, record_property):
    probe = probe_of(endpoint)
    with undone():
        caller, call = probe.prepare()
        cases = list(cases_of_query(endpoint.query()))
        wrong = [str(case) for case in cases if not is_refused(endpoint.query, case, in_query=True)]
        wrong += [found for case in some_of(cases) if (found := refuse(probe, caller, call, case, in_query=True))]
    record_property("cases", len(cases))
    assert not wrong, "\n".join(wrong)
