"""No answer tells whether an address has an account: same status, headers, body, statements and work for every kind of address.

How long it takes is measured by `make bench-enumeration`; what takes time is compared here: the SQL and the password hashes.
"""

import re

import pytest
from django.db import connection

from benchmarks.enumeration import THINGS, Case, People, Sender, look, measure, operations, row_of, things
from core import clock, limits
from core.testing.http import ApiClient, client_for
from tuners.tests.factories import TunerProfileFactory
from users import codes, services
from users.hashers import OwaspArgon2PasswordHasher
from users.models import Challenge
from users.tests.factories import PASSWORD, UserFactory
from users.tests.flows import DEVICE, mails_to, register, wrong

ADDRESS = "anna@example.com"


def locked():
    for _ in range(10):
        limits.hit("login_failures_account", ADDRESS, at=clock.now())


def no_usable_password():
    user = UserFactory(email=ADDRESS)
    user.set_password(None)
    user.save()


STANDINGS = {
    "unknown": lambda: None,
    "known": lambda: UserFactory(email=ADDRESS),
    "closed": lambda: UserFactory(email=ADDRESS, is_active=False),
    "blocked": lambda: UserFactory(email=ADDRESS, blocked=True),
    "suspended tuner": lambda: TunerProfileFactory(user=UserFactory(email=ADDRESS, tuner=True), suspended=True),
    "second factor": lambda: UserFactory(email=ADDRESS, mfa=True),
    "admin": lambda: UserFactory(email=ADDRESS, admin=True, mfa=True),
    "no usable password": no_usable_password,
    "locked": lambda: (UserFactory(email=ADDRESS), locked()),
    "locked, unknown": locked,
}
LOCKED = {"locked", "locked, unknown"}


def post(path, body, client=None):
    return lambda: (client or ApiClient()).post(path, body)


def on_registration(call):
    return lambda: call(register(ADDRESS))


def on_reset(call):
    return lambda: call(str(services.request_password_reset(email=ADDRESS, at=clock.now()).pk))


def wrong_code(challenge):
    return wrong(codes.code_of(Challenge.objects.get(pk=challenge)))


REGISTRATION = {"email": ADDRESS, "password": PASSWORD, "display_name": "Anna", "terms_version": "2026-11-01"}
CALLS = {
    "register": lambda: post("auth/register/", REGISTRATION),
    "log in": lambda: post("auth/login/", {"email": ADDRESS, "password": "another-password-9"}),
    "log in on a device": lambda: post("auth/login/", {"email": ADDRESS, "password": "another-password-9", "device": DEVICE}),
    "reset": lambda: post("auth/password/reset/", {"email": ADDRESS}),
    "change the address to": lambda: post("auth/email/change/", {"email": ADDRESS}, client_for(UserFactory(), step_up=True)),
    "resend a registration": on_registration(lambda challenge: post(f"auth/challenges/{challenge}/resend/", {})),
    "resend a reset": on_reset(lambda challenge: post(f"auth/challenges/{challenge}/resend/", {})),
    "wrong code of a registration": on_registration(
        lambda challenge: post("auth/verify-email/", {"challenge_id": challenge, "code": wrong_code(challenge)})
    ),
    "wrong code of a reset": on_reset(
        lambda challenge: post(
            "auth/password/reset/confirm/",
            {"challenge_id": challenge, "code": wrong_code(challenge), "new_password": "nine-tall-cranes-sleep"},
        )
    ),
}


@pytest.fixture
def trace(monkeypatch):
    """What a call answers, which statements it runs and how often it hashes a password."""
    hashed = []
    for name in ("encode", "verify"):
        original = getattr(OwaspArgon2PasswordHasher, name)
        monkeypatch.setattr(
            OwaspArgon2PasswordHasher, name, lambda *given, original=original, name=name: hashed.append(name) or original(*given)
        )

    def run(call):
        statements = []

        def note(execute, sql, params, many, context):
            statements.append(re.sub(r'(SAVEPOINT) ".*"', r"\1", sql))  # their names count up
            return execute(sql, params, many, context)

        hashed.clear()
        with connection.execute_wrapper(note):
            answer = call()
        body = answer.json() if answer.content else None
        return look(answer.status_code, dict(answer.headers), body), statements, len(hashed)

    return run


