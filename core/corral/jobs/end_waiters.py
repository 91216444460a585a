"""Futures for whatever waits for something to happen to a job: thousands may wait for one, and go away again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from corral.jobs.job_table import JobTable
from corral.model.batch import BatchJobId, not_running
from corral.model.job import Job

RELEASED_A_PASS = 200
"""Each answers a client: a tenth of a millisecond."""


class Waiters:
    """Futures by job."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._futures: dict[int, set[asyncio.Future[None]]] = {}

    def add(self, job_id: int) -> asyncio.Future[None]:
        """Done once `release` was called for this job. Cancel what is not awaited: none is left behind then."""
        future: asyncio.Future[None] = self._loop.create_future()
        waiting = self._futures.setdefault(job_id, set())
        waiting.add(future)
        future.add_done_callback(waiting.discard)
        return future

    def release(self, job_id: int) -> None:
        """It has happened. Of thousands some futures are done at once, the others in the next passes of the loop."""
        waiting = self._futures.pop(job_id, None)
        if waiting:
            self._release_some(waiting)

    def _release_some(self, waiting: set[asyncio.Future[None]]) -> None:
        for _ in range(min(RELEASED_A_PASS, len(waiting))):
            future = waiting.pop()
            if not future.done():
                future.set_result(None)
        if waiting:
            self._loop.call_soon(self._release_some, waiting)


def final_id(job_id: int) -> int:
    """What the end of a job is told by: of one in a batch not that of its run, since another attempt may follow."""
    return not_running(job_id.batch, job_id.number) if isinstance(job_id, BatchJobId) else job_id


class EndWaiters:
    """Futures of clients that wait for the ends of jobs."""

    def __init__(self, table: JobTable) -> None:
        self._table = table
        self._waiters = Waiters()

    def of(self, job_ids: Iterable[int]) -> list[asyncio.Future[None]]:
        """For each of these jobs that has not ended a future that is done once it has. Cancel what is not awaited."""
        return [self._waiters.add(final_id(job_id)) for job_id in job_ids if self._table.is_unended(job_id)]

    def job_ended(self, job: Job) -> None:
        self.note_end(int(job.id))

    def note_end(self, job_id: int) -> None:
        self._waiters.release(job_id)

    def jobs_withdrawn(self, job_ids: Sequence[int]) -> None:
        for job_id in job_ids:
            self._waiters.release(job_id)
