"""A job that wakes up now and then, only to look and to wait again. Pure: time is data.

curl looks at its silent connection once a second, a script at the child that it waits for ten times a second. That is CPU
time, but no progress: nothing is read, written, printed or started.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from corral.values.reports import Diagnosis

SHARE = 0.01
"""Of one core; what uses more works. A look round ten times a second takes a tenth of that in Python, more on a loaded machine."""
BURST = 0.03
"""Seconds of CPU that may be used in one go."""
OFTEN = 3
"""Who was seen to move so many times since it became quiet polls."""


class Quiet:
    """Since when a job has been quiet, and which of its processes look round meanwhile. Times are monotonic seconds."""

    def __init__(self, now: float) -> None:
        self.since = now
        self.look_again_at = 0.0
        self.looks = 0
        self.has_met = False
        """Whether those that it waits for were looked at since."""
        self.is_sure = False
        """Whether it was found to wait in vain when it was last looked at."""
        self.has_stirred = False
        self.diagnosis: Diagnosis | None = None
        self._stirs: dict[int, int] = {}
        self._clocks: dict[int, int] = {}
        self._rest: Hashable = None
        self._left = BURST
        self._seen_at = now

    def observe(self, now: float, clocks: Mapping[int, int], rest: Hashable) -> None:
        """Take one observation: CPU nanoseconds by pid, and all else that tells of progress (bytes read and written)."""
        used = sum(max(0, clock - self._clocks.get(pid, clock)) for pid, clock in clocks.items()) / 1e9
        self._left = min(BURST, self._left + SHARE * (now - self._seen_at)) - used
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
        self.is_sure = self.has_stirred = self.has_met = False
        self._stirs.clear()
        self._left = BURST

    def pass_over(self, seconds: float, now: float) -> None:
        """So many seconds up to `now` in which nobody looked tell nothing."""
        self.since = min(now, self.since + seconds)

    def lasts(self, now: float) -> float:
        """Seconds that it has been quiet for."""
        return max(0.0, now - self.since)

    @property
    def polling(self) -> frozenset[int]:
        """Processes that look round again and again."""
        return frozenset(pid for pid, times in self._stirs.items() if times >= OFTEN)