@pytest.mark.django_db
@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize("standing", [name for name in STANDINGS if name != "unknown"])
def test_every_kind_of_address_is_answered_like_an_unknown_one(trace, operation, standing):
    def play(kind):
        savepoint = connection.savepoint()
        STANDINGS[kind]()
        call = CALLS[operation]()
        seen = trace(call)
        connection.savepoint_rollback(savepoint)
        return seen

    unknown = play("locked, unknown" if standing in LOCKED else "unknown")  # the lock is on the address, whoever has it

    assert play(standing) == unknown


@pytest.mark.django_db
def test_the_right_password_of_a_closed_account_is_a_wrong_one(trace):
    UserFactory(email=ADDRESS, is_active=False)
    closed = trace(post("auth/login/", {"email": ADDRESS, "password": PASSWORD}))

    assert closed == trace(post("auth/login/", {"email": "nobody@example.com", "password": PASSWORD}))
    assert closed[0].startswith("401 ") and closed[2] == 1


@pytest.mark.django_db
@pytest.mark.parametrize("standing", ["closed", "unknown"])
@pytest.mark.parametrize("operation", ["reset", "resend a reset"])
def test_nobody_is_mailed_where_nobody_can_use_it(standing, operation):
    STANDINGS[standing]()
    CALLS[operation]()()

    assert mails_to(ADDRESS) == []


@pytest.mark.django_db(transaction=True)
def test_the_benchmark_calls_what_it_says_and_finds_the_answers_alike(live_server, settings):
    """Once each, over real HTTP, from a peer of its own each time. What it measures with so few is no matter here."""
    settings.TRUSTED_PROXY_HOPS = 1
    sender = Sender(live_server.thread.port)

    rows = [measure(make_cases(), sender, rounds=1, warm_up=0) for make_cases in operations(People(), 1)]

    assert {row.operation: (row.status, row.is_alike) for row in rows} == {
        "register": ("202", True),
        "log in, wrong password": ("401", True),
        "log in, locked": ("429", True),
        "log in, right password of a closed account": ("401", True),
        "reset the password": ("202", True),
        "change the address to": ("202", True),
        "resend the code of a registration": ("202", True),
        "resend the code of a reset": ("202", True),
        "wrong code of a registration": ("400", True),
        "wrong code of a reset": ("400", True),
    }


@pytest.mark.django_db(transaction=True)
def test_the_benchmark_asks_for_things_of_others_and_finds_them_missing(live_server, settings):
    settings.TRUSTED_PROXY_HOPS = 1
    sender = Sender(live_server.thread.port)

    rows = [measure(make_cases(), sender, rounds=2, warm_up=0) for make_cases in things(People(), 2)]

    assert {row.operation: (row.status, row.is_alike) for row in rows} == dict.fromkeys(THINGS, ("404", True))


def _case(name, milliseconds, answer="202 []"):
    case = Case("reset", name, iter(()))
    case.seconds, case.answers = [milliseconds / 1000] * 5, {answer}
    return case


class TestBenchmark:
    """Its verdict: it can fail."""

    def test_a_tenth_apart_is_reached_and_more_is_missed(self):
        assert row_of([_case("known", 11.0), _case("unknown", 10.0)]).is_within_bar
        assert not row_of([_case("known", 11.2), _case("unknown", 10.0)]).is_within_bar

    @pytest.mark.parametrize("answer", ["404 []", '202 ["x"]'])
    def test_another_answer_is_missed_however_quick(self, answer):
        assert not row_of([_case("known", 10.0), _case("unknown", 10.0, answer)]).is_within_bar

    def test_a_look_sees_status_headers_and_body_but_no_ids_and_dates(self):
        one, other = "01a20475-b68e-7523-a8df-4a06732df741", "01a20475-b68e-7523-a8df-4a06732df742"
        plain = look(202, {"Content-Type": "application/json", "Date": "now"}, {"challenge_id": one})

        assert plain == look(202, {"content-type": "application/json", "date": "later"}, {"challenge_id": other})
        assert plain != look(200, {"Content-Type": "application/json", "Date": "now"}, {"challenge_id": one})
        assert plain != look(202, {"Content-Type": "application/json", "Date": "now", "X-Known": "1"}, {"challenge_id": one})
        assert plain != look(202, {"Content-Type": "application/json", "Date": "now"}, {"challenge_id": one, "known": True})
