"""What is not urgent leaves together: one mail, one push, each notice in the app. And how often a mail leaves when things go wrong."""

import os
import signal
import smtplib
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email.parser import BytesParser
from pathlib import Path

import pytest
from django.core import mail
from django.core.mail.backends.base import BaseEmailBackend
from django.db import connection
from django.test import override_settings
from django_tasks_db.models import DBTaskResult

from core import clock
from core.mailbox import FileMailBackend
from core.testing.races import race
from core.testing.tasks import run_all
from users import push, services
from users.models import Notice, NotificationPreference
from users.services import notices as module
from users.tests.factories import UserDeviceFactory, UserFactory

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
WINDOW = module.BATCH_WINDOW
SURE = "users.tests.test_notify.BrokenMail"
UNSURE = "users.tests.test_notice_batches.SilentMail"


class RecordingPush:
    sent: list = []

    def send(self, *, push_token, message):
        self.sent.append(message)
        return push.Outcome.SENT


class SilentMail(BaseEmailBackend):
    """A mail server that takes the message and is gone before it says so."""

    def send_messages(self, messages):
        raise smtplib.SMTPServerDisconnected


class DyingMail(FileMailBackend):
    """The worker is killed when the message has left and nothing is written yet."""

    def send_messages(self, messages):
        super().send_messages(messages)
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def pushed(settings, monkeypatch):
    settings.PUSH_BACKEND = "users.tests.test_notice_batches.RecordingPush"
    monkeypatch.setattr(RecordingPush, "sent", [])
    return RecordingPush.sent


def tell(user, title="New tune", *, at=NOW, **fields):
    values = {"type": "NEW_TUNE", "title": title, "body": f"About {title}.", "at": at}
    return services.notify(user_id=user.pk, **(values | fields))


def deliver(at=NOW + WINDOW):
    made = services.collect_batches(at=at)
    for batch_id in set(Notice.objects.exclude(batch_id=None).values_list("batch_id", flat=True)):
        services.deliver_batch(batch_id=batch_id, at=at)
    return made


