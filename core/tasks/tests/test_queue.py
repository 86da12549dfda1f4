"""The queue: queued with the transaction, run in order, retried, given up, retried by a person."""

import threading
import time
from datetime import timedelta
from uuid import uuid4

import pytest
import structlog
from django.db import OperationalError, connection, transaction
from django_tasks_db.models import DBTaskResult

from core import clock
from core.ids import new_id
from core.models import AuditEvent, DeadTask, TaskWorker
from core.tasks import enqueue, queue, runner, services
from core.tasks.selectors import get_queue_summary
from core.tasks.tests import sample_tasks
from core.testing.tasks import run_all

SAMPLES = "core.tasks.tests.sample_tasks"


@pytest.fixture(autouse=True)
def _forget_calls():
    sample_tasks.calls.clear()


def row(task_id):
    return DBTaskResult.objects.get(pk=task_id)


@pytest.mark.django_db
class TestEnqueue:
    def test_runs_with_its_arguments_and_ids_become_text(self):
        thing = uuid4()

        enqueue(f"{SAMPLES}.note", thing=thing, count=3, tags=["a", None])

        assert run_all() == [f"{SAMPLES}.note"]
        assert {key: sample_tasks.calls[0][key] for key in ("thing", "count", "tags")} == {
            "thing": str(thing),
            "count": 3,
            "tags": ["a", None],
        }

    def test_costs_one_statement(self, django_assert_num_queries):
        with django_assert_num_queries(1):
            enqueue(f"{SAMPLES}.note")

    def test_a_rolled_back_transaction_takes_its_task_along(self):
        with pytest.raises(RuntimeError), transaction.atomic():
            enqueue(f"{SAMPLES}.note")
            raise RuntimeError

        assert run_all() == []

    def test_the_request_id_reaches_the_log_context_of_the_task(self):
        with structlog.contextvars.bound_contextvars(request_id="req-1"):
            enqueue(f"{SAMPLES}.note")

        run_all()

        assert sample_tasks.calls[0]["context"]["request_id"] == "req-1"
        assert sample_tasks.calls[0]["context"]["attempt"] == 1
        assert "request_id" not in structlog.contextvars.get_contextvars()

    @pytest.mark.parametrize("name", ["core.nowhere.task", f"{SAMPLES}.missing", f"{SAMPLES}.not_a_task"])
    def test_a_name_that_is_no_task_fails_at_once(self, name):
        with pytest.raises((ImportError, TypeError)):
            enqueue(name)

    @pytest.mark.parametrize("value", [object(), {1, 2}, clock.now(), b"bytes"])
    def test_a_value_that_json_can_not_hold_fails_at_once(self, value):
        with pytest.raises(TypeError):
            enqueue(f"{SAMPLES}.note", value=value)

    def test_first_in_is_first_out_and_urgent_ones_go_first(self):
        for number in (1, 2):
            enqueue(f"{SAMPLES}.note", number=number)
        enqueue(f"{SAMPLES}.note", number=3, priority=10)

        run_all()

        assert [call["number"] for call in sample_tasks.calls] == [3, 1, 2]

    def test_a_deferred_task_waits_for_its_time(self):
        enqueue(f"{SAMPLES}.note", run_at=clock.now() + timedelta(hours=1))

        assert run_all() == []
        assert len(run_all(until=clock.now() + timedelta(hours=2))) == 1

    def test_tasks_queued_by_tasks_run_too(self):
        enqueue(f"{SAMPLES}.chain", steps=3)

        assert len(run_all()) == 3


