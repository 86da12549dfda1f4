"""A stand with a real signer process: publishing with a reviewer's own key, and the shop while the signer is away."""

import base64
import json
import time

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection

from core import clock, signing, storage
from core.exceptions import InvalidInput, ServiceUnavailable
from core.testing.http import ApiClient, client_for
from core.testing.signer import SignerProcess, wait_until_answered
from marketplace.enums import VersionStatus
from marketplace.models import Download, FlashTicket, License, Release, VersionStop
from marketplace.services import review, status, stops, stored_files
from marketplace.services.releases import release_drafts
from marketplace.tests.factories import TuneFactory, TuneVersionFactory, ride_for
from marketplace.tests.purchasing import buy
from tools import approve_release
from users.tests.factories import UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def _process(tmp_path_factory):
    started = SignerProcess(tmp_path_factory.mktemp("signer")).start()
    yield started
    started.close()


@pytest.fixture
def process(_process, settings):
    """The settings of an application that has no keys: a signer has them."""
    settings.SIGNING_KEYS_DIR, settings.SIGNER_SOCKET = _process.directory, _process.socket
    if _process.process is None:
        _process.start()
    stored_files.forget()
    yield _process
    if _process.process is not None:
        _process.thaw()
        wait_until_answered(lambda: status.publish_status(at=clock.now()))


@pytest.fixture
def ride(process, settings):
    """Their tune was released long ago: the factory signs it with the key files, as no signer would today."""
    settings.SIGNER_SOCKET = ""
    made = ride_for(at=clock.now().replace(microsecond=0))
    settings.SIGNER_SOCKET = process.socket
    return made


class TestAway:
    @pytest.fixture(params=["frozen", "killed"])
    def away(self, request, process, ride):
        wait_until_answered(lambda: status.publish_status(at=clock.now()))
        if request.param == "frozen":
            process.freeze()
        else:
            process.stop()
        return ride, process

    def test_a_download_is_an_outage_that_changes_nothing_and_the_same_key_works_afterwards(self, away):
        ride, process = away
        client = client_for(ride.buyer)
        body, key = {"vehicle": str(ride.vehicle.pk)}, {"HTTP_IDEMPOTENCY_KEY": "download-1"}
        url = f"marketplace/purchases/{ride.purchase.pk}/downloads/"

        answer = client.post(url, body, **key)

        assert (answer.status_code, answer.json()["code"], answer["Retry-After"]) == (503, "service_unavailable", "5")
        assert not Download.objects.exists() and not FlashTicket.objects.exists()
        assert License.objects.get(purchase=ride.purchase).state == "UNBOUND"

        if process.process is None:
            process.start()
        else:
            process.thaw()
        wait_until_answered(lambda: status.publish_status(at=clock.now()))
        answer = client.post(url, body, **key)
        assert (answer.status_code, answer.json()["ticket_blockers"]) == (201, [])
        assert Download.objects.count() == FlashTicket.objects.count() == 1

    def test_browsing_buying_and_the_documents_that_are_there_go_on(self, away):
        ride, _ = away
        free = TuneFactory(published=True, free=True)
        client = client_for(ride.buyer)

        assert ApiClient().get("marketplace/tunes/").status_code == 200
        assert ApiClient().get(f"marketplace/tunes/{ride.tune.pk}/").status_code == 200
        assert ApiClient().get("trust/status/").status_code == 200
        assert ApiClient().get("trust/root/1/").status_code == 200
        assert client.get("marketplace/purchases/").status_code == 200
        assert buy(client, free, ride.vehicle).status_code == 201

    def test_nothing_is_published_by_halves(self, away):
        version = TuneVersionFactory(in_review=True, stored=True)

        with pytest.raises(ServiceUnavailable):
            publish(version)

        version.refresh_from_db()
        assert (version.status, version.release_counter) == (VersionStatus.IN_REVIEW, None)
        assert not Release.objects.filter(version=version).exists()


def publish(version, approval=""):
    hashes = [file.sha256 for file in version.files.all()]
    return review.publish_tune_version(
        version_id=version.pk, reviewer=UserFactory(admin=True), approved_sha256=hashes, note="Fine.", approval=approval, at=clock.now()
    )


def sign_status(payload):
    return signing.sign(signing.Role.STATUS, signing.PayloadType.STATUS, payload)


