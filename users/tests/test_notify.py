"""Telling people: at most once, as they want it; and the mail files of development."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.core import mail
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.test import override_settings

from core import clock
from core.ids import new_id
from core.mailbox import FileMailBackend
from core.testing.races import race
from core.testing.tasks import run_all
from users import push, services
from users.models import Notice, NotificationPreference
from users.tests.factories import UserDeviceFactory, UserFactory

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def tell(user, **fields):
    values = {"type": "SALE", "title": "You sold one", "body": "Somebody bought your tune.", "at": NOW}
    return services.notify(user_id=user.pk, **(values | fields))


class RecordingPush:
    """An adapter that keeps what it was handed."""

    sent: list = []

    def send(self, **message):
        self.sent.append(message)
        return push.Outcome.SENT


class BrokenMail(BaseEmailBackend):
    """A mail server that answers nobody."""

    def send_messages(self, messages):
        raise ConnectionRefusedError


@pytest.mark.django_db
class TestNotify:
    def test_is_kept_and_mailed(self):
        user = UserFactory(display_name="Anna")

        notice = tell(user, link={"resource": "purchase", "id": new_id()})
        run_all()

        notice.refresh_from_db()
        [message] = mail.outbox
        assert (message.to, message.subject) == ([user.email], "You sold one")
        assert message.body.startswith("Hello Anna,\n\nSomebody bought your tune.")
        assert notice.mailed_at and notice.category == "TUNER"

    def test_is_told_once_for_one_key(self):
        user = UserFactory()

        first, second = tell(user, dedupe_key="sale-1"), tell(user, dedupe_key="sale-1")
        run_all()

        assert first and second is None
        assert (Notice.objects.count(), len(mail.outbox)) == (1, 1)

    def test_one_key_serves_many_people(self):
        for user in UserFactory.create_batch(2):
            tell(user, dedupe_key="recall-1")

        assert Notice.objects.count() == 2

    def test_delivering_twice_mails_once(self):
        notice = tell(UserFactory())

        for _ in range(2):
            services.deliver_notice(notice_id=notice.pk, mail=True, at=NOW)

        assert len(mail.outbox) == 1

    @pytest.mark.parametrize(("mail_on", "asked", "mails"), [(True, True, 1), (False, True, 0), (True, False, 0)])
    def test_mails_as_preferred_and_asked(self, mail_on, asked, mails):
        user = UserFactory()
        NotificationPreference.objects.create(user=user, category="TUNER", mail=mail_on)

        tell(user, mail=asked)
        run_all()

        assert len(mail.outbox) == mails

    def test_pushes_to_live_devices_that_have_a_token(self, settings, monkeypatch):
        settings.PUSH_BACKEND = "users.tests.test_notify.RecordingPush"
        monkeypatch.setattr(RecordingPush, "sent", [])
        user = UserFactory()
        UserDeviceFactory(user=user, push_token="live")
        UserDeviceFactory(user=user)
        UserDeviceFactory(user=user, push_token="", revoked=True)

        notice = tell(user, at=clock.now())
        run_all()

        data = {"notice": str(notice.pk), "type": "SALE", "severity": "info"}
        message = push.Message(title=notice.title, body=notice.body, key=str(notice.pk), data=data)
        assert RecordingPush.sent == [{"push_token": "live", "message": message}]

    def test_does_not_push_when_turned_off(self, settings, monkeypatch):
        settings.PUSH_BACKEND = "users.tests.test_notify.RecordingPush"
        monkeypatch.setattr(RecordingPush, "sent", [])
        user = UserFactory()
        UserDeviceFactory(user=user, push_token="live")
        NotificationPreference.objects.create(user=user, category="TUNER", push=False)

        tell(user, at=clock.now())
        run_all()

        assert RecordingPush.sent == []

    def test_a_mail_server_that_is_away_delays_no_push_and_repeats_none(self, settings, monkeypatch):
        settings.PUSH_BACKEND = "users.tests.test_notify.RecordingPush"
        settings.EMAIL_BACKEND = "users.tests.test_notify.BrokenMail"
        monkeypatch.setattr(RecordingPush, "sent", [])
        user = UserFactory()
        UserDeviceFactory(user=user, push_token="live")
        notice = tell(user, at=clock.now())

        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                services.deliver_notice(notice_id=notice.pk, mail=True, at=clock.now())
        settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
        run_all()

        assert len(RecordingPush.sent) == len(mail.outbox) == 1

    def test_what_could_not_be_pushed_for_a_day_is_given_up(self, settings, monkeypatch):
        settings.PUSH_BACKEND = "users.tests.test_notify.RecordingPush"
        monkeypatch.setattr(RecordingPush, "sent", [])
        device = UserDeviceFactory(push_token="live")
        notice = tell(device.user, at=clock.now() - timedelta(hours=25))

        services.push_notice(notice_id=notice.pk, device_id=device.pk, at=clock.now())

        assert RecordingPush.sent == []

    def test_without_a_push_service_nothing_is_sent_and_the_log_has_no_words(self, caplog):
        push.port().send(push_token="secret-token", message=push.Message(title="Title", body="Body", key="1"))

        assert "secret-token" not in caplog.text and "Title" not in caplog.text

    def test_a_person_is_not_flooded_and_reads_all_of_it_in_the_app(self, settings):
        user, other = UserFactory(), UserFactory()
        most, _ = settings.LIMITS["notice_mails_account"]

        for _ in range(most + 2):
            tell(user)
        tell(other)
        run_all()

        assert [message.to for message in mail.outbox].count([user.email]) == most
        assert [message.to for message in mail.outbox].count([other.email]) == 1
        assert Notice.objects.filter(user=user).count() == most + 2
        assert Notice.objects.filter(user=user, mailed_at=None).count() == 2

    def test_sign_ins_mail_three_times_an_hour_and_never_use_up_what_warns(self):
        user = UserFactory()

        for _ in range(5):
            tell(user, type="SECURITY", title="A new device signed in")
        tell(user, type="SECURITY", title="Your password was changed", severity="warning")
        run_all()

        subjects = [message.subject for message in mail.outbox]
        assert (subjects.count("A new device signed in"), subjects.count("Your password was changed")) == (3, 1)

    def test_mails_about_safety_are_not_limited(self, settings):
        user = UserFactory()
        settings.LIMITS = settings.LIMITS | {"notice_mails_account": (1, 3600), "security_mails_account": (1, 3600)}

        for _ in range(3):
            tell(user, type="RECALL", severity="stop_flash")
        run_all()

        assert len(mail.outbox) == 3

    def test_a_mail_that_did_not_leave_is_not_counted(self, settings):
        settings.LIMITS = settings.LIMITS | {"notice_mails_account": (1, 3600)}
        notice = tell(UserFactory())
        with override_settings(EMAIL_BACKEND="users.tests.test_notify.BrokenMail"), pytest.raises(ConnectionRefusedError):
            services.deliver_notice(notice_id=notice.pk, mail=True, at=NOW)

        services.deliver_notice(notice_id=notice.pk, mail=True, at=NOW)

        assert len(mail.outbox) == 1

    def test_the_next_hour_counts_anew(self):
        user = UserFactory()
        for hour in range(2):
            for _ in range(4):
                notice = tell(user, type="SECURITY", title="A new device signed in")
                services.deliver_notice(notice_id=notice.pk, mail=True, at=NOW + timedelta(hours=hour))

        assert len(mail.outbox) == 6

    def test_a_line_break_in_a_title_makes_no_header(self):
        tell(UserFactory(), title="One\nBcc: everybody@example.com")
        run_all()

        assert mail.outbox[0].subject == "One Bcc: everybody@example.com"

    def test_a_dollar_in_a_body_is_only_a_dollar(self):
        tell(UserFactory(), title="Costs $5", body="It costs $name and ${code}.")
        run_all()

        assert "It costs $name and ${code}." in mail.outbox[0].body

    def test_an_unknown_type_is_a_programming_error(self):
        with pytest.raises(KeyError):
            tell(UserFactory(), type="NONSENSE")

    def test_a_closed_account_is_not_mailed(self):
        tell(UserFactory(is_active=False))
        run_all()

        assert mail.outbox == []


@pytest.mark.django_db(transaction=True)
def test_one_notice_comes_of_many_at_once():
    user = UserFactory()

    assert race(lambda: tell(user, dedupe_key="once"), times=6) == ["ok"] * 6
    assert Notice.objects.count() == 1


class TestMailFiles:
    @pytest.fixture
    def written(self, settings, tmp_path):
        settings.MAIL_DIR = tmp_path / "mail"
        return lambda: sorted(path for path in settings.MAIL_DIR.iterdir())

    def message(self, subject="Confirm your address", body="Hello Ännä,\n\n    123456\n"):
        return EmailMessage(subject=subject, body=body, from_email="RevSync <no-reply@revsync.example>", to=["anna@example.com"])

    def test_each_is_one_readable_file(self, written):
        assert FileMailBackend().send_messages([self.message()]) == 1

        [path] = written()
        text = path.read_text(encoding="utf-8")
        assert "To: anna@example.com\n" in text and "Subject: Confirm your address\n" in text
        assert text.endswith("Hello Ännä,\n\n    123456\n")
        assert path.stat().st_mode & 0o077 == 0

    def test_names_sort_by_time_and_are_never_alike(self, written):
        FileMailBackend().send_messages([self.message(subject=f"Number {word}") for word in ("one", "two", "three")])

        assert [re.sub(r".*-number-|\.eml", "", path.name) for path in written()] == ["one", "two", "three"]

    def test_neither_name_nor_log_tell_the_code_or_the_recipient(self, written, caplog):
        FileMailBackend().send_messages([self.message(subject="Your code 123456 for anna@example.com")])

        [path] = written()
        assert "123456" not in path.name and "@" not in path.name
        assert path.name in caplog.text and "123456 for" not in caplog.text and "anna@example.com" not in caplog.text

    def test_no_unfinished_file_is_left(self, written):
        FileMailBackend().send_messages([self.message()])

        assert not [path for path in written() if path.name.endswith(".part")]
