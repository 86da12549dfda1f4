"""Test tickets: a tuner's own vehicle, an own version that nobody has decided on, and a phone that takes both for nobody else."""

import json
from datetime import timedelta

import pytest
import requests
from django.db import connection

from core import clock, signing, storage
from core.idempotency import Claim
from core.ids import new_id
from core.models import AuditEvent
from core.testing.http import client_for
from core.testing.races import race
from core.testing.tasks import run_all
from garage.tests.factories import VehicleFactory
from marketplace.enums import FlashOutcome, ReleaseChannel, VersionStatus
from marketplace.models import Case, Flash, FlashTicket, License, Release, TuneVersion, VersionStop
from marketplace.services import review, status, stored_files
from marketplace.services.tuner_tickets import issue_test_ticket
from marketplace.tests.factories import TuneFactory, TuneVersionFactory, released_tune, ride_for
from marketplace.tests.factories.trust import VIN
from marketplace.tests.test_verifier import readout_of
from tools.verify_download import verify_flash
from tuners.tests.factories import TunerProfileFactory
from users.models import Notice
from users.services import delete_account
from users.tests.factories import UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _look_at_storage_again():
    stored_files.forget()


class Bench:
    """A tuner with a second factor, a vehicle of their own that is read out and saved, and a validated version for it."""

    def __init__(self, tune=None, **state):
        self.tune = tune or TuneFactory(tuner__user__mfa=True)
        self.tuner = self.tune.tuner.user
        self.vehicle = VehicleFactory(owner=self.tuner, with_stock=True, vin=VIN)
        self.version = TuneVersionFactory(tune=self.tune, stored=True, **(state or {"validated": True}))
        self.client = client_for(self.tuner)

    def ask(self, **given):
        body = {"vehicle": str(given.pop("vehicle", self.vehicle).pk)} | given.pop("body", {})
        return self.client.post(f"marketplace/versions/{given.pop('version', self.version).pk}/test-tickets/", body, **given)

    def report(self, ticket_id, outcome=FlashOutcome.SUCCEEDED):
        body = {
            "id": str(new_id()),
            "ticket_id": str(ticket_id),
            "outcome": outcome,
            "app_version": "1.0.0",
            "flashed_at": clock.now().isoformat(),
        }
        return self.client.post("marketplace/flashes/", body)


@pytest.fixture
def bench():
    return Bench()


def judge(bench, grant, *, release=None, ticket=None):
    data = requests.get(grant["url"], timeout=10).content
    return verify_flash(
        pinned_root=json.loads(json.dumps(signing.root_envelope(1))),
        status=json.loads(json.dumps(status.publish_status(at=clock.now()).envelope)),
        app_version="1.0.0",
        release=release or grant["release"],
        ticket=ticket or grant["ticket"],
        file=[data],
        readout=readout_of(bench.vehicle),
        has_way_back=True,
        at=clock.now(),
    ).code


