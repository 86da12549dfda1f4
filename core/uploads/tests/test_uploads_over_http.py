"""Uploads as an app uses them."""

import hashlib
import threading
from datetime import timedelta
from uuid import uuid4

import pytest
import requests
from django.db import connection, transaction
from django_tasks_db.models import DBTaskResult

from core import clock, storage
from core.embedded.s3 import S3
from core.exceptions import DomainError, InvalidInput
from core.testing.http import ApiClient, client_for
from core.testing.races import race
from core.testing.tasks import run_all
from core.uploads import services
from core.uploads.enums import UploadPurpose, UploadState
from core.uploads.exceptions import UploadQuotaExceeded
from core.uploads.models import Upload
from core.uploads.rules import MIB
from core.uploads.tests import samples
from core.uploads.tests.factories import UploadFactory, stored_upload
from users.tests.factories import UserFactory

PDF = samples.pdf()


def promise(content=PDF, **changes):
    return {
        "purpose": "CERTIFICATION",
        "name": "licence.pdf",
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "content_type": "application/pdf",
        **changes,
    }


@pytest.fixture
def rider(db):
    return client_for(UserFactory())


def errors(response):
    assert response.status_code == 400, response.content
    return {(error["pointer"], error["code"]) for error in response.json()["errors"]}


