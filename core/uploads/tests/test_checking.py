"""What the worker makes of received bytes, with a real store."""

import hashlib
import io
import os
import socket
import struct
import threading
from datetime import timedelta

import pytest
import requests
from django.db import IntegrityError, transaction
from django_tasks_db.models import DBTaskResult
from PIL import Image

from core import clock, storage
from core.exceptions import ServiceUnavailable
from core.tasks import enqueue
from core.testing.tasks import run_all
from core.uploads import inspection, sandbox, scanner, services
from core.uploads.enums import UploadPurpose, UploadState
from core.uploads.models import Upload
from core.uploads.tests import samples
from core.uploads.tests.factories import UploadFactory, stored_upload

NOW = clock.now()


@pytest.fixture(autouse=True)
def _sample_inspector(monkeypatch):
    monkeypatch.setitem(inspection._inspectors, "TUNE_FILE", "core.uploads.tests.samples:inspect_sample")


def check(content, *, purpose=UploadPurpose.CERTIFICATION, content_type="application/pdf", **promise):
    """An upload with these bytes in quarantine, checked."""
    upload = stored_upload(content=content, purpose=purpose, content_type=content_type, checking=True, **promise)
    services.check_upload(upload_id=upload.id, at=NOW)
    upload.refresh_from_db()
    return upload


def check_picture(content, content_type="image/jpeg", purpose=UploadPurpose.AVATAR):
    return check(content, purpose=purpose, content_type=content_type)


def codes(upload):
    assert upload.state == UploadState.REFUSED
    return [reason["code"] for reason in upload.reasons]


@pytest.mark.django_db
class TestPromise:
    def test_a_good_file_is_stored_under_its_hash_and_leaves_quarantine(self):
        content = samples.pdf()
        upload = stored_upload(content=content, checking=True)
        quarantined = upload.storage_key

        services.check_upload(upload_id=upload.id, at=NOW)
        run_all()

        upload.refresh_from_db()
        sha256 = hashlib.sha256(content).hexdigest()
        assert (upload.state, upload.reasons, upload.checked_at) == (UploadState.READY, [], NOW)
        assert upload.storage_key.startswith(f"uploads/{sha256[:2]}/{sha256}-")
        assert storage.read(upload.storage_key, max_bytes=len(content)) == content
        assert upload.details["stored"] == {"sha256": sha256, "size_bytes": len(content), "content_type": "application/pdf"}
        assert storage.head(quarantined) is None

    @pytest.mark.parametrize("difference", [-1, 1])
    def test_another_size_than_promised_is_refused(self, difference):
        content = samples.pdf()

        assert codes(check(content, size_bytes=len(content) + difference)) == ["size_mismatch"]

    def test_another_hash_than_promised_is_refused(self):
        assert codes(check(samples.pdf(), sha256="0" * 64)) == ["sha256_mismatch"]

    def test_an_empty_object_is_refused(self):
        assert codes(check(b"", size_bytes=10)) == ["size_mismatch"]

    def test_a_missing_object_is_refused(self):
        upload = UploadFactory(checking=True)

        services.check_upload(upload_id=upload.id, at=NOW)

        upload.refresh_from_db()
        assert codes(upload) == ["not_received"]

    def test_a_refused_file_is_deleted(self):
        upload = check(samples.pdf(), sha256="0" * 64)
        run_all()

        assert storage.head(upload.storage_key) is None

    def test_checking_twice_changes_nothing(self):
        upload = check(samples.pdf())

        services.check_upload(upload_id=upload.id, at=NOW + timedelta(hours=1))

        upload.refresh_from_db()
        assert upload.checked_at == NOW

    def test_a_swept_upload_is_left_alone(self):
        upload = stored_upload(content=samples.pdf(), checking=True)
        upload_id = upload.id
        upload.delete()

        services.check_upload(upload_id=upload_id, at=NOW)

    def test_bytes_put_again_during_the_check_do_not_matter(self, monkeypatch):
        content = samples.pdf()
        upload = stored_upload(content=content, checking=True)
        original = inspection.inspect

        def overwrite_meanwhile(*args, **kwargs):
            storage.put_bytes(upload.storage_key, b"something else", "application/pdf")
            return original(*args, **kwargs)

        monkeypatch.setattr(inspection, "inspect", overwrite_meanwhile)
        services.check_upload(upload_id=upload.id, at=NOW)

        upload.refresh_from_db()
        assert storage.read(upload.storage_key, max_bytes=len(content)) == content


