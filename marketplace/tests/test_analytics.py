"""A tuner's figures: what counts as a view, that counting costs a reader nothing, and that the report names nobody."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import psutil
import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from core import background, clock
from core.ids import new_id
from core.testing.http import ApiClient, client_for
from core.testing.races import race
from garage.models import Vehicle
from garage.tests.factories import VehicleModelFactory
from marketplace import view_tally
from marketplace.enums import FlashOutcome
from marketplace.models import Flash, Tune, TuneViews
from marketplace.services import analytics
from marketplace.services.flash_groups import group_flashes
from marketplace.services.listings import delete_tune
from marketplace.tests.factories import FavoriteFactory, PurchaseFactory, TuneFactory, released_tune, ride_for
from users.tests.factories import UserFactory

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
REPORT = "marketplace/analytics/"


@pytest.fixture(autouse=True)
def _nothing_counted():
    view_tally.take()
    yield
    view_tally.take()


def path_of(tune):
    return f"marketplace/tunes/{tune.pk}/"


@pytest.mark.django_db
class TestWhatAViewIs:
    def test_each_get_by_anybody(self):
        tune, rider = TuneFactory(published=True), client_for(UserFactory())
        anonymous = ApiClient()

        etag = anonymous.get(path_of(tune)).headers["ETag"]
        unchanged = anonymous.get(path_of(tune), HTTP_IF_NONE_MATCH=etag)
        rider.get(path_of(tune))

        assert unchanged.status_code == 304
        assert view_tally.take() == {tune.pk: 3}

    def test_none_by_its_tuner_by_staff_or_by_a_robot(self):
        tune = TuneFactory(published=True)
        for user in (tune.tuner.user, UserFactory(admin=True)):
            assert client_for(user).get(path_of(tune)).status_code == 200
        for robot in ("Mozilla/5.0 (compatible; Googlebot/2.1)", "facebookexternalhit/1.1", "Screaming Frog SEO Spider/19"):
            assert ApiClient().get(path_of(tune), HTTP_USER_AGENT=robot).status_code == 200
        assert ApiClient().head(path_of(tune)).status_code == 200

        assert view_tally.take() == {}

    def test_a_phone_whose_maker_sounds_like_a_robot_is_none(self):
        assert not view_tally.is_robot("Mozilla/5.0 (Linux; Android 10; CUBOT X30) Mobile Safari/537.36")
        assert not view_tally.is_robot("") and not view_tally.is_robot("RevSync/4.2 (Android 16)")

    def test_none_of_what_is_not_public_or_not_there(self):
        draft, suspended = TuneFactory(), TuneFactory(suspended=True)
        buyer = PurchaseFactory(paid=True, tune=suspended).buyer

        assert client_for(buyer).get(path_of(suspended)).status_code == 200
        assert [ApiClient().get(f"marketplace/tunes/{pk}/").status_code for pk in (draft.pk, uuid4())] == [404, 404]

        assert view_tally.take() == {}

    def test_it_costs_a_reader_no_query_and_next_to_no_time(self, django_assert_num_queries):
        tune = TuneFactory(published=True)
        with django_assert_num_queries(1):
            ApiClient().get(path_of(tune))
        pk, agent, rounds = new_id(), "RevSync/4.2 (iPhone; iOS 19.1)", 20_000

        began = time.process_time()
        for _ in range(rounds):
            if not view_tally.is_robot(agent):
                view_tally.count(pk)
        each = (time.process_time() - began) / rounds

        assert view_tally.take()[pk] == rounds
        assert each < 0.000_02, f"{each * 1e6:.2f} µs"

    def test_what_is_kept_in_memory_is_bounded(self, monkeypatch):
        monkeypatch.setattr(view_tally, "MOST_TUNES", 3)
        known = new_id()
        for pk in (known, *(new_id() for _ in range(9)), known):
            view_tally.count(pk)

        taken = view_tally.take()
        assert len(taken) == 3 and taken[known] == 2


@pytest.mark.django_db
class TestWriting:
    def test_views_add_up_by_day_and_tunes_that_are_gone_are_left_out(self, django_assert_num_queries):
        tune = TuneFactory(published=True)

        with django_assert_num_queries(1):
            analytics.add_views(seen={tune.pk: 3, new_id(): 5}, at=NOON)
        analytics.add_views(seen={tune.pk: 4}, at=NOON + timedelta(hours=6))
        analytics.add_views(seen={tune.pk: 1}, at=NOON + timedelta(days=1))

        assert list(TuneViews.objects.order_by("day").values_list("day", "views")) == [(date(2026, 6, 1), 7), (date(2026, 6, 2), 1)]

    def test_nothing_counted_asks_nothing(self, django_assert_num_queries):
        with django_assert_num_queries(0):
            analytics.flush_views()

    def test_a_round_that_fails_loses_its_views_and_stops_nobody(self, monkeypatch):
        ran = []
        monkeypatch.setattr(background, "_jobs", {"broken": lambda: 1 / 0, "whole": lambda: ran.append(1)})

        round_ = threading.Thread(target=background.run_round)  # as it runs: it closes its own thread's connections
        round_.start()
        round_.join()

        assert ran == [1]

    def test_old_ones_are_forgotten(self, monkeypatch):
        monkeypatch.setattr(analytics, "FORGOTTEN_AT_ONCE", 2)
        tune = TuneFactory(published=True)
        for days in (0, 700, 763, 764, 765):
            analytics.add_views(seen={tune.pk: 1}, at=NOON - timedelta(days=days))

        assert analytics.forget_old_views(at=NOON) == 3
        assert TuneViews.objects.count() == 2

    def test_they_go_with_their_tune(self):
        tune = TuneFactory()
        analytics.add_views(seen={tune.pk: 1}, at=NOON)

        delete_tune(author=tune.tuner.user, tune_id=tune.pk, at=NOON)

        assert not TuneViews.objects.exists()


@pytest.mark.django_db(transaction=True)
class TestRaces:
    def test_eight_processes_that_write_at_once_lose_nothing(self):
        tunes = [TuneFactory(published=True).pk for _ in range(3)]

        race(lambda: analytics.add_views(seen=dict.fromkeys(tunes, 5), at=NOON), times=8)

        assert list(TuneViews.objects.values_list("views", flat=True)) == [40, 40, 40]

    def test_control_a_number_that_is_read_and_written_loses_some(self):
        row = TuneViews.objects.create(tune=TuneFactory(published=True), day=NOON.date(), views=0)

        def read_and_write():
            known = TuneViews.objects.get(pk=row.pk).views
            TuneViews.objects.filter(pk=row.pk).update(views=known + 5)

        race(read_and_write, times=4, row_locks=False)

        assert TuneViews.objects.get().views < 20


@pytest.mark.django_db
class TestReport:
    def test_by_day_and_tune_with_conversion(self):
        tune = TuneFactory(published=True, title="Stage 1")
        other = TuneFactory(published=True, tuner=tune.tuner, title="Stage 2")
        strange = TuneFactory(published=True)
        for each, views in ((tune, 200), (other, 30), (strange, 999)):
            analytics.add_views(seen={each.pk: views}, at=NOON)
        analytics.add_views(seen={tune.pk: 50}, at=NOON + timedelta(days=1))
        for at in (NOON, NOON, NOON + timedelta(days=40)):
            PurchaseFactory(paid=True, tune=tune, created_at=at, paid_at=at)
        FavoriteFactory(tune=other, created_at=NOON)
        client = client_for(tune.tuner.user)

        by_day = client.get(f"{REPORT}?from=2026-06-01&to=2026-06-30").json()
        by_tune = client.get(f"{REPORT}?from=2026-06-01&to=2026-06-30&by=tune").json()
        of_one = client.get(f"{REPORT}?from=2026-06-01&to=2026-06-30&tune={other.pk}").json()

        facts = ("key", "views", "favorites", "purchases", "conversion_basis_points")
        assert pick(by_day, *facts) == [("2026-06-01", 230, 1, 2, 86), ("2026-06-02", 50, 0, 0, 0)]
        assert pick(by_tune, "label", "views", "purchases") == [("Stage 1", 250, 2), ("Stage 2", 30, 0)]
        assert [row["key"] for row in by_tune["rows"]] == [str(tune.pk), str(other.pk)]
        assert by_day["total"] == by_tune["total"] and by_day["total"]["views"] == 280
        assert (of_one["total"]["views"], of_one["total"]["favorites"], of_one["total"]["purchases"]) == (30, 1, 0)

    def test_flashes_by_version_and_by_model_which_tells_of_five_riders_together(self):
        tune = released_tune(title="Stage 1")
        models = catalogue("MT-09", "XSR 900")
        rides = []

        def flash(name, *outcomes):
            ride = ride_for(tune, vehicle={"vin": f"JYARN53E1MA0001{len(rides):02d}"})
            ride.known_ticket = ride.ticket()
            Vehicle.objects.filter(pk=ride.vehicle.pk).update(catalog_model=models.get(name))
            for outcome in outcomes:
                report_of(ride, outcome)
            rides.append(ride)

        def report(by, query=""):
            return client_for(tune.tuner.user).get(f"{REPORT}?by={by}{query}").json()

        for number in range(5):
            flash("MT-09", FlashOutcome.SUCCEEDED, FlashOutcome.VERIFY_FAILED if number == 0 else FlashOutcome.SUCCEEDED)
        flash("XSR 900", *[FlashOutcome.SUCCEEDED] * 6)
        flash(None, FlashOutcome.SUCCEEDED, FlashOutcome.RESTORED, FlashOutcome.FAILED_BEFORE_WRITE)
        assert report("model")["rows"] == [], "until the schedule has looked"
        group_flashes(at=clock.now())

        told = report("model")
        assert pick(told, "label", "flashes", "flashes_succeeded", "views") == [("Yamaha MT-09", 10, 9, None)]
        assert pick(report("version"), "label", "flashes", "views") == [(f"Stage 1 {tune.versions.get().version}", 17, None)]
        assert [report(by)["total"]["flashes"] for by in ("model", "version", "day")] == [10, 17, 17]
        assert report("model", f"&tune={tune.pk}")["rows"] == told["rows"]
        yesterday = clock.now().date() - timedelta(days=1)
        assert report("model", f"&to={yesterday}")["rows"] == []

        flash("MT-09", FlashOutcome.VERIFY_FAILED)
        group_flashes(at=clock.now())
        assert report("model") == told, "how the sixth rider fared is no difference between two reports"
        assert Tune.objects.get().flash_count == 0, "reports here are rows, the counter is the service's"

    def test_tests_of_the_tuner_count_for_nothing(self):
        ride = ride_for(released_tune())
        report_of(ride, FlashOutcome.SUCCEEDED)
        assert client_for(ride.tune.tuner.user).get(REPORT).json()["total"]["flashes"] == 1
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("ALTER TABLE marketplace_flashticket DROP CONSTRAINT flash_ticket_public_iff_license")
            cursor.execute("ALTER TABLE marketplace_flashticket DISABLE TRIGGER USER")
            cursor.execute("UPDATE marketplace_flashticket SET channel = 'test'")

        assert client_for(ride.tune.tuner.user).get(REPORT).json()["total"]["flashes"] == 0

    def test_an_empty_one_is_nothing_and_a_suspended_tuner_reads_on(self):
        tune = TuneFactory(published=True, tuner__suspended=True)

        answer = client_for(tune.tuner.user).get(REPORT)

        assert answer.status_code == 200 and answer.json()["rows"] == []
        assert answer.json()["total"]["conversion_basis_points"] is None
        for by in ("version", "model"):
            total = client_for(tune.tuner.user).get(f"{REPORT}?by={by}").json()["total"]
            assert (total["flashes"], total["views"], total["purchases"]) == (0, None, None), "not counted is not none"

    def test_somebody_elses_tune_is_not_found(self):
        own, other = TuneFactory(published=True), TuneFactory(published=True)

        answers = [client_for(own.tuner.user).get(f"{REPORT}?tune={pk}") for pk in (other.pk, uuid4())]

        assert [answer.json()["code"] for answer in answers] == ["not_found", "not_found"]

    @pytest.mark.parametrize(
        "query",
        [
            "from=2026-02-01&to=2026-01-01", "from=2024-01-01&to=2026-01-01", "from=2150-01-01", "to=9999-12-31", "to=0001-01-01",
            "from=yesterday", "by=person", "tune=1", "from=2020-01-01",
        ],
    )  # fmt: skip
    def test_a_period_that_is_none_is_refused(self, query):
        tune = TuneFactory(published=True)

        assert client_for(tune.tuner.user).get(f"{REPORT}?{query}").status_code == 400

    def test_sums_of_sales_refuse_the_same_days(self):
        client = client_for(TuneFactory(published=True).tuner.user)

        assert [client.get(f"marketplace/sales/summary/?to={day}").status_code for day in ("9999-12-31", "0001-01-01")] == [400, 400]

    @pytest.mark.parametrize("by", ["day", "tune", "version", "model"])
    def test_it_costs_the_same_for_one_and_for_many(self, by):
        costs = []
        for many in (1, 8):
            tune = TuneFactory(published=True)
            client = client_for(tune.tuner.user)
            for _ in range(many):
                FavoriteFactory(tune=tune)
                PurchaseFactory(paid=True, tune=TuneFactory(published=True, tuner=tune.tuner))
            with CaptureQueriesContext(connection) as caught:
                assert client.get(f"{REPORT}?by={by}").status_code == 200
            costs.append(len(caught))
        assert costs[0] == costs[1] <= 4


def pick(report, *facts):
    return [tuple(row[fact] for fact in facts) for row in report["rows"]]


def catalogue(*names):
    return {name: VehicleModelFactory(name=name, make__name="Yamaha") for name in names}


def report_of(ride, outcome):
    """A report as it stands after the service wrote it, for the ride's one ticket."""
    ticket = getattr(ride, "known_ticket", None)
    if ticket is None:
        ticket = ride.known_ticket = ride.ticket()
    at = clock.now()
    return Flash.objects.create(
        id=new_id(), ticket=ticket, reporter=ride.buyer, vehicle_id=ride.vehicle.pk, version=ride.version, outcome=outcome,
        app_version="1.0.0", flashed_at=at, received_at=at, fingerprint=os.urandom(32),
    )  # fmt: skip