@pytest.mark.django_db
class TestBatches:
    def test_several_are_one_mail_and_one_push_and_each_stands_in_the_app(self, pushed):
        user = UserFactory(display_name="Anna")
        UserDeviceFactory(user=user, push_token="live")
        now = clock.now()
        for minute, title in enumerate(("One", "Two", "Three")):
            tell(user, title, at=now - WINDOW + timedelta(minutes=minute))
        run_all()
        assert (mail.outbox, pushed) == ([], []), "they wait"

        services.collect_batches(at=now)
        run_all()

        [message], [shown] = mail.outbox, pushed
        assert (message.to, message.subject) == ([user.email], "One and 2 more")
        assert message.body.startswith("Hello Anna,\n\n* One\n  About One.\n\n* Two\n  About Two.\n\n* Three\n  About Three.")
        assert (shown.title, shown.body, shown.data["count"], shown.urgent) == ("3 news", "Three\nTwo\nOne", "3", False)
        assert Notice.objects.filter(user=user).exclude(mailed_at=None).exclude(pushed_at=None).count() == 3

    def test_nothing_leaves_before_the_oldest_has_waited(self):
        tell(UserFactory())

        assert services.collect_batches(at=NOW + WINDOW - timedelta(seconds=1)) == 0
        assert services.collect_batches(at=NOW + WINDOW) == 1

    def test_one_alone_looks_as_if_it_had_not_waited(self, pushed):
        user = UserFactory()
        UserDeviceFactory(user=user, push_token="live")
        notice = tell(user, "Only one")

        deliver()
        module.push_notice(notice_id=notice.pk, device_id=user.devices.get().pk, at=NOW + WINDOW)

        assert [(message.subject, message.body.count("About")) for message in mail.outbox] == [("Only one", 1)]
        assert [(message.title, message.key) for message in pushed] == [("Only one", str(notice.pk))]

    def test_people_and_later_news_do_not_mix(self):
        anna, ben = UserFactory(), UserFactory()
        for user in (anna, ben):
            tell(user, "One")
            tell(user, "Two")
        assert deliver() == 2
        tell(anna, "Three", at=NOW + WINDOW)

        assert deliver(at=NOW + 2 * WINDOW) == 1

        assert sorted((message.to[0], message.subject) for message in mail.outbox) == sorted(
            [(anna.email, "One and 1 more"), (ben.email, "One and 1 more"), (anna.email, "Three")]
        )

    @pytest.mark.parametrize(
        "fields", [{"type": "RECALL", "severity": "stop_flash"}, {"type": "SECURITY"}, {"type": "REFUND"}, {"severity": "warning"}]
    )
    def test_what_is_urgent_never_waits(self, fields):
        tell(UserFactory(), **fields)
        run_all()

        assert len(mail.outbox) == 1 and services.collect_batches(at=NOW + WINDOW) == 0

    def test_what_was_read_meanwhile_is_left_out(self):
        user = UserFactory()
        seen, _ = tell(user, "Seen"), tell(user, "New")
        services.collect_batches(at=NOW + WINDOW)
        services.mark_notice_read(user=user, notice_id=seen.pk, at=NOW)

        deliver()

        assert [message.subject for message in mail.outbox] == ["New"]

    def test_what_is_never_mailed_is_pushed_only(self, pushed):
        user = UserFactory()
        tell(user, "A", mail=False)
        tell(user, "B", send=False)

        deliver()

        assert mail.outbox == [] and Notice.objects.get(title="A").pushed_at and not Notice.objects.get(title="B").pushed_at

    def test_preferences_hold_for_a_batch(self, pushed):
        user = UserFactory()
        NotificationPreference.objects.create(user=user, category="SOCIAL", mail=False, push=False)
        tell(user)

        assert deliver() == 1
        assert mail.outbox == [] and Notice.objects.get().pushed_at is None

    def test_a_long_batch_is_cut_in_mail_and_push_only(self):
        user = UserFactory()
        for number in range(25):
            tell(user, f"News {number}", body="word " * 200)

        deliver()

        [message] = mail.outbox
        assert message.subject == "News 0 and 24 more" and "… and 5 more" in message.body
        assert message.body.count("* News") == 20 and len(message.body) < 10_000

    def test_many_people_cost_one_statement_for_a_thousand(self, django_assert_num_queries):
        people = [(user.pk, f"k:{user.pk}") for user in UserFactory.create_batch(12)]

        with django_assert_num_queries(1):
            services.notify_many(people, type="NEW_TUNE", title="New", body="x", at=NOW)
        services.notify_many(people, type="NEW_TUNE", title="New", body="x", at=NOW)

        assert Notice.objects.count() == 12
        assert services.collect_batches(at=NOW + WINDOW) == 12
        with pytest.raises(ValueError):
            services.notify_many(people, type="RECALL", title="New", body="x", at=NOW)

    def test_delivering_costs_the_same_for_one_and_for_many(self, django_assert_num_queries):
        costs = []
        for many in (2, 20):
            user = UserFactory()
            for number in range(many):
                tell(user, str(number))
            services.collect_batches(at=NOW + WINDOW)
            batch_id = Notice.objects.filter(user=user).values_list("batch_id", flat=True)[0]
            with django_assert_num_queries(costs[0] if costs else 14) as caught:
                services.deliver_batch(batch_id=batch_id, at=NOW + WINDOW)
            costs.append(len(caught))


@pytest.mark.django_db
class TestWhenMailGoesWrong:
    def deliver(self, notice, backend):
        with override_settings(EMAIL_BACKEND=backend):
            services.deliver_notice(notice_id=notice.pk, mail=True, at=NOW)

    def test_one_that_surely_did_not_leave_is_tried_again(self):
        notice = tell(UserFactory(), type="SALE")
        with pytest.raises(ConnectionRefusedError):
            self.deliver(notice, SURE)

        services.deliver_notice(notice_id=notice.pk, mail=True, at=NOW)

        assert len(mail.outbox) == 1

    def test_one_that_may_have_left_is_not(self):
        notice = tell(UserFactory(), type="SALE")

        self.deliver(notice, UNSURE)
        services.deliver_notice(notice_id=notice.pk, mail=True, at=NOW)

        assert mail.outbox == []

    def test_a_warning_that_may_have_left_is_sent_again_and_can_be_known_by_its_id(self):
        notice = tell(UserFactory(), type="RECALL", severity="stop_flash")
        with pytest.raises(module.mails.MailUnsure):
            self.deliver(notice, UNSURE)

        services.deliver_notice(notice_id=notice.pk, mail=True, at=NOW)

        [message] = mail.outbox
        assert message.extra_headers == {"Message-ID": f"<notice.{notice.pk}@revsync.example>"}

    def test_a_batch_that_surely_did_not_leave_is_tried_again_whole(self):
        user = UserFactory()
        tell(user, "One"), tell(user, "Two")
        services.collect_batches(at=NOW + WINDOW)
        with override_settings(EMAIL_BACKEND=SURE), pytest.raises(ConnectionRefusedError):
            deliver()
        assert not Notice.objects.exclude(mailed_at=None).exists()

        deliver()

        assert [message.subject for message in mail.outbox] == ["One and 1 more"]


