"""How a batch gets on: durations, rate, time left, and which failures are alike. Pure: time is passed in."""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from collections import deque

from corral.model.batch import FailureGroup

KEPT_DURATIONS = 1001
"""Of the newest successes: a median of these is a median for all practical purposes, and memory stays flat."""
ENOUGH_FOR_MEDIAN = 3
ENOUGH_FOR_STRAGGLERS = 5
STRAGGLES = 3.0
"""Times the median."""
RATE_SECONDS = 60.0
MOST_CAUSES = 1000
"""Told apart; what comes then is one of `OTHERS`."""
OTHERS = "other failures"
_NUMBERS = re.compile(r"\d+")
_SHOWN_IDS = 3


class Durations:
    """Seconds that the newest successes took."""

    def __init__(self) -> None:
        self._order: deque[float] = deque()
        self._sorted: list[float] = []
        self.count = 0

    def add(self, seconds: float) -> None:
        self.count += 1
        self._order.append(seconds)
        insort(self._sorted, seconds)
        if len(self._order) > KEPT_DURATIONS:
            oldest = self._order.popleft()
            del self._sorted[bisect_left(self._sorted, oldest)]

    @property
    def median(self) -> float | None:
        """None before the first."""
        if not self._sorted:
            return None
        middle = len(self._sorted) // 2
        if len(self._sorted) % 2:
            return self._sorted[middle]
        return (self._sorted[middle - 1] + self._sorted[middle]) / 2

    def is_straggling(self, seconds: float) -> bool:
        """Whether a job that has run so long has run much longer than most."""
        median = self.median
        return median is not None and self.count >= ENOUGH_FOR_STRAGGLERS and seconds > STRAGGLES * median

    def share_of_median(self, percent: float) -> float | None:
        """So many percent of the median; None before enough have succeeded."""
        median = self.median
        return None if median is None or self.count < ENOUGH_FOR_MEDIAN else median * percent / 100


class Rate:
    """Ends a second, over the last minute. Where that holds few, since the beginning."""

    def __init__(self) -> None:
        self._cells: deque[tuple[int, int]] = deque()
        """Monotonic second, ends in it."""
        self._began: float | None = None
        self._total = 0

    def note_start(self, now: float) -> None:
        if self._began is None:
            self._began = now

    def note_end(self, now: float) -> None:
        second = int(now)
        self._total += 1
        if self._cells and self._cells[-1][0] == second:
            self._cells[-1] = (second, self._cells[-1][1] + 1)
        else:
            self._cells.append((second, 1))
            while self._cells[0][0] < second - RATE_SECONDS:
                self._cells.popleft()

    def per_second(self, now: float) -> float | None:
        """None before the first end."""
        if self._began is None or not self._total:
            return None
        age = max(now - self._began, 0.001)
        recent = sum(ends for second, ends in self._cells if second >= now - RATE_SECONDS)
        if age <= RATE_SECONDS or recent < 10:
            return self._total / age
        return recent / RATE_SECONDS


class Failures:
    """The causes for which jobs failed, with how many did and the first of them."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._causes: list[str] = []
        self._counts: list[int] = []
        self._first: list[list[str]] = []

    def number_of(self, cause: str) -> int:
        """The number of a cause, from 1 on. Of very many different ones the last are one."""
        if cause not in self._numbers and len(self._causes) >= MOST_CAUSES:
            cause = OTHERS
        if cause not in self._numbers:
            self._causes.append(cause)
            self._counts.append(0)
            self._first.append([])
            self._numbers[cause] = len(self._causes)
        return self._numbers[cause]

    def note(self, number: int, job_id: str) -> None:
        """That job has failed for the cause of that number."""
        self._counts[number - 1] += 1
        if len(self._first[number - 1]) < _SHOWN_IDS:
            self._first[number - 1].append(job_id)

    @property
    def causes(self) -> list[str]:
        """By rising number."""
        return self._causes

    def groups(self) -> tuple[FailureGroup, ...]:
        """Most first."""
        rows = zip(self._causes, self._counts, self._first, strict=True)
        found = [FailureGroup(cause, count, tuple(ids)) for cause, count, ids in rows if count]
        return tuple(sorted(found, key=lambda group: -group.count))


def cause_of(what: str, last_line: str) -> str:
    """What failures that are alike have in common."""
    line = _NUMBERS.sub("N", last_line.strip())[:200]
    return f"{what}: {line}" if line else what
