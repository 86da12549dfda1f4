"""Flash reports: in any order, late and twice, one truth comes out for license, vehicle, statistics and version."""

import itertools
from collections import Counter
from datetime import timedelta

import pytest
from django.db import IntegrityError as DatabaseRefusal
from django.db import transaction

from core import clock
from core.exceptions import IdTaken, InvalidInput
from core.ids import new_id
from core.testing.races import race, race_all
from core.testing.tasks import run_all
from marketplace import exceptions
from marketplace.enums import FlashOutcome, LicenseState, PurchaseStatus, VersionStatus
from marketplace.models import Case, Flash, FlashTicket, License, Purchase
from marketplace.services import flashes, status
from marketplace.services.licenses import release_license
from marketplace.services.stops import release_hold
from marketplace.tests.factories import released_tune, ride_for
from users.models import Notice, User
from users.tests.factories import UserFactory

pytestmark = pytest.mark.django_db

SUCCEEDED, FAILED = FlashOutcome.SUCCEEDED, FlashOutcome.FAILED_DURING_WRITE


@pytest.fixture
def ride():
    return ride_for()


def old_account(ride):
    """An account of which a failure counts."""
    User.objects.filter(pk=ride.buyer.pk).update(created_at=ride.at - timedelta(days=30))
    ride.buyer.refresh_from_db()
    return ride


class TestLicense:
    def test_the_first_success_binds_it(self, ride):
        report = ride.report(ride.ticket())

        license = ride.license
        assert report.flash.license_state == license.state == LicenseState.BOUND
        assert (license.vehicle_id, license.bound_at) == (ride.vehicle.pk, ride.at + timedelta(minutes=10))
        assert license.vehicle_identity_hashes == [bytes(ride.vehicle.vin_hash).hex()]

    @pytest.mark.parametrize("outcome", [outcome for outcome in FlashOutcome if outcome != SUCCEEDED])
    def test_anything_else_frees_the_reservation(self, ride, outcome):
        ride.report(ride.ticket(), outcome)

        assert (ride.license.state, ride.license.vehicle_id) == (LicenseState.UNBOUND, None)

    def test_a_failure_leaves_the_reservation_of_a_later_ticket_alone(self, ride):
        first, _second = ride.ticket(), ride.ticket(at=ride.at + timedelta(minutes=1))

        ride.report(first, FAILED)

        assert ride.license.state == LicenseState.RESERVED

    @pytest.mark.parametrize("order", list(itertools.permutations([FAILED, SUCCEEDED, FlashOutcome.FAILED_BEFORE_WRITE])))
    def test_the_order_of_reports_does_not_matter(self, ride, order):
        ticket = ride.ticket()

        for minutes, outcome in enumerate(order):
            ride.report(ticket, outcome, at=ride.at + timedelta(minutes=minutes))

        assert (ride.license.state, ride.license.vehicle_id) == (LicenseState.BOUND, ride.vehicle.pk)

    def test_a_success_days_after_its_ticket_ran_out_binds_it(self, ride):
        ticket = ride.ticket()
        flashes.expire_tickets(at=ride.at + timedelta(hours=73))
        assert ride.license.state == LicenseState.UNBOUND

        ride.report(ticket, at=ride.at + timedelta(days=9))

        assert ride.license.state == LicenseState.BOUND
        ticket.refresh_from_db()
        assert (ticket.reported_at is not None, ticket.expired_unreported_at) == (True, None)

    def test_the_first_confirmed_flash_wins_over_a_newer_reservation(self, ride):
        first = ride.ticket()
        other = ride.another_vehicle()
        ride.grant(vehicle=other, at=ride.at + timedelta(hours=73))

        ride.report(first, at=ride.at + timedelta(hours=74))

        assert (ride.license.state, ride.license.vehicle_id) == (LicenseState.BOUND, ride.vehicle.pk)

    def test_a_late_success_elsewhere_is_kept_flagged_and_spends_the_release(self, ride):
        first = ride.ticket()
        other = ride.another_vehicle()
        second = ride.ticket(vehicle=other, at=ride.at + timedelta(hours=73))
        ride.report(second, at=ride.at + timedelta(hours=74))

        late = ride.report(first, at=ride.at + timedelta(hours=75)).flash

        assert late.bound_elsewhere
        assert (ride.license.vehicle_id, ride.license.released_by_holder_at) == (other.pk, ride.at + timedelta(hours=75))

    def test_an_old_report_does_not_bind_a_released_license_again(self, ride):
        ticket = ride.ticket()
        ride.report(ticket, at=ride.at + timedelta(hours=1))
        release_license(holder=ride.buyer, purchase_id=ride.purchase.pk, reason="sold", at=ride.at + timedelta(hours=2))

        ride.report(ticket, at=ride.at + timedelta(hours=3))

        assert ride.license.state == LicenseState.UNBOUND

    def test_a_suspended_license_remembers_what_it_returns_to(self, ride):
        ticket = ride.ticket()
        License.objects.filter(purchase=ride.purchase).update(
            state=LicenseState.SUSPENDED, suspended_from=LicenseState.RESERVED, suspended_at=ride.at
        )

        report = ride.report(ticket).flash

        assert (report.license_state, ride.license.suspended_from) == (LicenseState.SUSPENDED, LicenseState.BOUND)
        assert ride.license.vehicle_id == ride.vehicle.pk

    def test_a_revoked_license_stays_revoked(self, ride):
        ticket = ride.ticket()
        License.objects.filter(purchase=ride.purchase).update(state=LicenseState.REVOKED, revoked_at=ride.at)

        assert ride.report(ticket).flash.license_state == LicenseState.REVOKED


