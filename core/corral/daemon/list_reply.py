"""The list of all jobs, encoded a few at a time as the client reads them, so that other clients do not wait.

Only those few exist as Python objects at a time: thousands at once would fragment the memory for good.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator

import msgspec

from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import ManagedJob
from corral.jobs.snapshots import Snapshots
from corral.journal.commits import Commits
from corral.journal.journal import Journal
from corral.model.errors import UnknownJobError
from corral.model.job import Job
from corral.platform.host import malloc
from corral.protocol.long_lists import ListReply
from corral.protocol.reply_size import cut_to, share_of, size_of
from corral.protocol.requests import ListJobs

A_PASS = 100
"""Jobs that are read and encoded in one pass of the loop: 5 ms."""
_MUCH = 4 << 20
"""Bytes of a list above which memory is collected afterwards."""
_encoder = msgspec.json.Encoder()


class JobLists:
    """Answers requests for lists, one slice at a time for all clients together.

    Args:
        see: has a first look at a job that was started just now.
    """

    def __init__(
        self,
        table: JobTable,
        journal: Journal,
        commits: Commits,
        snapshots: Snapshots,
        *,
        see: Callable[[ManagedJob], None],
    ) -> None:
        self._table = table
        self._journal = journal
        self._commits = commits
        self._snapshots = snapshots
        self._see = see
        self._turns = asyncio.Lock()

    def reply(self, request: ListJobs, leftovers: dict[str, int]) -> ListReply:
        """The jobs that have not ended, or all."""
        tail = _encoder.encode({"unknown": (), "leftovers": leftovers})
        return ListReply(self._slices(request), tail)

    async def _slices(self, request: ListJobs) -> AsyncIterator[bytes]:
        total = 0
        async with self._turns:
            sizes = self._sizes(request)
        share = share_of(sizes.values())
        for ids in _in_slices(sorted(sizes)):
            async with self._turns:
                await asyncio.sleep(0)
                jobs = [cut_to(job, share) if sizes[int(job.id)] > share else job for job in self._jobs(ids)]
                encoded = b",".join(map(_encoder.encode, jobs))
            total += len(encoded)
            if encoded:
                yield encoded
        if total > _MUCH:
            asyncio.get_running_loop().call_later(1.0, malloc.collect_garbage)

    def _sizes(self, request: ListJobs) -> dict[int, int]:
        """About how many bytes of text there are of each job to be listed."""
        sizes: dict[int, int] = {}
        if request.all:
            self._commits.soon()
            sizes = self._journal.sizes_of_ended()
        for job in list(self._table.started.values()):
            self._see(job)
        for job in self._table.all_unended():
            sizes[job.id] = size_of(self._snapshots.snapshot(job))
        return sizes

    def _jobs(self, ids: Iterable[int]) -> list[Job]:
        """By rising id; without those that were removed meanwhile."""
        now = time.monotonic()
        found = {}
        for job_id in ids:
            if self._table.is_known(job_id):
                try:
                    found[job_id] = self._snapshots.fresh(job_id, now)
                except UnknownJobError:
                    continue
        read = self._journal.jobs([job_id for job_id in ids if job_id not in found])
        found.update((int(job.id), job) for job in read)
        return [found[job_id] for job_id in sorted(found)]


def _in_slices(ids: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(ids), A_PASS):
        yield ids[start : start + A_PASS]
