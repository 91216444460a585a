"""The rule for stuck: whether a job makes progress, from the evidence of what moved. Pure: time is data."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from msgspec import Struct

from corral.model.job import Health
from corral.model.reports import Diagnosis

MOVES_FOR = 3.0
"""Seconds that a movement counts for: a job looked at every second does not flicker between two words."""

MISSED_AT_LEAST = 2.0
"""Seconds; a shorter delay is an everyday one."""


class Progress(Struct):
    """What is known of a job's movement: CPU time, output and the set of processes of its whole tree.

    All times are monotonic seconds. Starting counts as a movement.
    """

    last_moved: float
    active_since: float = 0.0
    """Since when it moves, or moved last, without a longer break."""
    cpu_ns: int = 0
    output_bytes: int = 0
    pids: frozenset[int] | None = None
    """Of all its processes; None before the first observation. They and the two totals are those of the last one."""

    def __post_init__(self) -> None:
        self.active_since = self.active_since or self.last_moved

    def observe(self, now: float, cpu_ns: int, output_bytes: int, pids: frozenset[int]) -> bool:
        """Take one observation; whether anything moved since the one before.

        A total that falls, as when a process ends, is a movement too.
        """
        before = (self.cpu_ns, self.output_bytes, self.pids)
        self.cpu_ns, self.output_bytes, self.pids = seen = (cpu_ns, output_bytes, pids)
        has_moved = before[2] is not None and before != seen
        if has_moved:
            self.touch(now)
        return has_moved

    def touch(self, now: float) -> None:
        """Count this moment as a movement: it was resumed, or given input. Time it was paused is not held against it."""
        if now - self.last_moved > MOVES_FOR:
            self.active_since = now
        self.last_moved = max(self.last_moved, now)

    def pass_over(self, seconds: float, now: float) -> None:
        """So many seconds up to `now` in which nobody looked tell nothing of a job that has not moved in them."""
        self.last_moved = min(now, self.last_moved + seconds)

    def still_for(self, now: float) -> float:
        """Seconds since anything moved."""
        return max(0.0, now - self.last_moved)


class ObservationGaps:
    """Finds the times in which nobody looked: whatever stopped the daemon may have stopped its jobs along with it.

    A frozen container and a stopped session are such (cgroup_freezer; SIGSTOP): CLOCK_MONOTONIC goes on there, and only
    a suspended machine halts it (clock_gettime(2)).
    """

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None

    def missed(self, now: float, cpu_seconds: float, usual: float) -> float:
        """Seconds without attention since the call before. `usual`: how long it is from one to the next.

        `cpu_seconds` of this process: a process at work all the time was not stopped, only slow.
        """
        before, self._last = self._last, (now, cpu_seconds)
        if before is None:
            return 0.0
        missed = now - before[0] - usual - (cpu_seconds - before[1])
        return missed if missed > MISSED_AT_LEAST else 0.0


def health_of(
    progress: Progress,
    now: float,
    stuck_after: float,
    wait_is_benign: bool | None,
    *,
    is_cycle: bool = False,
) -> tuple[Health | None, float | None]:
    """The health of a running job, and since when (monotonic seconds).

    `wait_is_benign` is what `diagnose.is_benign` says of its waits; None: unknown, and then a job that has been still
    for `stuck_after` has no health, because nothing tells a hang from a long wait. `is_cycle`: its waits can never
    resolve.
    """
    still = progress.still_for(now)
    if is_cycle and still > 0:
        return "stuck", progress.last_moved
    if still <= MOVES_FOR and still < stuck_after:
        return "active", progress.active_since
    if wait_is_benign or still < stuck_after:
        return "waiting", progress.last_moved
    return ("stuck" if wait_is_benign is False else None), progress.last_moved


POLLING_CPU_SHARE = 0.01
"""Of one core; what uses more works. Polling ten times a second takes a tenth of that in Python, more on a loaded machine."""
POLLING_CPU_BURST = 0.03
"""Seconds of CPU that may be used in one go."""
POLLING_WAKEUPS = 3
"""A process that woke up this many times since its job became quiet is polling."""


class PollingDetector:
    """Since when a job has been quiet, and which of its processes poll meanwhile. Times are monotonic seconds."""

    def __init__(self, now: float) -> None:
        self.since = now
        self.look_again_at = 0.0
        self.looks = 0
        self.has_checked_targets = False
        """Whether those that it waits for were looked at since."""
        self.was_stuck = False
        """Whether it was found to be stuck when it was last looked at."""
        self.has_stirred = False
        self.diagnosis: Diagnosis | None = None
        self._stirs: dict[int, int] = {}
        self._clocks: dict[int, int] = {}
        self._rest: Hashable = None
        self._left = POLLING_CPU_BURST
        self._seen_at = now

    def observe(self, now: float, clocks: Mapping[int, int], rest: Hashable) -> None:
        """Take one observation: CPU nanoseconds by pid, and all else that tells of progress (bytes read and written)."""
        used = sum(max(0, clock - self._clocks.get(pid, clock)) for pid, clock in clocks.items()) / 1e9
        self._left = min(POLLING_CPU_BURST, self._left + POLLING_CPU_SHARE * (now - self._seen_at)) - used
        self._seen_at = now
        before = self._clocks
        self._clocks = dict(clocks)
        if self._left < 0 or rest != self._rest or before.keys() != clocks.keys():
            self._rest = rest
            self._begin(now)
            return
        for pid, clock in clocks.items():
            if clock != before[pid]:
                self.has_stirred = True
                self._stirs[pid] = self._stirs.get(pid, 0) + 1

    def _begin(self, now: float) -> None:
        self.since = now
        self.look_again_at = 0.0
        self.looks = 0
        self.was_stuck = self.has_stirred = self.has_checked_targets = False
        self._stirs.clear()
        self._left = POLLING_CPU_BURST

    def pass_over(self, seconds: float, now: float) -> None:
        """So many seconds up to `now` in which nobody looked tell nothing."""
        self.since = min(now, self.since + seconds)

    def lasts(self, now: float) -> float:
        """Seconds that it has been quiet for."""
        return max(0.0, now - self.since)

    @property
    def polling(self) -> frozenset[int]:
        """Processes that wake up, look and wait again."""
        return frozenset(pid for pid, times in self._stirs.items() if times >= POLLING_WAKEUPS)
