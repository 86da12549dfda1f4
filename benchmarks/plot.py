"""The plots, by hand: bars and lines of a few dozen numbers are no work for a plotting library."""

import math
from collections.abc import Sequence
from html import escape
from typing import Any

WIDTH, LEFT, RIGHT, TOP, BAR_HEIGHT, GAP = 960, 270, 90, 96, 9, 9
COLOURS = {"application": "#2f6db5", "database": "#8fb8e3", "floor": "#7a7a7a", "floor_database": "#bdbdbd", "bar": "#c0392b"}
LINES = ("#2f6db5", "#c0392b", "#2e8b57", "#8e44ad", "#d68910", "#17808f", "#7a5230", "#555555")


def floor(rows: Sequence[Any]) -> str:
    """For each endpoint at one size the application over the floor, and a mark where its bar lies."""
    longest = max(max(row.cpu_ms, row.floor_ms) for row in rows) * 1.05
    scale = (WIDTH - LEFT - RIGHT) / longest
    height = TOP + len(rows) * (2 * BAR_HEIGHT + GAP) + 46
    parts = [*_sheet(height, f"Processor time per request at {rows[0].tunes:,} tunes"), *_legend()]
    bottom = height - 38
    for tick in _ticks(longest):
        x = LEFT + tick * scale
        parts.append(f'<line x1="{x:.1f}" y1="{TOP - 10}" x2="{x:.1f}" y2="{bottom}" stroke="#e3e3e3"/>')
        parts.append(_text(x, bottom + 18, f"{tick:g} ms", anchor="middle", colour="#555"))
    y = TOP
    for row in rows:
        parts.append(_text(LEFT - 12, y + BAR_HEIGHT + 4, row.title, size=12, anchor="end"))
        parts += _bar(y, scale, row.application_ms, row.database_ms, "application", "database")
        parts += _bar(y + BAR_HEIGHT, scale, row.floor_application_ms, row.floor_database_ms, "floor", "floor_database")
        colour = COLOURS["bar"] if not row.is_within_bar else "#222"
        x, label = LEFT + row.bar * row.floor_ms * scale, LEFT + max(row.cpu_ms, row.floor_ms) * scale + 6
        if label - 4 < x < label + 46:
            label = x + 6  # the mark would go through it
        parts.append(_text(label, y + 13, f"{row.ratio:.2f} ×", size=12, weight="bold", colour=colour))
        if x < WIDTH - RIGHT:
            parts.append(
                f'<line x1="{x:.1f}" y1="{y - 2}" x2="{x:.1f}" y2="{y + 2 * BAR_HEIGHT + 2}" stroke="{COLOURS["bar"]}" stroke-width="2" stroke-dasharray="4 2"/>'
            )
        y += 2 * BAR_HEIGHT + GAP
    return "\n".join([*parts, "</svg>", ""])


def growth(grown: Sequence[Any]) -> str:
    """The database's time of each endpoint from size to size, on scales of powers of ten; names stand where their line ends."""
    sizes = [probe["tunes"] for probe in grown[0].probes]
    times = [probe["database_ms"] for one in grown for probe in one.probes]
    low, high = math.log10(min(times)) - 0.1, math.log10(max(times)) + 0.1
    left, right, top, bottom = 80, 360, 60, 620
    width = WIDTH + 120 - left - right

    def x(place: int) -> float:
        return left + width * place / max(len(sizes) - 1, 1)

    def y(milliseconds: float) -> float:
        return bottom - (math.log10(milliseconds) - low) / (high - low) * (bottom - top)

    parts = _sheet(bottom + 50, "Time of the database by number of tunes", width=WIDTH + 120)
    for exponent in range(math.floor(low), math.ceil(high) + 1):
        for step in (1, 2, 5):
            tick = step * 10.0**exponent
            if 10**low <= tick <= 10**high:
                parts.append(f'<line x1="{left}" y1="{y(tick):.1f}" x2="{left + width}" y2="{y(tick):.1f}" stroke="#e3e3e3"/>')
                parts.append(_text(left - 8, y(tick) + 4, f"{tick:g} ms", size=12, anchor="end", colour="#555"))
    for place, size in enumerate(sizes):
        parts.append(_text(x(place), bottom + 20, f"{size:,}", anchor="middle", colour="#555"))
    ends = sorted((y(one.probes[-1]["database_ms"]), number) for number, one in enumerate(grown))
    last = 0.0
    for end, number in ends:
        one, colour = grown[number], LINES[number % len(LINES)]
        last = max(end, last + 14)
        points = " ".join(f"{x(place):.1f},{y(probe['database_ms']):.1f}" for place, probe in enumerate(one.probes))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{1.5 if one.is_within_bar else 3}"/>')
        parts.append(f'<line x1="{left + width:.1f}" y1="{end:.1f}" x2="{left + width + 22:.1f}" y2="{last:.1f}" stroke="{colour}" stroke-width="0.7"/>')
        label = one.title if len(one.probes) == 1 else f"{one.title}: {one.factor:.1f} ×"
        parts.append(_text(left + width + 26, last + 4, label, size=12, colour=colour, weight="normal" if one.is_within_bar else "bold"))
    return "\n".join([*parts, "</svg>", ""])


