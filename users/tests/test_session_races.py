"""Sessions on real connections: what decides each race, and a control without it that shows the harm.

Two things decide: the conditions of the one UPDATE that rotates or ends a session, and the lock on the person's row while
one starts.
"""

import threading
from datetime import timedelta
from functools import partial

import pytest
from django.db import OperationalError, connection

from core import clock, tokens
from core.authentication import authenticate_token
from core.models import AuditEvent
from core.testing.races import in_between, race, race_all
from core.tokens import TokenInvalid
from users import codes, services
from users.models import Challenge, Notice, User, UserDevice
from users.tests.factories import PASSWORD, UserDeviceFactory, UserFactory
from users.tests.flows import bearer, refresh

pytestmark = pytest.mark.django_db(transaction=True)

GENERATION = '"users_userdevice"."generation" = %s'
LOGIN_GENERATION = '"users_userdevice"."login_generation" = %s'
NOT_REVOKED = '"users_userdevice"."revoked_at" IS NULL'
SESSION_READ = 'FROM "users_userdevice" session'
NEW_PASSWORD = "seven-slow-herons-wade"


@pytest.fixture
def session():
    return UserDeviceFactory()


def rotate(token, at=None):
    return tokens.mint_refresh(services.refresh_session(token=token, peer="127.0.0.1", at=at or clock.now()))


def sign_in(user, installation_id):
    return services.start_session(user=user, device=services.DeviceInfo(installation_id=installation_id), peer="", at=clock.now())


def row(session):
    return UserDevice.objects.get(pk=session.pk)


class TestOneToken:
    """Many refreshes of one token at the same moment."""

    def refresh_all(self, token, *, times, **control):
        answers = []

        def act():
            at = clock.now()
            session = services.refresh_session(token=token, peer="127.0.0.1", at=at)
            answers.append((tokens.mint_refresh(session), tokens.mint_access(session, at=at)))

        return race(act, times=times, **control), answers

    def test_twenty_refreshes_make_one_successor_and_all_get_it(self, session):
        outcomes, answers = self.refresh_all(tokens.mint_refresh(session), times=20)

        assert outcomes == ["ok"] * 20
        assert len(set(answers)) == 1  # the whole answer, access token and all
        assert row(session).generation == 2
        assert bearer(answers[0][1]).get("users/me/").status_code == 200
        assert refresh(answers[0][0]).status_code == 200

    def test_control_without_the_generation_nobody_gets_the_live_one(self, session):
        _, answers = self.refresh_all(tokens.mint_refresh(session), times=4, cut=GENERATION)

        assert row(session).generation == 5  # four rotations of one token
        assert tokens.mint_refresh(row(session)) not in {refresh_token for refresh_token, _ in answers}

    def test_over_http_as_well(self, session):
        token, answers = tokens.mint_refresh(session), []

        race(lambda: answers.append(refresh(token)), times=20)

        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.content for answer in answers}) == 1