class TestApprovals:
    """As in production: whoever has the web server can't publish without the key that is on the reviewer's own machine."""

    @pytest.fixture
    def reviewer(self):
        return Ed25519PrivateKey.generate()

    @pytest.fixture
    def process(self, tmp_path, settings, reviewer):
        public = reviewer.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        (tmp_path / "reviewers.json").write_text(json.dumps({"ada": base64.b64encode(public).decode()}))
        started = SignerProcess(tmp_path, "--reviewers", str(tmp_path / "reviewers.json")).start()
        settings.SIGNING_KEYS_DIR, settings.SIGNER_SOCKET = tmp_path, started.socket
        yield started
        started.close()

    @pytest.fixture
    def version(self):
        return TuneVersionFactory(in_review=True, stored=True)

    def approval(self, version, reviewer):
        drafts = json.loads(json.dumps(release_drafts(version, at=clock.now())))
        files = [storage.read(file.storage_key, max_bytes=10**7) for file in version.files.all()]
        return approve_release.approve(drafts, files, reviewer, "ada", clock.now())

    def test_a_reviewer_approves_on_their_own_machine_what_the_signer_then_signs(self, process, version, reviewer):
        published = publish(version, self.approval(version, reviewer))

        assert published.status == VersionStatus.PUBLISHED
        release = Release.objects.get(version=version)
        assert signing.verify(release.envelope, role=signing.Role.RELEASE)["review"]["approved_sha256"]

    def test_without_it_nothing_is_published(self, process, version):
        with pytest.raises(InvalidInput) as caught:
            publish(version)

        assert [error.pointer for error in caught.value.errors] == ["/approval"]
        version.refresh_from_db()
        assert version.status == VersionStatus.IN_REVIEW

    def test_nor_anything_wider_than_what_was_approved(self, process, version, reviewer):
        approval = self.approval(version, reviewer)
        with connection.cursor() as cursor:  # whoever has the database can, and whoever has the web server has it
            cursor.execute("SET LOCAL session_replication_role = replica")
            version.files.first().fitments.update(markets=[], hardware_numbers=["RSH-9999-Z"])
            cursor.execute("SET LOCAL session_replication_role = DEFAULT")

        with pytest.raises(InvalidInput):
            publish(version, approval)

    def test_nor_another_version_with_it(self, process, version, reviewer):
        approval = self.approval(version, reviewer)

        with pytest.raises(InvalidInput):
            publish(TuneVersionFactory(in_review=True, stored=True), approval)

    def test_a_stop_is_neither_lifted_nor_forgotten_without_it(self, process, version, reviewer):
        published, admin = publish(version, self.approval(version, reviewer)), UserFactory(admin=True)
        stops.hold_version(actor=admin, version_id=version.pk, reason="Lean.", at=clock.now())
        status.publish_status(at=clock.now())
        release = {"actor": admin, "version_id": version.pk, "reason": "Fine."}
        with pytest.raises(InvalidInput):
            stops.release_hold(**release, at=clock.now())

        payload = signing.payload_of(status.find_newest_status().envelope)
        forgetful = payload | {"stopped": [], "version": payload["version"] + 1, "issued_at": signing.utc_text(clock.now())}
        with pytest.raises(signing.SigningNotReady, match="forgets a stop"):  # whoever has the web server asks the signer directly
            sign_status(forgetful)
        process.stop()
        process.start()
        with pytest.raises(signing.SigningNotReady, match="forgets a stop"):
            sign_status(forgetful)

        drafts = json.loads(json.dumps(stops.lift_drafts(published)))
        approval = approve_release.approve(drafts, [], reviewer, "ada", clock.now())
        stops.release_hold(**release, approval=approval, at=clock.now())
        time.sleep(1.1)  # a version is the second
        assert status.publish_status(at=clock.now()).stopped == []

        lifting = signing.payload_of(VersionStop.objects.get(version=version).lift_envelope)
        again = lifting | {"issued_at": signing.utc_text(clock.now())}
        stops.hold_version(actor=admin, version_id=version.pk, reason="Lean again.", at=clock.now())
        # the approval of the first lifting once more, before the signer hears of the second stop and after it
        signing.sign(signing.Role.STATUS, signing.PayloadType.STOP_LIFT, again, approval=approval)
        document = status.publish_status(at=clock.now())
        payload, later = signing.payload_of(document.envelope), document.version
        with pytest.raises(InvalidInput):
            signing.sign(signing.Role.STATUS, signing.PayloadType.STOP_LIFT, again, approval=approval)
        # and a stop that is dated back, before the first lifting
        back = [entry | {"since": "2026-01-01T00:00:00Z"} for entry in payload["stopped"]]
        sign_status(payload | {"stopped": back, "version": later + 1})
        for stops_left in ([], [entry | {"id": str(admin.pk), "sha256": "0" * 64} for entry in back]):
            with pytest.raises(signing.SigningNotReady, match="forgets a stop"):
                sign_status(payload | {"stopped": stops_left, "version": later + 2})

    def test_the_tool_refuses_files_that_are_not_those_of_the_drafts(self, process, version, reviewer):
        drafts = release_drafts(version, at=clock.now())

        for files in ([], [b"other"], [b"other", storage.read(version.files.get().storage_key, max_bytes=10**7)]):
            with pytest.raises(SystemExit, match="not the files"):
                approve_release.approve(drafts, files, reviewer, "ada", clock.now())


def test_the_tool_makes_a_key_and_approves_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    version = TuneVersionFactory(in_review=True, stored=True)
    (tmp_path / "drafts.json").write_text(json.dumps(release_drafts(version, at=clock.now())))
    (tmp_path / "tune.bin").write_bytes(storage.read(version.files.get().storage_key, max_bytes=10**7))

    assert approve_release.main(["make-key", "ada", "--no-password"]) == 0
    assert capsys.readouterr().out.startswith('"ada": "')
    assert approve_release.main(["approve", "--key", "ada.pem", "--drafts", "drafts.json", "--yes", "tune.bin"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("v1.") and version.files.get().sha256 in said.err
    with pytest.raises(FileExistsError):
        approve_release.main(["make-key", "ada", "--no-password"])


def test_a_grant_is_signed_by_the_process(process, ride):
    wait_until_answered(lambda: status.publish_status(at=clock.now()))  # the signer remembers the versions of the tests before

    grant = ride.grant()

    assert grant.ticket_blockers == []
    assert signing.verify(grant.ticket, role=signing.Role.TICKET)
    assert process.log("ticket").count("\n") >= 1
