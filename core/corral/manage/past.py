"""Keeping the past of a job's numbers: ten minutes, in cells of five seconds, a few hundred bytes a job."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from corral.values.past import CELL_SECONDS, KEPT_CELLS, Past


class Cell(NamedTuple):
    """Five seconds; `slot` is their number since the machine started."""

    slot: int
    cpu: float | None
    memory: int | None
    output: float | None
    stages: tuple[float | None, ...]


class PastOfJob:
    """Only visits are kept: a job that sleeps costs nothing, and the gap between two visits repeats the earlier one."""

    __slots__ = ("_cells",)

    def __init__(self, cells: Iterable[Cell] = ()) -> None:
        self._cells: deque[Cell] = deque(cells)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """What another `PastOfJob` goes on from."""
        return tuple(self._cells)

    def note(
        self,
        now: float,
        cpu: float | None,
        memory: int | None,
        output: float | None,
        stages: tuple[float | None, ...] = (),
    ) -> None:
        """The numbers at `now` (monotonic seconds). The last ones of a cell stand for it."""
        cell = Cell(int(now // CELL_SECONDS), cpu, memory, output, stages)
        if self._cells and self._cells[-1].slot == cell.slot:
            self._cells[-1] = cell
            return
        if len(self._cells) > 1 and self._cells[-1][1:] == self._cells[-2][1:] == cell[1:]:
            self._cells.pop()
        self._cells.append(cell)
        while self._cells[0].slot <= cell.slot - KEPT_CELLS and len(self._cells) > 1:
            self._cells.popleft()

    def values(self, now: float) -> Past:
        """The last `KEPT_CELLS` cells up to `now`; shorter where the job is younger."""
        filled: list[Cell] = []
        for cell in self._cells:
            while filled and filled[-1].slot + 1 < cell.slot:
                filled.append(filled[-1]._replace(slot=filled[-1].slot + 1))
            filled.append(cell)
        last = int(now // CELL_SECONDS)
        while filled and filled[-1].slot < last:
            filled.append(filled[-1]._replace(slot=filled[-1].slot + 1))
        return _past(filled[-KEPT_CELLS:])


def _past(cells: list[Cell]) -> Past:
    stages = max((len(cell.stages) for cell in cells), default=0)
    return Past(
        seconds=CELL_SECONDS,
        cpu=tuple(cell.cpu for cell in cells),
        memory=tuple(cell.memory for cell in cells),
        output=tuple(cell.output for cell in cells),
        stages={
            number + 1: tuple(cell.stages[number] if number < len(cell.stages) else None for cell in cells)
            for number in range(stages)
        },
    )
