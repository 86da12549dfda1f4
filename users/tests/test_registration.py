"""Registering: no account before the code, the same answers for known and unknown addresses, five tries."""

from datetime import timedelta

import pytest
import time_machine
from django.db import IntegrityError, connection
from django_tasks_db.models import DBTaskResult

from core import clock
from core.models import AuditEvent
from core.testing.http import ApiClient
from core.testing.races import race, race_all
from users import codes, services
from users.models import Challenge, Notice, User, UserDevice
from users.services.challenges import answer_challenge
from users.tests.factories import PASSWORD, UserFactory
from users.tests.flows import DEVICE, bearer, code_for, log_in, mails_to, register, wrong


def verify(challenge_id, code, **extra):
    return ApiClient().post("auth/verify-email/", {"challenge_id": challenge_id, "code": code, **extra})


@pytest.mark.django_db
class TestRegister:
    def test_the_code_of_the_mail_makes_the_account_and_signs_in(self):
        challenge = register("Anna@Example.com ")

        assert not User.objects.exists()
        answer = verify(challenge, code_for("anna@example.com"), device=DEVICE)

        body = answer.json()
        assert answer.status_code == 200
        assert (body["user"]["email"], body["user"]["role"], body["user"]["terms_version"]) == ("anna@example.com", "RIDER", "2026-11-01")
        assert body["device"]["installation_id"] == "phone-1"
        assert bearer(body["access"]).get("users/me/profile/").status_code == 200
        assert log_in("ANNA@example.com").status_code == 200

    def test_it_is_audited_and_needs_no_notice(self):
        verify(register(), code_for("anna@example.com"))

        assert list(AuditEvent.objects.order_by("id").values_list("act", flat=True)) == ["user.registered", "session.started"]
        assert not Notice.objects.exists()

    def test_a_code_works_once(self):
        challenge = register()
        code = code_for("anna@example.com")

        verify(challenge, code)
        again = verify(challenge, code)

        assert (again.status_code, again.json()["code"]) == (409, "challenge_over")

    def test_neither_code_nor_address_nor_password_is_stored_in_clear(self):
        challenge = register()
        code = code_for("anna@example.com")

        with connection.cursor() as cursor:
            for table in (Challenge._meta.db_table, DBTaskResult._meta.db_table):
                cursor.execute(f"SELECT string_agg(t::text, ' ') FROM {table} t")
                text = cursor.fetchone()[0]
                assert "anna@" not in text and PASSWORD not in text
                assert f'"{code}"' not in text and f",{code}," not in text
        assert Challenge.objects.get(pk=challenge).pending != ""

    def test_a_known_address_gets_the_same_answer_and_its_owner_is_told(self):
        UserFactory(email="anna@example.com", display_name="Anna")
        challenge = register()

        [told] = mails_to("anna@example.com")
        guess = verify(challenge, codes.code_of(Challenge.objects.get(pk=challenge)))

        assert "tried to register" in told.subject
        assert (guess.status_code, guess.json()["code"], guess.json()["tries_left"]) == (400, "challenge_code_wrong", 4)

    def test_nobody_can_occupy_an_address_they_do_not_read(self):
        register(password="attacker-holds-this-1")
        mine = register()
        code = code_for("anna@example.com")

        assert verify(mine, code).status_code == 200
        assert log_in("anna@example.com").status_code == 200
        assert log_in("anna@example.com", "attacker-holds-this-1").status_code == 401

    def test_the_second_registration_of_an_address_ends_when_the_first_is_verified(self):
        first, second = register(), register()
        run = {challenge: codes.code_of(Challenge.objects.get(pk=challenge)) for challenge in (first, second)}

        assert verify(first, run[first]).status_code == 200
        late = verify(second, run[second])

        assert (late.status_code, late.json()["code"]) == (409, "challenge_over")

    def test_five_tries_and_no_more(self):
        challenge = register()
        code = code_for("anna@example.com")

        answers = [verify(challenge, wrong(code)).json() for _ in range(5)]
        right = verify(challenge, code)

        assert [answer["tries_left"] for answer in answers] == [4, 3, 2, 1, 0]
        assert (right.status_code, right.json()["code"]) == (409, "challenge_over")

    @pytest.mark.parametrize(("minutes", "status"), [(14, 200), (16, 409)])
    def test_a_code_is_good_for_a_quarter_of_an_hour(self, minutes, status):
        challenge = register()
        code = code_for("anna@example.com")

        with time_machine.travel(clock.now() + timedelta(minutes=minutes), tick=True):
            assert verify(challenge, code).status_code == status

    def test_a_code_of_another_challenge_does_not_fit(self):
        register("anna@example.com")
        code = code_for("anna@example.com")

        assert verify(register("ben@example.com"), code).json()["code"] == "challenge_code_wrong"

    def test_an_unknown_challenge_is_over(self):
        answer = verify("01a20475-b68e-7523-a8df-4a06732df741", "123456")

        assert (answer.status_code, answer.json()["code"]) == (409, "challenge_over")

    def test_resend_mails_the_same_code(self):
        challenge = register()
        first = code_for("anna@example.com")

        answer = ApiClient().post(f"auth/challenges/{challenge}/resend/")

        assert (answer.status_code, answer.json()) == (202, {"challenge_id": challenge})
        assert code_for("anna@example.com") == first and len(mails_to("anna@example.com")) == 2

    def test_resend_of_a_missing_or_used_challenge_is_refused(self):
        challenge = register()
        verify(challenge, code_for("anna@example.com"))

        assert ApiClient().post("auth/challenges/01a20475-b68e-7523-a8df-4a06732df741/resend/").status_code == 404
        assert ApiClient().post(f"auth/challenges/{challenge}/resend/").json()["code"] == "challenge_over"

    def test_three_mails_an_hour_go_to_one_address_whatever_asks_for_them(self):
        challenge = register()
        ApiClient().post(f"auth/challenges/{challenge}/resend/")
        ApiClient().post("auth/password/reset/", {"email": "anna@example.com"})

        refused = [
            ApiClient().post("auth/password/reset/", {"email": "ANNA@example.com"}),
            ApiClient().post(f"auth/challenges/{challenge}/resend/"),
        ]

        assert [(answer.status_code, answer.json()["code"]) for answer in refused] == [(429, "rate_limited")] * 2
        assert int(refused[0]["Retry-After"]) > 3000

    @pytest.mark.parametrize(
        ("field", "value", "code"),
        [
            ("email", "anna", "invalid_email"),
            ("email", "anna@localhost", "invalid_email"),
            ("email", "аnna@example.com", "invalid_email"),  # a Cyrillic letter that reads like an a
            ("email", "anna\u200b@example.com", "invalid_email"),
            ("email", "a" * 65 + "@example.com", "invalid_email"),
            ("email", "anna@" + "a" * 300 + ".com", "invalid_email"),
            ("email", 7, "invalid"),
            ("email", ["anna@example.com"], "invalid"),
            ("email", None, "null"),
            ("password", "short", "password_too_short"),
            ("password", "p" * 129, "password_too_long"),
            ("password", "password123", "password_too_common"),
            ("password", "anna@example.com", "password_too_personal"),
            ("password", 1234567890123, "invalid"),
            ("display_name", "\u202ennA", "control_character"),
            ("display_name", "x" * 61, "max_length"),
            ("display_name", "  ", "blank"),
            ("terms_version", "1999-01-01", "outdated"),
            ("role", "ADMIN", "unknown_field"),
            ("is_staff", True, "unknown_field"),
        ],
    )
    def test_bad_input_is_named_at_its_place(self, field, value, code):
        body = {"email": "anna@example.com", "password": PASSWORD, "display_name": "Anna", "terms_version": "2026-11-01", field: value}

        answer = ApiClient().post("auth/register/", body)

        assert answer.status_code == 400
        assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(f"/{field}", code)]
        assert not Challenge.objects.exists()