class TestATicket:
    @pytest.mark.parametrize("state", ["validated", "in_review", "changes_requested"])
    def test_a_phone_takes_it_for_the_tuners_own_vehicle(self, state):
        bench = Bench(**{state: True})

        answer = bench.ask()

        assert answer.status_code == 201, answer.content
        grant = answer.json()
        assert (grant["ticket_blockers"], grant["version"]) == ([], str(bench.version.pk))
        assert judge(bench, grant) == "ok"
        ticket = FlashTicket.objects.get(pk=grant["id"])
        assert (ticket.channel, ticket.license_id, ticket.purchase_id, ticket.holder_id) == ("test", None, None, bench.tuner.pk)
        assert timedelta(0) < Release.objects.get(version=bench.version).issued_at + timedelta(minutes=1) - clock.now()
        assert AuditEvent.objects.filter(act="test_ticket.issued", subject_id=bench.version.pk, actor_id=bench.tuner.pk).count() == 1

    def test_channels_never_mix(self, bench):
        """Neither unreviewed bytes with a rider's ticket, nor a tuner's ticket with what is on sale."""
        test = bench.ask().json()
        ride = ride_for(released_tune())
        sold = ride.grant()
        bench.vehicle = ride.vehicle

        assert judge(bench, test, ticket=json.loads(json.dumps(sold.ticket))) == "wrong_channel"
        assert judge(bench, test, release=json.loads(json.dumps(sold.release))) == "wrong_channel"

    def test_the_link_is_good_for_a_minute(self, bench):
        grant = bench.ask().json()
        assert "X-Amz-Expires=60" in grant["url"]

    def test_asking_again_keeps_the_release_until_words_change(self, bench):
        first, second = bench.ask().json(), bench.ask().json()
        assert first["release"] == second["release"]
        assert first["id"] != second["id"]

        bench.client.patch(f"marketplace/versions/{bench.version.pk}/", {"emissions_class": "UNCHANGED"})
        third = bench.ask().json()

        assert third["release"] != first["release"]
        assert judge(bench, third) == "ok"
        assert Release.objects.filter(version=bench.version, superseded_at=None).count() == 1
        assert Release.objects.filter(version=bench.version).count() == 2

    def test_a_repeated_request_gets_the_very_same_ticket(self, bench):
        key = {"HTTP_IDEMPOTENCY_KEY": "once"}
        first, again = bench.ask(**key), bench.ask(**key)
        assert (again["Idempotency-Replayed"], again.json()["ticket"]) == ("true", first.json()["ticket"])
        assert FlashTicket.objects.count() == 1

        bench.report(first.json()["id"])
        used = bench.ask(**key).json()
        assert (used["ticket"], used["ticket_blockers"]) == (None, ["ticket_used_up"])


class TestRefusals:
    def test_what_keeps_a_rider_from_a_flash_keeps_a_tuner_from_it_too(self, bench):
        bare = VehicleFactory(owner=bench.tuner)
        read = VehicleFactory(owner=bench.tuner, with_ecu=True)

        assert bench.ask(vehicle=bare).json()["ticket_blockers"] == [
            *("ecu_readout_required", "stock_backup_required", "vehicle_identity_required"),
        ]
        answer = bench.ask(vehicle=read)
        assert (answer.status_code, answer.json()["code"]) == (409, "ticket_blocked")
        assert answer.json()["ticket_blockers"] == ["stock_backup_required", "vehicle_identity_required"]
        assert not FlashTicket.objects.exists() and not Release.objects.exists()

    def test_a_calibration_that_the_release_does_not_know_is_reflashed_first(self, bench):
        bench.client.put(
            f"garage/vehicles/{bench.vehicle.pk}/ecu/",
            {
                "hardware_number": bench.vehicle.ecu.hardware_number,
                "calibration_id": "SOMETHING-ELSE",
                "image_size_bytes": bench.vehicle.ecu.image_size_bytes,
                "read_at": clock.now().isoformat(),
            },
        )
        assert bench.ask().json()["ticket_blockers"] == ["reflash_stock_first"]

    def test_another_bike_does_not_fit(self, bench):
        other = VehicleFactory(owner=bench.tuner, with_stock=True, year=1999)
        assert bench.ask(vehicle=other).json()["code"] == "fitment_mismatch"

    def test_somebody_elses_vehicle_or_version_does_not_exist(self, bench):
        assert bench.ask(vehicle=VehicleFactory(with_stock=True, vin=VIN)).status_code == 404
        assert bench.ask(version=TuneVersionFactory(validated=True, stored=True)).status_code == 404

    @pytest.mark.parametrize("state", ["invalid", "rejected", "published", "on_hold", "recalled", "withdrawn"])
    def test_only_what_is_inspected_and_not_decided(self, state):
        bench = Bench(**{state: True})
        answer = bench.ask()
        assert (answer.status_code, answer.json()["code"], answer.json()["state"]) == (409, "invalid_transition", bench.version.status)

    def test_not_while_it_is_being_inspected(self):
        tune = TuneFactory(tuner__user__mfa=True)
        bench = Bench(tune)
        waiting = TuneVersionFactory(tune=tune)
        assert bench.ask(version=waiting).json()["code"] == "invalid_transition"

    def test_who_can_t_publish_can_t_test(self):
        answer = Bench(TuneFactory(tuner__user__mfa=False)).ask()
        assert (answer.status_code, answer.json()["code"], answer.json()["blockers"]) == (409, "publish_blocked", ["mfa_required"])
        suspended = Bench(TuneFactory(tuner=TunerProfileFactory(suspended=True, user__mfa=True)))
        assert suspended.ask().json()["code"] == "tuner_suspended"

    def test_a_suspended_tune_is_not_tested(self):
        bench = Bench(TuneFactory(suspended=True, tuner__user__mfa=True))
        assert bench.ask().json()["code"] == "tune_suspended"

    def test_bytes_that_are_not_the_inspected_ones_are_not_flashed(self, bench):
        storage.put_bytes(bench.version.files.get().storage_key, b"other bytes", "application/octet-stream")
        assert bench.ask().json()["code"] == "integrity_error"

    def test_a_version_that_keeps_moving_ends_in_a_refusal(self, bench):
        def move(execute, sql, params, many, context):
            if "FOR NO KEY UPDATE" in sql and "marketplace_tuneversion" in sql:
                execute("UPDATE marketplace_tuneversion SET revision = revision + 1 WHERE id = %s", [bench.version.pk], False, context)
            return execute(sql, params, many, context)

        with connection.execute_wrapper(move):
            answer = bench.ask()

        assert (answer.status_code, answer.json()["code"]) == (409, "grant_refused")
        assert not FlashTicket.objects.exists()


