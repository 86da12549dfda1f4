"""What was measured, as a table, as JSON and as a plot."""

import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import Series
from benchmarks.plot import draw
from benchmarks.servers import APPLICATION, FLOOR

BAR, STRETCH, GROWTH = 2.0, 1.4, 2.0
TICKET_MS = 4.0
TITLES = {
    "browse": "Browse by make, model and year",
    "newest": "Newest tunes",
    "detail": "One tune",
    "purchases": "My purchases",
    "grant": "Download grant",
    "grant_ticket": "Download grant with signed ticket",
}


@dataclass(frozen=True)
class Row:
    """One endpoint at one size: medians, the spread of the ratio, and growth since the smallest size."""

    workload: str
    tunes: int
    application_ms: float
    database_ms: float
    floor_application_ms: float
    floor_database_ms: float
    elapsed_ms: float
    floor_elapsed_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float
    cpu_growth: float | None
    database_growth: float | None
    floor_growth: float | None

    @property
    def cpu_ms(self) -> float:
        return self.application_ms + self.database_ms

    @property
    def floor_ms(self) -> float:
        return self.floor_application_ms + self.floor_database_ms

    @property
    def is_within_bar(self) -> bool:
        """2.0 times the floor; a grant with its ticket may also take 4 ms for the signature."""
        if self.ratio <= BAR:
            return True
        return self.workload == "grant_ticket" and self.cpu_ms <= BAR * self.floor_ms + TICKET_MS

    @property
    def has_grown_within_bar(self) -> bool:
        return self.cpu_growth is None or (self.cpu_growth <= GROWTH and (self.database_growth or 0) <= GROWTH)


def rows(series: list[Series]) -> list[Row]:
    """A row for each endpoint and size. The ratio is the median over rounds of neighbouring blocks' ratios."""
    smallest = {one.workload: one for one in reversed(series)}
    made = []
    for one in series:
        first = smallest[one.workload]
        ratios = sorted(one.ratios)
        made.append(
            Row(
                workload=one.workload,
                tunes=one.tunes,
                application_ms=one.median(APPLICATION, "application_ms"),
                database_ms=one.median(APPLICATION, "database_ms"),
                floor_application_ms=one.median(FLOOR, "application_ms"),
                floor_database_ms=one.median(FLOOR, "database_ms"),
                elapsed_ms=one.median(APPLICATION, "elapsed_ms"),
                floor_elapsed_ms=one.median(FLOOR, "elapsed_ms"),
                ratio=statistics.median(ratios),
                ratio_low=ratios[0],
                ratio_high=ratios[-1],
                cpu_growth=_growth(first, one, APPLICATION, "cpu_ms"),
                database_growth=_growth(first, one, APPLICATION, "database_ms"),
                floor_growth=_growth(first, one, FLOOR, "cpu_ms"),
            )
        )
    return made


def _growth(first: Series, one: Series, server: str, what: str) -> float | None:
    return None if one is first else one.median(server, what) / first.median(server, what)


def table(measured: list[Row]) -> str:
    """Markdown: one line for each endpoint and size."""
    lines = [
        "| endpoint | tunes | application + database, ms | floor, ms | × floor (lowest–highest round) | bar 2.0 × | growth: all · database (floor) | bar 2 × |",
        "| --- | ---: | ---: | ---: | ---: | --- | ---: | --- |",
    ]
    for row in measured:
        growth = "" if row.cpu_growth is None else f"{row.cpu_growth:.2f} · {row.database_growth:.2f} ({row.floor_growth:.2f})"
        lines.append(
            f"| {TITLES[row.workload]} | {row.tunes:,} | {row.application_ms:.2f} + {row.database_ms:.2f} = {row.cpu_ms:.2f}"
            f" | {row.floor_application_ms:.2f} + {row.floor_database_ms:.2f} = {row.floor_ms:.2f}"
            f" | **{row.ratio:.2f}** ({row.ratio_low:.2f}–{row.ratio_high:.2f}) | {_verdict(row)} | {growth}"
            f" | {'' if row.cpu_growth is None else 'reached' if row.has_grown_within_bar else 'missed'} |"
        )
    return "\n".join(lines)


