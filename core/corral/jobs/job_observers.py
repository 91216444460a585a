"""The start and the end of jobs, told in order to all parts that they concern."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from corral.jobs.executor import StopSequence
from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import ManagedJob
from corral.jobs.snapshots import Snapshots
from corral.journal.journal import Journal
from corral.lifecycle.state import Effect
from corral.model.job import Job

Finish = Callable[[ManagedJob], None]


class JobObserver(Protocol):
    """Hears of every start and end. A feature that needs no more of a job is registered as one of these."""

    def job_started(self, job: Job) -> None:
        """Its first process runs. Not told of jobs that an earlier daemon has started."""

    def job_ended(self, job: Job) -> None:
        """The snapshot is the last one, and the journal has it."""


class JobEvents:
    """Ends jobs, and tells the observers of starts and ends.

    Args:
        finish: what is done to a job that has ended before its last snapshot is taken, in this order: what it holds is
            closed, and what it has printed is measured.
        observers: those who hear of it then.
    """

    def __init__(
        self,
        table: JobTable,
        journal: Journal,
        snapshots: Snapshots,
        *,
        stop_of: Callable[[ManagedJob], StopSequence | None],
        finish: Iterable[Finish],
        observers: Iterable[JobObserver],
    ) -> None:
        self._table = table
        self._journal = journal
        self._snapshots = snapshots
        self._stop_of = stop_of
        self._finish = tuple(finish)
        self._observers = tuple(observers)

    def started(self, job: ManagedJob) -> None:
        """Its first process runs."""
        view = self._snapshots.view(job)
        for observer in self._observers:
            observer.job_started(view)

    def ended(self, job: ManagedJob, _: Effect) -> None:
        """Its life is over."""
        for finish in self._finish:
            finish(job)
        stop = self._stop_of(job)
        if stop is not None:
            job.report = stop.report()
        view = self._last_snapshot(job)
        for observer in self._observers:
            observer.job_ended(view)

    def _last_snapshot(self, job: ManagedJob) -> Job:
        self._table.begin(job)
        job.view = None
        view = self._snapshots.view(job)
        self._journal.job_ended(view, job.report)
        self._table.remember(view)
        return view
