"""The start queue: jobs whose turn has come are noted in the journal as starting and then started, some in each pass."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from msgspec import Struct, field

from corral.jobs.end_waiters import Waiters
from corral.jobs.executor import Executor
from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import ManagedJob, new_job
from corral.jobs.queued_job import QueuedJob
from corral.jobs.transitions import Apply
from corral.journal.commits import Commits
from corral.journal.journal import Journal
from corral.journal.rows import damaged_job
from corral.journal.unfinished_jobs import unended_job
from corral.lifecycle.clock import moment
from corral.lifecycle.outcome import dependency_failure
from corral.lifecycle.scheduler import Dependency, FailedWait, Scheduler
from corral.lifecycle.state import DependencyFailed, Effect, RemovedFromQueue, SlotGranted
from corral.model.batch import BatchJobId
from corral.model.errors import CorralError
from corral.model.job import UNKNOWN_COMMAND, Job
from corral.platform.host.daemon_log import log

STARTS_A_PASS = 20
"""Spawning is synchronous; more in one pass of the loop would keep everybody else waiting."""
FAILS_A_PASS = 100
"""Jobs that are ended in one pass since the one that they waited for failed."""
COMMIT_SECONDS = 0.01
"""Until the pids of what was started are committed, unless an earlier pass takes them along. A daemon that dies
before finds them by their marks, since the jobs were committed as starting."""
RETRY_SECONDS = 1.0
"""Until the next try where the journal cannot be written."""


class StartQueue(Struct, eq=False):
    """Starts what may start."""

    _table: JobTable
    _journal: Journal
    _scheduler: Scheduler
    _commits: Commits
    _apply: Apply
    executor: Callable[[], Executor]
    """Asked for when a job is to be started: the executor is created later."""
    state_of: Callable[[int], str]
    """The state of any job by its number, for what is said of those that waited for it."""
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _to_start: list[ManagedJob] = []
    _has_pass: bool = False
    _holds: int = 0
    _waiters: Waiters = field(default_factory=Waiters)
    on_withdrawn: Callable[[Sequence[int]], None] = lambda _: None
    """Called with jobs that have left the queue for ever."""
    claim: Callable[[BatchJobId], None] = lambda _: None
    """Called before a job of a batch is started."""
    fail_batch: Callable[[int, str], None] = lambda batch, message: None
    """Called with a batch whose wait has failed, and why."""

    def add(self, job: QueuedJob, after: Iterable[Dependency]) -> None:
        """It starts when its turn comes."""
        self._table.enqueue(job)
        self._scheduler.add(job.id, after=after)
        self._table.note_changed(job.id)
        self.wake()

    def take(self, job_id: int) -> ManagedJob | None:
        """Out of the queue, for what is to happen to it now. None where its row cannot be read: it is lost then."""
        if isinstance(job_id, BatchJobId):
            return self._table.started[job_id]
        queued = self._table.queued[job_id]
        job = queued.whole or self._read(job_id)
        if job is None:
            created, ended = queued.created.timestamp(), datetime.now(UTC).timestamp()
            lost = damaged_job(job_id, queued.name, UNKNOWN_COMMAND, created, ended)
            self._journal.job_ended(lost)
            self._table.remember(lost)
            self._leave([job_id])
            return None
        self._table.add(job)
        return job

    def _read(self, job_id: int) -> ManagedJob | None:
        try:
            stored = unended_job(self._journal, job_id)
        except CorralError as error:
            log(f"job {job_id} cannot be started: {error}")
            return None
        return None if stored is None else new_job(job_id, stored.spec, stored.surroundings, stored.created)

    def withdraw(self, job_ids: Sequence[int]) -> None:
        """Take jobs out of the queue: they are stopped, and never started."""
        now, light = datetime.now(UTC), list[int]()
        for job_id in job_ids:
            queued = self._table.queued[job_id]
            if queued.whole is not None and (job := self.take(job_id)) is not None:
                self._apply(job, RemovedFromQueue(**moment()))
            else:
                self._journal.job_withdrawn(job_id, queued.name, now)
                light.append(job_id)
        self._leave(light)
        oldest = min(self._table.ended, default=0) if self._table.has_all_ended else 0
        for snapshot in self._journal.jobs([job_id for job_id in light if job_id > oldest]):
            self._table.remember(snapshot)

    def _leave(self, job_ids: Sequence[int]) -> None:
        self._table.withdraw(job_ids)
        self.on_withdrawn(job_ids)

    def start_stages(self, job: ManagedJob, _: Effect) -> None:
        """Its turn has come: start it in this pass, once the journal knows."""
        self._to_start.append(job)

    def waiting_for(self, job_id: int) -> str | None:
        """What a job that has not started waits for, in words; None where it need not wait."""
        job = self._table.started.get(job_id)
        start = None if job is None else self.executor().slow_start(job)
        return (start and start.waiting_for) or self._scheduler.waiting_for(job_id)

    # ---- passes

    def wake(self) -> None:
        """Start what may start, soon."""
        if not self._has_pass:
            self._has_pass = True
            self._loop.call_soon(self._pass)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Meanwhile none starts, and none fails because of another one's end."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            self.wake()

    def _pass(self) -> None:
        self._has_pass = False
        if self._holds:
            return
        self._fail(self._scheduler.take_failed(FAILS_A_PASS))
        ready = self._scheduler.take_ready(STARTS_A_PASS)
        for job_id in ready:
            if (job := self.take(job_id)) is not None:
                self._apply(job, SlotGranted(**moment()))
        # Nothing starts that the journal does not know to be starting: after a crash it would start again.
        self._journal.mark_starting(job.id for job in self._to_start if not isinstance(job.id, BatchJobId))
        is_known = self._table.batches and not self._journal.has_starting
        if not is_known and not self._commits.soon():
            self._loop.call_later(RETRY_SECONDS, self.wake)
            return
        starting, self._to_start = self._to_start, []
        for job in starting:
            if not job.life.is_ended and self._is_claimed(job):
                self.executor().start(job)
        if len(ready) == STARTS_A_PASS or self._scheduler.has_failed:
            self.wake()
        elif self._journal.is_dirty:
            self._commits.within(COMMIT_SECONDS)

    def _is_claimed(self, job: ManagedJob) -> bool:
        """Whether a next daemon will know that it was started. One of a batch whose file cannot be written is tried again."""
        if not isinstance(job.id, BatchJobId):
            return True
        try:
            self.claim(job.id)
        except OSError as error:
            log(f"job {job.id} cannot be started yet: {error.strerror}")
            self._to_start.append(job)
            self._loop.call_later(RETRY_SECONDS, self.wake)
            return False
        return True

    def fail_waiters(self) -> None:
        """End those that wait for a job that did not succeed. Before that one is removed: its state could not be told any more."""
        while found := self._scheduler.take_failed():
            self._fail(found)

    def _fail(self, waits: Iterable[FailedWait]) -> None:
        for failed in waits:
            state = self.state_of(failed.dependency)
            message = dependency_failure(failed.dependency, state)  # type: ignore[arg-type]
            if failed.job in self._table.batches:
                self.fail_batch(failed.job, message)
            elif (job := self.take(failed.job)) is not None:
                self._apply(job, DependencyFailed(**moment(), message=message))

    # ---- waiting for a start

    def note_start_failed(self, job: ManagedJob) -> None:
        """It may be a while until what was started of it has ended."""
        self._waiters.release(job.id)

    def job_started(self, job: ManagedJob) -> None:
        """Its first process runs."""
        self._waiters.release(job.id)

    def job_ended(self, job: Job) -> None:
        self.note_end(int(job.id), has_succeeded=job.state == "succeeded")
        self.wake()

    def jobs_withdrawn(self, job_ids: Sequence[int]) -> None:
        for job_id in job_ids:
            self.note_end(job_id, has_succeeded=False)
        self.wake()

    def note_end(self, job_id: int, *, has_succeeded: bool) -> None:
        """The scheduler has a slot again, and those that wait for this job go on."""
        self._scheduler.ended(job_id, has_succeeded)
        self._waiters.release(job_id)

    async def until_started(self, job_id: int) -> None:
        """Return once it has started, could not start, or has to wait in the queue."""
        while self._is_starting(job_id):
            future = self._waiters.add(job_id)
            await asyncio.wait([future], timeout=0.05)
            future.cancel()

    def _is_starting(self, job_id: int) -> bool:
        """Whether it will start in a moment."""
        if job_id in self._table.queued:
            return self._scheduler.waiting_for(job_id) is None
        job = self._table.started.get(job_id)
        if job is None or job.life.state != "queued":
            return False
        start = self.executor().slow_start(job)
        return start is None or not start.has_to_wait
