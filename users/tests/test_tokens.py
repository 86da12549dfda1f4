"""Forged, foreign, stale and malformed tokens: all of them are 401, whatever is wrong."""

import base64
import hashlib
import hmac
import json
import logging
import re
import socket
import urllib.request
import uuid
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings

from core import clock, tokens
from core.testing.http import ApiClient
from users.models import Challenge, User, UserDevice
from users.services import DeviceInfo
from users.services.challenges import open_challenge
from users.tests.factories import UserDeviceFactory, UserFactory
from users.tests.flows import bearer, refresh

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def part(value):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def piece(token, index):
    """A part of a token, decoded."""
    return base64.urlsafe_b64decode(token.split(".")[index] + "==")


def sign(text, *, key=None, digest=hashlib.sha256, signature=None):
    """Header and claims with a signature by `key` (None: the right one)."""
    right_key = next(iter(settings.JWT_SIGNING_KEYS.values()))
    mac = hmac.new((right_key if key is None else key).encode(), text, digest).digest()
    return (text + b"." + (part(mac) if signature is None else signature)).decode()


def forge(token, *, header=None, claims=None, drop=(), drop_header=(), **signing):
    """The token with other headers and claims, signed anew."""
    new_header, new_claims = (
        {name: value for name, value in {**json.loads(piece(token, index)), **(changes or {})}.items() if name not in dropped}
        for index, changes, dropped in ((0, header, drop_header), (1, claims, drop))
    )
    return sign(part(new_header) + b"." + part(new_claims), **signing)


def seconds(**delta):
    return int((clock.now() + timedelta(**delta)).timestamp())


def odd_times(claim):
    """One time of the token in every form that is no whole number of seconds."""
    forms = {
        "text": str(seconds(hours=1)),
        "a fraction": seconds(hours=1) + 0.5,
        "true": True,
        "endless": 1e400,
        "minus endless": -1e400,
        "no number": float("nan"),
        "null": None,
        "a list": [seconds(hours=1)],
        "an object": {"$gt": 0},
        "a date": "2099-01-01T00:00:00Z",
        "of 400 digits": 10**400,
        "negative": -1,
        "in milliseconds": seconds(hours=1) * 1000,
    }
    return {f"{claim}: {name}": lambda t, value=value: forge(t, claims={claim: value}) for name, value in forms.items()}


