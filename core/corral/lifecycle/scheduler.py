"""Which queued job may start now: so many at a time in each group, each after those it waits for, by priority, then by id.

Pure bookkeeping. What is done with one job costs the logarithm of how many are queued: a batch of thousands stays linear.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from operator import attrgetter
from typing import NamedTuple

DEFAULT_GROUP = "default"
_NAMED_DEPENDENCIES = 2


class Group(NamedTuple):
    """A queue with a limit of its own. `limit`: how many of its jobs may run at a time, None for any number.

    While it is paused none of them starts; what runs goes on.
    """

    name: str = DEFAULT_GROUP
    limit: int | None = None
    paused: bool = False


class Dependency(NamedTuple):
    """A job that another one waits for. `succeeded` None: it has not ended. `by_end`: its end is enough, however."""

    job: int
    name: str | None = None
    succeeded: bool | None = None
    by_end: bool = False


Source = Callable[[], int | None]
"""Gives the next job that is to start, which holds a slot from then on; None where none may at the moment."""


class FailedWait(NamedTuple):
    """`job` cannot start, because `dependency` ended and did not succeed."""

    job: int
    dependency: int


class _Queue:
    """The jobs of one group. `ready` is a heap of (-priority, id); those that have ended are skipped when met."""

    __slots__ = ("group", "ready", "running")

    def __init__(self, group: Group) -> None:
        self.group = group
        self.ready: list[tuple[int, int]] = []
        self.running = 0

    @property
    def is_full(self) -> bool:
        return self.group.limit is not None and self.running >= self.group.limit


class _QueuedJob:
    """`waits` is what it has waited for since it was added, smallest id first; `missing`: how many of these have not ended."""

    __slots__ = ("failed_by", "is_ready", "missing", "priority", "queue", "source", "waits")

    def __init__(
        self, queue: _Queue, priority: int, waits: tuple[Dependency, ...], source: Source | None
    ) -> None:
        self.queue = queue
        self.source = source
        self.is_ready = False
        """Of a source: it is in the heap."""
        self.priority = priority
        self.waits = waits
        self.missing = len(waits)
        self.failed_by: int | None = None
        """The one that it waited for and that did not succeed."""


class Scheduler:
    """Knows the queued and the running jobs, and nothing of those that ended.

    There is always a group `default`, which has no limit until `configure` gives it one.
    """

    def __init__(self) -> None:
        self._queues: dict[str, _Queue] = {}
        self._turns: deque[_Queue] = deque()
        """All groups; the first one is next, so that none waits for another to run out of jobs."""
        self._queued: dict[int, _QueuedJob] = {}
        self._running: dict[int, _Queue] = {}
        self._waiters: dict[int, list[int]] = {}
        """Of each job that has not ended: the jobs that wait for it."""
        self._last_waits: tuple[Dependency, ...] = ()
        """Thousands of jobs may wait for the same: they share them."""
        self._failed: list[FailedWait] = []
        """A heap; those that have ended are skipped when met."""
        self.configure(Group())

    def configure(self, group: Group) -> None:
        """Make a group, or change its limit or pause it. What runs is not touched by that."""
        queue = self._queues.get(group.name)
        if queue is None:
            queue = self._queues[group.name] = _Queue(group)
            self._turns.append(queue)
        queue.group = group

    def add(
        self,
        job: int,
        group: str = DEFAULT_GROUP,
        priority: int = 0,
        after: Iterable[Dependency] = (),
        source: Source | None = None,
    ) -> None:
        """Put a job into the queue of a group. Those it waits for have smaller ids, so there is no cycle.

        One with a `source` is many: it stays in the queue until `ended`, and its jobs are started in its place.

        Raises:
            KeyError: there is no such group.
        """
        queue, dependencies = self._queues[group], tuple(after)
        unended = {each.job: each for each in dependencies if each.succeeded is None}
        waits = tuple(sorted(unended.values(), key=attrgetter("job")))
        if waits != self._last_waits:
            self._last_waits = waits
        self._queued[job] = queued = _QueuedJob(queue, priority, self._last_waits, source)
        failed = next((each for each in dependencies if each.succeeded is False), None)
        if failed is not None:
            self._fail(job, queued, failed.job)
            return
        for dependency in unended:
            self._waiters.setdefault(dependency, []).append(job)
        if not unended:
            self._make_ready(job, queued)

    def adopt(self, job: int, group: str = DEFAULT_GROUP) -> None:
        """A job that runs already, started by an earlier daemon. Raises KeyError."""
        self._hold_slot(job, self._queues[group])

    def ended(self, job: int, succeeded: bool) -> None:
        """A job ended, whether it ran or was still queued. Lets its waiters start or fail."""
        queue = self._running.pop(job, None)
        if queue is not None:
            queue.running -= 1
        self._queued.pop(job, None)
        for waiter in self._waiters.pop(job, ()):
            queued = self._queued.get(waiter)
            if queued is None:
                continue
            if not succeeded and not any(each.job == job and each.by_end for each in queued.waits):
                self._fail(waiter, queued, job)
                continue
            queued.missing -= 1
            if not queued.missing:
                self._make_ready(waiter, queued)

    def ask_again(self, job: int) -> None:
        """The source of that job may have jobs to start."""
        queued = self._queued.get(job)
        if queued is not None and not (queued.is_ready or queued.missing or queued.failed_by is not None):
            self._make_ready(job, queued)

    @staticmethod
    def _make_ready(job: int, queued: _QueuedJob) -> None:
        queued.is_ready = True
        heappush(queued.queue.ready, (-queued.priority, job))

    def take_ready(self, at_most: int | None = None) -> list[int]:
        """The jobs that may start now; from now on each holds a slot of its group until `ended`.

        Groups take turns; in each the highest priority is first, then the smallest id.
        """
        taken: list[int] = []
        idle = 0
        while idle < len(self._turns) and (at_most is None or len(taken) < at_most):
            job = self._next_of(self._turns[0])
            self._turns.rotate(-1)
            if job is None:
                idle += 1
            else:
                idle = 0
                taken.append(job)
        return taken

    def _next_of(self, queue: _Queue) -> int | None:
        """Takes a job out of the queue; None where none may start."""
        if queue.group.paused or queue.is_full:
            return None
        while queue.ready:
            job = queue.ready[0][1]
            queued = self._queued.get(job)
            taken = None if queued is None else job if queued.source is None else queued.source()
            if taken is not None:
                self._hold_slot(taken, queue)
            if taken is None or taken == job:
                heappop(queue.ready)
                self._leave_heap(job, queued)
            if taken is not None:
                return taken
        return None

    def _leave_heap(self, job: int, queued: _QueuedJob | None) -> None:
        if queued is not None and queued.source is not None:
            queued.is_ready = False
        else:
            self._queued.pop(job, None)

    def _hold_slot(self, job: int, queue: _Queue) -> None:
        self._running[job] = queue
        queue.running += 1

    def _fail(self, job: int, queued: _QueuedJob, dependency: int) -> None:
        if queued.failed_by is None:
            queued.failed_by = dependency
            heappush(self._failed, FailedWait(job, dependency))

    @property
    def has_failed(self) -> bool:
        """Whether there are waiters whose wait has failed."""
        return bool(self._failed)

    def take_failed(self, at_most: int | None = None) -> list[FailedWait]:
        """Waiters whose wait has failed since the last call. End each of them, and call `ended` for it.

        Those beyond `at_most` are left for the next call.
        """
        taken: list[FailedWait] = []
        while self._failed and (at_most is None or len(taken) < at_most):
            failed = heappop(self._failed)
            if failed.job in self._queued:
                taken.append(failed)
        return taken

    def waiting_for(self, job: int) -> str | None:
        """Why a queued job does not start, such as `limit: 2 of 2 running`; None where nothing keeps it."""
        queued = self._queued.get(job)
        if queued is None:
            return None
        if queued.missing:
            return _missing_text(
                [each for each in queued.waits if each.job in self._waiters or each.job == queued.failed_by]
            )
        return _queue_text(queued.queue)


def _queue_text(queue: _Queue) -> str | None:
    name, limit, paused = queue.group
    if paused:
        return f"group {name} is paused"
    if not queue.is_full:
        return None
    if name == DEFAULT_GROUP:
        return f"limit: {queue.running} of {limit} running"
    return f"{queue.running} of {limit} run in group {name}"


def _missing_text(missing: Sequence[Dependency]) -> str:
    first = missing[:_NAMED_DEPENDENCIES]
    named = [f"job {each.job} ({each.name})" if each.name else f"job {each.job}" for each in first]
    wanted = "to be stopped" if all(each.by_end for each in missing) else "to succeed"
    rest = len(missing) - len(named)
    if rest:
        return f"{', '.join(named)} and {rest} more {wanted}"
    return f"{' and '.join(named)} {wanted}"