class TestReports:
    def test_sent_twice_is_one(self, ride):
        ticket, body = ride.ticket(), {"id": new_id(), "flashed_at": ride.at}

        first, second = ride.report(ticket, **body), ride.report(ticket, **body)

        assert (first.created, second.created, first.pk) == (True, False, second.pk)
        assert Flash.objects.count() == 1
        ride.tune.refresh_from_db()
        assert (ride.tune.flash_count, ride.tune.flash_success_count) == (1, 1)

    def test_another_body_under_the_same_id_is_refused(self, ride):
        ticket, body = ride.ticket(), {"id": new_id(), "flashed_at": ride.at}
        ride.report(ticket, **body)

        with pytest.raises(IdTaken):
            ride.report(ticket, FAILED, **body)

    def test_somebody_elses_id_is_taken(self, ride):
        taken = ride.report(ride.ticket()).pk
        other = ride_for(ride.tune, vehicle={"vin": "JYARN53E1MA000055"})

        with pytest.raises(IdTaken):
            other.report(other.ticket(), id=taken)

    def test_somebody_elses_ticket_is_missing(self, ride):
        other = ride_for(ride.tune, vehicle={"vin": "JYARN53E1MA000055"})

        with pytest.raises(exceptions.TicketNotFound):
            other.report(ride.ticket())

    def test_a_flash_in_the_future_is_refused(self, ride):
        with pytest.raises(InvalidInput):
            ride.report(ride.ticket(), flashed_at=ride.at + timedelta(days=2))

    @pytest.mark.parametrize(
        ("outcomes", "figures"),
        [
            ([SUCCEEDED, SUCCEEDED], (2, 2)),
            ([SUCCEEDED, FAILED], (2, 1)),
            ([FlashOutcome.FAILED_BEFORE_WRITE, FlashOutcome.RESTORED], (0, 0)),
        ],
    )
    def test_only_writes_count(self, ride, outcomes, figures):
        ticket = ride.ticket()

        for outcome in outcomes:
            ride.report(ticket, outcome)

        ride.tune.refresh_from_db()
        assert (ride.tune.flash_count, ride.tune.flash_success_count) == figures

    def test_only_grow(self, ride):
        ride.report(ride.ticket())

        with pytest.raises(DatabaseRefusal, match="append-only"), transaction.atomic():
            Flash.objects.update(outcome=FAILED)


