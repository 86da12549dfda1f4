"""What must be true of the data whatever happened: `manage.py verify_invariants` proves it, after every fault above all.

Constraints and triggers hold what one row, or one transaction, can break. Here is what only a look at several tables
tells, and what would show that a constraint was once switched off. Each look is one statement, so it sees one moment and
may run beside the living system; nothing is locked and nothing is repaired.

An app adds its own by `register("each sale is booked", rows(SQL))` in its module `invariants`, which is loaded when it is wanted.
"""

import importlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from itertools import islice

from django.apps import apps
from django.db import connection, transaction

from core import rls, storage
from core.audit import verification

NAMED_AT_MOST = 20

Look = Callable[[], Iterable[str]]  # one sentence for each thing that is wrong

_looks: dict[str, Look] = {}
_object_looks: dict[str, Look] = {}


def register(name: str, look: Look, *, reads_objects: bool = False) -> None:
    """Add an invariant of an app. `reads_objects`: it reads stored files, which takes long and is done on request."""
    looks = _object_looks if reads_objects else _looks
    if looks.setdefault(name, look) != look:
        raise ValueError(f"Two invariants are called {name}")


def rows(sql: str) -> Look:
    """A look by one SELECT of one text column, a row for each thing that is wrong."""

    def look() -> list[str]:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")  # whole tables are looked at
            cursor.execute(f"SELECT * FROM ({sql}) AS wrong LIMIT {NAMED_AT_MOST + 1}")
            return [str(row[0]) for row in cursor.fetchall()]

    return look


def objects(files: Callable[[], Iterable[tuple[str, str, str, int]]]) -> Look:
    """A look that hashes stored objects. `files` gives (what, storage key, SHA-256, size)."""

    def look() -> Iterator[str]:
        for what, key, sha256, size_bytes in files():
            try:
                found = storage.hash_object(key)
            except storage.ObjectMissing:
                yield f"{what}: its object is missing"
                continue
            if found != (sha256, size_bytes):
                yield f"{what}: its object has other bytes"

    return look


@cache
def load() -> None:
    """Import `<app>.invariants` of every app that has one, so that its invariants are registered."""
    for config in apps.get_app_configs():
        if config.name != "core" and find_spec(f"{config.name}.invariants") is not None:
            importlib.import_module(f"{config.name}.invariants")


def verify(*, with_objects: bool = False) -> Iterator[tuple[str, list[str]]]:
    """Each invariant's name with what breaks it, the first twenty and a word on the rest; empty when it holds.

    Raises: ServiceUnavailable("storage"): what lies there is not proved.
    """
    load()
    looks = _looks | (_object_looks if with_objects else {})
    for name, look in sorted(looks.items()):
        found = list(islice(look(), NAMED_AT_MOST + 1))
        yield name, found if len(found) <= NAMED_AT_MOST else [*found[:NAMED_AT_MOST], "… and more"]


def _audit_log() -> list[str]:
    report = verification.verify()
    return [str(finding) for finding in report.findings] or ([] if report.intact else [f"{report.changed} things were changed"])


def _exposures() -> list[str]:
    return [f"open to others: {exposure}" for exposure in rls.find_exposures()]


register("the audit log is as it was sealed", _audit_log)
register("no table is open to other roles", _exposures)
