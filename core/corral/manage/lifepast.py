"""CPU and memory of a job over its whole life, in a bounded number of cells that grow wider as the job grows older."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from msgspec import Struct

from corral.values.lifepast import FIRST_CELL_SECONDS, MOST_CELLS, LifePast


class LifeCell(NamedTuple):
    """What was used within one cell. `measured` seconds of it somebody has looked at; `memory` is the peak in bytes."""

    cpu_seconds: float = 0.0
    measured: float = 0.0
    memory: int | None = None


class _Cells:
    """The cells of one life: numbers in arrays take 3 KB where objects take 20, and a daemon has a thousand lives."""

    __slots__ = ("_cpu_seconds", "_measured", "_memory")

    def __init__(self, cells: Iterable[LifeCell] = ()) -> None:
        self._cpu_seconds, self._measured, self._memory = array("d"), array("d"), array("q")
        for number, cell in enumerate(cells):
            self.add(number, cell)

    def add(self, number: int, more: LifeCell) -> None:
        """To the cell of that number, which is made where there is none."""
        missing = number + 1 - len(self._measured)
        if missing > 0:
            self._cpu_seconds.extend([0.0] * missing)
            self._measured.extend([0.0] * missing)
            self._memory.extend([_UNKNOWN] * missing)
        self._cpu_seconds[number] += more.cpu_seconds
        self._measured[number] += more.measured
        if more.memory is not None:
            self._memory[number] = max(self._memory[number], more.memory)

    def halved(self) -> _Cells:
        """Each two as one."""
        fewer = _Cells()
        for number, cell in enumerate(self.all()):
            fewer.add(number // 2, cell)
        return fewer

    def past(self, seconds: float) -> LifePast:
        """Straight from the arrays: a thousand jobs may end at once."""
        times = zip(self._cpu_seconds, self._measured, strict=True)
        cpu = tuple([round(100 * used / measured, 1) if measured > 0 else None for used, measured in times])
        memory = tuple([None if peak == _UNKNOWN else peak for peak in self._memory])
        return LifePast(seconds, cpu, memory)

    def all(self) -> Iterator[LifeCell]:
        for cpu_seconds, measured, memory in zip(
            self._cpu_seconds, self._measured, self._memory, strict=True
        ):
            yield LifeCell(cpu_seconds, measured, None if memory == _UNKNOWN else memory)


_UNKNOWN = -1
"""Of memory: an array has no None."""


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
        self._cells = _Cells()
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
        self._cells.add(number, LifeCell(cpu_seconds, measured, memory))

    def _number(self, at: float) -> int:
        return max(0, int((at - self.began) / self.seconds))

    def _widen(self, until: float) -> None:
        """Make two cells one, until the last one holds `until`."""
        while self._number(until) >= MOST_CELLS:
            self.seconds *= 2
            self._cells = self._cells.halved()

    def values(self, now: float | None = None) -> LifePast:
        """Up to the last look. With `now`, and where it is paused, up to then."""
        self._fold_rest()
        if now is not None and self.until is None:
            self._add(now, 0.0, 0.0, None)
        return self._cells.past(self.seconds)

    @property
    def state(self) -> LifeState:
        self._fold_rest()
        return LifeState(
            began=self.began,
            seconds=self.seconds,
            until=self.until,
            cpu_seconds=self._cpu_seconds,
            memory=self._memory,
            cells=tuple(self._cells.all()),
        )

    @classmethod
    def of(cls, state: LifeState) -> LifeOfJob:
        life = cls(state.began)
        life.seconds, life.until = state.seconds, state.until
        life._cpu_seconds, life._memory, life._cells = state.cpu_seconds, state.memory, _Cells(state.cells)
        return life

    @classmethod
    def recalled(cls, began: float, past: LifePast, age: float) -> LifeOfJob:
        """Go on from what `values` gave when the job was `age` seconds old; what was used since then is not known."""
        life = cls(began, is_new=False)
        life.seconds, life.left_at = past.seconds, began + age
        for number, (cpu, memory) in enumerate(zip(past.cpu, past.memory, strict=True)):
            whole = min(past.seconds, max(0.0, age - number * past.seconds))
            measured = 0.0 if cpu is None else whole
            life._cells.add(number, LifeCell((cpu or 0.0) / 100 * measured, measured, memory))
        return life
