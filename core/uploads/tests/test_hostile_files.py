"""Hostile pictures and documents, quotas, and a scanner that misbehaves."""

import io
import json
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest
from PIL import Image, ImageCms
from pypdf import PdfWriter
from pypdf.generic import ArrayObject, DictionaryObject, NameObject, TextStringObject

from core import clock, doctor, storage
from core.admin import _scanner_trouble
from core.exceptions import DomainError, ServiceUnavailable
from core.testing.http import client_for
from core.testing.races import race
from core.testing.tasks import run_all
from core.uploads import inspection, sandbox, scanner, services
from core.uploads.enums import UploadPurpose, UploadState
from core.uploads.models import Upload
from core.uploads.rules import LARGEST_BYTES, RULES
from core.uploads.tests import samples
from core.uploads.tests.factories import UploadFactory, stored_upload
from users.tests.factories import UserFactory

NOW = clock.now()


def inspect(path, content, *, purpose="AVATAR", content_type="image/png"):
    """The verdict on a file with these bytes."""
    file = path / "received"
    file.write_bytes(content)
    return inspection.inspect(file, purpose=purpose, name="file", content_type=content_type)


def encoded(image, fmt, **options):
    buffer = io.BytesIO()
    image.save(buffer, fmt, **options)
    return buffer.getvalue()


def png_chunk(kind, data):
    return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))


def png_with(*chunks):
    """A small PNG with more chunks before its pixels."""
    plain = samples.picture("PNG")
    return plain[:33] + b"".join(png_chunk(*chunk) for chunk in chunks) + plain[33:]


def animated_png(frames=3):
    images = [Image.new("RGB", (40, 30), (80 * number, 10, 10)) for number in range(frames)]
    return encoded(images[0], "PNG", save_all=True, append_images=images[1:], duration=50)


def two_pictures_in_one():
    images = [Image.new("RGB", (64, 48), "navy"), Image.new("RGB", (64, 48), "red")]
    return encoded(images[0], "MPO", save_all=True, append_images=images[1:])


ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GRADIENT = Image.linear_gradient("L").resize((64, 48))
ODD_PICTURES = {
    "animated PNG": (animated_png(), "image/png"),
    "animated WebP": (
        encoded(GRADIENT.convert("RGB"), "WEBP", save_all=True, append_images=[Image.new("RGB", (64, 48))], duration=50), "image/webp",
    ),
    "a phone's double JPEG": (two_pictures_in_one(), "image/jpeg"),
    "CMYK JPEG": (encoded(GRADIENT.convert("CMYK"), "JPEG"), "image/jpeg"),
    "16-bit grey PNG": (encoded(GRADIENT.convert("I").point(lambda value: value * 256).convert("I;16"), "PNG"), "image/png"),
    "one-bit PNG": (encoded(GRADIENT.convert("1"), "PNG"), "image/png"),
    "palette with transparency": (encoded(GRADIENT.convert("P"), "PNG", transparency=3), "image/png"),
    "grey with alpha": (encoded(GRADIENT.convert("LA"), "PNG"), "image/png"),
    "colour profile": (encoded(GRADIENT.convert("RGB"), "JPEG", icc_profile=ICC), "image/jpeg"),
    "broken colour profile": (encoded(GRADIENT.convert("RGB"), "PNG", icc_profile=b"\xff" * 200), "image/png"),
    "text chunks": (png_with((b"tEXt", b"Comment\0<script>alert(1)</script>"), (b"eXIf", b"II*\0")), "image/png"),
    "a page behind it": (samples.picture("PNG") + b"<html><script>alert(1)</script></html>", "image/png"),
    "a page within it": (samples.picture("JPEG", comment=b"<script>alert(1)</script>"), "image/jpeg"),
}  # fmt: skip
BAD_PICTURES = {
    "many pixels": (samples.png_bomb(), "image/png", "too_many_pixels"),
    "a long side": (encoded(Image.new("1", (12_001, 1)), "PNG"), "image/png", "too_many_pixels"),
    "a text bomb": (
        png_with((b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 100_000_000, 9))), "image/png", "unreadable",
    ),
    "a profile bomb": (
        png_with((b"iCCP", b"profile\0\0" + zlib.compress(b"a" * 100_000_000, 9))), "image/png", "unreadable",
    ),
    "no pixels": (b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack("!IIBBBBB", 0, 0, 8, 2, 0, 0, 0)), "image/png", "unreadable"),
    "a wrong checksum": (samples.picture("PNG")[:45] + b"\0" + samples.picture("PNG")[46:], "image/png", "unreadable"),
    "cut off": (samples.picture("WEBP")[:60], "image/webp", "unreadable"),
    "only a header": (samples.picture("JPEG")[:30], "image/jpeg", "unreadable"),
}  # fmt: skip