@pytest.mark.django_db
class TestPictures:
    @pytest.mark.parametrize(("fmt", "content_type"), [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp")])
    def test_a_picture_is_stored_anew_in_public(self, fmt, content_type):
        upload = check_picture(samples.picture(fmt), content_type)

        assert upload.state == UploadState.READY
        data = storage.read(upload.storage_key, max_bytes=10**6, bucket=storage.PUBLIC)
        sha256 = hashlib.sha256(data).hexdigest()
        assert upload.storage_key.startswith(f"images/{sha256[:2]}/{sha256}-")
        assert upload.storage_key.endswith(".webp")
        assert (upload.details["width"], upload.details["height"]) == Image.open(io.BytesIO(data)).size == (64, 48)
        assert upload.details["stored"]["sha256"] == sha256
        assert storage.head(upload.storage_key, bucket=storage.PUBLIC).content_type == "image/webp"

    def test_its_metadata_is_gone_and_its_orientation_is_kept(self):
        content = samples.picture_with_position()
        assert b"SecretCamera" in content

        upload = check_picture(content)

        data = storage.read(upload.storage_key, max_bytes=10**6, bucket=storage.PUBLIC)
        assert b"SecretCamera" not in data
        assert not Image.open(io.BytesIO(data)).getexif()
        assert Image.open(io.BytesIO(data)).size == (48, 64)

    def test_an_avatar_is_made_small(self):
        upload = check_picture(samples.picture(size=(2000, 1000)))

        assert (upload.details["width"], upload.details["height"]) == (512, 256)

    def test_a_bomb_is_refused_before_it_is_decoded(self):
        assert codes(check_picture(samples.png_bomb(), "image/png")) == ["too_many_pixels"]

    def test_an_archive_behind_a_picture_does_not_survive(self):
        upload = check_picture(samples.picture() + samples.archive())

        assert upload.state == UploadState.READY
        assert b"payload.html" not in storage.read(upload.storage_key, max_bytes=10**6, bucket=storage.PUBLIC)

    @pytest.mark.parametrize(
        ("content", "content_type"),
        [
            (samples.picture("PNG"), "image/jpeg"),
            (b"<html><script>alert(1)</script></html>", "image/png"),
            (samples.archive(), "image/jpeg"),
            (samples.pdf(), "image/webp"),
            (b"GIF89a" + b"\0" * 100, "image/png"),
            (b"\0" * 100, "image/png"),
            (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "image/png"),
        ],
    )
    def test_what_is_not_the_promised_type_is_refused(self, content, content_type):
        assert codes(check_picture(content, content_type)) == ["type_mismatch"]

    @pytest.mark.parametrize("content", [samples.picture("JPEG", size=(400, 400))[:600], samples.picture("PNG", size=(400, 400))[:200]])
    def test_a_cut_off_picture_is_refused(self, content):
        content_type = "image/png" if content.startswith(b"\x89PNG") else "image/jpeg"

        assert codes(check_picture(content, content_type)) == ["unreadable"]

    def test_the_same_picture_of_two_people_has_two_objects(self):
        first, second = check_picture(samples.picture()), check_picture(samples.picture())

        assert first.storage_key != second.storage_key


@pytest.mark.django_db
class TestDocuments:
    def test_a_plain_pdf_is_kept_as_it_is(self):
        upload = check(samples.pdf(pages=3))

        assert (upload.state, upload.details["pages"]) == (UploadState.READY, 3)

    @pytest.mark.parametrize(
        ("content", "code"),
        [
            (samples.pdf_encrypted(), "pdf_encrypted"),
            (samples.pdf_with_javascript(), "pdf_javascript"),
            (samples.pdf_with_hidden_javascript(), "pdf_javascript"),
            (samples.pdf_with_launch(), "pdf_launch_action"),
            (samples.pdf_with_attachment(), "pdf_embedded_file"),
            (samples.pdf() + b"\n" + samples.archive() + b"\0" * 2000, "pdf_trailing_data"),
            (samples.archive() + samples.pdf(), "type_mismatch"),
            (samples.picture(), "type_mismatch"),
            (samples.pdf()[:200], "unreadable"),
            (b"%PDF-1.7\n" + b"garbage " * 50 + b"%%EOF", "unreadable"),
            (samples.pdf(pages=301), "too_many_pages"),
        ],
    )
    def test_one_that_could_act_or_can_not_be_read_is_refused(self, content, code):
        upload = check(content)

        assert code in codes(upload)
        assert all(reason["detail"] for reason in upload.reasons)

    def test_a_scanned_page_is_stored_anew_in_private(self):
        upload = check(samples.picture_with_position(), purpose=UploadPurpose.CASE_FILE, content_type="image/jpeg")

        assert upload.storage_key.startswith("uploads/")
        assert b"SecretCamera" not in storage.read(upload.storage_key, max_bytes=10**6)
        assert upload.details["stored"]["content_type"] == "image/webp"


@pytest.mark.django_db
class TestRegisteredInspectors:
    def test_its_details_are_kept(self):
        upload = check(b"\1" * 1000, purpose=UploadPurpose.TUNE_FILE, content_type="application/octet-stream", name="stage1.bin")

        assert upload.state == UploadState.READY
        assert upload.details["hardware_number"] == "HW-1"
        assert upload.details["name"] == "stage1.bin"
        assert storage.hash_object(upload.storage_key) == (upload.sha256, 1000)

    def test_its_reasons_refuse_the_file_and_its_findings_stay(self):
        upload = check(b"BAD" * 100, purpose=UploadPurpose.TUNE_FILE, content_type="application/octet-stream")

        assert codes(upload) == ["no_ecu_image"]
        assert upload.details["findings"] == [1]

    def test_only_purposes_of_upper_apps_can_be_registered(self):
        with pytest.raises(ValueError, match="core"):
            inspection.register("AVATAR", "somewhere:inspect")


class TestSandbox:
    def test_a_parser_that_runs_too_long_is_stopped(self, tmp_path):
        path = tmp_path / "x.pdf"
        path.write_bytes(samples.pdf())

        assert "too long" in sandbox.run("document", str(path), wall_seconds=0.01).failure

    def test_a_parser_that_crashes_makes_the_file_unreadable(self):
        assert "can't be read" in sandbox.run("document", "/nonexistent").failure

    def test_a_parser_sees_nothing_of_our_environment(self, tmp_path, monkeypatch):
        parser = tmp_path / "spy.py"
        parser.write_text("import json, os; print(json.dumps(dict(os.environ)))")
        monkeypatch.setattr(sandbox, "PARSERS", tmp_path)
        monkeypatch.setenv("SECRET_KEY", "hidden")

        assert "hidden" not in sandbox.run("spy").result.values()

    def test_a_parser_that_can_not_start_is_our_fault(self, tmp_path, monkeypatch):
        (tmp_path / "broken.py").write_text("import sys; sys.exit(70)")
        monkeypatch.setattr(sandbox, "PARSERS", tmp_path)

        with pytest.raises(RuntimeError):
            sandbox.run("broken")


class Clamd(threading.Thread):
    """A server that speaks clamd's protocol and finds EICAR's test string."""

    def __init__(self, *, answer=None):
        super().__init__(daemon=True)
        self.answer = answer
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"clamd://127.0.0.1:{self.socket.getsockname()[1]}"
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as file:
                command = b""
                while not command.endswith(b"\0"):
                    command += file.read(1)
                if command == b"zVERSION\0":
                    file.write(b"ClamAV 1.4.1/27463/Sun Nov 15 08:33:12 2026\0")
                    continue
                data = b""
                while size := struct.unpack("!I", file.read(4))[0]:
                    data += file.read(size)
                file.write(self.answer or (b"stream: Eicar-Signature FOUND\0" if b"EICAR" in data else b"stream: OK\0"))


@pytest.mark.django_db
class TestScanner:
    @pytest.fixture
    def clamd(self, settings):
        server = Clamd()
        settings.SCANNER = server.url
        yield server
        server.socket.close()

    def test_a_clean_file_passes_and_says_so(self, clamd):
        upload = check(samples.pdf())

        assert (upload.state, upload.details["scanned"]) == (UploadState.READY, True)

    def test_malware_is_refused_and_its_name_is_not_told(self, clamd):
        upload = check(b"\1" * 300_000 + samples.EICAR, purpose=UploadPurpose.TUNE_FILE, content_type="application/octet-stream")

        assert codes(upload) == ["malware_found"]
        assert "Eicar" not in str(upload.reasons)

    def test_while_it_is_down_the_file_waits_and_no_attempt_is_lost(self, settings):
        settings.SCANNER = "clamd://127.0.0.1:9"
        upload = stored_upload(content=samples.pdf(), checking=True)
        task_id = enqueue("core.uploads.tasks.check_upload", upload_id=upload.id)

        run_all(raise_errors=False)

        upload.refresh_from_db()
        assert upload.state == UploadState.CHECKING
        assert (DBTaskResult.objects.get(pk=task_id).status, DBTaskResult.objects.get(pk=task_id).worker_ids) == ("READY", [])

    def test_an_answer_that_is_neither_clean_nor_found_is_not_a_pass(self, settings, tmp_path):
        settings.SCANNER = Clamd(answer=b"stream: Can't allocate memory ERROR\0").url
        path = tmp_path / "x"
        path.write_bytes(b"x")

        with pytest.raises(ServiceUnavailable):
            scanner.scan(path)

    def test_it_tells_how_old_its_signatures_are(self, clamd):
        status = scanner.get_status()

        assert (status.enabled, status.version, f"{status.signatures_at:%Y-%m-%d}") == (True, "ClamAV 1.4.1", "2026-11-15")

    @pytest.mark.parametrize("setting", ["off", "off-accepted"])
    def test_switched_off_it_says_that_nothing_was_scanned(self, settings, setting):
        settings.SCANNER = setting

        assert check(samples.pdf()).details["scanned"] is False
        assert scanner.get_status().enabled is False


@pytest.mark.django_db
class TestOutage:
    def test_a_stored_file_that_can_not_be_read_waits(self, settings):
        upload = stored_upload(content=samples.pdf(), checking=True)
        settings.S3_ENDPOINT_URL = "http://127.0.0.1:9"
        storage.reset()

        with pytest.raises(ServiceUnavailable):
            services.check_upload(upload_id=upload.id, at=NOW)

        settings.S3_ENDPOINT_URL = os.environ["S3_ENDPOINT_URL"]
        storage.reset()
        services.check_upload(upload_id=upload.id, at=NOW)
        upload.refresh_from_db()
        assert upload.state == UploadState.READY


@pytest.mark.django_db
class TestSweep:
    def test_unused_uploads_go_with_their_objects_after_24_hours(self):
        day_ago = NOW - timedelta(hours=24)
        pending = stored_upload(content=b"1", created_at=day_ago)
        ready = stored_upload(content=b"2", created_at=day_ago, ready=True)
        avatar = check_picture(samples.picture())
        Upload.objects.filter(pk=avatar.pk).update(created_at=day_ago, expires_at=NOW)
        kept = [
            stored_upload(content=b"3", created_at=day_ago + timedelta(seconds=1)),
            stored_upload(content=b"4", created_at=day_ago, used=True),
        ]

        assert services.sweep_uploads(at=NOW) == 3
        run_all()

        assert set(Upload.objects.values_list("pk", flat=True)) == {upload.pk for upload in kept}
        assert [storage.head(upload.storage_key) for upload in (pending, ready)] == [None, None]
        assert storage.head(avatar.storage_key, bucket=storage.PUBLIC) is None
        assert all(storage.head(upload.storage_key) for upload in kept)

    def test_the_schedule_sweeps_in_bites(self):
        for number in range(5):
            UploadFactory(content=bytes([number]), created_at=NOW - timedelta(days=2))

        assert services.sweep_uploads(at=NOW, limit=2) == 2
        assert services.sweep_uploads(at=NOW, limit=2) == 2
        assert services.sweep_uploads(at=NOW, limit=2) == 1

    def test_what_a_late_put_left_behind_is_swept_from_quarantine(self):
        storage.put_bytes("quarantine/left-behind", b"x", "text/plain")

        services.sweep_quarantine(at=NOW + timedelta(days=1))
        assert storage.head("quarantine/left-behind") is not None
        services.sweep_quarantine(at=clock.now() + timedelta(days=2, seconds=1))
        assert storage.head("quarantine/left-behind") is None

    def test_a_person_who_leaves_takes_unused_files_and_names_along(self):
        unused = stored_upload(content=b"1")
        used = UploadFactory(content=b"2", owner_id=unused.owner_id, used=True)
        other = UploadFactory(content=b"3")

        services.erase_uploads_of(owner_id=unused.owner_id)
        run_all()

        assert set(Upload.objects.values_list("pk", "name")) == {(used.pk, ""), (other.pk, other.name)}
        assert storage.head(unused.storage_key) is None


@pytest.mark.django_db
class TestConstraints:
    @pytest.mark.parametrize(
        ("constraint", "change"),
        [
            ("upload_purpose_known", {"purpose": "MALWARE"}),
            ("upload_state_known", {"state": "DONE"}),
            ("upload_not_empty", {"size_bytes": 0}),
            ("upload_sha256_is_lowercase_hex", {"sha256": "A" * 64}),
            ("upload_times_agree_with_state", {"completed_at": NOW}),
            ("upload_only_ready_is_used", {"used_at": NOW}),
            ("upload_refused_iff_reasons", {"reasons": [{"code": "x", "detail": "y"}]}),
        ],
    )
    def test_postgres_refuses_what_the_model_rules_out(self, constraint, change):
        upload = UploadFactory()

        with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
            Upload.objects.filter(pk=upload.pk).update(**change)

    def test_postgres_refuses_a_refusal_without_a_word(self):
        upload = UploadFactory(refused=True)

        with pytest.raises(IntegrityError, match="upload_refused_iff_reasons"), transaction.atomic():
            Upload.objects.filter(pk=upload.pk).update(reasons=[])


@pytest.mark.django_db
def test_a_presigned_link_feeds_the_whole_way():
    """What a phone does: PUT with the signed headers, then the check."""
    content = samples.pdf()
    upload = UploadFactory(content=content)
    url, headers = storage.presign_put(upload.storage_key, content_type=upload.content_type, size_bytes=upload.size_bytes)

    assert requests.put(url, data=content, headers=headers, timeout=10).status_code == 200
    services.complete_upload(owner_id=upload.owner_id, upload_id=upload.id, at=NOW)
    assert run_all() == ["core.uploads.tasks.check_upload", "core.uploads.tasks.delete_object"]

    upload.refresh_from_db()
    assert upload.state == UploadState.READY
