"""Signing in: one row an installation, limits that don't lock the owner out, the same answers for all addresses."""

from contextlib import suppress
from datetime import timedelta

import pytest
import time_machine

from core import clock, limits
from core.exceptions import RateLimited
from core.models import AuditEvent, LimitCounter
from core.testing.http import ApiClient, client_for
from core.testing.races import race
from users import services
from users.exceptions import InvalidCredentials
from users.models import Notice, UserDevice
from users.tests.factories import PASSWORD, UserDeviceFactory, UserFactory
from users.tests.flows import DEVICE, bearer, log_in, mails_to, refresh


@pytest.mark.django_db
class TestLogIn:
    def test_answers_tokens_user_and_device(self):
        user = UserFactory()

        body = log_in(user.email).json()

        assert body["mfa_required"] is False
        assert (body["user"]["id"], body["device"]["name"], body["device"]["ip"]) == (str(user.pk), "Anna's phone", "127.0.0.1")
        assert bearer(body["access"]).get("users/me/").json() == body["user"]

    def test_works_without_a_device(self):
        body = log_in(UserFactory().email, device=None).json()

        assert body["device"]["installation_id"] is None

    def test_the_same_installation_reuses_its_row_and_kills_its_older_tokens(self):
        user = UserFactory()
        first = log_in(user.email).json()
        second = log_in(user.email).json()

        assert first["device"]["id"] == second["device"]["id"]
        assert UserDevice.objects.count() == 1
        assert bearer(first["access"]).get("users/me/").status_code == 401
        assert refresh(first["refresh"]).status_code == 401
        assert bearer(second["access"]).get("users/me/").status_code == 200
        assert refresh(second["refresh"]).status_code == 200  # the dead token did not end the new session

    def test_a_revoked_installation_can_sign_in_again(self):
        user = UserFactory()
        first = log_in(user.email).json()
        client = bearer(first["access"])
        client.delete(f"users/me/devices/{first['device']['id']}/")

        second = log_in(user.email).json()

        assert second["device"]["id"] == first["device"]["id"]
        assert bearer(second["access"]).get("users/me/").status_code == 200

    def test_two_people_may_share_an_installation(self):
        anna, ben = UserFactory(), UserFactory()

        a, b = log_in(anna.email).json(), log_in(ben.email).json()

        assert a["device"]["id"] != b["device"]["id"]
        assert bearer(a["access"]).get("users/me/").status_code == 200

    def test_a_push_token_moves_with_the_phone(self):
        anna, ben = UserFactory(), UserFactory()
        log_in(anna.email, device={**DEVICE, "push_token": "token-1"})
        log_in(ben.email, device={**DEVICE, "push_token": "token-1"})

        assert list(UserDevice.objects.filter(push_token="token-1").values_list("user_id", flat=True)) == [ben.pk]

    def test_every_log_in_is_told_and_a_new_device_mailed_but_a_known_one_is_not(self):
        user = UserFactory()
        log_in(user.email)
        log_in(user.email)

        titles = [notice.title for notice in Notice.objects.order_by("pk")]
        assert titles == ["A new device signed in", "A known device signed in again"]
        assert len(mails_to(user.email)) == 1
        assert AuditEvent.objects.filter(act="session.started", actor_id=user.pk).count() == 2

    @pytest.mark.parametrize("case", ["unknown", "wrong password", "inactive", "unusable password"])
    def test_every_failure_answers_alike(self, case):
        user = UserFactory(is_active=case != "inactive")
        if case == "unusable password":
            user.set_password(None)
            user.save()
        address = "nobody@example.com" if case == "unknown" else user.email

        answer = log_in(address, "another-password-9" if case == "wrong password" else PASSWORD)

        body = answer.json()
        assert (answer.status_code, body["code"]) == (401, "invalid_credentials")
        assert body["detail"] == "The e-mail address and the password do not match."

    def test_a_password_typed_on_another_keyboard_is_the_same(self):
        user = UserFactory()
        user.set_password("caf\u00e9-am-abend-7")
        user.save()

        assert log_in(user.email, "cafe\u0301-am-abend-7").status_code == 200

    @pytest.mark.parametrize(
        ("forwarded", "kept"),
        [("203.0.113.9", "203.0.113.9"), ("fe80::1%eth0", "fe80::1"), ("rubbish", None), ("203.0.113.9:80", "203.0.113.9")],
    )
    def test_keeps_only_what_is_an_address(self, settings, forwarded, kept):
        settings.TRUSTED_PROXY_HOPS = 1

        answer = log_in(UserFactory().email, HTTP_X_FORWARDED_FOR=forwarded)

        assert (answer.status_code, answer.json()["device"]["ip"]) == (200, kept)

    def test_a_blocked_person_signs_in_to_read_why(self):
        body = log_in(UserFactory(blocked=True).email).json()

        assert body["user"]["block"]["reason"] == "Sold stolen files"
        assert bearer(body["access"]).patch("users/me/", {"display_name": "New"}).json()["code"] == "account_blocked"

    @pytest.mark.parametrize(
        "device",
        [
            {"installation_id": ""},
            {"installation_id": "x" * 129},
            {"installation_id": "a b"},
            {},
            {**DEVICE, "platform": "tv"},
            7,
            {**DEVICE, "role": "ADMIN"},
        ],
    )
    def test_a_malformed_device_is_refused(self, device):
        body = {"email": UserFactory().email, "password": PASSWORD, "device": device}

        assert ApiClient().post("auth/login/", body).status_code == 400

    def test_query_count(self, django_assert_num_queries):
        user = UserFactory()
        log_in(user.email)

        with django_assert_num_queries(14):
            log_in(user.email)