class TestTheWholeWay:
    def test_start_put_complete_ready(self, rider):
        started = rider.post("uploads/", promise())
        assert started.status_code == 201
        upload = started.json()
        assert (upload["status"], upload["reasons"], upload["used"], upload["url"]) == ("PENDING", [], False, None)
        link = upload["upload"]
        assert link["method"] == "PUT"

        assert requests.put(link["url"], data=PDF, headers=link["headers"], timeout=10).status_code == 200
        completed = rider.post(f"uploads/{upload['id']}/complete/")
        assert (completed.status_code, completed.json()["status"]) == (202, "CHECKING")
        run_all()

        read = rider.get(f"uploads/{upload['id']}/").json()
        assert (read["status"], read["upload"]) == ("READY", None)

    def test_a_refused_file_says_why(self, rider):
        content = samples.pdf_with_javascript()
        upload = rider.post("uploads/", promise(content)).json()
        requests.put(upload["upload"]["url"], data=content, headers=upload["upload"]["headers"], timeout=10)
        rider.post(f"uploads/{upload['id']}/complete/")
        run_all()

        read = rider.get(f"uploads/{upload['id']}/").json()

        assert read["status"] == "REFUSED"
        assert [reason["code"] for reason in read["reasons"]] == ["pdf_javascript"]

    def test_a_checked_picture_has_a_public_address(self, rider, settings):
        content = samples.picture()
        body = promise(content, purpose="AVATAR", name="me.jpg", content_type="image/jpeg")
        upload = rider.post("uploads/", body).json()
        requests.put(upload["upload"]["url"], data=content, headers=upload["upload"]["headers"], timeout=10)
        rider.post(f"uploads/{upload['id']}/complete/")
        run_all()

        url = rider.get(f"uploads/{upload['id']}/").json()["url"]

        assert url.startswith(f"{settings.MEDIA_PUBLIC_BASE_URL}/images/")
        shown = ApiClient().get(url.removeprefix(settings.PUBLIC_BASE_URL))
        assert (shown.status_code, shown["Content-Type"]) == (200, "image/webp")

    def test_an_idempotent_repeat_finds_the_same_upload_with_a_fresh_link(self, rider):
        first = rider.post("uploads/", promise(), headers={"Idempotency-Key": "k1"})
        second = rider.post("uploads/", promise(), headers={"Idempotency-Key": "k1"})

        assert (first.status_code, second.status_code, second["Idempotency-Replayed"]) == (201, 201, "true")
        assert first.json()["id"] == second.json()["id"]
        assert second.json()["upload"]["url"]
        assert Upload.objects.count() == 1

    def test_a_new_link_leads_to_the_same_place(self, rider):
        upload = rider.post("uploads/", promise()).json()

        renewed = rider.post(f"uploads/{upload['id']}/renew/")

        assert renewed.status_code == 200
        link = renewed.json()["upload"]
        assert link["url"].split("?")[0] == upload["upload"]["url"].split("?")[0]
        assert requests.put(link["url"], data=PDF, headers=link["headers"], timeout=10).status_code == 200


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "error"),
        [
            ({"purpose": "MALWARE"}, ("/purpose", "invalid_choice")),
            ({"size_bytes": 0}, ("/size_bytes", "min_value")),
            ({"size_bytes": -1}, ("/size_bytes", "min_value")),
            ({"size_bytes": "7"}, ("/size_bytes", "invalid")),
            ({"size_bytes": 10 * MIB + 1}, ("/size_bytes", "too_large")),
            ({"size_bytes": 2**70}, ("/size_bytes", "max_value")),
            ({"sha256": "A" * 64}, ("/sha256", "invalid")),
            ({"sha256": "a" * 63}, ("/sha256", "invalid")),
            ({"content_type": "text/html"}, ("/content_type", "unsupported_type")),
            ({"purpose": "AVATAR"}, ("/content_type", "unsupported_type")),
            ({"purpose": "TUNE_FILE", "content_type": "application/zip"}, ("/content_type", "unsupported_type")),
            ({"name": ""}, ("/name", "blank")),
            ({"name": "a\u202eb"}, ("/name", "control_character")),
            ({"name": "x" * 201}, ("/name", "max_length")),
            ({"storage_key": "x"}, ("/storage_key", "unknown_field")),
            ({"status": "READY"}, ("/status", "unknown_field")),
        ],
    )
    def test_a_wrong_promise_is_refused_at_its_place(self, rider, change, error):
        assert error in errors(rider.post("uploads/", promise(**change)))
        assert not Upload.objects.exists()

    @pytest.mark.parametrize(
        ("purpose", "content_type", "limit"),
        [
            ("AVATAR", "image/png", 8 * MIB),
            ("VEHICLE_PHOTO", "image/jpeg", 8 * MIB),
            ("TUNE_IMAGE", "image/webp", 8 * MIB),
            ("CERTIFICATION", "application/pdf", 10 * MIB),
            ("CASE_FILE", "image/png", 10 * MIB),
            ("TUNE_FILE", "application/octet-stream", 16 * MIB),
            ("STOCK_FILE", "text/plain", 16 * MIB),
        ],
    )
    def test_each_purpose_has_its_limit(self, rider, purpose, content_type, limit):
        body = promise(purpose=purpose, content_type=content_type)

        assert rider.post("uploads/", {**body, "size_bytes": limit}).status_code == 201
        assert errors(rider.post("uploads/", {**body, "size_bytes": limit + 1})) == {("/size_bytes", "too_large")}

    @pytest.mark.parametrize("call", ["", "renew/", "complete/"])
    def test_somebody_elses_upload_answers_like_a_missing_one(self, rider, call):
        foreign = UploadFactory()
        send = rider.post if call else rider.get

        other, missing = send(f"uploads/{foreign.id}/{call}"), send(f"uploads/{uuid4()}/{call}")

        assert (other.status_code, missing.status_code) == (404, 404)
        assert other.json()["code"] == missing.json()["code"] == "not_found"
        assert other.json()["detail"] == missing.json()["detail"]

    def test_completing_before_the_bytes_arrived_is_refused_and_can_be_repeated(self, rider):
        upload = rider.post("uploads/", promise()).json()

        refused = rider.post(f"uploads/{upload['id']}/complete/")

        assert (refused.status_code, refused.json()["code"]) == (409, "upload_not_received")
        assert Upload.objects.get().state == UploadState.PENDING

    @pytest.mark.parametrize("call", ["renew/", "complete/"])
    def test_an_expired_upload_is_refused(self, rider, call):
        upload = UploadFactory(owner_id=rider.user.pk, created_at=clock.now() - timedelta(days=2))

        assert rider.post(f"uploads/{upload.id}/{call}").json()["code"] == "upload_expired"

    @pytest.mark.parametrize("state", ["checking", "ready", "refused"])
    def test_only_a_pending_upload_gets_a_new_link(self, rider, state):
        upload = UploadFactory(owner_id=rider.user.pk, **{state: True})

        response = rider.post(f"uploads/{upload.id}/renew/")

        assert (response.status_code, response.json()["code"]) == (409, "upload_not_pending")

    def test_completing_again_is_harmless(self, rider):
        upload = stored_upload(content=PDF, owner_id=rider.user.pk)

        answers = [rider.post(f"uploads/{upload.id}/complete/") for _ in range(2)]
        run_all()
        answers.append(rider.post(f"uploads/{upload.id}/complete/"))

        assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [
            (202, "CHECKING"),
            (202, "CHECKING"),
            (202, "READY"),
        ]
        assert DBTaskResult.objects.filter(task_path="core.uploads.tasks.check_upload").count() == 1

    def test_nobody_uploads_without_signing_in(self, db):
        assert ApiClient().post("uploads/", promise()).status_code == 401

    @pytest.mark.parametrize("count", [50])
    def test_too_many_unused_uploads_are_refused(self, rider, count):
        UploadFactory.create_batch(count, owner_id=rider.user.pk)

        refused = rider.post("uploads/", promise())

        assert (refused.status_code, refused.json()["code"]) == (409, "upload_quota_exceeded")

    def test_used_refused_and_expired_ones_do_not_count(self, rider):
        owner = rider.user.pk
        UploadFactory.create_batch(50, owner_id=owner, used=True)
        UploadFactory.create_batch(10, owner_id=owner, refused=True)
        UploadFactory.create_batch(10, owner_id=owner, created_at=clock.now() - timedelta(days=2))

        assert rider.post("uploads/", promise()).status_code == 201

    def test_too_many_bytes_are_refused(self, rider):
        UploadFactory.create_batch(25, owner_id=rider.user.pk, size_bytes=10 * MIB)

        assert rider.post("uploads/", promise(size_bytes=10 * MIB)).json()["code"] == "upload_quota_exceeded"
        assert rider.post("uploads/", promise(size_bytes=6 * MIB)).status_code == 201


