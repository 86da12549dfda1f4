"""The attacker's table of docs/trust.md, row by row: what each could try with what they have, and what becomes of it.

"Them" is the phone, judged by the verifier that shares no code with the signer. Where a row says *not stopped*, a test shows
that too, so that nobody thinks otherwise.
"""

import contextlib
import hashlib
import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from django.db import connection

from core import clock, signing, storage
from core.exceptions import DomainError
from core.ids import new_id
from core.signing import PayloadType, Role, ceremony
from core.signing.keyfiles import keys_directory
from core.signing.keyring import envelope_of
from garage.identity import vehicle_identity
from garage.models import StockFile
from garage.tests.factories import EcuReadoutFactory
from marketplace import exceptions
from marketplace.models import Fitment, Release, TuneFile, TuneVersion
from marketplace.services import review, signing_keys, status, stops, stored_files
from marketplace.services.releases import prepare_test_documents
from marketplace.tests.factories import TuneVersionFactory, released_tune, ride_for
from marketplace.tests.test_key_drill import App, first_key, first_keys, publish, restore_ticket, run, stand
from users.tests.factories import UserFactory

__all__ = ["first_keys", "stand"]  # fixtures

pytestmark = pytest.mark.django_db
OTHER_BYTES = b"another map " * 100
ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def ride():
    return ride_for()


@pytest.fixture
def app(ride):
    publish()
    return App()


@contextlib.contextmanager
def with_the_databases_password():
    """No trigger is in the way of its owner."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        yield
        cursor.execute("SET LOCAL session_replication_role = DEFAULT")


def steal(role: Role):
    return ceremony.load_private(keys_directory() / f"{first_key(role)}.pem")


def signed_by(key, payload_type: PayloadType, payload) -> dict:
    """By a thief, without asking the port."""
    return envelope_of(payload_type, signing.encode_payload(payload), [key])


def release_of_other_bytes(grant, **changes) -> dict:
    """A release that an honest reviewer never saw, for bytes of the thief's choice."""
    sha256 = hashlib.sha256(OTHER_BYTES).hexdigest()
    return {
        **signing.payload_of(grant.release),
        "tune_file_id": str(new_id()),
        "file": {"size_bytes": len(OTHER_BYTES), "sha256": sha256, "format": "BIN"},
        "image": {"base": 0, "size_bytes": len(OTHER_BYTES), "sha256": sha256},
        **changes,
    }


def ticket_for(grant, release_envelope, **changes) -> dict:
    payload = signing.payload_of(release_envelope)
    return {
        **signing.payload_of(grant.ticket),
        "release_payload_sha256": signing.payload_sha256(release_envelope),
        "file_sha256": payload["file"]["sha256"],
        "file_size_bytes": payload["file"]["size_bytes"],
        "channel": payload["channel"],
        **changes,
    }


class Served:
    """A grant whose link leads to bytes of the attacker's choice."""

    def __init__(self, grant, data: bytes) -> None:
        self.release, self.ticket, self.data = grant.release, grant.ticket, data


def flash(app, ride, grant, data=None, **given) -> str:
    return app.flash(ride, Served(grant, data) if data is not None else grant, **given)


class TestStorageOnly:
    def test_other_bytes_are_refused_by_the_phone_and_by_the_next_grant(self, ride, app):
        grant = ride.grant()
        file = ride.version.files.get()
        storage.put_bytes(file.storage_key, b"x" * file.size_bytes, "application/octet-stream")

        assert flash(app, ride, grant) == "tampered"
        stored_files.forget()
        with pytest.raises(exceptions.IntegrityError):
            ride.grant()

    def test_the_sweep_puts_a_version_whose_bytes_moved_on_hold(self, ride):
        file = ride.version.files.get()
        storage.put_bytes(file.storage_key, b"x" * file.size_bytes, "application/octet-stream")

        stored_files.check_stored(at=clock.now())

        assert ride.version.status == "ON_HOLD"

    def test_a_status_of_last_week_put_in_place_of_the_copy_stops_publishing_or_changes_nothing(self, ride, app):
        older = status.find_newest_status()
        stops.hold_version(actor=UserFactory(admin=True), version_id=ride.version.pk, reason="Lean.", at=clock.now())
        newest = publish()
        storage.put_bytes(f"{status.COPY_PREFIX}{newest.version:020d}.json", json.dumps(older.envelope).encode(), "application/json")

        with pytest.raises(exceptions.StatusDiverged):
            publish()


