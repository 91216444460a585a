"""Snapshots of jobs as they are now: built from what is held in memory, or read from the journal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from msgspec import Struct, structs

from corral.jobs import snapshot_builder
from corral.jobs.batch_snapshot import snapshot_of_batch
from corral.jobs.executor import Executor
from corral.jobs.job_table import JobTable
from corral.jobs.managed_batch import ManagedBatch
from corral.jobs.managed_job import ManagedJob
from corral.journal.journal import Journal
from corral.model.batch import BatchJobId
from corral.model.errors import NotSoError
from corral.model.job import Job
from corral.model.spec import JobSpec, Surroundings


class Snapshots(Struct, eq=False):
    """Snapshots of all jobs of one home."""

    _table: JobTable
    _journal: Journal
    waiting_for: Callable[[int], str | None]
    executor: Callable[[], Executor]
    stored_job: Callable[[BatchJobId], Job]
    """A job of a batch that is not under way."""
    origin_of_job: Callable[[BatchJobId], tuple[JobSpec, Surroundings]]

    def of(self, job_id: int) -> Job:
        """The job as it is now. Raises UnknownJobError."""
        job = self._table.live(job_id)
        if job is not None:
            return self.snapshot(job)
        if isinstance(job_id, BatchJobId):
            return self._of_batch(job_id)
        if job_id in self._table.batches:
            return self.of_batch(self._table.batches[job_id])
        return self._table.ended.get(job_id) or self._with_wait(self._journal.job(job_id))

    def _of_batch(self, job_id: BatchJobId) -> Job:
        """A job of a batch that has ended, or waits: with what it has left alive."""
        snapshot, job = self.stored_job(job_id), self._table.started.get(job_id)
        return (
            snapshot
            if job is None
            else structs.replace(snapshot, leftovers=job.leftovers, in_doubt=job.in_doubt)
        )

    def of_batch(self, batch: ManagedBatch) -> Job:
        """Of one that has not ended."""
        waiting_for = self.waiting_for(batch.id) if batch.life.state == "queued" else batch.held_back
        return snapshot_of_batch(batch, waiting_for, self.executor().observe)

    def stored(self, job_ids: Iterable[int]) -> list[Job]:
        """Those of these jobs that are queued or have ended, by rising id: from the journal. Unknown ones are left out."""
        return [self._with_wait(job) for job in self._journal.jobs(job_ids)]

    def _with_wait(self, job: Job) -> Job:
        if job.is_ended or int(job.id) not in self._table.queued:
            return job
        return structs.replace(job, waiting_for=self.waiting_for(int(job.id)))

    def fresh(self, job_id: int, now: float) -> Job:
        """The same with `elapsed` as of `now` (monotonic seconds), which no change of the job carries along."""
        snapshot = self.of(job_id)
        job = self._table.live(job_id)
        if job is None or job.life.started is None:
            return snapshot
        elapsed = job.life.elapsed(now)
        return structs.replace(snapshot, elapsed=None if elapsed is None else round(elapsed, 3))

    def snapshot(self, job: ManagedJob) -> Job:
        """Of a job in hand, built again only when something changed."""
        if job.snapshot is None:
            waiting_for = self.waiting_for(job.id) if job.life.state == "queued" else None
            executor = self.executor()
            job.snapshot = snapshot_builder.snapshot_of(
                job, time.monotonic(), waiting_for, executor.observe(job), executor.stop_of(job)
            )
        return job.snapshot

    def running_job(self, job_id: int, what: str) -> ManagedJob:
        """The job in hand, which has started and not ended. Raises NotSoError that says why it cannot be `what`."""
        job = self._table.live(job_id)
        if job_id in self._table.batches or (isinstance(job_id, BatchJobId) and job is None):
            state = self.of(job_id).state
            raise NotSoError(f"job {job_id} cannot be {what}: it is {state}")
        if job_id in self._table.queued or (job is not None and not job.life.is_started):
            raise NotSoError(f"job {job_id} cannot be {what}: it is queued")
        if job is None:
            raise NotSoError(f"job {job_id} cannot be {what}: it has ended ({self.of(job_id).state})")
        return job

    def state_of(self, job_id: int) -> str:
        if job_id in self._table.queued:
            return "queued"
        if job_id in self._table.batches:
            return self._table.batches[job_id].life.state
        job = self._table.started.get(job_id)
        return job.life.state if job is not None else self.of(job_id).state

    def origin_of(self, job_id: int) -> tuple[JobSpec, Surroundings]:
        """What a job was started with. Raises NotSoError where the journal does not know."""
        job = self._table.started.get(job_id)
        if isinstance(job_id, BatchJobId):
            return self.origin_of_job(job_id)
        if job is None or job.shown.is_cut:
            return self._journal.origin(job_id)
        return job.spec, job.surroundings
