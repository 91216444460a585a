"""What was observed of a running job, in one record: pure, and handed over whole when the daemon is restarted in place.

Times without a time zone are monotonic seconds, which execve(2) does not touch.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from corral.measure.sampler import Usage
from corral.measure.stuck_rule import Progress
from corral.model.history import (
    CELL_SECONDS,
    FIRST_CELL_SECONDS,
    KEPT_CELLS,
    MOST_CELLS,
    LifePast,
    RecentHistory,
)
from corral.model.job import Health, StageTime
from corral.model.reports import Diagnosis
from corral.output.truncation import Fingerprint

_Value = TypeVar("_Value")
UNKNOWN = -1
"""Of memory: an array has no None."""


class Numbers(array):  # type: ignore[type-arg]
    """A column of floats: in arrays they take 3 KB a job where objects take 20, and a daemon has a thousand jobs."""

    __slots__ = ()

    def __new__(cls, values: Iterable[float] = ()) -> Numbers:
        return super().__new__(cls, "d", values)  # type: ignore[return-value]


class Lifetime(Struct):
    """CPU and memory from a job's start on, in at most `MOST_CELLS` cells, which grow wider as the job grows older.

    What was used between two measurements, however far apart, is spread over that time.
    """

    began: float
    """The job's start."""
    seconds: float = FIRST_CELL_SECONDS
    """The width of a cell."""
    until: float | None = None
    """When it was last measured; None: what was used up to the next measurement is unknown."""
    left_at: float | None = None
    """The last measurement of the daemon before."""
    rested: float | None = None
    """When it was last found not to have moved since the visit before."""
    cpu_seconds: float = 0.0
    memory: int | None = None
    used: Numbers = msgspec.field(default_factory=Numbers)
    """CPU seconds of each cell."""
    measured: Numbers = msgspec.field(default_factory=Numbers)
    """How many seconds of each cell were measured."""
    peaks: Numbers = msgspec.field(default_factory=Numbers)
    """The most memory of each cell, in bytes."""

    @classmethod
    def recalled(cls, began: float, lived: LifePast, age: float) -> Lifetime:
        """Go on from what `values` gave when the job was `age` seconds old; what was used since then is not known."""
        life = cls(began, lived.seconds, left_at=began + age)
        for number, (cpu, memory) in enumerate(zip(lived.cpu, lived.memory, strict=True)):
            whole = min(lived.seconds, max(0.0, age - number * lived.seconds))
            measured = 0.0 if cpu is None else whole
            life._add_to(number, (cpu or 0.0) / 100 * measured, measured, memory)
        return life

    def note(self, now: float, cpu_seconds: float, memory: int | None) -> None:
        """At `now` it has used `cpu_seconds` in all, and has `memory` bytes. A total that falls counts once it has risen
        again: it does while a child that has ended is on its way into its parent's account.
        """
        self._fold_rest()
        used = max(0.0, cpu_seconds - self.cpu_seconds)
        if self.until is None:
            self._add(now, 0.0, 0.0, memory)
        else:
            self._spread(self.until, now, used, memory)
        self.until, self.memory = now, memory
        self.cpu_seconds = max(self.cpu_seconds, cpu_seconds)

    def rest(self, now: float) -> None:
        """It has not moved since the last visit. Cheap, since it is called for every job that sleeps."""
        self.rested = now

    @property
    def looked_at(self) -> float:
        """When it was last visited."""
        return max(self.began, self.until or 0.0, self.rested or 0.0)

    def has_moved_since(self, then: float) -> bool:
        """Whether it was measured since `then`, and did not just rest."""
        return self.until is not None and self.until > then

    def bridge(self, cpu_seconds: float, memory: int | None) -> None:
        """It has not moved since the daemon before measured it, and so has used nothing in between."""
        self.until, self.cpu_seconds, self.memory = self.left_at, cpu_seconds, memory

    def stop_measuring(self) -> None:
        """Nothing is known up to the next measurement, as while the job is paused."""
        self._fold_rest()
        self.until = None

    def values(self, now: float | None = None) -> LifePast:
        """Up to the last measurement. With `now`, and if it is paused, up to then."""
        self._fold_rest()
        if now is not None and self.until is None:
            self._add(now, 0.0, 0.0, None)
        times = zip(self.used, self.measured, strict=True)
        cpu = tuple([round(100 * used / measured, 1) if measured > 0 else None for used, measured in times])
        memory = tuple([None if peak == UNKNOWN else int(peak) for peak in self.peaks])
        return LifePast(self.seconds, cpu, memory)

    def _fold_rest(self) -> None:
        rested, self.rested = self.rested, None
        if rested is not None and self.until is not None:
            self._spread(self.until, rested, 0.0, self.memory)
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
        missing = number + 1 - len(self.used)
        if missing > 0:
            self.used.extend([0.0] * missing)
            self.measured.extend([0.0] * missing)
            self.peaks.extend([UNKNOWN] * missing)
        self.used[number] += cpu_seconds
        self.measured[number] += measured
        if memory is not None:
            self.peaks[number] = max(self.peaks[number], memory)

    def _number(self, at: float) -> int:
        return max(0, int((at - self.began) / self.seconds))

    def _widen(self, until: float) -> None:
        """Make two cells one, until the last one holds `until`."""
        while self._number(until) >= MOST_CELLS:
            self.seconds *= 2
            self.used, self.measured = _halved(self.used, sum), _halved(self.measured, sum)
            self.peaks = _halved(self.peaks, max)