FORGERIES = {
    # the algorithm
    "alg none without signature": lambda t: forge(t, header={"alg": "none"}, signature=b""),
    "alg none with signature": lambda t: forge(t, header={"alg": "none"}),
    "alg None in another case": lambda t: forge(t, header={"alg": "nOnE"}, signature=b""),
    "HS512 with the right key": lambda t: forge(t, header={"alg": "HS512"}, digest=hashlib.sha512),
    "HS384 with the right key": lambda t: forge(t, header={"alg": "HS384"}, digest=hashlib.sha384),
    **{
        f"alg {alg}": lambda t, alg=alg: forge(t, header={"alg": alg})
        for alg in ("RS256", "ES256", "PS256", "EdDSA", "hs256", "HS256 ", "")
    },
    "alg that is a list": lambda t: forge(t, header={"alg": ["HS256"]}),
    "alg that is null": lambda t: forge(t, header={"alg": None}),
    "no alg": lambda t: forge(t, drop_header=["alg"]),
    # the key's id
    "an unknown kid": lambda t: forge(t, header={"kid": "other"}),
    "no kid": lambda t: forge(t, drop_header=["kid"]),
    "an empty kid": lambda t: forge(t, header={"kid": ""}),
    "a kid that is a path": lambda t: forge(t, header={"kid": "../../dev/null"}, key=""),
    "a kid that is a file's URL": lambda t: forge(t, header={"kid": "file:///dev/null"}, key=""),
    "a kid that is SQL": lambda t: forge(t, header={"kid": "x' OR '1'='1"}),
    "a kid that is SQL with a key": lambda t: forge(t, header={"kid": "x' UNION SELECT 'a"}, key="a"),
    "a kid that is a command": lambda t: forge(t, header={"kid": "|/bin/true"}),
    "a kid with NUL": lambda t: forge(t, header={"kid": "test-1\0"}),
    "a kid in other letters": lambda t: forge(t, header={"kid": "\uff54est-1"}),
    "a kid that is an object": lambda t: forge(t, header={"kid": {"a": 1}}),
    "a kid that is a number": lambda t: forge(t, header={"kid": 0}),
    # keys and places brought along, extensions
    "a key's address": lambda t: forge(t, header={"jku": "http://127.0.0.1:9/keys"}),
    "a key's address as https": lambda t: forge(t, header={"jku": "https://keys.example/keys"}),
    "a key of its own": lambda t: forge(t, header={"jwk": {"kty": "oct", "k": "YQ"}}, key="a"),
    "a certificate's address": lambda t: forge(t, header={"x5u": "http://127.0.0.1:9/c"}),
    "a certificate": lambda t: forge(t, header={"x5c": ["MIIB"]}),
    "a thumbprint": lambda t: forge(t, header={"x5t#S256": "AAAA"}),
    "an unknown crit": lambda t: forge(t, header={"crit": ["exp2"], "exp2": 1}),
    "an empty crit": lambda t: forge(t, header={"crit": []}),
    "a crit that is text": lambda t: forge(t, header={"crit": "exp"}),
    "a crit of b64": lambda t: forge(t, header={"crit": ["b64"], "b64": False}),
    "a payload that is not encoded": lambda t: forge(t, header={"b64": False}),
    "a compressed payload": lambda t: forge(t, header={"zip": "DEF"}),
    "a token in a token": lambda t: forge(t, header={"cty": "JWT"}),
    "another typ header": lambda t: forge(t, header={"typ": "JWE"}),
    "the typ header of another profile": lambda t: forge(t, header={"typ": "at+jwt"}),
    "no typ header": lambda t: forge(t, drop_header=["typ"]),
    # for whom and by whom
    "another audience": lambda t: forge(t, claims={"aud": "other-app"}),
    "a list of audiences": lambda t: forge(t, claims={"aud": ["revsync-app"]}),
    "an audience that begins like ours": lambda t: forge(t, claims={"aud": "revsync-app-2"}),
    "an audience in capitals": lambda t: forge(t, claims={"aud": "REVSYNC-APP"}),
    "a null audience": lambda t: forge(t, claims={"aud": None}),
    "another issuer": lambda t: forge(t, claims={"iss": "https://elsewhere.example"}),
    "an issuer with a stroke more": lambda t: forge(t, claims={"iss": settings.JWT_ISSUER + "/"}),
    "a list of issuers": lambda t: forge(t, claims={"iss": [settings.JWT_ISSUER]}),
    "another type": lambda t: forge(t, claims={"typ": "session"}),
    "no type": lambda t: forge(t, drop=["typ"]),
    "a list of types": lambda t: forge(t, claims={"typ": ["access", "refresh", "mfa"]}),
    **{f"no {claim}": lambda t, claim=claim: forge(t, drop=[claim]) for claim in ("exp", "iat", "iss", "aud", "sub", "sid", "gen", "jti")},
    # times
    "expired": lambda t: forge(t, claims={"exp": seconds(seconds=-1)}),
    "issued in the future": lambda t: forge(t, claims={"iat": seconds(hours=1)}),
    **odd_times("exp"),
    **odd_times("iat"),
    **odd_times("nbf"),
    # who
    "an additional claim": lambda t: forge(t, claims={"role": "ADMIN"}),
    "a subject that is no id": lambda t: forge(t, claims={"sub": "1"}),
    "a subject that is a number": lambda t: forge(t, claims={"sub": 1}),
    "another person as subject": lambda t: forge(t, claims={"sub": str(uuid.uuid4())}),
    "an unknown session": lambda t: forge(t, claims={"sid": str(uuid.uuid4())}),
    "a session that is SQL": lambda t: forge(t, claims={"sid": "' OR true --"}),
    "a future generation": lambda t: forge(t, claims={"gen": 99}),
    "a generation that is true": lambda t: forge(t, claims={"gen": True}),
    "a generation that is text": lambda t: forge(t, claims={"gen": "1"}),
    "a negative generation": lambda t: forge(t, claims={"gen": -1}),
    "a generation of 100 digits": lambda t: forge(t, claims={"gen": 10**100}),
    "claims that are a list": lambda t: sign(part(json.loads(piece(t, 0))) + b"." + part([1])),
    # the signature
    "a wrong key": lambda t: forge(t, key="k" * 48),
    "an empty key": lambda t: forge(t, key=""),
    "no signature": lambda t: forge(t, signature=b""),
    "a cut signature": lambda t: t[:-4],
    "a changed signature": lambda t: t[:-6] + ("AAAAAA" if not t.endswith("AAAAAA") else "BBBBBB"),
    "another token's signature": lambda t: forge(t, claims={"gen": 2}, signature=t.rsplit(".", 1)[1].encode()),
    "padding": lambda t: t + "=",
    "rubbish that decoders skip": lambda t: t + "!*",
    # the form
    "two parts": lambda t: t.rsplit(".", 1)[0],
    "four parts": lambda t: t + ".a",
    "five parts": lambda t: t + ".a.b",
    "nothing": lambda t: ".",
    "only dots": lambda t: "..",
    "as JSON": lambda t: json.dumps(dict(zip(["protected", "payload", "signature"], t.split("."), strict=True))),
    "deeply nested": lambda t: (part(b"[" * 700) + b"." + part({}) + b".a").decode(),
    "a header that is a number": lambda t: (part(b"7") + b"." + part({}) + b".a").decode(),
    "a header with a byte order mark": lambda t: (part(b"\xef\xbb\xbf" + piece(t, 0)) + b"." + t.partition(".")[2].encode()).decode(),
    "far too long": lambda t: t + "A" * 4000,
    "of half a megabyte": lambda t: t + "A" * 500_000,
    "not base64": lambda t: "%%%.%%%.%%%",
    "text": lambda t: "hello",
    "in letters of all the world": lambda t: "жетон.ключ.печать",
    "with a symbol beyond the plane": lambda t: t[:-3] + "\U0001f511",
    "in full-width letters": lambda t: "".join(chr(ord(letter) + 0xFEE0) if letter.isalnum() else letter for letter in t),
    "with a direction override": lambda t: "\u202e" + t,
}


