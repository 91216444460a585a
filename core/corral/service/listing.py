"""The list of all jobs, encoded a few at a time as the client reads them, so that other clients do not wait.

Only those few exist as Python objects at a time: thousands at once would fragment the memory for good.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator

import msgspec

from corral.manage.engine import Engine
from corral.service.fitting import cut_to, share_of, size_of
from corral.service.parts import ListReply
from corral.service.protocol import ListJobs
from corral.system import memory
from corral.values.errors import UnknownJobError
from corral.values.jobs import Job

A_PASS = 100
"""Jobs that are read and encoded in one pass of the loop: 5 ms."""
_MUCH = 4 << 20
"""Bytes of a list above which memory is collected afterwards."""
_encoder = msgspec.json.Encoder()


def listed(engine: Engine, request: ListJobs, leftovers: dict[str, int], turns: asyncio.Lock) -> ListReply:
    """The jobs that have not ended, or all. `turns`: one slice is made at a time, for all clients together."""
    tail = _encoder.encode({"unknown": (), "leftovers": leftovers})
    return ListReply(_slices(engine, request, turns), tail)


async def _slices(engine: Engine, request: ListJobs, turns: asyncio.Lock) -> AsyncIterator[bytes]:
    total = 0
    async with turns:
        sizes = _sizes(engine, request)
    share = share_of(sizes.values())
    for ids in _in_slices(sorted(sizes)):
        async with turns:
            await asyncio.sleep(0)
            jobs = [cut_to(job, share) if sizes[int(job.id)] > share else job for job in _jobs(engine, ids)]
            encoded = b",".join(map(_encoder.encode, jobs))
        total += len(encoded)
        if encoded:
            yield encoded
    if total > _MUCH:
        asyncio.get_running_loop().call_later(1.0, memory.collect_garbage)


def _sizes(engine: Engine, request: ListJobs) -> dict[int, int]:
    """About how many bytes of text there are of each job to be listed."""
    sizes: dict[int, int] = {}
    if request.all:
        engine.commits.soon()
        sizes = engine.journal.sizes_of_ended()
    for job in list(engine.table.managed.values()):
        engine.monitor.see(job)
        if not job.life.is_ended:
            sizes[job.id] = size_of(engine.snapshots.view(job))
    return sizes


def _in_slices(ids: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(ids), A_PASS):
        yield ids[start : start + A_PASS]


def _jobs(engine: Engine, ids: Iterable[int]) -> list[Job]:
    """By rising id; without those that were removed meanwhile."""
    now = time.monotonic()
    found = {}
    for job_id in ids:
        if engine.table.is_known(job_id):
            try:
                found[job_id] = engine.snapshots.fresh(job_id, now)
            except UnknownJobError:
                continue
    read = engine.journal.jobs([job_id for job_id in ids if job_id not in found])
    found.update((int(job.id), job) for job in read)
    return [found[job_id] for job_id in sorted(found)]
