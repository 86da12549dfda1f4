"""What was measured, as tables, as JSON and as plots."""

import json
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import plot
from benchmarks.servers import APPLICATION, FLOOR

STRETCH = 1.4
# What was tried where a bar is missed, and why it is. Shown only when it is missed.
WHY = Path(__file__).with_name("misses.md")


@dataclass(frozen=True)
class Row:
    """One endpoint at one size: medians, the spread of the ratio, and growth since the smallest size."""

    workload: str
    title: str
    tunes: int
    bar: float
    growth_bar: float
    extra_ms: float
    application_ms: float
    database_ms: float
    floor_application_ms: float
    floor_database_ms: float
    elapsed_ms: float
    floor_elapsed_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float

    @property
    def cpu_ms(self) -> float:
        return self.application_ms + self.database_ms

    @property
    def floor_ms(self) -> float:
        return self.floor_application_ms + self.floor_database_ms

    @property
    def is_within_bar(self) -> bool:
        """So many times the floor; a grant with its ticket may also take 4 ms for the signature."""
        return self.ratio <= self.bar or self.cpu_ms <= self.bar * self.floor_ms + self.extra_ms > self.bar * self.floor_ms


@dataclass(frozen=True)
class Growth:
    """What Postgres itself takes for one endpoint at each size, and how."""

    workload: str
    title: str
    bar: float
    probes: list[dict[str, Any]]

    @property
    def factor(self) -> float:
        return self.probes[-1]["database_ms"] / self.probes[0]["database_ms"]

    @property
    def is_within_bar(self) -> bool:
        return len(self.probes) == 1 or self.factor <= self.bar


def rows(found: Iterable[dict[str, Any]]) -> list[Row]:
    """A row for each endpoint and size. The ratio is the median over rounds of neighbouring blocks' ratios."""
    return [_row(series) for size in found for series in size.get("series", ())]


def _row(series: dict[str, Any]) -> Row:
    ours, floor = series["samples"][APPLICATION], series["samples"][FLOOR]

    def median(samples: list[dict[str, float]], what: str) -> float:
        return statistics.median(sample[what] for sample in samples)

    def cpu(sample: dict[str, float]) -> float:
        return sample["application_ms"] + sample["database_ms"]

    ratios = sorted(cpu(one) / cpu(other) for one, other in zip(ours, floor, strict=True))
    return Row(
        workload=series["name"],
        title=series["title"],
        tunes=series["tunes"],
        bar=series["bar"],
        growth_bar=series["growth_bar"],
        extra_ms=series["extra_ms"],
        application_ms=median(ours, "application_ms"),
        database_ms=median(ours, "database_ms"),
        floor_application_ms=median(floor, "application_ms"),
        floor_database_ms=median(floor, "database_ms"),
        elapsed_ms=median(ours, "elapsed_ms"),
        floor_elapsed_ms=median(floor, "elapsed_ms"),
        ratio=statistics.median(ratios),
        ratio_low=ratios[0],
        ratio_high=ratios[-1],
    )


def growths(found: Sequence[dict[str, Any]], measured: Iterable[Row]) -> list[Growth]:
    """The endpoints that were probed at every size, in their order."""
    about = {row.workload: row for row in measured}
    probes: dict[str, list[dict[str, Any]]] = {}
    for size in found:
        for probe in size.get("plans", ()):
            probes.setdefault(probe["workload"], []).append(probe)
    return [
        Growth(name, about[name].title if name in about else name, about[name].growth_bar if name in about else 2.0, ones)
        for name, ones in probes.items()
    ]