@pytest.fixture
def calls_out(monkeypatch):
    """Every attempt to look a name up or to connect is refused and noted. Postgres' driver opens no Python sockets."""
    attempts = []

    def refuse(*arguments, **_):
        attempts.append(arguments)
        raise OSError("no calls out of here")

    for owner, name in [
        *((socket.socket, name) for name in ("connect", "connect_ex", "sendto")),
        *((socket, name) for name in ("getaddrinfo", "gethostbyname", "create_connection")),
    ]:
        monkeypatch.setattr(owner, name, refuse)
    return attempts


def test_the_guard_sees_a_call_out(calls_out):
    with pytest.raises(OSError, match="no calls out"):
        urllib.request.urlopen("http://127.0.0.1:9/keys")

    assert calls_out


def open_mfa_challenge(user, *, at):
    """A log-in that waits for its second factor."""
    return open_challenge(
        kind="MFA_LOGIN", email=user.email, user=user, pending=asdict(DeviceInfo()), at=at, lifetime=timedelta(minutes=5)
    )


def mfa_token_of(challenge):
    return tokens.mint_mfa(
        user_id=challenge.user_id, challenge_id=challenge.pk, at=challenge.created_at, expires_at=challenge.expires_at
    )


def pieces_of(token):
    """What must not stand in a log: the token, and each part of it that is long enough to mean something."""
    return {text for text in (token, *re.split(r"[.\s]", token)) if len(text) > 12}