@pytest.mark.django_db
class TestFailureLimits:
    def fail(self, address, times, device=None, **extra):
        return [log_in(address, "another-password-9", device, **extra).status_code for _ in range(times)]

    def test_ten_failures_close_an_account_for_a_while_and_the_right_password_too(self):
        user = UserFactory()

        assert self.fail(user.email, 11) == [401] * 10 + [429]
        closed = log_in(user.email, device=None)

        assert (closed.status_code, closed.json()["code"]) == (429, "rate_limited")
        with time_machine.travel(clock.now() + timedelta(minutes=15, seconds=1)):
            assert log_in(user.email, device=None).status_code == 200

    def test_an_unknown_address_is_closed_alike(self):
        assert self.fail("nobody@example.com", 11) == [401] * 10 + [429]

    def test_an_attacker_does_not_lock_the_known_phone_out(self):
        user = UserFactory()
        log_in(user.email)  # the phone is known from here on

        self.fail(user.email, 11)

        assert log_in(user.email).status_code == 200

    def test_the_known_phone_has_its_own_count(self):
        user = UserFactory()
        log_in(user.email)

        assert self.fail(user.email, 11, DEVICE) == [401] * 10 + [429]
        assert log_in(user.email, device={**DEVICE, "installation_id": "other"}).status_code == 200

    def test_a_success_takes_back_only_its_own_hit(self):
        user = UserFactory()
        self.fail(user.email, 5)
        for _ in range(3):
            assert log_in(user.email, device=None).status_code == 200

        assert self.fail(user.email, 6) == [401] * 5 + [429]

    def test_spraying_over_many_addresses_is_stopped_by_peer(self, settings):
        settings.LIMITS = {**settings.LIMITS, "login_failures_peer": (6, 900)}
        good = UserFactory()
        outcomes = []
        for number in range(8):
            outcomes += self.fail(f"victim{number}@example.com", 1)
            if number == 2:
                log_in(good.email)  # an account of the attacker's own does not refill the count

        assert outcomes == [401] * 6 + [429] * 2
        assert log_in(good.email, device=None).status_code == 429  # even with the right password, from a new installation

    def test_a_sprayer_behind_the_same_address_does_not_lock_a_known_phone_out(self, settings):
        settings.LIMITS = {**settings.LIMITS, "login_failures_peer": (3, 900)}
        user = UserFactory()
        log_in(user.email)

        assert [self.fail(f"victim{number}@example.com", 1)[0] for number in range(4)] == [401] * 3 + [429]
        assert log_in(user.email).status_code == 200

    def test_spraying_from_one_ipv6_network_is_one_peer(self, settings):
        settings.LIMITS = {**settings.LIMITS, "login_failures_peer": (3, 900)}

        outcomes = [self.fail(f"victim{number}@example.com", 1, REMOTE_ADDR=f"2001:db8:1:2::{number:x}")[0] for number in range(4)]

        assert outcomes == [401] * 3 + [429]
        assert self.fail("victim@example.com", 1, REMOTE_ADDR="2001:db8:1:3::1") == [401]

    @pytest.mark.parametrize("hops", [0, 1, 2])
    def test_forged_forwarding_headers_change_nothing(self, settings, hops):
        settings.LIMITS = {**settings.LIMITS, "login_failures_peer": (3, 900)}
        settings.TRUSTED_PROXY_HOPS = hops

        outcomes = [
            self.fail(f"victim{number}@example.com", 1, **self.forged(f"203.0.113.{number}", f"2001:db8::{number}", hops))[0]
            for number in range(4)
        ]

        assert outcomes == [401] * 3 + [429]

    @staticmethod
    def forged(four, six, hops):
        """What a client says of itself, and what proxies of ours add to it: the same address each time."""
        added = ["198.51.100.7", "10.0.0.2"][:hops]
        return {
            "HTTP_X_FORWARDED_FOR": ", ".join([six, four, *added]),
            "HTTP_FORWARDED": f'for={four};proto=https, for="[{six}]"',
            "HTTP_X_REAL_IP": four,
            "HTTP_X_CLIENT_IP": four,
            "HTTP_X_CLUSTER_CLIENT_IP": four,
            "HTTP_TRUE_CLIENT_IP": six,
            "HTTP_CF_CONNECTING_IP": six,
            "HTTP_X_ORIGINATING_IP": four,
            "HTTP_X_REMOTE_ADDR": four,
        }

    def test_no_address_stands_in_the_counters(self):
        self.fail("nobody@example.com", 1)

        assert {bytes(row.key_hash).find(b"nobody") for row in LimitCounter.objects.all()} == {-1}