class TestPictures:
    @pytest.mark.parametrize("what", ODD_PICTURES)
    def test_an_odd_one_becomes_one_plain_picture(self, what, tmp_path):
        content, content_type = ODD_PICTURES[what]

        verdict = inspect(tmp_path, content, content_type=content_type)

        assert verdict.reasons == ()
        data = verdict.replacement.read_bytes()
        kept = Image.open(io.BytesIO(data))
        assert (kept.format, getattr(kept, "n_frames", 1), kept.size) == ("WEBP", 1, (verdict.details["width"], verdict.details["height"]))
        assert not {"icc_profile", "exif", "xmp", "comment"} & kept.info.keys()
        assert b"script" not in data

    def test_sixteen_bits_are_not_burnt_out(self, tmp_path):
        verdict = inspect(tmp_path, ODD_PICTURES["16-bit grey PNG"][0])

        darkest, lightest = Image.open(verdict.replacement).convert("L").getextrema()
        assert darkest < 40 and lightest > 200

    @pytest.mark.parametrize("what", BAD_PICTURES)
    def test_a_bad_one_is_refused_with_a_reason(self, what, tmp_path):
        content, content_type, code = BAD_PICTURES[what]

        verdict = inspect(tmp_path, content, content_type=content_type)

        assert [reason.code for reason in verdict.reasons] == [code]
        assert verdict.replacement is None


def pdf_with(root=None, *, page=None, raw=b""):
    writer = PdfWriter()
    writer.add_blank_page(width=200, height=200)
    for name, value in (root or {}).items():
        writer._root_object[NameObject(name)] = value
    for name, value in (page or {}).items():
        writer.pages[0][NameObject(name)] = value
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue() + raw


def action(kind, **members):
    return DictionaryObject({NameObject("/S"): NameObject(kind)} | {NameObject(f"/{name}"): value for name, value in members.items()})


def escaped_names(content):
    """Names may be written with their characters in hex: the parser must not be fooled."""
    return content.replace(b"/JavaScript", b"/J#61va#53cript").replace(b"/JS", b"/J#53")


def revised(content, old, new):
    """The same bytes as an older revision, whose object a newer one replaces: some reader might still use the old."""
    return content + b"\n" + content.replace(old, new)


def when_it_opens(action):
    return {"/AA": DictionaryObject({NameObject("/O"): action})}


