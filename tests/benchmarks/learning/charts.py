"""Two charts as SVG files, without a library: the front of likeness and prompt following, and bars of likeness."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from tests.benchmarks.learning.files import write_whole
from tests.benchmarks.learning.plan import Pace, Side
from tests.benchmarks.learning.summary import Row

SIDE, MARGIN = 420, 56
COLOURS = {"textual-inversion": "#1f77b4", "dreambooth-lora": "#d95f02", "dreambooth": "#2a9d55"}


def write_charts(rows: Sequence[Row], folder: Path) -> None:
    """front-GROUP.svg and likeness-GROUP.svg for every group of the rows."""
    for group in dict.fromkeys(row.group for row in rows):
        of_group = [row for row in rows if row.group == group]
        _write(folder / f"front-{group}.svg", *_front(of_group, group))
        _write(folder / f"likeness-{group}.svg", *_bars(of_group, group))


def _front(rows: list[Row], group: str) -> tuple[list[str], int, int]:
    """A cross of two intervals for each row."""
    parts = [_text(SIDE / 2 + MARGIN, 18, f"{group}: likeness and prompt following, 95 % intervals", "middle")]
    for tick in range(5):
        x, y = -1 + tick / 2, tick / 4
        parts += [_line(_x(x), _y(0), _x(x), _y(1), "#e4e4e4"), _line(_x(-1), _y(y), _x(1), _y(y), "#e4e4e4")]
        parts += [_text(_x(x), _y(0) + 16, f"{x:.1f}", "middle"), _text(_x(-1) - 6, _y(y) + 4, f"{y:.2f}", "end")]
    parts += [_text(_x(0), _y(0) + 34, "likeness", "middle"), _text(4, MARGIN - 12, "prompt following", "start")]
    for number, row in enumerate(rows):
        colour, x, y = COLOURS.get(row.method, "#555"), row.likeness, row.prompt_following
        parts.append(_line(_x(x.low), _y(y.value), _x(x.high), _y(y.value), colour))
        parts.append(_line(_x(x.value), _y(y.low), _x(x.value), _y(y.high), colour))
        parts.append(_dot(_x(x.value), _y(y.value), colour, _fill(row, colour)))
        key = MARGIN + 18 * number
        parts += [
            _dot(_x(1) + 24, key, colour, _fill(row, colour)),
            _text(_x(1) + 34, key + 4, _name(row), "start"),
        ]
    return parts, SIDE + 2 * MARGIN + 230, SIDE + 2 * MARGIN


def _bars(rows: list[Row], group: str) -> tuple[list[str], int, int]:
    parts = [_text(10, 18, f"{group}: likeness, median over subjects, 95 % intervals", "start")]
    for number, row in enumerate(rows):
        top = 34 + 26 * number
        zero, scale, colour = 390, 150, COLOURS.get(row.method, "#555")
        opacity = 0.85 if row.side == Side.ours else 0.35
        parts.append(_text(zero - scale - 8, top + 13, _name(row), "end"))
        left, width = zero + min(0.0, scale * row.likeness.value), abs(scale * row.likeness.value)
        parts.append(
            f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="18" fill="{colour}" opacity="{opacity}"/>'
        )
        low, high = zero + scale * row.likeness.low, zero + scale * row.likeness.high
        parts.append(_line(low, top + 9, high, top + 9, "#222"))
        parts.append(_text(zero + scale + 10, top + 13, str(row.likeness), "start"))
    return parts, 700, 50 + 26 * len(rows)


def _fill(row: Row, colour: str) -> str:
    """Full for ours, empty for theirs at equal steps, grey for runs that were given another's time."""
    if row.pace != Pace.equal_steps:
        return "#c8c8c8"
    return colour if row.side == Side.ours else "white"


def _name(row: Row) -> str:
    name = f"{row.method}, {row.side}"
    return name if (row.side, row.pace) == (Side.ours, Pace.equal_steps) else f"{name}, {row.pace}"


def _x(value: float) -> float:
    """Where a value from -1 to 1 stands."""
    return MARGIN + SIDE * (1 + value) / 2


def _y(value: float) -> float:
    return MARGIN + SIDE * (1 - value)


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _dot(x: float, y: float, colour: str, fill: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" stroke="{colour}" fill="{fill}"/>'


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _write(file: Path, parts: list[str], width: int, height: int) -> None:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif"'
    page = f'{head} font-size="12"><rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'
    write_whole(file, lambda aside: aside.write_text(page, encoding="utf-8"))
