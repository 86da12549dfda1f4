"""Races on real connections, with a control that cuts the lock (or the deciding condition) out."""

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator

from django.db import connection
from django.db.models import Model

from core.exceptions import DomainError

PATIENCE_SECONDS = 60  # twenty threads of a busy machine may need long until all of them stand at the line
ROW_LOCK = re.compile(r" FOR (NO KEY |KEY )?(UPDATE|SHARE)( OF [^ ]+)?( SKIP LOCKED)?")


def race(
    act: Callable[[], object], *, times: int = 2, row_locks: bool = True, meet_after: str | None = None, cut: str | None = None
) -> list[str]:
    """Run `act` at the same moment on `times` connections; return "ok" or the refusal's code of each, sorted.

    With `row_locks=False` this is the control: the lock is cut out of the SQL and everybody waits after the first
    read, so that what the lock prevents is certain to happen. Where the lock is not the read that decides, `meet_after`
    is a piece of the statement that does. Where a condition of the UPDATE decides instead of a lock, the control cuts
    that condition out (`cut`). An exception that is no refusal is raised again here.
    """
    return race_all([act] * times, row_locks=row_locks, meet_after=meet_after, cut=cut)


def race_all(
    acts: list[Callable[[], object]], *, row_locks: bool = True, meet_after: str | None = None, cut: str | None = None
) -> list[str]:
    """The same for different acts, one connection each."""
    start, all_have_read = threading.Barrier(len(acts)), threading.Barrier(len(acts))
    outcomes: list[str] = []
    bugs: list[BaseException] = []

    def contend(act: Callable[[], object]) -> None:
        has_read = False

        def meet(execute, sql, params, many, context):
            nonlocal has_read
            result = execute(sql if row_locks else ROW_LOCK.sub("", sql), params, many, context)
            if not has_read and (meet_after in sql if meet_after else sql.startswith("SELECT")):
                has_read = True
                all_have_read.wait(timeout=PATIENCE_SECONDS)
            return result

        try:
            with connection.cursor() as cursor:  # the last of many waits for all others: that is the race, not the outcome
                cursor.execute("SET lock_timeout = %s; SET statement_timeout = %s", [f"{PATIENCE_SECONDS}s"] * 2)
            start.wait(timeout=PATIENCE_SECONDS)
            if row_locks and not cut:
                act()
            else:
                with connection.execute_wrapper(meet), _without(cut):
                    act()
                assert has_read, f"No statement has {meet_after!r}: nobody met, so this control shows nothing."
            outcomes.append("ok")
        except DomainError as refusal:
            outcomes.append(refusal.code)
        except BaseException as bug:  # a thread's exception would be lost
            bugs.append(bug)
        finally:
            connection.close()

    _run([lambda act=act: contend(act) for act in acts])
    if bugs:
        raise bugs[0]
    return sorted(outcomes)


def in_between(
    act: Callable[[], object], between: Callable[[], object], *, after: str, row_locks: bool = True, cut: str | None = None
) -> str:
    """Run `between` on a connection of its own right after the first statement of `act` that has `after`; `act`'s outcome.

    For races of which only one order does harm: it is certain to happen here. `row_locks=False` and `cut` make it a
    control, as in `race`; `act` must hold no lock then that `between` waits for.
    """
    outcomes: list[str] = []
    bugs: list[BaseException] = []

    def interrupt(execute, sql, params, many, context):
        result = execute(sql if row_locks else ROW_LOCK.sub("", sql), params, many, context)
        if after in sql and not interrupted:
            interrupted.append(sql)
            _run([lambda: _note(between, [], bugs)])
        return result

    interrupted: list[str] = []

    def interrupted_act() -> None:
        with connection.execute_wrapper(interrupt), _without(cut):
            act()

    _run([lambda: _note(interrupted_act, outcomes, bugs)])
    if bugs:
        raise bugs[0]
    assert interrupted, f"No statement has {after!r}: nothing happened in between."
    return outcomes[0]


def overtake(act: Callable[[], object], other: Callable[[], object], *, after: str, row_locks: bool = True) -> tuple[str, str]:
    """Start `other` when `act` has run its first statement that has `after` and not committed; the outcomes of both.

    `act` goes on once `other` is through or waits for a lock of it: so `other` has read what was true before `act`, and
    decides while `act` commits. `row_locks=False` cuts the locks out of both: the control.
    """
    outcomes: dict[str, list[str]] = {"act": [], "other": []}
    bugs: list[BaseException] = []
    threads: list[threading.Thread] = []
    pids: list[int] = []

    def locking(execute, sql, params, many, context):
        return execute(sql if row_locks else ROW_LOCK.sub("", sql), params, many, context)

    def follow() -> None:
        connection.ensure_connection()
        pids.append(connection.connection.get_backend_pid())
        with connection.execute_wrapper(locking):
            other()

    def interrupt(execute, sql, params, many, context):
        result = locking(execute, sql, params, many, context)
        if after in sql and not threads:
            threads.append(threading.Thread(target=_note, args=(follow, outcomes["other"], bugs)))
            threads[0].start()
            _await_end_or_lock(threads[0], pids)
        return result

    def interrupted_act() -> None:
        with connection.execute_wrapper(interrupt):
            act()

    _run([lambda: _note(interrupted_act, outcomes["act"], bugs)])
    assert threads or bugs, f"No statement has {after!r}: nothing happened meanwhile."
    for thread in threads:
        thread.join()
    if bugs:
        raise bugs[0]
    return outcomes["act"][0], outcomes["other"][0]


@contextlib.contextmanager
def without_index(name: str, model: type[Model]) -> Iterator[None]:
    """A control for what a unique index decides: it is gone, and stands again once the model's rows have been deleted."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_indexdef(%s::regclass)", [name])
        (definition,) = cursor.fetchone()
        cursor.execute(f'DROP INDEX "{name}"')
    try:
        yield
    finally:
        model._default_manager.all().delete()
        with connection.cursor() as cursor:
            cursor.execute(definition)


def _await_end_or_lock(thread: threading.Thread, pids: list[int]) -> None:
    """Until the thread is through, or its backend waits for somebody's lock. Asks on the connection of the one who holds it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while thread.is_alive() and time.monotonic() < deadline:
        if pids:
            with connection.cursor() as cursor:  # not the cursor that is in use
                cursor.execute("SELECT cardinality(pg_blocking_pids(%s))", pids)
                if cursor.fetchone()[0]:
                    return
        thread.join(0.02)


def _note(act: Callable[[], object], outcomes: list[str], bugs: list[BaseException]) -> None:
    try:
        act()
        outcomes.append("ok")
    except DomainError as refusal:
        outcomes.append(refusal.code)
    except BaseException as bug:  # a thread's exception would be lost
        bugs.append(bug)
    finally:
        connection.close()


def _run(acts: list[Callable[[], object]]) -> None:
    threads = [threading.Thread(target=act) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextlib.contextmanager
def _without(condition: str | None) -> Iterator[None]:
    """Cut one condition, with its parameters, out of every UPDATE that has it. One that no UPDATE has is a mistake."""
    if condition is None:
        yield
        return
    found = False

    def cut(execute, sql, params, many, context):
        nonlocal found
        if sql.startswith("UPDATE") and condition in sql:
            found = True
            head, tail = sql.split(condition, 1)
            first, count = head.count("%s"), condition.count("%s")
            sql, params = f"{head}TRUE{tail}", (*params[:first], *params[first + count :])
        return execute(sql, params, many, context)

    with connection.execute_wrapper(cut):
        yield
    assert found, f"No UPDATE has the condition {condition!r}, so this control shows nothing."
