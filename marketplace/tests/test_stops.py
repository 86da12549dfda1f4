"""Holds, recalls and the status document: at once, told to everybody, and never forgotten."""

import contextlib
import itertools
import json
from datetime import timedelta

import pytest
from django.db import IntegrityError as DatabaseRefusal
from django.db import connection, transaction

from core import signing, storage
from core.exceptions import InvalidInput, InvalidTransition, PermissionRefused, ServiceUnavailable
from core.testing.races import race
from core.testing.tasks import run_all
from marketplace import exceptions
from marketplace.enums import StopKind, VersionStatus
from marketplace.models import AppVersionBlock, CounterFloor, RevokedKey, StatusDocument, VersionStop
from marketplace.services import status, stops
from marketplace.tests.factories import TuneVersionFactory, released_tune, released_version, ride_for
from marketplace.tests.trust import read_document
from users.models import Notice, User
from users.tests.factories import UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin():
    return UserFactory(admin=True)


@pytest.fixture
def version():
    return released_tune().versions.get()


@pytest.fixture
def at():
    return ride_for().at


def hold(version, admin, at, **facts):
    return stops.hold_version(actor=admin, version_id=version.pk, reason="Knock at 6000.", at=at, **facts)


def recall(version, admin, at, **facts):
    facts = {"severity": "stop_flash", "reason": "Wrong axis.", **facts}
    return stops.recall_version(actor=admin, version_id=version.pk, at=at, **facts)


class TestHolds:
    def test_its_author_stops_it_at_once(self, version, at):
        author = version.tune.tuner.user

        stops.hold_own_version(author=author, version_id=version.pk, reason="Looking at it.", at=at)

        version.refresh_from_db()
        assert (version.status, version.stopped_at) == (VersionStatus.ON_HOLD, at)
        assert version.stops.get().source == "AUTHOR"

    def test_nobody_else_can(self, version, at):
        with pytest.raises(exceptions.VersionNotFound):
            stops.hold_own_version(author=UserFactory(tuner=True), version_id=version.pk, reason="Rival.", at=at)
        with pytest.raises(PermissionRefused):
            hold(version, UserFactory(), at)

    @pytest.mark.parametrize("state", ["validated", "in_review", "on_hold", "recalled", "withdrawn"])
    def test_only_a_published_version_is_held(self, state, admin, at):
        with pytest.raises(InvalidTransition):
            hold(TuneVersionFactory(**{state: True}), admin, at)

    def test_one_admin_releases_it(self, version, admin, at):
        hold(version, admin, at)

        stop = stops.release_hold(actor=admin, version_id=version.pk, reason="False alarm.", at=at)

        version.refresh_from_db()
        assert (version.status, version.stopped_at, stop.lifted_by) == (VersionStatus.PUBLISHED, None, admin)
        assert read_document(stop.lift_envelope, "status")["stop_id"] == str(stop.pk)

    def test_its_author_does_not_even_as_admin(self, version, admin, at):
        hold(version, admin, at)
        author = version.tune.tuner.user
        User.objects.filter(pk=author.pk).update(role="ADMIN", is_staff=True)
        author.refresh_from_db()

        with pytest.raises(exceptions.OwnVersion):
            stops.release_hold(actor=author, version_id=version.pk, reason="It is fine.", at=at)

    def test_releasing_twice_is_refused(self, version, admin, at):
        hold(version, admin, at)
        stops.release_hold(actor=admin, version_id=version.pk, reason="False alarm.", at=at)

        with pytest.raises(exceptions.StopNotOpen):
            stops.release_hold(actor=admin, version_id=version.pk, reason="Again.", at=at)