def _halved(cells: Numbers, join: Callable[[Iterable[float]], float]) -> Numbers:
    """Each two as one."""
    return Numbers(join(cells[first : first + 2]) for first in range(0, len(cells), 2))


class Cell(NamedTuple):
    """Five seconds; `slot` is their number since the machine started."""

    slot: int
    cpu: float | None
    memory: int | None
    output: float | None
    stages: tuple[float | None, ...]


class RecentUsage(Struct):
    """Ten minutes in cells of five seconds, a few hundred bytes a job.

    Only visits are kept: a job that sleeps costs nothing, and the gap between two visits repeats the earlier one.
    """

    cells: list[Cell] = []

    def note(
        self,
        now: float,
        cpu: float | None,
        memory: int | None,
        output: float | None,
        stages: tuple[float | None, ...] = (),
    ) -> None:
        """The numbers at `now` (monotonic seconds). The last ones of a cell stand for it."""
        cells, cell = self.cells, Cell(int(now // CELL_SECONDS), cpu, memory, output, stages)
        if cells and cells[-1].slot == cell.slot:
            cells[-1] = cell
            return
        if len(cells) > 1 and cells[-1][1:] == cells[-2][1:] == cell[1:]:
            cells.pop()
        cells.append(cell)
        while cells[0].slot <= cell.slot - KEPT_CELLS and len(cells) > 1:
            del cells[0]

    def values(self, now: float) -> RecentHistory:
        """The last `KEPT_CELLS` cells up to `now`; shorter where the job is younger."""
        filled: list[Cell] = []
        for cell in self.cells:
            _repeat_last(filled, cell.slot)
            filled.append(cell)
        _repeat_last(filled, int(now // CELL_SECONDS) + 1)
        return _recent_history(filled[-KEPT_CELLS:])


def _repeat_last(filled: list[Cell], before: int) -> None:
    while filled and filled[-1].slot + 1 < before:
        filled.append(filled[-1]._replace(slot=filled[-1].slot + 1))


def _recent_history(cells: list[Cell]) -> RecentHistory:
    stages = max((len(cell.stages) for cell in cells), default=0)
    return RecentHistory(
        seconds=CELL_SECONDS,
        cpu=tuple(cell.cpu for cell in cells),
        memory=tuple(cell.memory for cell in cells),
        output=tuple(cell.output for cell in cells),
        stages={
            number + 1: tuple(cell.stages[number] if number < len(cell.stages) else None for cell in cells)
            for number in range(stages)
        },
    )


class Stream(Fingerprint):
    """One output file of a running job, and what is known to be lost of it."""

    lost: int = 0
    """At least so many bytes, by all the times that it was made shorter."""
    times: int = 0
    position: int = 0
    """The offset of the stage's descriptor when the file was last found to be shorter: already counted."""
    held: bool = False
    """It had content before it was reopened, so that emptying it loses something."""
    has_tripwire: bool | None = False
    """Of `corral.platform.files.truncation_tripwire`; None where one is just being set up, or cannot be."""


class OutputHistory(Struct):
    """The sizes of the output files."""

    stdout: int = 0
    stderr: int = 0
    stdout_dropped: int = 0
    """Bytes of its head that its cap has dropped."""
    last_output: datetime | None = None
    written: int = 0
    """All bytes that were seen to arrive: unlike the sizes it never falls."""
    recent: list[tuple[float, int]] = []
    """(when, `written`) of the last seconds."""
    newest: int | None = None
    """The number of the file that grew last, if known."""

    def rate(self) -> float:
        """Bytes per second over the last 5 s."""
        recent = self.recent
        if len(recent) < 2 or recent[-1][0] <= recent[0][0]:
            return 0.0
        return round((recent[-1][1] - recent[0][1]) / (recent[-1][0] - recent[0][0]), 1)


class StageHistory(Struct):
    """What was observed of one stage."""

    cpu_seconds: float | None = None
    """Of the leader and all it has waited for, once it ended; until then of the last sample."""
    cpu_percent: float | None = None
    usage: Usage | None = None
    """Of the leader."""
    stderr_bytes: int = 0
    stderr_dropped: int = 0
    """Bytes of its head that its cap has dropped."""
    does: str | None = None
    """What its leader waits for, in a few words."""
    time: StageTime | None = None


class History(Struct):
    """What was observed of one job."""

    health: Health | None = None
    health_since: datetime | None = None
    progress: Progress | None = msgspec.field(default=None, name="still")
    """None before the first look."""
    cpu_percent: float | None = None
    memory_bytes: int | None = None
    peak_memory_bytes: int | None = None
    reaped_cpu_seconds: float = 0.0
    """Of the orphans that the daemon has reaped: no other counter has them."""
    last_cpu_seconds: float = 0.0
    """Of the whole tree, at the last sample."""
    last_sampled: float | None = None
    output: OutputHistory = msgspec.field(default_factory=OutputHistory)
    streams: list[Stream] = []
    """Its output files, stdout first, as of the last visit."""
    truncated: datetime | None = None
    """When one of them was last found to have been made shorter."""
    disk_full: datetime | None = None
    """When the disk of its output was found full last; of a terminal, since when it waits."""
    recent: RecentUsage = msgspec.field(default_factory=RecentUsage)
    lifetime: Lifetime | None = None
    stuck: Diagnosis | None = None
    """The last diagnosis while it was stuck, shortened."""
    stuck_at: datetime | None = None
    """When that was taken."""
    trouble: str | None = None
    """Why it could not be observed, as last recorded."""


def encode(value: object) -> bytes:
    """As JSON: a history, or whatever holds one."""
    return msgspec.json.encode(value, enc_hook=_to_list)


def decode(raw: bytes, of: type[_Value]) -> _Value:
    """Raises msgspec.DecodeError."""
    return msgspec.json.decode(raw, type=of, dec_hook=_from_list)


def _to_list(value: object) -> list[float]:
    if isinstance(value, Numbers):
        return value.tolist()
    raise NotImplementedError(type(value))


def _from_list(_: type, value: Any) -> Numbers:
    return Numbers(value)
