"""pytest plugin: which problem codes each operation answered in a run, held against what its row declares.

A code that was answered and is not declared fails the run, however small it is. A declared code that no test reached
fails a whole run (nothing chosen but the mark, as `make test` does), and a part of one with `--every-declared-code`.
Under xdist each worker sends what it saw to the controller.
"""

from collections import defaultdict

import pytest

# Answered outside the operation (a bad host, a bug), or by any of them when something is down.
OF_NO_OPERATION = frozenset({"bad_request", "internal_error", "service_unavailable", "method_not_allowed"})
# What a row implies and this operation forgives.
FORGIVEN = {("remove_favorite", "not_found"): "unmarking what is not there, or not there any more, is done already"}
HOW_TO_REACH = """
Each of them is a promise of the schema that no request of any test met. Say in revsync_backend/tests/recipes/ how it is met
(the state in which the call is refused, and the call; status, body and that nothing changed are checked for you):

    @refusal("{name}", "{code}")
    def _(kit, world):
        ...
        return Call(path=..., body=...)

and try it with `pytest revsync_backend/tests/test_route_manners.py -k "refusal_of_its_own and {name}"`. If the operation can't
answer it, take the code out of `problems=` of its row; if anything can happen there instead, that is what to declare.
"""
_seen: set[tuple[str, str]] = set()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every-declared-code", action="store_true", help="hold a part of the suite too to answering every declared code")


def is_whole(config: pytest.Config) -> bool:
    """Whether every test was meant to run, but for the long ones; it may have been cut off all the same."""
    chosen = [config.getoption(name, default=None) for name in ("keyword", "deselect", "lf", "ignore", "ignore_glob", "stepwise")]
    return (
        config.args_source is pytest.Config.ArgsSource.TESTPATHS and not any(chosen) and config.getoption("markexpr") in {"", "not long"}
    )


def _holds_to_every_code(config: pytest.Config, exitstatus: int) -> bool:
    ended = exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}
    return ended and (is_whole(config) or config.getoption("--every-declared-code"))


@pytest.fixture(scope="session", autouse=True)
def _note_answers() -> None:
    """Imported late: Django is not set up when the plugin is."""
    from core.views import ApiView

    finalize = ApiView.finalize_response

    def noting(self, request, response, *args, **kwargs):
        response = finalize(self, request, response, *args, **kwargs)
        row = self.rows.get("GET" if request.method == "HEAD" else request.method)
        if row is not None and response.status_code >= 400 and isinstance(getattr(response, "data", None), dict):
            _seen.add((row.name, response.data["code"]))
        return response

    ApiView.finalize_response = noting  # type: ignore[method-assign]


def differences(seen: set[tuple[str, str]]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """By operation: the codes that were answered though not declared, and those that were declared and never answered."""
    from core.schema import codes_of
    from revsync_backend.urls import all_endpoints

    undeclared: dict[str, list[str]] = defaultdict(list)
    unreached: dict[str, list[str]] = defaultdict(list)
    for endpoint in all_endpoints():
        declared = {code for code in codes_of(endpoint) if (endpoint.name, code) not in FORGIVEN} - OF_NO_OPERATION
        answered = {code for name, code in seen if name == endpoint.name} - OF_NO_OPERATION
        if answered - declared:
            undeclared[endpoint.name] = sorted(answered - declared)
        if declared - answered:
            unreached[endpoint.name] = sorted(declared - answered)
    return undeclared, unreached


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error) -> None:
    """A worker of xdist has ended."""
    _seen.update(map(tuple, getattr(node, "workeroutput", {}).get("answers", [])))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["answers"] = sorted(_seen)
        return
    if not _seen:
        return
    undeclared, unreached = differences(_seen)
    if undeclared or (unreached and _holds_to_every_code(session.config, exitstatus)):
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, exitstatus, config: pytest.Config) -> None:
    if not _seen:
        return
    undeclared, unreached = differences(_seen)
    for name, codes in undeclared.items():
        terminalreporter.write_line(f"{name} answered {', '.join(codes)}, which its row does not declare", red=True)
    if unreached and _holds_to_every_code(config, exitstatus):
        for name, codes in unreached.items():
            terminalreporter.write_line(f"{name} declares {', '.join(codes)}, which no test reached", red=True)
        name, codes = next(iter(unreached.items()))
        terminalreporter.write_line(HOW_TO_REACH.format(name=name, code=codes[0]))
