"""The start queue: jobs whose turn has come are noted in the journal as starting and then started, some in each pass."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from corral.jobs.end_waiters import Waiters
from corral.jobs.executor import Executor
from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import ManagedJob
from corral.jobs.transitions import Apply
from corral.journal.commits import Commits
from corral.journal.journal import Journal
from corral.lifecycle.clock import moment
from corral.lifecycle.outcome import dependency_failure
from corral.lifecycle.scheduler import Dependency, FailedWait, Scheduler
from corral.lifecycle.state import DependencyFailed, Effect, SlotGranted
from corral.model.job import Job

STARTS_A_PASS = 20
"""Spawning is synchronous; more in one pass of the loop would keep everybody else waiting."""
FAILS_A_PASS = 100
"""Jobs that are ended in one pass since the one that they waited for failed."""
COMMIT_SECONDS = 0.01
"""Until the pids of what was started are committed, unless an earlier pass takes them along. A daemon that dies
before finds them by their marks, since the jobs were committed as starting."""
RETRY_SECONDS = 1.0
"""Until the next try where the journal cannot be written."""


class StartQueue:
    """Starts what may start.

    Args:
        executor: asked for when a job is to be started: the executor is created later.
        state_of: the state of any job by its number, for what is said of those that waited for it.
    """

    def __init__(
        self,
        table: JobTable,
        journal: Journal,
        scheduler: Scheduler,
        commits: Commits,
        apply: Apply,
        *,
        executor: Callable[[], Executor],
        state_of: Callable[[int], str],
    ) -> None:
        self._table = table
        self._journal = journal
        self._scheduler = scheduler
        self._commits = commits
        self._apply = apply
        self._executor = executor
        self._state_of = state_of
        self._loop = asyncio.get_running_loop()
        self._to_start: list[ManagedJob] = []
        self._has_pass = False
        self._waiters = Waiters()

    def add(self, job: ManagedJob, after: Iterable[Dependency]) -> None:
        """It starts when its turn comes."""
        self._scheduler.add(job.id, after=after)
        self._table.touch(job)
        self.wake()

    def start_stages(self, job: ManagedJob, _: Effect) -> None:
        """Its turn has come: start it in this pass, once the journal knows."""
        self._table.begin(job)
        self._to_start.append(job)

    def waiting_for(self, job: ManagedJob) -> str | None:
        """What it waits for in the queue, in words; None where it need not wait."""
        start = self._executor().slow_start(job)
        return (start and start.waiting_for) or self._scheduler.waiting_for(job.id)

    # ---- passes

    def wake(self) -> None:
        """Start what may start, soon."""
        if not self._has_pass:
            self._has_pass = True
            self._loop.call_soon(self._pass)

    def _pass(self) -> None:
        self._has_pass = False
        self._fail(self._scheduler.take_failed(FAILS_A_PASS))
        ready = self._scheduler.take_ready(STARTS_A_PASS)
        for job_id in ready:
            self._apply(self._table.managed[job_id], SlotGranted(**moment()))
        if self._to_start:
            self._journal.mark_starting([job.id for job in self._to_start])
        if not self._commits.soon():
            # Nothing starts that the journal does not know to be starting: after a crash it would start again.
            self._loop.call_later(RETRY_SECONDS, self.wake)
            return
        starting, self._to_start = self._to_start, []
        for job in starting:
            if not job.life.is_ended:
                self._executor().start(job)
        if len(ready) == STARTS_A_PASS or self._scheduler.has_failed:
            self.wake()
        elif self._journal.is_dirty:
            self._commits.within(COMMIT_SECONDS)

    def fail_waiters(self) -> None:
        """End those that wait for a job that did not succeed. Before that one is removed: its state could not be told any more."""
        while found := self._scheduler.take_failed():
            self._fail(found)

    def _fail(self, waits: Iterable[FailedWait]) -> None:
        for failed in waits:
            state = self._state_of(failed.dependency)
            message = dependency_failure(failed.dependency, state)  # type: ignore[arg-type]
            self._apply(self._table.managed[failed.job], DependencyFailed(**moment(), message=message))

    # ---- waiting for a start

    def note_start_failed(self, job: ManagedJob) -> None:
        """It may be a while until what was started of it has ended."""
        self._waiters.release(job.id)

    def job_started(self, job: Job) -> None:
        self._waiters.release(int(job.id))

    def job_ended(self, job: Job) -> None:
        self._scheduler.ended(int(job.id), job.state == "succeeded")
        self._waiters.release(int(job.id))
        self.wake()

    async def until_started(self, job_id: int) -> None:
        """Return once it has started, could not start, or has to wait in the queue."""
        job = self._table.managed.get(job_id)
        while job is not None and job.life.state == "queued" and not self._has_to_wait(job):
            future = self._waiters.add(job_id)
            await asyncio.wait([future], timeout=0.05)
            future.cancel()

    def _has_to_wait(self, job: ManagedJob) -> bool:
        start = self._executor().slow_start(job)
        if start is not None:
            return start.has_to_wait
        return self.waiting_for(job) is not None and not job.life.is_starting
