"""The list of all jobs, as the bytes of a reply: made a few jobs a pass of the loop, so that nobody else waits for it.

No more of it than those few is ever there as Python's objects, of which a list of thousands leaves memory behind in pieces
that nobody gives back. What does not fit into a line is left for the next question, the oldest first.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from corral.service.fitting import cut_to, share_of, size_of
from corral.service.protocol import REPLY_LIMIT, ListJobs
from corral.service.replies import EncodedReply, JobsTail
from corral.system import memory
from corral.values.errors import UnknownJobError

if TYPE_CHECKING:
    from corral.manage.manager import Manager
    from corral.values.jobs import Job

MOST_ENDED = 20_000
"""Ended jobs in one reply, the newest: about 30 MB."""
MOST_BYTES = REPLY_LIMIT - (1 << 20)
A_PASS = 100
"""Jobs that are read and encoded in one pass of the loop: 5 ms."""
_MUCH = 4 << 20
"""Bytes of a list after which the memory that it took is looked for."""
_encoder = msgspec.json.Encoder()


async def listed(manager: Manager, request: ListJobs, leftovers: dict[str, int]) -> EncodedReply:
    """What has not ended, or all. Raises JournalError."""
    sizes, older = _sizes(manager, request)
    share = share_of(sizes.values())
    slices: deque[tuple[int, bytes]] = deque()
    total, left_out = 0, older
    for ids in _in_slices(sorted(sizes)):
        if slices:
            await asyncio.sleep(0)
        jobs = [cut_to(job, share) if sizes[int(job.id)] > share else job for job in _jobs(manager, ids)]
        if jobs:
            slices.append((len(jobs), b",".join(map(_encoder.encode, jobs)) + b","))
            total += len(slices[-1][1])
        while total > MOST_BYTES:
            count, dropped = slices.popleft()
            left_out += count
            total -= len(dropped)
    if total > _MUCH:
        asyncio.get_running_loop().call_later(1.0, memory.collect)
    parts = [part for _, part in slices]
    if parts:
        parts[-1] = parts[-1][:-1]
    tail = _encoder.encode(JobsTail(leftovers=leftovers, more=left_out))
    return EncodedReply((b'{"jobs":[', *parts, b"],", tail[1:]))


def _sizes(manager: Manager, request: ListJobs) -> tuple[dict[int, int], int]:
    """About how many bytes of text there are of each job to be listed, and how many older ones there are."""
    before, sizes, older = request.before, dict[int, int](), 0
    if request.all:
        manager.commit_soon()
        sizes, older = manager.journal.sizes_of_ended(before, MOST_ENDED)
    for job in list(manager.jobs.values()):
        manager.monitor.see(job)
        if not job.life.is_ended and (before is None or job.id < before):
            sizes[job.id] = size_of(manager.view(job))
    return sizes, older


def _in_slices(ids: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(ids), A_PASS):
        yield ids[start : start + A_PASS]


def _jobs(manager: Manager, ids: Iterable[int]) -> list[Job]:
    """By rising id; without those that were removed meanwhile."""
    now = time.monotonic()
    found = {}
    for job_id in ids:
        if manager.is_known(job_id):
            try:
                found[job_id] = manager.fresh(job_id, now)
            except UnknownJobError:
                continue
    read = manager.journal.jobs([job_id for job_id in ids if job_id not in found])
    found.update((int(job.id), job) for job in read)
    return [found[job_id] for job_id in sorted(found)]
