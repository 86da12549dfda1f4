"""The dry run: what it tells a tuner is what the worker decides, file by file; and what an image changes in its stock image."""

import hashlib
import json
import random
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from core import clock, storage
from core.models import AuditEvent, Upload
from core.testing.http import client_for
from core.testing.tasks import run_all
from core.uploads.enums import UploadPurpose, UploadState
from core.uploads.services import check_upload
from garage.ecu_images import generator
from garage.tests.factories import (
    CALIBRATION_ID,
    HARDWARE_NUMBER,
    IMAGE_SIZE_BYTES,
    StockFileFactory,
    VehicleFactory,
    VehicleModelFactory,
)
from garage.tests.test_ecu_images import HOSTILE
from marketplace.enums import VersionStatus, XRayBase
from marketplace.models import FileXRay, TuneVersion
from marketplace.services import inspection
from marketplace.tests.factories import TuneFactory, TuneVersionFactory, image_bytes
from marketplace.tests.test_versions import fitment, ready_upload
from tuners.tests.factories import TunerProfileFactory

STOCK = generator.make_stock(seed="factory", hardware_number=HARDWARE_NUMBER, calibration_id=CALIBRATION_ID, size=IMAGE_SIZE_BYTES)


def patched(data: bytes, at: int, other: bytes) -> bytes:
    return data[:at] + other + data[at + len(other) :]