class TestCost:
    def test_starting_and_reading_take_a_known_number_of_statements(self, rider, django_assert_num_queries):
        upload = rider.post("uploads/", promise()).json()

        with django_assert_num_queries(7):  # session, limit, savepoint, quota lock, quota, insert, release
            rider.post("uploads/", promise())
        with django_assert_num_queries(2):  # session, upload
            rider.get(f"uploads/{upload['id']}/")


class TestStorageStopped:
    """A real S3 server of its own, stopped in the middle."""

    @pytest.fixture
    def own_s3(self, tmp_path, settings):
        buckets = settings.S3_BUCKET_PRIVATE, settings.S3_BUCKET_PUBLIC
        keys = {"access_key": "own-access-key", "secret_key": "own-secret-key-of-this-test"}
        server = S3(tmp_path / "s3", tmp_path / "s3.log", **keys, buckets=buckets)
        server.start()
        settings.S3_ENDPOINT_URL = settings.S3_PUBLIC_ENDPOINT_URL = server.endpoint_url
        settings.S3_ACCESS_KEY_ID, settings.S3_SECRET_ACCESS_KEY = server.access_key, server.secret_key
        storage.reset()
        yield server
        server.stop()
        storage.reset()

    def test_every_call_is_a_503_and_leaves_nothing_half_made(self, rider, own_s3):
        pending = rider.post("uploads/", promise()).json()
        own_s3.stop()
        storage.reset()

        answers = [
            rider.post("uploads/", promise(), headers={"Idempotency-Key": "k"}),
            rider.post(f"uploads/{pending['id']}/renew/"),
            rider.post(f"uploads/{pending['id']}/complete/"),
        ]

        for answer in answers:
            assert (answer.status_code, answer["Content-Type"]) == (503, "application/problem+json")
            assert (answer.json()["code"], answer.json()["service"]) == ("service_unavailable", "storage")
            assert int(answer["Retry-After"]) >= 1
        assert rider.get(f"uploads/{pending['id']}/").status_code == 200
        assert [upload.state for upload in Upload.objects.all()] == ["PENDING"]
        assert not DBTaskResult.objects.exists()

        own_s3.start()
        storage.reset()
        assert rider.post("uploads/", promise(), headers={"Idempotency-Key": "k"}).status_code == 201


