"""What the stages of a pipeline spend their time on, and which of them holds up the rest. Pure: time is data.

How long a thread was scheduled counts the kernel, to the nanosecond. The rest of the time it slept, and what for tell
looks at its wait. Looks alone mislead: a stage that falls asleep and wakes within microseconds is hardly ever seen asleep.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from corral.model.job import StageTime

WINDOW = 5.0
"""Seconds over which shares are taken."""
LEAST_SECONDS = 1.5
"""Shorter than that they mean nothing."""
BOTTLENECK_LEAD = 0.1
"""By so much less of its time than any other a stage waits at its pipes, if it holds up the rest."""
BOTTLENECK_LEAD_SECONDS = 3.0
"""How long another one must be ahead before it is shown."""

WaitSide = Literal["input", "output", "other"]


class ThreadSample(NamedTuple):
    """One thread of a stage at one moment. `doing` is what it sleeps for; None where it runs."""

    tid: int
    scheduled_ns: int
    doing: WaitSide | None


class _Point(NamedTuple):
    at: float
    scheduled_ns: int
    doing: WaitSide | None


class _Share(NamedTuple):
    """Of the time of one thread."""

    run: float
    input: float
    output: float

    @property
    def pipe_wait_share(self) -> float:
        return self.input + self.output


class StageTimeMeter:
    """Follows one stage: feed it looks at all its threads, read `time()`.

    The thread that waits most at the pipes of its stage tells how much the stage does: the others of a program that
    reads, works and writes with a thread for each wait for that one.
    """

    def __init__(self, *, has_input: bool, has_output: bool) -> None:
        self._sides = (has_input, has_output)
        self._past: dict[int, deque[_Point]] = {}

    def observe(self, now: float, looks: Iterable[ThreadSample]) -> None:
        """Take what was seen at `now` (monotonic seconds)."""
        for look in looks:
            self._past.setdefault(look.tid, deque()).append(_Point(now, look.scheduled_ns, look.doing))
        for tid, points in list(self._past.items()):
            while points and points[0].at < now - WINDOW:
                points.popleft()
            if not points:
                del self._past[tid]

    def time(self) -> StageTime | None:
        """The shares of the last seconds, to the hundredth; None before there is enough to tell."""
        newest = max((points[-1].at for points in self._past.values()), default=0.0)
        shares = [
            self._share(points)
            for points in self._past.values()
            if points[-1].at == newest and points[-1].at - points[0].at >= LEAST_SECONDS
        ]
        if not shares:
            return None
        telling = max(shares, key=lambda share: share.pipe_wait_share)
        run = min(sum(share.run for share in shares), 1 - telling.pipe_wait_share)
        run, put_in, out = round(run, 2), round(telling.input, 2), round(telling.output, 2)
        return StageTime(run=run, input=put_in, output=out, other=round(max(1 - run - put_in - out, 0.0), 2))

    def _share(self, points: deque[_Point]) -> _Share:
        first, last = points[0], points[-1]
        scheduled = (last.scheduled_ns - first.scheduled_ns) / ((last.at - first.at) * 1e9)
        run = min(max(scheduled, 0.0), 1.0)
        told = [point.doing for point in points if point.doing is not None]
        if told:
            asleep = (1 - run) / len(told)
            return _Share(run, asleep * told.count("input"), asleep * told.count("output"))
        # Never seen asleep: it is so for moments only, as who reads and writes pipes is.
        has_input, has_output = self._sides
        each = (1 - run) / (has_input + has_output) if has_input or has_output else 0.0
        return _Share(run, each * has_input, each * has_output)


def pipe_wait_share(time: StageTime) -> float:
    """The share of its time that a stage waits for its neighbours."""
    return time.input + time.output


def by_pipe_wait(times: Mapping[int, StageTime]) -> list[int]:
    """The stages, by number, that wait least for their neighbours first."""
    return sorted(times, key=lambda number: (pipe_wait_share(times[number]), number))


class BottleneckTracker:
    """Which stage holds up the rest, as it is shown: the one that waits least at its pipes, and no dancing mark."""

    def __init__(self) -> None:
        self.stage: int | None = None
        self._has_seen = False
        self._rival: int | None = None
        self._rival_since = 0.0

    def observe(self, now: float, times: Mapping[int, StageTime]) -> int | None:
        """Take the times of all running stages at `now`; the number of the stage, None where no one is ahead."""
        if not times:
            return self.stage
        ahead = _ahead(times)
        if not self._has_seen or (self.stage is not None and self.stage not in times):
            self.stage, self._has_seen = ahead, True
        if ahead == self.stage:
            self._rival_since = now
            self._rival = ahead
        elif ahead != self._rival:
            self._rival, self._rival_since = ahead, now
        elif now - self._rival_since >= BOTTLENECK_LEAD_SECONDS:
            self.stage = ahead
        return self.stage


def _ahead(times: Mapping[int, StageTime]) -> int | None:
    """The first of them, where it leads by enough; None for a single one, and where all wait for something to do."""
    if len(times) < 2:
        return None
    first, second = by_pipe_wait(times)[:2]
    return (
        first if pipe_wait_share(times[second]) - pipe_wait_share(times[first]) >= BOTTLENECK_LEAD else None
    )