class TestReports:
    @pytest.mark.parametrize("outcome", FlashOutcome.values)
    def test_they_count_for_nobody(self, bench, outcome):
        grant = bench.ask().json()

        answer = bench.report(grant["id"], outcome)

        assert (answer.status_code, answer.json()["license_state"]) == (201, "")
        run_all()
        bench.tune.refresh_from_db()
        assert (bench.tune.flash_count, bench.tune.flash_success_count) == (0, 0)
        assert not License.objects.exists() and not Case.objects.exists() and not VersionStop.objects.exists()
        assert Flash.objects.get().counts_as_hard_failure is False
        assert not Notice.objects.filter(type="FLASH").exists()

    def test_two_failed_tests_hold_nothing(self, bench):
        for _ in range(2):
            bench.report(bench.ask().json()["id"], FlashOutcome.FAILED_DURING_WRITE)
        run_all()
        bench.version.refresh_from_db()
        assert bench.version.status == VersionStatus.VALIDATED

    def test_a_tested_version_stays(self, bench):
        bench.ask()

        answer = bench.client.delete(f"marketplace/versions/{bench.version.pk}/")

        assert (answer.status_code, answer.json()["code"]) == (409, "version_was_tested")
        assert TuneVersion.objects.filter(pk=bench.version.pk).exists()

    def test_a_tuner_who_leaves_leaves_the_tested_version_only(self, bench):
        bench.ask()
        draft = TuneVersionFactory(tune=bench.tune, validated=True)

        delete_account(user=bench.tuner, session=bench.client.device, stock_files_saved=True, at=clock.now())

        assert TuneVersion.objects.filter(pk=bench.version.pk).exists()
        assert not TuneVersion.objects.filter(pk=draft.pk).exists()

    def test_a_tested_version_is_published_like_any_other(self, bench):
        bench.ask()
        assert bench.client.post(f"marketplace/versions/{bench.version.pk}/submit/").status_code == 200
        file = bench.version.files.get()

        review.publish_tune_version(
            version_id=bench.version.pk, reviewer=UserFactory(admin=True, mfa=True), approved_sha256=[file.sha256], note="", at=clock.now()
        )

        channels = Release.objects.filter(file=file, superseded_at=None).values_list("channel", flat=True)
        assert sorted(channels) == [ReleaseChannel.PUBLIC, ReleaseChannel.TEST]
        assert bench.ask().json()["code"] == "invalid_transition"


@pytest.mark.django_db(transaction=True)
def test_two_at_once_make_one_release():
    bench = Bench()
    ids = {"version_id": bench.version.pk, "vehicle_id": bench.vehicle.pk}

    outcomes = race(lambda: issue_test_ticket(author=bench.tuner, claim=Claim(), at=clock.now(), **ids))

    assert outcomes == ["ok", "ok"]
    release = Release.objects.get(version=bench.version)
    assert FlashTicket.objects.count() == 2
    assert release.superseded_at is None
