"""How much flows through a pipe, and which side is the slow one at the moment. Pure: time is data."""

from __future__ import annotations

from collections import deque
from typing import Generic, Literal, NamedTuple, TypeVar

from corral.model.job import Limiter, Pipe
from corral.model.reports import WaitKind

RATE_WINDOW = 5.0
"""Seconds over which `bytes_per_second` is taken."""
FULL = 0.75
"""From this share of the capacity on a pipe counts as full. A writer of 128 KiB blocks into 1 MiB waits from 88 % on, and
between two reads of the slow side the fill swings below that."""

Side = Literal["writer", "reader"]
_OTHER: dict[Side, Side] = {"writer": "reader", "reader": "writer"}
SUSPICIOUS_TICKS = 2
_SHARE = 2
"""A side whose count grows by less than half of the other's lags: `pv` splices most and reads the rest."""
_TICKS_OF_TRUST = 8
"""How long a side that was acquitted is not looked at."""

_Value = TypeVar("_Value")


class Moved(NamedTuple):
    """What the processes of a stage have moved together, as `sampler.Usage` counts it for one."""

    read_bytes: int | None
    written_bytes: int | None
    cpu_seconds: float


class Debounced(Generic[_Value]):
    """A value that changes only when two of the last three observations agree, so that a mark does not dance."""

    def __init__(self, initial: _Value) -> None:
        self.value = initial
        self._last: deque[_Value] = deque(maxlen=3)

    def observe(self, seen: _Value) -> _Value:
        """Take one observation; the value to show. The first one counts by itself."""
        self._last.append(seen)
        if len(self._last) == 1 or self._last.count(seen) >= 2:
            self.value = seen
        return self.value


class _Total(NamedTuple):
    at: float
    value: int


