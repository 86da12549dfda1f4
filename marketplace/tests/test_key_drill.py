"""The drill: every key command on a small stand, and what apps that were shipped before still do, judged by the verifier that
shares no code with the signer (tools/verify_download.py)."""

import hashlib
import json
import shutil
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
import requests
from django.conf import settings
from django.core.management import CommandError, call_command

from core import clock, signing, storage
from core.signing import Role, ceremony
from core.signing.keyfiles import keys_directory
from core.signing.keyring import make_development_keys
from core.testing.races import in_between
from garage.identity import vehicle_identity
from garage.models import StockFile
from garage.restore_tickets import sign_restore_ticket
from marketplace.exceptions import StatusDiverged
from marketplace.models import Release, RevokedKey, StatusDocument
from marketplace.services import signing_keys, status, stops, stored_files
from marketplace.tests.factories import released_tune, released_version, ride_for
from marketplace.tests.test_verifier import as_json, readout_of
from tools.verify_download import Readout, verify_flash, verify_restore
from users.tests.factories import UserFactory

pytestmark = pytest.mark.django_db
STOCK = b"stock" * 1000


@pytest.fixture(scope="module")
def first_keys(tmp_path_factory):
    """Keys and root 1 that every drill starts with."""
    directory = tmp_path_factory.mktemp("keys")
    make_development_keys(keys=directory / "keys", roots=directory / "roots", at=clock.now() - timedelta(days=1))
    return directory


@pytest.fixture(autouse=True)
def stand(first_keys, tmp_path, settings):
    """A stand with keys of its own, which a drill may spoil."""
    shutil.copytree(first_keys, tmp_path / "signing")
    settings.SIGNING_KEYS_DIR = tmp_path / "signing"
    stored_files.forget()


@pytest.fixture
def ride():
    return ride_for()


class App:
    """An app that was shipped with root 1: it walks to the newest root and keeps the highest status version it saw."""

    def __init__(self) -> None:
        self.pinned = as_json(signing.root_envelope(1))
        self.seen = 0
        self.offline_roots: list | None = None

    def roots(self) -> list:
        if self.offline_roots is not None:
            return self.offline_roots
        return [as_json(signing.root_envelope(number)) for number in range(2, signing.current_root().version + 1)]

    def goes_offline(self) -> None:
        self.offline_roots = self.roots()

    def flash(self, ride, grant, *, at=None, state=None, release=None, ticket=None) -> str:
        verdict = verify_flash(
            pinned_root=self.pinned,
            later_roots=self.roots(),
            status=as_json(state or status.find_newest_status().envelope),
            seen_status_version=self.seen,
            app_version="1.0.0",
            release=as_json(release or grant.release),
            ticket=as_json(ticket or grant.ticket),
            file=[grant.data if hasattr(grant, "data") else requests.get(grant.url, timeout=10).content],
            readout=readout_of(ride.vehicle),
            has_way_back=True,
            at=at or clock.now(),
        )
        self.seen = max(self.seen, verdict.seen_status_version)
        return verdict.code

    def restore(self, ticket, *, at=None) -> tuple[str, list[str]]:
        verdict = verify_restore(
            pinned_root=self.pinned,
            later_roots=self.roots(),
            restore_ticket=as_json(ticket),
            file=STOCK,
            format="BIN",
            readout=Readout(hardware_number="RSH-4711-A"),
            at=at or clock.now(),
        )
        return verdict.code, verdict.warnings


def run(*command, **options) -> str:
    out = StringIO()
    call_command(*command, stdout=out, stderr=out, **options)
    return out.getvalue()


def first_key(role) -> str:
    return signing.current_root().keyids_of(role)[0]


def restore_ticket(ride):
    stock_file = StockFile.objects.get(vehicle=ride.vehicle)
    stock_file.image_sha256, stock_file.image_size_bytes = hashlib.sha256(STOCK).hexdigest(), len(STOCK)
    return sign_restore_ticket(vehicle=ride.vehicle, identity=vehicle_identity(ride.vehicle), stock_file=stock_file, at=clock.now())


def publish():
    return status.publish_status(at=clock.now())


def verify_everything(app) -> str:
    path = Path(settings.SIGNING_KEYS_DIR) / "pinned.json"
    path.write_text(json.dumps(app.pinned))
    return run("verify_trust", pinned=path)


