"""CPU and memory of a job over its whole life, in a bounded number of cells that grow wider as the job grows older."""

from __future__ import annotations

from typing import NamedTuple

from corral.values.story import FIRST_CELL_SECONDS, MOST_CELLS, LifePast


class LifeCell(NamedTuple):
    """What was used within one cell. `measured` seconds of it somebody has looked at; `memory` is the peak in bytes."""

    cpu_seconds: float = 0.0
    measured: float = 0.0
    memory: int | None = None

    def with_more(self, cpu_seconds: float, measured: float, memory: int | None) -> LifeCell:
        peak = memory if self.memory is None else max(self.memory, memory or 0)
        return LifeCell(self.cpu_seconds + cpu_seconds, self.measured + measured, peak)

    @property
    def cpu_percent(self) -> float | None:
        return round(100 * self.cpu_seconds / self.measured, 1) if self.measured > 0 else None


_EMPTY = LifeCell()


class LifeOfJob:
    """Only looks are noted, however far apart: what was used between two of them is spread over that time.

    All times are monotonic seconds; `began` is the job's start. `until` is up to when it was looked at; None: begin anew
    with the next look, what was used up to then is not known.
    """

    __slots__ = ("_cells", "_cpu_seconds", "_memory", "_rested", "began", "seconds", "until")

    def __init__(self, began: float, *, is_new: bool = True) -> None:
        self.began = began
        self.seconds = FIRST_CELL_SECONDS
        self.until = began if is_new else None
        self._cells: list[LifeCell] = []
        self._cpu_seconds = 0.0
        self._memory: int | None = None
        self._rested: float | None = None

    def note(self, now: float, cpu_seconds: float, memory: int | None) -> None:
        """At `now` it has used `cpu_seconds` in all, and has `memory` bytes. A total that falls counts once it has risen
        again: it does while a child that has ended is on its way into its parent's account.
        """
        self._fold_rest()
        used = max(0.0, cpu_seconds - self._cpu_seconds)
        if self.until is None:
            self._add(now, 0.0, 0.0, memory)
        else:
            self._spread(self.until, now, used, memory)
        self.until, self._memory = now, memory
        self._cpu_seconds = max(self._cpu_seconds, cpu_seconds)

    def rest(self, now: float) -> None:
        """It has not moved since the last look. Free, since it is said of jobs that sleep again and again."""
        self._rested = now

    def stop_measuring(self) -> None:
        """Up to the next look nothing is known: it is paused, say."""
        self._fold_rest()
        self.until = None

    def _fold_rest(self) -> None:
        rested, self._rested = self._rested, None
        if rested is not None and self.until is not None:
            self._spread(self.until, rested, 0.0, self._memory)
            self.until = rested

    def _spread(self, start: float, end: float, cpu_seconds: float, memory: int | None) -> None:
        whole = end - start
        if whole <= 0:
            return self._add(end, cpu_seconds, 0.0, memory)
        self._widen(end)
        for number in range(self._number(start), self._number(end) + 1):
            begin = max(start, self.began + number * self.seconds)
            share = max(0.0, min(end, self.began + (number + 1) * self.seconds) - begin)
            self._add_to(number, cpu_seconds * share / whole, share, memory)
        return None

    def _add(self, at: float, cpu_seconds: float, measured: float, memory: int | None) -> None:
        self._widen(at)
        self._add_to(self._number(at), cpu_seconds, measured, memory)

    def _add_to(self, number: int, cpu_seconds: float, measured: float, memory: int | None) -> None:
        self._cells.extend([_EMPTY] * (number + 1 - len(self._cells)))
        self._cells[number] = self._cells[number].with_more(cpu_seconds, measured, memory)

    def _number(self, at: float) -> int:
        return max(0, int((at - self.began) / self.seconds))

    def _widen(self, until: float) -> None:
        """Make two cells one, until the last one holds `until`."""
        while self._number(until) >= MOST_CELLS:
            self.seconds *= 2
            pairs = zip(self._cells[::2], [*self._cells[1::2], _EMPTY], strict=False)
            self._cells = [left.with_more(*right) for left, right in pairs]

    def values(self, now: float | None = None) -> LifePast:
        """Up to the last look; with `now` up to then, which is None where nobody has looked."""
        self._fold_rest()
        cells = list(self._cells)
        if now is not None:
            self._widen(now)
            cells = self._cells + [_EMPTY] * (self._number(now) + 1 - len(self._cells))
        return LifePast(
            seconds=self.seconds,
            cpu=tuple(cell.cpu_percent for cell in cells),
            memory=tuple(cell.memory for cell in cells),
        )

    @classmethod
    def recalled(cls, began: float, past: LifePast, until: float | None) -> LifeOfJob:
        """Go on from what `values` gave. `until`: as of that moment; the time up to the next look is not known."""
        life = cls(began, is_new=False)
        life.seconds = past.seconds
        for number, (cpu, memory) in enumerate(zip(past.cpu, past.memory, strict=True)):
            begin = began + number * past.seconds
            measured = past.seconds if until is None else min(past.seconds, max(0.0, until - begin))
            if cpu is None:
                measured = 0.0
            life._cells.append(LifeCell((cpu or 0.0) / 100 * measured, measured, memory))
        return life
