"""Charts of a job's past in block characters, with an axis that names its time. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from corral.values.past import Past
from corral_tui import numbers
from corral_tui.dashboard.lines import Line
from corral_tui.dashboard.marks import CPU_FLOOR, MEMORY_FLOOR, OUTPUT_FLOOR, Charset

LABEL = 6
TICK_EVERY = 12
"""Columns from one time to the next: a minute at least, so that no two read the same."""


class Series(NamedTuple):
    name: str
    values: Sequence[float | None]
    floor: float
    written: Callable[[float], str]


def chart_lines(past: Past, newest: datetime, width: int, height: int, charset: Charset) -> list[Line]:
    """CPU, memory and output over the kept past, in as many of `height` rows as make sense."""
    columns = max(width - LABEL - 2, 8)
    every = (
        Series("cpu", past.cpu, CPU_FLOOR, lambda value: f"{numbers.cpu(value)}%"),
        Series("mem", past.memory, MEMORY_FLOOR, numbers.size),
        Series("out", past.output, OUTPUT_FLOOR, numbers.rate),
    )
    most = max(min(height // 3, len(every)), 1)
    each = max(min(height // most - 1, 6), 1)
    lines: list[Line] = []
    for series in every[:most]:
        lines += _chart(series, columns, each, charset)
        lines.append(_axis(past, newest, columns, charset, is_last=series is every[most - 1]))
    return lines


def seconds_per_column(past: Past, columns: int) -> float:
    """How much time one column stands for: all that is kept fits."""
    return past.seconds * _per_column(len(past.cpu), columns)


def _per_column(count: int, columns: int) -> int:
    return max(-(-count // max(columns, 1)), 1)


def squeezed(values: Sequence[float | None], columns: int) -> list[float | None]:
    """One value a column, the mean of those it stands for; None where nothing was measured in all of it."""
    step = _per_column(len(values), columns)
    first = len(values) % step
    groups = [values[:first]] if first else []
    groups += [values[start : start + step] for start in range(first, len(values), step)]
    found: list[float | None] = []
    for group in groups:
        known = [value for value in group if value is not None]
        found.append(sum(known) / len(known) if known else None)
    return found


def _chart(series: Series, columns: int, height: int, charset: Charset) -> list[Line]:
    values = squeezed(series.values, columns)
    top = max(series.floor, max((value for value in values if value is not None), default=0.0))
    levels = charset.sparks
    lines: list[Line] = []
    side = "|" if charset.name == "ascii" else "│"
    for row in range(height):
        below = height - 1 - row
        drawn = "".join(_cell(value, top, below, height, levels) for value in values)
        label = series.written(top) if row == 0 else series.name if row == min(1, height - 1) else ""
        lines.append([(f"{label:>{LABEL}}{side}", "muted"), (drawn.rjust(columns), "spark")])
    return lines


def _cell(value: float | None, top: float, below: int, height: int, levels: str) -> str:
    """The piece of a column that stands in the row with `below` rows beneath it."""
    if value is None:
        return " "
    filled = value / top * height - below
    if filled <= 0:
        return levels[0] if below == 0 else " "
    return levels[min(int(filled * len(levels)), len(levels) - 1)]


def _stamp_format(between: float, whole: float) -> str:
    """The shortest that tells times `between` seconds apart from each other, on an axis of `whole` seconds."""
    if whole < 86400:
        return "%H:%M"
    return "%d %H:%M" if between < 86400 else "%d %b"


def _axis(past: Past, newest: datetime, columns: int, charset: Charset, *, is_last: bool) -> Line:
    corner, line = ("+", "-") if charset.name == "ascii" else ("┴", "─")
    drawn = line * columns
    if is_last:
        step = seconds_per_column(past, columns)
        written = _stamp_format(step * TICK_EVERY, step * columns)
        for end in range(columns, TICK_EVERY // 2, -TICK_EVERY):
            at = newest - timedelta(seconds=step * (columns - end))
            stamp = at.astimezone().strftime(written)
            if len(stamp) <= end:
                drawn = drawn[: end - len(stamp)] + stamp + drawn[end:]
    return [(f"{'0':>{LABEL}}{corner}{drawn[:columns]}", "muted")]