class TestLostAnswer:
    """The connection to Postgres dies at each point of a refresh, or the phone does not hear: it sends the same token again."""

    POINTS = [("before", SESSION_READ), ("after", SESSION_READ), ("before", "UPDATE"), ("after", "UPDATE"), ("after", "everything")]

    def break_off(self, token, moment, statement, at):
        """Refresh, but Postgres ends this connection before or after a statement."""

        def act():
            with connection.execute_wrapper(die):
                services.refresh_session(token=token, peer="127.0.0.1", at=at)
            died.append(statement)  # the answer is ready and nobody hears it

        def die(execute, sql, params, many, context):
            result = None
            if statement in sql:
                died.append(statement)
                if moment == "after":
                    result = execute(sql, params, many, context)
                self.kill(connection.connection.info.backend_pid)
                if moment == "after":
                    raise OperationalError("the server closed the connection")
            return result if result is not None else execute(sql, params, many, context)

        died: list[str] = []

        def thread():
            try:
                act()
            except OperationalError:
                pass
            finally:
                connection.close()

        worker = threading.Thread(target=thread)
        worker.start()
        worker.join()
        assert died

    @staticmethod
    def kill(pid):
        def act():
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
                killed.append(cursor.fetchone()[0])

        killed: list[bool] = []
        assert race(act, times=1) == ["ok"] and killed == [True]

    @pytest.mark.parametrize(("moment", "statement"), POINTS)
    def test_the_same_token_leads_to_one_live_successor(self, session, moment, statement):
        token, at = tokens.mint_refresh(session), session.signed_in_at
        self.break_off(token, moment, statement, at)

        answers = {rotate(token, at=at + delay) for delay in (timedelta(0), timedelta(hours=1), timedelta(hours=23, minutes=59))}

        assert len(answers) == 1
        assert (row(session).generation, row(session).revoked_at) == (2, None)
        assert rotate(answers.pop(), at=at + timedelta(hours=23, minutes=59))

    def test_every_answer_of_a_chain_is_lost_at_another_point(self, session):
        token, at = tokens.mint_refresh(session), session.signed_in_at
        for moment, statement in self.POINTS * 2:
            self.break_off(token, moment, statement, at)
            self.break_off(token, moment, statement, at + timedelta(minutes=1))  # the retry's answer too
            token = rotate(token, at=at + timedelta(minutes=2))
            at += timedelta(hours=23)

        assert (row(session).generation, row(session).revoked_at) == (11, None)

    def test_a_repeat_while_the_successor_is_first_used_gets_that_successor(self, session):
        token = tokens.mint_refresh(session)
        successor = rotate(token)
        access = tokens.mint_access(row(session), at=clock.now())
        answers = []

        outcome = in_between(
            lambda: answers.append(rotate(token)),
            lambda: authenticate_token(access, at=clock.now(), peer=""),
            after=SESSION_READ,
        )

        assert (outcome, answers) == ("ok", [successor])
        with pytest.raises(TokenInvalid):  # from now on the successor is known to have arrived
            rotate(token)

    def first_use_while_it_is_rotated(self, session, **control):
        """An access token is used for the first time, and between its check and the note of its use the session rotates."""
        token = rotate(tokens.mint_refresh(session))
        access = tokens.mint_access(row(session), at=clock.now())

        in_between(lambda: authenticate_token(access, at=clock.now(), peer=""), lambda: rotate(token), after=SESSION_READ, **control)
        return row(session).current_used_at

    def test_use_of_the_older_token_is_not_noted_on_the_newer(self, session):
        assert self.first_use_while_it_is_rotated(session) is None

    def test_control_without_the_generation_the_parent_loses_its_grace(self, session):
        assert self.first_use_while_it_is_rotated(session, cut=GENERATION) is not None


class TestReuse:
    def reuse(self, session, **control):
        """Ten times at once, a grandparent."""
        grandparent = tokens.mint_refresh(session)
        rotate(rotate(grandparent))
        return race(lambda: rotate(grandparent), times=10, **control)

    def test_is_audited_and_told_once_however_many_come(self, session):
        assert self.reuse(session) == ["token_invalid"] * 10

        assert row(session).revoked_reason == "TOKEN_REUSED"
        assert AuditEvent.objects.filter(act="session.token_reused").count() == 1
        assert Notice.objects.filter(title="A session was ended").count() == 1

    def test_control_without_the_condition_it_is_told_ten_times(self, session):
        self.reuse(session, cut=NOT_REVOKED)

        assert AuditEvent.objects.filter(act="session.token_reused").count() == 10

    def reuse_while_signing_in_again(self, session, **control):
        """A thief's old token is judged; before it ends the session, its owner signs in anew on the same installation."""
        grandparent = tokens.mint_refresh(session)
        rotate(rotate(grandparent))
        outcome = in_between(
            lambda: rotate(grandparent), lambda: sign_in(session.user, session.installation_id), after=SESSION_READ, **control
        )
        return outcome, row(session).revoked_reason

    def test_does_not_end_a_log_in_that_came_later(self, session):
        assert self.reuse_while_signing_in_again(session) == ("token_invalid", "")

    def test_control_without_the_log_ins_generation_it_does(self, session):
        assert self.reuse_while_signing_in_again(session, cut=LOGIN_GENERATION) == ("token_invalid", "TOKEN_REUSED")


def revoke(session):
    services.revoke_device(user=session.user, device_id=session.pk, session=session, at=clock.now())


def log_out(session):
    services.log_out(session=session, at=clock.now())


def log_out_everywhere(session):
    services.end_all_sessions(user=session.user, reason="LOGGED_OUT_EVERYWHERE", actor_id=session.user_id, at=clock.now())


def change_password_elsewhere(session):
    other = UserDeviceFactory(user=session.user)
    services.change_password(session=other, current_password=PASSWORD, new_password=NEW_PASSWORD, at=clock.now())