class TestVehicle:
    def test_knows_what_is_installed(self, ride):
        ride.report(ride.ticket(), ecu_after={"hardware_number": "RSH-4711-A", "calibration_id": "RSC-210-T9"})

        ride.vehicle.refresh_from_db()
        assert ride.vehicle.installed_tune_version_id == ride.version.pk
        assert ride.vehicle.installed_calibration_id == "RSC-210-T9"

    def test_is_back_on_stock_after_a_restore_even_if_the_flash_is_reported_later(self, ride):
        ticket = ride.ticket()
        ride.report(ticket, FlashOutcome.RESTORED, flashed_at=ride.at + timedelta(minutes=5))

        ride.report(ticket, SUCCEEDED, flashed_at=ride.at + timedelta(minutes=2))

        ride.vehicle.refresh_from_db()
        assert ride.vehicle.installed_tune_id is None

    def test_the_next_version_fits_after_a_flash(self, ride):
        ride.report(ride.ticket())

        assert ride.grant(at=ride.at + timedelta(hours=1)).ticket is not None


class TestExpiredTickets:
    def test_free_what_they_reserved(self, ride):
        ride.ticket()

        assert flashes.expire_tickets(at=ride.at + timedelta(hours=71)) == 0
        assert flashes.expire_tickets(at=ride.at + timedelta(hours=72)) == 1
        assert flashes.expire_tickets(at=ride.at + timedelta(hours=73)) == 0
        assert ride.license.state == LicenseState.UNBOUND

    def test_leave_a_bound_license_alone(self, ride):
        ride.report(ride.ticket())
        ride.ticket(at=ride.at + timedelta(hours=1))

        assert flashes.expire_tickets(at=ride.at + timedelta(days=9)) == 0
        assert ride.license.state == LicenseState.BOUND

    def test_leave_a_newer_reservation_alone(self, ride):
        ride.ticket()
        ride.ticket(at=ride.at + timedelta(hours=10))

        flashes.expire_tickets(at=ride.at + timedelta(hours=73))

        assert ride.license.state == LicenseState.RESERVED


class TestAutomaticHold:
    def rides(self, *, free=False):
        tune = released_tune(free=free)
        return [ride_for(tune, vehicle={"vin": f"JYARN53E1MA00010{number}"}) for number in range(3)]

    def fail(self, ride, *, hours=0, outcome=FAILED):
        ride.report(ride.ticket(), outcome, at=ride.at + timedelta(hours=hours))
        run_all()

    def test_two_buyers_within_a_day_stop_the_version(self):
        first, second, _ = map(old_account, self.rides())

        self.fail(first)
        assert first.version.status == VersionStatus.PUBLISHED
        self.fail(second, hours=23, outcome=FlashOutcome.VERIFY_FAILED)

        assert first.version.status == VersionStatus.ON_HOLD
        assert first.version.stops.get().source == "SYSTEM"
        assert status.find_newest_status().stopped[0]["state"] == "on_hold"

    def test_one_buyer_twice_does_not(self):
        first, *_ = map(old_account, self.rides())

        self.fail(first)
        self.fail(first, hours=1)

        assert first.version.status == VersionStatus.PUBLISHED

    def test_two_buyers_a_day_apart_do_not(self):
        first, second, _ = map(old_account, self.rides())

        self.fail(first)
        self.fail(second, hours=24)

        assert first.version.status == VersionStatus.PUBLISHED

    def test_failures_before_the_write_do_not(self):
        first, second, _ = map(old_account, self.rides())

        self.fail(first, outcome=FlashOutcome.FAILED_BEFORE_WRITE)
        self.fail(second, outcome=FlashOutcome.FAILED_BEFORE_WRITE)

        assert first.version.status == VersionStatus.PUBLISHED

    def test_throw_away_accounts_with_free_tunes_do_not(self):
        first, second, third = self.rides(free=True)

        self.fail(first)
        self.fail(second)
        assert first.version.status == VersionStatus.PUBLISHED
        self.fail(old_account(third))

        assert first.version.status == VersionStatus.PUBLISHED

    def test_what_was_refunded_is_not_owned(self):
        first, second, _ = self.rides()
        ticket = second.ticket()
        Purchase.objects.filter(pk=second.purchase.pk).update(
            status=PurchaseStatus.REFUNDED, refunded_minor=second.purchase.captured_minor
        )
        License.objects.filter(purchase=second.purchase).update(state=LicenseState.REVOKED, revoked_at=second.at)

        self.fail(first)
        second.report(ticket, FAILED)
        run_all()

        assert first.version.status == VersionStatus.PUBLISHED
        assert list(Flash.objects.order_by("received_at").values_list("counts_as_hard_failure", flat=True)).count(True) == 1

    def test_a_young_account_that_paid_counts(self):
        first, second, _ = self.rides()

        self.fail(first)
        self.fail(second)

        assert first.version.status == VersionStatus.ON_HOLD

    def test_a_hold_that_staff_released_is_not_made_again_by_the_same_failures(self):
        first, second, third = map(old_account, self.rides())
        for ride in (first, second, third):
            ride.at -= timedelta(hours=10)
        self.fail(first)
        self.fail(second, hours=1)
        admin = UserFactory(admin=True)
        release_hold(actor=admin, version_id=first.version.pk, reason="A bad cable.", at=clock.now())

        for flash_id in Flash.objects.values_list("pk", flat=True):
            assert not flashes.judge_failures(flash_id=flash_id, at=clock.now())
        assert first.version.status == VersionStatus.PUBLISHED
        third.report(third.ticket(), FAILED, at=clock.now())
        run_all()
        assert first.version.status == VersionStatus.ON_HOLD

    def test_one_failure_alone_opens_one_case_and_tells_rider_tuner_and_staff(self):
        ride, *_ = self.rides()
        admin = UserFactory(admin=True)
        body = {"id": new_id(), "flashed_at": ride.at}
        ride.report(ticket := ride.ticket(), FAILED, **body)
        assert Case.objects.get().flash_id == body["id"]  # at once: with the report
        run_all()
        ride.report(ticket, FAILED, **body)  # the answer was lost, and the task runs again
        flashes.judge_failures(flash_id=body["id"], at=ride.at)
        run_all()

        case = Case.objects.get()
        assert (case.kind, case.purchase, case.messages.get().author) == ("FLASH_FAILURE", ride.purchase, "SYSTEM")
        told = Counter(Notice.objects.values_list("user_id", "type"))
        assert told[(ride.buyer.pk, "FLASH")] == 1 and told[(ride.buyer.pk, "CASE")] == 0  # one notice, which names the case
        assert told[(ride.tune.tuner.user_id, "CASE")] == 1 and told[(ride.tune.tuner.user_id, "FLASH")] == 0
        assert told[(admin.pk, "FLASH")] == 1
        assert max(told.values()) == 1

    def test_a_second_failure_is_one_more_message_of_the_case(self):
        ride, *_ = self.rides()
        ticket = ride.ticket()

        ride.report(ticket, FAILED)
        ride.report(ticket, FlashOutcome.VERIFY_FAILED)
        ride.report(ticket, FlashOutcome.FAILED_BEFORE_WRITE)

        assert Case.objects.get().messages.count() == 2


