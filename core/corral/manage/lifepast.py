"""CPU and memory of a job over its whole life, in a bounded number of cells that grow wider as the job grows older."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct

from corral.values.lifepast import FIRST_CELL_SECONDS, MOST_CELLS, LifePast


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


class LifeState(Struct, frozen=True, kw_only=True):
    """All that a `LifeOfJob` goes on from in the same program or in the one that takes its place."""

    began: float
    seconds: float
    until: float | None
    cpu_seconds: float
    memory: int | None
    cells: tuple[LifeCell, ...]


class LifeOfJob:
    """Only looks are noted, however far apart: what was used between two of them is spread over that time.

    All times are monotonic seconds; `began` is the job's start. `until` is up to when it was looked at; None: begin anew
    with the next look, what was used up to then is not known.
    """

    __slots__ = ("_cells", "_cpu_seconds", "_memory", "_rested", "began", "left_at", "seconds", "until")

    def __init__(self, began: float, *, is_new: bool = True) -> None:
        self.began = began
        self.seconds = FIRST_CELL_SECONDS
        self.until = began if is_new else None
        self.left_at: float | None = None
        """When the daemon before looked last."""
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

    @property
    def looked_at(self) -> float:
        """When somebody looked last."""
        looks = (self.began, self.until or 0.0, self._rested or 0.0)
        return max(looks)

    def has_moved_since(self, then: float) -> bool:
        """Whether it was looked at since `then` and did not just rest."""
        return self.until is not None and self.until > then

    def bridge(self, cpu_seconds: float, memory: int | None) -> None:
        """What has moved nothing since the daemon before looked last has used nothing meanwhile."""
        self.until, self._cpu_seconds, self._memory = self.left_at, cpu_seconds, memory

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
        """Up to the last look. With `now`, and where it is paused, up to then."""
        self._fold_rest()
        if now is not None and self.until is None:
            self._add(now, 0.0, 0.0, None)
        cells = self._cells
        return LifePast(
            seconds=self.seconds,
            cpu=tuple(cell.cpu_percent for cell in cells),
            memory=tuple(cell.memory for cell in cells),
        )

    @property
    def state(self) -> LifeState:
        self._fold_rest()
        return LifeState(
            began=self.began,
            seconds=self.seconds,
            until=self.until,
            cpu_seconds=self._cpu_seconds,
            memory=self._memory,
            cells=tuple(self._cells),
        )

    @classmethod
    def of(cls, state: LifeState) -> LifeOfJob:
        life = cls(state.began)
        life.seconds, life.until = state.seconds, state.until
        life._cpu_seconds, life._memory, life._cells = state.cpu_seconds, state.memory, list(state.cells)
        return life

    @classmethod
    def recalled(cls, began: float, past: LifePast, age: float) -> LifeOfJob:
        """Go on from what `values` gave when the job was `age` seconds old; what was used since then is not known."""
        life = cls(began, is_new=False)
        life.seconds, life.left_at = past.seconds, began + age
        for number, (cpu, memory) in enumerate(zip(past.cpu, past.memory, strict=True)):
            whole = min(past.seconds, max(0.0, age - number * past.seconds))
            measured = 0.0 if cpu is None else whole
            life._cells.append(LifeCell((cpu or 0.0) / 100 * measured, measured, memory))
        return life