class TestRecalls:
    @pytest.mark.parametrize("held", [False, True])
    def test_end_a_published_or_held_version(self, version, admin, at, held):
        if held:
            hold(version, admin, at)

        stop = recall(version, admin, at + timedelta(minutes=1))

        version.refresh_from_db()
        assert version.status == VersionStatus.RECALLED
        assert VersionStop.objects.filter(version=version, lifted_at=None, recalled_at=None).get() == stop

    def test_name_a_replacement(self, version, admin, at):
        newer = released_version(version.tune)

        assert recall(version, admin, at, replacement_id=newer.pk).replacement == newer

    def test_refuse_a_replacement_that_is_none(self, version, admin, at):
        for wrong in (version, released_tune().versions.get(), TuneVersionFactory(tune=version.tune, validated=True)):
            with pytest.raises(InvalidInput):
                recall(version, admin, at, replacement_id=wrong.pk)

    def test_two_people_lift_one(self, version, admin, at):
        recall(version, admin, at)
        second = UserFactory(admin=True)
        stops.propose_unrecall(actor=admin, version_id=version.pk, reason="The axis was right.", at=at)

        with pytest.raises(exceptions.SecondPersonRequired):
            stops.unrecall_version(actor=admin, version_id=version.pk, mfa_fresh=True, at=at + timedelta(days=2))
        stop = stops.unrecall_version(actor=second, version_id=version.pk, mfa_fresh=False, at=at)

        version.refresh_from_db()
        assert (version.status, stop.lift_proposed_by, stop.lifted_by, stop.single_operator) == (
            VersionStatus.PUBLISHED,
            admin,
            second,
            False,
        )

    @pytest.mark.parametrize(("hours", "fresh", "allowed"), [(23, True, False), (24, False, False), (24, True, True)])
    def test_a_single_operator_waits_a_day_and_confirms(self, version, admin, at, hours, fresh, allowed):
        User.objects.filter(role="ADMIN").exclude(pk=admin.pk).update(is_active=False)
        recall(version, admin, at)
        stops.propose_unrecall(actor=admin, version_id=version.pk, reason="The axis was right.", at=at)
        later = {"actor": admin, "version_id": version.pk, "mfa_fresh": fresh, "at": at + timedelta(hours=hours)}

        if allowed:
            assert stops.unrecall_version(**later).single_operator
        else:
            with pytest.raises(exceptions.SecondPersonRequired):
                stops.unrecall_version(**later)

    def test_without_a_proposal_nothing_is_lifted(self, version, admin, at):
        recall(version, admin, at)

        with pytest.raises(exceptions.StopNotOpen):
            stops.unrecall_version(actor=admin, version_id=version.pk, mfa_fresh=True, at=at)

    @pytest.mark.parametrize(
        ("change", "rule"),
        [
            ({"reason": "Nothing happened."}, "version_stop_is_final"),
            ({"lifted_at": "at"}, "version_stop_lift_is_signed"),
        ],
    )
    def test_postgres_refuses_to_edit_one_away(self, version, admin, at, change, rule):
        recall(version, admin, at)

        with pytest.raises(DatabaseRefusal, match=rule), transaction.atomic():
            VersionStop.objects.update(**{name: at if value == "at" else value for name, value in change.items()})


class TestTelling:
    def test_everybody_who_has_it_and_its_tuner_once_each(self, admin):
        ride = ride_for()
        ride.report(ride.ticket())
        never_downloaded = ride_for(ride.tune, vehicle={"vin": "JYARN53E1MA000055"})
        stop = recall(ride.version, admin, ride.at, severity="restore_stock")

        assert stops.tell_stop(stop_id=stop.pk, at=ride.at) == 2
        stops.tell_stop(stop_id=stop.pk, at=ride.at)

        notices = Notice.objects.filter(type="RECALL")
        assert {notice.user_id for notice in notices} == {ride.buyer.pk, ride.tune.tuner.user_id}
        assert len(notices) == 2
        assert notices[0].severity == "restore_stock"
        assert not Notice.objects.filter(user=never_downloaded.buyer, type="RECALL").exists()

    def test_a_rider_acknowledges_once(self, admin):
        ride = ride_for()
        ride.grant()
        stop = recall(ride.version, admin, ride.at)

        first = stops.acknowledge_stop(rider=ride.buyer, stop_id=stop.pk, at=ride.at)
        second = stops.acknowledge_stop(rider=ride.buyer, stop_id=stop.pk, at=ride.at + timedelta(days=1))

        assert first.acknowledged_at == second.acknowledged_at == ride.at

    def test_a_stop_of_a_version_one_never_had_is_missing(self, version, admin, at):
        stop = recall(version, admin, at)

        with pytest.raises(exceptions.StopNotFound):
            stops.acknowledge_stop(rider=UserFactory(), stop_id=stop.pk, at=at)