JAVASCRIPT = {"/OpenAction": action("/JavaScript", JS=TextStringObject("app.alert(1)"))}
BAD_DOCUMENTS = {
    "JavaScript when a page opens": (pdf_with(page=when_it_opens(JAVASCRIPT["/OpenAction"])), "pdf_javascript"),
    "JavaScript with escaped names": (escaped_names(pdf_with(JAVASCRIPT)), "pdf_javascript"),
    "JavaScript in an older revision": (revised(pdf_with(JAVASCRIPT), b"/JavaScript", b"/URI       "), "pdf_javascript"),
    "another file": (pdf_with({"/OpenAction": action("/GoToR", F=TextStringObject("\\\\evil\\share"))}), "pdf_launch_action"),
    "an embedded one": (pdf_with({"/OpenAction": action("/GoToE", F=TextStringObject("x"))}), "pdf_embedded_file"),
    "a form sent away": (pdf_with({"/OpenAction": action("/SubmitForm", F=TextStringObject("https://evil.example"))}), "pdf_submit_action"),
    "an active form": (
        pdf_with({"/AcroForm": DictionaryObject({NameObject("/XFA"): ArrayObject([TextStringObject("template")])})}), "pdf_active_form",
    ),
    "a media player": (pdf_with({"/OpenAction": action("/Rendition")}), "pdf_rich_media"),
    "no objects": (b"%PDF-1.7\nxref\n0 0\ntrailer\n<< /Root 1 0 R >>\nstartxref\n9\n%%EOF", "unreadable"),
    "a circle of pages": (
        b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[2 0 R]/Count 1>>endobj\n"
        b"trailer<</Root 1 0 R/Size 3>>\nstartxref\n0\n%%EOF",
        "unreadable",
    ),
    "brackets without end": (b"%PDF-1.7\n1 0 obj\n" + b"[" * 100_000 + b"\nendobj\ntrailer<</Root 1 0 R>>\n%%EOF", "unreadable"),
}  # fmt: skip


class TestDocuments:
    @pytest.mark.parametrize("what", BAD_DOCUMENTS)
    def test_a_bad_one_is_refused_with_a_reason(self, what, tmp_path):
        content, code = BAD_DOCUMENTS[what]

        verdict = inspect(tmp_path, content, purpose="CERTIFICATION", content_type="application/pdf")

        assert code in [reason.code for reason in verdict.reasons]

    def test_a_link_to_a_page_is_no_action(self, tmp_path):
        content = pdf_with({"/OpenAction": action("/URI", URI=TextStringObject("https://example.com"))})

        assert inspect(tmp_path, content, purpose="CERTIFICATION", content_type="application/pdf").reasons == ()


@pytest.mark.parametrize("parser", sorted(path.stem for path in sandbox.PARSERS.glob("*.py")))
def test_a_parser_limits_itself_before_it_reads(parser):
    """Every file in `parsers/` is a parser; that of ECU images has tests of its own."""
    script = (
        "import importlib.util, json, resource, sys\n"
        "spec = importlib.util.spec_from_file_location('parser', sys.argv[1]); parser = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(parser); parser.limit()\n"
        "print(json.dumps({name: resource.getrlimit(getattr(resource, name)) for name in "
        "('RLIMIT_CPU', 'RLIMIT_AS', 'RLIMIT_FSIZE', 'RLIMIT_CORE')}))\n"
    )
    child = subprocess.run([sys.executable, "-I", "-c", script, str(sandbox.PARSERS / f"{parser}.py")], capture_output=True, check=True)

    limits = {name: hard for name, (_, hard) in json.loads(child.stdout).items()}
    assert 0 < limits["RLIMIT_CPU"] <= 30 and 0 < limits["RLIMIT_AS"] <= 2**30
    assert 0 <= limits["RLIMIT_FSIZE"] <= 2**25 and limits["RLIMIT_CORE"] == 0
    source = (sandbox.PARSERS / f"{parser}.py").read_text()
    main = source[source.index('if __name__ == "__main__"') :]
    assert main.index("limit()") < main.index("inspect(sys.argv")


HOSTILE_NAMES = [
    "../../etc/passwd",
    "..\\..\\boot.ini",
    'a"; filename="evil.html',
    "<script>alert(1)</script>.pdf",
    "CON",
    ".htaccess",
    "=cmd|' /C calc'!A0",
    "Ärger.pdf",
    "%2e%2e%2f",
]


