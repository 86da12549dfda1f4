"""Every list, walked to its end: nothing twice, nothing lost that was there all along, and no cursor but its own."""

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

from core.endpoints import Endpoint
from core.testing.matrix import (
    OTHERS,
    Call,
    Caller,
    Recipe,
    World,
    as_anybody,
    assert_problem,
    ready,
    send,
    summary,
    undone,
    usual_role,
)

ROWS = 7  # made for a walk, beside those that are there


@dataclass(frozen=True, kw_only=True)
class Filling:
    """How a list gets and loses rows.

    `add` makes one more row, tied with those before in every key of the order but the last, and returns the id by which
    the list shows it; `remove` takes it off again, where rows can go. `orderings` gives each of the list's orderings the
    parameters it needs; `filters` are parameters that make another list of it.
    """

    add: Callable[[Any, World], Any]
    remove: Callable[[Any], None] | None = None
    id_of: Callable[[dict[str, Any]], str] = lambda row: row["id"]
    orderings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    filters: Mapping[str, Any] = field(default_factory=dict)


def _caller(endpoint: Endpoint, world: World) -> Caller:
    return world.caller("anonymous" if endpoint.cache == "public" else usual_role(endpoint))


def _prepared(endpoint: Endpoint, recipe: Recipe, filling: Filling, world: World, *, rows: int = ROWS) -> tuple[Caller, Call, list[str]]:
    caller = _caller(endpoint, world)
    kit = world.kit(caller.role)
    call = as_anybody(recipe(kit, world))
    ready(endpoint, caller)
    return caller, call, [str(filling.add(kit, world)) for _ in range(rows)]


def page(caller: Caller, endpoint: Endpoint, call: Call, **query: Any) -> dict[str, Any]:
    answer = send(caller, endpoint, replace(call, query={**call.query, **query}))
    assert answer.status_code == 200, summary(answer)
    return answer.json()


def cursor_in(url: str) -> str:
    """The cursor of a `next`, which is an absolute URL of the same list."""
    parts = urlsplit(url)
    assert parts.scheme and parts.netloc, "next is an absolute URL"
    return parse_qs(parts.query)["cursor"][0]


def check_walk(endpoint: Endpoint, recipe: Recipe, filling: Filling, world: World) -> None:
    """With ties, while rows come and go: before the position, behind it, and the very row that the cursor stands on."""
    declared = set(getattr(endpoint.query().fields.get("ordering"), "choices", ()))
    assert declared == set(filling.orderings), f"say what each ordering of {endpoint.name} needs: {sorted(declared)}"
    for ordering, needed in (filling.orderings or {"": {}}).items():
        with undone():
            _walk(endpoint, recipe, filling, world, {**needed, **({"ordering": ordering} if ordering else {})})


def _walk(endpoint: Endpoint, recipe: Recipe, filling: Filling, world: World, query: Mapping[str, Any]) -> None:
    caller, call, made = _prepared(endpoint, recipe, filling, world)
    call = replace(call, query={**call.query, **query})
    kit = world.kit(caller.role)
    whole = [filling.id_of(row) for row in page(caller, endpoint, call, page_size=100)["results"]]
    assert set(made) <= set(whole) and len(whole) == len(set(whole)) < 90, "the filling fills another list"

    seen: list[str] = []
    removed: set[str] = set()
    shown = page(caller, endpoint, call, page_size=2)
    while True:
        ids = [filling.id_of(row) for row in shown["results"]]
        seen += ids
        if shown["next"] is None:
            break
        assert len(ids) == 2, "only the last page is short"
        assert len(seen) < len(whole) + 40, "the walk does not end"
        if len(seen) == 2:
            filling.add(kit, world)
        elif len(seen) <= 6 and filling.remove is not None:  # not at once with the new one: the two would hide each other
            unseen = [known for known in made if known not in seen and known not in removed]
            for gone in ([ids[-1]] if ids[-1] in made else []) + unseen[-1:]:
                filling.remove(gone)
                removed.add(gone)
        shown = page(caller, endpoint, call, page_size=2, cursor=cursor_in(shown["next"]))
    assert len(seen) == len(set(seen)), "a row came twice"
    stayed = [known for known in whole if known not in removed]
    assert [known for known in seen if known in stayed] == stayed, "a row was lost, or the order differs from the whole list's"


def check_cursors(endpoint: Endpoint, recipe: Recipe, filling: Filling, world: World, elsewhere: Endpoint) -> None:
    """Forged, of another person, of another filter, ordering or list: 400 each, with the parameter's name."""
    with undone():
        caller, call, _ = _prepared(endpoint, recipe, filling, world, rows=3)
        orderings = list(filling.orderings.items())
        if orderings:
            call = replace(call, query={**call.query, **orderings[0][1], "ordering": orderings[0][0]})
        cursor = cursor_in(page(caller, endpoint, call, page_size=1)["next"])
        assert page(caller, endpoint, call, page_size=2, cursor=cursor)["results"], "another page size is no other list"

        for forged in _forgeries(cursor):
            _refused(send(caller, endpoint, replace(call, query={**call.query, "cursor": forged})), forged)
        for name, value in filling.filters.items():
            _refused(send(caller, endpoint, replace(call, query={**call.query, name: value, "cursor": cursor})), name)
        for ordering, needed in orderings[1:]:
            _refused(
                send(caller, endpoint, replace(call, query={**call.query, **needed, "ordering": ordering, "cursor": cursor})), ordering
            )
        _refused(send(caller, elsewhere, Call(query={"cursor": cursor})), "another list")
        if endpoint.cache != "public":
            other = world.caller(OTHERS[caller.role])
            theirs = recipe(world.kit(other.role), world)
            ready(endpoint, other)
            _refused(send(other, endpoint, replace(theirs, query={**theirs.query, "cursor": cursor})), "another person")
        for size in ("0", "-1", "101", "x", "", "1e2", "٣", "9" * 30):
            body = assert_problem(send(caller, endpoint, replace(call, query={**call.query, "page_size": size})), 400, "invalid_input")
            assert [error["parameter"] for error in body["errors"]] == ["page_size"]


def _forgeries(cursor: str) -> Iterable[str]:
    try:
        raw = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError as error:
        raise AssertionError(f"{cursor} is no signed cursor") from error
    for index in (0, 15, 16, len(raw) - 1):
        changed = bytearray(raw)
        changed[index] ^= 1
        yield base64.urlsafe_b64encode(changed).decode().rstrip("=")
    tag = bytes(raw[:16])
    for payload in (b"[]", b"null", b"{}", json.dumps([{"t": "x"}]).encode(), json.dumps(["'; DROP TABLE x", 1]).encode()):
        yield base64.urlsafe_b64encode(tag + payload).decode().rstrip("=")
    yield from (cursor[:-4], cursor + "AAAA", "x", "A" * 900, "😀", "%00")


def _refused(answer: Any, what: str) -> None:
    body = assert_problem(answer, 400, "invalid_input")
    assert [error.get("parameter") for error in body["errors"]] == ["cursor"], f"{what}: {summary(answer)}"
