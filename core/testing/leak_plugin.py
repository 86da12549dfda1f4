"""pytest plugin: `core.testing.leaks` over a whole run, in each process of it."""

from collections.abc import Iterator

import pytest

from core.testing.leaks import Leak, LeakWatch, watching

_between_tests: list[Leak] = []
_from_workers: list[str] = []


@pytest.fixture(scope="session")
def leak_watch() -> Iterator[LeakWatch]:
    """One handler for the process."""
    with watching(LeakWatch()) as watch:
        yield watch
        _between_tests.extend(watch.take())


@pytest.fixture(autouse=True)
def _nothing_private_is_logged(leak_watch: LeakWatch) -> Iterator[None]:
    """Fail the test whose log lines hold something private. What session fixtures did before it counts with the run."""
    _between_tests.extend(leak_watch.take())
    leak_watch.forget()
    yield
    if leaks := sorted({str(leak) for leak in leak_watch.take()}):
        pytest.fail("Something private was logged by " + "; ".join(leaks), pytrace=False)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell the run, or the process that leads it, what was logged outside of tests."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["private_in_logs"] = sorted({str(leak) for leak in _between_tests})
    elif _all_leaks() and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error) -> None:
    """xdist: a worker has ended, which its leader hears of before its own end."""
    _from_workers.extend(getattr(node, "workeroutput", {}).get("private_in_logs", []))


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter) -> None:
    """Name the logger and the kind, never the value."""
    for leak in _all_leaks():
        terminalreporter.write_line(f"Something private was logged outside of tests by {leak}", red=True)


def _all_leaks() -> list[str]:
    return sorted({*_from_workers, *(str(leak) for leak in _between_tests)})