@pytest.mark.django_db
@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_name_is_never_a_path_nor_a_header(name, tmp_path):
    rider = client_for(UserFactory())
    body = {"purpose": "CERTIFICATION", "name": name, "size_bytes": 10, "sha256": "0" * 64, "content_type": "application/pdf"}

    answer = rider.post("uploads/", body)

    assert answer.status_code == 201
    upload = Upload.objects.get(pk=answer.json()["id"])
    assert answer.json()["name"] == upload.name == name
    for part in ("passwd", "boot", "evil", "script", "CON", "htaccess", "cmd", "2e"):
        assert part not in upload.storage_key.removeprefix("quarantine/").replace("-", "") or part == "2e"
    header = storage.content_disposition(name)
    assert header.startswith("attachment") and header.isascii()
    assert header.count('"') in {0, 2} and not set(header.partition("filename=")[2]) & set("/\\<>;%='")


@pytest.mark.django_db
class TestQuota:
    @pytest.fixture
    def small(self, monkeypatch):
        """Two certificates, or a hundred bytes of them."""
        rule = RULES[UploadPurpose.CERTIFICATION]
        monkeypatch.setitem(RULES, UploadPurpose.CERTIFICATION, type(rule)(**{**vars(rule), "kept_files": 2, "kept_bytes": 100}))

    def start(self, owner, **changes):
        promise = {"purpose": "CERTIFICATION", "name": "a.pdf", "size_bytes": 10, "sha256": "0" * 64, "content_type": "application/pdf"}
        return services.start_upload(owner_id=owner, at=NOW, **{**promise, **changes})

    def refused(self, owner, **changes):
        with pytest.raises(DomainError) as refusal:
            self.start(owner, **changes)
        assert refusal.value.code == "upload_quota_exceeded"
        return refusal.value.members

    def test_stored_files_of_a_purpose_are_limited_in_number(self, small):
        owner = UserFactory().pk
        UploadFactory.create_batch(2, owner_id=owner, used=True, size_bytes=1)

        assert self.refused(owner) == {"quota": "stored"}
        assert self.start(owner, purpose="CASE_FILE")

    def test_and_in_bytes_with_what_is_on_its_way(self, small):
        owner = UserFactory().pk
        UploadFactory(owner_id=owner, used=True, size_bytes=50)
        assert self.refused(owner, size_bytes=51) == {"quota": "stored"}
        UploadFactory(owner_id=owner, size_bytes=45)

        assert self.refused(owner, size_bytes=6) == {"quota": "stored"}

    def test_what_was_deleted_counts_no_more(self, small):
        owner = UserFactory().pk
        kept = UploadFactory.create_batch(2, owner_id=owner, used=True, size_bytes=1)
        services.enqueue("core.uploads.tasks.delete_object", key=kept[0].storage_key, bucket="private")
        run_all()

        assert self.start(owner)
        assert Upload.objects.get(pk=kept[0].pk).gone_at is not None

    def test_other_people_and_refused_files_do_not_count(self, small):
        owner = UserFactory().pk
        UploadFactory.create_batch(3, used=True)
        UploadFactory.create_batch(3, owner_id=owner, refused=True)

        assert self.start(owner)

    def test_the_answer_says_which_quota(self, small):
        rider = client_for(UserFactory())
        UploadFactory.create_batch(2, owner_id=rider.user.pk, used=True, size_bytes=1)
        body = {"purpose": "CERTIFICATION", "name": "a.pdf", "size_bytes": 10, "sha256": "0" * 64, "content_type": "application/pdf"}

        answer = rider.post("uploads/", body)

        assert (answer.status_code, answer.json()["code"], answer.json()["quota"]) == (409, "upload_quota_exceeded", "stored")

    def test_a_new_picture_of_a_person_frees_the_old_ones_place(self):
        rider = client_for(UserFactory())
        uploads = UploadFactory.create_batch(2, owner_id=rider.user.pk, purpose="AVATAR", content_type="image/jpeg", ready=True)
        for upload in uploads:
            assert rider.patch("users/me/profile/", {"upload_id": str(upload.pk)}).status_code == 200
        run_all()

        assert [Upload.objects.get(pk=upload.pk).gone_at is None for upload in uploads] == [False, True]


