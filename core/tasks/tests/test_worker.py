"""Worker processes: drained by SIGTERM, replaced after kill -9."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from django.conf import settings
from django.db import connection
from django_tasks_db.models import DBTaskResult

from core.models import TaskWorker
from core.tasks import enqueue
from core.tasks.worker import Worker

LINGER = "core.tasks.tests.sample_tasks.linger"
NOTE = "core.tasks.tests.sample_tasks.note"


def wait_for(condition, *, seconds=60, what="it"):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s for {what}")


@pytest.fixture
def worker_process(tmp_path):
    """Start `manage.py run_worker` on the test database; killed at the end if it still lives."""
    children = []
    database = connection.settings_dict
    url = f"postgres://{database['USER']}:{database['PASSWORD']}@{database['HOST']}:{database['PORT']}/{database['NAME']}"

    def start(*options):
        log = (tmp_path / f"worker-{len(children)}.log").open("wb")
        child = subprocess.Popen(
            [sys.executable, "manage.py", "run_worker", *options],
            cwd=settings.BASE_DIR,
            env={**os.environ, "DATABASE_URL": url},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        child.log = Path(log.name)
        children.append(child)
        return child

    yield start
    for child in children:
        if child.poll() is None:
            child.kill()
        child.wait()


@pytest.mark.django_db(transaction=True)
class TestProcess:
    def test_sigterm_finishes_what_runs_and_leaves(self, worker_process, tmp_path):
        path = tmp_path / "lines"
        task_id = enqueue(LINGER, path=str(path), seconds=1.0)
        worker = worker_process()
        wait_for(path.exists, what="the task to begin")

        worker.send_signal(signal.SIGTERM)

        assert worker.wait(timeout=60) == 0
        assert path.read_text() == "begun\nended\n"
        assert DBTaskResult.objects.get(pk=task_id).status == "SUCCESSFUL"
        assert not TaskWorker.objects.exists()

    def test_sigterm_gives_back_what_does_not_end_in_time(self, worker_process, tmp_path):
        path = tmp_path / "lines"
        task_id = enqueue(LINGER, path=str(path), seconds=60)
        worker = worker_process("--drain-seconds", "0.5")
        wait_for(path.exists, what="the task to begin")
        begun = time.monotonic()

        worker.send_signal(signal.SIGTERM)

        assert worker.wait(timeout=60) == 0
        assert time.monotonic() - begun < 30, "it did not wait for the task's sixty seconds"
        row = DBTaskResult.objects.get(pk=task_id)
        assert (row.status, row.worker_ids) == ("READY", [])

    def test_a_killed_workers_task_is_taken_over_and_done(self, worker_process, tmp_path):
        path = tmp_path / "lines"
        task_id = enqueue(LINGER, path=str(path), seconds=3)
        worker = worker_process()
        wait_for(path.exists, what="the task to begin")
        worker.kill()
        worker.wait()
        assert DBTaskResult.objects.get(pk=task_id).status == "RUNNING"

        successor = Worker(threads=1, beat_seconds=0.2, dead_after_seconds=5.0)  # and a busy machine lets no beat be so late
        thread = threading.Thread(target=successor.run)
        thread.start()
        try:
            wait_for(lambda: DBTaskResult.objects.filter(pk=task_id, status="SUCCESSFUL").exists(), what="the take-over")
        finally:
            successor.stop()
            thread.join()
        assert path.read_text() == "begun\nbegun\nended\n"
        assert len(DBTaskResult.objects.get(pk=task_id).worker_ids) == 2

    def test_it_is_small(self, worker_process):
        enqueue(NOTE)
        worker = worker_process("--with-schedule")
        wait_for(lambda: DBTaskResult.objects.filter(status="SUCCESSFUL").exists(), what="a task")
        wait_for(lambda: not DBTaskResult.objects.filter(status__in=["READY", "RUNNING"]).exists(), what="the schedule's first tasks")

        memory = psutil.Process(worker.pid).memory_full_info()
        assert memory.pss < 110 * 2**20, f"{memory.pss / 2**20:.0f} MB"


@pytest.mark.django_db(transaction=True)
class TestInProcess:
    @pytest.fixture
    def running(self):
        workers = []

        def start(**options):
            worker = Worker(**{"threads": 1, "beat_seconds": 0.2, "dead_after_seconds": 10.0, **options})
            thread = threading.Thread(target=worker.run)
            thread.start()
            workers.append((worker, thread))
            return worker

        yield start
        for worker, _ in workers:
            worker.stop()
        for _, thread in workers:
            thread.join()
        # a thread that hung on purpose outlives its worker: it must not meet the next test
        wait_for(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("tasks-")])

    def test_a_task_starts_soon_after_its_commit(self, running):
        running()
        wait_for(TaskWorker.objects.exists)
        time.sleep(0.5)
        begun = time.monotonic()
        task_id = enqueue(NOTE)

        wait_for(lambda: DBTaskResult.objects.filter(pk=task_id, status="SUCCESSFUL").exists())
        assert time.monotonic() - begun < 15

    def test_two_workers_share_the_queue(self, running, tmp_path):
        for number in range(6):
            enqueue(LINGER, path=str(tmp_path / str(number)), seconds=0.5)

        first, second = running(), running()

        wait_for(lambda: DBTaskResult.objects.filter(status="SUCCESSFUL").count() == 6)
        shares = [len([row for row in DBTaskResult.objects.all() if row.worker_ids == [str(worker.id)]]) for worker in (first, second)]
        assert sum(shares) == 6
        assert min(shares) >= 1

    def test_a_lost_connection_is_survived(self, running):
        running()
        wait_for(TaskWorker.objects.exists)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

        task_id = enqueue(NOTE)

        wait_for(lambda: DBTaskResult.objects.filter(pk=task_id, status="SUCCESSFUL").exists())

    def test_a_task_that_hangs_loses_its_attempt_and_its_worker_asks_to_be_replaced(self, running, tmp_path):
        task_id = enqueue(LINGER, path=str(tmp_path / "lines"), seconds=5)
        worker = running(stuck_after_seconds=0.7, drain_seconds=0.1)

        wait_for(lambda: worker.failed)
        wait_for(lambda: DBTaskResult.objects.get(pk=task_id).status == "READY")
        row = DBTaskResult.objects.get(pk=task_id)
        assert (row.exception_class_path, len(row.worker_ids)) == ("core.tasks.worker.TaskStuck", 1)

    def test_a_worker_does_not_judge_others_before_it_has_beaten_long_enough(self):
        worker = Worker(dead_after_seconds=20.0)
        assert not worker._may_judge_others()
        worker._beat()
        assert not worker._may_judge_others()
        worker._beating_since -= 20.0
        assert worker._may_judge_others()
