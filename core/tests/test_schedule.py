"""The schedule: each slot once, whoever asks."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django_tasks_db.models import DBTaskResult

from core import schedule
from core.models import ScheduleEntry
from core.tasks import enqueue
from core.tasks.tests import sample_tasks
from core.testing.tasks import run_all

NOW = datetime(2026, 6, 1, 12, 0, 30, tzinfo=UTC)
TASK = "core.tasks.tests.sample_tasks.note"


@pytest.fixture
def entry(monkeypatch):
    """A schedule of one entry: a note every minute."""
    monkeypatch.setattr(schedule, "_entries", {})
    monkeypatch.setattr(schedule, "load_task_modules", lambda: None)
    schedule.every(minutes=1, name="note")(sample_tasks.note)
    return schedule.entries()[0]


def queued():
    return DBTaskResult.objects.filter(task_path=TASK).count()


@pytest.mark.django_db
class TestTick:
    def test_queues_an_entry_once_in_each_slot(self, entry):
        assert schedule.tick(at=NOW) == ["note"]
        assert schedule.tick(at=NOW + timedelta(seconds=29)) == []
        run_all()
        assert schedule.tick(at=NOW + timedelta(seconds=30)) == ["note"]
        assert queued() == 2

    def test_makes_up_for_missed_slots_once(self, entry):
        schedule.tick(at=NOW)
        run_all()

        assert schedule.tick(at=NOW + timedelta(hours=5)) == ["note"]
        run_all()
        assert schedule.tick(at=NOW + timedelta(hours=5)) == []

    def test_skips_a_slot_while_the_last_task_is_not_finished(self, entry):
        schedule.tick(at=NOW)

        assert schedule.tick(at=NOW + timedelta(minutes=1)) == []
        assert queued() == 1
        run_all()
        assert schedule.tick(at=NOW + timedelta(minutes=2)) == ["note"]

    def test_a_clock_that_steps_back_queues_nothing_twice(self, entry):
        schedule.tick(at=NOW)
        run_all()

        assert schedule.tick(at=NOW - timedelta(minutes=10)) == []

    def test_costs_one_statement_when_nothing_is_due(self, entry, django_assert_num_queries):
        schedule.tick(at=NOW)

        with django_assert_num_queries(1):
            schedule.tick(at=NOW)

    def test_remembers_in_a_row_what_it_queued(self, entry):
        schedule.tick(at=NOW)

        row = ScheduleEntry.objects.get(name="note")
        assert (row.slot_at, row.task_id) == (NOW.replace(second=0), DBTaskResult.objects.get().pk)


class TestEntries:
    @pytest.mark.parametrize(
        ("period", "offset", "slot"),
        [
            (timedelta(minutes=1), timedelta(0), NOW.replace(second=0)),
            (timedelta(hours=1), timedelta(0), NOW.replace(minute=0, second=0)),
            (timedelta(days=1), timedelta(0), NOW.replace(hour=0, minute=0, second=0)),
            (timedelta(days=1), timedelta(hours=3), NOW.replace(hour=3, minute=0, second=0)),
            (timedelta(days=1), timedelta(hours=13), NOW.replace(day=31, month=5, hour=13, minute=0, second=0)),
        ],
    )
    def test_slots_begin_at_round_times(self, period, offset, slot):
        assert schedule.Entry("x", TASK, period, offset).slot_of(NOW) == slot

    def test_a_name_belongs_to_one_task(self, entry):
        with pytest.raises(ValueError, match="note"):
            schedule.every(minutes=2, name="note")(sample_tasks.note)

    def test_only_tasks_can_be_scheduled(self, entry):
        with pytest.raises(TypeError):
            schedule.every(minutes=1, name="x")(sample_tasks.not_a_task)

    def test_every_scheduled_task_of_the_project_can_be_queued(self, db):
        names = {entry.name for entry in schedule.entries()}

        assert {"sweep_uploads", "sweep_quarantine", "sweep_finished_tasks"} <= names
        assert set(schedule.tick()) == names


@pytest.mark.django_db(transaction=True)
class TestManySchedulers:
    """Schedulers that look at the same moment."""

    def tick_together(self, *, condition=True, times=4):
        ScheduleEntry.objects.get_or_create(name="note")
        won, all_have_looked = [], threading.Barrier(times)

        def look(execute, sql, params, many, context):
            result = execute(sql if condition else sql.replace("slot_at IS NULL OR", "TRUE OR"), params, many, context)
            if sql.startswith("SELECT statement_timestamp()"):
                all_have_looked.wait(timeout=60)
            return result

        def tick():
            try:
                with connection.execute_wrapper(look):
                    won.extend(schedule.tick(at=NOW))
            finally:
                connection.close()

        schedulers = [threading.Thread(target=tick) for _ in range(times)]
        for scheduler in schedulers:
            scheduler.start()
        for scheduler in schedulers:
            scheduler.join()
        return won

    def test_one_of_them_queues_the_slot(self, entry):
        assert self.tick_together() == ["note"]
        assert queued() == 1

    def test_control_without_the_condition_more_than_one_takes_it(self, entry, monkeypatch):
        monkeypatch.setattr(schedule.queue, "unfinished", lambda task_ids: set())

        assert len(self.tick_together(condition=False)) == 4
        assert queued() == 4


@pytest.mark.django_db
def test_the_platforms_own_sweeps_run():
    for name in ("core.tasks.housekeeping.sweep_finished_tasks", "core.tasks.housekeeping.sweep_idempotency_and_limits"):
        enqueue(name)

    assert len(run_all()) == 2
