"""The list of all jobs, encoded a few at a time as the client reads them, so that other clients do not wait.

Only those few exist as Python objects at a time: thousands at once would fragment the memory for good.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator

import msgspec
from msgspec import Struct, field

from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import ManagedJob
from corral.jobs.snapshots import Snapshots
from corral.journal.commits import Commits
from corral.journal.journal import Journal
from corral.model.job import Job
from corral.platform.host import malloc
from corral.protocol.long_lists import ListReply
from corral.protocol.requests import ListJobs
from corral.protocol.shorten_commands import LEAST_TEXT, MOST_TEXT, cut_to, size_of

A_PASS = 100
"""Jobs that are read and encoded in one pass of the loop: 5 ms."""
_MUCH = 4 << 20
"""Bytes of a list above which memory is collected afterwards."""
_encoder = msgspec.json.Encoder()


class JobLists(Struct, eq=False):
    """Answers requests for lists, one slice at a time for all clients together."""

    _table: JobTable
    _journal: Journal
    _commits: Commits
    _snapshots: Snapshots
    see: Callable[[ManagedJob], None]
    """Has a first look at a job that was started just now."""
    _turns: asyncio.Lock = field(default_factory=asyncio.Lock)

    def reply(self, request: ListJobs, leftovers: dict[str, int]) -> ListReply:
        """The jobs that have not ended, or all."""
        tail = _encoder.encode({"unknown": (), "leftovers": leftovers})
        return ListReply(self._slices(request), tail)

    async def _slices(self, request: ListJobs) -> AsyncIterator[bytes]:
        total = text = 0
        self._commits.soon()
        for each in list(self._table.started.values()):
            self.see(each)
        for ids in self._pages(request):
            async with self._turns:
                await asyncio.sleep(0)
                wanted = (job for job in self._jobs(ids) if not request.states or job.state in request.states)
                jobs = []
                for job in wanted:
                    # However long it is, the others have room.
                    jobs.append(cut_to(job, max(LEAST_TEXT, (MOST_TEXT - text) // 2)))
                    text += size_of(jobs[-1])
                encoded = b",".join(map(_encoder.encode, jobs))
            total += len(encoded)
            if encoded:
                yield encoded
        if total > _MUCH:
            asyncio.get_running_loop().call_later(1.0, malloc.collect_garbage)

    def _pages(self, request: ListJobs) -> Iterator[list[int]]:
        """The ids, by rising id; those of a page as they are when its turn comes."""
        if not request.all:
            ids = sorted(self._unended(request.states))
            yield from (ids[start : start + A_PASS] for start in range(0, len(ids), A_PASS))
            return
        last = 0
        while page := self._journal.ids_after(last, A_PASS):
            yield page
            last = page[-1]

    def _unended(self, states: Collection[str]) -> Iterator[int]:
        yield from self._table.begun_ids()
        if not states or "queued" in states:
            yield from self._table.queued

    def _jobs(self, ids: Iterable[int]) -> list[Job]:
        """By rising id; without those that were removed meanwhile."""
        now = time.monotonic()
        table = self._table
        in_memory = (
            job_id
            for job_id in ids
            if job_id in table.ended or job_id in table.batches or table.live(job_id) is not None
        )
        found = {job_id: self._snapshots.fresh(job_id, now) for job_id in in_memory}
        read = self._snapshots.stored([job_id for job_id in ids if job_id not in found])
        found.update((int(job.id), job) for job in read)
        return [found[job_id] for job_id in sorted(found)]
