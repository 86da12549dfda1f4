"""The second factor: enrolling, signing in, recovery codes, replay, limits."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from core import clock, crypto, mfa
from core.models import AuditEvent
from core.testing.http import ApiClient, client_for
from core.testing.races import race
from users import services
from users.models import Challenge, Notice, RecoveryCode, TotpDevice, User
from users.tests.factories import TOTP_SECRET, UserFactory
from users.tests.flows import bearer, log_in, mails_to

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def code_now(secret=TOTP_SECRET, **shift):
    return mfa.code_of(secret, at=clock.now() + timedelta(**shift))


def verify(mfa_token, code):
    return ApiClient().post("auth/mfa/verify/", {"mfa_token": mfa_token, "code": code})


@pytest.fixture
def frozen():
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.mark.django_db
class TestEnrolment:
    def test_the_first_code_turns_it_on_and_shows_recovery_codes_once(self):
        user = UserFactory()
        client = client_for(user, step_up=True)

        enrolment = client.post("auth/mfa/totp/").json()
        assert client.get("users/me/").json()["mfa_enabled"] is False
        answer = client.post("auth/mfa/totp/confirm/", {"code": code_now(enrolment["secret"])})

        assert answer.status_code == 200 and len(set(answer.json()["recovery_codes"])) == 10
        assert client.get("users/me/").json()["mfa_enabled"] is True
        assert enrolment["otpauth_uri"].startswith(f"otpauth://totp/RevSync:{user.email.replace('@', '%40')}?secret={enrolment['secret']}")
        assert AuditEvent.objects.filter(act="mfa.enabled", actor_id=user.pk).exists()
        assert Notice.objects.get().title == "The second factor is on"

    def test_the_code_that_turned_it_on_does_not_sign_in(self, frozen):
        user = UserFactory()
        secret, _ = services.enrol_totp(user=user, at=clock.now())
        services.confirm_totp(user=user, code=code_now(secret), session=None, at=clock.now())

        replay = verify(log_in(user.email).json()["mfa_token"], code_now(secret))

        assert (replay.status_code, replay.json()["code"]) == (401, "mfa_code_wrong")

    def test_recovery_codes_are_shown_nowhere_else(self):
        user = UserFactory()
        client = client_for(user, step_up=True)
        secret = client.post("auth/mfa/totp/").json()["secret"]
        shown = client.post("auth/mfa/totp/confirm/", {"code": code_now(secret)}).json()["recovery_codes"]

        later = [client.get(path).content.decode() for path in ("users/me/", "users/me/notices/", "users/me/devices/")]
        mailed = [message.body for message in mails_to(user.email)]

        assert not any(code in text for code in (*shown, secret) for text in (*later, *mailed))

    def test_a_wrong_code_turns_nothing_on(self):
        client = client_for(UserFactory(), step_up=True)
        client.post("auth/mfa/totp/")

        answer = client.post("auth/mfa/totp/confirm/", {"code": "000000"})

        assert (answer.status_code, answer.json()["code"]) == (400, "code_wrong")
        assert client.get("users/me/").json()["mfa_enabled"] is False

    def test_a_new_enrolment_replaces_the_pending_one(self):
        client = client_for(UserFactory(), step_up=True)
        first = client.post("auth/mfa/totp/").json()["secret"]
        second = client.post("auth/mfa/totp/").json()["secret"]

        assert client.post("auth/mfa/totp/confirm/", {"code": code_now(first)}).status_code == 400
        assert client.post("auth/mfa/totp/confirm/", {"code": code_now(second)}).status_code == 200

    def test_confirming_nothing_is_refused(self):
        answer = client_for(UserFactory(), step_up=True).post("auth/mfa/totp/confirm/", {"code": "000000"})

        assert (answer.status_code, answer.json()["code"]) == (409, "totp_not_pending")

    def test_enrolling_twice_is_refused(self):
        client = client_for(UserFactory(mfa=True), step_up=True)

        assert client.post("auth/mfa/totp/").json()["code"] == "mfa_already_enabled"
        assert client.post("auth/mfa/totp/confirm/", {"code": code_now()}).json()["code"] == "mfa_already_enabled"

    @pytest.mark.parametrize("call", ["auth/mfa/totp/", "auth/mfa/totp/disable/", "auth/mfa/recovery-codes/"])
    def test_every_change_needs_step_up(self, call):
        answer = client_for(UserFactory(mfa=True)).post(call)

        assert (answer.status_code, answer.json()["code"]) == (403, "reauthentication_required")

    def test_the_secret_is_encrypted_at_rest(self):
        from django.db import connection

        UserFactory(mfa=True)
        with connection.cursor() as cursor:
            cursor.execute("SELECT encode(secret, 'escape') FROM users_totpdevice")
            assert TOTP_SECRET not in cursor.fetchone()[0]

    def test_turning_it_off_deletes_secret_and_codes(self):
        user = UserFactory(mfa=True)
        client = client_for(user, step_up=True)

        assert client.post("auth/mfa/totp/disable/").status_code == 204

        assert not TotpDevice.objects.exists() and not User.objects.get(pk=user.pk).mfa_enabled
        assert log_in(user.email).json()["mfa_required"] is False
        assert client.post("auth/mfa/totp/disable/").json()["code"] == "mfa_not_enabled"

    def test_an_admin_keeps_it(self):
        answer = client_for(UserFactory(admin=True, mfa=True), step_up=True).post("auth/mfa/totp/disable/")

        assert (answer.status_code, answer.json()["code"]) == (403, "mfa_required_by_role")


@pytest.mark.django_db
class TestSignIn:
    def test_the_code_finishes_the_log_in_with_the_device_of_its_start(self):
        user = UserFactory(mfa=True)
        started = log_in(user.email).json()

        answer = verify(started["mfa_token"], code_now())

        assert set(started) == {"mfa_required", "mfa_token"}
        assert answer.json()["device"]["installation_id"] == "phone-1"
        assert bearer(answer.json()["access"]).get("users/me/").status_code == 200

    def test_the_mfa_token_opens_nothing_else(self):
        token = log_in(UserFactory(mfa=True).email).json()["mfa_token"]

        assert bearer(token).get("users/me/").status_code == 401
        assert ApiClient().post("auth/refresh/", {"refresh": token}).status_code == 401

    def test_it_works_once(self, frozen):
        token = log_in(UserFactory(mfa=True).email).json()["mfa_token"]
        verify(token, code_now())
        frozen.shift(timedelta(seconds=60))

        answer = verify(token, code_now())

        assert (answer.status_code, answer.json()["code"]) == (401, "mfa_token_over")

    def test_a_code_is_not_taken_twice(self, frozen):
        user = UserFactory(mfa=True)
        code = code_now()

        assert verify(log_in(user.email).json()["mfa_token"], code).status_code == 200
        replay = verify(log_in(user.email).json()["mfa_token"], code)

        assert (replay.status_code, replay.json()["code"]) == (401, "mfa_code_wrong")

    def test_an_older_code_is_not_taken_after_a_newer_one(self, frozen):
        user = UserFactory(mfa=True)

        assert verify(log_in(user.email).json()["mfa_token"], code_now()).status_code == 200
        assert verify(log_in(user.email).json()["mfa_token"], code_now(seconds=-30)).status_code == 401

    @pytest.mark.parametrize(("shift", "status"), [(-60, 401), (-30, 200), (0, 200), (30, 200), (60, 401)])
    def test_one_step_of_drift_is_taken(self, frozen, shift, status):
        token = log_in(UserFactory(mfa=True).email).json()["mfa_token"]

        assert verify(token, code_now(seconds=shift)).status_code == status

    def test_five_tries_each(self):
        token = log_in(UserFactory(mfa=True).email).json()["mfa_token"]

        codes = [verify(token, "000000").json()["code"] for _ in range(5)]
        right = verify(token, code_now())

        assert codes == ["mfa_code_wrong"] * 5
        assert (right.status_code, right.json()["code"]) == (401, "mfa_token_over")

    def test_ten_wrong_codes_in_a_quarter_of_an_hour_over_all_log_ins(self):
        user = UserFactory(mfa=True)
        statuses = []
        for _ in range(3):
            token = log_in(user.email).json()["mfa_token"]
            statuses += [verify(token, "000000").status_code for _ in range(4)]

        assert statuses == [401] * 10 + [429] * 2

    def test_it_ends_after_five_minutes(self, frozen):
        token = log_in(UserFactory(mfa=True).email).json()["mfa_token"]
        frozen.shift(timedelta(minutes=5))

        assert verify(token, code_now()).json()["code"] == "mfa_token_over"

    def test_a_password_change_in_between_ends_it(self):
        user = UserFactory(mfa=True)
        token = log_in(user.email).json()["mfa_token"]
        services.end_all_sessions(user=user, reason="PASSWORD_RESET", actor_id=None, at=clock.now())

        assert verify(token, code_now()).status_code == 401

    @pytest.mark.parametrize("code", ["", "abc", "٠١٢٣٤٥", "12345", "1234567", "-12345", " 123 456 "])
    def test_what_is_no_code_is_refused(self, code):
        token = log_in(UserFactory(mfa=True).email).json()["mfa_token"]

        assert verify(token, code).status_code in {400, 401}

    def test_a_wrong_password_says_nothing_of_the_second_factor(self):
        answer = log_in(UserFactory(mfa=True).email, "another-password-9")

        assert answer.json()["code"] == "invalid_credentials" and "mfa_token" not in answer.json()


@pytest.mark.django_db
class TestRecoveryCodes:
    @pytest.fixture
    def user(self):
        return UserFactory(mfa=True)

    @pytest.fixture
    def codes(self, user):
        return services.renew_recovery_codes(user=user, session=None, at=clock.now())

    def test_each_works_once_in_any_spelling(self, user, codes):
        spelled = codes[0].lower().replace("-", " ")

        assert verify(log_in(user.email).json()["mfa_token"], spelled).status_code == 200
        assert verify(log_in(user.email).json()["mfa_token"], codes[0]).status_code == 401
        assert "A recovery code was used" in [message.subject for message in mails_to(user.email)]
        assert RecoveryCode.objects.filter(used_at=None).count() == 9

    def test_new_ones_void_the_old(self, user, codes):
        new = client_for(user, step_up=True).post("auth/mfa/recovery-codes/").json()["recovery_codes"]

        assert verify(log_in(user.email).json()["mfa_token"], codes[0]).status_code == 401
        assert verify(log_in(user.email).json()["mfa_token"], new[0]).status_code == 200

    def test_another_persons_does_not_fit(self, codes):
        other = UserFactory(mfa=True)

        assert verify(log_in(other.email).json()["mfa_token"], codes[0]).status_code == 401

    def test_only_hashes_are_kept(self, codes):
        kept = b"".join(bytes(row.code_hash) for row in RecoveryCode.objects.all())

        assert all(mfa.fold_recovery_code(code).encode() not in kept for code in codes)

    def test_step_up_takes_one(self, user, codes):
        client = client_for(user)

        assert client.post("auth/step-up/", {"code": codes[0]}).status_code == 204
        assert client.post("auth/mfa/recovery-codes/").status_code == 200

    def test_without_the_second_factor_there_are_none(self):
        answer = client_for(UserFactory(), step_up=True).post("auth/mfa/recovery-codes/")

        assert (answer.status_code, answer.json()["code"]) == (409, "mfa_not_enabled")


@pytest.mark.django_db(transaction=True)
class TestCodesAtOnce:
    """Real connections. A code is used up by one conditional UPDATE; the controls cut its condition out."""

    AUTHENTICATOR_READ = 'FROM "users_totpdevice"'

    def use_at_once(self, user, code, **control):
        wins = []
        outcomes = race(lambda: wins.append(services.verify_second_factor(user=user, code=code, at=clock.now())), times=6, **control)
        assert outcomes == ["ok"] * 6
        return wins.count(True)

    @pytest.fixture
    def user(self):
        return UserFactory(mfa=True)

    @pytest.fixture
    def recovery_code(self, user):
        return services.renew_recovery_codes(user=user, session=None, at=clock.now())[0]

    def test_one_code_signs_in_once(self, user):
        assert self.use_at_once(user, code_now()) == 1

    def test_control_without_the_step_it_signs_in_six_times(self, user):
        control = {"meet_after": self.AUTHENTICATOR_READ, "cut": '"users_totpdevice"."last_step" < %s'}

        assert self.use_at_once(user, code_now(), **control) == 6

    def test_one_recovery_code_signs_in_once(self, user, recovery_code):
        assert self.use_at_once(user, recovery_code) == 1
        assert AuditEvent.objects.filter(act="mfa.recovery_code_used").count() == 1

    def test_control_without_the_mark_it_signs_in_six_times(self, user, recovery_code):
        control = {"meet_after": self.AUTHENTICATOR_READ, "cut": '"users_recoverycode"."used_at" IS NULL'}

        assert self.use_at_once(user, recovery_code, **control) == 6

    def finish_at_once(self, user, **control):
        """One log-in, finished four times at once, each with another code that is right."""
        given = iter(services.renew_recovery_codes(user=user, session=None, at=clock.now())[:4])
        token = log_in(user.email).json()["mfa_token"]
        return race(lambda: services.verify_mfa(mfa_token=token, code=next(given), peer="", at=clock.now()), times=4, **control)

    def test_one_session_comes_of_one_mfa_token(self, user):
        assert self.finish_at_once(user) == ["mfa_token_over"] * 3 + ["ok"]
        assert Challenge.objects.get().consumed_at

    def test_control_without_the_condition_four_sessions_come_of_it(self, user):
        control = {"meet_after": 'FROM "users_challenge"', "cut": '"users_challenge"."consumed_at" IS NULL'}

        assert self.finish_at_once(user, **control) == ["ok"] * 4

    def test_of_thirty_wrong_codes_ten_are_judged(self, user):
        judged = []

        outcomes = race(lambda: judged.append(services.verify_second_factor(user=user, code="000000", at=clock.now())), times=30)

        assert (judged, outcomes.count("rate_limited")) == ([False] * 10, 20)

    def test_of_twenty_guesses_on_one_log_in_five_are_judged(self, user):
        token = log_in(user.email).json()["mfa_token"]

        outcomes = race(lambda: services.verify_mfa(mfa_token=token, code="000000", peer="", at=clock.now()), times=20)

        assert (outcomes.count("mfa_code_wrong"), outcomes.count("mfa_token_over")) == (5, 15)

    def confirm_at_once(self, **control):
        user, shown = UserFactory(), []
        secret, _ = services.enrol_totp(user=user, at=clock.now())
        outcomes = race(
            lambda: shown.append(services.confirm_totp(user=user, code=code_now(secret), session=None, at=clock.now())), times=2, **control
        )
        kept = {bytes(row.code_hash) for row in RecoveryCode.objects.all()}
        hashes = [{crypto.keyed_hash("recovery_code", mfa.fold_recovery_code(code)) for code in codes} for codes in shown]
        return outcomes, [of_one <= kept for of_one in hashes]

    def test_one_enrolment_shows_one_set_of_recovery_codes(self):
        assert self.confirm_at_once() == (["mfa_already_enabled", "ok"], [True])

    def test_control_without_the_lock_somebody_is_shown_void_ones(self):
        outcomes, are_kept = self.confirm_at_once(row_locks=False, meet_after='FROM "users_totpdevice"')

        assert outcomes == ["ok", "ok"]
        assert False in are_kept or RecoveryCode.objects.count() == 20