# name → (file name, its bytes): what a tuner sends, what one sends by mistake, and what somebody sends on purpose
FILES = {
    "a good image": ("a.bin", lambda: image_bytes("good")),
    "the same as Intel HEX": ("a.hex", lambda: generator.to_intel_hex(image_bytes("hex"))),
    "the same as S-record": ("a.s19", lambda: generator.to_srecord(image_bytes("srec"))),
    "with Windows line ends": ("a.hex", lambda: generator.to_intel_hex(image_bytes("dos")).replace(b"\n", b"\r\n")),
    "with a byte order mark": ("a.hex", lambda: b"\xef\xbb\xbf" + generator.to_intel_hex(image_bytes("bom"))),
    "of another hardware number": ("a.bin", lambda: image_bytes("other", hardware_number="ZZZ-9999A-99")),
    "of another calibration": ("a.bin", lambda: image_bytes("third", calibration_id_after="ZZZ-9-Z9")),
    "of another size": ("a.bin", lambda: image_bytes("half")[: IMAGE_SIZE_BYTES // 2]),
    "of an odd size": ("a.bin", lambda: image_bytes("odd") + b"\x00"),
    "too small": ("a.bin", lambda: b"\x12\x34" * 1000),
    "blank": ("a.bin", lambda: b"\xff" * IMAGE_SIZE_BYTES),
    "mostly blank": ("a.bin", lambda: patched(b"\xff" * IMAGE_SIZE_BYTES, 0, image_bytes("blank")[: IMAGE_SIZE_BYTES // 16])),
    "one block repeated": ("a.bin", lambda: image_bytes("again")[4096:8192] * (IMAGE_SIZE_BYTES // 4096)),
    "encrypted": ("a.bin", lambda: random.Random(1).randbytes(IMAGE_SIZE_BYTES)),
    "truncated HEX": ("a.hex", lambda: generator.to_intel_hex(image_bytes("cut"))[:50_000]),
    "a wrong checksum": ("a.hex", lambda: generator.to_intel_hex(image_bytes("sum")).replace(b":20100000", b":20100001")),
    "letters that are no record": ("a.hex", lambda: b":020000040000FA\nhello\n:00000001FF\n"),
    "a ZIP archive": ("a.bin", lambda: b"PK\x03\x04" + image_bytes("zip")[4:]),
    "a RAR archive": ("a.bin", lambda: b"Rar!\x1a\x07\x01\x00" + image_bytes("rar")[8:]),
    "a Windows program": ("a.bin", lambda: b"MZ" + bytes(58) + b"\x80\0\0\0" + bytes(64) + b"PE\0\0" + image_bytes("exe")[132:]),
    "a Linux program": ("a.bin", lambda: b"\x7fELF" + image_bytes("elf")[4:]),
    "a TunerPro definition": ("maps.xdf", lambda: b"<!-- -->\n<XDFFORMAT version='1.60'></XDFFORMAT>" + b" " * 5000),
    "an ASAP2 description": ("maps.a2l", lambda: b"ASAP2_VERSION 1 60\n/begin PROJECT p\n" + b" " * 5000),
    "a WinOLS project": ("maps.ols", lambda: b"\x0b\0\0\0WinOLS File\0" + bytes(5000)),
    "a map pack by its name": ("maps.kp", lambda: image_bytes("kp")),
    "a PDF": ("a.bin", lambda: b"%PDF-1.7\n" + bytes(5000)),
    "a web page": ("a.bin", lambda: b"<!doctype html><html></html>" + b" " * 5000),
    **{f"hostile: {name}": ("a.bin", make) for name, make in HOSTILE.items() if name not in {"zero bytes", "more than may be sent"}},
}




@pytest.fixture
def tune(db):
    VehicleModelFactory()
    return TuneFactory(tuner__makes=[])


@pytest.fixture
def client(tune):
    return client_for(tune.tuner.user)


def dry_run(client, upload, **given):
    answer = client.post("marketplace/inspections/", {"upload_id": str(upload.pk), **given})
    assert answer.status_code == 200, answer.content
    return answer.json()


def stock_upload(owner, data: bytes = STOCK) -> Upload:
    upload = ready_upload(owner, data, name="stock.bin")
    Upload.objects.filter(pk=upload.pk).update(purpose=UploadPurpose.STOCK_FILE)
    return upload


def make_version(client, tune, *files, version="1.4.0", tags=()) -> TuneVersion:
    body = {"version": version, "emissions_class": "CLOSED_COURSE_ONLY", "files": list(files), "tags": list(tags)}
    answer = client.post(f"marketplace/tunes/{tune.pk}/versions/", body)
    assert answer.status_code == 201, answer.content
    run_all()
    return TuneVersion.objects.get(pk=answer.json()["id"])


class TestTheSameJudgement:
    def test_there_are_enough_files(self):
        assert len(FILES) >= 25

    @pytest.mark.parametrize(("name", "make"), FILES.values(), ids=FILES.keys())
    def test_dry_run_and_worker_agree(self, tune, client, name, make):
        upload = ready_upload(tune.tuner.user, make(), name=name)

        said = dry_run(client, upload, fitments=[fitment()], calibration_id_after="RSC-210-T1")
        version = make_version(client, tune, {"upload_id": str(upload.pk), "fitments": [fitment()], "calibration_id_after": "RSC-210-T1"})

        decided = [{key: row[key] for key in ("rule", "severity", "message", "offset")} for row in version.inspection_findings]
        assert (said["verdict"], said["findings"]) == (version.inspection_verdict, decided)
        assert said["findings"]
        assert said["detected"] == version.files.get().detected

    def test_a_prohibited_tag_is_refused_by_both(self, tune, client):
        upload = ready_upload(tune.tuner.user, image_bytes("tagged"))
        tags = ["POWER", "EGR_DELETE", "DPF_DELETE"]

        said = dry_run(client, upload, fitments=[fitment()], tags=tags)
        version = make_version(client, tune, {"upload_id": str(upload.pk), "fitments": [fitment()]}, tags=tags)

        assert (said["verdict"], version.inspection_verdict) == ("refused", "refused")
        assert [row["rule"] for row in said["findings"]][:2] == ["prohibited_tag", "prohibited_tag"]
        assert [row["message"] for row in said["findings"]] == [row["message"] for row in version.inspection_findings]

    @pytest.mark.parametrize("case", ["a ZIP archive", "truncated HEX", "blank", "a map pack by its name", "hostile: a 512 MB span"])
    def test_what_the_check_of_the_upload_refused_is_said_again(self, tune, client, case):
        """Most bad files never get as far as a version: the upload is refused, its bytes go, and the dry run still says why."""
        name, make = FILES[case]
        good = ready_upload(tune.tuner.user, make(), name=name)
        said = dry_run(client, good)
        refused = ready_upload(tune.tuner.user, make(), name=name)
        Upload.objects.filter(pk=refused.pk).update(state=UploadState.CHECKING, checked_at=None)

        check_upload(upload_id=refused.pk, at=clock.now())

        refused.refresh_from_db()
        assert refused.state == UploadState.REFUSED
        again = dry_run(client, refused)
        assert (again["verdict"], again["findings"]) == ("refused", said["findings"])

    def test_what_was_refused_for_another_reason_says_that(self, tune, client):
        upload = ready_upload(tune.tuner.user, image_bytes("infected"))
        Upload.objects.filter(pk=upload.pk).update(
            state=UploadState.REFUSED, reasons=[{"code": "malware_found", "detail": "The virus scanner refuses this file."}]
        )

        said = dry_run(client, upload)

        assert (said["verdict"], [row["rule"] for row in said["findings"]]) == ("refused", ["malware_found"])

    def test_a_busy_machine_is_an_outage_and_no_verdict(self, tune, client, monkeypatch):
        upload = ready_upload(tune.tuner.user, image_bytes("busy"))
        real = inspection.run_inspection
        monkeypatch.setattr(inspection, "run_inspection", lambda *a, **k: real(*a, timeout_seconds=0.001, **k))

        answer = client.post("marketplace/inspections/", {"upload_id": str(upload.pk)})

        assert (answer.status_code, answer.json()["code"], answer.json()["service"]) == (503, "service_unavailable", "inspection")
        file = {"upload_id": str(upload.pk), "fitments": [fitment()]}
        body = {"version": "1.0.0", "emissions_class": "UNCHANGED", "files": [file]}
        made = client.post(f"marketplace/tunes/{tune.pk}/versions/", body).json()
        run_all(raise_errors=False)
        version = TuneVersion.objects.get(pk=made["id"])
        assert version.status == VersionStatus.VALIDATING  # its task tries again later
        monkeypatch.undo()
        run_all(until=clock.now() + timedelta(hours=1))
        version.refresh_from_db()
        assert version.status == VersionStatus.VALIDATED

    @pytest.mark.django_db(transaction=True)
    def test_no_child_runs_in_a_transaction(self, monkeypatch):
        """A slow file would hold locks and a connection for seconds."""
        VehicleModelFactory()
        tune = TuneFactory(tuner__makes=[])
        client, seen = client_for(tune.tuner.user), []
        for name in ("run_inspection", "run_xray"):
            real = getattr(inspection, name)
            monkeypatch.setattr(inspection, name, lambda *a, real=real, **k: (seen.append(connection.in_atomic_block), real(*a, **k))[1])
        upload, stock = ready_upload(tune.tuner.user, image_bytes("outside")), stock_upload(tune.tuner.user)

        dry_run(client, upload, stock_image=str(stock.pk))
        make_version(client, tune, {"upload_id": str(upload.pk), "fitments": [fitment()], "stock_image": str(stock.pk)})

        assert seen == [False] * 4


class TestLimits:
    def test_dry_runs_are_counted_and_audited(self, tune, client, settings):
        settings.LIMITS = {**settings.LIMITS, "inspections_account": (2, 3600)}
        upload = ready_upload(tune.tuner.user, image_bytes("often"))

        answers = [client.post("marketplace/inspections/", {"upload_id": str(upload.pk)}).status_code for _ in range(3)]

        assert answers == [200, 200, 429]
        assert AuditEvent.objects.filter(act="upload.inspected", subject_id=upload.pk, actor_id=tune.tuner.user_id).count() == 2


class TestXRay:
    def test_a_dry_run_tells_what_changed_in_ones_own_stock_image(self, tune, client):
        upload, stock = ready_upload(tune.tuner.user, image_bytes("seen")), stock_upload(tune.tuner.user)

        said = dry_run(client, upload, stock_image=str(stock.pk))

        assert said["verdict"] == "pass"
        assert said["change_summary"].endswith("checksums adjusted.")
        assert "in maps" in said["change_summary"]
        changes = said["changes"]
        assert set(changes) == {"regions", "share", "sizes", "kinds", "checksums"}
        assert changes["regions"] == sum(changes["sizes"].values()) == sum(changes["kinds"].values())
        assert changes["checksums"]["changed"] == 1
        assert dry_run(client, upload)["changes"] is None

    def test_a_stock_file_of_the_garage_does_as_well(self, tune, client):
        vehicle = VehicleFactory(owner=tune.tuner.user)
        source = stock_upload(tune.tuner.user)
        kept = StockFileFactory(vehicle=vehicle, upload_id=source.pk)
        upload = ready_upload(tune.tuner.user, image_bytes("kept"))

        assert dry_run(client, upload, stock_image=str(kept.pk))["changes"]["regions"] > 0

    def test_nobody_compares_with_what_is_not_theirs(self, tune, client):
        """Whoever could name any image would learn about it, one comparison at a time."""
        other = TunerProfileFactory().user
        theirs = {
            "upload_id": ready_upload(other, image_bytes("theirs")),
            "stock_upload_id": stock_upload(other),
            "stock_file": StockFileFactory(),
        }
        mine = ready_upload(tune.tuner.user, image_bytes("mine too"))
        tune_file = ready_upload(tune.tuner.user, image_bytes("a tune as stock"))
        for body in (
            {"upload_id": theirs["upload_id"].pk},
            {"upload_id": mine.pk, "stock_image": theirs["stock_upload_id"].pk},
            {"upload_id": mine.pk, "stock_image": theirs["stock_file"].pk},
            {"upload_id": mine.pk, "stock_image": tune_file.pk},
            {"upload_id": mine.pk, "stock_image": mine.pk},
        ):
            answer = client.post("marketplace/inspections/", {name: str(value) for name, value in body.items()})
            assert answer.status_code == 400, answer.content
            file = {"fitments": [fitment()], **{name: str(value) for name, value in body.items()}}
            version = {"version": "1.0.0", "emissions_class": "UNCHANGED", "files": [file]}
            assert client.post(f"marketplace/tunes/{tune.pk}/versions/", version).status_code == 400
        assert not tune.versions.exists()

    def test_an_image_without_a_change_is_refused(self, tune, client):
        upload, stock = ready_upload(tune.tuner.user, STOCK), stock_upload(tune.tuner.user)

        said = dry_run(client, upload, stock_image=str(stock.pk))

        assert (said["verdict"], said["change_summary"]) == ("refused", "Nothing was changed.")
        assert "unchanged" in {row["rule"] for row in said["findings"]}

    @pytest.mark.parametrize("stock", [STOCK[: IMAGE_SIZE_BYTES // 2], b":020000040000FA\nbroken\n" * 500, b"PK\x03\x04" + STOCK[4:]])
    def test_a_strange_stock_image_never_decides(self, tune, client, stock):
        upload, named = ready_upload(tune.tuner.user, image_bytes("strange")), stock_upload(tune.tuner.user, stock)

        said = dry_run(client, upload, stock_image=str(named.pk))

        assert said["verdict"] == "pass"
        assert {"not_compared", "compared_with_stock"} & {row["rule"] for row in said["findings"]}

    def test_a_version_keeps_it_for_reviewers_and_tells_riders_coarsely(self, tune, client):
        upload, stock = ready_upload(tune.tuner.user, image_bytes("kept for review")), stock_upload(tune.tuner.user)

        version = make_version(client, tune, {"upload_id": str(upload.pk), "fitments": [fitment()], "stock_image": str(stock.pk)})

        assert version.status == VersionStatus.VALIDATED, version.inspection_findings
        row = FileXRay.objects.get(file__version=version)
        assert (row.against, row.base_sha256) == (XRayBase.STOCK, hashlib.sha256(STOCK).hexdigest())
        assert len(row.report["picture"]) == 256 and row.report["listed"]
        shown = client.get(f"marketplace/versions/{version.pk}/").json()
        assert shown["change_summary"] == version.change_summary != ""
        assert "picture" not in json.dumps(shown) and "listed" not in json.dumps(shown)

    def test_the_next_version_is_compared_with_the_one_before(self, tune, client):
        before = TuneVersionFactory(tune=tune, published=True, version="1.0.0", stored=True)
        upload = ready_upload(tune.tuner.user, image_bytes("after"))

        version = make_version(client, tune, {"upload_id": str(upload.pk), "fitments": [fitment()]})

        row = FileXRay.objects.get(file__version=version)
        assert (row.against, row.base_label, row.base_sha256) == (XRayBase.PREVIOUS, "1.0.0", before.files.get().image_sha256)
        assert version.change_summary == ""  # riders read of changes against stock

    def test_a_swept_stock_upload_is_a_warning(self, tune, client):
        upload, stock = ready_upload(tune.tuner.user, image_bytes("swept")), stock_upload(tune.tuner.user)
        body = {"upload_id": str(upload.pk), "fitments": [fitment()], "stock_image": str(stock.pk)}
        made = client.post(
            f"marketplace/tunes/{tune.pk}/versions/", {"version": "1.0.0", "emissions_class": "UNCHANGED", "files": [body]}
        ).json()
        Upload.objects.filter(pk=stock.pk).delete()
        storage.delete(stock.storage_key)

        run_all()

        version = TuneVersion.objects.get(pk=made["id"])
        assert version.status == VersionStatus.VALIDATED
        assert {row["rule"]: row["severity"] for row in version.inspection_findings}["not_compared"] == "warning"

    def test_what_was_seen_never_changes(self, tune, client):
        upload, stock = ready_upload(tune.tuner.user, image_bytes("evidence")), stock_upload(tune.tuner.user)
        version = make_version(client, tune, {"upload_id": str(upload.pk), "fitments": [fitment()], "stock_image": str(stock.pk)})
        row = FileXRay.objects.get(file__version=version)

        with _refused("filexray_immutable"):
            FileXRay.objects.filter(pk=row.pk).update(regions=1)
        with _refused("filexray_made_by_inspection"):
            FileXRay.objects.create(
                file=row.file,
                against=XRayBase.PREVIOUS,
                base_sha256="0" * 64,
                regions=0,
                share_basis_points=0,
                changes_code=False,
                report={},
                created_at=clock.now(),
            )
        assert client.post(f"marketplace/versions/{version.pk}/submit/").status_code == 200
        with _refused("filexray_reviewed_stays"):
            FileXRay.objects.filter(pk=row.pk).delete()
        client.post(f"marketplace/versions/{version.pk}/cancel-review/")
        assert client.delete(f"marketplace/versions/{version.pk}/").status_code == 204


@contextmanager
def _refused(rule: str):
    with pytest.raises(IntegrityError, match=rule), transaction.atomic():
        yield
