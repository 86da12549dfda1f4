"""A copy of one's data: asked for, made, fetched for a day, gone."""

import io
import json
import zipfile
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from core import clock, storage
from core.exceptions import ServiceUnavailable
from core.models import AuditEvent
from core.testing.http import client_for
from core.testing.races import race
from core.testing.tasks import run_all
from core.uploads.tests.factories import stored_upload
from users import privacy, services
from users.enums import ExportState
from users.models import DataExport, Notice
from users.services import exports
from users.tests.factories import NoticeFactory, UserDeviceFactory, UserFactory

EXPORTS = "users/me/exports/"
DAY = timedelta(days=1)


def archive_of(export: DataExport) -> zipfile.ZipFile:
    export.refresh_from_db()
    return zipfile.ZipFile(io.BytesIO(storage.read(export.storage_key, max_bytes=10_000_000)))


def data_of(export: DataExport) -> dict:
    return json.loads(archive_of(export).read("data.json"))


@pytest.mark.django_db
class TestRequest:
    def test_is_queued_made_and_fetched(self):
        client = client_for(UserFactory(email="anna@example.com"))

        asked = client.post(EXPORTS)
        assert (asked.status_code, asked.json()["status"], asked.json()["url"]) == (201, "QUEUED", None)
        run_all()

        shown = client.get(f"{EXPORTS}{asked.json()['id']}/").json()
        assert (shown["status"], shown["progress_percent"]) == ("READY", 100)
        assert "X-Amz-Expires=60" in shown["url"] and shown["size_bytes"] > 0 and len(shown["sha256"]) == 64
        export = DataExport.objects.get()
        assert data_of(export)["data"]["account"][0]["email"] == "anna@example.com"

    def test_the_link_gives_exactly_those_bytes(self):
        import hashlib
        import urllib.request

        client = client_for(UserFactory())
        export_id = client.post(EXPORTS).json()["id"]
        run_all()
        shown = client.get(f"{EXPORTS}{export_id}/").json()

        with urllib.request.urlopen(shown["url"]) as answer:
            fetched = answer.read()
            assert "attachment" in answer.headers["Content-Disposition"]
        assert (hashlib.sha256(fetched).hexdigest(), len(fetched)) == (shown["sha256"], shown["size_bytes"])

    def test_one_at_a_time(self):
        client = client_for(UserFactory())
        first = client.post(EXPORTS).json()

        answer = client.post(EXPORTS)

        assert (answer.status_code, answer.json()["code"], answer.json()["export_id"]) == (409, "export_in_progress", first["id"])
        run_all()
        assert client.post(EXPORTS).status_code == 201

    def test_a_repeat_with_its_key_finds_the_first(self):
        client = client_for(UserFactory())
        first = client.post(EXPORTS, HTTP_IDEMPOTENCY_KEY="k")

        again = client.post(EXPORTS, HTTP_IDEMPOTENCY_KEY="k")

        assert (again.status_code, again.json()["id"], again["Idempotency-Replayed"]) == (201, first.json()["id"], "true")
        assert DataExport.objects.count() == 1

    def test_blocked_people_get_their_data(self):
        client = client_for(UserFactory(blocked=True))
        export_id = client.post(EXPORTS).json()["id"]
        run_all()

        assert client.get(f"{EXPORTS}{export_id}/").json()["status"] == "READY"

    def test_somebody_elses_is_missing(self):
        export = services.request_export(user=UserFactory(), at=clock.now())

        assert client_for(UserFactory()).get(f"{EXPORTS}{export.pk}/").status_code == 404

    def test_is_audited_and_told(self):
        user = UserFactory()
        client_for(user).post(EXPORTS)
        run_all()

        assert AuditEvent.objects.get(act="export.requested").actor_id == user.pk
        assert Notice.objects.get(user=user).title == "Your data is ready"

    def test_every_link_is_audited_with_its_session(self):
        client = client_for(UserFactory())
        key = {"HTTP_IDEMPOTENCY_KEY": "k"}
        export_id = client.post(EXPORTS, **key).json()["id"]
        client.get(f"{EXPORTS}{export_id}/")
        run_all()
        assert client.post(EXPORTS, **key).json()["url"] is None, "only the GET gives links"
        assert not AuditEvent.objects.filter(act="export.opened").exists()

        links = {client.get(f"{EXPORTS}{export_id}/").json()["url"] is not None for _ in range(2)}

        opened = list(AuditEvent.objects.filter(act="export.opened"))
        assert links == {True} and [(str(row.subject_id), row.session_id) for row in opened] == [(export_id, client.device.pk)] * 2

    def test_is_limited(self, settings):
        settings.LIMITS = {**settings.LIMITS, "exports_account": (1, 86400)}
        client = client_for(UserFactory())
        client.post(EXPORTS)

        assert client.post(EXPORTS).status_code == 429

    def test_takes_a_fixed_number_of_queries(self):
        counts = []
        for notices in (1, 20):
            user = UserFactory()
            NoticeFactory.create_batch(notices, user=user)
            client = client_for(user)
            export_id = client.post(EXPORTS).json()["id"]
            with CaptureQueriesContext(connection) as queries:
                client.get(f"{EXPORTS}{export_id}/")
            counts.append(len(queries))
        assert counts[0] == counts[1] <= 3