@pytest.mark.django_db
class TestRetry:
    def test_a_failure_is_tried_again_later_and_later_until_the_task_is_dead(self):
        task_id = enqueue(f"{SAMPLES}.break_down", message="third time unlucky")
        delays = []
        for _ in range(3):
            claimed = queue.claim_next(new_id(), due_by=clock.now() + timedelta(days=1))
            before = clock.now()
            runner.settle(claimed, runner.run(claimed))
            delays.append((row(task_id).run_after - before).total_seconds())

        assert 7 < delays[0] < 13 and 14 < delays[1] < 26
        dead = DeadTask.objects.get(pk=task_id)
        assert (dead.status, dead.attempts, dead.exception_class_path) == ("FAILED", 3, "builtins.RuntimeError")
        assert "third time unlucky" in dead.traceback
        assert run_all(until=clock.now() + timedelta(days=9)) == []

    def test_run_all_raises_what_a_task_raised(self):
        enqueue(f"{SAMPLES}.break_down", message="seen")

        with pytest.raises(RuntimeError, match="seen"):
            run_all()

    @pytest.mark.parametrize("name", ["postpone", "meet_outage"])
    def test_waiting_for_something_is_no_attempt(self, name):
        task_id = enqueue(f"{SAMPLES}.{name}")

        for _ in range(5):
            claimed = queue.claim_next(new_id(), due_by=clock.now() + timedelta(days=1))
            runner.settle(claimed, runner.run(claimed))

        assert (row(task_id).status, row(task_id).worker_ids) == ("READY", [])
        assert row(task_id).run_after > clock.now() + timedelta(seconds=4)

    def test_a_lost_database_is_an_outage_and_a_timed_out_statement_is_a_failure(self):
        lost = OperationalError("server closed the connection unexpectedly")
        with pytest.raises(OperationalError) as timed_out, transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 1")
            cursor.execute("SELECT pg_sleep(1)")

        assert runner.is_outage(lost)
        assert not runner.is_outage(timed_out.value)

    def test_a_task_of_an_unknown_name_is_tried_again_and_then_given_up(self):
        task_id = enqueue(f"{SAMPLES}.note")
        DBTaskResult.objects.filter(pk=task_id).update(task_path="core.future.task")

        for _ in range(runner.UNKNOWN.max_attempts):
            claimed = queue.claim_next(new_id(), due_by=clock.now() + timedelta(days=1))
            runner.settle(claimed, runner.run(claimed))

        assert row(task_id).status == "FAILED"
        assert row(task_id).exception_class_path.endswith("UnknownTask")

    def test_a_nul_in_an_error_does_not_break_its_record(self):
        task_id = enqueue(f"{SAMPLES}.break_down", message="a\\0b")
        claimed = queue.claim_next(new_id())

        assert queue.fail(claimed, RuntimeError("a\x00b"))
        assert "a\\0b" in row(task_id).traceback


@pytest.mark.django_db
class TestDeadTasks:
    def dead_task(self):
        task_id = enqueue(f"{SAMPLES}.break_down")
        queue.fail(queue.claim_next(new_id()), RuntimeError("gone"))
        return task_id

    def test_a_person_retries_one_with_all_its_attempts(self):
        task_id, actor = self.dead_task(), uuid4()

        services.retry_dead_task(task_id=task_id, actor_id=actor, reason="storage is back", at=clock.now())

        assert queue.claim_next(new_id()).attempt == 1
        event = AuditEvent.objects.get(act="task.retried")
        assert (event.actor_id, event.subject_id, event.reason) == (actor, task_id, "storage is back")

    def test_a_living_task_can_not_be_retried(self):
        task_id = enqueue(f"{SAMPLES}.note")

        with pytest.raises(services.TaskNotDead):
            services.retry_dead_task(task_id=task_id, actor_id=uuid4(), reason="x", at=clock.now())

    def test_a_missing_task_is_not_found(self):
        with pytest.raises(services.TaskNotFound):
            services.retry_dead_task(task_id=uuid4(), actor_id=uuid4(), reason="x", at=clock.now())

    def test_a_person_dismisses_one(self):
        task_id = self.dead_task()

        services.dismiss_dead_task(task_id=task_id, actor_id=uuid4(), reason="mail of a closed account", at=clock.now())

        assert not DBTaskResult.objects.filter(pk=task_id).exists()
        assert AuditEvent.objects.filter(act="task.dismissed", subject_id=task_id).exists()

    def test_the_summary_counts_them(self):
        self.dead_task()
        enqueue(f"{SAMPLES}.note")
        queue.beat(new_id(), host="here", pid=1)

        summary = get_queue_summary()

        assert (summary.due, summary.running, summary.dead, summary.live_workers) == (1, 0, 1, 1)
        assert summary.oldest_due_seconds >= 0


