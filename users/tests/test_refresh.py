"""Refresh: one live successor, the lost answer given again, and every other reuse ends the session."""

from datetime import UTC, datetime, timedelta

import pytest

from core import tokens
from core.authentication import authenticate_token
from core.models import AuditEvent
from core.tokens import TokenInvalid
from users import services
from users.models import Notice, UserDevice
from users.tests.factories import UserDeviceFactory, UserFactory
from users.tests.flows import bearer, log_in, mails_to, refresh

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def rotate(token, at=NOW):
    return tokens.mint_refresh(services.refresh_session(token=token, peer="127.0.0.1", at=at))


def use_access(session, at=NOW):
    session = UserDevice.objects.get(pk=session.pk)
    authenticate_token(tokens.mint_access(session, at=at), at=at, peer="127.0.0.1")


def ended(session):
    return UserDevice.objects.get(pk=session.pk).revoked_reason


@pytest.fixture
def session():
    return UserDeviceFactory(signed_in_at=NOW)


@pytest.fixture
def first(session):
    return tokens.mint_refresh(session)


@pytest.mark.django_db
class TestRotation:
    def test_over_http(self):
        old = log_in(UserFactory().email).json()

        answer = refresh(old["refresh"])

        new = answer.json()
        assert answer.status_code == 200 and set(new) == {"access", "refresh"}
        assert new["refresh"] != old["refresh"]
        assert bearer(new["access"]).get("users/me/").status_code == 200
        assert bearer(old["access"]).get("users/me/").status_code == 200  # until its ten minutes are over

    def test_query_count(self, django_assert_num_queries):
        token = tokens.mint_refresh(UserDeviceFactory())

        with django_assert_num_queries(2):  # session, and the one conditional update
            refresh(token)

    def test_a_session_idles_thirty_days(self, session, first):
        assert rotate(first, at=NOW + timedelta(days=29, hours=23))
        with pytest.raises(TokenInvalid):
            rotate(tokens.mint_refresh(UserDeviceFactory(signed_in_at=NOW)), at=NOW + timedelta(days=30))

    def test_a_session_ends_after_a_hundred_and_eighty_days_however_busy(self, session, first):
        token = first
        for day in range(20, 180, 20):
            token = rotate(token, at=NOW + timedelta(days=day))
        token = rotate(token, at=NOW + timedelta(days=179))

        assert UserDevice.objects.get(pk=session.pk).expires_at == NOW + timedelta(days=180)
        with pytest.raises(TokenInvalid):
            rotate(token, at=NOW + timedelta(days=180))

    @pytest.mark.parametrize("body", [{}, {"refresh": None}, {"refresh": 7}, {"refresh": ""}, {"refresh": "a", "role": "ADMIN"}, []])
    def test_a_malformed_body_is_400(self, body):
        from core.testing.http import ApiClient

        assert ApiClient().post("auth/refresh/", body).status_code == 400


