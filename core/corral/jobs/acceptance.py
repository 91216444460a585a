"""Taking jobs on: checked, written to the journal, and put into the queue."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime

from msgspec import Struct, structs

from corral.commandline.abbreviation import with_short_command
from corral.jobs.executor import Executor
from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import new_job
from corral.jobs.queued_job import Links, QueuedJob, queued_job
from corral.jobs.snapshots import Snapshots
from corral.jobs.start_queue import StartQueue
from corral.journal.commits import Commits
from corral.journal.journal import Journal
from corral.lifecycle.scheduler import Dependency
from corral.lifecycle.spec_check import check_surroundings, check_values
from corral.model.batch import BatchJobId
from corral.model.errors import NotSoError, UnknownJobError
from corral.model.spec import JobInput, JobSpec, Surroundings

KEPT_WHOLE = 512
"""While the length of the queue times a job's stages is below this, the job is kept as it came: it starts soon, and is not
read again."""


class Acceptance(Struct, eq=False):
    """Takes jobs on."""

    _table: JobTable
    _journal: Journal
    _commits: Commits
    _queue: StartQueue
    _snapshots: Snapshots
    executor: Callable[[], Executor]
    resolve: Callable[[str], int]
    """The number of the job that a reference means."""
    replaces: Callable[[Links], Iterable[Dependency]]
    """What a job waits for to be gone before it takes its place."""

    async def accept(
        self, specs: Sequence[JobSpec], surroundings: Surroundings, descriptor: int | None = None
    ) -> list[int]:
        """Take jobs on: their rows are committed when this returns. `descriptor`, the first one's stdin, is taken over
        in any case.

        Raises:
            UsageError, UnknownJobError: nothing was accepted.
            JournalError: neither; the journal could not be written, or was locked for too long.
        """
        with ExitStack() as unless_accepted:
            if descriptor is not None:
                unless_accepted.callback(os.close, descriptor)
            check_surroundings(surroundings)
            specs = [self.checked(spec) for spec in specs]
            created = datetime.now(UTC)
            ids = self._journal.add_jobs(specs, surroundings, created)
            try:
                await self._commits.done()
            finally:
                # The client may leave while a lock is waited for: what was written by then is accepted all the same.
                if not self._journal.take_back(ids):
                    unless_accepted.pop_all()
                    for job_id, spec in zip(ids, specs, strict=True):
                        whole = None
                        stages = len(spec.pipeline.stages)
                        if descriptor is not None or len(self._table.queued) * stages < KEPT_WHOLE:
                            whole = new_job(job_id, spec, surroundings, created)
                        if whole is not None and descriptor is not None:
                            self.executor().keep_stdin(whole, descriptor)
                            descriptor = None
                        self.enqueue(queued_job(job_id, spec, created, whole))
        return ids

    def enqueue(self, job: QueuedJob) -> None:
        """Put a job that is in the journal into the queue."""
        self._queue.add(job, self.dependencies(job.links))

    def dependencies(self, links: Links) -> list[Dependency]:
        """What one of those links waits for."""
        after = [self._dependency(int(reference)) for reference in links.after]
        return [*after, *self.replaces(links)]

    def _dependency(self, job_id: int) -> Dependency:
        if self._table.is_unended(job_id):
            return Dependency(job_id, self._table.name_of(job_id))
        try:
            snapshot = self._snapshots.of(job_id)
        except UnknownJobError:
            # Removed since, and it had succeeded: else this job would not be queued any more.
            return Dependency(job_id, None, True)
        return Dependency(job_id, snapshot.name, snapshot.state == "succeeded" if snapshot.is_ended else None)

    def _plain(self, reference: str) -> int:
        """A job, or a whole batch. Raises UnknownJobError, NotSoError."""
        job_id = self.resolve(reference)
        if isinstance(job_id, BatchJobId):
            raise NotSoError(
                f"job {reference} is one of batch {job_id.batch}: to wait for it or read it, name the whole batch,"
                f" or corral wait {reference}; corral logs {reference} | …"
            )
        return job_id

    def checked(self, spec: JobSpec) -> JobSpec:
        """The specification with its references made numbers. Raises UsageError, UnknownJobError."""
        check_values(spec)
        after = tuple(str(self._plain(reference)) for reference in spec.after)
        stdin = spec.stdin
        if isinstance(stdin, JobInput):
            source = self._plain(stdin.job)
            if self._snapshots.of(source).kind == "batch":
                raise NotSoError(
                    f"{stdin.job} is a batch, whose output is many; corral logs {source} | … feeds it"
                )
            stdin = JobInput(str(source))
        return structs.replace(with_short_command(spec), after=after, stdin=stdin)
