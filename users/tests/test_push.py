"""Pushing through Firebase Cloud Messaging, against a real server of ours that can fail in every way."""

import json
from datetime import timedelta
from email.utils import format_datetime

import pytest

from core import clock, doctor
from core.exceptions import ServiceUnavailable
from core.ids import new_id
from core.testing.fcm import PROJECT, error, serving
from core.testing.tasks import run_all
from users import fcm, push, push_checks, services
from users.models import UserDevice
from users.tests.factories import UserDeviceFactory

TOKEN = "secret-token-1"
MESSAGE = push.Message(
    title="MT-09 Stage 1 1.4.0 was recalled", body="Wrong axis.", key="notice-1", urgent=True, data={"notice": "notice-1"}
)


@pytest.fixture(scope="module")
def server():
    with serving() as running:
        yield running


@pytest.fixture
def google(server, settings, tmp_path, monkeypatch):
    """The server, behaving well, as Google."""
    for kept in (server.answers, server.token_answers, server.messages, server.assertions):
        kept.clear()
    server.valid.clear()
    key = tmp_path / "key.json"
    key.write_text(json.dumps(server.account()))
    settings.FCM_SERVICE_ACCOUNT_FILE = str(key)
    settings.FCM_API_BASE = server.url
    settings.PUSH_BACKEND = "users.fcm.FcmPush"
    monkeypatch.setattr(fcm, "TIMEOUT_SECONDS", (0.5, 0.5))
    fcm._tokens.clear()
    yield server
    fcm._tokens.clear()


def send(message=MESSAGE, token=TOKEN):
    return push.port().send(push_token=token, message=message)


class TestMessages:
    def test_have_words_ids_and_nothing_else(self, google):
        assert send() is push.Outcome.SENT

        [sent] = google.messages
        assert sent == {
            "path": f"/v1/projects/{PROJECT}/messages:send",
            "message": {
                "token": TOKEN,
                "notification": {"title": MESSAGE.title, "body": MESSAGE.body},
                "data": {"notice": "notice-1"},
                "android": {"priority": "HIGH", "notification": {"tag": "notice-1"}},
                "apns": {"headers": {"apns-priority": "10", "apns-collapse-id": "notice-1"}},
            },
        }

    def test_that_are_not_urgent_wake_nobody(self, google):
        send(push.Message(title="A reply", body="…", key="2"))

        [sent] = google.messages
        assert (sent["message"]["android"]["priority"], sent["message"]["apns"]["headers"]["apns-priority"]) == ("NORMAL", "5")

    def test_stay_within_what_the_service_takes(self, google):
        send(push.Message(title="日" * 160, body="日本語" * 1300, key=str(new_id())))

        [sent] = google.messages
        assert len(json.dumps(sent["message"], ensure_ascii=False).encode()) < 4096
        assert sent["message"]["notification"]["body"].endswith("…")