class TestRotation:
    @pytest.mark.parametrize("role", ["release", "ticket", "status", "restore", "test_release", "none", "root"])
    def test_an_app_with_root_1_walks_on_and_still_says_yes(self, ride, role):
        app = App()
        publish()
        assert app.flash(ride, ride.grant()) == "ok"

        run("rotate_signing_key", role)

        publish()
        assert app.flash(ride, ride.grant()) == "ok"
        assert "hold" in verify_everything(app)

    def test_with_the_old_key_kept_what_it_signed_goes_on_holding(self, ride):
        app, grant, way_back = App(), ride.grant(), restore_ticket(ride)

        for role in ("ticket", "restore", "release"):
            run("rotate_signing_key", role, keep_old=True)

        publish()
        assert app.flash(ride, grant) == "ok"
        assert app.restore(way_back) == ("ok", [])
        assert signing.keyid_of(restore_ticket(ride)) == first_key(Role.RESTORE) != signing.keyid_of(way_back)

    def test_an_app_that_stays_offline_goes_on_with_what_it_has(self, ride):
        app, grant, state = App(), ride.grant(), publish().envelope
        app.goes_offline()

        for role in ("release", "ticket", "status"):
            run("rotate_signing_key", role)

        assert app.flash(ride, grant, state=state) == "ok"

    def test_a_status_document_of_the_old_key_is_built_upon_by_the_new_one(self, ride):
        app, before = App(), publish()
        app.flash(ride, ride.grant())

        run("rotate_signing_key", "status")

        after = status.find_newest_status()
        assert (after.version > before.version, signing.keyid_of(after.envelope)) == (True, first_key(Role.STATUS))
        assert app.flash(ride, ride.grant()) == "ok"
        assert app.flash(ride, ride.grant(), state=before.envelope) == "bad_signature"


class TestRoots:
    def test_two_of_three_holders_on_their_own_machines_make_and_renew_the_root(self, tmp_path, capsys):
        """The whole ceremony by its commands, with files carried between directories; then one holder's key is lost."""
        desk = tmp_path / "desk"
        desk.mkdir()

        def step(*arguments) -> int:
            return ceremony.main([str(argument) for argument in arguments])

        def key(place) -> str:
            assert step("make-key", tmp_path / place, "--no-password") == 0
            (public,) = (tmp_path / place).glob("*.pub")
            return str(public)

        def private(place) -> str:
            (path,) = (tmp_path / place).glob("*.pem")
            return str(path)

        roots = ",".join(key(place) for place in ("ada", "bob", "cyd"))
        online = [f"{role.value}={key(role.value)}" for role in Role if role is not Role.ROOT]
        named = [part for value in [f"root={roots}", *online] for part in ("--role", value)]
        assert step("draft", *named, "--env", "dev", "--out", desk / "1.draft") == 0
        assert step("sign", "--draft", desk / "1.draft", "--key", private("ada"), "--out", desk / "1.ada") == 0
        assert step("join", "--draft", desk / "1.draft", "--partial", desk / "1.ada", "--out", desk / "1.json") == 1
        assert "1 of 2 signatures" in capsys.readouterr().err
        assert step("sign", "--draft", desk / "1.draft", "--key", private("cyd"), "--out", desk / "1.cyd") == 0
        both = ("--partial", desk / "1.ada", "--partial", desk / "1.cyd")
        assert step("join", "--draft", desk / "1.draft", *both, "--out", desk / "1.json") == 0

        lost = Path(private("bob")).stem
        given = ("--role", f"root={key('dan')}", "--keep-old", "root", "--without", lost)
        assert step("draft", "--after", desk / "1.json", *given, "--out", desk / "2.draft") == 0
        assert "GONE" in capsys.readouterr().out
        signing_2 = ("sign", "--draft", desk / "2.draft", "--after", desk / "1.json")
        for who in ("dan", "bob"):  # the new holder alone, with the key that goes: enough for neither root
            assert step(*signing_2, "--key", private(who), "--out", desk / f"2.{who}") == 0
        after = ("join", "--draft", desk / "2.draft", "--after", desk / "1.json", "--out", desk / "2.json")
        assert step(*after, "--partial", desk / "2.dan", "--partial", desk / "2.bob") == 1
        for who in ("ada", "cyd"):
            assert step(*signing_2, "--key", private(who), "--out", desk / f"2.{who}") == 0
        assert step(*after, "--partial", desk / "2.ada", "--partial", desk / "2.cyd") == 0
        assert step("check", desk / "1.json", desk / "2.json") == 0
        assert "holds: root 2 of dev" in capsys.readouterr().out
        assert step("check", desk / "2.json", desk / "1.json") == 1
        assert step("sign", "--draft", desk / "1.json", "--key", private("ada"), "--out", desk / "x") == 1, "an envelope is no draft"

    def test_a_root_that_does_not_follow_is_not_installed(self, tmp_path):
        other = tmp_path / "other"
        make_development_keys(keys=other / "keys", roots=other / "roots", at=clock.now())
        stranger = json.loads((other / "roots" / "1.json").read_text())
        path = tmp_path / "root.json"
        for content in ("{}", "[]", "nonsense", json.dumps(stranger), json.dumps(signing.root_envelope(1))):
            path.write_text(content)
            with pytest.raises(CommandError):
                run("install_root", path)
        assert signing.current_root().version == 1

    def test_an_expired_root_stops_flashes_and_only_warns_before_a_restore(self, ride):
        app, way_back = App(), restore_ticket(ride)
        late = datetime.fromisoformat(signing.current_root().expires_at)
        state = status.publish_status(at=late)

        assert app.flash(ride, ride.grant(at=late), at=late, state=state.envelope) == "expired_root"
        code, warnings = app.restore(way_back, at=late)
        assert (code, "expired_root" in warnings) == ("ok", True)

        signing_keys.rotate_with_local_keys(None, keep_old=False, at=late)
        assert app.flash(ride, ride.grant(at=late), at=late, state=state.envelope) == "ok"

    def test_a_stolen_root_key_is_replaced_and_alone_it_makes_nothing(self, ride):
        app, stolen = App(), signing.current_root().keyids_of(Role.ROOT)[0]
        thief = ceremony.load_private(keys_directory() / f"{stolen}.pem")
        present = signing.root_envelope(1)
        mine = ceremony.make_key(keys_directory().parent / "thief")
        draft = ceremony.draft_root(after=present, env="", roles={Role.RELEASE: [mine]}, at=clock.now())
        with pytest.raises(ceremony.CeremonyFailed, match="1 of 2"):
            ceremony.join(draft, [ceremony.sign_draft(draft, thief)], after=present)

        run("rotate_signing_key", "root", without=[stolen])

        assert stolen not in signing.current_root().keyids_of(Role.ROOT)
        assert len(signing.current_root().keyids_of(Role.ROOT)) == 3
        publish()
        assert app.flash(ride, ride.grant()) == "ok"


