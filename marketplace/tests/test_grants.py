"""The download grant: the right file, the right signatures, one license, and a row for every answer."""

import hashlib
from datetime import timedelta

import pytest
import requests
from django.db import IntegrityError as DatabaseRefusal
from django.db import connection, transaction
from django.db.models import Exists, OuterRef

from core import storage
from core.exceptions import ServiceUnavailable
from core.ids import new_id
from core.models import AuditEvent
from core.testing.races import race, race_all
from garage.exceptions import VehicleNotFound
from garage.models import StockFile, Vehicle
from garage.tests.factories import EcuReadoutFactory, NoReadBackConsentFactory, VehicleFactory
from marketplace import exceptions
from marketplace.enums import DownloadKind, LicenseState, PurchaseStatus, VersionStatus
from marketplace.models import AppVersionBlock, Case, Download, FlashTicket, GrantedPurchase, License, Purchase, TuneVersion
from marketplace.selectors.fitment import get_vehicle_facts
from marketplace.selectors.grants import get_grant_facts
from marketplace.services import flashes, grants, status, stops, stored_files
from marketplace.tests.factories import released_tune, released_version, ride_for
from marketplace.tests.trust import payload_hash, read_document
from users.tests.factories import UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _look_at_storage_again():
    stored_files.forget()


@pytest.fixture
def ride():
    return ride_for()


def refused(ride, refusal, **facts):
    """The refusal and the row that it left."""
    before = Download.objects.count()
    with pytest.raises(refusal) as caught:
        ride.grant(**facts)
    assert Download.objects.count() == before + 1
    row = Download.objects.order_by("-id").first()
    assert (row.outcome, row.code) == ("REFUSED", caught.value.code)
    return caught.value