@pytest.mark.django_db
class TestLostAnswer:
    """The phone never saw the answer and sends the same token again."""

    def test_the_parent_gets_the_same_successor_until_it_was_used(self, session, first):
        answers = {rotate(first, at=NOW + timedelta(hours=hours)) for hours in (0, 1, 5, 23)}

        assert len(answers) == 1
        assert UserDevice.objects.get(pk=session.pk).generation == 2

    def test_the_successor_works_after_a_repeat(self, session, first):
        rotate(first)
        successor = rotate(first)

        assert rotate(successor) != successor
        assert not ended(session)

    def test_at_once_the_whole_answer_is_the_same(self, first):
        both = [services.refresh_session(token=first, peer="", at=NOW + timedelta(seconds=seconds)) for seconds in (0, 5)]

        assert len({tokens.mint_access(session, at=NOW + timedelta(seconds=5)) for session in both}) == 1

    def test_a_later_repeat_still_gets_a_fresh_access_token(self, first):
        rotate(first)
        late = services.refresh_session(token=first, peer="", at=NOW + timedelta(hours=20))

        user, _ = authenticate_token(
            tokens.mint_access(late, at=NOW + timedelta(hours=20)), at=NOW + timedelta(hours=20, minutes=9), peer=""
        )
        assert user.pk == late.user_id

    def test_use_of_the_successor_as_refresh_ends_the_grace(self, session, first):
        rotate(rotate(first))

        with pytest.raises(TokenInvalid):
            rotate(first)
        assert ended(session) == "TOKEN_REUSED"

    def test_use_of_the_successors_access_token_ends_the_grace(self, session, first):
        rotate(first)
        use_access(session)

        with pytest.raises(TokenInvalid):
            rotate(first)
        assert ended(session) == "TOKEN_REUSED"

    def test_use_of_the_older_access_token_does_not_end_it(self, session, first):
        old_access = tokens.mint_access(session, at=NOW)
        successor = rotate(first)
        authenticate_token(old_access, at=NOW, peer="")

        assert rotate(first) == successor

    @pytest.mark.parametrize(("hours", "answered"), [(23.9, True), (24, False)])
    def test_the_grace_lasts_a_day(self, session, first, hours, answered):
        rotate(first)

        if answered:
            rotate(first, at=NOW + timedelta(hours=hours))
        else:
            with pytest.raises(TokenInvalid):
                rotate(first, at=NOW + timedelta(hours=hours))
        assert bool(ended(session)) is not answered

    def test_lost_answers_at_every_step_of_a_long_life(self, session, first):
        token = first
        for step in range(1, 6):
            at = NOW + timedelta(days=step)
            lost, again = rotate(token, at=at), rotate(token, at=at + timedelta(hours=3))
            assert lost == again
            use_access(session, at=at + timedelta(hours=3))
            token = again

        assert not ended(session)


@pytest.mark.django_db
class TestReuse:
    def test_a_grandparent_ends_the_session_and_is_audited_and_mailed_once(self, session, first):
        second = rotate(first)
        third = rotate(second)

        for _ in range(2):
            with pytest.raises(TokenInvalid):
                rotate(first)
        with pytest.raises(TokenInvalid):
            rotate(third)

        event = AuditEvent.objects.get(act="session.token_reused")
        assert (event.actor_id, event.subject_id, event.facts) == (session.user_id, session.pk, {"generation": 1, "live_generation": 3})
        assert Notice.objects.get().severity == "warning"
        mails_to(session.user.email)

    def test_the_mail_says_so(self):
        body = log_in(UserFactory(email="anna@example.com").email).json()
        client = bearer(refresh(body["refresh"]).json()["access"])
        client.get("users/me/")

        assert refresh(body["refresh"]).json()["code"] == "token_invalid"

        assert client.get("users/me/").status_code == 401
        assert [message.subject for message in mails_to("anna@example.com")] == ["A new device signed in", "A session was ended"]

    def test_other_sessions_of_the_person_stay(self, session, first):
        other = UserDeviceFactory(user=session.user, signed_in_at=NOW)
        rotate(rotate(first))
        with pytest.raises(TokenInvalid):
            rotate(first)

        assert not ended(other)

    def test_a_token_of_an_earlier_log_in_ends_nothing(self, session, first):
        rotate(first)
        services.start_session(
            user=session.user, device=services.DeviceInfo(installation_id=session.installation_id), peer="", at=NOW + timedelta(hours=1)
        )

        with pytest.raises(TokenInvalid):
            rotate(first, at=NOW + timedelta(hours=2))
        assert not ended(session)

    def test_two_phones_with_one_installation_id_do_not_log_each_other_out_for_ever(self):
        user = UserFactory()
        one = log_in(user.email).json()
        two = log_in(user.email).json()

        assert refresh(one["refresh"]).status_code == 401
        assert refresh(two["refresh"]).status_code == 200