@pytest.mark.django_db(transaction=True)
class TestRaces:
    def test_two_workers_mail_a_notice_once(self):
        notice = tell(UserFactory(), type="SALE")

        race(lambda: services.deliver_notice(notice_id=notice.pk, mail=True, at=NOW), times=4)

        assert len(mail.outbox) == 1

    def test_control_without_the_claim_both_do(self, monkeypatch):
        notice = tell(UserFactory(), type="SALE")
        monkeypatch.setattr(module, "_claim", lambda *args, **kwargs: True)

        def deliver():
            services.deliver_notice(notice_id=notice.pk, mail=True, at=NOW)

        race(deliver, row_locks=False, meet_after='FROM "users_notice"')

        assert len(mail.outbox) == 2

    def test_two_collectors_make_one_batch(self):
        user = UserFactory()
        for number in range(10):
            tell(user, str(number))

        race(lambda: services.collect_batches(at=NOW + WINDOW), times=4)

        assert Notice.objects.values("batch_id").distinct().count() == 1
        assert DBTaskResult.objects.filter(task_path="users.tasks.deliver_batch").count() == 1

    def test_two_workers_mail_and_push_a_batch_once(self, pushed):
        user = UserFactory()
        UserDeviceFactory(user=user, push_token="live")
        tell(user, "One"), tell(user, "Two")
        services.collect_batches(at=NOW + WINDOW)
        batch_id = Notice.objects.values_list("batch_id", flat=True)[0]

        race(lambda: services.deliver_batch(batch_id=batch_id, at=NOW + WINDOW), times=4)

        assert len(mail.outbox) == 1
        assert DBTaskResult.objects.filter(task_path="users.tasks.push_batch").count() == 1


PROGRAM = """
import django; django.setup()
import threading, time
from django.conf import settings
settings.EMAIL_BACKEND, settings.MAIL_DIR = {backend!r}, {mails!r}
from core.tasks.worker import Worker
from django_tasks_db.models import DBTaskResult
worker = Worker(threads=1, beat_seconds=0.2, dead_after_seconds=1.0)
def stop_when_done():
    while DBTaskResult.objects.exclude(status="SUCCESSFUL").filter(task_path__startswith="users.tasks.deliver").exists():
        time.sleep(0.2)
    worker.stop()
threading.Thread(target=stop_when_done).start()
worker.run()
"""


@pytest.mark.django_db(transaction=True)
class TestAKilledWorker:
    """A real worker process, killed with -9 between handing a message over and noting it; then another one."""

    def work(self, mails: Path, backend: str) -> int:
        database = connection.settings_dict
        url = f"postgres://{database['USER']}:{database['PASSWORD']}@{database['HOST']}:{database['PORT']}/{database['NAME']}"
        program = PROGRAM.format(backend=backend, mails=str(mails))
        environment = {**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "revsync_backend.settings"}
        return subprocess.run([sys.executable, "-c", program], env=environment, timeout=120, check=False, capture_output=True).returncode

    def test_mails_news_once_and_a_warning_again_with_the_same_id(self, tmp_path):
        user = UserFactory()
        news, _, warning = tell(user, "One"), tell(user, "Two"), tell(user, "Recalled", type="RECALL", severity="stop_flash")
        services.collect_batches(at=NOW + WINDOW)

        # each round a worker dies over the first mail that it sends; the last one lives
        codes = [self.work(tmp_path, "users.tests.test_notice_batches.DyingMail") for _ in range(2)]
        self.work(tmp_path, "core.mailbox.FileMailBackend")

        assert codes == [-9, -9]
        sent = [BytesParser().parsebytes(path.read_bytes())["Message-ID"] for path in tmp_path.glob("*.eml")]
        assert sent.count(f"<notice.{news.pk}@revsync.example>") == 1
        assert sent.count(f"<notice.{warning.pk}@revsync.example>") >= 2
        assert not DBTaskResult.objects.exclude(status="SUCCESSFUL").filter(task_path__startswith="users.tasks.deliver").exists()
