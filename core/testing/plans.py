"""What Postgres does with the statements that a piece of code really sends."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

_READS = ("SELECT", "WITH")
_WRITES = ("INSERT", "UPDATE", "DELETE")
FEW = 500  # whether any row has a common word is seen in the first ones: that is not to read a table


@dataclass(frozen=True)
class Statement:
    """One statement as it was sent, with its values beside it."""

    sql: str
    parameters: Any

    @property
    def reads(self) -> bool:
        return self.sql.lstrip(" (\n").upper().startswith(_READS)

    @property
    def has_plan(self) -> bool:
        return self.reads or self.sql.lstrip().upper().startswith(_WRITES)


@contextlib.contextmanager
def captured() -> Iterator[list[Statement]]:
    """The statements that are sent inside, in their order."""
    sent: list[Statement] = []

    def keep(execute, sql, parameters, many, context):
        sent.append(Statement(sql, parameters))
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(keep):
        yield sent


@dataclass
class Plan:
    """A plan, and what it came to when it was executed."""

    indexes: set[str] = field(default_factory=set)
    read_whole: set[str] = field(default_factory=set)
    rows_read: int = 0  # entries of indexes and rows of tables, those that a filter dropped too
    execution_ms: float = 0.0
    planning_ms: float = 0.0

    def add(self, other: "Plan") -> None:
        """Count another statement's plan to this one."""
        self.indexes |= other.indexes
        self.read_whole |= other.read_whole
        self.rows_read += other.rows_read
        self.execution_ms += other.execution_ms
        self.planning_ms += other.planning_ms


def explain(statement: Statement) -> Plan:
    """The plan of a statement. A read is executed, a write is only planned."""
    options = "ANALYZE, TIMING OFF, FORMAT JSON" if statement.reads else "FORMAT JSON"
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN ({options}) {statement.sql}", statement.parameters)
        (answer,) = cursor.fetchone()
    (top,) = json.loads(answer) if isinstance(answer, str) else answer
    plan = Plan(execution_ms=top.get("Execution Time", 0.0), planning_ms=top.get("Planning Time", 0.0))
    _walk(top["Plan"], plan)
    return plan


def explain_all(statements: Sequence[Statement]) -> Plan:
    """The plans of all statements that have one, taken together."""
    together = Plan()
    for statement in statements:
        if statement.has_plan:
            together.add(explain(statement))
    return together


def _walk(node: dict[str, Any], plan: Plan) -> None:
    kind = node["Node Type"]
    if "Index Name" in node:
        plan.indexes.add(node["Index Name"])
    if kind in {"Seq Scan", "Index Scan", "Index Only Scan", "Bitmap Index Scan", "Bitmap Heap Scan", "Tid Scan", "Tid Range Scan"}:
        dropped = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
        # rows of a node are an average over its loops, those that it dropped too
        read = round((node.get("Actual Rows", 0) + dropped) * node.get("Actual Loops", 0))
        plan.rows_read += read
        if kind == "Seq Scan" and (read > FEW or "Actual Loops" not in node):
            plan.read_whole.add(node["Relation Name"])
    for child in node.get("Plans", ()):
        _walk(child, plan)