def latency(runs: Sequence[dict[str, Any]]) -> str:
    """How long half, 95 and 99 of a hundred requests take at most, by kind and run."""
    shares = (("p50", "#8fb8e3"), ("p95", "#2f6db5"), ("p99", "#1b3f6b"))
    bars = [(run["title"], kind, run["latencies"][kind]) for run in runs for kind in run["latencies"]]
    longest = max(one["p99"] for _, _, one in bars) * 1.05
    scale = (WIDTH - LEFT - RIGHT) / longest
    height = TOP + len(bars) * (3 * BAR_HEIGHT + GAP) + 46
    parts = _sheet(height, "Latency of the mix, two web workers")
    for place, (share, colour) in enumerate(shares):
        parts.append(f'<rect x="{16 + 80 * place}" y="46" width="13" height="13" fill="{colour}"/>')
        parts.append(_text(35 + 80 * place, 57, share))
    bottom = height - 38
    for tick in _ticks(longest):
        x = LEFT + tick * scale
        parts.append(f'<line x1="{x:.1f}" y1="{TOP - 10}" x2="{x:.1f}" y2="{bottom}" stroke="#e3e3e3"/>')
        parts.append(_text(x, bottom + 18, f"{tick:g} ms", anchor="middle", colour="#555"))
    y = TOP
    for title, kind, one in bars:
        parts.append(_text(LEFT - 12, y + 2 * BAR_HEIGHT, f"{title}: {kind}", size=12, anchor="end"))
        for place, (share, colour) in enumerate(shares):
            parts.append(
                f'<rect x="{LEFT}" y="{y + place * BAR_HEIGHT}" width="{max(one[share] * scale, 1):.1f}" height="{BAR_HEIGHT - 1}" fill="{colour}"/>'
            )
        parts.append(_text(LEFT + one["p99"] * scale + 6, y + 3 * BAR_HEIGHT - 1, f"{one['p99']:.0f} ms", size=12))
        y += 3 * BAR_HEIGHT + GAP
    return "\n".join([*parts, "</svg>", ""])


def _sheet(height: int, title: str, *, width: int = WIDTH) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' font-family="system-ui, sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        _text(16, 28, title, size=17, weight="bold"),
    ]


def _bar(y: float, scale: float, first: float, second: float, name: str, other: str) -> list[str]:
    return [
        f'<rect x="{LEFT}" y="{y}" width="{first * scale:.1f}" height="{BAR_HEIGHT - 1}" fill="{COLOURS[name]}"/>',
        f'<rect x="{LEFT + first * scale:.1f}" y="{y}" width="{second * scale:.1f}" height="{BAR_HEIGHT - 1}" fill="{COLOURS[other]}"/>',
    ]


def _legend() -> list[str]:
    entries = [
        ("application", "application"),
        ("database", "its database"),
        ("floor", "floor"),
        ("floor_database", "its database"),
        ("bar", "the bar"),
    ]
    parts, x = [], 16
    for colour, label in entries:
        parts.append(f'<rect x="{x}" y="46" width="13" height="13" fill="{COLOURS[colour]}"/>')
        parts.append(_text(x + 19, 57, label))
        x += 19 + 8 * len(label) + 16
    return parts


def _ticks(longest: float) -> list[float]:
    step = next(step for step in (0.1, 0.25, 0.5, 1, 2, 5, 10, 25, 50, 100, 250, 1000, 10_000) if longest / step <= 10)
    return [round(number * step, 3) for number in range(int(longest / step) + 1)]


def _text(x: float, y: float, text: str, *, size: int = 13, anchor: str = "start", weight: str = "normal", colour: str = "#222") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}" fill="{colour}">{escape(text)}</text>'