class PipeFlow:
    """Follows one pipe. Feed it once a tick, read `pipe()`.

    The kernel counts per process, not per pipe, so the bytes are an upper bound: the smaller of what the writer has
    written (less its stderr, whose size is known) and of what the reader has read and what stands in the pipe. A reader
    that also reads files, or a writer that also writes some, is told apart by the other side; where both do, the count
    is too high, and nothing shows it. So `exact` is True only for a pipe that nothing was ever written to.

    splice(2), vmsplice(2) and io_uring move bytes that no counter has. A side that works while its count lags
    behind the other's is a `suspect`; once `distrust_counter` confirms it, the other side alone is counted by.
    """

    def __init__(self, number: int, writer_stage: int | None = None, reader_stage: int | None = None) -> None:
        self.number = number
        self._from = writer_stage or number
        self._to = reader_stage or number + 1
        self._counts: dict[Side, int] = {}
        self._offsets: dict[Side, int] = {}
        self._total: int | None = None
        self._past: deque[_Total] = deque()
        self._fill: int | None = None
        self._capacity: int | None = None
        self._limiter: Debounced[Limiter | None] = Debounced(None)
        self._is_untouched = False
        self._blind: set[Side] = set()
        self._lags: dict[Side, int] = {"writer": 0, "reader": 0}
        self._before: tuple[dict[Side, int], dict[Side, float]] | None = None

    @property
    def from_stage(self) -> int:
        return self._from

    @property
    def to_stage(self) -> int:
        return self._to

    def observe(
        self,
        now: float,
        writer: Moved | None,
        reader: Moved | None,
        fill: int | None,
        capacity: int | None,
        *,
        writer_waits: WaitKind | None = None,
        reader_waits: WaitKind | None = None,
        writer_stderr_bytes: int = 0,
        writer_pending: int = 0,
        writer_is_alone: bool = False,
        writer_runs: bool = True,
        reader_runs: bool = True,
    ) -> None:
        """Take what was seen at `now` (monotonic seconds).

        `writer` and `reader` are None where they cannot be read; for one that was not sampled because it did not move,
        give its last usage, and for one that has ended its final one. `writer_waits` and `reader_waits` are what they wait for, None where not
        known. `writer_pending` is `ProcessWait.pending`: a write(2) of 1 GB counts as written only when it returns, and
        until then the reader tells how far it is. `writer_is_alone`: its stage has no other process and no thread.
        """
        self._fill, self._capacity = fill, capacity
        written = None if writer is None else writer.written_bytes
        taken = None if reader is None else reader.read_bytes
        is_writing = writer_waits in (None, "running", "unknown", "pipe_write")
        self._is_untouched = writer_is_alone and written == 0 and not is_writing
        counts: dict[Side, int] = {}
        if written is not None:
            pending = writer_pending if taken is not None else 0
            counts["writer"] = max(0, written + pending - writer_stderr_bytes)
        if taken is not None and (fill is not None or not reader_runs):
            counts["reader"] = taken + (fill or 0)
        if capacity and writer is not None and reader is not None:
            self._compare(counts, {"writer": writer.cpu_seconds, "reader": reader.cpu_seconds}, capacity)
        self._count({side: count for side, count in counts.items() if side not in self._blind})
        if self._total is not None:
            self._remember(now, self._total)
        self._limiter.observe(
            limiter(fill, capacity, writer if writer_runs else None, writer_waits, reader_waits)
        )

    def pipe(self) -> Pipe:
        """The pipe as last observed."""
        return Pipe(
            number=self.number,
            from_stage=self._from,
            to_stage=self._to,
            fill_bytes=self._fill,
            capacity_bytes=self._capacity,
            bytes_per_second=self.bytes_per_second,
            bytes_total=self._total,
            exact=self._is_untouched,
            limited_by=self._limiter.value,
        )

    @property
    def bytes_per_second(self) -> float | None:
        """Over the last 5 s; None before there are two observations."""
        if len(self._past) < 2:
            return None
        oldest, newest = self._past[0], self._past[-1]
        return (newest.value - oldest.value) / (newest.at - oldest.at)

    @property
    def suspect(self) -> Side | None:
        """The side that seems to move bytes which no counter has."""
        if self._blind:
            return None
        return next((side for side, ticks in self._lags.items() if ticks >= SUSPICIOUS_TICKS), None)

    def distrust_counter(self, side: Side) -> None:
        """The count of that side says nothing about this pipe: start again with that of the other."""
        self._blind.add(side)
        self._total = None
        self._offsets.clear()
        self._past.clear()
        self._count({other: count for other, count in self._counts.items() if other != side})

    def clear_suspicion(self) -> None:
        """The suspicion can be explained otherwise; look again later."""
        self._lags = {"writer": -_TICKS_OF_TRUST, "reader": -_TICKS_OF_TRUST}

    def _compare(self, counts: dict[Side, int], cpu: dict[Side, float], capacity: int) -> None:
        """Note which side uses CPU while its count lags behind the other's by more than the pipe can hold."""
        before, self._before = self._before, (counts, cpu)
        if before is None or not counts.keys() == before[0].keys() == _OTHER.keys():
            return
        grown = {side: counts[side] - before[0][side] for side in counts}
        for side, other in _OTHER.items():
            if grown[side] * _SHARE >= max(grown[other], 1):
                self._lags[side] = min(self._lags[side], 0)
            elif grown[other] - grown[side] > capacity and cpu[side] > before[1][side]:
                self._lags[side] += 1

    def _count(self, counts: dict[Side, int]) -> None:
        """The smaller of the two counts is the total. Where one side ends, the other goes on from there, so that bytes
        which it moved elsewhere are not added after the fact."""
        if self._total is not None and counts.keys() != self._counts.keys():
            goes_on = counts.keys() & self._counts.keys()
            for side, count in counts.items():
                if side in goes_on:
                    self._offsets[side] = self._total - self._counts[side]
                elif side in self._offsets or not goes_on:
                    self._offsets[side] = self._total - count
        self._counts = counts
        if counts:
            smaller = min(count + self._offsets.setdefault(side, 0) for side, count in counts.items())
            self._total = max(self._total or 0, smaller, self._fill or 0)

    def _remember(self, now: float, total: int) -> None:
        if self._past and now <= self._past[-1].at:
            return
        self._past.append(_Total(now, total))
        while len(self._past) > 2 and self._past[1].at <= now - RATE_WINDOW:
            self._past.popleft()


def limiter(
    fill: int | None,
    capacity: int | None,
    writer: object | None,
    writer_waits: WaitKind | None = None,
    reader_waits: WaitKind | None = None,
) -> Limiter | None:
    """Which side of a pipe is the slow one at this moment; None where its fill is not known.

    A pipe can be full well below its capacity: a block that does not fit into what is left of a page takes a page of
    its own (pipe_write in fs/pipe.c), so a writer that waits to write is the surer sign. An empty pipe whose writer has
    ended has no slow side.
    """
    if fill is None or not capacity:
        return None
    if writer_waits == "pipe_write" or fill >= FULL * capacity:
        return "reader"
    if fill == 0 and writer is not None and reader_waits in ("pipe_read", None):
        return "writer"
    return "none"