def _verdict(row: Row) -> str:
    if row.ratio <= STRETCH:
        return "reached, below 1.4 ×"
    if row.ratio <= BAR:
        return "reached"
    return "reached with the ticket's 4 ms" if row.is_within_bar else "missed"


def write(directory: Path, series: list[Series], conditions: dict[str, Any]) -> None:
    """`results.md`, `results.json` and `results.svg`."""
    measured = rows(series)
    (directory / "results.svg").write_text(draw(measured, titles=TITLES, bar=BAR), encoding="utf-8")
    (directory / "results.md").write_text(_page(measured, conditions), encoding="utf-8")
    raw = {
        "conditions": conditions,
        "rows": [asdict(row) | {"within_bar": row.is_within_bar, "growth_within_bar": row.has_grown_within_bar} for row in measured],
        "samples": [
            {
                "workload": one.workload,
                "tunes": one.tunes,
                "samples": {server: [asdict(sample) for sample in samples] for server, samples in one.samples.items()},
            }
            for one in series
        ],
    }
    (directory / "results.json").write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")


def _page(measured: list[Row], conditions: dict[str, Any]) -> str:
    missed = [f"{TITLES[row.workload]} at {row.tunes:,} ({row.ratio:.2f} ×)" for row in measured if not row.is_within_bar]
    grown = [f"{TITLES[row.workload]} ({row.cpu_growth:.2f} ×)" for row in measured if not row.has_grown_within_bar]
    reached = (
        "Every endpoint stays within 2.0 times the floor" if not missed else f"Over 2.0 times the floor: {', '.join(missed)}"
    ) + (", and grows less than 2 times with ten times the tunes." if not grown else f". Over the bar of growth: {', '.join(grown)}.")
    if all(row.cpu_growth is None for row in measured):
        reached = reached.split(", and")[0].rstrip(".") + "."
    return f"""# What a request costs

{reached}

![CPU per request](results.svg)

{table(measured)}

Milliseconds of processor time per request, medians of {conditions["rounds"]} rounds of {conditions["block"]} requests. The ratio is the median of the
rounds' own ratios, each of two blocks that ran one after the other; in brackets the lowest and the highest of them. Growth is that from the smallest
number of tunes; what the floor grew by in the same time, in brackets, is mostly what else the machine had to do then.

## How it was measured

`make bench` starts a PostgreSQL and an S3 server of its own, loads the data in sets, and serves the application as `make run` does (gunicorn, one worker,
four threads) beside the floor: a bare WSGI function with psycopg2, SQL by hand and orjson (`floor.py`) on the same kind of server and the same database.
Both workers are pinned to one core, database and load to the other. Before anything is measured, both have to give the same answers. Then, after a
warm-up, blocks of requests go over one kept connection to the one and to the other in turn, for every endpoint, in rounds.
Counted is processor time: that of the worker's threads and that of the database's backends, as the kernel accounts for it.

The floor of the signed-in endpoints verifies the token and reads the session. Its grant does the same durable work in SQL: exact limit, idempotency, locks
on purchase and version, reservation of the license, the Download row, the ticket, the audit event; and it makes the same link and signature. The
riders' purchases were downloaded before, so neither side counts a first download. Whether the stored object is still untouched, the application asks the
store at most twice a minute for each object; that is in its figures, and the floor does not do it.

Elapsed time, which depends on what else the machine does, and the load, are in `results.json`.

## Conditions

{conditions["at"]} UTC · {conditions["system"]} · Python {conditions["python"]} · PostgreSQL {conditions["postgresql"]} ·
load of the machine before and after: {conditions["load_before"]} and {conditions["load_after"]} · {conditions.get("seconds", "?")} s in all
"""
