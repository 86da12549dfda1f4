"""The plot: bars of processor time, by hand. A plotting library would be a heavy guest for six bars."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, LEFT, RIGHT, TOP, BAR_HEIGHT, GAP = 960, 250, 90, 96, 15, 22
COLOURS = {"application": "#2f6db5", "database": "#8fb8e3", "floor": "#7a7a7a", "floor_database": "#bdbdbd", "bar": "#c0392b"}


def draw(rows: Sequence[Any], *, titles: Mapping[str, str], bar: float) -> str:
    """An SVG: for each endpoint at the largest size the application over the floor, and a mark where the bar lies."""
    largest = max(row.tunes for row in rows)
    shown = [row for row in rows if row.tunes == largest]
    longest = max(max(row.cpu_ms, bar * row.floor_ms) for row in shown) * 1.02
    scale = (WIDTH - LEFT - RIGHT) / longest
    height = TOP + len(shown) * (2 * BAR_HEIGHT + GAP) + 46
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        ' font-family="system-ui, sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        _text(16, 28, f"Processor time per request at {largest:,} tunes", size=17, weight="bold"),
        *_legend(bar),
    ]
    bottom = height - 38
    for tick in _ticks(longest):
        x = LEFT + tick * scale
        parts.append(f'<line x1="{x:.1f}" y1="{TOP - 10}" x2="{x:.1f}" y2="{bottom}" stroke="#e3e3e3"/>')
        parts.append(_text(x, bottom + 18, f"{tick:g} ms", anchor="middle", colour="#555"))
    y = TOP
    for row in shown:
        parts.append(_text(LEFT - 12, y + BAR_HEIGHT + 4, titles[row.workload], anchor="end"))
        parts += _bar(y, scale, row.application_ms, row.database_ms, "application", "database")
        parts.append(_text(LEFT + row.cpu_ms * scale + 6, y + 12, f"{row.ratio:.2f} ×", weight="bold"))
        parts += _bar(y + BAR_HEIGHT + 2, scale, row.floor_application_ms, row.floor_database_ms, "floor", "floor_database")
        x = LEFT + bar * row.floor_ms * scale
        parts.append(
            f'<line x1="{x:.1f}" y1="{y - 3}" x2="{x:.1f}" y2="{y + 2 * BAR_HEIGHT + 5}" stroke="{COLOURS["bar"]}" stroke-width="2" stroke-dasharray="4 2"/>'
        )
        y += 2 * BAR_HEIGHT + GAP
    return "\n".join([*parts, "</svg>", ""])


def _bar(y: float, scale: float, first: float, second: float, name: str, other: str) -> list[str]:
    return [
        f'<rect x="{LEFT}" y="{y}" width="{first * scale:.1f}" height="{BAR_HEIGHT}" fill="{COLOURS[name]}"/>',
        f'<rect x="{LEFT + first * scale:.1f}" y="{y}" width="{second * scale:.1f}" height="{BAR_HEIGHT}" fill="{COLOURS[other]}"/>',
    ]


def _legend(bar: float) -> list[str]:
    entries = [
        ("application", "application"),
        ("database", "its database"),
        ("floor", "floor"),
        ("floor_database", "its database"),
        ("bar", f"{bar:.1f} × the floor: the bar"),
    ]
    parts, x = [], 16
    for colour, label in entries:
        parts.append(f'<rect x="{x}" y="46" width="13" height="13" fill="{COLOURS[colour]}"/>')
        parts.append(_text(x + 19, 57, label))
        x += 19 + 8 * len(label) + 16
    return parts


def _ticks(longest: float) -> list[float]:
    step = next(step for step in (0.1, 0.25, 0.5, 1, 2, 5, 10, 25, 50, 100, 1000) if longest / step <= 10)
    return [round(number * step, 3) for number in range(int(longest / step) + 1)]


def _text(x: float, y: float, text: str, *, size: int = 13, anchor: str = "start", weight: str = "normal", colour: str = "#222") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}" fill="{colour}">{escape(text)}</text>'