SERVER = """
import sys
import core.background
core.background.PERIOD_SECONDS = float(sys.argv.pop(1))
from gunicorn.app.wsgiapp import run
run()
"""


@pytest.mark.django_db(transaction=True)
class TestRealServer:
    """gunicorn as `make run` starts it, on the test database."""

    @pytest.fixture
    def serve(self):
        processes = []
        database = connection.settings_dict
        url = f"postgres://{database['USER']}:{database['PASSWORD']}@{database['HOST']}:{database['PORT']}/{database['NAME']}"

        def start(period):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            command = [sys.executable, "-c", SERVER, str(period), "revsync_backend.wsgi:application", "--bind", f"127.0.0.1:{port}"]
            command += ["--worker-class", "core.web_worker.BufferingWorker", "--workers", "1", "--threads", "4", "--no-control-socket"]
            command += ["--graceful-timeout", "20", "--log-level", "critical"]
            process = subprocess.Popen(command, cwd=settings.BASE_DIR, env={**os.environ, "DATABASE_URL": url})
            processes.append(process)
            wait_for(lambda: fetch(port, "/livez") == 200, seconds=90)
            return process, port

        yield start
        for process in processes:
            if process.poll() is None:
                process.terminate()
                process.wait(timeout=60)

    def test_a_graceful_stop_and_a_new_worker_lose_nothing_and_a_killed_one_half_a_minute_at_most(self, serve):
        tune = TuneFactory(published=True)
        page = f"/api/v1/{path_of(tune)}"
        server, port = serve(3600)  # no round but the last one
        assert [fetch(port, page) for _ in range(5)] == [200] * 5
        assert views() == 0, "nothing is written while a request runs"

        [worker] = psutil.Process(server.pid).children()
        server.send_signal(signal.SIGHUP)  # a new worker; the old one finishes
        wait_for(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
        after_reload = views()
        assert [fetch(port, page) for _ in range(2)] == [200] * 2
        server.terminate()
        server.wait(timeout=60)

        assert (after_reload, views()) == (5, 7)

        server, port = serve(0.3)
        assert fetch(port, page) == 200
        wait_for(lambda: views() == 8)
        [worker] = psutil.Process(server.pid).children()
        worker.kill()
        wait_for(lambda: fetch(port, page) == 200)  # its successor counts on
        wait_for(lambda: views() == 9)


def views():
    return sum(TuneViews.objects.values_list("views", flat=True))


def fetch(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status
    except OSError:
        return 0


def wait_for(condition, *, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come true")