@pytest.mark.django_db(transaction=True)
class TestFailuresAtOnce:
    def test_ten_of_thirty_guesses_are_judged(self):
        user = UserFactory()

        def guess():
            services.log_in(email=user.email, password="another-password-9", device=services.DeviceInfo(), peer="127.0.0.1", at=clock.now())

        outcomes = race(guess, times=30)

        assert (outcomes.count("invalid_credentials"), outcomes.count("rate_limited")) == (10, 20)

    def test_control_looking_before_counting_judges_them_all(self):
        user = UserFactory()
        import threading

        barrier = threading.Barrier(20)

        def guess():
            limits.ensure_below("login_failures_account", user.email, at=clock.now())
            barrier.wait(timeout=10)
            with suppress(RateLimited):  # too late: the guess was judged before it was counted
                limits.hit("login_failures_account", user.email, at=clock.now())
            raise InvalidCredentials

        assert race(guess, times=20) == ["invalid_credentials"] * 20


@pytest.mark.django_db
class TestLogOut:
    def test_ends_this_session_only(self):
        user = UserFactory()
        here, there = log_in(user.email).json(), log_in(user.email, device=None).json()

        assert bearer(here["access"]).post("auth/logout/").status_code == 204

        assert bearer(here["access"]).get("users/me/").status_code == 401
        assert refresh(here["refresh"]).status_code == 401
        assert bearer(there["access"]).get("users/me/").status_code == 200

    def test_everywhere_ends_them_all(self):
        user = UserFactory()
        here, there = log_in(user.email).json(), log_in(user.email, device=None).json()

        assert bearer(here["access"]).post("auth/logout-all/").status_code == 204

        assert [bearer(one["access"]).get("users/me/").status_code for one in (here, there)] == [401, 401]
        assert AuditEvent.objects.filter(act="session.ended", actor_id=user.pk).get().facts["sessions"] == 2

    def test_another_persons_sessions_stay(self):
        other = client_for(UserFactory())

        client_for(UserFactory()).post("auth/logout-all/")

        assert other.get("users/me/").status_code == 200

    @pytest.mark.parametrize("call", ["auth/logout/", "auth/logout-all/"])
    def test_an_admins_cookies_end_too(self, call):
        admin = UserFactory(admin=True)
        before = admin.get_session_auth_hash()

        client_for(admin).post(call)

        admin.refresh_from_db()
        assert admin.get_session_auth_hash() != before


@pytest.mark.django_db
class TestStepUp:
    def test_opens_sensitive_calls_for_five_minutes(self):
        user = UserFactory()
        session = UserDeviceFactory(user=user)
        client = client_for(user, device=session)

        assert client.post("auth/mfa/totp/").json()["code"] == "reauthentication_required"
        assert client.post("auth/step-up/", {"password": PASSWORD}).status_code == 204
        assert client.post("auth/mfa/totp/").status_code == 200
        UserDevice.objects.filter(pk=session.pk).update(stepped_up_at=clock.now() - timedelta(minutes=5, seconds=1))
        assert client.post("auth/mfa/totp/").status_code == 403

    def test_another_session_stays_closed(self):
        user = UserFactory()
        client_for(user, step_up=True)

        assert client_for(user).post("auth/mfa/totp/").status_code == 403

    def test_a_new_log_in_is_no_step_up(self):
        user = UserFactory()
        body = log_in(user.email).json()
        bearer(body["access"]).post("auth/step-up/", {"password": PASSWORD})

        again = log_in(user.email).json()

        assert bearer(again["access"]).post("auth/mfa/totp/").status_code == 403

    @pytest.mark.parametrize(
        ("body", "status", "code"),
        [
            ({"password": "another-password-9"}, 400, "current_password_wrong"),
            ({"code": "000000"}, 400, "code_wrong"),
            ({}, 400, "invalid_input"),
            ({"password": PASSWORD, "code": "000000"}, 400, "invalid_input"),
            ({"password": None}, 400, "invalid_input"),
        ],
    )
    def test_what_is_wrong_opens_nothing(self, body, status, code):
        client = client_for(UserFactory(mfa=True))

        answer = client.post("auth/step-up/", body)

        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert client.post("auth/mfa/recovery-codes/").status_code == 403

    def test_ten_wrong_passwords_close_it(self):
        client = client_for(UserFactory())

        outcomes = [client.post("auth/step-up/", {"password": "another-password-9"}).status_code for _ in range(11)]

        assert outcomes == [400] * 10 + [429]