@pytest.mark.django_db
@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES.keys())
def test_a_forged_token_is_401_and_leaves_no_trace(forgery, calls_out, caplog, capfd):
    """As access, refresh and log-in token. It ends nothing, nobody is asked about it and no log has a piece of it."""
    caplog.set_level(logging.DEBUG)
    session, at = UserDeviceFactory(user__mfa=True), clock.now()
    challenge = open_mfa_challenge(session.user, at=at)
    access, renewal, second = map(forgery, (tokens.mint_access(session, at=at), tokens.mint_refresh(session), mfa_token_of(challenge)))

    answers = [
        ApiClient().get("users/me/", HTTP_AUTHORIZATION=f"Bearer {access}"),
        refresh(renewal),
        ApiClient().post("auth/mfa/verify/", {"mfa_token": second, "code": "123456"}),
    ]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [
        (401, "token_invalid"),
        (401, "token_invalid"),
        (401, "mfa_token_over"),
    ]
    assert calls_out == []
    said = caplog.text + "".join(capfd.readouterr()) + "".join(answer.content.decode() for answer in answers)
    assert [text[:40] for token in (access, renewal, second) for text in pieces_of(token) if text in said] == []
    assert not UserDevice.objects.get(pk=session.pk).revoked_at
    assert Challenge.objects.get().tries == 0  # a forged log-in token spends none of the owner's tries