class TestTheft:
    def test_of_the_release_key(self, ride):
        """A thief signs a release of other bytes; a new root, releases signed anew, the key revoked: also an app that never gets
        the new root refuses it by the next status."""
        app, behind, grant = App(), App(), ride.grant()
        publish()
        stolen, old_release = first_key(Role.RELEASE), grant.release
        assert app.flash(ride, grant) == "ok"
        behind.goes_offline()

        run("rotate_signing_key", "release")
        with pytest.raises(CommandError, match="still names"):
            run("revoke_signing_key", first_key(Role.RELEASE), reason="Stolen.")
        run("revoke_signing_key", stolen, reason="A backup was stolen.")
        publish()

        assert app.flash(ride, grant, release=old_release) == "bad_signature"
        assert behind.flash(ride, grant, release=old_release) == "bad_signature"
        fresh = ride.grant()
        assert app.flash(ride, fresh) == "ok"
        assert app.flash(ride, fresh, ticket=grant.ticket) == "ok", "the payload is the same: tickets that were given go on holding"
        assert status.find_newest_status() and list(RevokedKey.objects.values_list("keyid", flat=True)) == [stolen]
        assert "hold" in verify_everything(app)

    def test_what_was_issued_since_the_theft_is_looked_at_and_not_signed_blindly(self, ride):
        signing_keys.rotate_with_local_keys(Role.RELEASE, keep_old=False, at=clock.now())

        with pytest.raises(CommandError, match="left as they are"):
            run("resign_releases", stolen_since=datetime.fromisoformat("2020-01-01T00:00:00+00:00"))
        with pytest.raises(CommandError, match="older key"):
            run("resign_releases", check=True)

        assert Release.objects.get().superseded_at is None
        run("resign_releases")
        run("resign_releases", check=True)

    def test_a_forged_row_is_not_signed_anew(self, ride):
        row = Release.objects.get()
        forged = signing.sign(Role.TEST_RELEASE, signing.PayloadType.RELEASE, signing.payload_of(row.envelope))
        other = released_tune().versions.get().releases.get()
        other_envelope = dict(other.envelope)
        Release.objects.filter(pk=row.pk).update(superseded_at=clock.now())
        for envelope in (forged, other_envelope):
            made = Release.objects.create(
                version_id=row.version_id,
                file_id=row.file_id,
                channel="public",
                release_counter=row.release_counter,
                payload_sha256=signing.payload_sha256(envelope),
                keyid="ab" * 32,
                envelope=envelope,
                issued_at=row.issued_at,
            )
            with pytest.raises(CommandError, match="1 releases were left"):
                run("resign_releases")
            Release.objects.filter(pk=made.pk).update(superseded_at=clock.now())

    @pytest.mark.parametrize("role", ["ticket", "status", "restore", "test_release"])
    def test_of_every_other_online_key(self, ride, role):
        app, grant, way_back, state = App(), ride.grant(), restore_ticket(ride), publish().envelope
        stolen = first_key(Role(role))

        run("rotate_signing_key", role)
        publish()
        run("revoke_signing_key", stolen, reason="Stolen.")
        publish()

        if role == "ticket":
            assert app.flash(ride, grant) == "bad_signature"
        if role == "status":
            assert app.flash(ride, grant, state=state) == "bad_signature"
        if role == "restore":
            assert app.restore(way_back)[0] == "bad_signature"
            assert app.restore(restore_ticket(ride))[0] == "ok", "asked for again, it is signed by the new key"
        assert app.flash(ride, ride.grant()) == "ok"

    def test_a_status_key_is_not_revoked_under_the_document_that_it_signed(self):
        publish()
        stolen, newest = first_key(Role.STATUS), status.find_newest_status()
        signing_keys.rotate_with_local_keys(Role.STATUS, keep_old=False, at=clock.now())

        with pytest.raises(CommandError, match="publish one"):
            run("revoke_signing_key", stolen, reason="Stolen.")
        with pytest.raises(CommandError, match="No root"):
            run("revoke_signing_key", "ab" * 32, reason="Stolen.")
        publish()
        run("revoke_signing_key", stolen, reason="Stolen.")
        assert publish().version > newest.version

    def test_a_thief_of_the_status_key_who_also_has_the_storage_stops_publishing_and_frees_nothing(self, ride):
        newest = publish()
        stolen = first_key(Role.STATUS)
        run("rotate_signing_key", "status")
        run("revoke_signing_key", stolen, reason="Stolen.")
        forged = json.dumps(newest.envelope).encode()
        storage.put_bytes(f"{status.COPY_PREFIX}{10**15:020d}.json", forged, "application/json")

        with pytest.raises(StatusDiverged):
            publish()


