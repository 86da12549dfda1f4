"""The worker process: a few threads that claim and run tasks, and a main thread that beats, takes over and stops."""

import os
import socket
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import structlog
from django.db import DatabaseError, InterfaceError, close_old_connections, connections

from core.ids import new_id
from core.tasks import queue, runner

log = structlog.get_logger("core.tasks.worker")

BEAT_SECONDS = 4.0
DEAD_AFTER_SECONDS = 20.0  # five beats missed
DRAIN_SECONDS = 10.0
STUCK_AFTER_SECONDS = 900.0  # everything a task waits for has a time-out; one that is still here hangs
SHORTEST_POLL_SECONDS, LONGEST_POLL_SECONDS = 0.05, 1.0


class TaskStuck(Exception):
    """The task hung in a thread that can't be ended: the attempt counts, and its process is given up."""


class Worker:
    """Runs tasks until `stop()`; `run()` returns when the running ones are done or given back.

    `every_second` (the schedule, say) is called by the main thread about once a second.
    """

    def __init__(
        self,
        *,
        threads: int = 2,
        beat_seconds: float = BEAT_SECONDS,
        dead_after_seconds: float = DEAD_AFTER_SECONDS,
        drain_seconds: float = DRAIN_SECONDS,
        stuck_after_seconds: float = STUCK_AFTER_SECONDS,
        every_second: Callable[[], object] | None = None,
    ) -> None:
        self.id = new_id()
        self.threads = threads
        self.beat_seconds, self.dead_after_seconds, self.drain_seconds = beat_seconds, dead_after_seconds, drain_seconds
        self.stuck_after_seconds = stuck_after_seconds
        self.every_second = every_second
        self.running: dict[int, queue.Claimed] = {}  # by thread; a task is in here from its claim to its outcome
        self.begun: dict[int, float] = {}
        self.failed = False  # the process should be started anew
        self._stopping = threading.Event()
        self._beating_since: float | None = None
        self._last_beat = 0.0

    def stop(self) -> None:
        """Claim nothing more. Safe to call from a signal handler and more than once."""
        self._stopping.set()

    def run(self) -> None:
        """Work until stopped. A database that is away is waited for, never a reason to exit."""
        log.info("worker_started", worker=str(self.id), threads=self.threads)
        while not self._beat() and not self._stopping.wait(1.0):
            pass
        crew = [threading.Thread(target=self._work, args=(number,), name=f"tasks-{number}", daemon=True) for number in range(self.threads)]
        for thread in crew:
            thread.start()
        self._look_after(crew)
        deadline = time.monotonic() + self.drain_seconds
        while any(thread.is_alive() for thread in crew) and time.monotonic() < deadline:
            self._beat_if_due()
            time.sleep(0.05)
        self._leave()

    def _look_after(self, crew: list[threading.Thread]) -> None:
        next_take_over = next_second = 0.0
        while not self._stopping.wait(0.5):
            if not all(thread.is_alive() for thread in crew):
                log.error("worker_thread_lost")
                self._fail()
                return
            if stuck := self._find_stuck():
                log.error("task_stuck", task=stuck.path, task_id=str(stuck.id))
                self._guarded("stuck", lambda: runner.settle(stuck, TaskStuck(f"still running after {self.stuck_after_seconds:.0f} s")))
                self._fail()
                return
            self._beat_if_due()
            if self._may_judge_others() and time.monotonic() >= next_take_over:
                next_take_over = time.monotonic() + self.dead_after_seconds / 4
                self._guarded("take_over", self._take_over)
            if self.every_second is not None and time.monotonic() >= next_second:
                next_second = time.monotonic() + 0.9
                self._guarded("every_second", self.every_second)

    def _find_stuck(self) -> queue.Claimed | None:
        oldest = time.monotonic() - self.stuck_after_seconds
        return next((self.running[number] for number, begun in list(self.begun.items()) if begun < oldest and number in self.running), None)

    def _fail(self) -> None:
        """Stop as by SIGTERM; `run_worker` exits with 1, and whoever watches it starts a whole process again."""
        self.failed = True
        self.stop()

    # The heartbeat

    def _beat_if_due(self) -> None:
        if self._last_beat + self.beat_seconds <= time.monotonic():
            self._beat()

    def _beat(self) -> bool:
        self._last_beat = time.monotonic()
        beaten = self._guarded("beat", lambda: queue.beat(self.id, host=socket.gethostname(), pid=os.getpid()))
        if not beaten:
            self._beating_since = None
        elif self._beating_since is None:
            self._beating_since = time.monotonic()
        return beaten

    def _may_judge_others(self) -> bool:
        """After an outage of the database everybody's last beat is old: the others first get time to beat again."""
        return self._beating_since is not None and time.monotonic() - self._beating_since >= self.dead_after_seconds

    def _take_over(self) -> None:
        taken = queue.take_over_abandoned(dead_after=timedelta(seconds=self.dead_after_seconds))
        if taken:
            log.warning("tasks_taken_over", tasks=[str(task_id) for task_id in taken])

    def _guarded(self, name: str, act: Callable[[], object]) -> bool:
        """Do it on a usable connection; a database error is logged and False."""
        try:
            close_old_connections()
            act()
        except (DatabaseError, InterfaceError) as error:
            log.warning("worker_database_error", during=name, error=type(error).__name__)
            connections.close_all()
            return False
        except Exception:
            log.exception("worker_error", during=name)
            return False
        return True

    # One thread

    def _work(self, number: int) -> None:
        pause = SHORTEST_POLL_SECONDS
        try:
            while not self._stopping.is_set():
                try:
                    close_old_connections()
                    claimed = queue.claim_next(self.id)
                except (DatabaseError, InterfaceError) as error:
                    log.warning("worker_database_error", during="claim", error=type(error).__name__)
                    connections.close_all()
                    self._stopping.wait(1.0)
                    continue
                if claimed is None:
                    self._stopping.wait(pause)
                    pause = min(pause * 1.5, LONGEST_POLL_SECONDS)
                    continue
                pause = SHORTEST_POLL_SECONDS
                self.begun[number], self.running[number] = time.monotonic(), claimed
                outcome = runner.run(claimed)
                self._settle(claimed, outcome)
                self.running.pop(number, None)
        finally:
            connections.close_all()

    def _settle(self, claimed: queue.Claimed, error: BaseException | None) -> None:
        """Write the outcome, however long the database is away: what is done must not be done again if we can help it."""
        pause = 0.1
        while True:
            try:
                close_old_connections()
                runner.settle(claimed, error)
                return
            except (DatabaseError, InterfaceError) as trouble:
                log.warning("worker_database_error", during="settle", error=type(trouble).__name__)
                connections.close_all()
                time.sleep(pause)
                pause = min(pause * 2, 2.0)

    def _leave(self) -> None:
        """Give back what still runs (the process ends right after), and sign off."""
        for claimed in list(self.running.values()):
            log.warning("task_given_back", task=claimed.path, task_id=str(claimed.id))
            self._guarded("give_back", lambda claimed=claimed: queue.give_back(claimed, None, delay=timedelta(0)))
        self._guarded("sign_off", lambda: queue.sign_off(self.id))
        connections.close_all()
        log.info("worker_stopped", worker=str(self.id))