@pytest.mark.django_db
class TestTokens:
    def test_untouched_tokens_pass_the_forge(self):
        session, at = UserDeviceFactory(user__mfa=True), clock.now()
        second = forge(mfa_token_of(open_mfa_challenge(session.user, at=at)))

        assert bearer(forge(tokens.mint_access(session, at=at))).get("users/me/").status_code == 200
        assert refresh(forge(tokens.mint_refresh(session))).status_code == 200
        assert ApiClient().post("auth/mfa/verify/", {"mfa_token": second, "code": "123456"}).json()["code"] == "mfa_code_wrong"

    def test_an_access_token_is_no_refresh_token_and_the_other_way(self):
        session = UserDeviceFactory()

        access, renewal = tokens.mint_access(session, at=clock.now()), tokens.mint_refresh(session)

        assert refresh(access).status_code == 401
        assert bearer(renewal).get("users/me/").status_code == 401
        for token in (access, renewal):
            assert ApiClient().post("auth/mfa/verify/", {"mfa_token": token, "code": "123456"}).status_code == 401

    @pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "Bearer ", "Token abc", "Bearer a b"])
    def test_other_authorization_headers_are_refused(self, header):
        client = ApiClient()
        client.credentials(HTTP_AUTHORIZATION=header)

        assert client.get("users/me/").status_code == 401

    def test_no_header_asks_to_sign_in(self):
        answer = ApiClient().get("users/me/")

        assert (answer.status_code, answer.json()["code"], answer["WWW-Authenticate"]) == (
            401,
            "not_authenticated",
            'Bearer realm="revsync"',
        )

    def test_another_environments_key_is_refused(self, settings):
        session = UserDeviceFactory()
        settings.JWT_SIGNING_KEYS = dict.fromkeys(settings.JWT_SIGNING_KEYS, "o" * 48)
        foreign = tokens.mint_access(session, at=clock.now())
        del settings.JWT_SIGNING_KEYS

        assert bearer(foreign).get("users/me/").status_code == 401

    def test_two_keys_live_at_once_while_one_is_changed(self, settings):
        session, old_keys = UserDeviceFactory(), settings.JWT_SIGNING_KEYS
        old = tokens.mint_access(session, at=clock.now())

        settings.JWT_SIGNING_KEYS = {"next": "n" * 48, **old_keys}
        new = tokens.mint_access(session, at=clock.now())
        both = [bearer(token).get("users/me/").status_code for token in (old, new)]
        settings.JWT_SIGNING_KEYS = {"next": "n" * 48}
        after = [bearer(token).get("users/me/").status_code for token in (old, new)]

        assert [json.loads(piece(token, 0))["kid"] for token in (old, new)] == [*old_keys, "next"]
        assert (both, after) == ([200, 200], [401, 200])

    def test_no_request_fails_while_a_key_is_changed_process_by_process(self, settings):
        """The three steps of the operator's page. At each, one process has the keys of before and one those of after."""
        old, new = {"old": "o" * 48}, {"new": "n" * 48}
        steps = [(old, old | new), (old | new, new | old), (new | old, new)]
        session = UserDeviceFactory()
        settings.JWT_SIGNING_KEYS = old
        renewal = tokens.mint_refresh(session)

        for before, after in steps:
            for minting, reading in ((before, after), (after, before), (after, after)):
                settings.JWT_SIGNING_KEYS = minting
                renewal = refresh(renewal).json()["refresh"]
                access = tokens.mint_access(UserDevice.objects.get(pk=session.pk), at=clock.now())
                settings.JWT_SIGNING_KEYS = reading
                assert bearer(access).get("users/me/").status_code == 200
                renewal = refresh(renewal).json()["refresh"]

        assert UserDevice.objects.get(pk=session.pk).generation == 19  # every refresh of the eighteen rotated

    def test_a_lost_answer_across_a_change_of_keys_leads_to_the_same_session(self, settings):
        session, old_keys = UserDeviceFactory(), settings.JWT_SIGNING_KEYS
        parent = tokens.mint_refresh(session)
        lost = refresh(parent).json()["refresh"]

        settings.JWT_SIGNING_KEYS = {"next": "n" * 48, **old_keys}
        again = refresh(parent).json()["refresh"]

        assert UserDevice.objects.get(pk=session.pk).generation == 2
        assert json.loads(piece(lost, 1))["gen"] == json.loads(piece(again, 1))["gen"] == 2
        assert refresh(lost).status_code == 200  # both are the live one, signed by either key
        assert UserDevice.objects.get(pk=session.pk).revoked_at is None

    @pytest.mark.parametrize("keys", [{"old": "n" * 48}, {"new": "o" * 48}])
    def test_a_key_is_good_only_under_its_own_id(self, settings, keys):
        session = UserDeviceFactory()
        settings.JWT_SIGNING_KEYS = keys
        token = tokens.mint_access(session, at=clock.now())
        settings.JWT_SIGNING_KEYS = {"old": "o" * 48, "new": "n" * 48}

        assert bearer(token).get("users/me/").status_code == 401

    def test_the_refresh_token_follows_from_the_row(self):
        session = UserDeviceFactory()

        assert tokens.mint_refresh(session) == tokens.mint_refresh(UserDevice.objects.get(pk=session.pk))

    @pytest.mark.parametrize(("minutes", "accepted"), [(9.9, True), (10, False)])
    def test_an_access_token_lives_ten_minutes(self, minutes, accepted):
        session = UserDeviceFactory(signed_in_at=NOW)
        token = tokens.mint_access(session, at=NOW)

        if accepted:
            tokens.read(token, token_type="access", at=NOW + timedelta(minutes=minutes))
        else:
            with pytest.raises(tokens.TokenInvalid):
                tokens.read(token, token_type="access", at=NOW + timedelta(minutes=minutes))

    def test_one_that_was_read_before_is_asked_again_what_can_change(self, settings):
        """That the key signed it is remembered; its time, its key's place in the settings and its type are not."""
        session, old_keys = UserDeviceFactory(signed_in_at=NOW), settings.JWT_SIGNING_KEYS
        token = tokens.mint_access(session, at=NOW)
        claims = tokens.read(token, token_type="access", at=NOW)

        assert tokens.read(token, token_type="access", at=NOW) == claims
        for minutes in (-1, 10):
            self.is_refused(token, at=NOW + timedelta(minutes=minutes))
        self.is_refused(token, token_type="refresh")
        for forged in (f"{token[:-9]}{'A' if token[-9] != 'A' else 'B'}{token[-8:]}", f"{token}A"):
            self.is_refused(forged)
        for keys in ({"next": "n" * 48}, dict.fromkeys(old_keys, "o" * 48)):
            settings.JWT_SIGNING_KEYS = keys
            self.is_refused(token)
        settings.JWT_SIGNING_KEYS = old_keys
        assert tokens.read(token, token_type="access", at=NOW) == claims

    @staticmethod
    def is_refused(token, *, token_type="access", at=NOW):
        with pytest.raises(tokens.TokenInvalid):
            tokens.read(token, token_type=token_type, at=at)

    def test_no_role_in_it_is_asked(self, django_assert_num_queries):
        session = UserDeviceFactory()
        client = bearer(tokens.mint_access(session, at=clock.now()))

        with django_assert_num_queries(1):  # session and person together
            answer = client.get("users/me/")

        assert answer.json()["role"] == "RIDER"


