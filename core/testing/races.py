"""Races on real connections, with a control that cuts the lock out."""

import re
import threading
from collections.abc import Callable

from django.db import connection

from core.exceptions import DomainError

ROW_LOCK = re.compile(r" FOR (NO KEY )?(UPDATE|SHARE)( OF [^ ]+)?")


def race(act: Callable[[], object], *, times: int = 2, row_locks: bool = True, meet_after: str | None = None) -> list[str]:
    """Run `act` at the same moment on `times` connections; return "ok" or the refusal's code of each, sorted.

    With `row_locks=False` this is the control: the lock is cut out of the SQL and everybody waits after the first
    read, so that what the lock prevents is certain to happen. Where the lock is not the read that decides, `meet_after`
    is a piece of the statement that does. An exception that is no refusal is raised again here.
    """
    return race_all([act] * times, row_locks=row_locks, meet_after=meet_after)


def race_all(acts: list[Callable[[], object]], *, row_locks: bool = True, meet_after: str | None = None) -> list[str]:
    """The same for different acts, one connection each."""
    start, all_have_read = threading.Barrier(len(acts)), threading.Barrier(len(acts))
    outcomes: list[str] = []
    bugs: list[BaseException] = []

    def contend(act: Callable[[], object]) -> None:
        has_read = False

        def unlocked(execute, sql, params, many, context):
            nonlocal has_read
            result = execute(ROW_LOCK.sub("", sql), params, many, context)
            if not has_read and (meet_after in sql if meet_after else sql.startswith("SELECT")):
                has_read = True
                all_have_read.wait(timeout=10)
            return result

        try:
            start.wait(timeout=10)
            if row_locks:
                act()
            else:
                with connection.execute_wrapper(unlocked):
                    act()
                assert has_read, f"No statement has {meet_after!r}: nobody met, so this control shows nothing."
            outcomes.append("ok")
        except DomainError as refusal:
            outcomes.append(refusal.code)
        except BaseException as bug:  # a thread's exception would be lost
            bugs.append(bug)
        finally:
            connection.close()

    threads = [threading.Thread(target=contend, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if bugs:
        raise bugs[0]
    return sorted(outcomes)
