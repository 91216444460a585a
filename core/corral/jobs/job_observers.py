"""The start and the end of jobs, told in order to all parts that they concern."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from corral.jobs.executor import Executor
from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import ManagedJob
from corral.jobs.snapshots import Snapshots
from corral.journal.journal import Journal
from corral.lifecycle.state import Effect
from corral.model.batch import BatchJobId
from corral.model.job import Job


class JobObserver(Protocol):
    """Hears of every end. A feature that needs no more of a job is registered as one of these."""

    def job_ended(self, job: Job) -> None:
        """The snapshot is the last one, and the journal has it."""

    def jobs_withdrawn(self, job_ids: Sequence[int]) -> None:
        """They have left the queue for ever; of very many there is no snapshot."""


class JobNotifier(Struct, eq=False):
    """Ends jobs, and tells the observers of every end."""

    _table: JobTable
    _journal: Journal
    _snapshots: Snapshots
    _executor: Executor
    """Closes what it holds of a job that has ended, and measures it, before the last snapshot is taken."""
    observers: Sequence[JobObserver]
    batch_job_ended: Callable[[ManagedJob], None]
    """Told of the ends of jobs of batches instead of these."""

    def ended(self, job: ManagedJob, _: Effect) -> None:
        """Its life is over."""
        self._executor.close(job)
        stop = self._executor.stop_of(job)
        if stop is not None:
            job.report = stop.report()
        if isinstance(job.id, BatchJobId):
            self.batch_job_ended(job)
            return
        snapshot = self._last_snapshot(job)
        for observer in self.observers:
            observer.job_ended(snapshot)

    def batch_ended(self, snapshot: Job) -> None:
        """The journal has it already."""
        for observer in self.observers:
            observer.job_ended(snapshot)

    def withdrawn(self, job_ids: Sequence[int]) -> None:
        for observer in self.observers:
            observer.jobs_withdrawn(job_ids)

    def _last_snapshot(self, job: ManagedJob) -> Job:
        job.snapshot = None
        snapshot = self._snapshots.snapshot(job)
        self._journal.job_ended(snapshot, job.report)
        self._table.remember(snapshot)
        return snapshot