@pytest.mark.django_db
class TestArchive:
    def export(self, user) -> DataExport:
        export = services.request_export(user=user, at=clock.now())
        run_all()
        return export

    def test_has_every_section_of_the_registry(self):
        data = data_of(self.export(UserFactory()))

        assert set(data["data"]) == {holding.section for holding in privacy.holdings()}
        assert data["format"] == "revsync-export/1"

    def test_has_the_persons_rows_and_nobody_elses(self):
        user = UserFactory()
        NoticeFactory(user=user, title="Mine")
        NoticeFactory(title="Not mine")

        assert [notice["title"] for notice in data_of(self.export(user))["data"]["notices"]] == ["Mine"]

    def test_keeps_secrets_back(self):
        user = UserFactory(mfa=True)
        text = json.dumps(data_of(self.export(user)))

        assert user.password not in text and user.totp_devices.get().secret not in text

    def test_has_the_files(self):
        user = UserFactory()
        upload = stored_upload(content=b"my certificate", owner_id=user.pk, ready=True, name="../../Zeugnis Ärger.pdf")
        export = self.export(user)

        described = data_of(export)["files"]
        assert [(file["section"], file["id"], file["name"], file["missing"]) for file in described] == [
            ("uploads", str(upload.pk), "../../Zeugnis Ärger.pdf", False)
        ]
        path = described[0]["path"]
        assert ".." not in path and path.startswith("files/uploads/") and archive_of(export).read(path) == b"my certificate"

    def test_says_which_file_storage_has_lost(self):
        user = UserFactory()
        upload = stored_upload(content=b"x", owner_id=user.pk, ready=True)
        storage.delete(upload.storage_key)
        described = data_of(self.export(user))["files"]

        assert [(file["path"], file["missing"]) for file in described] == [(None, True)]

    def test_its_progress_is_seen_while_it_is_made(self, monkeypatch):
        client = client_for(UserFactory())
        export_id, seen, write_rows = client.post(EXPORTS).json()["id"], [], exports._write_rows

        def look(*given):
            seen.append(client.get(f"{EXPORTS}{export_id}/").json())
            write_rows(*given)

        monkeypatch.setattr(exports, "_write_rows", look)
        run_all()

        percents = [shown["progress_percent"] for shown in seen]
        assert {(shown["status"], shown["url"]) for shown in seen} == {("RUNNING", None)}
        assert percents == sorted(percents) and percents[0] == 0 and percents[-1] > 85 and len(set(percents)) > 20

    def test_a_large_account_is_written_in_chunks(self, monkeypatch):
        monkeypatch.setattr(privacy, "EXPORT_CHUNK", 3)
        user = UserFactory()
        NoticeFactory.create_batch(10, user=user)

        assert len({notice["id"] for notice in data_of(self.export(user))["data"]["notices"]}) == 10