@pytest.mark.django_db(transaction=True)
class TestQuotaRace:
    def contend(self, monkeypatch, **options):
        rule = RULES[UploadPurpose.CERTIFICATION]
        monkeypatch.setitem(RULES, UploadPurpose.CERTIFICATION, type(rule)(**{**vars(rule), "kept_files": 3}))
        owner = UserFactory().pk
        UploadFactory.create_batch(2, owner_id=owner, used=True)
        if options:
            monkeypatch.setattr(services, "_lock_quota", lambda owner_id: None)
        outcomes = race(lambda: TestQuota().start(owner), **options)
        return outcomes, Upload.objects.filter(owner_id=owner).count()

    def test_the_last_place_is_taken_once(self, monkeypatch):
        assert self.contend(monkeypatch) == (["ok", "upload_quota_exceeded"], 3)

    def test_control_without_the_lock_both_take_it(self, monkeypatch):
        assert self.contend(monkeypatch, row_locks=False, meet_after="COUNT") == (["ok", "ok"], 4)


@contextmanager
def listening(talk):
    """A server on a port of its own; `talk(connection)` is its half of each conversation."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                try:
                    talk(connection)
                except OSError:
                    pass

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"clamd://127.0.0.1:{server.getsockname()[1]}"
    finally:
        server.close()


def read_stream(connection, *, up_to=None):
    """Read a command and, for INSTREAM, everything that follows it, or so many bytes of it; answers what the command was."""
    file = connection.makefile("rb")
    command, read = b"", 0
    while not command.endswith(b"\0"):
        command += file.read(1)
    while command == b"zINSTREAM\0" and (size := struct.unpack("!I", file.read(4))[0]):
        read += len(file.read(size))
        if up_to is not None and read > up_to:
            return b"too long"
    return command


def answering(answer, *, of_version=None):
    def talk(connection):
        command = read_stream(connection)
        connection.sendall(of_version if of_version and command == b"zVERSION\0" else answer)

    return talk


def in_the_middle(answer, *, up_to=1_000_000):
    """As clamd does it when a stream is longer than its StreamMaxLength: it says so and hangs up, whatever still comes."""

    def talk(connection):
        said = {
            b"zVERSION\0": f"ClamAV 1.4.1/27463/{datetime.now():%a %b %d %H:%M:%S %Y}\0".encode(),
            b"zINSTREAM\0": b"stream: OK\0",
            b"too long": answer,
        }
        connection.sendall(said[read_stream(connection, up_to=up_to)])

    return talk


SIZE_LIMIT = b"INSTREAM size limit exceeded. ERROR\0"


def trickling(connection):
    read_stream(connection)
    for _ in range(100):
        connection.sendall(b"s")
        time.sleep(0.05)


def deaf(connection):
    time.sleep(3)


def hung_up(connection):
    connection.recv(1)


BAD_SCANNERS = {
    "garbage": answering(b"\xff\xfe<html>\0"),
    "no answer": answering(b""),
    "an error": answering(b"stream: Can't allocate memory ERROR\0"),
    "OK before it has all of it": in_the_middle(b"stream: OK\0"),
    "OK for another stream": answering(b"stream: OKAY\0"),
    "half an answer": answering(b"stream: O"),
    "endless": answering(b"x" * 10_000),
    "trickling": trickling,
    "deaf": deaf,
    "hanging up": hung_up,
}


class TestScanner:
    @pytest.mark.parametrize("what", BAD_SCANNERS)
    def test_whatever_it_says_but_ok_leaves_the_file_waiting(self, what, settings, monkeypatch, tmp_path):
        monkeypatch.setattr(scanner, "SCAN_SECONDS", 0.5)
        path = tmp_path / "file"
        path.write_bytes(b"\1" * 5_000_000)
        started = time.monotonic()

        with listening(BAD_SCANNERS[what]) as settings.SCANNER, pytest.raises(ServiceUnavailable):
            scanner.scan(path)

        assert time.monotonic() - started < 5

    @pytest.mark.django_db
    def test_a_file_that_waits_stays_as_it_is(self, settings):
        upload = stored_upload(content=samples.pdf(), checking=True)

        with listening(BAD_SCANNERS["an error"]) as settings.SCANNER, pytest.raises(ServiceUnavailable):
            services.check_upload(upload_id=upload.pk, at=NOW)

        upload.refresh_from_db()
        assert (upload.state, upload.checked_at) == (UploadState.CHECKING, None)


    @pytest.mark.parametrize("talk", [answering(SIZE_LIMIT), in_the_middle(SIZE_LIMIT)], ids=["at the end", "in the middle"])
    def test_a_stream_that_it_cuts_off_is_told_apart(self, talk, settings, tmp_path):
        path = tmp_path / "file"
        path.write_bytes(b"\1" * 5_000_000)

        for _ in range(20):  # whoever comes first: its word, or the reset of the connection
            with listening(talk) as settings.SCANNER, pytest.raises(scanner.StreamTooLong):
                scanner.scan(path)

    @pytest.mark.django_db
    def test_a_file_that_it_will_never_scan_is_refused_with_the_reason(self, settings):
        upload = stored_upload(content=samples.pdf(), checking=True)

        with listening(in_the_middle(SIZE_LIMIT, up_to=10)) as settings.SCANNER:
            services.check_upload(upload_id=upload.pk, at=NOW)

        upload.refresh_from_db()
        assert (upload.state, [reason["code"] for reason in upload.reasons]) == (UploadState.REFUSED, ["not_scannable"])


class TestWhatStaffAreTold:
    """`doctor` and the admin's front page."""

    def told(self):
        (finding,) = doctor.check_scanner()
        return finding.level, scanner.find_trouble(at=clock.now()), _scanner_trouble()

    def signatures(self, age):
        stamp = (datetime.now() - age).strftime("%a %b %d %H:%M:%S %Y")
        return answering(b"stream: OK\0", of_version=f"ClamAV 1.4.1/27463/{stamp}\0".encode())

    def test_nothing_when_it_works(self, settings):
        with listening(self.signatures(timedelta(days=6))) as settings.SCANNER:
            assert self.told() == ("ok", None, None)

    def test_old_signatures_and_scanning_goes_on(self, settings, tmp_path):
        with listening(self.signatures(timedelta(days=8))) as settings.SCANNER:
            level, trouble, shown = self.told()
        (tmp_path / "file").write_bytes(b"x")
        with listening(answering(b"stream: OK\0")) as settings.SCANNER:
            assert scanner.scan(tmp_path / "file").scanned

        assert level == "warn" and "older than seven days" in trouble and shown == trouble

    def test_a_version_that_says_no_date_counts_as_old(self, settings):
        with listening(answering(b"stream: OK\0", of_version=b"ClamAV 1.4.1\0")) as settings.SCANNER:
            level, trouble, _ = self.told()

        assert level == "warn" and "older than seven days" in trouble

    def test_a_scanner_that_takes_less_than_the_largest_upload(self, settings):
        for up_to, expected in ((LARGEST_BYTES - 1, "wrong"), (LARGEST_BYTES, "ok")):
            with listening(in_the_middle(SIZE_LIMIT, up_to=up_to)) as settings.SCANNER:
                assert [finding.level for finding in doctor.check_scanner()] == [expected]
        assert LARGEST_BYTES == 16 * 1024 * 1024

    def test_a_scanner_that_answers_and_does_not_scan(self, settings):
        with listening(answering(b"stream: ERROR\0", of_version=b"ClamAV 1.4.1\0")) as settings.SCANNER:
            assert [finding.level for finding in doctor.check_scanner()] == ["wrong"]

    def test_an_outage(self, settings):
        settings.SCANNER = "clamd://127.0.0.1:9"
        level, trouble, shown = self.told()

        assert level == "wrong" and "wait" in trouble and shown == trouble

    def test_having_none_although_that_was_accepted(self, settings):
        settings.SCANNER = "off-accepted"

        assert "not scanned" in _scanner_trouble()