def write(directory: Path, found: list[dict[str, Any]], conditions: dict[str, Any]) -> None:
    """`results.md`, `results.json` and the plots."""
    measured = rows(found)
    grown = growths(found, measured)
    traffic = found[-1].get("traffic", [])
    plots = {
        "floor.svg": measured and plot.floor([row for row in measured if row.tunes == measured[-1].tunes]),
        "growth.svg": grown and plot.growth(grown),
        "latency.svg": traffic and plot.latency(traffic),
    }
    for name, drawing in plots.items():
        if drawing:
            (directory / name).write_text(drawing, encoding="utf-8")
    (directory / "results.md").write_text(_page(measured, grown, found, conditions), encoding="utf-8")
    raw = {"conditions": conditions, "sizes": found, "rows": [asdict(row) | {"within_bar": row.is_within_bar} for row in measured]}
    (directory / "results.json").write_text(json.dumps(raw, separators=(",", ":")) + "\n", encoding="utf-8")


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Markdown; what begins with a colon in the head is aligned to the right."""
    rule = ["---:" if name.startswith(":") else "---" for name in head]
    every = [[name.removeprefix(":") for name in head], rule, *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in every)


def costs(measured: Sequence[Row]) -> str:
    """What a request costs at the largest size, and how many times the floor that is at each."""
    sizes = sorted({row.tunes for row in measured})
    by = {(row.workload, row.tunes): row for row in measured}
    lines = []
    for row in (row for row in measured if row.tunes == sizes[-1]):
        at = [by.get((row.workload, size)) for size in sizes]
        lines.append(
            [
                row.title,
                f"{row.application_ms:.2f} + {row.database_ms:.2f} = {row.cpu_ms:.2f}",
                f"{row.floor_application_ms:.2f} + {row.floor_database_ms:.2f} = {row.floor_ms:.2f}",
                *("" if one is None else f"{one.ratio:.2f}" for one in at[:-1]),
                f"**{row.ratio:.2f}** ({row.ratio_low:.2f}–{row.ratio_high:.2f})",
                f"{row.bar:.1f}",
                _standing(row),
            ]
        )
    head = ["endpoint", f":at {sizes[-1]:,} tunes: application + database, ms", ":floor, ms"]
    return _table([*head, *(f":× floor at {size:,}" for size in sizes[:-1]), f":× floor at {sizes[-1]:,} (lowest–highest)", ":bar", ""], lines)


def _standing(row: Row) -> str:
    if row.ratio <= STRETCH:
        return "reached, below 1.4 ×"
    if row.ratio <= row.bar:
        return "reached"
    return "reached with the ticket's 4 ms" if row.is_within_bar else "**missed**"


def plans(grown: Sequence[Growth]) -> str:
    """The database's own time, the rows it looks at and the indexes, by size."""
    lines = []
    for one in grown:
        times = " · ".join(f"{probe['database_ms']:.2f}" for probe in one.probes)
        read = " · ".join(f"{probe['rows_read']:,.0f}" for probe in one.probes)
        factor = "" if len(one.probes) == 1 else f"**{one.factor:.2f}**"
        whole = sorted({table for probe in one.probes for table in probe["read_whole"]})
        how = ", ".join(f"`{name}`" for name in _named(one.probes[-1]["indexes"])) + (f"; **reads all of {', '.join(whole)}**" if whole else "")
        lines.append([one.title, times, factor, f"{one.bar:.0f}", "reached" if one.is_within_bar else "**missed**", read, how])
    sizes = " · ".join(f"{probe['tunes']:,}" for probe in grown[0].probes)
    return _table(["endpoint", f":database, ms, at {sizes}", ":growth", ":bar", "", f":rows read at {sizes}", "by the indexes"], lines)


def _named(indexes: Iterable[str]) -> list[str]:
    """Those that were made for a screen; primary keys and those that Django makes for foreign keys are in every plan."""
    return [name for name in indexes if not name.endswith(("_pkey", "_key")) and not re.search(r"_[0-9a-f]{8}(_|$)", name)]


def _writes(size: dict[str, Any]) -> str:
    head = ["write", ":application, ms", ":database, ms", ":elapsed, median ms", ":slowest, ms", ":WAL, kB", ":measured"]
    return _table(
        head,
        [
            [
                one["name"],
                f"{one['application_ms']:.2f}",
                f"{one['database_ms']:.2f}",
                f"{one['elapsed_ms']:.1f}",
                f"{one['slowest_ms']:.1f}",
                f"{one['wal_kilobytes']:.0f}",
                str(one["count"]),
            ]
            for one in size["writes"]
        ],
    )


def _upkeep(size: dict[str, Any]) -> str:
    head = ["change", "kept by", ":statements sent", ":tunes", ":database, ms", ":elapsed, ms"]
    return _table(
        head,
        [
            [one["change"], one["way"], str(one["statements"]), f"{one['rows']:,}", f"{one['database_ms']:.2f}", f"{one['elapsed_ms']:.2f}"]
            for one in size["upkeep"]
        ],
    )


def _latencies(acts: dict[str, dict[str, float]], seconds: float) -> list[list[str]]:
    return [
        [name, f"{one['count']:,}", f"{one['count'] / seconds:,.0f}", *(f"{one[share]:,.1f}" for share in ("p50", "p95", "p99"))]
        for name, one in acts.items()
    ]


def _together(one: dict[str, Any]) -> str:
    table = _table(["", ":done", ":a second", ":p50, ms", ":p95, ms", ":p99, ms"], _latencies(one["acts"], one["seconds"]))
    return (
        f"{one['writers']} writers beside {one['readers']} readers, each a thread with a connection of its own, on the 200 most popular tunes of the most"
        f" popular model, {one['seconds']:.0f} s: **{sum(one['errors'].values())} errors, {one['deadlocks']} deadlocks,"
        f" {one['disagreeing']} rows of lists that disagree with their tune afterwards**. All hundred threads share one interpreter on this machine, which"
        f" is most of what they wait for.{one.get('note', '')}\n\n{table}"
        + "".join(f"\n- {count} × {error}" for error, count in one["errors"].items())
    )


def _traffic(runs: Sequence[dict[str, Any]]) -> str:
    parts = []
    for one in runs:
        table = _table(["", ":requests", ":a second", ":p50, ms", ":p95, ms", ":p99, ms"], _latencies(one["latencies"], one["seconds"]))
        parts.append(
            f"**{one['title'].capitalize()}**: {one['per_second']:,.0f} requests a second over {one['seconds']:.0f} s,"
            f" {sum(one['errors'].values())} errors. Cores in use: application {one['application_cores']:.2f}, database {one['database_cores']:.2f},"
            f" load {one['load_cores'] or '?'}.\n\n{table}" + "".join(f"\n- {count} × {error}" for error, count in one["errors"].items())
        )
    return "\n\n".join(parts)


