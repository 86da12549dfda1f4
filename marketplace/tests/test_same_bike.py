"""Bikes like yours: what riders of the same model, generation and hardware number say, and that nobody is told of alone."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from core import clock, invariants
from core.ids import new_id
from core.testing.http import ApiClient, client_for
from core.testing.races import race
from garage.listeners import tell_model_merged
from garage.models import EcuReadout, Vehicle
from garage.tests.factories import VehicleFactory, VehicleGenerationFactory, VehicleModelFactory
from marketplace.enums import FlashOutcome
from marketplace.models import MINIMUM_RIDERS, FlashGroup, GroupedFlash
from marketplace.services import status
from marketplace.services.flash_groups import GENERATION_WAITS, OWN_ECU_WAITS, group_flashes
from marketplace.tests.factories import TuneFactory, released_tune, ride_for
from tuners.tests.factories import TunerReviewFactory
from users.tests.factories import UserFactory

NOW = clock.now()
OTHER_ECU = "RSH-4711-B"
FAILED = FlashOutcome.FAILED_BEFORE_WRITE, FlashOutcome.VERIFY_FAILED
TOO_FEW, UNKNOWN = "TOO_FEW", "UNKNOWN"
GROUPS = "flashes are told of in groups as they are"


@pytest.fixture
def tune(db):
    status.publish_status(at=clock.now())
    return released_tune()


@pytest.fixture
def generation(db):
    return VehicleGenerationFactory(year_from=2021, year_to=2023)


def flash(tune, *, outcome=FlashOutcome.SUCCEEDED, hardware_number=None, year=2021, rider=None):
    """One rider flashes it, and may flash it again. What bike it was is written afterwards: the tune fits one only."""
    ride = rider or ride_for(tune)
    ticket = ride.ticket()
    ride.report(ticket, outcome, at=clock.now())
    if hardware_number:
        EcuReadout.objects.filter(pk=ticket.readout_id).update(hardware_number=hardware_number)
    Vehicle.objects.filter(pk=ride.vehicle.pk).update(year=year)
    return ride


def figures(tune, client=None, **bike):
    """{level: ((count, mean) or why withheld of reviews, the same of flashes)}"""
    bike = bike or {"make": "yamaha", "model": "mt 09", "year": 2022, "hardware_number": "rsh-4711-a"}
    answer = (client or ApiClient()).get(f"marketplace/tunes/{tune.pk}/same-bike/", bike)
    assert answer.status_code == 200, answer.content
    assert answer.json()["minimum"] == MINIMUM_RIDERS == 5
    return {
        row["level"]: tuple(told["withheld"] or tuple(told.values())[:2] for told in (row["reviews"], row["flashes"]))
        for row in answer.json()["levels"]
    }


def flashes(tune, **bike):
    return [told[1] for told in figures(tune, **bike).values()]


def review(tune, *, rating=5, hardware_number="RSH-4711-A", year=2021, model=None, **facts):
    return TunerReviewFactory(
        tuner=tune.tuner, tune_id=tune.pk, rating=rating, hardware_number=hardware_number, vehicle_year=year,
        vehicle_model_id=(model or VehicleModelFactory()).pk, **facts,
    )  # fmt: skip


@pytest.mark.django_db
class TestFlashes:
    def test_are_told_of_five_riders_together_and_five_at_a_time(self, tune, generation):
        for number in range(4):
            flash(tune, outcome=FlashOutcome.VERIFY_FAILED if number == 0 else FlashOutcome.SUCCEEDED)
        assert (group_flashes(at=clock.now()), flashes(tune)) == (0, [TOO_FEW] * 3)

        fifth = flash(tune)
        assert flashes(tune) == [TOO_FEW] * 3, "until the schedule has looked"
        assert (group_flashes(at=clock.now()), flashes(tune)) == (1, [(5, 0.8)] * 3)

        for _ in range(4):  # of a sixth rider's failure nothing can be read off, however often one asks
            flash(tune, outcome=FlashOutcome.VERIFY_FAILED)
            assert (group_flashes(at=clock.now()), flashes(tune)) == (0, [(5, 0.8)] * 3)
        flash(tune, rider=fifth)
        assert (group_flashes(at=clock.now()), flashes(tune)) == (1, [(10, 0.5)] * 3)
        assert dict(invariants.verify())[GROUPS] == []

    def test_of_one_rider_who_flashes_often_nothing_is_told(self, tune):
        often = flash(tune)
        for _ in range(6):
            flash(tune, rider=often)
        for _ in range(3):
            flash(tune)

        assert group_flashes(at=clock.now()) == 0

    def test_a_failure_before_writing_is_no_flash(self, tune):
        for _ in range(5):
            flash(tune, outcome=FlashOutcome.FAILED_BEFORE_WRITE)

        assert group_flashes(at=clock.now()) == 0

    def test_who_finds_no_others_with_the_ecu_is_told_of_with_the_generation_and_then_the_model(self, tune, generation):
        for number in range(3):
            flash(tune)
            flash(tune, hardware_number=OTHER_ECU, outcome=FlashOutcome.VERIFY_FAILED if number else FlashOutcome.SUCCEEDED)
        older = [flash(tune, year=2019, hardware_number=f"RSH-{number}") for number in range(5)]
        now = clock.now()
        assert group_flashes(at=now + OWN_ECU_WAITS - timedelta(hours=1)) == 0

        assert group_flashes(at=now + OWN_ECU_WAITS + timedelta(hours=1)) == 1
        assert flashes(tune) == [(6, 0.667), (6, 0.667), TOO_FEW]

        assert group_flashes(at=now + GENERATION_WAITS + timedelta(hours=1)) == 1
        assert flashes(tune) == [(11, 0.818), (6, 0.667), TOO_FEW]
        assert len(older) == 5 and dict(invariants.verify())[GROUPS] == []

    def test_figures_at_every_level_are_sums_of_whole_groups(self, tune, generation):
        """So that no subtraction leaves fewer than five riders, whatever was asked before or after."""
        for number in range(6):
            flash(tune)
            flash(tune, hardware_number=OTHER_ECU)
            flash(tune, year=2018, hardware_number=OTHER_ECU)
            if number < 2:
                flash(tune, hardware_number="RSH-RARE")
        group_flashes(at=clock.now())

        assert flashes(tune) == [(18, 1.0), (12, 1.0), (6, 1.0)]
        assert flashes(tune, make="Yamaha", model="MT-09", year=2018, hardware_number=OTHER_ECU) == [(18, 1.0), UNKNOWN, (12, 1.0)]
        assert flashes(tune, make="Yamaha", model="MT-09", hardware_number="RSH-RARE") == [(18, 1.0), UNKNOWN, TOO_FEW]
        assert sorted(FlashGroup.objects.values_list("rider_count", flat=True)) == [6, 6, 6]

    def test_a_model_that_is_merged_takes_its_figures_along(self, tune, generation):
        for _ in range(5):
            flash(tune)
            review(tune, rating=4)
        group_flashes(at=clock.now())
        into = VehicleModelFactory(name="FZ-09")

        for _ in range(2):
            tell_model_merged(model=VehicleModelFactory(), into=into)

        assert figures(tune, make="Yamaha", model="FZ-09")["MODEL"] == ((5, 4.0), (5, 1.0))

    def test_postgres_refuses_a_group_of_four(self, tune):
        with pytest.raises(IntegrityError, match="flashgroup_enough_riders"), transaction.atomic():
            FlashGroup.objects.create(
                tune=tune, vehicle_model=VehicleModelFactory(), year_from=2021, year_to=2021, rider_count=4, flash_count=4,
                success_count=4, created_at=NOW,
            )  # fmt: skip

    def test_a_group_that_is_not_as_its_flashes_is_found(self, tune):
        for _ in range(5):
            flash(tune)
        group_flashes(at=clock.now())
        FlashGroup.objects.update(success_count=4)

        (line,) = dict(invariants.verify())[GROUPS]
        assert line.endswith("is 5 riders, 5 flashes, 4 good; its members are 5, 5, 5")


@pytest.mark.django_db
class TestReviews:
    def test_rating_by_model_generation_and_hardware_number(self, generation):
        tune = TuneFactory(published=True)
        for rating in (5, 5, 4, 4, 4):
            review(tune, rating=rating)
        for _ in range(5):
            review(tune, rating=1, hardware_number=OTHER_ECU)
        review(tune, rating=2, year=2018)
        review(tune, rating=1, model=VehicleModelFactory(name="MT-07"))
        review(tune, rating=1, uncounted=True)
        review(tune, rating=1, hidden=True)

        assert [told[0] for told in figures(tune).values()] == [(11, 2.64), (10, 2.7), (6, 4.0)]

    def test_of_fewer_than_five_nothing_is_told(self):
        tune = TuneFactory(published=True)
        for _ in range(4):
            review(tune)

        assert [told[0] for told in figures(tune).values()] == [TOO_FEW, UNKNOWN, TOO_FEW]

    def test_the_list_says_how_near_each_bike_is(self, generation):
        tune = TuneFactory(published=True)
        for number in range(5):
            review(tune, text=f"same {number}")
        review(tune, text="generation", hardware_number=OTHER_ECU)
        review(tune, text="model", year=2018, hardware_number="")
        review(tune, text="other", model=VehicleModelFactory(name="MT-07"))
        bike = {"make": "Yamaha", "model": "MT-09", "year": 2023, "hardware_number": "RSH-4711-A"}

        def listed(**params):
            rows = ApiClient().get(f"marketplace/tunes/{tune.pk}/reviews/", {**bike, **params}).json()["results"]
            return {row["text"].split()[0]: row["same_bike"] for row in rows}

        assert listed() == {"same": "HARDWARE_NUMBER", "generation": "GENERATION", "model": "MODEL"}
        assert listed(same_bike="GENERATION") == {"same": "HARDWARE_NUMBER", "generation": "GENERATION"}
        assert listed(same_bike="HARDWARE_NUMBER") == {"same": "HARDWARE_NUMBER"}
        assert {row["same_bike"] for row in ApiClient().get(f"marketplace/tunes/{tune.pk}/reviews/").json()["results"]} == {None}

    def test_that_four_share_a_hardware_number_is_not_told(self, generation):
        """Model and year stand on a review; the ECU does not."""
        tune = TuneFactory(published=True)
        for _ in range(4):
            review(tune)
        bike = {"make": "Yamaha", "model": "MT-09", "year": 2021, "hardware_number": "RSH-4711-A"}
        url = f"marketplace/tunes/{tune.pk}/reviews/"

        assert {row["same_bike"] for row in ApiClient().get(url, bike).json()["results"]} == {"GENERATION"}
        assert ApiClient().get(url, {**bike, "same_bike": "HARDWARE_NUMBER"}).json()["results"] == []

    def test_pages_hold_together(self, generation):
        tune = TuneFactory(published=True)
        for _ in range(5):
            review(tune)
        url, seen = f"marketplace/tunes/{tune.pk}/reviews/?make=Yamaha&model=MT-09&year=2021&page_size=2", []
        while url:
            page = ApiClient().get(url).json()
            seen += [row["id"] for row in page["results"]]
            url = page["next"]

        assert len(seen) == len(set(seen)) == 5


@pytest.mark.django_db
class TestAsking:
    def test_for_ones_own_vehicle(self, tune, generation):
        for _ in range(5):
            rider = flash(tune)
        group_flashes(at=clock.now())
        client = client_for(rider.buyer)

        assert [told[1] for told in figures(tune, client, vehicle=rider.vehicle.pk).values()] == [(5, 1.0)] * 3
        unread = VehicleFactory(owner=rider.buyer, ecu=None)
        assert [told[1] for told in figures(tune, client, vehicle=unread.pk).values()] == [(5, 1.0), (5, 1.0), UNKNOWN]
        Vehicle.objects.filter(pk=unread.pk).update(catalog_model=None)
        assert [told[1] for told in figures(tune, client, vehicle=unread.pk).values()] == [UNKNOWN] * 3
        url, foreign = f"marketplace/tunes/{tune.pk}/same-bike/", {"vehicle": str(rider.vehicle.pk)}
        assert ApiClient().get(url, foreign).status_code == 401
        assert client_for(UserFactory()).get(url, foreign).status_code == 404

    @pytest.mark.parametrize(
        ("params", "parameter"),
        [
            ({}, "vehicle"),
            ({"make": "Yamaha"}, "model"),
            ({"year": 2021}, "make"),
            ({"vehicle": new_id(), "make": "Yamaha", "model": "MT-09"}, "vehicle"),
            ({"make": "Yamaha", "model": "MT-09", "year": "x"}, "year"),
            ({"make": "Yamaha", "model": "MT-09", "rider": "me"}, "rider"),
        ],
    )
    def test_a_half_named_bike_is_refused(self, params, parameter):
        tune = TuneFactory(published=True)

        answer = ApiClient().get(f"marketplace/tunes/{tune.pk}/same-bike/", params)

        assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (400, parameter)

    def test_the_list_needs_a_bike_to_compare_with(self):
        answer = ApiClient().get(f"marketplace/tunes/{TuneFactory(published=True).pk}/reviews/", {"same_bike": "MODEL"})

        assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (400, "same_bike")

    def test_an_unknown_bike_and_a_hidden_tune(self):
        tune, draft = TuneFactory(published=True), TuneFactory()

        assert set(figures(tune, make="Yamaha", model="Nothing").values()) == {(UNKNOWN, UNKNOWN)}
        assert ApiClient().get(f"marketplace/tunes/{tune.pk}/reviews/", {"make": "No", "model": "Such"}).json()["results"] == []
        assert ApiClient().get(f"marketplace/tunes/{draft.pk}/same-bike/", {"make": "Yamaha", "model": "MT-09"}).status_code == 404

    def test_it_names_nobody_and_no_day(self, tune, generation):
        for _ in range(5):
            flash(tune)
        group_flashes(at=clock.now())
        answer = ApiClient().get(f"marketplace/tunes/{tune.pk}/same-bike/", {"make": "Yamaha", "model": "MT-09", "year": 2021}).json()

        assert answer.keys() == {"minimum", "levels"}
        for row in answer["levels"]:
            assert row.keys() == {"level", "reviews", "flashes"}
            assert (row["reviews"].keys(), row["flashes"].keys()) == (
                {"count", "rating", "withheld"}, {"count", "success_rate", "withheld"}
            )  # fmt: skip

    def test_queries_are_the_same_for_one_and_for_many(self, generation):
        tune = TuneFactory(published=True)
        bike = {"make": "Yamaha", "model": "MT-09", "year": 2021, "hardware_number": "RSH-4711-A"}

        def queries(path):
            with CaptureQueriesContext(connection) as captured:
                assert ApiClient().get(f"marketplace/tunes/{tune.pk}/{path}/", bike).status_code == 200
            return len(captured)

        review(tune)
        few = queries("same-bike"), queries("reviews")
        for _ in range(19):
            review(tune)

        assert (queries("same-bike"), queries("reviews")) == few == (5, 5)


@pytest.mark.django_db
def test_each_screen_uses_its_index():
    """Among 10,000 reviews and 10,000 groups of other tunes and models."""
    tune, model = TuneFactory(published=True), VehicleModelFactory()
    for _ in range(5):
        review(tune)
    others = [VehicleModelFactory(name=f"Model {number}") for number in range(20)]
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica; SET LOCAL statement_timeout = '60s'")  # no trigger for each row
        cursor.execute(
            """
            INSERT INTO tuners_tunerreview (id, tuner_id, buyer_id, tune_id, tune_version_id, vehicle_model_id, vehicle_label,
                   rating, text, state, hidden_reason, reply, revision, created_at, updated_at)
            SELECT gen_random_uuid(), %s, %s, gen_random_uuid(), gen_random_uuid(), (%s::uuid[])[1 + n %% 20], '',
                   5, '', 'PUBLISHED', '', '', 1, now(), now() FROM generate_series(1, 10000) AS n
            """,
            [tune.tuner_id, UserFactory().pk, [other.pk for other in others]],
        )
        cursor.execute(
            """
            INSERT INTO marketplace_flashgroup (id, tune_id, vehicle_model_id, year_from, year_to, hardware_number, rider_count,
                   flash_count, success_count, created_at)
            SELECT gen_random_uuid(), %s, (%s::uuid[])[1 + n %% 20], 2021, 2021, '', 5, 5, 5, now() FROM generate_series(1, 10000) AS n
            """,
            [tune.pk, [other.pk for other in others]],
        )
        cursor.execute("SET LOCAL session_replication_role = DEFAULT; ANALYZE tuners_tunerreview, marketplace_flashgroup")
    seen = []

    def note(execute, sql, params, many, context):
        seen.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        bike = {"make": "Yamaha", "model": "MT-09", "hardware_number": "RSH-4711-A"}
        assert ApiClient().get(f"marketplace/tunes/{tune.pk}/same-bike/", bike).status_code == 200
        assert len(ApiClient().get(f"marketplace/tunes/{tune.pk}/reviews/", bike).json()["results"]) == 5

    def plans(table):
        for sql, params in seen:
            if f'FROM "{table}"' in sql:
                with connection.cursor() as cursor:
                    cursor.execute(f"EXPLAIN {sql}", params)
                    yield "\n".join(line for (line,) in cursor.fetchall())

    reviewed, grouped = list(plans("tuners_tunerreview")), list(plans("marketplace_flashgroup"))
    assert (len(reviewed), len(grouped)) == (3, 1)
    assert all("review_same_bike" in plan for plan in reviewed), reviewed
    assert "flashgroup_same_bike" in grouped[0], grouped
    assert model.pk


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_two_runs_put_each_flash_into_one_group(self):
        status.publish_status(at=clock.now())
        tune = released_tune()
        for _ in range(5):
            flash(tune)

        assert race(lambda: group_flashes(at=clock.now())) == ["ok", "ok"]
        assert (FlashGroup.objects.count(), GroupedFlash.objects.count()) == (1, 5)

    def test_control_without_the_lock_the_key_is_the_last_guard(self):
        status.publish_status(at=clock.now())
        tune = released_tune()
        for _ in range(5):
            flash(tune)

        with pytest.raises(IntegrityError, match="groupedflash_pkey"):
            race(lambda: group_flashes(at=clock.now()), row_locks=False, meet_after="ORDER BY flash.received_at")

        assert GroupedFlash.objects.count() == 5
