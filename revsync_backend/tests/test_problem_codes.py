"""The table of problem codes and the code agree, both ways: nothing raised that is not in it, nothing in it that nobody raises."""

import ast
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from core.exceptions import DomainError
from core.problems import problem_types
from core.schema import codes_of
from revsync_backend import reference
from revsync_backend.urls import all_endpoints

ROOT = Path(__file__).resolve().parent.parent.parent
APPS = ("core", "users", "garage", "tuners", "marketplace", "revsync_backend")
CODES = {row.code for row in problem_types()}
TREES = {
    path: ast.parse(path.read_text(encoding="utf-8"))
    for app in APPS
    for path in sorted((ROOT / app).rglob("*.py"))
    if not {"tests", "testing", "migrations"} & set(path.relative_to(ROOT).parts)
}
# Refusals that no client ever gets: operators read their words.
NOT_ANSWERED = {
    "email_taken": "management commands only; the API never tells that an address is known",
    "task_not_dead": "the admin's pages of tasks",
}


def exceptions(kind: type[DomainError] = DomainError) -> Iterator[type[DomainError]]:
    for path in TREES:
        if path.name.startswith("exceptions") or path.parent.name == "exceptions":
            import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    return _below(kind)


def _below(kind: type[DomainError]) -> Iterator[type[DomainError]]:
    for child in kind.__subclasses__():
        if not {"tests", "testing"} & set(child.__module__.split(".")):
            if not child.__name__.startswith("_"):
                yield child
            yield from _below(child)


def used_names() -> set[str]:
    """Names that stand in code, other than where they are imported, defined or derived from."""
    names: set[str] = set()
    for tree in TREES.values():
        bases = {id(base) for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for base in node.bases}
        for node in ast.walk(tree):
            if id(node) in bases:
                continue
            if isinstance(node, ast.Name):
                names.add(node.id)
            elif isinstance(node, ast.Attribute):
                names.add(node.attr)
    return names


def literal_codes() -> set[str]:
    """Codes that are answered by their name: all that `core.problems`, `core.web_worker` and the callers of `problem_response` say."""
    codes: set[str] = set()
    by_name = {ROOT / "core" / "problems.py", ROOT / "core" / "web_worker.py"}
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if path in by_name and isinstance(node, ast.Call) and getattr(node.func, "id", "") == "ProblemType":
                continue
            if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in {"problem_response", "_refusal"}:
                codes |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
            elif path in by_name and isinstance(node, ast.Return) and node.value is not None:
                codes |= {part.value for part in ast.walk(node.value) if isinstance(part, ast.Constant) and isinstance(part.value, str)}
    return codes


@cache
def raised_codes() -> set[str]:
    """Every code that something in the code can answer with."""
    names = used_names()
    return {kind.code for kind in exceptions() if kind.__name__ in names} | literal_codes()


@pytest.mark.parametrize("kind", sorted(set(exceptions()), key=lambda kind: kind.__qualname__), ids=lambda kind: kind.__qualname__)
def test_what_is_raised_stands_in_the_table(kind):
    assert kind.code in CODES | NOT_ANSWERED.keys(), f"register {kind.code} in {kind.__module__.split('.')[0]}/problems"


@pytest.mark.parametrize("code", sorted(CODES))
def test_what_stands_in_the_table_is_raised_somewhere(code):
    assert code in raised_codes(), f"nobody answers {code}: take it out of the table"


@pytest.mark.parametrize("code", sorted(CODES))
def test_the_table_says_where_it_comes_from(code):
    declared = any(code in codes_of(endpoint) for endpoint in all_endpoints()) or code in reference.EVERYWHERE
    assert declared != (code in reference.ELSEWHERE), (
        f"{code}: declare it in the rows that answer it, or say in revsync_backend/reference.py where else it comes from"
    )


def test_what_rows_declare_stands_in_the_table():
    assert {code for endpoint in all_endpoints() for code in codes_of(endpoint)} <= CODES