@pytest.mark.django_db(transaction=True)
class TestRaces:
    def test_one_report_sent_five_times_at_once_is_one(self):
        ride = ride_for()
        ticket, body = ride.ticket(), {"id": new_id(), "flashed_at": ride.at}

        assert race(lambda: ride.report(ticket, **body), times=5) == ["ok"] * 5

        assert Flash.objects.count() == 1
        ride.tune.refresh_from_db()
        assert ride.tune.flash_count == 1

    def test_two_vehicles_that_report_at_once_leave_one_bound(self):
        ride, other_ticket = self.with_two_tickets()
        first = FlashTicket.objects.order_by("id").first()
        at = ride.at + timedelta(hours=80)

        race_all([lambda: ride.report(first, at=at), lambda: ride.report(other_ticket, at=at)])

        assert Flash.objects.filter(bound_elsewhere=True).count() == 1

    def test_control_without_the_lock_nobody_notices_the_other(self):
        ride, other_ticket = self.with_two_tickets()
        first = FlashTicket.objects.order_by("id").first()
        at = ride.at + timedelta(hours=80)

        def settle(ticket):
            with transaction.atomic():
                license = License.objects.select_for_update(no_key=True).get(purchase=ride.purchase)
                noticed.append(flashes._settle_license(license, ticket, outcome=SUCCEEDED, at=at))

        noticed = []
        race_all([lambda: settle(first), lambda: settle(other_ticket)], row_locks=False)

        assert noticed == [False, False]

    @staticmethod
    def with_two_tickets():
        ride = ride_for()
        ride.ticket()
        return ride, ride.ticket(vehicle=ride.another_vehicle(), at=ride.at + timedelta(hours=73))
