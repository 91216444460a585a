"""Which queued job may start now: so many at a time, each after those it waits for, else in the order of their ids.

Pure bookkeeping. Every call costs the same however many jobs wait (a heap aside): a batch of thousands stays linear.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

_NAMED_DEPENDENCIES = 2


class Dependency(NamedTuple):
    """A job that another one waits for. `succeeded` None: it has not ended. `by_end`: its end is enough, however."""

    job: int
    name: str | None = None
    succeeded: bool | None = None
    by_end: bool = False


class FailedWait(NamedTuple):
    """`job` cannot start, because `dependency` ended and did not succeed."""

    job: int
    dependency: int


class Scheduler:
    """Knows the queued and the running jobs, and nothing of those that ended.

    `parallel` is how many may run at a time, None for any number; it may be changed at any time.
    """

    def __init__(self, parallel: int | None = None) -> None:
        self.parallel = parallel
        self._missing: dict[int, dict[int, Dependency]] = {}
        """Of each queued job: what it still waits for."""
        self._waiters: dict[int, list[int]] = {}
        """Of each job that has not ended: who waits for it."""
        self._ready: list[int] = []
        """A heap of ids; those that have left the queue are skipped when met."""
        self._running: set[int] = set()
        self._failed: list[FailedWait] = []

    @property
    def running(self) -> int:
        """How many jobs hold a slot."""
        return len(self._running)

    @property
    def queued(self) -> int:
        return len(self._missing)

    def add(self, job: int, after: Iterable[Dependency] = ()) -> None:
        """Put a job into the queue. Those it waits for have smaller ids, so that no cycle can be."""
        missing: dict[int, Dependency] = {}
        self._missing[job] = missing
        failed = None
        for dependency in after:
            if dependency.succeeded is None:
                missing[dependency.job] = dependency
            elif not dependency.succeeded and failed is None:
                failed = dependency.job
        if failed is not None:
            self._failed.append(FailedWait(job, failed))
            return
        for dependency_job in missing:
            self._waiters.setdefault(dependency_job, []).append(job)
        if not missing:
            heappush(self._ready, job)

    def adopt(self, job: int) -> None:
        """A job that runs already, started by an earlier daemon."""
        self._running.add(job)

    def ended(self, job: int, succeeded: bool) -> None:
        """A job ended, whether it ran or was still queued. Lets its waiters start or fail."""
        self._running.discard(job)
        self._missing.pop(job, None)
        for waiter in self._waiters.pop(job, ()):
            missing = self._missing.get(waiter)
            if missing is None or job not in missing:
                continue
            if not (succeeded or missing[job].by_end):
                self._failed.append(FailedWait(waiter, job))
                continue
            del missing[job]
            if not missing:
                heappush(self._ready, waiter)

    def withdraw(self, job: int) -> None:
        """A job was taken from the queue, so it never succeeds."""
        self.ended(job, succeeded=False)

    def take_ready(self, at_most: int | None = None) -> list[int]:
        """The jobs that may start now, smallest id first; from now on each holds a slot until `ended`."""
        free = None if self.parallel is None else self.parallel - len(self._running)
        if at_most is not None:
            free = at_most if free is None else min(free, at_most)
        taken: list[int] = []
        while self._ready and (free is None or len(taken) < free):
            job = heappop(self._ready)
            if self._missing.pop(job, None) is not None:
                taken.append(job)
        self._running.update(taken)
        return taken

    @property
    def has_failed(self) -> bool:
        """Whether there are waiters whose wait has failed."""
        return bool(self._failed)

    def take_failed(self, at_most: int | None = None) -> list[FailedWait]:
        """Waiters whose wait has failed since the last call; each is to be ended, and that told to `ended`.

        Those beyond `at_most` are for the next call.
        """
        first_of = {wait.job: wait for wait in reversed(self._failed)}
        failed = [first_of[job] for job in sorted(first_of) if job in self._missing]
        count = len(failed) if at_most is None else at_most
        self._failed = failed[count:]
        return failed[:count]

    def waiting_for(self, job: int) -> str | None:
        """Why a queued job does not start, such as `limit: 2 of 2 running`; None where nothing keeps it."""
        missing = self._missing.get(job)
        if missing:
            return _sentence(sorted(missing.values()))
        if missing is None or self.parallel is None or len(self._running) < self.parallel:
            return None
        return f"limit: {len(self._running)} of {self.parallel} running"


def _sentence(missing: Sequence[Dependency]) -> str:
    named = [f"job {each.job} ({each.name})" if each.name else f"job {each.job}" for each in missing]
    wanted = "to be stopped" if all(each.by_end for each in missing) else "to succeed"
    if len(named) > _NAMED_DEPENDENCIES:
        rest = len(named) - _NAMED_DEPENDENCIES
        return f"{', '.join(named[:_NAMED_DEPENDENCIES])} and {rest} more {wanted}"
    return f"{' and '.join(named)} {wanted}"
