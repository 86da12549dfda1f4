"""Password change and reset, e-mail change: what they end, whom they tell, and that they tell nobody who is registered."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from core import clock
from core.models import AuditEvent
from core.testing.http import ApiClient, client_for
from core.testing.races import race
from users import codes, services
from users.models import Challenge, Notice
from users.tests.factories import PASSWORD, UserFactory
from users.tests.flows import bearer, code_for, log_in, mails_to, refresh, register, wrong

NEW_PASSWORD = "seven-slow-herons-wade"


def reset(address):
    return ApiClient().post("auth/password/reset/", {"email": address})


def confirm_reset(challenge, code, password=NEW_PASSWORD):
    return ApiClient().post("auth/password/reset/confirm/", {"challenge_id": challenge, "code": code, "new_password": password})


@pytest.mark.django_db
class TestPasswordChange:
    def change(self, client, current=PASSWORD, new=NEW_PASSWORD):
        return client.post("auth/password/change/", {"current_password": current, "new_password": new})

    def test_this_session_stays_and_all_others_end_at_once(self):
        user = UserFactory()
        here, there = log_in(user.email).json(), log_in(user.email, device=None).json()

        assert self.change(bearer(here["access"])).status_code == 204

        assert bearer(here["access"]).get("users/me/").status_code == 200
        assert bearer(there["access"]).get("users/me/").status_code == 401
        assert refresh(there["refresh"]).status_code == 401
        assert (log_in(user.email).status_code, log_in(user.email, NEW_PASSWORD).status_code) == (401, 200)

    def test_it_is_audited_told_and_ends_admin_cookies(self):
        admin = UserFactory(admin=True)
        cookie = admin.get_session_auth_hash()

        self.change(client_for(admin))

        admin.refresh_from_db()
        assert admin.get_session_auth_hash() != cookie
        assert AuditEvent.objects.filter(act="password.changed", actor_id=admin.pk).exists()
        assert [message.subject for message in mails_to(admin.email)] == ["Your password was changed"]

    def test_open_reset_codes_end_with_it(self):
        user = UserFactory()
        challenge = reset(user.email).json()["challenge_id"]
        code = code_for(user.email)

        self.change(client_for(user))

        assert confirm_reset(challenge, code).json()["code"] == "challenge_over"

    @pytest.mark.parametrize(
        ("current", "new", "code", "pointer"),
        [
            ("another-password-9", NEW_PASSWORD, "current_password_wrong", "/current_password"),
            (PASSWORD, "short", "password_too_short", "/new_password"),
            (PASSWORD, "1234567890", "password_too_common", "/new_password"),
            (PASSWORD, 1234567890123, "invalid", "/new_password"),
        ],
    )
    def test_what_is_wrong_changes_nothing(self, current, new, code, pointer):
        user = UserFactory()

        answer = self.change(client_for(user), current, new)

        assert answer.status_code == 400
        assert [(error["code"], error["pointer"]) for error in answer.json()["errors"]] == [(code, pointer)]
        assert log_in(user.email).status_code == 200

    def test_ten_wrong_ones_close_it(self):
        client = client_for(UserFactory())

        assert [self.change(client, "another-password-9").status_code for _ in range(11)] == [400] * 10 + [429]


@pytest.mark.django_db
class TestPasswordReset:
    def test_the_mailed_code_sets_a_new_password_and_ends_every_session(self):
        user = UserFactory()
        body = log_in(user.email).json()
        challenge = reset(user.email.upper()).json()["challenge_id"]

        assert confirm_reset(challenge, code_for(user.email)).status_code == 204

        assert bearer(body["access"]).get("users/me/").status_code == 401
        assert (log_in(user.email).status_code, log_in(user.email, NEW_PASSWORD).status_code) == (401, 200)
        assert AuditEvent.objects.filter(act="password.reset", subject_id=user.pk).exists()

    def test_it_opens_an_account_that_failures_closed(self):
        user = UserFactory()
        for _ in range(11):
            log_in(user.email, "another-password-9", None)
        confirm_reset(reset(user.email).json()["challenge_id"], code_for(user.email))

        assert log_in(user.email, NEW_PASSWORD, None).status_code == 200

    def test_the_second_factor_stays_on(self):
        user = UserFactory(mfa=True)
        confirm_reset(reset(user.email).json()["challenge_id"], code_for(user.email))

        assert log_in(user.email, NEW_PASSWORD).json()["mfa_required"] is True

    @pytest.mark.parametrize("case", ["known", "unknown", "closed", "blocked"])
    def test_every_address_gets_the_same_answer_in_the_same_queries(self, case):
        user = UserFactory(is_active=case != "closed", blocked=case == "blocked")
        with CaptureQueriesContext(connection) as queries:
            answer = reset("nobody@example.com" if case == "unknown" else user.email)

        assert (answer.status_code, list(answer.json()), len(queries)) == (202, ["challenge_id"], 7)

    def test_an_unknown_or_closed_address_gets_no_mail_and_no_code_opens_its_challenge(self):
        closed = UserFactory(is_active=False)
        for address in ("nobody@example.com", closed.email):
            challenge = reset(address).json()["challenge_id"]

            guess = confirm_reset(challenge, codes.code_of(Challenge.objects.get(pk=challenge)))

            assert (guess.status_code, guess.json()["code"]) == (400, "challenge_code_wrong")
            assert mails_to(address) == []

    def test_five_tries(self):
        user = UserFactory()
        challenge = reset(user.email).json()["challenge_id"]
        code = code_for(user.email)

        tries = [confirm_reset(challenge, wrong(code)).json()["code"] for _ in range(6)]

        assert tries == ["challenge_code_wrong"] * 5 + ["challenge_over"]
        assert confirm_reset(challenge, code).status_code == 409

    def test_a_bad_new_password_spends_no_try_and_a_code_works_once(self):
        user = UserFactory()
        challenge = reset(user.email).json()["challenge_id"]
        code = code_for(user.email)

        assert confirm_reset(challenge, code, "short").status_code == 400
        assert Challenge.objects.get(pk=challenge).tries == 0
        assert [confirm_reset(challenge, code).status_code for _ in range(2)] == [204, 409]

    @pytest.mark.django_db(transaction=True)
    def test_one_code_resets_once_however_many_bring_it(self):
        assert self.reset_at_once() == ["challenge_over"] * 3 + ["ok"]

    @pytest.mark.django_db(transaction=True)
    def test_control_without_the_condition_it_resets_four_times(self):
        assert self.reset_at_once(meet_after="UPDATE", cut='"users_challenge"."consumed_at" IS NULL') == ["ok"] * 4

    def reset_at_once(self, **control):
        challenge = services.request_password_reset(email=UserFactory().email, at=clock.now())
        code = codes.code_of(challenge)
        return race(
            lambda: services.confirm_password_reset(challenge_id=challenge.pk, code=code, new_password=NEW_PASSWORD, at=clock.now()),
            times=4,
            **control,
        )

    def test_a_registrations_code_resets_nothing(self):
        challenge = register("anna@example.com")
        code = code_for("anna@example.com")

        assert confirm_reset(challenge, code).json()["code"] == "challenge_over"


@pytest.mark.django_db
class TestEmailChange:
    @pytest.fixture
    def user(self):
        return UserFactory(email="old@example.com", display_name="Anna")

    @pytest.fixture
    def client(self, user):
        return client_for(user, step_up=True)

    def ask(self, client, address="new@example.com"):
        return client.post("auth/email/change/", {"email": address})

    def confirm(self, client, challenge, code):
        return client.post("auth/email/change/confirm/", {"challenge_id": challenge, "code": code})

    def test_the_code_to_the_new_address_puts_it_in_force_and_the_old_one_is_told_twice(self, client, user):
        challenge = self.ask(client).json()["challenge_id"]

        answer = self.confirm(client, challenge, code_for("new@example.com"))

        assert (answer.status_code, answer.json()["email"], answer.json()["revision"]) == (200, "new@example.com", 2)
        assert [message.subject for message in mails_to("old@example.com")] == [
            "A change of your e-mail address was asked for",
            "Your e-mail address was changed",
        ]
        assert (log_in("old@example.com").status_code, log_in("new@example.com").status_code) == (401, 200)

    def test_the_old_address_is_forgotten_after_its_last_mail(self, client):
        challenge = self.ask(client).json()["challenge_id"]
        self.confirm(client, challenge, code_for("new@example.com"))
        mails_to("old@example.com")

        assert {bool(row.pending) for row in Challenge.objects.all()} == {False}

    def test_it_needs_step_up_both_times(self, user):
        client = client_for(user)

        assert self.ask(client).json()["code"] == "reauthentication_required"
        assert self.confirm(client, user.pk, "123456").json()["code"] == "reauthentication_required"

    def test_a_taken_address_gets_the_same_answer_and_its_owner_is_told(self, client):
        UserFactory(email="new@example.com")

        challenge = self.ask(client)
        guess = self.confirm(client, challenge.json()["challenge_id"], codes.code_of(Challenge.objects.get()))

        assert (challenge.status_code, guess.json()["code"]) == (202, "challenge_code_wrong")
        assert [message.subject for message in mails_to("new@example.com")] == ["Somebody tried to use your address"]

    def test_an_address_taken_meanwhile_is_not_taken_twice(self, client):
        challenge = self.ask(client).json()["challenge_id"]
        code = code_for("new@example.com")
        UserFactory(email="new@example.com")

        assert self.confirm(client, challenge, code).json()["code"] == "challenge_over"

    def test_the_own_address_is_no_change(self, client):
        assert self.ask(client, "OLD@example.com").json()["code"] == "email_unchanged"

    def test_somebody_elses_challenge_is_over(self, client):
        challenge = self.ask(client).json()["challenge_id"]
        code = code_for("new@example.com")

        other = self.confirm(client_for(UserFactory(), step_up=True), challenge, code)

        assert (other.status_code, other.json()["code"]) == (409, "challenge_over")
        assert Challenge.objects.get(pk=challenge).tries == 0

    def test_open_resets_of_the_old_address_end(self, client):
        old_reset = reset("old@example.com").json()["challenge_id"]
        old_code = code_for("old@example.com")
        self.confirm(client, self.ask(client).json()["challenge_id"], code_for("new@example.com"))

        assert confirm_reset(old_reset, old_code).status_code == 409

    def test_the_old_address_is_not_flooded_by_way_of_many_new_ones(self, client):
        answers = [self.ask(client, f"new{number}@example.com").status_code for number in range(4)]

        assert answers == [202] * 3 + [429]
        assert len(mails_to("old@example.com")) == 3

    def test_three_mails_an_hour_to_the_new_address(self, client):
        assert [self.ask(client).status_code for _ in range(4)] == [202] * 3 + [429]


@pytest.mark.django_db
def test_ended_challenges_are_swept_a_day_later():
    register("old@example.com")
    Challenge.objects.update(created_at=clock.now() - timedelta(days=2), expires_at=clock.now() - timedelta(hours=25))
    register("new@example.com")

    assert services.sweep_challenges(at=clock.now()) == 1
    assert Challenge.objects.count() == 1
    assert not Notice.objects.exists()