class TestStatusDocument:
    def test_says_what_is_stopped_and_why(self, version, admin, at):
        newer = released_version(version.tune)
        stop = recall(version, admin, at, replacement_id=newer.pk)
        AppVersionBlock.objects.create(app_version="1.3.0", reason="Writes too fast.", blocked_at=at)

        payload = read_document(status.publish_status(at=at).envelope, "status")

        file = version.files.get()
        assert payload["stopped"] == [
            {
                "id": str(file.pk),
                "sha256": file.sha256,
                "state": "recalled",
                "severity": "stop_flash",
                "reason": "Wrong axis.",
                "since": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "replacement": str(newer.pk),
                "tune_version_id": str(version.pk),
                "stop_id": str(stop.pk),
            }
        ]
        assert (payload["_type"], payload["version"]) == ("status", int(at.timestamp()))
        assert payload["expires_at"] == (at + timedelta(hours=72)).strftime("%Y-%m-%dT%H:%M:%SZ")
        assert payload["blocked_app_versions"] == ["1.3.0"]
        assert (payload["min_app"], payload["counter_floors"], payload["revoked_keyids"]) == ("1.0.0", {}, [])

    def test_a_stop_publishes_at_once(self, version, admin, at):
        hold(version, admin, at)

        assert "marketplace.tasks.trust.publish_status" in run_all()
        assert [entry["state"] for entry in status.find_newest_status().stopped] == ["on_hold"]

    def test_a_lifted_stop_is_gone(self, version, admin, at):
        hold(version, admin, at)
        status.publish_status(at=at)
        stops.release_hold(actor=admin, version_id=version.pk, reason="Fine.", at=at)

        assert status.publish_status(at=at).stopped == []

    def test_a_hold_that_became_a_recall_that_was_lifted_is_gone(self, version, admin, at):
        hold(version, admin, at)
        status.publish_status(at=at)
        recall(version, admin, at)
        stops.propose_unrecall(actor=admin, version_id=version.pk, reason="Fine.", at=at)
        stops.unrecall_version(actor=UserFactory(admin=True), version_id=version.pk, mfa_fresh=False, at=at)

        assert status.publish_status(at=at).stopped == []

    def test_its_version_only_rises_also_within_a_second_and_when_the_clock_steps_back(self, at):
        versions = [status.publish_status(at=moment).version for moment in (at, at, at - timedelta(hours=1), at + timedelta(seconds=9))]

        assert versions == sorted(set(versions))
        assert versions[0] == int(at.timestamp())

    def test_storage_has_its_copy(self, at):
        document = status.publish_status(at=at)

        key = max(key for key, _ in storage.list_keys(status.COPY_PREFIX))
        assert json.loads(storage.read(key, max_bytes=10**6)) == document.envelope
        assert StatusDocument.objects.get().copied_at == at

    def test_a_restored_database_neither_goes_back_nor_forgets_a_stop(self, version, admin, at):
        recall(version, admin, at)
        lost = status.publish_status(at=at + timedelta(hours=5))
        self.restore_an_older_database(version)

        document = status.publish_status(at=at)

        assert document.version == lost.version + 1
        assert document.stopped == lost.stopped

    def test_a_stop_that_was_edited_away_stops_publishing(self, version, admin, at):
        hold(version, admin, at)
        status.publish_status(at=at)
        stop = VersionStop.objects.get()
        forged = signing.sign(
            signing.Role.TICKET,
            signing.PayloadType.TICKET,
            signing.base_fields(signing.PayloadType.TICKET, env="dev", issued_at=at) | {"stop_id": stop.pk},
        )
        VersionStop.objects.update(lifted_at=at, lifted_by=admin, lift_envelope=forged)

        with pytest.raises(exceptions.StatusDiverged):
            status.publish_status(at=at)
        assert StatusDocument.objects.count() == 1

    def test_a_copy_that_is_not_ours_stops_publishing(self, at):
        storage.put_bytes(f"{status.COPY_PREFIX}{10**15:020d}.json", b'{"payloadType": "x"}', "application/json")

        with pytest.raises(exceptions.StatusDiverged):
            status.publish_status(at=at)

    def test_what_has_no_name_of_ours_is_left_alone(self, at):
        for name in ("zzz.json", "x/00000000000000000001.json", "9.json", "9999999999999999999999999.json"):
            storage.put_bytes(f"{status.COPY_PREFIX}{name}", b"{}", "application/json")

        status.publish_status(at=at)

        assert StatusDocument.objects.get().copied_at == at

    def test_without_storage_it_goes_on_alone_for_two_hours(self, at, settings):
        status.publish_status(at=at)
        settings.S3_ENDPOINT_URL = "http://127.0.0.1:9"
        storage.reset()
        try:
            assert status.publish_status(at=at + timedelta(minutes=119)).copied_at is None
            with pytest.raises(ServiceUnavailable):
                status.publish_status(at=at + timedelta(hours=5))
        finally:
            settings.S3_ENDPOINT_URL = settings.S3_PUBLIC_ENDPOINT_URL
            storage.reset()

    def test_old_documents_are_forgotten_after_a_week(self, at):
        for days in (0, 1, 8):
            status.publish_status(at=at + timedelta(days=days))

        assert StatusDocument.objects.count() == 2

    def test_an_older_document_of_ours_put_back_by_hand_forgets_nothing(self, version, admin, at):
        before = status.publish_status(at=at)
        hold(version, admin, at)
        newest = status.publish_status(at=at + timedelta(minutes=1))
        with around_the_triggers():
            VersionStop.objects.all().delete()
            StatusDocument.objects.filter(pk=newest.pk).update(envelope=before.envelope, stopped=[])

        with pytest.raises(exceptions.StatusDiverged, match="another document"):
            status.publish_status(at=at + timedelta(minutes=2))

    def test_the_column_beside_the_envelope_is_not_believed(self, version, admin, at):
        hold(version, admin, at)
        newest = status.publish_status(at=at)
        with around_the_triggers():
            VersionStop.objects.all().delete()
            StatusDocument.objects.filter(pk=newest.pk).update(stopped=[])

        assert [entry["state"] for entry in status.publish_status(at=at).stopped] == ["on_hold"]

    @pytest.mark.parametrize("change", [{"kind": "on_hold"}, {"severity": "info"}])
    def test_a_stop_that_was_made_milder_behind_our_back_stops_publishing(self, version, admin, at, change):
        recall(version, admin, at)
        status.publish_status(at=at)
        with around_the_triggers():
            VersionStop.objects.update(**change)

        with pytest.raises(exceptions.StatusDiverged, match="not what was signed"):
            status.publish_status(at=at)

    def test_the_lifting_of_an_earlier_recall_lifts_no_later_one(self, version, admin, at):
        recall(version, admin, at)
        stops.propose_unrecall(actor=admin, version_id=version.pk, reason="Fine.", at=at)
        stops.unrecall_version(actor=UserFactory(admin=True), version_id=version.pk, mfa_fresh=False, at=at)
        hold(version, admin, at + timedelta(hours=1))
        status.publish_status(at=at + timedelta(hours=1))
        VersionStop.objects.filter(kind=StopKind.HOLD).update(recalled_at=at)  # it "became" the recall that was lifted

        with pytest.raises(exceptions.StatusDiverged):
            status.publish_status(at=at + timedelta(hours=1))

    def test_copies_that_were_deleted_take_nothing_away(self, version, admin, at):
        hold(version, admin, at)
        first = status.publish_status(at=at)
        for key, _ in list(storage.list_keys(status.COPY_PREFIX)):
            storage.delete(key)

        second = status.publish_status(at=at)

        assert (second.version, second.stopped) == (first.version + 1, first.stopped)

    @staticmethod
    def restore_an_older_database(version):
        """As if the rows since then had never been: only here may a test go around the triggers."""
        with around_the_triggers():
            StatusDocument.objects.all().delete()
            VersionStop.objects.all().delete()
            CounterFloor.objects.all().delete()
            RevokedKey.objects.all().delete()


