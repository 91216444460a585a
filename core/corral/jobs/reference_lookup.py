"""Finds the job that is meant by a number, a name or `@`, among those in memory and in the journal."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct

from corral.jobs.job_table import JobTable
from corral.journal.journal import Journal
from corral.lifecycle.job_reference import parse_batch_job, resolve
from corral.model.batch import BatchJobId
from corral.model.errors import UnknownJobError


class ReferenceLookup(Struct, eq=False):
    """Finds jobs by what users call them. `is_going`: whether a job is being cleaned just now."""

    _table: JobTable
    _journal: Journal
    is_going: Callable[[int], bool]
    batch_job: Callable[[int, int], BatchJobId]
    """The id of the job of an input of a batch. Raises UnknownJobError."""

    def resolve(self, reference: str) -> int:
        """The id of the job or batch that is meant, or of the job in a batch: `12.3`. Raises UnknownJobError, NotSoError."""
        of_batch = parse_batch_job(reference)
        try:
            return self._resolved(reference)
        except UnknownJobError:
            if of_batch is None:
                raise
        return self.batch_job(self._resolved(of_batch[0]), of_batch[1])

    def _resolved(self, reference: str) -> int:
        table, journal = self._table, self._journal
        job_id = resolve(
            reference,
            self._candidates(reference),
            exists=lambda job_id: table.is_known(job_id) or journal.exists(job_id),
            newest_ended=journal.newest_ended,
            newest=journal.newest,
        )
        if self.is_going(job_id):
            raise UnknownJobError(f"no job {job_id}: it is being cleaned")
        return job_id

    def _candidates(self, name: str) -> Iterator[tuple[int, str | None]]:
        """(id, name) of those that have not ended. The name of one that is being replaced belongs to the job that
        replaces it. Not iterated for a reference by number."""
        for job_id in self._table.named.of(name):
            if self._table.is_unended(job_id) and not self._table.queued_replacements_of(job_id):
                yield job_id, name