class TestWhatIsGranted:
    def test_the_bytes_are_those_that_were_promised(self, ride):
        grant = ride.grant()

        data = requests.get(grant.url, timeout=10).content
        assert (len(data), hashlib.sha256(data).hexdigest()) == (grant.file["size_bytes"], grant.file["sha256"])

    def test_ranges_work_at_the_store(self, ride):
        answer = requests.get(ride.grant().url, headers={"Range": "bytes=1000-1999"}, timeout=10)

        assert (answer.status_code, len(answer.content)) == (206, 1000)

    def test_the_link_is_good_for_a_minute_at_most(self, ride):
        grant = ride.grant()

        assert "X-Amz-Expires=60" in grant.url
        assert grant.url_expires_at == ride.at + timedelta(seconds=60)

    def test_the_release_says_which_bytes_for_which_vehicles(self, ride):
        payload = read_document(ride.grant().release, "release")

        version, file = ride.version, ride.version.files.get()
        fitment = file.fitments.get()
        assert payload["_type"] == "tune-release"
        assert (payload["schema"], payload["env"], payload["channel"]) == ("1.0", "dev", "public")
        assert (payload["tune_id"], payload["tune_version_id"], payload["tune_file_id"]) == (
            str(ride.tune.pk),
            str(version.pk),
            str(file.pk),
        )
        assert (payload["version"], payload["release_counter"]) == (version.version, version.release_counter)
        assert payload["file"] == {"size_bytes": file.size_bytes, "sha256": file.sha256, "format": "BIN"}
        assert payload["image"] == {"base": 0, "size_bytes": file.image_size_bytes, "sha256": file.image_sha256}
        assert payload["fitments"] == [
            {
                "make": "Yamaha",
                "model": "MT-09",
                "year_from": 2021,
                "year_to": 2023,
                "markets": ["EU", "UK"],
                "hardware_numbers": fitment.hardware_numbers,
                "calibration_ids": fitment.calibration_ids,
                "image_size_bytes": fitment.image_size_bytes,
            }
        ]
        assert payload["calibration_id_after"] == file.calibration_id_after
        assert payload["review"]["approved_sha256"] == [file.sha256]
        assert "expires_at" not in payload

    def test_the_ticket_binds_purchase_vehicle_ecu_and_file_for_three_days(self, ride):
        grant = ride.grant(device_key="k" * 43)

        payload = read_document(grant.ticket, "ticket")
        file, ecu = ride.version.files.get(), ride.vehicle.ecu
        assert (payload["_type"], payload["channel"]) == ("flash-ticket", "public")
        assert (payload["purchase_id"], payload["vehicle_id"]) == (str(ride.purchase.pk), str(ride.vehicle.pk))
        assert payload["ecu"] == {
            "hardware_number": ecu.hardware_number,
            "calibration_id": ecu.calibration_id,
            "image_size_bytes": ecu.image_size_bytes,
        }
        assert (payload["file_sha256"], payload["file_size_bytes"]) == (file.sha256, file.size_bytes)
        assert payload["release_payload_sha256"] == payload_hash(grant.release)
        assert payload["device_key"] == "k" * 43
        assert payload["status_version_min"] == status.find_newest_status().version
        assert (payload["issued_at"], payload["expires_at"]) == (
            ride.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            (ride.at + timedelta(hours=72)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )

    def test_the_ticket_carries_the_vin_as_a_salted_tag_only(self, ride):
        grant = ride.grant()

        identity = read_document(grant.ticket, "ticket")["identity"]
        assert identity["kind"] == "VIN"
        assert identity["tag"] == hashlib.sha256((identity["salt"] + ride.vehicle.vin).encode()).hexdigest()
        assert ride.vehicle.vin not in str(read_document(grant.ticket, "ticket"))

    def test_nobody_is_named_in_a_ticket(self, ride):
        payload = read_document(ride.grant().ticket, "ticket")

        assert str(ride.buyer.pk) not in str(payload)
        assert len(payload["buyer"]) == 32

    def test_the_body_of_a_ticket_is_not_stored(self, ride):
        grant = ride.grant()

        ticket = FlashTicket.objects.get(grant_id=grant.pk)
        assert ticket.payload_sha256 == payload_hash(grant.ticket)
        assert "envelope" not in {field.name for field in FlashTicket._meta.fields}

    def test_a_ticket_reserves_the_license_for_its_vehicle(self, ride):
        ride.grant()

        license = ride.license
        assert (license.state, license.vehicle_id, license.reserved_until) == (
            LicenseState.RESERVED,
            ride.vehicle.pk,
            ride.at + timedelta(hours=72),
        )
        assert license.vehicle_identity_hashes == [bytes(ride.vehicle.vin_hash).hex()]

    def test_row_audit_and_first_grant_are_written_once_each(self, ride):
        grant = ride.grant(app_version="1.2.0")
        ride.grant()

        row = Download.objects.get(pk=grant.pk)
        assert (row.kind, row.outcome, row.code, row.vehicle_id, row.app_version) == ("GRANT", "GRANTED", "", ride.vehicle.pk, "1.2.0")
        assert AuditEvent.objects.filter(act="download.granted").count() == 2
        assert GrantedPurchase.objects.get(purchase=ride.purchase).granted_at == ride.at

    def test_a_first_grant_is_one_more_download_of_the_tune(self, ride):
        ride.grant()
        ride.grant()

        assert flashes.count_downloads(tune_id=ride.tune.pk) == 1
        ride.tune.refresh_from_db()
        assert ride.tune.download_count == 1

    def test_facts_agree_with_those_of_the_verdict(self, ride):
        facts = get_grant_facts(buyer=ride.buyer, purchase_id=ride.purchase.pk, vehicle_id=ride.vehicle.pk, app_version="", at=ride.at)

        assert facts.facts == get_vehicle_facts(owner=ride.buyer, vehicle_id=ride.vehicle.pk)

    @pytest.mark.parametrize(
        "vehicle", [{"with_ecu": False, "with_stock": False}, {"unlisted": True}, {"fuel_octane": 95, "fuel_scale": "RON"}]
    )
    def test_facts_agree_for_other_vehicles_too(self, vehicle):
        ride = ride_for(vehicle=vehicle)

        facts = get_grant_facts(buyer=ride.buyer, purchase_id=ride.purchase.pk, vehicle_id=ride.vehicle.pk, app_version="", at=ride.at)

        assert facts.facts == get_vehicle_facts(owner=ride.buyer, vehicle_id=ride.vehicle.pk)


class TestWhichFile:
    def test_the_newest_published_version_that_fits(self, ride):
        newer = released_version(ride.tune)

        assert ride.grant().version_id == newer.pk

    def test_a_newer_one_for_another_market_is_passed_over(self, ride):
        fits = ride.version
        released_version(ride.tune, fitment__markets=["US"])

        assert ride.grant().version_id == fits.pk

    def test_the_version_that_was_asked_for(self, ride):
        older = ride.version
        released_version(ride.tune)

        assert ride.grant(version=older).version_id == older.pk

    @pytest.mark.parametrize("state", [VersionStatus.ON_HOLD, VersionStatus.RECALLED])
    def test_a_stopped_newer_one_is_passed_over(self, ride, state):
        fits = ride.version
        newer = released_version(ride.tune)
        TuneVersion.objects.filter(pk=newer.pk).update(status=state, stopped_at=ride.at)

        assert ride.grant().version_id == fits.pk

    def test_owners_keep_a_withdrawn_version(self, ride):
        TuneVersion.objects.filter(pk=ride.version.pk).update(status=VersionStatus.WITHDRAWN, withdrawn_at=ride.at)

        assert ride.grant().version_id == ride.version.pk

    def test_a_version_in_review_can_not_be_had(self, ride):
        from marketplace.tests.factories import TuneVersionFactory

        secret = TuneVersionFactory(tune=ride.tune, in_review=True)

        refused(ride, exceptions.VersionNotFound, version=secret)

    def test_a_version_of_another_tune_can_not_be_had(self, ride):
        other = released_tune().versions.get()

        refused(ride, exceptions.VersionNotFound, version=other)


class TestRefusals:
    @pytest.mark.parametrize(
        ("purchase_state", "refusal"),
        [
            ("disputed", exceptions.LicenseSuspended),
            ("refunded", exceptions.LicenseRevoked),
            ("charged_back", exceptions.LicenseRevoked),
            ("canceled", exceptions.PurchaseNotPaid),
            ("expired", exceptions.PurchaseNotPaid),
        ],
    )
    def test_a_purchase_that_is_not_paid_downloads_nothing(self, purchase_state, refusal):
        refused(ride_for(paid=False, **{purchase_state: True}), refusal)

    def test_a_pending_purchase_downloads_nothing(self):
        refused(ride_for(paid=False), exceptions.PurchaseNotPaid)

    @pytest.mark.parametrize(
        ("state", "facts", "refusal"),
        [
            (LicenseState.REVOKED, {"revoked_at": "at"}, exceptions.LicenseRevoked),
            (LicenseState.SUSPENDED, {"suspended_at": "at", "suspended_from": "UNBOUND"}, exceptions.LicenseSuspended),
        ],
    )
    def test_a_license_that_staff_stopped_downloads_nothing(self, ride, state, facts, refusal):
        License.objects.filter(purchase=ride.purchase).update(
            state=state, **{name: ride.at if value == "at" else value for name, value in facts.items()}
        )

        refused(ride, refusal)

    def test_somebody_elses_purchase_is_missing_and_leaves_no_row(self, ride):
        stranger = ride_for()
        stranger.purchase, mine = ride.purchase, stranger.buyer
        request = grants.Request(buyer=mine, purchase_id=ride.purchase.pk, vehicle_id=stranger.vehicle.pk)

        with pytest.raises(exceptions.PurchaseNotFound):
            grants.grant_download(request, claim=None, at=ride.at)
        assert Download.objects.count() == 0

    def test_somebody_elses_vehicle_is_missing(self, ride):
        refused(ride, VehicleNotFound, vehicle=VehicleFactory(with_stock=True))

    def test_a_vehicle_that_it_does_not_fit_tells_why(self, ride):
        us_bike = ride.another_vehicle(market="US")

        refusal = refused(ride, exceptions.FitmentMismatch, vehicle=us_bike)
        assert [reason["code"] for reason in refusal.members["reasons"]] == ["market_mismatch"]

    def test_a_license_on_another_vehicle_names_it(self, ride):
        ride.report(ride.ticket())

        refusal = refused(ride, exceptions.VehicleMismatch, vehicle=ride.another_vehicle())
        assert refusal.members["bound_vehicle"] == str(ride.vehicle.pk)

    def test_the_same_bike_under_a_new_row_is_the_same_vehicle(self, ride):
        ride.report(ride.ticket())
        Vehicle.objects.filter(pk=ride.vehicle.pk).update(deleted_at=ride.at)

        again = ride.another_vehicle(vin=ride.vehicle.vin)

        assert ride.grant(vehicle=again).ticket is not None

    @pytest.mark.parametrize(
        ("act", "refusal"),
        [
            (
                lambda ride, staff: stops.hold_version(actor=staff, version_id=ride.version.pk, reason="Knock.", at=ride.at),
                exceptions.VersionOnHold,
            ),
            (
                lambda ride, staff: stops.recall_version(
                    actor=staff, version_id=ride.version.pk, severity="restore_stock", reason="Knock.", at=ride.at
                ),
                exceptions.VersionRecalled,
            ),
        ],
    )
    def test_a_stopped_version_says_why(self, ride, act, refusal):
        act(ride, UserFactory(admin=True))

        members = refused(ride, refusal).members
        assert members["reason"] == "Knock."
        assert members["severity"] in ("stop_flash", "restore_stock")

    @pytest.mark.parametrize(("app_version", "blocked"), [("0.9.9", True), ("1.0.0", False), ("1.0", False), ("", False), ("dev", False)])
    def test_an_app_below_the_minimum_is_refused(self, ride, app_version, blocked):
        if blocked:
            refused(ride, exceptions.AppVersionBlocked, app_version=app_version)
        else:
            assert ride.grant(app_version=app_version).ticket is not None

    def test_a_blocked_app_version_is_refused(self, ride):
        AppVersionBlock.objects.create(app_version="1.3.0", reason="Writes too fast.", blocked_at=ride.at)

        refused(ride, exceptions.AppVersionBlocked, app_version="1.3.0")
        assert ride.grant(app_version="1.3.1").ticket is not None


class TestTicketBlockers:
    def test_without_a_readout(self):
        grant = ride_for(vehicle={"with_stock": False}).grant()

        assert (grant.ticket, grant.ticket_blockers) == (None, ["ecu_readout_required", "stock_backup_required"])

    def test_without_the_size_of_the_image(self):
        assert ride_for(vehicle={"ecu_image_size_bytes": None}).grant().ticket_blockers == ["ecu_readout_required"]

    def test_without_a_stock_file(self, ride):
        StockFile.objects.filter(vehicle=ride.vehicle).delete()

        assert ride.grant().ticket_blockers == ["stock_backup_required"]
        assert ride.license.state == LicenseState.UNBOUND

    def test_a_stock_file_of_another_ecu_is_no_way_back(self, ride):
        StockFile.objects.filter(vehicle=ride.vehicle).update(hardware_number="OTHER-1")

        assert ride.grant().ticket_blockers == ["stock_backup_required"]

    @pytest.mark.parametrize(("read_back", "blockers"), [("YES", ["stock_backup_required"]), ("NO", []), ("UNKNOWN", [])])
    def test_consent_lifts_it_only_where_reading_back_is_not_certain(self, read_back, blockers):
        tune = released_tune(version__requirements={"flash_methods": ["OBD"], "read_back": read_back})
        ride = ride_for(tune)
        StockFile.objects.filter(vehicle=ride.vehicle).delete()
        NoReadBackConsentFactory(vehicle=ride.vehicle)

        assert ride.grant().ticket_blockers == blockers

    def test_after_a_dealers_update(self, ride):
        readout = EcuReadoutFactory(vehicle=ride.vehicle, calibration_id="DEALER-2", read_at=ride.at)
        Vehicle.objects.filter(pk=ride.vehicle.pk).update(ecu=readout)

        assert ride.grant().ticket_blockers == ["reflash_stock_first"]

    def test_a_stock_image_is_identity_enough(self):
        grant = ride_for(vehicle={"vin": None}).grant()

        assert read_document(grant.ticket, "ticket")["identity"]["kind"] == "STOCK_IMAGE"

    def test_without_anything_that_tells_the_vehicle_apart(self):
        tune = released_tune(version__requirements={"flash_methods": ["OBD"], "read_back": "NO"})
        ride = ride_for(tune, vehicle={"vin": None})
        StockFile.objects.filter(vehicle=ride.vehicle).delete()
        NoReadBackConsentFactory(vehicle=ride.vehicle)

        assert ride.grant().ticket_blockers == ["vehicle_identity_required"]

    def test_while_another_vehicles_ticket_is_out(self, ride):
        ride.grant()

        second = ride.grant(vehicle=ride.another_vehicle())

        assert (second.ticket, second.ticket_blockers) == (None, ["license_reserved"])
        assert ride.license.vehicle_id == ride.vehicle.pk

    def test_after_that_ticket_ran_out(self, ride):
        ride.grant()
        other = ride.another_vehicle()

        assert ride.grant(vehicle=other, at=ride.at + timedelta(hours=73)).ticket is not None
        assert ride.license.vehicle_id == other.pk

    def test_after_two_tickets_ran_out_unreported(self, ride):
        for day in (0, 4):
            at = ride.at + timedelta(days=day)
            ride.grant(at=at)
            assert not Case.objects.exists()
            flashes.expire_tickets(at=at + timedelta(hours=73))
            flashes.expire_tickets(at=at + timedelta(hours=74))

        assert ride.grant(at=ride.at + timedelta(days=8)).ticket_blockers == ["unreported_tickets"]
        assert Case.objects.values_list("purchase_id", "kind", "status").get() == (ride.purchase.pk, "OTHER", "WAITING_STAFF")
        assert ride.grant(at=ride.at + timedelta(days=400)).ticket is not None


class TestFreshLinks:
    def test_lead_to_the_same_grant_with_the_very_same_ticket(self, ride):
        grant = ride.grant()

        again = grants.renew_link(buyer=ride.buyer, download_id=grant.pk, at=ride.at + timedelta(hours=1))

        assert (again.pk, again.ticket, again.release) == (grant.pk, grant.ticket, grant.release)
        assert requests.get(again.url, timeout=10).status_code == 200
        assert list(Download.objects.values_list("kind", "grant_id").order_by("id")) == [("GRANT", None), ("LINK", grant.pk)]
        assert FlashTicket.objects.count() == 1

    def test_carry_no_ticket_once_it_ran_out_or_was_reported(self, ride):
        grant = ride.grant()

        late = grants.renew_link(buyer=ride.buyer, download_id=grant.pk, at=ride.at + timedelta(hours=72))
        assert (late.ticket, late.ticket_blockers) == (None, ["ticket_used_up"])

    def test_carry_no_ticket_once_the_identity_changed(self, ride):
        grant = ride.grant()
        Vehicle.objects.filter(pk=ride.vehicle.pk).update(vin="JYARN53E1MA000077")

        assert grants.renew_link(buyer=ride.buyer, download_id=grant.pk, at=ride.at).ticket is None

    def test_make_all_checks_again(self, ride):
        grant = ride.grant()
        stops.recall_version(actor=UserFactory(admin=True), version_id=ride.version.pk, severity="info", reason="Wrong axis.", at=ride.at)

        with pytest.raises(exceptions.VersionRecalled):
            grants.renew_link(buyer=ride.buyer, download_id=grant.pk, at=ride.at)
        row = Download.objects.order_by("-id").first()
        assert (row.kind, row.outcome, row.code, row.grant_id) == ("LINK", "REFUSED", "version_recalled", grant.pk)

    def test_of_somebody_else_are_missing(self, ride):
        grant = ride.grant()

        with pytest.raises(exceptions.DownloadNotFound):
            grants.renew_link(buyer=UserFactory(), download_id=grant.pk, at=ride.at)

    def test_of_a_refusal_are_missing(self, ride):
        refused(ride, VehicleNotFound, vehicle=VehicleFactory())

        with pytest.raises(exceptions.DownloadNotFound):
            grants.renew_link(buyer=ride.buyer, download_id=Download.objects.get().pk, at=ride.at)


class TestStorage:
    def test_touched_bytes_are_never_handed_out(self, ride):
        file = ride.version.files.get()
        storage.put_bytes(file.storage_key, b"\x00" * file.size_bytes, "application/octet-stream")

        refused(ride, exceptions.IntegrityError)
        assert ride.version.status == VersionStatus.ON_HOLD

    def test_bytes_that_were_touched_after_the_first_grant_are_noticed(self, ride):
        ride.grant()
        file = ride.version.files.get()
        storage.put_bytes(file.storage_key, b"\x01" * file.size_bytes, "application/octet-stream")
        stored_files.forget()

        refused(ride, exceptions.IntegrityError)

    def test_missing_bytes_stop_the_version(self, ride):
        storage.delete(ride.version.files.get().storage_key)

        refused(ride, exceptions.IntegrityError)
        assert ride.version.stops.get().source == "SYSTEM"

    def test_an_outage_leaves_nothing_behind(self, ride, settings):
        status.publish_status(at=ride.at)
        settings.S3_ENDPOINT_URL = "http://127.0.0.1:9"
        storage.reset()
        try:
            with pytest.raises(ServiceUnavailable) as caught:
                ride.grant()
        finally:
            settings.S3_ENDPOINT_URL = settings.S3_PUBLIC_ENDPOINT_URL
            storage.reset()

        assert caught.value.members["service"] == "storage"
        assert Download.objects.count() == FlashTicket.objects.count() == 0
        assert ride.license.state == LicenseState.UNBOUND

    def test_the_daily_check_finds_what_nobody_downloads(self, ride):
        assert stored_files.check_stored(at=ride.at) == 0
        file = ride.version.files.get()
        storage.put_bytes(file.storage_key, b"\x02" * file.size_bytes, "application/octet-stream")

        assert stored_files.check_stored(at=ride.at + timedelta(days=1)) == 1
        assert ride.version.status == VersionStatus.ON_HOLD


class TestWhatPostgresKeeps:
    @pytest.mark.parametrize(
        "sql", ["UPDATE marketplace_download SET code = 'x'", "DELETE FROM marketplace_download", "TRUNCATE marketplace_download CASCADE"]
    )
    def test_the_log_of_downloads_only_grows(self, ride, sql):
        ride.grant()

        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            with pytest.raises(DatabaseRefusal, match="append-only"), transaction.atomic():
                cursor.execute(sql)

    def test_a_refusal_without_a_code_is_impossible(self, ride):
        with pytest.raises(DatabaseRefusal, match="download_refused_iff_code"), transaction.atomic():
            Download.objects.create(purchase=ride.purchase, buyer=ride.buyer, outcome="REFUSED", created_at=ride.at)

    def test_a_ticket_is_final(self, ride):
        ticket = ride.ticket()

        with pytest.raises(DatabaseRefusal, match="flash_ticket_is_final"), transaction.atomic():
            FlashTicket.objects.filter(pk=ticket.pk).update(expires_at=ride.at + timedelta(days=99))

    def test_a_signed_release_is_final(self, ride):
        release = ride.version.releases.get()

        with pytest.raises(DatabaseRefusal, match="release_is_final"), transaction.atomic():
            type(release).objects.filter(pk=release.pk).update(payload_sha256="0" * 64)


@pytest.mark.django_db(transaction=True)
class TestRaces:
    """On real connections: a grant against itself and against everything that may stop it."""

    def test_twenty_parallel_grants_are_twenty_rows_and_one_license(self):
        ride = ride_for()
        status.publish_status(at=ride.at)

        assert race(ride.grant, times=20) == ["ok"] * 20

        assert Download.objects.filter(outcome="GRANTED").count() == 20
        assert License.objects.count() == GrantedPurchase.objects.count() == 1
        assert (ride.license.state, ride.license.vehicle_id) == (LicenseState.RESERVED, ride.vehicle.pk)

    def test_two_vehicles_at_once_get_one_ticket(self):
        ride = ride_for()
        other = ride.another_vehicle()
        status.publish_status(at=ride.at)

        assert race_all([ride.grant, lambda: ride.grant(vehicle=other)]) == ["ok", "ok"]

        assert FlashTicket.objects.count() == 1
        assert Download.objects.filter(outcome="GRANTED").count() == 2

    def test_a_grant_against_a_refund_has_one_winner(self):
        ride = ride_for()
        status.publish_status(at=ride.at)

        def refund():
            with transaction.atomic():
                Purchase.objects.select_for_update(no_key=True).get(pk=ride.purchase.pk)
                if not GrantedPurchase.objects.filter(purchase=ride.purchase).exists():
                    self._refund(ride)

        race_all([refund, ride.grant])

        assert self._granted(ride) != self._refunded(ride)

    def test_control_without_the_lock_both_win(self):
        ride = ride_for()
        status.publish_status(at=ride.at)
        request = grants.Request(buyer=ride.buyer, purchase_id=ride.purchase.pk, vehicle_id=ride.vehicle.pk)
        seen, choice = grants._decide_or_note(request, kind=DownloadKind.GRANT, grant_id=None, at=ride.at)

        def commit():
            with transaction.atomic():
                grants._write(
                    request, seen, choice, download_id=new_id(), kind=DownloadKind.GRANT, grant_id=None, blockers=["x"], at=ride.at
                )

        def refund():
            with transaction.atomic():
                purchase = (
                    Purchase.objects.select_for_update(no_key=True, of=("self",))
                    .annotate(was_granted=Exists(GrantedPurchase.objects.filter(purchase=OuterRef("pk"))))
                    .get(pk=ride.purchase.pk)
                )
                if not purchase.was_granted:
                    self._refund(ride)

        race_all([refund, commit], row_locks=False)

        assert self._granted(ride) and self._refunded(ride)

    @staticmethod
    def _refund(ride):
        Purchase.objects.filter(pk=ride.purchase.pk).update(status=PurchaseStatus.REFUNDED, refunded_minor=ride.purchase.captured_minor)

    @staticmethod
    def _granted(ride):
        return Download.objects.filter(outcome="GRANTED").exists()

    @staticmethod
    def _refunded(ride):
        return Purchase.objects.filter(pk=ride.purchase.pk, status=PurchaseStatus.REFUNDED).exists()

    @pytest.mark.parametrize("stop", ["hold", "recall"])
    def test_no_grant_is_committed_after_a_stop(self, stop):
        ride, staff = ride_for(), UserFactory(admin=True)
        status.publish_status(at=ride.at)
        facts = {"actor": staff, "version_id": ride.version.pk, "reason": "Knock.", "at": ride.at}
        act = (lambda: stops.hold_version(**facts)) if stop == "hold" else (lambda: stops.recall_version(severity="info", **facts))

        outcomes = race_all([act, ride.grant, ride.grant])

        assert outcomes.count("ok") >= 1
        assert set(outcomes) <= {"ok", "version_on_hold", "version_recalled"}
        granted = Download.objects.filter(outcome="GRANTED").count()
        assert granted == outcomes.count("ok") - 1
        with pytest.raises((exceptions.VersionOnHold, exceptions.VersionRecalled)):
            ride.grant()