@pytest.mark.django_db(transaction=True)
class TestGuessesAtOnce:
    """Fifty guesses at the same moment spend five tries, not fifty."""

    def open(self):
        return Challenge.objects.get(pk=register())

    def guess(self, challenge):
        code = wrong(codes.code_of(challenge))
        return lambda: answer_challenge(challenge_id=challenge.pk, kind="REGISTER", code=code, at=clock.now())

    def test_five_are_judged(self):
        challenge = self.open()

        outcomes = race(self.guess(challenge), times=50)

        assert (outcomes.count("challenge_code_wrong"), outcomes.count("challenge_over")) == (5, 45)
        assert Challenge.objects.get(pk=challenge.pk).tries == 5

    def test_control_counting_what_was_read_judges_more(self):
        """The same with the tries read first and written back: everybody reads zero."""
        challenge = self.open()
        import threading

        barrier = threading.Barrier(10)

        def read_then_write():
            row = Challenge.objects.get(pk=challenge.pk)
            barrier.wait(timeout=10)
            if row.tries >= 5:
                return
            row.tries += 1
            row.save(update_fields=["tries"])

        assert race(read_then_write, times=10) == ["ok"] * 10
        assert Challenge.objects.get(pk=challenge.pk).tries == 1  # ten were judged, one was counted

    @pytest.mark.long  # those that wait for the row meet nobody: it takes as long as a race may
    def test_without_the_condition_postgres_still_refuses_a_sixth(self):
        challenge = self.open()

        with pytest.raises(IntegrityError, match="challenge_five_tries"):
            race(self.guess(challenge), times=10, meet_after="UPDATE", cut='"users_challenge"."tries" < %s')

        assert Challenge.objects.get(pk=challenge.pk).tries == 5

    def test_one_account_comes_of_one_code(self):
        challenge = self.open()
        code = codes.code_of(challenge)

        outcomes = race(
            lambda: services.verify_email(
                challenge_id=challenge.pk, code=code, device=services.DeviceInfo(installation_id="p"), peer="127.0.0.1", at=clock.now()
            ),
            times=4,
        )

        assert outcomes == ["challenge_over"] * 3 + ["ok"]
        assert (User.objects.count(), UserDevice.objects.count()) == (1, 1)

    def test_one_account_comes_of_two_registrations(self):
        challenges = [self.open(), self.open()]

        outcomes = race_all(
            [
                lambda challenge=challenge: services.verify_email(
                    challenge_id=challenge.pk, code=codes.code_of(challenge), device=services.DeviceInfo(), peer="", at=clock.now()
                )
                for challenge in challenges
            ]
        )

        assert outcomes == ["challenge_over", "ok"]
        assert User.objects.count() == 1


@pytest.mark.django_db(transaction=True)
class TestMailsAtOnce:
    """Whoever asks, by whatever call: three mails an hour go to one address, known or not."""

    def ask_at_once(self, address):
        challenge = Challenge.objects.get(pk=register(address)).pk  # the first of the three
        body = {"password": PASSWORD, "display_name": "Anna", "terms_version": "2026-11-01"}
        calls = [
            lambda: services.request_registration(email=address, **body, at=clock.now()),
            lambda: services.request_password_reset(email=address, at=clock.now()),
            lambda: services.resend_challenge(challenge_id=challenge, at=clock.now()),
        ]
        return race_all(calls * 7)

    @pytest.mark.parametrize("known", [True, False])
    def test_two_more_of_twenty_one(self, known):
        if known:
            UserFactory(email="anna@example.com")

        outcomes = self.ask_at_once("anna@example.com")

        assert (outcomes.count("ok"), outcomes.count("rate_limited")) == (2, 19)
        assert DBTaskResult.objects.filter(task_path="users.tasks.send_challenge_mail").count() == 3