class TestFloors:
    @pytest.fixture
    def newer(self, version):
        return released_version(version.tune, version="2.0.0")

    def test_everything_older_is_recalled_and_below_the_floor(self, version, newer, admin, at):
        floor(newer, admin, at)

        version.refresh_from_db()
        payload = read_document(status.publish_status(at=at).envelope, "status")
        assert version.status == VersionStatus.RECALLED
        assert (version.stops.get().severity, version.stops.get().replacement) == ("restore_stock", newer)
        assert payload["counter_floors"] == {str(version.tune_id): newer.release_counter}

    @pytest.mark.parametrize("state", [{"status": "WITHDRAWN", "withdrawn_at": "at"}, {"status": "ON_HOLD", "stopped_at": "at"}])
    def test_also_what_was_withdrawn_or_held(self, version, newer, admin, at, state):
        if state["status"] == "ON_HOLD":
            hold(version, admin, at)
        else:
            type(version).objects.filter(pk=version.pk).update(status="WITHDRAWN", withdrawn_at=at)

        floor(newer, admin, at)

        version.refresh_from_db()
        assert (version.status, version.withdrawn_at) == (VersionStatus.RECALLED, None)
        assert VersionStop.objects.get(lifted_at=None, recalled_at=None).kind == StopKind.RECALL

    def test_what_is_below_is_never_lifted_again(self, version, newer, admin, at):
        floor(newer, admin, at)
        stops.propose_unrecall(actor=admin, version_id=version.pk, reason="It was fine.", at=at)

        with pytest.raises(exceptions.StopNotOpen, match="below"):
            stops.unrecall_version(actor=UserFactory(admin=True), version_id=version.pk, mfa_fresh=True, at=at)

    def test_a_floor_neither_sinks_nor_stands_twice(self, version, newer, admin, at):
        floor(newer, admin, at)
        with pytest.raises(exceptions.FloorNotHigher):
            floor(newer, admin, at)
        with pytest.raises(exceptions.FloorNotHigher):
            floor(released_tune().versions.get(), admin, at)
        with pytest.raises(InvalidTransition):
            floor(version, admin, at)  # recalled by now
        with pytest.raises(DatabaseRefusal, match="append-only"), transaction.atomic():
            CounterFloor.objects.all().delete()

    def test_only_staff_set_one(self, newer, at):
        with pytest.raises(PermissionRefused):
            floor(newer, newer.tune.tuner.user, at)

    def test_a_restored_database_does_not_lower_it(self, version, newer, admin, at):
        floor(newer, admin, at)
        lost = status.publish_status(at=at)
        TestStatusDocument.restore_an_older_database(version)

        payload = read_document(status.publish_status(at=at).envelope, "status")

        assert payload["counter_floors"] == {str(version.tune_id): newer.release_counter}
        assert payload["version"] == lost.version + 1

    def test_it_is_published_at_once(self, newer, admin, at):
        floor(newer, admin, at)

        assert "marketplace.tasks.trust.publish_status" in run_all()
        assert len(status.find_newest_status().stopped) == 1