class TestDatabaseOnly:
    def test_a_release_that_is_edited_does_not_verify(self, ride, app):
        row = Release.objects.get()
        payload = signing.payload_of(row.envelope)
        payload["fitments"][0]["hardware_numbers"].append("RSH-9999-Z")
        forged = {**row.envelope, "payload": signed_by(steal(Role.TICKET), PayloadType.RELEASE, payload)["payload"]}
        with with_the_databases_password():
            Release.objects.update(envelope=forged, payload_sha256=signing.payload_sha256(forged))

        assert flash(app, ride, ride.grant()) == "bad_signature"

    def test_the_release_of_another_file_does_not_speak_of_these_bytes(self, ride, app):
        foreign = released_tune().versions.get().releases.get()
        with with_the_databases_password():
            Release.objects.filter(version=ride.version).update(envelope=foreign.envelope, payload_sha256=foreign.payload_sha256)
            data = b"y" * 1000
            sha256 = hashlib.sha256(data).hexdigest()
            storage.put_bytes(f"tunes/{sha256[:2]}/{sha256}", data, "application/octet-stream")
            TuneFile.objects.filter(version=ride.version).update(
                sha256=sha256, size_bytes=len(data), storage_key=f"tunes/{sha256[:2]}/{sha256}"
            )

        assert flash(app, ride, ride.grant()) == "tampered"

    def test_bytes_of_another_key_are_refused_before_they_are_handed_out(self, ride, app):
        """A key that leads elsewhere: the server hashes what it finds there. (That a key is its hash, a constraint says.)"""
        elsewhere = "ee" * 32
        storage.put_bytes(f"tunes/ee/{elsewhere}", OTHER_BYTES, "application/octet-stream")
        with with_the_databases_password():
            TuneFile.objects.filter(version=ride.version).update(
                storage_key=f"tunes/ee/{elsewhere}", sha256=elsewhere, size_bytes=len(OTHER_BYTES)
            )

        with pytest.raises(exceptions.IntegrityError):
            ride.grant()

    def test_rows_that_agree_with_one_another_are_still_not_signed(self, ride, app):
        """Key, hash and size of the attacker's own bytes, consistently: the server hands them out, and no phone takes them."""
        sha256 = hashlib.sha256(OTHER_BYTES).hexdigest()
        key = f"tunes/{sha256[:2]}/{sha256}"
        storage.put_bytes(key, OTHER_BYTES, "application/octet-stream")
        with with_the_databases_password():
            TuneFile.objects.filter(version=ride.version).update(storage_key=key, sha256=sha256, size_bytes=len(OTHER_BYTES))

        assert flash(app, ride, ride.grant()) == "tampered"

    def test_a_version_that_is_published_by_hand_has_no_release(self, ride):
        version = TuneVersionFactory(tune=ride.tune, in_review=True, stored=True, version="9.0.0")
        with with_the_databases_password():
            TuneVersion.objects.filter(pk=version.pk).update(
                status="PUBLISHED", published_at=clock.now(), decided_at=clock.now(), reviewer=UserFactory(admin=True), release_counter=99
            )

        with pytest.raises(exceptions.IntegrityError):
            ride.grant(version=version)

    def test_a_fitment_that_is_widened_there_fits_no_more_ecus(self, ride, app):
        with with_the_databases_password():
            Fitment.objects.update(hardware_numbers=["RSH-9999-Z"])
            StockFile.objects.update(hardware_number="RSH-9999-Z")
        ride.vehicle.ecu = EcuReadoutFactory(vehicle=ride.vehicle, hardware_number="RSH-9999-Z", read_at=ride.at)
        ride.vehicle.save(update_fields=["ecu"])

        grant = ride.grant()

        assert grant.ticket_blockers == []
        assert flash(app, ride, grant) == "wrong_ecu"

    def test_a_test_release_in_the_place_of_a_public_one_is_of_another_channel(self, ride, app):
        grant = ride.grant()
        (document,) = prepare_test_documents(version=ride.version, at=clock.now())
        forged = signed_by(steal(Role.TICKET), PayloadType.TICKET, ticket_for(grant, document.envelope, channel="public"))

        assert flash(app, ride, grant, release=document.envelope, ticket=forged) == "wrong_channel"

    def test_a_stop_does_not_vanish(self, ride, app):
        stops.recall_version(
            actor=UserFactory(admin=True), version_id=ride.version.pk, severity="restore_stock", reason="Lean.", at=clock.now()
        )
        publish()
        with with_the_databases_password(), connection.cursor() as cursor:
            cursor.execute("DELETE FROM marketplace_versionstop; DELETE FROM marketplace_statusdocument")
            TuneVersion.objects.filter(pk=ride.version.pk).update(status="PUBLISHED", stopped_at=None)
        publish()

        assert flash(app, ride, ride.grant()) == "recalled"