@pytest.mark.django_db
class TestNextRequest:
    """What happens to the account bites on the next request of a token minted before."""

    @pytest.fixture
    def session(self):
        return UserDeviceFactory()

    @pytest.fixture
    def client(self, session):
        return bearer(tokens.mint_access(session, at=clock.now()))

    def test_a_revoked_session(self, session, client):
        UserDevice.objects.filter(pk=session.pk).end(reason="REVOKED", at=clock.now())

        assert client.get("users/me/").status_code == 401

    def test_an_expired_session(self, session, client):
        past = clock.now() - timedelta(days=40)
        UserDevice.objects.filter(pk=session.pk).update(signed_in_at=past, expires_at=past + timedelta(days=30))

        assert client.get("users/me/").status_code == 401

    def test_a_closed_account(self, session, client):
        User.objects.filter(pk=session.user_id).update(is_active=False)

        assert client.get("users/me/").status_code == 401
        assert refresh(tokens.mint_refresh(session)).status_code == 401

    def test_a_deleted_account(self, session, client):
        token = tokens.mint_refresh(session)
        session.user.delete()

        assert client.get("users/me/").status_code == 401
        assert (refresh(token).status_code, refresh(token).json()["code"]) == (401, "token_invalid")

    def test_a_blocked_account_keeps_only_what_the_table_opens(self, session, client):
        User.objects.filter(pk=session.user_id).update(blocked_at=clock.now(), blocked_reason="Sold stolen files")

        assert client.get("users/me/").json()["block"]["reason"] == "Sold stolen files"
        assert (client.get("users/me/profile/").status_code, client.get("users/me/profile/").json()["code"]) == (403, "account_blocked")

    def test_a_changed_role(self, session, client):
        User.objects.filter(pk=session.user_id).update(role="TUNER")

        assert client.get("users/me/").json()["role"] == "TUNER"

    def test_a_token_of_an_earlier_log_in_on_the_same_row(self, session, client):
        UserDevice.objects.filter(pk=session.pk).update(generation=2, login_generation=2)

        assert client.get("users/me/").status_code == 401


@pytest.mark.django_db
def test_a_busy_session_writes_when_it_was_seen_every_five_minutes(django_assert_num_queries):
    session = UserDeviceFactory()
    UserDevice.objects.filter(pk=session.pk).update(last_seen_at=clock.now() - timedelta(minutes=6))
    client = bearer(tokens.mint_access(session, at=clock.now()))

    with django_assert_num_queries(2):  # session, and the note
        client.get("users/me/")
    with django_assert_num_queries(1):
        client.get("users/me/")

    assert UserDevice.objects.get(pk=session.pk).last_ip == "127.0.0.1"


@pytest.mark.django_db
def test_a_bad_token_beside_a_public_sign_in_does_not_get_in_the_way():
    user = UserFactory()
    client = bearer("stale")

    answer = client.post("auth/login/", {"email": user.email, "password": "quiet-otter-lifts-9-anvils"})

    assert answer.status_code == 200