@pytest.mark.django_db
class TestTakeOver:
    DEAD_AFTER = timedelta(seconds=20)

    def claimed_by(self, *, silent_seconds, samples="note"):
        worker = new_id()
        queue.beat(worker, host="here", pid=1)
        TaskWorker.objects.filter(pk=worker).update(heartbeat_at=clock.now() - timedelta(seconds=silent_seconds))
        enqueue(f"{SAMPLES}.{samples}")
        return queue.claim_next(worker)

    def test_a_silent_workers_task_is_queued_again(self):
        claimed = self.claimed_by(silent_seconds=21)

        assert queue.take_over_abandoned(dead_after=self.DEAD_AFTER) == [claimed.id]
        assert queue.claim_next(new_id()).attempt == 2

    def test_a_living_workers_task_is_left_alone(self):
        self.claimed_by(silent_seconds=5)

        assert queue.take_over_abandoned(dead_after=self.DEAD_AFTER) == []

    def test_a_worker_that_signed_off_holds_nothing(self):
        claimed = self.claimed_by(silent_seconds=0)
        queue.sign_off(claimed.worker_id)

        assert queue.take_over_abandoned(dead_after=self.DEAD_AFTER) == [claimed.id]

    def test_a_task_that_keeps_killing_its_worker_dies(self):
        claimed = self.claimed_by(silent_seconds=60)
        for _ in range(2):
            queue.take_over_abandoned(dead_after=self.DEAD_AFTER)
            claimed = queue.claim_next(new_id(), due_by=clock.now() + timedelta(days=1))

        queue.take_over_abandoned(dead_after=self.DEAD_AFTER)

        assert (row(claimed.id).status, row(claimed.id).exception_class_path) == ("FAILED", "core.tasks.queue.WorkerDied")

    def test_the_outcome_of_a_worker_that_lost_its_task_is_dropped(self):
        claimed = self.claimed_by(silent_seconds=60)
        queue.take_over_abandoned(dead_after=self.DEAD_AFTER)
        second = queue.claim_next(new_id(), due_by=clock.now() + timedelta(hours=1))

        assert not queue.succeed(claimed)
        assert not queue.fail(claimed, RuntimeError())
        assert row(claimed.id).status == "RUNNING"
        assert queue.succeed(second)


@pytest.mark.django_db
def test_what_succeeded_days_ago_is_swept_and_dead_tasks_stay():
    done, dead = enqueue(f"{SAMPLES}.note"), enqueue(f"{SAMPLES}.note")
    queue.succeed(queue.claim_next(new_id()))
    queue.fail(queue.claim_next(new_id()), RuntimeError())
    DBTaskResult.objects.update(finished_at=clock.now() - timedelta(days=4))

    assert queue.sweep_finished(older_than=timedelta(days=3)) == 1
    assert list(DBTaskResult.objects.values_list("pk", flat=True)) == [dead] != [done]


@pytest.mark.django_db(transaction=True)
class TestTwoWorkersOneTask:
    """A task that two workers reach for at the same moment."""

    def claims(self, *, row_locks=True):
        """Let two workers claim while a third hand holds the row, so that both have chosen before either can write."""
        enqueue(f"{SAMPLES}.note")
        got, begun = [], threading.Barrier(3)

        def unlocked(execute, sql, params, many, context):
            return execute(sql.replace("FOR UPDATE SKIP LOCKED", ""), params, many, context)

        def claim():
            begun.wait(timeout=60)
            try:
                if row_locks:
                    got.append(queue.claim_next(new_id()))
                else:
                    with connection.execute_wrapper(unlocked):
                        got.append(queue.claim_next(new_id()))
            finally:
                connection.close()

        workers = [threading.Thread(target=claim) for _ in range(2)]
        for worker in workers:
            worker.start()
        if row_locks:
            begun.wait(timeout=60)
        else:
            with transaction.atomic():
                list(DBTaskResult.objects.select_for_update())
                begun.wait(timeout=60)
                self.wait_until_waiting(2)
        for worker in workers:
            worker.join()
        return [claimed for claimed in got if claimed is not None]

    def wait_until_waiting(self, count):
        """Until so many others wait for a lock."""
        deadline = time.monotonic() + 60
        with connection.cursor() as cursor:
            while time.monotonic() < deadline:
                cursor.execute("SELECT pg_stat_clear_snapshot()")  # else this transaction sees the same figures for ever
                cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
                if cursor.fetchone()[0] >= count:
                    return
                time.sleep(0.05)
        raise AssertionError(f"not {count} of them wait")

    def test_one_gets_it(self):
        for _ in range(5):
            assert len(self.claims()) == 1

    def test_control_without_the_lock_both_get_it(self):
        claimed = self.claims(row_locks=False)

        assert len({one.id for one in claimed}) == 1
        assert len(claimed) == 2

    def test_many_workers_share_many_tasks_and_run_each_once(self):
        for number in range(60):
            enqueue(f"{SAMPLES}.note", number=number)
        shares, all_have_one = [], threading.Barrier(4)

        def work():
            share, worker = 0, new_id()
            while claimed := queue.claim_next(worker):
                if share == 0:
                    all_have_one.wait(timeout=60)
                runner.settle(claimed, runner.run(claimed))
                share += 1
            shares.append(share)
            connection.close()

        workers = [threading.Thread(target=work) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

        assert sorted(call["number"] for call in sample_tasks.calls) == list(range(60))
        assert sum(shares) == 60
        assert min(shares) > 0