@pytest.mark.django_db
class TestTime:
    def test_after_a_day_the_file_is_gone(self):
        client = client_for(UserFactory())
        export_id = client.post(EXPORTS).json()["id"]
        run_all()
        key = DataExport.objects.get().storage_key

        assert services.sweep_exports(at=clock.now()) == 0
        assert services.sweep_exports(at=clock.now() + DAY) == 1

        shown = client.get(f"{EXPORTS}{export_id}/").json()
        assert (shown["status"], shown["url"]) == ("EXPIRED", None) and storage.head(key) is None

    def test_no_link_is_given_after_a_day_even_before_the_sweep(self):
        export = services.request_export(user=UserFactory(), at=clock.now() - 2 * DAY)
        services.make_export(export_id=export.pk, at=clock.now() - 2 * DAY)

        assert client_for(export.user).get(f"{EXPORTS}{export.pk}/").json()["url"] is None

    def test_one_that_was_never_made_is_given_up(self):
        export = services.request_export(user=UserFactory(), at=clock.now() - DAY)

        services.sweep_exports(at=clock.now())

        export.refresh_from_db()
        assert export.state == ExportState.FAILED
        assert client_for(export.user).post(EXPORTS).status_code == 201

    def test_rows_go_after_a_month(self):
        export = services.request_export(user=UserFactory(), at=clock.now())
        services.make_export(export_id=export.pk, at=clock.now())

        services.sweep_exports(at=clock.now() + 31 * DAY)

        assert not DataExport.objects.exists()


@pytest.mark.django_db
class TestOutage:
    def test_an_export_waits_for_storage_without_losing_an_attempt(self, settings):
        export = services.request_export(user=UserFactory(), at=clock.now())
        there = settings.S3_ENDPOINT_URL
        settings.S3_ENDPOINT_URL = "http://127.0.0.1:9"
        storage.reset()
        with pytest.raises(ServiceUnavailable):
            run_all()
        settings.S3_ENDPOINT_URL = there
        storage.reset()

        from django_tasks_db.models import DBTaskResult

        task = DBTaskResult.objects.get(task_path="users.tasks.make_export")
        assert (task.status, task.worker_ids) == ("READY", [])
        run_all(until=clock.now() + timedelta(minutes=5))
        export.refresh_from_db()
        assert export.state == ExportState.READY

    def test_a_ready_one_is_a_503_while_storage_is_away(self, settings):
        export = services.request_export(user=UserFactory(), at=clock.now())
        run_all()
        there = settings.S3_ENDPOINT_URL
        settings.S3_ENDPOINT_URL = "http://127.0.0.1:9"
        storage.reset()
        answer = client_for(export.user).get(f"{EXPORTS}{export.pk}/")
        settings.S3_ENDPOINT_URL = there
        storage.reset()

        assert (answer.status_code, answer.json()["service"]) == (503, "storage") and "Retry-After" in answer

    def test_a_killed_one_starts_again_and_leaves_no_object_behind(self, monkeypatch):
        export = services.request_export(user=UserFactory(), at=clock.now())

        class Killed(BaseException):
            pass

        from users.services import exports

        def die(*_args, **_kwargs):
            raise Killed

        put_file = storage.put_file

        def put_and_die(*args, **kwargs):
            put_file(*args, **kwargs)
            die()

        monkeypatch.setattr(exports.storage, "put_file", put_and_die)
        with pytest.raises(Killed):
            services.make_export(export_id=export.pk, at=clock.now())
        monkeypatch.setattr(exports.storage, "put_file", put_file)
        export.refresh_from_db()
        left = export.storage_key
        assert export.state == ExportState.RUNNING and storage.head(left) is not None

        services.make_export(export_id=export.pk, at=clock.now())

        export.refresh_from_db()
        assert (export.state, storage.head(left)) == (ExportState.READY, None)

    def test_an_account_that_goes_meanwhile_leaves_nothing(self, monkeypatch):
        user = UserFactory()
        export = services.request_export(user=user, at=clock.now())
        from users.services import exports

        put_file = storage.put_file
        keys = []

        def delete_then_put(key, *args, **kwargs):
            keys.append(key)
            services.delete_account(user=user, session=UserDeviceFactory(user=user), stock_files_saved=True, at=clock.now())
            put_file(key, *args, **kwargs)

        monkeypatch.setattr(exports.storage, "put_file", delete_then_put)
        services.make_export(export_id=export.pk, at=clock.now())

        assert not DataExport.objects.exists() and storage.head(keys[0]) is None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("row_locks", [True, False])
def test_two_phones_at_once_make_one(row_locks):
    user = UserFactory()

    def ask() -> None:
        services.request_export(user=user, at=clock.now())

    if row_locks:
        assert race(ask) == ["export_in_progress", "ok"]
    else:  # the constraint is what is left: a bug's answer, not the person's
        from django.db import IntegrityError

        with pytest.raises(IntegrityError, match="dataexport_one_open"):
            race(ask, row_locks=False, meet_after='FROM "users_dataexport"')
    assert DataExport.objects.count() == 1
