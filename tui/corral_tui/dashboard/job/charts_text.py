"""Charts of a job in block characters: CPU and memory over its whole life, and the recent samples. Pure.

What was not measured, as while the job was paused, is blank and not zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from corral.model.history import LifePast, RecentHistory
from corral_tui.dashboard.paint.lines import Line, cut
from corral_tui.text import numbers
from corral_tui.text.charset import CPU_FLOOR, MEMORY_FLOOR, OUTPUT_FLOOR, Charset

LABEL = 6
LEAST_COLUMNS = 8
STAMP = 13
"""Columns from one time of an axis to the next."""
ROWS, MOST_ROWS = 3, 9
"""Of one chart with the words above it, for which there may be no room; and with them at most."""

Joined = Callable[[Sequence[float]], float]


class Series(NamedTuple):
    """One number over time, from `start` on."""

    name: str
    values: Sequence[float | None]
    start: datetime
    seconds: float
    """Between two values."""
    floor: float
    written: Callable[[float], str]
    joined: Joined
    """What several values become that share a column."""
    is_over: bool = False


def life_series(life: LifePast, start: datetime, *, is_over: bool) -> list[Series]:
    """CPU and memory of the whole life."""
    return [
        Series("cpu", life.cpu, start, life.seconds, CPU_FLOOR, _percent, mean, is_over),
        Series("mem", life.memory, start, life.seconds, MEMORY_FLOOR, numbers.size, max, is_over),
    ]


def _percent(value: float) -> str:
    return f"{numbers.cpu(value)}%"


def late_series(recent: RecentHistory, newest: datetime) -> Series:
    """The rate of output over the last minutes, from where it was first measured."""
    values = list(recent.output)
    while values and values[0] is None:
        values.pop(0)
    start = newest - timedelta(seconds=recent.seconds * len(values))
    return Series("out", values, start, recent.seconds, OUTPUT_FLOOR, numbers.rate, max)


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def columns_of(width: int) -> int:
    """The columns of a chart in a pane of that width: beside its labels, and with room for a scrollbar."""
    return max(width - LABEL - 2, LEAST_COLUMNS)


def laid_out(series: Series, columns: int) -> list[float | None]:
    """One value a column, so that all of the time fills them all; None where nothing was measured in all of it."""
    count = len(series.values)
    found: list[float | None] = []
    for column in range(columns):
        first = column * count // columns
        after = max((column + 1) * count // columns, first + 1)
        known = [value for value in series.values[first:after] if value is not None]
        found.append(series.joined(known) if known else None)
    return found


def seconds_per_column(series: Series, columns: int) -> float:
    return series.seconds * len(series.values) / columns


def chart_lines(every: Sequence[Series], width: int, height: int, charset: Charset) -> list[Line]:
    """The charts one below the other, in as many of `height` rows as make sense; those last named go first.

    Charts of the same time share one axis, beneath the last of them.
    """
    columns = columns_of(width)
    shown = _fitting(every, height)
    axes = _axes(shown)
    rows = max((height - sum(axes)) // max(len(shown), 1), 1)
    lines: list[Line] = []
    for series, has_axis in zip(shown, axes, strict=True):
        lines += _chart(series, columns, min(rows, MOST_ROWS), charset)
        if has_axis:
            lines.append(_axis(series, columns, charset))
    return [cut(line, width, charset.ellipsis) for line in lines[: max(height, 2)]]


def _fitting(every: Sequence[Series], height: int) -> list[Series]:
    """As many as have their rows; one at least."""
    shown = list(every)
    while len(shown) > 1 and len(shown) * ROWS + sum(_axes(shown)) > height:
        shown.pop()
    return shown


def _axes(shown: Sequence[Series]) -> list[bool]:
    """Which of them have an axis beneath: those behind which none of the same time comes."""
    times = [(series.start, series.seconds) for series in shown]
    return [place + 1 == len(times) or times[place + 1] != times[place] for place in range(len(times))]


def _chart(series: Series, columns: int, rows: int, charset: Charset) -> list[Line]:
    """The words about it, where there are rows enough, and the columns."""
    values = laid_out(series, columns)
    top = max(series.floor, max((value for value in values if value is not None), default=0.0))
    height = rows - 1 if rows >= ROWS else rows
    side = "|" if charset.name == "ascii" else "│"
    lines: list[Line] = []
    if rows >= ROWS:
        lines.append([(f"{series.name:>{LABEL}} ", "bold"), (peak_words(series), "muted")])
    for row in range(height):
        below = height - 1 - row
        drawn = "".join(_cell(value, top, below, height, charset.sparks) for value in values)
        label = series.written(top) if row == 0 and height > 1 else "0" if below == 0 else ""
        label = series.name if height < 2 else label
        lines.append([(f"{label:>{LABEL}}{side}", "muted"), (drawn, "spark")])
    return lines


def peak_words(series: Series) -> str:
    """`peak 780% at 13:45:10, now 3.0%`; of what is over `peak 780% at 13:45:10, mean 310%`."""
    known = [value for value in series.values if value is not None]
    if not known:
        return "not measured"
    if len(series.values) == 1:
        return f"{series.written(known[0])} {'on average' if series.joined is mean else 'at its peak'}"
    peak, last = max(known), series.values[-1]
    whole = series.seconds * len(series.values)
    at = series.start + timedelta(seconds=series.seconds * (list(series.values).index(peak) + 0.5))
    words = f"peak {series.written(peak)} at {at.astimezone():{_stamp_format(series.seconds, whole)}}"
    if series.is_over:
        return f"{words}, mean {series.written(mean(known))}"
    return f"{words}, now {'not measured' if last is None else series.written(last)}"


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
        return "%H:%M:%S" if between < 60 else "%H:%M"
    return "%d %H:%M" if between < 86400 else "%d %b"


def _axis(series: Series, columns: int, charset: Charset) -> Line:
    """Times from the beginning on: each stands where its column begins."""
    corner, line, tick = ("+", "-", "+") if charset.name == "ascii" else ("└", "─", "├")
    step = seconds_per_column(series, columns)
    written = _stamp_format(step * STAMP, step * columns)
    drawn = ""
    while True:
        at = series.start + timedelta(seconds=step * len(drawn))
        stamp = f"{tick if drawn else ''}{at.astimezone():{written}}"
        if len(drawn) + len(stamp) > columns:
            break
        drawn += stamp.ljust(STAMP, line)
    return [(f"{'':>{LABEL}}{corner}{drawn.ljust(columns, line)[:columns]}", "muted")]
