"""Forged, foreign, stale and malformed tokens: all of them are 401, whatever is wrong."""

import base64
import hashlib
import hmac
import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from core import clock, tokens
from core.testing.http import ApiClient
from users.models import User, UserDevice
from users.tests.factories import UserDeviceFactory, UserFactory
from users.tests.flows import bearer, refresh

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def part(value):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def forge(token, *, header=None, claims=None, drop=(), key=None, digest=hashlib.sha256, signature=None):
    """The token with other headers and claims, signed with `key` (None: the right one)."""
    from django.conf import settings

    head, body, _ = (base64.urlsafe_b64decode(piece + "==") for piece in token.split("."))
    new_header = {**json.loads(head), **(header or {})}
    new_claims = {name: value for name, value in {**json.loads(body), **(claims or {})}.items() if name not in drop}
    signed = part(new_header) + b"." + part(new_claims)
    kid = next(iter(settings.JWT_SIGNING_KEYS))
    mac = hmac.new((settings.JWT_SIGNING_KEYS[kid] if key is None else key).encode(), signed, digest).digest()
    return (signed + b"." + (part(mac) if signature is None else signature)).decode()


def seconds(**delta):
    return int((clock.now() + timedelta(**delta)).timestamp())


FORGERIES = {
    "alg none without signature": lambda t: forge(t, header={"alg": "none"}, signature=b""),
    "alg None in another case": lambda t: forge(t, header={"alg": "nOnE"}, signature=b""),
    "another hash": lambda t: forge(t, header={"alg": "HS512"}, digest=hashlib.sha512),
    "an asymmetric algorithm": lambda t: forge(t, header={"alg": "RS256"}),
    "alg that is a list": lambda t: forge(t, header={"alg": ["HS256"]}),
    "an unknown kid": lambda t: forge(t, header={"kid": "other"}),
    "a kid that is a path": lambda t: forge(t, header={"kid": "../../dev/null"}, key=""),
    "a kid that is SQL": lambda t: forge(t, header={"kid": "x' OR '1'='1"}),
    "a kid that is an object": lambda t: forge(t, header={"kid": {"a": 1}}),
    "a key's address": lambda t: forge(t, header={"jku": "http://127.0.0.1:9/keys"}),
    "a key of its own": lambda t: forge(t, header={"jwk": {"kty": "oct", "k": "YQ"}}, key="a"),
    "a certificate's address": lambda t: forge(t, header={"x5u": "http://127.0.0.1:9/c"}),
    "an unknown crit": lambda t: forge(t, header={"crit": ["exp2"], "exp2": 1}),
    "an empty crit": lambda t: forge(t, header={"crit": []}),
    "another typ header": lambda t: forge(t, header={"typ": "JWE"}),
    "another audience": lambda t: forge(t, claims={"aud": "other-app"}),
    "a list of audiences": lambda t: forge(t, claims={"aud": ["revsync-app"]}),
    "another issuer": lambda t: forge(t, claims={"iss": "https://elsewhere.example"}),
    "another type": lambda t: forge(t, claims={"typ": "mfa"}),
    "no type": lambda t: forge(t, drop=["typ"]),
    "no expiry": lambda t: forge(t, drop=["exp"]),
    "no issuer": lambda t: forge(t, drop=["iss"]),
    "no audience": lambda t: forge(t, drop=["aud"]),
    "expired": lambda t: forge(t, claims={"exp": seconds(seconds=-1)}),
    "issued in the future": lambda t: forge(t, claims={"iat": seconds(hours=1)}),
    "an expiry that is text": lambda t: forge(t, claims={"exp": str(seconds(hours=1))}),
    "an expiry that is true": lambda t: forge(t, claims={"exp": True}),
    "an endless expiry": lambda t: forge(t, claims={"exp": 1e400}),
    "an additional claim": lambda t: forge(t, claims={"role": "ADMIN"}),
    "a subject that is no id": lambda t: forge(t, claims={"sub": "1"}),
    "a subject that is a number": lambda t: forge(t, claims={"sub": 1}),
    "another person as subject": lambda t: forge(t, claims={"sub": str(uuid.uuid4())}),
    "an unknown session": lambda t: forge(t, claims={"sid": str(uuid.uuid4())}),
    "a future generation": lambda t: forge(t, claims={"gen": 99}),
    "a generation that is true": lambda t: forge(t, claims={"gen": True}),
    "a negative generation": lambda t: forge(t, claims={"gen": -1}),
    "a wrong key": lambda t: forge(t, key="k" * 48),
    "an empty key": lambda t: forge(t, key=""),
    "a cut signature": lambda t: t[:-4],
    "a changed signature": lambda t: t[:-6] + ("AAAAAA" if not t.endswith("AAAAAA") else "BBBBBB"),
    "two parts": lambda t: t.rsplit(".", 1)[0],
    "five parts": lambda t: t + ".a.b",
    "nothing": lambda t: ".",
    "deeply nested": lambda t: (part(b"[" * 700) + b"." + part({}) + b".").decode(),
    "far too long": lambda t: t + "A" * 4000,
    "not base64": lambda t: "%%%.%%%.%%%",
    "text": lambda t: "hello",
}


@pytest.mark.django_db
@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES.keys())
class TestForgedTokens:
    def test_an_access_token_is_refused(self, forgery, caplog):
        token = forgery(tokens.mint_access(UserDeviceFactory(), at=clock.now()))

        answer = bearer(token).get("users/me/")

        assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")
        assert len(token) < 20 or token not in caplog.text

    def test_a_refresh_token_is_refused_and_ends_nothing(self, forgery):
        session = UserDeviceFactory()

        answer = refresh(forgery(tokens.mint_refresh(session)))

        assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")
        assert not UserDevice.objects.get(pk=session.pk).revoked_at


@pytest.mark.django_db
class TestTokens:
    def test_the_untouched_token_passes_the_forge(self):
        token = forge(tokens.mint_access(UserDeviceFactory(), at=clock.now()))

        assert bearer(token).get("users/me/").status_code == 200

    def test_an_access_token_is_no_refresh_token_and_the_other_way(self):
        session = UserDeviceFactory()

        assert refresh(tokens.mint_access(session, at=clock.now())).status_code == 401
        assert bearer(tokens.mint_refresh(session)).get("users/me/").status_code == 401

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

        assert (both, after) == ([200, 200], [401, 200])

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