def reset_password(session):
    challenge = services.request_password_reset(email=session.user.email, at=clock.now())
    code = codes.code_of(Challenge.objects.get(pk=challenge.pk))
    services.confirm_password_reset(challenge_id=challenge.pk, code=code, new_password=NEW_PASSWORD, at=clock.now())


def end_by_staff(session):
    services.end_sessions_by_staff(user=session.user, actor=UserFactory(admin=True), reason="Stolen phone.", at=clock.now())


ENDS = {
    "REVOKED": revoke,
    "LOGGED_OUT": log_out,
    "LOGGED_OUT_EVERYWHERE": log_out_everywhere,
    "PASSWORD_CHANGED": change_password_elsewhere,
    "PASSWORD_RESET": reset_password,
    "ENDED_BY_STAFF": end_by_staff,
}


class TestRefreshWhileItEnds:
    """The session ends between the refresh's read and its UPDATE: the end wins, and nothing is minted."""

    @pytest.mark.parametrize(("reason", "end"), ENDS.items())
    def test_nothing_is_rotated(self, session, reason, end):
        token = tokens.mint_refresh(session)

        outcome = in_between(lambda: rotate(token), lambda: end(session), after=SESSION_READ)

        assert outcome == "token_invalid"
        assert (row(session).generation, row(session).revoked_reason) == (1, reason)

    def test_control_without_the_condition_a_revoked_session_is_rotated(self, session):
        token = tokens.mint_refresh(session)

        outcome = in_between(lambda: rotate(token), lambda: revoke(session), after=SESSION_READ, cut=NOT_REVOKED)

        assert (outcome, row(session).generation) == ("ok", 2)

    @pytest.mark.parametrize(("reason", "end"), ENDS.items())
    def test_in_whatever_order_nobody_stays_signed_in(self, session, reason, end):
        token, answers = tokens.mint_refresh(session), []

        outcomes = race_all([lambda: end(session), *[lambda: answers.append(rotate(token))] * 3])

        assert set(outcomes) <= {"ok", "token_invalid"}
        assert row(session).revoked_reason == reason
        assert {refresh(answer).status_code for answer in [token, *answers]} == {401}

    def test_a_person_who_is_deleted_meanwhile_is_a_401(self, session):
        token = tokens.mint_refresh(session)

        assert in_between(lambda: rotate(token), lambda: User.objects.get().delete(), after=SESSION_READ) == "token_invalid"
        assert refresh(token).status_code == 401

    def test_a_refresh_during_the_deletion_of_the_account_leaves_no_token_alive(self, session):
        token, answers = tokens.mint_refresh(session), []
        other = UserDeviceFactory(user=session.user)
        delete = partial(services.delete_account, user=session.user, session=other, stock_files_saved=True, at=clock.now())

        outcome = in_between(lambda: answers.append(rotate(token)), delete, after=SESSION_READ)
        late = refresh(token)

        assert (outcome, answers) == ("token_invalid", [])
        assert (late.status_code, late.json()["code"]) == (401, "token_invalid")

    def test_in_whatever_order_with_its_deletion_nobody_stays_signed_in(self, session):
        token, answers = tokens.mint_refresh(session), []
        other = UserDeviceFactory(user=session.user)
        delete = partial(services.delete_account, user=session.user, session=other, stock_files_saved=True, at=clock.now())

        outcomes = race_all([delete, *[lambda: answers.append(rotate(token))] * 3])

        assert outcomes.count("ok") == 1 + len(answers)
        assert {refresh(answer).status_code for answer in [token, *answers]} == {401}

    def test_an_account_that_is_closed_meanwhile_gets_tokens_for_nothing(self, session):
        token, answers = tokens.mint_refresh(session), []

        in_between(lambda: answers.append(rotate(token)), lambda: User.objects.update(is_active=False), after=SESSION_READ)

        assert bearer(tokens.mint_access(row(session), at=clock.now())).get("users/me/").status_code == 401
        assert refresh(answers[0]).status_code == 401