class TestAccess:
    def test_is_asked_for_by_a_signed_assertion_once(self, google):
        for _ in range(3):
            send()

        [assertion] = google.assertions
        assert assertion["iss"] == google.account()["client_email"]
        assert assertion["scope"] == "https://www.googleapis.com/auth/firebase.messaging"
        assert (assertion["kid"], assertion["alg"], assertion["exp"] - assertion["iat"]) == ("key-1", "RS256", 3600)
        assert assertion["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"

    def test_is_renewed_minutes_before_it_ends(self, google, monkeypatch):
        send()
        now = clock.now()
        monkeypatch.setattr(clock, "now", lambda: now + timedelta(minutes=56))

        send()

        assert len(google.assertions) == 2

    def test_that_was_refused_is_renewed_once(self, google):
        send()
        google.valid.clear()

        assert send() is push.Outcome.SENT
        assert (len(google.assertions), len(google.messages)) == (2, 2)

    def test_that_is_refused_again_is_for_a_person_to_look_at(self, google):
        google.answers += [(401, error("UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"))] * 3

        with pytest.raises(push.PushRefused, match="401 THIRD_PARTY_AUTH_ERROR"):
            send()
        assert len(google.answers) == 1

    @pytest.mark.parametrize("answer", [(400, {"error": "invalid_grant"}), (200, {"access_token": 7}), (200, b"<html>"), (403, [])])
    def test_that_is_not_given_is_for_a_person_too(self, google, answer):
        google.token_answers.append(answer)

        with pytest.raises(push.PushRefused, match="no access token"):
            send()

    @pytest.mark.parametrize("answer", [(503, b""), (429, {}), "cut", "hang up", "slow"])
    def test_that_is_late_waits(self, google, answer):
        google.token_answers.append(answer)

        with pytest.raises(ServiceUnavailable):
            send()


class TestFailures:
    @pytest.mark.parametrize(
        ("answer", "seconds"),
        [
            ((429, error("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"), {"Retry-After": "77"}), 77),
            ((503, error("UNAVAILABLE", "UNAVAILABLE"), {"Retry-After": "999999999999"}), 3600),
            ((503, b"<html>bad gateway</html>"), 30),
            ((500, error("INTERNAL", "INTERNAL"), {"Retry-After": "soon"}), 30),
            ((500, b"\xff\xfe"), 30),
            ("cut", 30),
            ("hang up", 30),
            ("slow", 30),
        ],
    )
    def test_that_pass_are_tried_again_when_we_are_asked_to(self, google, answer, seconds):
        google.answers.append(answer)

        with pytest.raises(ServiceUnavailable) as caught:
            send()

        assert caught.value.retry_after_seconds == seconds
        assert send() is push.Outcome.SENT

    def test_a_date_to_wait_for_is_understood(self, google):
        google.answers.append((503, {}, {"Retry-After": format_datetime(clock.now() + timedelta(minutes=10), usegmt=True)}))

        with pytest.raises(ServiceUnavailable) as caught:
            send()

        assert 590 <= caught.value.retry_after_seconds <= 600

    def test_a_service_that_is_down_is_tried_again(self, google, settings):
        settings.FCM_API_BASE = "http://127.0.0.1:9"

        with pytest.raises(ServiceUnavailable):
            send()

    @pytest.mark.parametrize(
        "answer",
        [
            (404, error("NOT_FOUND", "UNREGISTERED")),
            (404, error("NOT_FOUND")),
            (403, error("PERMISSION_DENIED", "SENDER_ID_MISMATCH")),
        ],
    )
    def test_a_token_that_nobody_has_is_gone(self, google, answer):
        google.answers.append(answer)

        assert send() is push.Outcome.GONE

    def test_a_message_that_is_no_good_is_given_up(self, google):
        google.answers.append((400, error("INVALID_ARGUMENT", "INVALID_ARGUMENT")))

        assert send() is push.Outcome.REFUSED

    @pytest.mark.parametrize(
        "answer", [(403, error("PERMISSION_DENIED")), (302, b"", {"Location": "https://elsewhere.example/"}), (418, [])]
    )
    def test_anything_else_is_for_a_person_to_look_at(self, google, answer):
        google.answers.append(answer)

        with pytest.raises(push.PushRefused):
            send()

    def test_no_log_line_and_no_exception_has_a_token_or_a_word(self, google, caplog, capsys):
        google.answers += [(400, error("INVALID_ARGUMENT", TOKEN)), (404, error("NOT_FOUND", "UNREGISTERED"))]
        google.answers += [(503, {}), "cut", (403, error("X"))]
        texts = []
        for _ in range(5):
            try:
                send()
            except Exception as failure:
                texts.append(repr(failure) + str(failure))

        seen = caplog.text + "".join(capsys.readouterr()) + "".join(texts)
        for secret in (TOKEN, MESSAGE.title, MESSAGE.body, "access-1", "PRIVATE KEY"):
            assert secret not in seen
        assert "push_given_up" in caplog.text


@pytest.mark.django_db
class TestNotices:
    @pytest.fixture
    def device(self):
        return UserDeviceFactory(push_token=TOKEN)

    def tell(self, device, type="RECALL"):
        return services.notify(user_id=device.user_id, type=type, title=MESSAGE.title, body=MESSAGE.body, at=clock.now())

    @pytest.mark.parametrize(("type", "priority"), [("RECALL", "HIGH"), ("HOLD", "HIGH"), ("FLASH", "HIGH"), ("SALE", "NORMAL")])
    def test_about_safety_wake_a_phone(self, google, device, type, priority):
        self.tell(device, type)
        run_all()

        assert [sent["message"]["android"]["priority"] for sent in google.messages] == [priority]

    def test_a_token_that_is_gone_is_forgotten_and_another_phone_is_reached(self, google, device):
        other = UserDeviceFactory(user=device.user, push_token="secret-token-2")
        google.answers.append((404, error("NOT_FOUND", "UNREGISTERED")))

        self.tell(device)
        run_all()

        left = dict(UserDevice.objects.values_list("pk", "push_token"))
        assert sorted(left.values()) == sorted(["", left[device.pk] or left[other.pk]])
        assert len(google.messages) == 1

    def test_a_new_token_is_not_forgotten_with_the_old_one(self, google, device, monkeypatch):
        notice = self.tell(device)

        class Slow:
            def send(self, *, push_token, message):
                UserDevice.objects.filter(pk=device.pk).update(push_token="new-token")
                return push.Outcome.GONE

        monkeypatch.setattr(push, "port", Slow)
        services.push_notice(notice_id=notice.pk, device_id=device.pk, at=clock.now())

        device.refresh_from_db()
        assert device.push_token == "new-token"

    def test_nobody_is_pushed_to_whose_session_ended_or_who_is_blocked(self, google, device):
        notice = self.tell(device)
        other = UserDeviceFactory(push_token="secret-token-2")

        services.push_notice(notice_id=notice.pk, device_id=other.pk, at=clock.now())  # somebody else's phone
        services.push_notice(notice_id=notice.pk, device_id=new_id(), at=clock.now())
        UserDevice.objects.filter(pk=device.pk).end(at=clock.now(), reason="REVOKED")
        services.push_notice(notice_id=notice.pk, device_id=device.pk, at=clock.now())

        assert google.messages == []


class TestDoctor:
    def levels(self):
        return [(finding.level, finding.text) for finding in push_checks.check_push()]

    def test_is_content_with_an_access_token(self, google):
        assert self.levels() == [("ok", f"FCM project {PROJECT}, an access token was given")]
        assert google.messages == []

    def test_says_that_it_is_off(self, settings):
        assert self.levels() == [("ok", "off, as is usual in development")]
        settings.IS_PRODUCTION = True
        assert self.levels()[0][0] == "warn"

    @pytest.mark.parametrize("content", ["", "[]", '{"project_id": "x"}', None])
    def test_finds_a_key_that_is_none(self, google, settings, tmp_path, content):
        key = tmp_path / "other.json"
        if content is not None:
            key.write_text(content)
        settings.FCM_SERVICE_ACCOUNT_FILE = str(key)

        assert self.levels()[0][0] == "wrong"

    def test_finds_a_key_that_signs_nothing(self, google, settings, tmp_path):
        key = tmp_path / "other.json"
        key.write_text(json.dumps({**google.account(), "private_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}))
        settings.FCM_SERVICE_ACCOUNT_FILE = str(key)

        assert self.levels()[0][0] == "wrong"

    def test_tells_a_refusal_from_an_outage(self, google):
        google.token_answers.append((400, {"error": "invalid_grant"}))
        assert self.levels()[0][0] == "wrong"
        google.token_answers.append((503, {}))
        assert self.levels()[0][0] == "warn"

    def test_it_is_one_of_its_checks(self):
        assert doctor._checks["push"] is push_checks.check_push
