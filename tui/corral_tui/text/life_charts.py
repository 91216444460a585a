"""The history of a job in `corral show`: CPU and memory over its life, and when it was last stuck."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from corral.model.history import LifePast
from corral.model.reports import Detail
from corral_tui.text import numbers
from corral_tui.text.charset import charset_of_terminal, sparks
from corral_tui.text.lines import ALERT, HEADING, StyledLine
from corral_tui.text.phrases import moment
from corral_tui.text.terminal_output import visible, width_of

MIN_CELLS = 4
"""A shorter history shows no more than a mean and a peak."""
MIN_WIDTH = 16
_ROOM = 20
"""Columns of a line that the chart does not use."""
CPU_FLOOR, MEMORY_FLOOR = 1.0, 1024.0
"""The smallest full scale: a hundredth of a core must not look like full load."""

Values = Sequence[float | None]


class Chart(NamedTuple):
    """One line. If the history has more cells than columns, `combine` turns the cells of one column into one value."""

    name: str
    values: Values
    floor: float
    format: Callable[[float], str]
    combine: Callable[[Sequence[float]], float]


def life_lines(detail: Detail) -> Iterator[StyledLine]:
    """The last stuck diagnosis and the charts; nothing if there is no history."""
    yield from _last_stuck(detail)
    if len(detail.life.cpu) < MIN_CELLS:
        return
    width = width_of(sys.stdout)
    # How many cells of the history share one column.
    step = 1 if width is None else -(-len(detail.life.cpu) // max(MIN_WIDTH, width - _ROOM))
    yield StyledLine()
    seconds = numbers.duration(detail.life.seconds * step)
    yield StyledLine(f"CPU AND MEMORY OVER ITS LIFE, a column is {seconds}", HEADING)
    for chart in _charts(detail.life):
        yield StyledLine(_draw(chart, step))


def _last_stuck(detail: Detail) -> Iterator[StyledLine]:
    diagnosis = detail.diagnosis
    if diagnosis is None or detail.diagnosed is None:
        return
    what = "LAST STUCK" if diagnosis.health == "stuck" else "WHAT IT WAITED FOR WHEN IT WAS ENDED"
    yield StyledLine()
    yield StyledLine(f"{what}, {moment(detail.diagnosed)}", HEADING)
    yield StyledLine(f"  {visible(diagnosis.summary)}", ALERT)
    if detail.job.is_ended:
        yield StyledLine(f"  corral why {detail.job.id} has the evidence")


def _charts(life: LifePast) -> tuple[Chart, Chart]:
    return (
        Chart("cpu", life.cpu, CPU_FLOOR, lambda value: f"{numbers.cpu(value)}%", lambda v: sum(v) / len(v)),
        Chart("memory", life.memory, MEMORY_FLOOR, numbers.size, max),
    )


def _draw(chart: Chart, step: int) -> str:
    """`  cpu     ▁▃█▆▁  up to 99%`; blank if nothing was measured."""
    values: list[float | None] = []
    for first in range(0, len(chart.values), step):
        known = [value for value in chart.values[first : first + step] if value is not None]
        values.append(chart.combine(known) if known else None)
    measured = [value for value in values if value is not None]
    if not measured:
        return f"  {chart.name:<7} not measured"
    drawn = sparks(values, len(values), chart.floor, charset_of_terminal())
    return f"  {chart.name:<7} {drawn}  up to {chart.format(max(measured))}"