class TestTwoPhonesWithOneInstallationId:
    """A copied backup: both say they are the same installation. They share a row, and the newer log-in has it."""

    def sign_in_six_times(self, session, **control):
        sessions = []
        race(lambda: sessions.append(sign_in(session.user, session.installation_id)), times=6, **control)
        return [tokens.mint_refresh(one) for one in sessions]

    def test_of_six_log_ins_at_once_one_holds_the_session(self, session):
        given = self.sign_in_six_times(session)

        assert sorted(refresh(token).status_code for token in given) == [200] + [401] * 5
        assert (row(session).revoked_reason, UserDevice.objects.count()) == ("", 1)  # the dead tokens ended nothing

    def test_control_without_the_lock_they_all_hold_the_same_token(self, session):
        given = self.sign_in_six_times(session, row_locks=False, meet_after='"users_userdevice"."id" = ')

        assert row(session).generation == 2
        assert {tokens.read(token, token_type="refresh", at=clock.now()).generation for token in given} == {2}

    def test_the_first_two_log_ins_make_one_row(self):
        user = UserFactory()

        assert race(lambda: sign_in(user, "copied"), times=6) == ["ok"] * 6
        device = UserDevice.objects.get()
        assert device.generation == device.login_generation == 6

    def refresh_while_the_other_signs_in(self, session, **control):
        token = tokens.mint_refresh(session)
        outcome = in_between(lambda: rotate(token), lambda: sign_in(session.user, session.installation_id), after=SESSION_READ, **control)
        return outcome, row(session)

    def test_a_refresh_of_the_older_neither_takes_nor_ends_the_newer(self, session):
        outcome, now = self.refresh_while_the_other_signs_in(session)

        assert (outcome, now.generation, now.login_generation, now.revoked_at) == ("token_invalid", 2, 2, None)

    def test_control_without_the_generation_it_takes_the_newer_away(self, session):
        outcome, now = self.refresh_while_the_other_signs_in(session, cut=GENERATION)

        assert (outcome, now.generation) == ("ok", 3)


class TestStepUpWhileAnotherSignsIn:
    """A copied installation signs in while the older one confirms its password: the new session is not confirmed by it."""

    def step_up(self, session, **control):
        act = partial(services.step_up, session=session, password=PASSWORD, code=None, at=clock.now())
        in_between(act, lambda: sign_in(session.user, session.installation_id), after="core_limitcounter", **control)
        return row(session).stepped_up_at

    def test_the_newer_one_is_not_confirmed(self, session):
        assert self.step_up(session) is None

    def test_control_without_the_log_ins_generation_it_is(self, session):
        assert self.step_up(session, cut=LOGIN_GENERATION) is not None


class TestTwoWhoKnowThePassword:
    """Owner and thief change it at the same moment: the later one can't take back what the earlier one has ended."""

    def change_both(self, session, **control):
        sessions = [session, UserDeviceFactory(user=session.user)]
        change = partial(services.change_password, current_password=PASSWORD, at=clock.now())
        acts = [partial(change, session=one, new_password=f"{NEW_PASSWORD}-{number}") for number, one in enumerate(sessions)]
        outcomes = race_all(acts, **control)
        return outcomes, UserDevice.objects.live(clock.now()).count()

    def test_one_changes_it_and_keeps_the_one_session(self, session):
        assert self.change_both(session) == (["current_password_wrong", "ok"], 1)

    def test_control_without_the_lock_both_do_and_nobody_stays_signed_in(self, session):
        assert self.change_both(session, row_locks=False, meet_after='FROM "users_user"') == (["ok", "ok"], 0)


class TestLogInWhileThePasswordChanges:
    """A log-in that checked the old password starts no session that outlives the change."""

    def sign_in_with_what_was_checked(self, session):
        checked = User.objects.get(pk=session.user_id)
        return lambda: services.start_session(user=checked, device=services.DeviceInfo(), peer="", at=clock.now())

    def change(self, session):
        return lambda: services.change_password(session=session, current_password=PASSWORD, new_password=NEW_PASSWORD, at=clock.now())

    def live(self, session):
        return set(UserDevice.objects.live(clock.now()).filter(user=session.user_id).values_list("pk", flat=True))

    def test_only_the_session_that_changed_it_is_left(self, session):
        outcomes = race_all([self.change(session), self.sign_in_with_what_was_checked(session)])

        assert outcomes in (["invalid_credentials", "ok"], ["ok", "ok"])
        assert self.live(session) == {session.pk}

    def test_a_check_of_the_old_one_starts_nothing_afterwards(self, session):
        late = self.sign_in_with_what_was_checked(session)
        self.change(session)()

        assert race(late, times=1) == ["invalid_credentials"]
        assert self.live(session) == {session.pk}

    def test_control_without_the_lock_a_session_of_the_old_one_lives_on(self, session):
        outcome = in_between(
            self.sign_in_with_what_was_checked(session), self.change(session), after='FROM "users_user"', row_locks=False
        )

        assert outcome == "ok"
        assert len(self.live(session)) == 2