class TestOldPhones:
    def test_an_app_that_saw_a_newer_status_refuses_an_older_one(self, ride):
        app, older, grant = App(), publish().envelope, ride.grant()
        publish()
        assert app.flash(ride, grant) == "ok"

        assert app.flash(ride, grant, state=older) == "rollback"

    def test_a_release_below_the_floor_is_refused_wherever_it_was_kept(self, ride):
        app, grant = App(), ride.grant()
        publish()
        newer = released_version(ride.tune, version="2.0.0")
        stops.raise_counter_floor(actor=UserFactory(admin=True), version_id=newer.pk, severity="stop_flash", reason="Lean.", at=clock.now())
        payload = signing.payload_of(publish().envelope)
        # a thief of nothing but an old phone's files: even a status that forgot the recall itself knows the floor
        without_stops = signing.sign(Role.STATUS, signing.PayloadType.STATUS, payload | {"stopped": []})

        assert app.flash(ride, grant) == "recalled"
        assert app.flash(ride, grant, state=without_stops) == "rollback"


class TestResigning:
    def test_it_may_be_stopped_and_goes_on(self, ride):
        for _ in range(4):
            released_tune()
        signing_keys.rotate_with_local_keys(Role.RELEASE, keep_old=True, at=clock.now())

        work = signing_keys.resign_releases(batch=2, at=clock.now())
        assert [next(work).done, next(work).done] == [0, 2]
        work.close()

        *_, last = signing_keys.resign_releases(batch=2, at=clock.now())
        assert (last.total, last.done, last.refused) == (3, 3, {})
        current = Release.objects.filter(superseded_at=None)
        assert set(current.values_list("keyid", flat=True)) == {first_key(Role.RELEASE)}
        assert current.count() == Release.objects.exclude(superseded_at=None).count() == 5

    def test_a_grant_during_it_gets_one_good_release(self, ride):
        app = App()
        publish()
        signing_keys.rotate_with_local_keys(Role.RELEASE, keep_old=True, at=clock.now())
        before = ride.grant()
        list(signing_keys.resign_releases(at=clock.now()))

        assert app.flash(ride, before) == app.flash(ride, ride.grant()) == "ok"
        assert StatusDocument.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_who_sign_anew_at_once_leave_one_current_release_each():
    ride_for()
    signing_keys.rotate_with_local_keys(Role.RELEASE, keep_old=True, at=clock.now())

    def anew():
        list(signing_keys.resign_releases(at=clock.now()))

    assert in_between(anew, anew, after='FROM "marketplace_release"') == "ok"

    assert Release.objects.filter(superseded_at=None).count() == 1
    assert Release.objects.count() == 2