class TestRevokedKeys:
    def test_a_revoked_key_is_named_for_ever_also_by_a_restored_database(self, version, at):
        keyid = "ab" * 32
        RevokedKey.objects.create(keyid=keyid, role="ticket", reason="A laptop was stolen.", revoked_at=at)

        assert read_document(status.publish_status(at=at).envelope, "status")["revoked_keyids"] == [keyid]
        TestStatusDocument.restore_an_older_database(version)
        assert read_document(status.publish_status(at=at).envelope, "status")["revoked_keyids"] == [keyid]

    def test_none_is_taken_back(self, at):
        RevokedKey.objects.create(keyid="ab" * 32, role="ticket", reason="Stolen.", revoked_at=at)

        with pytest.raises(DatabaseRefusal, match="append-only"), transaction.atomic():
            RevokedKey.objects.all().delete()

    def test_nothing_is_built_on_what_a_revoked_status_key_signed(self, at):
        document = status.publish_status(at=at)
        keyid = signing.keyid_of(document.envelope)
        RevokedKey.objects.create(keyid=keyid, role="status", reason="Stolen.", revoked_at=at)

        with pytest.raises(exceptions.StatusDiverged, match="not ours"):
            status.publish_status(at=at)


@pytest.mark.django_db(transaction=True)
class TestRaces:
    def test_a_second_publisher_can_not_fork_it(self, at):
        assert race(lambda: status.publish_status(at=at), times=4) == ["ok"] * 4

        rows = list(StatusDocument.objects.order_by("version").values_list("previous_version", "version"))
        assert len(rows) == 4
        assert all(after[0] == before[1] for before, after in itertools.pairwise(rows))

    def test_control_without_the_chain_it_would_fork(self, at):
        table, name = "ALTER TABLE marketplace_statusdocument", "marketplace_statusdocument_previous_version_key"
        status.publish_status(at=at)
        moments = iter([at + timedelta(minutes=1), at + timedelta(minutes=2)])  # two clocks: else the version itself is taken
        with connection.cursor() as cursor:
            cursor.execute(f"{table} DROP CONSTRAINT {name}")
        try:
            race(lambda: status.publish_status(at=next(moments)), meet_after="FROM \"marketplace_statusdocument\"", row_locks=False)
            followed = list(StatusDocument.objects.values_list("previous_version", flat=True))
            assert len(followed) > len(set(followed)), "both follow one document: a fork"
        finally:
            StatusDocument.objects.all().delete()
            with connection.cursor() as cursor:
                cursor.execute(f"{table} ADD CONSTRAINT {name} UNIQUE (previous_version)")

    def test_two_holds_at_once_are_one(self):
        version, admin = released_tune().versions.get(), UserFactory(admin=True)
        at = version.published_at

        assert race(lambda: hold(version, admin, at)) == ["invalid_transition", "ok"]
        assert VersionStop.objects.filter(kind=StopKind.HOLD).count() == 1

    def test_control_without_the_lock_postgres_refuses_the_second(self):
        version, admin = released_tune().versions.get(), UserFactory(admin=True)
        at = version.published_at

        with pytest.raises(DatabaseRefusal, match="version_stop_one_open"):
            race(lambda: hold_as_seen(version, admin, at), row_locks=False)


def floor(version, actor, at):
    return stops.raise_counter_floor(actor=actor, version_id=version.pk, severity="restore_stock", reason="They brick it.", at=at)


@contextlib.contextmanager
def around_the_triggers():
    """As somebody with the database's own password, or a restore: only here may a test do that."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        yield
        cursor.execute("SET LOCAL session_replication_role = DEFAULT")


def hold_as_seen(version, admin, at):
    with transaction.atomic():
        stops._hold(stops._lock(version.pk), source="STAFF", actor=admin, severity="info", reason="Both.", at=at)