class TestReleaseKeyOnly:
    def test_without_a_ticket_for_it_nothing_is_flashed(self, ride, app):
        grant = ride.grant()
        forged = signed_by(steal(Role.RELEASE), PayloadType.RELEASE, release_of_other_bytes(grant))

        assert flash(app, ride, grant, OTHER_BYTES, release=forged) == "tampered"

    def test_together_with_the_ticket_key_it_flashes_anything_until_a_new_root(self, ride, app):
        """Not stopped: that is why the release key asks for a reviewer's own, and why a stolen one is answered at once."""
        grant = ride.grant()
        size = ride.vehicle.ecu.image_size_bytes
        data = (OTHER_BYTES * (size // len(OTHER_BYTES) + 1))[:size]
        sha256 = hashlib.sha256(data).hexdigest()
        payload = release_of_other_bytes(grant) | {
            "file": {"size_bytes": size, "sha256": sha256, "format": "BIN"},
            "image": {"base": 0, "size_bytes": size, "sha256": sha256},
        }
        release = signed_by(steal(Role.RELEASE), PayloadType.RELEASE, payload)
        ticket = signed_by(steal(Role.TICKET), PayloadType.TICKET, ticket_for(grant, release))
        assert flash(app, ride, grant, data, release=release, ticket=ticket) == "ok"

        stolen = first_key(Role.RELEASE)
        run("rotate_signing_key", "release")
        assert flash(app, ride, grant, data, release=release, ticket=ticket) == "bad_signature"
        run("revoke_signing_key", stolen, reason="Stolen.")
        publish()
        behind = App()
        behind.offline_roots = []
        assert behind.flash(ride, Served(grant, data), release=release, ticket=ticket) == "bad_signature"

    def test_one_that_is_laid_into_the_database_is_not_signed_anew(self, ride):
        row = Release.objects.get()
        payload = signing.payload_of(row.envelope) | {"file": {"size_bytes": 1, "sha256": "ef" * 32, "format": "BIN"}}
        forged = signed_by(steal(Role.RELEASE), PayloadType.RELEASE, payload)
        with with_the_databases_password():
            Release.objects.update(envelope=forged, payload_sha256=signing.payload_sha256(forged))
        signing_keys.rotate_with_local_keys(Role.RELEASE, keep_old=False, at=clock.now())

        *_, progress = signing_keys.resign_releases(at=clock.now())

        assert list(progress.refused.values()) == ["no review approved its file"]


class TestTestReleaseKeyOnly:
    def test_its_releases_are_of_a_channel_that_no_sale_has(self, ride, app):
        grant, key = ride.grant(), steal(Role.TEST_RELEASE)
        for channel in ("test", "public"):
            forged = signed_by(key, PayloadType.RELEASE, release_of_other_bytes(grant, channel=channel))
            assert flash(app, ride, grant, OTHER_BYTES, release=forged) == "wrong_channel"


class TestTicketKeyOnly:
    def test_a_ticket_for_bytes_that_nobody_released_is_worth_nothing(self, ride, app):
        grant, key = ride.grant(), steal(Role.TICKET)
        release = signed_by(key, PayloadType.RELEASE, release_of_other_bytes(grant))
        ticket = signed_by(key, PayloadType.TICKET, ticket_for(grant, release))

        assert flash(app, ride, grant, OTHER_BYTES, release=release, ticket=ticket) == "bad_signature"
        assert flash(app, ride, grant, OTHER_BYTES, ticket=ticket) == "tampered"

    def test_nor_for_an_ecu_that_the_release_does_not_fit(self, ride, app):
        grant = ride.grant()
        ecu = {"hardware_number": "RSH-9999-Z", "calibration_id": "X", "image_size_bytes": ride.vehicle.ecu.image_size_bytes}
        ticket = signed_by(steal(Role.TICKET), PayloadType.TICKET, ticket_for(grant, grant.release, ecu=ecu))
        ride.vehicle.ecu.hardware_number, ride.vehicle.ecu.calibration_id = "RSH-9999-Z", "X"

        assert flash(app, ride, grant, ticket=ticket) == "wrong_ecu"

    def test_nor_for_what_is_stopped(self, ride, app):
        grant = ride.grant()
        stops.hold_version(actor=UserFactory(admin=True), version_id=ride.version.pk, reason="Lean.", at=clock.now())
        publish()
        ticket = signed_by(steal(Role.TICKET), PayloadType.TICKET, ticket_for(grant, grant.release, status_version_min=0))

        assert flash(app, ride, grant, ticket=ticket) == "on_hold"

    def test_reviewed_tunes_are_flashed_unpaid_until_a_new_root(self, ride, app):
        """Not stopped: it costs a tuner money and no rider a bike."""
        grant, key = ride.grant(), steal(Role.TICKET)
        other = ride_for(ride.tune, vehicle={"vin": "JYARN53E1MA000077"})
        identity = vehicle_identity(other.vehicle).tag(salt="00" * 16)
        ticket = signed_by(key, PayloadType.TICKET, ticket_for(grant, grant.release, identity=identity, vehicle_id=str(other.vehicle.pk)))
        assert flash(app, other, grant, ticket=ticket) == "ok"

        run("rotate_signing_key", "ticket")
        publish()
        assert flash(app, other, grant, ticket=ticket) == "bad_signature"


class TestRestoreKeyOnly:
    def test_it_writes_to_no_other_hardware_and_opens_no_flash(self, ride, app):
        ticket = signing.payload_of(restore_ticket(ride)) | {"hardware_number": "RSH-9999-Z"}
        forged = signed_by(steal(Role.RESTORE), PayloadType.RESTORE_TICKET, ticket)
        grant = ride.grant()
        as_a_ticket = signed_by(steal(Role.RESTORE), PayloadType.TICKET, signing.payload_of(grant.ticket))

        assert app.restore(forged)[0] == "wrong_ecu"
        assert flash(app, ride, grant, ticket=as_a_ticket) == "bad_signature"

    def test_another_image_as_stock_is_written_until_a_new_root(self, ride, app):
        """Not stopped by the phone, which has nothing else to go by: whoever has the key and the rider's ear can do it."""
        forged = signed_by(steal(Role.RESTORE), PayloadType.RESTORE_TICKET, signing.payload_of(restore_ticket(ride)))
        assert app.restore(forged)[0] == "ok"

        run("rotate_signing_key", "restore")
        assert app.restore(forged)[0] == "bad_signature"
        assert app.restore(restore_ticket(ride))[0] == "ok"


class TestStatusKeyOnly:
    def test_an_empty_status_that_is_older_than_seen_is_a_rollback(self, ride, app):
        grant = ride.grant()
        stops.hold_version(actor=UserFactory(admin=True), version_id=ride.version.pk, reason="Lean.", at=clock.now())
        payload = signing.payload_of(publish().envelope)
        assert flash(app, ride, grant) == "on_hold"
        key = steal(Role.STATUS)
        older = signed_by(key, PayloadType.STATUS, payload | {"stopped": [], "version": payload["version"] - 1})

        assert flash(app, ride, grant, state=older) == "rollback"

    def test_a_newer_one_is_believed_until_a_new_root(self, ride, app):
        """Not stopped: it frees what was held, of reviewed releases. It signs nothing else."""
        grant = ride.grant()
        stops.hold_version(actor=UserFactory(admin=True), version_id=ride.version.pk, reason="Lean.", at=clock.now())
        payload = signing.payload_of(publish().envelope)
        key = steal(Role.STATUS)
        newer = signed_by(key, PayloadType.STATUS, payload | {"stopped": []})
        assert flash(app, ride, grant, state=newer) == "ok"
        assert flash(app, ride, grant, release=signed_by(key, PayloadType.RELEASE, signing.payload_of(grant.release))) == "bad_signature"

        run("rotate_signing_key", "status")
        assert flash(app, ride, grant, state=newer) == "bad_signature"
        assert flash(app, ride, grant) == "on_hold"


class TestRootKeys:
    def test_one_signs_nothing(self, ride, app):
        one = ceremony.load_private(keys_directory() / f"{signing.current_root().keyids_of(Role.ROOT)[0]}.pem")
        mine = ceremony.make_key(keys_directory().parent / "thief")
        draft = ceremony.draft_root(after=signing.root_envelope(1), env="", roles={Role.RELEASE: [mine]}, at=clock.now())
        app.offline_roots = [signed_by(one, PayloadType.ROOT, draft)]

        assert flash(app, ride, ride.grant()) == "bad_root"

    def test_two_are_everything(self, ride, app):
        """Not stopped: they are on two people's machines, offline."""
        two = [ceremony.load_private(keys_directory() / f"{keyid}.pem") for keyid in signing.current_root().keyids_of(Role.ROOT)[:2]]
        place = keys_directory().parent / "thief"
        mine = ceremony.make_key(place)
        draft = ceremony.draft_root(after=signing.root_envelope(1), env="", roles={Role.RELEASE: [mine]}, at=clock.now())
        app.offline_roots = [envelope_of(PayloadType.ROOT, signing.encode_payload(draft), two)]
        grant = ride.grant()
        release = signed_by(ceremony.load_private(place / f"{mine['keyid']}.pem"), PayloadType.RELEASE, signing.payload_of(grant.release))

        assert flash(app, ride, grant, release=release) == "ok"


class TestNetworkOnly:
    def test_other_bytes_a_withheld_recall_and_an_old_status(self, ride, app):
        grant, state = ride.grant(), status.find_newest_status()
        genuine = requests.get(grant.url, timeout=10).content
        assert flash(app, ride, grant, genuine[:-1] + bytes([genuine[-1] ^ 1])) == "tampered"
        assert flash(app, ride, grant, genuine + b"x") == "tampered"

        publish()
        assert flash(app, ride, grant) == "ok"
        assert flash(app, ride, grant, state=state.envelope) == "rollback"
        app.seen = 0  # a phone that never saw a newer one
        late = clock.now() + timedelta(hours=72, seconds=1)
        assert flash(app, ride, grant, state=state.envelope, at=late) == "expired_status"


class TestTunersAccountOnly:
    def test_it_publishes_nothing_by_itself(self, ride):
        author = ride.tune.tuner.user
        version = TuneVersionFactory(tune=ride.tune, in_review=True, stored=True, version="9.0.0")
        hashes = [file.sha256 for file in version.files.all()]

        with pytest.raises(DomainError) as caught:
            review.publish_tune_version(version_id=version.pk, reviewer=author, approved_sha256=hashes, note="Mine.", at=clock.now())

        assert caught.value.code in ("permission_denied", "own_version")
        version.refresh_from_db()
        assert version.status == "IN_REVIEW"


def test_every_row_of_the_table_names_tests_that_exist():
    """`docs/trust.md`: each row of the attacker's table ends with the tests that show it."""
    text = (ROOT / "docs" / "trust.md").read_text()
    table = text[text.index("## The attacker's table") :].split("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith(("| ---", "| an attacker"))]
    assert len(rows) >= 14
    for row in rows:
        named = re.findall(r"`((?:[a-z_]+/)*test_[a-z_]+)(?:::(\w+))?(?:::(\w+))?`", row)
        assert named, row
        for module, *names in named:
            (path,) = ROOT.glob(f"*/**/tests/{module.rsplit('/', 1)[-1]}.py")
            source = path.read_text()
            for name in filter(None, names):
                assert re.search(rf"^\s*(?:class|def) {name}\b", source, re.MULTILINE), (row, name)