def _page(measured: Sequence[Row], grown: Sequence[Growth], found: Sequence[dict[str, Any]], conditions: dict[str, Any]) -> str:
    last = found[-1]
    parts = ["# What a request costs", _summary(measured, grown)]
    if measured:
        parts += ["![Processor time, and how many times the floor](floor.svg)", costs(measured)]
    if grown:
        parts += [
            "## What the database does, from the smallest to the largest size",
            "![The database's time by number of tunes](growth.svg)",
            plans(grown),
            "Planning and executing, the quickest of three runs each, medians of six requests; rows are entries of indexes and rows of tables, those that a"
            " filter dropped too. Signed-in requests include the session's query.",
        ]
    missed = [*(row for row in measured if not row.is_within_bar), *(one for one in grown if not one.is_within_bar)]
    if missed and WHY.exists():
        parts.append(WHY.read_text(encoding="utf-8").strip())
    if "writes" in last:
        parts += [f"## What a write costs at {last['tunes']:,} tunes", _writes(last)]
        parts.append(
            "With all rows of lists and search, counters, audit, notices and idempotency that belong to it. The publication includes the storage's and the"
            " signer's answers."
        )
    if "upkeep" in last:
        parts += ["### Kept by triggers, or by services", _upkeep(last), "What was made of it: [ADR 31](../docs/adr/0031-lists-and-search-are-kept-by-triggers.md)."]
    if "together" in last:
        parts += ["### Writers beside readers", _together(last["together"])]
    if last.get("traffic"):
        parts += [
            f"## Two web workers at {last['tunes']:,} tunes",
            "![Latency](latency.svg)",
            "80 of a hundred requests browse, search or ask for what fits a vehicle, 15 read one tune, 5 write (prices, favourites, reviews). Eight kept"
            " connections; web workers, database and load share the machine's cores.",
            _traffic(last["traffic"]),
        ]
    parts.append(_method(found, conditions))
    return "\n\n".join(parts) + "\n"


def _summary(measured: Sequence[Row], grown: Sequence[Growth]) -> str:
    missed = [f"{row.title} at {row.tunes:,} ({row.ratio:.2f} × of {row.bar:.1f})" for row in measured if not row.is_within_bar]
    grew = [f"{one.title} ({one.factor:.2f} × of {one.bar:.0f})" for one in grown if not one.is_within_bar]
    first = f"Over the bar against the floor: {', '.join(missed)}." if missed else "Every endpoint stays within its bar against the floor."
    second = f" Database time over the bar of growth: {', '.join(grew)}." if grew else " Database time stays within its bar from the smallest size to the largest."
    return (first if measured else "") + (second if grown and len(grown[0].probes) > 1 else "")


def _method(found: Sequence[dict[str, Any]], conditions: dict[str, Any]) -> str:
    sizes = "; ".join(
        f"{size['tunes']:,} tunes: {size['database_megabytes']:,} MB" + (f", loaded in {size['load_seconds']} s" if size["load_seconds"] else "")
        for size in found
    )
    return f"""## How it was measured

`make bench` (`python -m benchmarks --help`; `BENCH_SIZES="10000 100000"` for less) starts a PostgreSQL and an S3 server of its own for each size, loads the
data in sets, and serves the application as `make run` does (gunicorn, one worker, four threads) beside the floor: a bare WSGI function with psycopg2,
SQL by hand and orjson (`floor.py`) on the same kind of server and the same database. Both workers are pinned to one core, database and load to the other.
Before anything is measured, both have to give the same answers. Then, after a warm-up, blocks of {conditions["block"]} requests go over one kept connection to the
one and to the other in turn, for every endpoint, in {conditions["rounds"]} rounds. Counted is processor time: that of the worker's threads and that of the database's
backends, as the kernel accounts for it. Figures are medians of the rounds; the ratio is the median of the rounds' own ratios, each of two blocks that
ran one after the other; in brackets the lowest and the highest of them.

The floor of the signed-in endpoints verifies the token and reads the session. Its grant does the same durable work in SQL: exact limit, idempotency, locks
on purchase and version, reservation of the license, the Download row, the ticket, the audit event; and it makes the same link and signature. The
riders' purchases were downloaded before, so neither side counts a first download. Whether the stored object is still untouched, the application asks the
store at most twice a minute for each object; that is in its figures, and the floor does not do it. How a search's text is read and which way it goes, and the rule of fitment, the
floor takes from the application: they are long, in one place, and no framework's work.

Tunes crowd on few models, as in life: the commonest holds about a sixth of them. Elapsed times, which depend on what else the machine does, are in
`results.json`.

## Conditions

{conditions["at"]} UTC · {conditions["system"]} · Python {conditions["python"]} · PostgreSQL {found[-1]["postgresql"]}, 1 GB of shared buffers ·
{sizes} · load of the machine before and after: {conditions["load_before"]} and {conditions["load_after"]} · {conditions["seconds"]} s in all"""