class TestClaim:
    def claim(self, upload, **changes):
        with transaction.atomic():
            return services.claim_upload(
                **{"upload_id": upload.id, "owner_id": upload.owner_id, "purpose": upload.purpose, "at": clock.now(), **changes}
            )

    def code(self, upload, **changes):
        with pytest.raises(InvalidInput) as refusal:
            self.claim(upload, **changes)
        (error,) = refusal.value.errors
        assert error.pointer == changes.get("pointer", "/upload_id")
        return error.code

    def test_takes_a_ready_upload_once(self, db):
        upload = UploadFactory(ready=True)

        assert self.claim(upload).used_at is not None
        assert self.code(upload) == "upload_used"

    @pytest.mark.parametrize(
        ("state", "code"), [({}, "upload_not_ready"), ({"checking": True}, "upload_not_ready"), ({"refused": True}, "upload_refused")]
    )
    def test_refuses_what_is_not_ready(self, db, state, code):
        assert self.code(UploadFactory(**state)) == code

    def test_hides_somebody_elses_upload(self, db):
        assert (
            self.code(UploadFactory(ready=True), owner_id=uuid4())
            == self.code(UploadFactory(ready=True), upload_id=uuid4())
            == "upload_not_found"
        )

    def test_refuses_another_purpose(self, db):
        assert self.code(UploadFactory(ready=True), purpose="AVATAR", pointer="/files/0/upload_id") == "upload_wrong_purpose"

    def test_takes_one_of_several_purposes(self, db):
        assert self.claim(UploadFactory(ready=True), purpose=(UploadPurpose.CASE_FILE, UploadPurpose.CERTIFICATION)).used_at


@pytest.mark.django_db(transaction=True)
class TestRaces:
    def test_one_of_two_claims_wins(self):
        upload = UploadFactory(ready=True)

        assert race(lambda: TestClaim().claim(upload)) == ["invalid_input", "ok"]

    def test_control_without_the_lock_both_claims_win(self):
        upload = UploadFactory(ready=True)

        assert race(lambda: TestClaim().claim(upload), row_locks=False) == ["ok", "ok"]

    def complete_twice(self, **options):
        upload = stored_upload(content=PDF)
        outcome = race(lambda: services.complete_upload(owner_id=upload.owner_id, upload_id=upload.id, at=clock.now()), **options)
        return outcome, DBTaskResult.objects.filter(task_path="core.uploads.tasks.check_upload").count()

    def test_two_completes_at_once_queue_one_check(self):
        assert self.complete_twice() == (["ok", "ok"], 1)

    def test_control_without_the_lock_two_completes_queue_two_checks(self):
        """The first read is the one before the lock, so both are sent past it together by a barrier after the second."""
        upload = stored_upload(content=PDF)
        both_have_read = threading.Barrier(2)

        def complete():
            reads = 0

            def unlocked(execute, sql, params, many, context):
                nonlocal reads
                result = execute(sql.replace(" FOR NO KEY UPDATE", ""), params, many, context)
                if sql.startswith("SELECT") and "core_upload" in sql:
                    reads += 1
                    if reads == 2:
                        both_have_read.wait(timeout=10)
                return result

            try:
                with connection.execute_wrapper(unlocked):
                    services.complete_upload(owner_id=upload.owner_id, upload_id=upload.id, at=clock.now())
            finally:
                connection.close()

        _together(complete, complete)
        assert DBTaskResult.objects.filter(task_path="core.uploads.tasks.check_upload").count() == 2

    def start_at_the_limit(self, *, quota_lock=True):
        """Two starts of a person who has room for one; without the lock both count before either inserts."""
        owner = uuid4()
        UploadFactory.create_batch(49, owner_id=owner)
        both_have_counted = threading.Barrier(2)
        outcomes = []

        def start():
            def unlocked(execute, sql, params, many, context):
                if "pg_advisory_xact_lock" in sql:
                    return execute("SELECT %s", params, many, context)
                result = execute(sql, params, many, context)
                if "COUNT" in sql:
                    both_have_counted.wait(timeout=10)
                return result

            try:
                if quota_lock:
                    services.start_upload(owner_id=owner, at=clock.now(), **promise())
                else:
                    with connection.execute_wrapper(unlocked):
                        services.start_upload(owner_id=owner, at=clock.now(), **promise())
                outcomes.append("ok")
            except DomainError as refusal:
                outcomes.append(refusal.code)
            finally:
                connection.close()

        _together(start, start)
        return sorted(outcomes), Upload.objects.count()

    def test_the_quota_is_exact(self):
        assert self.start_at_the_limit() == (["ok", UploadQuotaExceeded.code], 50)

    def test_control_without_the_lock_the_quota_leaks(self):
        assert self.start_at_the_limit(quota_lock=False) == (["ok", "ok"], 51)


def _together(*acts):
    threads = [threading.Thread(target=act) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
