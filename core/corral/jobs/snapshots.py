"""Snapshots of jobs as they are now: built from what is held in memory, or read from the journal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from msgspec import Struct, structs

from corral.jobs import snapshot_builder
from corral.jobs.executor import Executor
from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import ManagedJob
from corral.journal.journal import Journal
from corral.model.errors import NotSoError
from corral.model.job import Job
from corral.model.spec import JobSpec, Surroundings


class Snapshots(Struct, eq=False):
    """Snapshots of all jobs of one home."""

    _table: JobTable
    _journal: Journal
    waiting_for: Callable[[int], str | None]
    executor: Callable[[], Executor]

    def of(self, job_id: int) -> Job:
        """The job as it is now. Raises UnknownJobError."""
        job = self._table.live(job_id)
        if job is not None:
            return self.snapshot(job)
        return self._table.ended.get(job_id) or self._with_wait(self._journal.job(job_id))

    def stored(self, job_ids: Iterable[int]) -> list[Job]:
        """Those of these jobs that are queued or have ended, by rising id: from the journal. Unknown ones are left out."""
        return [self._with_wait(job) for job in self._journal.jobs(job_ids)]

    def _with_wait(self, job: Job) -> Job:
        if int(job.id) not in self._table.queued:
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
        if job_id in self._table.queued or (job is not None and not job.life.is_started):
            raise NotSoError(f"job {job_id} cannot be {what}: it is queued")
        if job is None:
            raise NotSoError(f"job {job_id} cannot be {what}: it has ended ({self.of(job_id).state})")
        return job

    def state_of(self, job_id: int) -> str:
        if job_id in self._table.queued:
            return "queued"
        job = self._table.started.get(job_id)
        return job.life.state if job is not None else self.of(job_id).state

    def origin_of(self, job_id: int) -> tuple[JobSpec, Surroundings]:
        """What a job was started with. Raises NotSoError where the journal does not know."""
        job = self._table.started.get(job_id)
        if job is None or job.shown.is_cut:
            return self._journal.origin(job_id)
        return job.spec, job.surroundings
